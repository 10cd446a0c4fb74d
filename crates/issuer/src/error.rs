//! Why a receipt or a key could not be made or read.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a receipt or a key could not be made or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// A key file could not be read or written.
    #[error("key file {path}: {source}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key file is readable by others than its owner.
    #[error("key file {path} has mode {found:o}, expected 600: others than its owner can read it")]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// The permission bits found.
        found: u32,
    },
    /// A key file is not of the expected form.
    #[error("key file {path} does not hold one line `{expected} ` and 64 hexadecimal digits")]
    KeyForm {
        /// The file.
        path: PathBuf,
        /// The words that begin the line.
        expected: &'static str,
    },
    /// The client's nonce has a length that the format does not allow.
    #[error("client nonce has {found} bytes, expected 8 to 64")]
    Nonce {
        /// The length found.
        found: usize,
    },
    /// Something is too large for the wire format.
    #[error("{what} has {found} {unit}, the limit is {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// The unit of the numbers.
        unit: &'static str,
        /// The limit.
        limit: u64,
        /// The measure found.
        found: u64,
    },
    /// Stop strings, biases or grammar do not fit the wire format.
    #[error("controls do not fit the wire format: {0}")]
    Controls(#[source] tally_core::cbor::CborError),
    /// Texts or vectors do not fit the wire format.
    #[error("embeddings do not fit the wire format: {0}")]
    Embedding(#[source] tally_core::cbor::CborError),
    /// Who gets what of the price cannot be computed.
    #[error("the answer cannot be attributed: {0}")]
    Attribution(#[from] tally_attribution::attributor::AttributeError),
    /// There is not one vector for each text.
    #[error("there are {found} vectors for {expected} texts")]
    Vectors {
        /// How many texts there are.
        expected: usize,
        /// How many vectors there are.
        found: usize,
    },
    /// A stream has no choice.
    #[error("a stream has 0 choices, expected 1 to 128")]
    NoChoice,
    /// The log did not take the entry, or has no proof for it.
    #[error(transparent)]
    Log(#[from] tally_log::LogError),
    /// The sequencer did not acknowledge the entry.
    #[error(transparent)]
    Sequencer(#[from] tally_log::SequencerError),
    /// A key name or time that a note cannot carry.
    #[error(transparent)]
    Note(#[from] tally_core::note::NoteError),
}
