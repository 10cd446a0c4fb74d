//! Which parts a configuration demands, and the ranges that keep the arithmetic exact.

use crate::error::ModelError;
use crate::kernel;

use crate::source::Biases;

use super::manifest::{Configuration, PartKind, WeightKind};

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
/// Elements of a group.
const GROUP: u32 = 32;
const _: () = assert!(GROUP as usize == kernel::GROUP);

/// Fraction bits to which a head is rescaled before its norm if it has more.
pub(crate) const HEAD_NORM_BITS: u32 = 24;
/// Largest magnitude of a bias: 2^29 − 1, so that with a value below 2^30 it stays below 2^31.
pub(crate) const BIAS_MAX: i32 = (1 << 29) - 1;
/// Largest epsilon: with the squares below 2^60 their sum stays below 2^61.
pub(crate) const NORM_EPSILON_MAX: u64 = 1 << 60;

/// Widest residual stream: 16,384 squares below 2^46 sum to at most 2^60.
const WIDTH_MAX: u32 = 1 << 14;
/// Widest input of a matrix: 127 · 255 · 65,536 < 2^31, one byte plane in int32.
const ROW_LEN_MAX: u32 = 1 << 16;
const VOCABULARY_MAX: u32 = 1 << 20;
const LAYERS_MAX: u32 = 256;
const CONTEXT_MAX: u32 = 1 << 17;
/// Longest text of an encoder, which is computed in one pass.
const ENCODER_CONTEXT_MAX: u32 = 1 << 12;

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

/// A matrix of a layer: its name, rows, width and whether it has a bias.
pub(crate) type LayerMatrix = (&'static str, u32, u32, bool);

/// A layer's matrices in their order; an encoder has no gate.
pub(crate) fn layer_matrices(c: &Configuration) -> Vec<LayerMatrix> {
    let Biases { query_key_value, output, feed_forward } = c.biases;
    let mut all = vec![
        ("query", c.query_rows(), c.width, query_key_value),
        ("key", c.kv_rows(), c.width, query_key_value),
        ("value", c.kv_rows(), c.width, query_key_value),
        ("output", c.width, c.query_rows(), output),
        ("gate", c.hidden, c.width, feed_forward),
        ("up", c.hidden, c.width, feed_forward),
        ("down", c.width, c.hidden, feed_forward),
    ];
    all.retain(|(name, ..)| c.pooling.is_none() || *name != "gate");
    all
}

/// What the elements of a layer's matrix of that width are, and whether they have groups.
pub(crate) const fn matrix_kind(c: &Configuration, width: u32) -> (PartKind, bool) {
    match c.weights {
        WeightKind::Int8Groups if width.is_multiple_of(GROUP) => (PartKind::Int8, true),
        WeightKind::Int4 if width.is_multiple_of(GROUP) => (PartKind::Int4, true),
        _ => (PartKind::Int8, false),
    }
}

/// Every part of a model with this configuration, in order.
pub(crate) fn demands(c: &Configuration) -> Vec<Demand> {
    let is_encoder = c.pooling.is_some();
    let mut all = vec![];
    matrix(&mut all, "embedding", c.vocabulary, c.width);
    if is_encoder {
        gains(&mut all, "position".to_owned(), &[c.context, c.width]);
        norm(&mut all, "embedding-norm", c);
    }
    for layer in 0..c.layers {
        norm(&mut all, &format!("layer.{layer}.attention-norm"), c);
        norm(&mut all, &format!("layer.{layer}.feed-forward-norm"), c);
        if c.head_norm_epsilon.is_some() {
            gains(&mut all, format!("layer.{layer}.query-norm"), &[c.head_dim]);
            gains(&mut all, format!("layer.{layer}.key-norm"), &[c.head_dim]);
        }
        for (name, rows, width, has_bias) in layer_matrices(c) {
            let name = format!("layer.{layer}.{name}");
            match matrix_kind(c, width) {
                (kind, true) => matrix_of_groups(&mut all, &name, kind, rows, width),
                (_, false) => matrix(&mut all, &name, rows, width),
            }
            if has_bias {
                bias(&mut all, &format!("{name}.bias"), rows);
            }
        }
    }
    let entries = [TABLE_LEN];
    if is_encoder {
        table(&mut all, "exponential", PartKind::Uint16, &entries, EXPONENTIAL_BITS);
        table(&mut all, "gelu", PartKind::Int16, &entries, GATE_BITS);
    } else {
        norm(&mut all, "final-norm", c);
        if !c.tied {
            matrix(&mut all, "head", c.vocabulary, c.width);
        }
        let rotation = [c.context.into(), u64::from(c.head_dim / 2)];
        table(&mut all, "rotation-cosine", PartKind::Int16, &rotation, ROTATION_BITS);
        table(&mut all, "rotation-sine", PartKind::Int16, &rotation, ROTATION_BITS);
        table(&mut all, "exponential", PartKind::Uint16, &entries, EXPONENTIAL_BITS);
        table(&mut all, "silu", PartKind::Int16, &entries, GATE_BITS);
    }
    text(&mut all, "tokenizer.json", 1 << 26);
    text(&mut all, "chat-template", 1 << 20);
    all
}

fn matrix(all: &mut Vec<Demand>, name: &str, rows: u32, width: u32) {
    table(all, name, PartKind::Int8, &[rows.into(), width.into()], 0);
    scales(all, name, rows);
}

fn matrix_of_groups(all: &mut Vec<Demand>, name: &str, kind: PartKind, rows: u32, width: u32) {
    let groups = [rows.into(), (width / GROUP).into()];
    table(all, name, kind, &[rows.into(), width.into()], 0);
    table(all, &format!("{name}.group-scale"), PartKind::Uint8, &groups, 0);
    scales(all, name, rows);
}

fn scales(all: &mut Vec<Demand>, name: &str, rows: u32) {
    table(all, &format!("{name}.scale"), PartKind::Int16, &[rows.into()], 0);
    if let Some(scale) = all.last_mut() {
        scale.fraction_bits_max = SCALE_BITS_MAX;
    }
}

/// The gains of a norm and, of a layer norm, its bias.
fn norm(all: &mut Vec<Demand>, name: &str, c: &Configuration) {
    gains(all, name.to_owned(), &[c.width]);
    if c.pooling.is_some() {
        bias(all, &format!("{name}.bias"), c.width);
    }
}

fn bias(all: &mut Vec<Demand>, name: &str, len: u32) {
    table(all, name, PartKind::Int32, &[len.into()], 0);
    if let Some(bias) = all.last_mut() {
        bias.fraction_bits_max = SCALE_BITS_MAX;
    }
}

fn gains(all: &mut Vec<Demand>, name: String, shape: &[u32]) {
    all.push(Demand {
        name,
        kind: PartKind::Int16,
        shape: shape.iter().map(|size| u64::from(*size)).collect(),
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
        if let Some(epsilon) = self.head_norm_epsilon {
            range("head_norm_epsilon", epsilon, 0, NORM_EPSILON_MAX)?;
        }
        if let Some(window) = self.window {
            range("window", window.len.into(), 1, CONTEXT_MAX.into())?;
            let last = u64::from(self.layers) - 1;
            range("first layer with a window", window.first_layer.into(), 0, last)?;
        }
        if self.pooling.is_some() {
            self.appraise_encoder()?;
        }
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

    /// What a decoder alone has, an encoder must not claim; it has biases everywhere.
    fn appraise_encoder(&self) -> Result<(), ModelError> {
        let Biases { query_key_value, output, feed_forward } = self.biases;
        for (field, found, expected) in [
            ("tied embedding of an encoder", u64::from(self.tied), 0),
            ("logit_bits of an encoder", self.logit_bits.into(), 0),
            ("end tokens of an encoder", self.end_tokens.len() as u64, 0),
            ("begin token of an encoder", u64::from(self.begin_token.is_some()), 0),
            ("head norms of an encoder", u64::from(self.head_norm_epsilon.is_some()), 0),
            ("window of an encoder", u64::from(self.window.is_some()), 0),
            ("kv_heads of an encoder", self.kv_heads.into(), self.heads.into()),
            (
                "biases of an encoder",
                [query_key_value, output, feed_forward].map(u64::from).iter().sum(),
                3,
            ),
        ] {
            range(field, found, expected, expected)?;
        }
        range("context of an encoder", self.context.into(), 1, ENCODER_CONTEXT_MAX.into())
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
