//! From a Hugging Face folder to the bytes of a model file: deterministic, all or nothing.
//!
//! No float is computed: source values are exact dyadic numbers, tables come from integers, and
//! the one choice that depends on data, the residual stream's fraction bits, is made by running
//! the exact arithmetic over a calibration text. What the arithmetic lacks is refused by name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::{EngineError, ModelError};
use crate::model::manifest::{Configuration, Manifest, Provenance};
use crate::model::{FAMILY, SourceFile, container};
use crate::source::{self, Decimal, Source, SourceConfig, SourceError};

mod calibrate;
mod quantise;
mod tables;
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
    /// The tokenizer refused the calibration text.
    #[error("tokenizer.json does not encode the calibration text: {reason}")]
    Tokenizer {
        /// What the tokenizer says.
        reason: String,
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
    /// The residual stream is too large even without fraction bits.
    #[error("the residual stream reaches {peak}: no fixed point leaves it fourfold headroom")]
    Residual {
        /// Its largest magnitude.
        peak: u64,
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

/// Converts a Hugging Face folder to the bytes of a model file.
///
/// The residual stream's fraction bits are chosen with `calibration_text`, which should resemble
/// what the model will read; the same folder and text give the same bytes on every machine.
///
/// # Errors
/// The first thing that the folder lacks or that the arithmetic does not compute, by name.
pub fn convert(
    folder: &Path,
    calibration_text: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, ImportError> {
    let source = Source::read(folder)?;
    let text = encode(&source.tokenizer, calibration_text)?;
    let Source { config, weights, tokenizer, text: source_text, files } = source;
    let (theta, head_dim) = (config.rope_theta, config.head_dim);
    let (cosines, sines) = theta
        .fixed()
        .and_then(|theta| tables::rotation(theta, head_dim, config.context_len))
        .ok_or(ImportError::Theta { found: theta })?;
    let template = source_text.chat_template.unwrap_or_default().into_bytes();
    let recipe = Recipe {
        epsilon: config.rms_norm_eps,
        configuration: configuration(config),
        provenance: provenance(&files),
        tensors: &weights,
        rest: Rest { cosines, sines, tokenizer, template },
        text: &text,
    };
    build(recipe, progress)
}

fn encode(tokenizer: &[u8], text: &str) -> Result<Vec<u32>, ImportError> {
    let refused = |error: tokenizers::Error| ImportError::Tokenizer { reason: error.to_string() };
    let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer).map_err(refused)?;
    let end = text.floor_char_boundary(CALIBRATION_BYTES_MAX);
    let encoding = tokenizer.encode_fast(&text[..end], false).map_err(refused)?;
    Ok(encoding.get_ids().to_vec())
}

/// The configuration but for the numbers that calibration chooses.
fn configuration(config: SourceConfig) -> Configuration {
    Configuration {
        vocabulary: config.vocabulary_size,
        width: config.hidden_size,
        hidden: config.intermediate_size,
        layers: config.layer_count,
        heads: config.head_count,
        kv_heads: config.kv_head_count,
        head_dim: config.head_dim,
        context: config.context_len,
        tied: config.is_head_tied,
        residual_bits: 0,
        norm_epsilon: 0,
        logit_bits: LOGIT_BITS,
        begin_token: config.begin_token,
        end_tokens: config.end_tokens,
    }
}

fn provenance(files: &[source::SourceFile]) -> Provenance {
    let sources = files.iter().map(|file| SourceFile {
        name: file.name.to_owned(),
        size_bytes: file.size_bytes,
        digest: file.digest,
    });
    Provenance {
        converter: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sources: sources.collect(),
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
        family: FAMILY.to_owned(),
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
