//! One checkpoint in exact integers and in the float reference, beside what was expected.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tally_engine::import::{Options, convert};
use tally_engine::source::Source;
use tally_engine::{Engine, Kernels, Model};
use tally_reference::{Comparison, Reference, cosine, exact_logits, float_logits};

use super::expected::{Expected, Results};

/// Demands on exact predictions: the share of equal likeliest tokens, the mean divergence in nats.
const AGREEMENT_MIN: f64 = 0.99;
const DIVERGENCE_MAX: f64 = 0.001;
/// Demands on exact embeddings: cosines to those expected.
const COSINE_MEAN_MIN: f64 = 0.9993;
const COSINE_MIN: f64 = 0.9985;
/// What a float reference may differ by, given that what was expected is kept in binary16.
const FLOAT_DIVERGENCE_MAX: f64 = 2e-6;
const FLOAT_COSINE_MIN: f64 = 0.999_999;
/// Text that every tiny tokenizer here can encode.
const CALIBRATION: &str = include_str!("../../../models/default/calibration.txt");
const CHUNK_LEN: usize = 48;

/// How near a checkpoint's results are.
#[derive(Debug)]
pub(super) enum Outcome {
    Decoder { exact: Comparison, float: Comparison },
    Encoder { exact: Cosines, float: Cosines },
}

/// Cosines of some texts' embeddings to those expected.
#[derive(Debug)]
pub(super) struct Cosines(Vec<f64>);

impl Outcome {
    pub(super) const HEADING: &str = "\
checkpoint        what is changed                     count   top-1 %   mean KL    max KL   float KL
                                                              or, of an encoder, 1 - cosine: mean, max, float";

    /// Whether the exact results are as near as demanded.
    pub(super) fn is_close(&self) -> bool {
        match self {
            Self::Decoder { exact, .. } => {
                exact.agreement() >= AGREEMENT_MIN && exact.divergence_mean() <= DIVERGENCE_MAX
            }
            Self::Encoder { exact, .. } => {
                exact.mean() >= COSINE_MEAN_MIN && exact.min() >= COSINE_MIN
            }
        }
    }

    /// Whether the float results are equal but for rounding.
    pub(super) fn is_float_close(&self) -> bool {
        match self {
            Self::Decoder { float, .. } => float.divergence_mean() <= FLOAT_DIVERGENCE_MAX,
            Self::Encoder { float, .. } => float.min() >= FLOAT_COSINE_MIN,
        }
    }

    /// Whether both are.
    pub(super) fn is_equal(&self) -> bool {
        self.is_close() && self.is_float_close()
    }

    /// A line of the table.
    pub(super) fn row(&self, name: &str, what: &str) -> String {
        let (count, agreement, mean, max, float) = match self {
            Self::Decoder { exact, float } => (
                exact.positions,
                format!("{:.2}", exact.agreement() * 100.0),
                exact.divergence_mean(),
                exact.divergence_max,
                float.divergence_mean(),
            ),
            Self::Encoder { exact, float } => (
                exact.0.len() as u64,
                String::new(),
                1.0 - exact.mean(),
                1.0 - exact.min(),
                1.0 - float.min(),
            ),
        };
        let mark = if self.is_close() { "" } else { "  differs" };
        format!(
            "{name:<17} {what:<36}{count:>5} {agreement:>9} {mean:>9.6} {max:>9.6} {float:>10.1e}{mark}"
        )
    }
}

impl Cosines {
    fn mean(&self) -> f64 {
        let count = u32::try_from(self.0.len()).map_or(f64::NAN, f64::from);
        self.0.iter().sum::<f64>() / count
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Imports a checkpoint and computes every text.
pub(super) fn of(checkpoint: &Path, expected: &Expected) -> Result<Outcome> {
    let gguf = checkpoint.join("model.gguf");
    let path = if gguf.exists() { &gguf } else { checkpoint };
    let reference = Reference::new(&Source::read(path)?)?;
    let options = Options { weights: None, calibration_text: CALIBRATION, context: None };
    let model = Arc::new(Model::parse(&convert(path, &options, &mut |_| ())?)?);
    let engine = Engine::new(model, Kernels::detect(), 2)?;
    match &expected.results {
        Results::LogProbs(rows) => decoder(&engine, &reference, &expected.texts, rows),
        Results::Embeddings(rows) => encoder(&engine, &reference, &expected.texts, rows),
    }
}

fn decoder(
    engine: &Engine,
    reference: &Reference,
    texts: &[Vec<u32>],
    rows: &[Vec<f64>],
) -> Result<Outcome> {
    let logit_bits = engine.model().configuration().logit_bits;
    let (mut exact, mut float) = (Comparison::default(), Comparison::default());
    let mut start = 0;
    for text in texts {
        let next = |position: usize| text.get(position + 1).copied();
        engine.logits_of(text, CHUNK_LEN, &mut |position, logits| {
            let logits = exact_logits(logits, logit_bits);
            exact.add(&rows[start + position], &logits, next(position));
        })?;
        reference.logits(text, &mut |position, logits| {
            float.add(&rows[start + position], &float_logits(logits), next(position));
        })?;
        start += text.len();
    }
    Ok(Outcome::Decoder { exact, float })
}

fn encoder(
    engine: &Engine,
    reference: &Reference,
    texts: &[Vec<u32>],
    rows: &[Vec<f64>],
) -> Result<Outcome> {
    let (mut exact, mut float) = (vec![], vec![]);
    for (text, row) in texts.iter().zip(rows) {
        for embedding in engine.embed(&[text])? {
            exact.push(cosine(row, &exact_logits(&embedding.values, 0)));
        }
        float.push(cosine(row, &float_logits(&reference.embed(text)?)));
    }
    Ok(Outcome::Encoder { exact: Cosines(exact), float: Cosines(float) })
}
