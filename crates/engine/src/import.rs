//! From a Hugging Face folder to the bytes of a model file: deterministic, all or nothing.
//!
//! No float is computed: source values are exact dyadic numbers, tables come from integers, and
//! the one choice that depends on data, the residual stream's fraction bits, is made by running
//! the exact arithmetic over a calibration text. What the arithmetic lacks is refused by name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tally_core::Digest;
use thiserror::Error;

use crate::error::{EngineError, ModelError};
use crate::model::layout::{HEAD_NORM_BITS, NORM_EPSILON_MAX};
use crate::model::manifest::{Configuration, Manifest, Provenance};
use crate::model::{SourceFile, WeightKind, container};
use crate::source::{self, Decimal, Source, SourceConfig, SourceError};
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

mod balance;
mod calibrate;
mod quantise;
pub mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tiny;
mod weights;

use weights::{Rest, Tensors};

/// Fraction bits of the logits: they may reach 2^14 before a refusal.
const LOGIT_BITS: u32 = 16;
/// Most bytes of a calibration text that are encoded.
const CALIBRATION_BYTES_MAX: usize = 1 << 16;

/// How far a conversion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

/// A stage of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rounding weights, part by part.
    Weights,
    /// Running the calibration text, window by window.
    Calibration,
}

/// Why a source was not converted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The folder is not a model that this crate knows.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// A tensor is not there.
    #[error("tensor {tensor} is missing")]
    Tensor {
        /// Its name.
        tensor: String,
    },
    /// The rotation's frequencies are not defined for this base.
    #[error("rope_theta is {found}, expected a number of at least 1 and below 2^63")]
    Theta {
        /// The base.
        found: Decimal,
    },
    /// The tokenizer is unusable or refuses the calibration text.
    #[error("{0}")]
    Tokenizer(#[from] TokenizerError),
    /// The chat template is unusable.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The tokenizer has ids that the embedding lacks.
    #[error("tokenizer.json has ids up to {found}, config.json has a vocabulary of {expected}")]
    Vocabulary {
        /// Tokens of the configuration.
        expected: u32,
        /// One more than the tokenizer's highest id.
        found: u32,
    },
    /// Weights too large for int8 rows with a scale of 15 bits, or gains for int16.
    #[error("tensor {tensor} has magnitudes that no scale of the arithmetic holds")]
    Magnitude {
        /// Name of the tensor.
        tensor: String,
    },
    /// The norms' epsilon exceeds its bound.
    #[error("rms_norm_eps is {found}: in the residual stream's fixed point it exceeds {limit}")]
    Epsilon {
        /// The number.
        found: Decimal,
        /// The largest legal integer.
        limit: u64,
    },
    /// The residual stream ranges too widely for any fixed point.
    #[error("the residual stream overflows with {bits} fraction bits and vanishes with fewer")]
    Residual {
        /// The fewest fraction bits with which it overflowed or left too little headroom.
        bits: u32,
    },
    /// The arithmetic refused the calibration text.
    #[error("calibration: {0}")]
    Calibration(#[source] EngineError),
    /// The configuration or the parts are outside what the arithmetic allows.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// The engine could not be started.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// What a conversion is free to choose.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How the matrices of the layers are stored; by default int8, in groups for an encoder.
    pub weights: Option<WeightKind>,
    /// Text that chooses the residual stream's fraction bits; it should resemble what the model
    /// will read.
    pub calibration_text: &'a str,
    /// Fewer positions than the source has, which makes the file and its tables smaller.
    pub context: Option<u32>,
}

/// Converts a Hugging Face folder or a GGUF file to the bytes of a model file.
///
/// The same source and options give the same bytes on every machine.
///
/// # Errors
/// The first thing that the source lacks or that the arithmetic does not compute, by name.
pub fn convert(
    path: &Path,
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, ImportError> {
    convert_source(Source::read(path)?, options, progress)
}

/// Converts a source that was read.
///
/// # Errors
/// As [`convert`].
pub fn convert_source(
    source: Source,
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, ImportError> {
    let text = encode(&source, options.calibration_text)?;
    let Source { mut config, weights, tokenizer, text: chat, files } = source;
    if let Some(context) = options.context {
        config.context_len = config.context_len.min(context);
    }
    let template = chat.chat_template.unwrap_or_default();
    let (begin_text, end_text) =
        (chat.begin_token.unwrap_or_default(), chat.end_token.unwrap_or_default());
    ChatTemplate::parse(&template, &begin_text, &end_text)?;
    let epsilon = config.norm_eps;
    let (rotation, head_dim) = (config.rotation.take(), config.head_dim);
    let configuration = configuration(config, options.weights, begin_text, end_text)?;
    // Its context is within bounds now, which bounds the tables.
    configuration.appraise()?;
    let rotation = match rotation {
        None => None,
        Some(rotation) => {
            let tables = tables::rotation(&rotation, head_dim, configuration.context);
            Some(tables.ok_or(ImportError::Theta { found: rotation.theta })?)
        }
    };
    let recipe = Recipe {
        epsilon,
        configuration,
        provenance: provenance(&files, options.calibration_text),
        tensors: &weights,
        rest: Rest { rotation, tokenizer, template: template.into_bytes() },
        text: &text,
    };
    build(recipe, progress)
}

/// The calibration text's tokens, once the tokenizer and the configuration agree.
fn encode(source: &Source, text: &str) -> Result<Vec<u32>, ImportError> {
    let tokenizer = Tokenizer::parse(&source.tokenizer)?;
    let (expected, found) = (source.config.vocabulary_size, tokenizer.vocabulary_size());
    if found > expected {
        return Err(ImportError::Vocabulary { expected, found });
    }
    let end = text.floor_char_boundary(CALIBRATION_BYTES_MAX);
    let text = &text[..end];
    Ok(match source.config.pooling {
        None => tokenizer.encode(text)?,
        Some(_) => tokenizer.encode_sentence(text, text.len())?,
    })
}

/// The configuration but for the numbers that calibration chooses.
fn configuration(
    config: SourceConfig,
    weights: Option<WeightKind>,
    begin_text: String,
    end_text: String,
) -> Result<Configuration, ImportError> {
    let is_decoder = config.pooling.is_none();
    let by_default = if is_decoder { WeightKind::Int8 } else { WeightKind::Int8Groups };
    let head_norm_epsilon = match config.has_head_norms {
        true => Some(head_norm_epsilon(&config)?),
        false => None,
    };
    Ok(Configuration {
        vocabulary: config.vocabulary_size,
        width: config.hidden_size,
        hidden: config.intermediate_size,
        layers: config.layer_count,
        heads: config.head_count,
        kv_heads: config.kv_head_count,
        head_dim: config.head_dim,
        context: config.context_len,
        tied: is_decoder && config.is_head_tied,
        residual_bits: 0,
        norm_epsilon: 0,
        logit_bits: if is_decoder { LOGIT_BITS } else { 0 },
        begin_token: config.begin_token.filter(|_| is_decoder),
        end_tokens: if is_decoder { config.end_tokens } else { vec![] },
        begin_text,
        end_text,
        weights: weights.unwrap_or(by_default),
        biases: config.biases,
        head_norm_epsilon,
        window: config.window,
        pooling: config.pooling,
    })
}

/// round(epsilon · `head_dim` · 2^48).
fn head_norm_epsilon(config: &SourceConfig) -> Result<u64, ImportError> {
    let scaled = config.norm_eps.ratio().and_then(|(numerator, denominator)| {
        let numerator = u128::try_from(numerator).ok()?;
        let denominator = u128::from(denominator);
        let unit = u128::from(config.head_dim) << (2 * HEAD_NORM_BITS);
        let scaled = numerator.checked_mul(unit)?.checked_mul(2)?;
        let rounded = (scaled + denominator) / (2 * denominator);
        u64::try_from(rounded).ok().filter(|epsilon| *epsilon <= NORM_EPSILON_MAX)
    });
    scaled.ok_or(ImportError::Epsilon { found: config.norm_eps, limit: NORM_EPSILON_MAX })
}

fn provenance(files: &[source::SourceFile], calibration_text: &str) -> Provenance {
    let sources = files.iter().map(|file| SourceFile {
        name: file.name.clone(),
        size_bytes: file.size_bytes,
        digest: file.digest,
    });
    Provenance {
        converter: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sources: sources.collect(),
        calibration: Digest::of_content(calibration_text.as_bytes()),
    }
}

/// What a conversion starts from, once the source's configuration is understood.
struct Recipe<'a> {
    configuration: Configuration,
    provenance: Provenance,
    tensors: &'a dyn Tensors,
    rest: Rest,
    epsilon: Decimal,
    /// Tokens of the calibration text.
    text: &'a [u32],
}

/// The bytes of a model file.
fn build(recipe: Recipe<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Vec<u8>, ImportError> {
    let Recipe { configuration, provenance, tensors, rest, epsilon, text } = recipe;
    configuration.appraise()?;
    let contents = weights::contents(&configuration, tensors, rest, progress)?;
    let mut manifest = Manifest {
        arithmetic: crate::ARITHMETIC.to_owned(),
        family: configuration.family().to_owned(),
        configuration,
        provenance,
        parts: vec![],
    };
    calibrate::residual(&mut manifest, &contents, epsilon, text, progress)?;
    Ok(container::assemble(manifest, &contents))
}

/// Writes a file so that it is there whole, durable, or not at all.
///
/// # Errors
/// The system's reason; nothing is left behind.
pub fn write_model(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let written = write_durably(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first failure is the one to report; that nothing is left is best effort.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
