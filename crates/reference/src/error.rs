//! What goes wrong when a model is computed in floats.

use tally_engine::source::SourceError;
use thiserror::Error;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A tensor's values cannot be read.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// A tensor that the configuration asks for is not there.
    #[error("tensor {name} is missing")]
    TensorMissing {
        /// Its name.
        name: String,
    },
    /// A tensor has another size than the configuration says.
    #[error("tensor {name} has {found} values, expected {rows} x {columns}")]
    TensorSize {
        /// Its name.
        name: String,
        /// Rows by the configuration.
        rows: usize,
        /// Columns by the configuration.
        columns: usize,
        /// Values found.
        found: usize,
    },
    /// The configuration lacks what its architecture needs.
    #[error("the configuration has no {what}")]
    Lacking {
        /// What is not there.
        what: &'static str,
    },
    /// Logits were asked of an encoder, or an embedding of a decoder.
    #[error("the model is {found}, expected {expected}")]
    Kind {
        /// What the call needs.
        expected: &'static str,
        /// What the model is.
        found: &'static str,
    },
    /// No token at all.
    #[error("the text has no token")]
    Empty,
    /// More tokens than positions.
    #[error("the text has {found} tokens, the context has {limit}")]
    TooLong {
        /// Positions of the context.
        limit: usize,
        /// Tokens given.
        found: usize,
    },
    /// A token that the vocabulary lacks.
    #[error("token {found} is not in the vocabulary of {limit}")]
    Token {
        /// Tokens of the vocabulary.
        limit: u32,
        /// The token given.
        found: u32,
    },
    /// A position that the text lacks.
    #[error("position {found} is not in the text of {limit} tokens")]
    Position {
        /// Tokens of the text.
        limit: usize,
        /// The position given.
        found: usize,
    },
}
