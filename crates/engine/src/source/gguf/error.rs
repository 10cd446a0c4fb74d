//! Every way in which a GGUF file is refused, naming key or tensor.

use thiserror::Error;

/// Why a GGUF file is not a model that this engine imports.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file ends within something, or something states to be longer than the file.
    #[error(
        "the file ends within {what} at byte {offset}: {needed} bytes are needed, {available} are left"
    )]
    Truncated {
        /// What is read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// How many bytes it needs.
        needed: u64,
        /// How many bytes there are.
        available: usize,
    },
    /// The file does not begin with "GGUF".
    #[error("the file does not begin with GGUF")]
    Magic,
    /// A version that is not read.
    #[error("the file has version {found}, expected 2 or 3 in little-endian order")]
    Version {
        /// The version.
        found: u32,
    },
    /// Too many of something.
    #[error("the file has {found} {what}, the limit is {limit}")]
    Count {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// How many there are.
        found: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// What the text is.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A key or tensor occurs twice.
    #[error("{what} {name} occurs twice")]
    Twice {
        /// What occurs twice.
        what: &'static str,
        /// Its name, shortened.
        name: String,
    },
    /// A type that the format does not define, or that is not read there.
    #[error("key {key} has a value of type {found}, expected {expected}")]
    Type {
        /// The key, shortened.
        key: String,
        /// What is expected.
        expected: &'static str,
        /// What is found.
        found: String,
    },
    /// A key is missing.
    #[error("key {key} is missing, expected {expected}")]
    KeyMissing {
        /// The key.
        key: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A key of the architecture that is not known, so that ignoring it could change the model.
    #[error("key {key} = {found} is not known")]
    KeyUnknown {
        /// The key, shortened.
        key: String,
        /// Its value, shortened.
        found: String,
    },
    /// A value that is out of range or asks for what is not computed here.
    #[error("key {key} = {found}, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value, shortened.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// A tensor's type is not read.
    #[error("tensor {name} has type {found}, expected F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K")]
    TensorType {
        /// Its name.
        name: String,
        /// The number of its type.
        found: u32,
    },
    /// A tensor's shape is not one of whole blocks in 1 to 4 axes.
    #[error("tensor {name} has {found}, expected 1 to 4 axes of whole blocks")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its axes, shortened.
        found: String,
    },
    /// A tensor's data is not aligned, outside the file, or overlaps another's.
    #[error(
        "tensor {name} lies at byte {start} of {available} of data with {size} bytes, expected alignment to {alignment} behind byte {from}"
    )]
    TensorPlace {
        /// Its name.
        name: String,
        /// First byte of its data.
        start: u64,
        /// Its size in bytes.
        size: u64,
        /// Where the tensor before it ends.
        from: u64,
        /// The alignment.
        alignment: u64,
        /// Bytes of data that the file has.
        available: u64,
    },
    /// The list of tokens contradicts itself.
    #[error("token {index} of tokenizer.ggml.{list} is {found}, expected {expected}")]
    Token {
        /// The list.
        list: &'static str,
        /// Its index, from 0.
        index: usize,
        /// What stands there, shortened.
        found: String,
        /// What is expected.
        expected: &'static str,
    },
    /// Lists of tokens that differ in length.
    #[error("tokenizer.ggml.{list} has {found} entries, expected {expected}")]
    TokenCount {
        /// The list.
        list: &'static str,
        /// How many tokens there are.
        expected: usize,
        /// How many entries the list has.
        found: usize,
    },
    /// The tokenizer would be longer than the file that it comes from.
    #[error("the tokenizer takes more than {limit} {what}")]
    TokenizerSize {
        /// What it takes.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
