//! Hardened reading of a Hugging Face folder: what a model is imported from.
//!
//! Everything here is input from strangers. Files are read whole under named limits (no memory
//! map: the bytes that were hashed are the bytes that are read), numbers are exact (weights as
//! mantissa · 2^exponent, decimals from their own digits; no float), and what this engine would
//! compute otherwise than the folder means is refused by name. Nothing is converted here.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tally_core::Digest;

pub mod config;
pub mod decimal;
pub mod element;
pub mod error;
mod json;
pub mod tensors;
#[cfg(test)]
mod tests;
pub mod text;
pub mod weights;

pub use config::{
    Architecture, Biases, Pooling, PoolingKind, Rotation, RotationScaling, SourceConfig, Window,
};
pub use decimal::Decimal;
pub use element::Dyadic;
pub use error::SourceError;
pub use tensors::Shape;
pub use text::SourceText;
pub use weights::{Tensor, Weights};

/// Most bytes of `config.json`.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of `tokenizer.json`; the largest published ones have about 30 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 1 << 26;
/// Most bytes of `tokenizer_config.json` and of `chat_template.jinja`.
pub const TOKENIZER_CONFIG_BYTES_MAX: u64 = 1 << 22;
/// Most bytes of `model.safetensors`, which is held in memory.
pub const WEIGHTS_BYTES_MAX: u64 = 1 << 36;

/// A file of the folder that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the folder, or its own name where it is all there is.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// A folder, read and found to be a model of a known family with every tensor in place.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model's shape.
    pub config: SourceConfig,
    /// Its tensors.
    pub weights: Weights,
    /// The bytes of `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Chat template and the texts of its tokens.
    pub text: SourceText,
    /// The files that were read, in order of name.
    pub files: Vec<SourceFile>,
}

impl Source {
    /// Reads a folder with `config.json`, `model.safetensors`, `tokenizer.json` and, where they
    /// exist, `tokenizer_config.json` and `chat_template.jinja`.
    ///
    /// # Errors
    /// See [`SourceError`]: the first fault found, naming file, field or tensor.
    pub fn read(folder: &Path) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        let mut read = |name: &str, limit| read_file(folder, name, limit, &mut files);
        let config = SourceConfig::parse(&required(&mut read, "config.json", CONFIG_BYTES_MAX)?)?;
        let tokenizer = required(&mut read, "tokenizer.json", TOKENIZER_BYTES_MAX)?;
        let template = read("chat_template.jinja", TOKENIZER_CONFIG_BYTES_MAX)?;
        let text = read("tokenizer_config.json", TOKENIZER_CONFIG_BYTES_MAX)?;
        let text = SourceText::parse(text.as_deref(), template)?;
        let Some(bytes) = read("model.safetensors", WEIGHTS_BYTES_MAX)? else {
            return Err(missing_weights(folder));
        };
        let weights = Weights::parse(bytes, &config)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { config, weights, tokenizer, text, files })
    }
}

fn required(
    read: &mut impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, SourceError>,
    name: &str,
    limit: u64,
) -> Result<Vec<u8>, SourceError> {
    read(name, limit)?
        .ok_or(SourceError::Read { file: name.to_owned(), kind: io::ErrorKind::NotFound })
}

fn missing_weights(folder: &Path) -> SourceError {
    if folder.join("model.safetensors.index.json").exists() {
        return SourceError::Sharded;
    }
    SourceError::Read { file: "model.safetensors".to_owned(), kind: io::ErrorKind::NotFound }
}

/// The content of a regular file of at most `limit` bytes; `None` if there is none of that name.
fn read_file(
    folder: &Path,
    name: &str,
    limit: u64,
    files: &mut Vec<SourceFile>,
) -> Result<Option<Vec<u8>>, SourceError> {
    let failed = |error: io::Error| SourceError::Read { file: name.to_owned(), kind: error.kind() };
    let path = folder.join(name);
    // Asked before opening, since opening a pipe would wait for its writer.
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => {
            return Err(SourceError::NotAFile { file: name.to_owned() });
        }
        Ok(found) if found.len() > limit => {
            return Err(SourceError::TooLarge { file: name.to_owned(), limit, found: found.len() });
        }
        Ok(_) => {}
    }
    let file = File::open(&path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    let size_bytes = bytes.len() as u64;
    if size_bytes > limit {
        return Err(SourceError::TooLarge { file: name.to_owned(), limit, found: size_bytes });
    }
    files.push(SourceFile {
        name: name.to_owned(),
        size_bytes,
        digest: Digest::of_content(&bytes),
    });
    Ok(Some(bytes))
}
