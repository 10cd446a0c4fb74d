//! Which parts a configuration demands, and the ranges that keep the arithmetic exact.

use crate::error::ModelError;
use crate::kernel;

use super::manifest::{Configuration, PartKind};

/// Fraction bits of the rotation tables: a cosine of one is 2^14.
pub(crate) const ROTATION_BITS: u32 = 14;
/// Fraction bits of attention scores and of the index of the exponential's table.
pub(crate) const SCORE_BITS: u32 = 12;
/// Fraction bits of the exponential's table, up to the one unit that 2^16 − 1 lacks.
pub(crate) const EXPONENTIAL_BITS: u32 = 16;
/// Fraction bits of a gate, of the index of its table and of the table.
pub(crate) const GATE_BITS: u32 = 12;
/// Entries of the exponential's and of the gate's table.
pub(crate) const TABLE_LEN: u64 = 1 << 16;

/// Largest exponent of row scales and gains.
pub(crate) const SCALE_BITS_MAX: u32 = 60;
/// Largest exponent of gains.
pub(crate) const GAIN_BITS_MAX: u32 = 30;
/// Most fraction bits of the residual stream.
pub(crate) const RESIDUAL_BITS_MAX: u32 = 24;
/// Most fraction bits of the logits.
pub(crate) const LOGIT_BITS_MAX: u32 = 20;
/// Largest epsilon: with the squares below 2^60 their sum stays below 2^61.
pub(crate) const NORM_EPSILON_MAX: u64 = 1 << 60;

/// Widest residual stream: 16,384 squares below 2^46 sum to at most 2^60.
const WIDTH_MAX: u32 = 1 << 14;
/// Widest input of a matrix: 127 · 255 · 65,536 < 2^31, one byte plane in int32.
const ROW_LEN_MAX: u32 = 1 << 16;
const VOCABULARY_MAX: u32 = 1 << 20;
const LAYERS_MAX: u32 = 256;
const CONTEXT_MAX: u32 = 1 << 17;

/// What the file must hold at one place of its list of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) name: String,
    pub(crate) kind: PartKind,
    /// Dimensions; empty for text, whose length is free within `size_bytes_max`.
    pub(crate) shape: Vec<u64>,
    pub(crate) fraction_bits_min: u32,
    pub(crate) fraction_bits_max: u32,
    pub(crate) size_bytes_max: u64,
}

/// Names of a layer's matrices in their order, with rows and width.
pub(crate) fn layer_matrices(c: &Configuration) -> [(&'static str, u32, u32); 7] {
    [
        ("query", c.query_rows(), c.width),
        ("key", c.kv_rows(), c.width),
        ("value", c.kv_rows(), c.width),
        ("output", c.width, c.query_rows()),
        ("gate", c.hidden, c.width),
        ("up", c.hidden, c.width),
        ("down", c.width, c.hidden),
    ]
}

/// Every part of a model with this configuration, in order.
pub(crate) fn demands(c: &Configuration) -> Vec<Demand> {
    let mut all = vec![];
    matrix(&mut all, "embedding", c.vocabulary, c.width);
    for layer in 0..c.layers {
        gains(&mut all, format!("layer.{layer}.attention-norm"), c.width);
        gains(&mut all, format!("layer.{layer}.feed-forward-norm"), c.width);
        for (name, rows, width) in layer_matrices(c) {
            matrix(&mut all, &format!("layer.{layer}.{name}"), rows, width);
        }
    }
    gains(&mut all, "final-norm".to_owned(), c.width);
    if !c.tied {
        matrix(&mut all, "head", c.vocabulary, c.width);
    }
    let rotation = [c.context.into(), u64::from(c.head_dim / 2)];
    let entries = [TABLE_LEN];
    table(&mut all, "rotation-cosine", PartKind::Int16, &rotation, ROTATION_BITS);
    table(&mut all, "rotation-sine", PartKind::Int16, &rotation, ROTATION_BITS);
    table(&mut all, "exponential", PartKind::Uint16, &entries, EXPONENTIAL_BITS);
    table(&mut all, "silu", PartKind::Int16, &entries, GATE_BITS);
    text(&mut all, "tokenizer.json", 1 << 26);
    text(&mut all, "chat-template", 1 << 20);
    all
}

fn matrix(all: &mut Vec<Demand>, name: &str, rows: u32, width: u32) {
    table(all, name, PartKind::Int8, &[rows.into(), width.into()], 0);
    table(all, &format!("{name}.scale"), PartKind::Int16, &[rows.into()], 0);
    if let Some(scale) = all.last_mut() {
        scale.fraction_bits_max = SCALE_BITS_MAX;
    }
}

fn gains(all: &mut Vec<Demand>, name: String, width: u32) {
    all.push(Demand {
        name,
        kind: PartKind::Int16,
        shape: vec![width.into()],
        fraction_bits_min: 0,
        fraction_bits_max: GAIN_BITS_MAX,
        size_bytes_max: u64::MAX,
    });
}

fn table(all: &mut Vec<Demand>, name: &str, kind: PartKind, shape: &[u64], bits: u32) {
    all.push(Demand {
        name: name.to_owned(),
        kind,
        shape: shape.to_vec(),
        fraction_bits_min: bits,
        fraction_bits_max: bits,
        size_bytes_max: u64::MAX,
    });
}

fn text(all: &mut Vec<Demand>, name: &str, size_bytes_max: u64) {
    all.push(Demand {
        name: name.to_owned(),
        kind: PartKind::Text,
        shape: vec![],
        fraction_bits_min: 0,
        fraction_bits_max: 0,
        size_bytes_max,
    });
}

impl Configuration {
    /// Refuses numbers for which a bound of the arithmetic would not hold.
    pub(crate) fn appraise(&self) -> Result<(), ModelError> {
        let head_dim_max = u32::try_from(kernel::HEAD_DIM_MAX).unwrap_or(u32::MAX);
        for (field, found, minimum, maximum) in [
            ("vocabulary", self.vocabulary, 1_u32, VOCABULARY_MAX),
            ("width", self.width, 1, WIDTH_MAX),
            ("hidden", self.hidden, 1, ROW_LEN_MAX),
            ("layers", self.layers, 1, LAYERS_MAX),
            ("heads", self.heads, 1, ROW_LEN_MAX),
            ("kv_heads", self.kv_heads, 1, self.heads),
            ("head_dim", self.head_dim, 2, head_dim_max),
            ("context", self.context, 1, CONTEXT_MAX),
            ("residual_bits", self.residual_bits, 0, RESIDUAL_BITS_MAX),
            ("logit_bits", self.logit_bits, 0, LOGIT_BITS_MAX),
        ] {
            range(field, found.into(), minimum.into(), maximum.into())?;
        }
        range(
            "heads · head_dim",
            u64::from(self.heads) * u64::from(self.head_dim),
            1,
            ROW_LEN_MAX.into(),
        )?;
        range("norm_epsilon", self.norm_epsilon, 0, NORM_EPSILON_MAX)?;
        multiple("head_dim", self.head_dim, 2)?;
        multiple("heads", self.heads, self.kv_heads)?;
        for token in self.begin_token.iter().chain(&self.end_tokens) {
            range("begin or end token", (*token).into(), 0, u64::from(self.vocabulary) - 1)?;
        }
        if self.end_tokens.is_sorted_by(|a, b| a < b) {
            return Ok(());
        }
        Err(ModelError::EndTokens)
    }
}

fn range(field: &'static str, found: u64, minimum: u64, maximum: u64) -> Result<(), ModelError> {
    if (minimum..=maximum).contains(&found) {
        return Ok(());
    }
    Err(ModelError::Configuration { field, found, minimum, maximum })
}

fn multiple(field: &'static str, found: u32, divisor: u32) -> Result<(), ModelError> {
    if found.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(ModelError::Divisibility { field, found: found.into(), divisor: divisor.into() })
}
