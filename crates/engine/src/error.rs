//! Every way in which the engine refuses, by cause, with what was expected and what was found.

use tally_core::cbor::CborError;
use thiserror::Error;

use crate::language::LanguageError;
use crate::sampler::SamplerError;

/// Why the engine refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A value left the range that the arithmetic states for it (`spec/arithmetic.md`, Bounds).
    #[error("layer {layer}, {operation}: magnitude {found} exceeds the bound {bound}")]
    Bound {
        /// Index of the decoder layer; the layer count for what follows the last layer.
        layer: u32,
        /// The operation whose bound it is.
        operation: Operation,
        /// The largest legal magnitude.
        bound: u64,
        /// The magnitude found.
        found: u64,
    },
    /// A token id that the vocabulary does not have.
    #[error("token id {found} is not in the vocabulary of {count}")]
    Token {
        /// The id.
        found: u32,
        /// How many tokens the model has.
        count: u32,
    },
    /// More positions than the model's context has.
    #[error("{found} positions do not fit the context of {limit}")]
    Context {
        /// Positions asked for.
        found: u64,
        /// Positions the model has.
        limit: u32,
    },
    /// A sequence without any token cannot be continued.
    #[error("the input is empty: at least one token is needed")]
    EmptyInput,
    /// A number of a request that is outside its range.
    #[error("{what} is {found}, it must lie in {minimum}..={maximum}")]
    Parameter {
        /// The parameter.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The smallest legal value.
        minimum: u64,
        /// The largest legal value.
        maximum: u64,
    },
    /// The sampler refused its parameters.
    #[error("sampler: {0}")]
    Sampler(#[from] SamplerError),
    /// A control that the model's language refuses, or a grammar that cannot go on.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// A sequence that another model began.
    #[error("the sequence was begun by another model")]
    ForeignSequence,
    /// What only a decoder can do was asked of an encoder.
    #[error("the model is an encoder: it makes vectors of texts and continues none")]
    NotADecoder,
    /// What only an encoder can do was asked of a decoder.
    #[error("the model is a decoder: it continues texts and makes no vectors of them")]
    NotAnEncoder,
    /// Controls of a task that was made without the language of its model.
    #[error("stop strings and grammars need the model's language, the task has none")]
    NoLanguage,
    /// A task whose keys and values need more memory than a batch may take.
    #[error("the task needs up to {needed} bytes of cache, the limit of all tasks is {limit}")]
    CacheLimit {
        /// What its longest output needs.
        needed: u64,
        /// What all may take.
        limit: u64,
    },
    /// As many tasks are running and waiting as a batch may have.
    #[error("{limit} tasks are running or waiting, the most at a time")]
    TasksBusy {
        /// How many may run and wait.
        limit: usize,
    },
    /// A task's id that another has.
    #[error("task {id} is running or waiting already")]
    TaskRuns {
        /// The id.
        id: u64,
    },
    /// The worker threads could not be started.
    #[error("{count} worker threads could not be started")]
    Threads {
        /// How many were asked for.
        count: usize,
    },
    /// This machine or build lacks the kernel that was asked for by name.
    #[error("kernel {name} does not exist on this machine")]
    Kernel {
        /// The name.
        name: String,
    },
}

/// An operation of the arithmetic, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Embedding row into the residual stream.
    Embedding,
    /// Attention scores into their fixed-point form.
    Score,
    /// Addition of the attention output to the residual stream.
    AttentionResidual,
    /// Gate projection into the fixed-point form that the activation table takes.
    Gate,
    /// Addition of the feed-forward output to the residual stream.
    FeedForwardResidual,
    /// Output projection into logits.
    Logits,
    /// Layer norm into the residual stream.
    LayerNorm,
    /// An encoder's vector of a text.
    Pooling,
}

impl Operation {
    /// Every operation that can be refused.
    pub const ALL: [Self; 8] = [
        Self::Embedding,
        Self::Score,
        Self::AttentionResidual,
        Self::Gate,
        Self::FeedForwardResidual,
        Self::Logits,
        Self::LayerNorm,
        Self::Pooling,
    ];
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embedding",
            Self::Score => "attention score",
            Self::AttentionResidual => "attention residual",
            Self::Gate => "gate",
            Self::FeedForwardResidual => "feed-forward residual",
            Self::Logits => "logits",
            Self::LayerNorm => "layer norm",
            Self::Pooling => "pooling",
        })
    }
}

/// Why bytes are not a model file of this version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("model file cannot be read: {kind}")]
    Read {
        /// The system's reason.
        kind: std::io::ErrorKind,
    },
    /// The file is longer than this version reads.
    #[error("model file has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest is longer than this version reads.
    #[error("manifest has {found} bytes, the limit is {limit}")]
    ManifestTooLarge {
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file does not begin with the magic of this version.
    #[error("the first {} bytes are not those of a model file of version 1", crate::model::MAGIC.len())]
    Magic,
    /// The file ends before what it announced.
    #[error("model file ends at byte {found}, {what} needs {expected}")]
    Truncated {
        /// What needs more bytes.
        what: String,
        /// Size needed in bytes.
        expected: u64,
        /// Size found in bytes.
        found: u64,
    },
    /// Bytes follow the last part.
    #[error("{count} bytes follow the last part")]
    Trailing {
        /// How many.
        count: u64,
    },
    /// A padding byte is not zero.
    #[error("padding before {before} is not zero at byte {offset}")]
    Padding {
        /// The part that the padding precedes.
        before: String,
        /// Offset of the byte in the file.
        offset: u64,
    },
    /// The manifest is not the deterministic CBOR of this version.
    #[error("manifest: {0}")]
    Manifest(#[from] CborError),
    /// An arithmetic that this engine does not compute.
    #[error("the model asks for arithmetic {found}, this engine computes {expected}")]
    Arithmetic {
        /// This engine's arithmetic.
        expected: &'static str,
        /// The model's.
        found: String,
    },
    /// A family of models that this engine does not know.
    #[error("the model is of family {found}, this engine knows {expected}")]
    Family {
        /// The families known.
        expected: &'static str,
        /// The model's.
        found: String,
    },
    /// A number of the configuration is outside what the bounds of the arithmetic allow.
    #[error("configuration {field} is {found}, it must lie in {minimum}..={maximum}")]
    Configuration {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The smallest legal value.
        minimum: u64,
        /// The largest legal value.
        maximum: u64,
    },
    /// The end tokens are not in strictly increasing order.
    #[error("end tokens are not in strictly increasing order")]
    EndTokens,
    /// Two numbers of the configuration do not go together.
    #[error("configuration {field} is {found}, it must be a multiple of {divisor}")]
    Divisibility {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What must divide it.
        divisor: u64,
    },
    /// The list of parts differs from what the configuration demands.
    #[error("part {index} is {found}, the configuration demands {expected}")]
    PartName {
        /// Index in the list.
        index: usize,
        /// The name demanded.
        expected: String,
        /// The name found.
        found: String,
    },
    /// A part has another kind, shape, offset or size than the configuration demands.
    #[error("part {part}: {what} is {found}, expected {expected}")]
    Part {
        /// Name of the part.
        part: String,
        /// What differs.
        what: &'static str,
        /// What the configuration demands.
        expected: String,
        /// What the manifest says.
        found: String,
    },
    /// A value inside a part violates a bound of the arithmetic.
    #[error("part {part}: element {index} is {found}, it must lie in {minimum}..={maximum}")]
    Element {
        /// Name of the part.
        part: String,
        /// Index of the element.
        index: usize,
        /// Its value.
        found: i64,
        /// The smallest legal value.
        minimum: i64,
        /// The largest legal value.
        maximum: i64,
    },
    /// A part that is text is not UTF-8.
    #[error("part {part} is not UTF-8 at byte {offset}")]
    Utf8 {
        /// Name of the part.
        part: String,
        /// Offset within the part.
        offset: usize,
    },
}
