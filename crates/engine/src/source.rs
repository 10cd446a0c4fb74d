//! Hardened reading of a Hugging Face folder or a GGUF file: what a model is imported from.
//!
//! Everything here is input from strangers. Files are read whole under named limits (no memory
//! map: the bytes that were hashed are the bytes that are read), numbers are exact (weights as
//! mantissa · 2^exponent, decimals from their own digits; no float), and what this engine would
//! compute otherwise than the folder means is refused by name. Nothing is converted here.

use std::path::Path;

use tally_core::Digest;

pub mod config;
pub mod decimal;
pub mod element;
pub mod error;
mod folder;
pub mod gguf;
mod json;
mod modules;
pub mod safetensors;
pub mod tensors;
#[cfg(test)]
mod tests;
pub mod text;
pub mod weights;
mod words;

pub use config::{
    Architecture, Biases, Pooling, PoolingKind, Rotation, RotationScaling, SourceConfig, Window,
};
pub use decimal::Decimal;
pub use element::Dyadic;
pub use error::SourceError;
pub use tensors::Shape;
pub use text::SourceText;
pub use weights::{Tensor, Weights};

use folder::Folder;
use modules::Modules;

/// Most bytes of `config.json`.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of `tokenizer.json`; the largest published ones have about 30 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 1 << 26;
/// Most bytes of `tokenizer_config.json` and of `chat_template.jinja`.
pub const TOKENIZER_CONFIG_BYTES_MAX: u64 = 1 << 22;

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
    /// Reads a file of GGUF, or a folder with `config.json`, `tokenizer.json`, weights in one file or in shards and,
    /// where they exist, `generation_config.json`, `tokenizer_config.json` and
    /// `chat_template.jinja`; for an encoder also the files of sentence-transformers.
    ///
    /// # Errors
    /// See [`SourceError`]: the first fault found, naming file, field or tensor.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        if path.is_file() {
            return Self::read_gguf(path);
        }
        let mut folder = Folder::new(path);
        let modules = folder.read("modules.json", CONFIG_BYTES_MAX)?;
        let modules = modules.map(|bytes| Modules::parse(&bytes)).transpose()?;
        let prefix = modules.as_ref().map_or("", |modules| modules.prefix.as_str());
        let named = |name: &str| format!("{prefix}{name}");
        let bytes = folder.require(&named("config.json"), CONFIG_BYTES_MAX)?;
        let mut config = SourceConfig::parse(&bytes)?;
        let tokenizer = folder.require(&named("tokenizer.json"), TOKENIZER_BYTES_MAX)?;
        let template = folder.read(&named("chat_template.jinja"), TOKENIZER_CONFIG_BYTES_MAX)?;
        let text = folder.read(&named("tokenizer_config.json"), TOKENIZER_CONFIG_BYTES_MAX)?;
        match (&modules, config.architecture) {
            (Some(modules), Architecture::Bert) => {
                modules.complete(&mut folder, &mut config, text.as_deref())?;
                words::refuse_contradiction(&tokenizer, text.as_deref())?;
            }
            (None, Architecture::Bert) => return Err(folder::not_found("modules.json")),
            // Sentence encoders of other families pool what a decoder computes.
            (Some(_), _) => return Err(SourceError::DecoderModules),
            (None, _) => {
                if let Some(bytes) = folder.read("generation_config.json", CONFIG_BYTES_MAX)? {
                    config::add_end_tokens(&mut config, &bytes)?;
                }
            }
        }
        let text = SourceText::parse(text.as_deref(), template)?;
        let weights = safetensors::read(&mut folder, prefix, &config)?;
        Ok(Self { config, weights, tokenizer, text, files: folder.into_files() })
    }
    fn read_gguf(path: &Path) -> Result<Self, SourceError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = folder::read_file(path, &name, safetensors::WEIGHTS_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| folder::not_found(&name))?;
        let files = vec![folder::described(&name, &bytes)];
        let gguf::Contents { config, weights, tokenizer, text } = gguf::Contents::parse(bytes)?;
        Ok(Self { config, weights, tokenizer, text, files })
    }
}
