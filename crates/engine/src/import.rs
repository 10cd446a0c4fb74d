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
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

mod calibrate;
mod quantise;
mod tables;
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
    /// The model is an encoder, which is not converted yet.
    #[error("the model is an encoder, expected a decoder")]
    Encoder,
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
    let text = encode(&source, calibration_text)?;
    let Source { config, weights, tokenizer, text: chat, files } = source;
    let template = chat.chat_template.unwrap_or_default();
    let (begin_text, end_text) =
        (chat.begin_token.unwrap_or_default(), chat.end_token.unwrap_or_default());
    ChatTemplate::parse(&template, &begin_text, &end_text)?;
    let rotation = config.rotation.clone().ok_or(ImportError::Encoder)?;
    let (cosines, sines) = tables::rotation(&rotation, config.head_dim, config.context_len)
        .ok_or(ImportError::Theta { found: rotation.theta })?;
    let recipe = Recipe {
        epsilon: config.norm_eps,
        configuration: configuration(config, begin_text, end_text),
        provenance: provenance(&files),
        tensors: &weights,
        rest: Rest { cosines, sines, tokenizer, template: template.into_bytes() },
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
    Ok(tokenizer.encode(&text[..end])?)
}

/// The configuration but for the numbers that calibration chooses.
fn configuration(config: SourceConfig, begin_text: String, end_text: String) -> Configuration {
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
        begin_text,
        end_text,
    }
}

fn provenance(files: &[source::SourceFile]) -> Provenance {
    let sources = files.iter().map(|file| SourceFile {
        name: file.name.clone(),
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
