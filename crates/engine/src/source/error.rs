//! Every way in which a folder is refused, naming file, field or tensor.

use std::io;

use thiserror::Error;

use super::gguf::GgufError;
use super::tensors::Shape;

/// Why a folder is not a model that this engine imports.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {kind}")]
    Read {
        /// The file.
        file: String,
        /// The system's reason.
        kind: io::ErrorKind,
    },
    /// A folder, pipe or device stands where a file is expected.
    #[error("{file} is not a regular file")]
    NotAFile {
        /// The file.
        file: String,
    },
    /// A file is longer than is read.
    #[error("{file} has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// The limit in bytes.
        limit: u64,
        /// Its size in bytes.
        found: u64,
    },
    /// A name in a list of files or modules that is not that of a file beside it.
    #[error(
        "{file} names {found}, expected a plain name of letters, digits, \".\", \"-\" or \"_\""
    )]
    Name {
        /// The list.
        file: String,
        /// The name, shortened.
        found: String,
    },
    /// More files than any model is split into.
    #[error("{file} names {found} files, the limit is {limit}")]
    ShardCount {
        /// The list.
        file: String,
        /// The limit.
        limit: usize,
        /// How many it names.
        found: usize,
    },
    /// The list of shards and a shard disagree about a tensor.
    #[error("{file} places tensor {tensor} in {listed}, it lies in {found}")]
    ShardTensor {
        /// The list.
        file: String,
        /// The tensor, shortened.
        tensor: String,
        /// The shard it is listed for; "no file" if for none.
        listed: String,
        /// The shard it lies in; "no file" if in none.
        found: String,
    },
    /// A module of a sentence encoder that is not computed here.
    #[error("modules.json has {found} as module {index}, expected {expected}")]
    Module {
        /// Index of the module, from 0.
        index: usize,
        /// Its type, shortened.
        found: String,
        /// What is supported there.
        expected: &'static str,
    },
    /// Modules of a sentence encoder around a decoder.
    #[error("modules.json stands beside a decoder's config.json, expected a model_type of bert")]
    DecoderModules,
    /// A GGUF file is not a model that is read.
    #[error("{0}")]
    Gguf(#[from] GgufError),
    /// A file is not UTF-8.
    #[error("{file} is not UTF-8 from byte {offset}")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// A file is not a JSON object.
    #[error("{file} is not a JSON object with distinct names: line {line}, column {column}")]
    Json {
        /// The file.
        file: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// A field is missing.
    #[error("{file} lacks the field {field}")]
    FieldMissing {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
    },
    /// A field has another type than expected.
    #[error("{file} has {field} = {found}, expected {expected}")]
    FieldType {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// The type expected.
        expected: &'static str,
        /// The JSON text found, shortened.
        found: String,
    },
    /// A number is outside its range.
    #[error("{file} has {field} = {found}, it must lie in {minimum}..={maximum}")]
    FieldRange {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// Smallest value taken.
        minimum: u64,
        /// Largest value taken.
        maximum: u64,
    },
    /// A number does not divide into whole parts.
    #[error("{file} has {field} = {found}, it must be a multiple of {divisor}")]
    Divisibility {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// What must divide it.
        divisor: u32,
    },
    /// A feature that this engine does not compute.
    #[error("{file} has {field} = {found}, only {supported} is supported")]
    Feature {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// The JSON text found, shortened.
        found: String,
        /// What would be supported.
        supported: &'static str,
    },
    /// A field whose meaning is not known here, so that ignoring it could change the model.
    #[error("{file} has {field} = {found}, a field that is not known")]
    FieldUnknown {
        /// The file.
        file: String,
        /// The field, shortened.
        field: String,
        /// The JSON text found, shortened.
        found: String,
    },
    /// The header of the weights is longer than is read, or than the file.
    #[error("the header of {file} has {found} bytes, at most {limit} are read")]
    HeaderSize {
        /// The file.
        file: String,
        /// The limit in bytes: that of headers or the file's rest.
        limit: u64,
        /// The size that the file states.
        found: u64,
    },
    /// The header of the weights cannot be parsed, or its offsets leave gaps or overlap.
    #[error("the header of {file} is refused: {reason}")]
    Header {
        /// The file.
        file: String,
        /// The reason that the format's own library gives.
        reason: String,
    },
    /// A tensor that the configuration asks for is missing.
    #[error("tensor {name} is missing, expected shape {expected}")]
    TensorMissing {
        /// Its name.
        name: String,
        /// The shape it would have.
        expected: Shape,
    },
    /// A tensor that the configuration does not ask for.
    #[error("tensor {name} of shape {found} is not part of this model")]
    TensorExtra {
        /// Its name, shortened.
        name: String,
        /// Its shape.
        found: Shape,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor {name} has shape {found}, expected {expected}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape that the configuration says.
        expected: Shape,
        /// The shape found.
        found: Shape,
    },
    /// A tensor's elements are of a type that is not read.
    #[error("tensor {name} has elements of type {found}, expected {expected}")]
    TensorType {
        /// Its name.
        name: String,
        /// The type found.
        found: String,
        /// The types that are read.
        expected: &'static str,
    },
    /// A tensor's bytes are not as many as its shape and type say, or lie outside the file.
    #[error("tensor {name} lies at bytes {start}..{end} of {available}, expected {expected} bytes")]
    TensorBytes {
        /// Its name.
        name: String,
        /// Bytes that shape and type ask for.
        expected: u64,
        /// First byte of its data.
        start: u64,
        /// First byte after its data.
        end: u64,
        /// Bytes of data that the file has.
        available: u64,
    },
    /// An element is infinite or not a number.
    #[error("tensor {name} is not finite at row {row}, column {column}")]
    NotFinite {
        /// The tensor's name.
        name: String,
        /// Row of the element, from 0.
        row: usize,
        /// Column of the element, from 0.
        column: usize,
    },
}

/// Most characters of foreign text that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// Foreign text, escaped and short enough for an error.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
