//! Why a stream is refused: its head, one of its events, or its receipts.

use alloc::string::String;

use tally_core::{Digest, cbor::CborError};
use thiserror::Error;

use super::Hex;

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamRejection {
    /// The head cannot be read.
    #[error("stream head cannot be read: {cause}")]
    Form {
        /// The first deviation.
        cause: CborError,
    },
    /// The head of a stream has another header than its key and its first receipt demand.
    #[error("header about `{subject}` is not the one that the stream head's key and ids demand")]
    Header {
        /// The subject found.
        subject: String,
    },
    /// The key that the head names did not sign it.
    #[error("signature is not by key {key_id} of issuer `{issuer}` over this stream head")]
    Signature {
        /// The policy's name for the issuer.
        issuer: String,
        /// The key that the header names.
        key_id: Digest,
    },
    /// The stream is not for the client's nonce.
    #[error("stream head holds nonce `{}`, the client sent `{}`", Hex(.found), Hex(.expected))]
    Nonce {
        /// The client's nonce.
        expected: alloc::vec::Vec<u8>,
        /// The head's nonce; empty if it has none.
        found: alloc::vec::Vec<u8>,
    },
    /// The stream is not for the client's request.
    #[error("the client's request yields commitment {computed}, the stream head says {expected}")]
    Request {
        /// The commitment in the head.
        expected: Digest,
        /// The commitment of the client's request.
        computed: Digest,
    },
    /// An event continues a choice that the head does not have.
    #[error("event is of choice {found}, and the stream head names {count}")]
    Choice {
        /// How many choices there are.
        count: usize,
        /// The choice found, from 0.
        found: u32,
    },
    /// An event is not what the issuer signed in its place.
    #[error("event is not signed by issuer `{issuer}` after those before it")]
    Event {
        /// The policy's name for the issuer.
        issuer: String,
    },
    /// The stream does not come with one receipt for each choice.
    #[error("stream ends with {found} receipts, its head names {expected}")]
    ReceiptCount {
        /// The choices of the head.
        expected: usize,
        /// The receipts found.
        found: usize,
    },
    /// The stream comes with another receipt.
    #[error("receipt of choice {choice} has id {}, the stream head says {}", Hex(.found), Hex(.expected))]
    Receipt {
        /// The choice, from 0.
        choice: u32,
        /// The id in the head.
        expected: [u8; 16],
        /// The id in the receipt.
        found: [u8; 16],
    },
    /// The receipt's statement says something else of the exchange than the head.
    #[error("{what} of the receipt of choice {choice} is not that of the stream head")]
    Statement {
        /// The choice, from 0.
        choice: u32,
        /// What differs.
        what: &'static str,
    },
    /// The streamed tokens are not the receipt's output.
    #[error(
        "the {found} tokens that were streamed for choice {choice} are not the receipt's output of \
         {expected}"
    )]
    Output {
        /// The choice, from 0.
        choice: u32,
        /// How many tokens the output has.
        expected: usize,
        /// How many tokens were streamed.
        found: u32,
    },
    /// The streamed events are not the receipt's response: cut short, or more.
    #[error(
        "streamed events have SHA-256 {found}, the response in the receipt of choice {choice} has \
         {expected}"
    )]
    Response {
        /// The choice, from 0.
        choice: u32,
        /// SHA-256 of the opened response.
        expected: Digest,
        /// SHA-256 of what was streamed.
        found: Digest,
    },
}

impl StreamRejection {
    /// Every code that [`code`](Self::code) returns.
    pub(super) const CODES: &[&str] = &[
        "stream/form",
        "stream/header",
        "stream/signature",
        "stream/nonce",
        "stream/request",
        "stream/choice",
        "stream/event",
        "stream/receipt-count",
        "stream/receipt",
        "stream/statement",
        "stream/output",
        "stream/response",
    ];

    /// The rejection's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form { .. } => "stream/form",
            Self::Header { .. } => "stream/header",
            Self::Signature { .. } => "stream/signature",
            Self::Nonce { .. } => "stream/nonce",
            Self::Request { .. } => "stream/request",
            Self::Choice { .. } => "stream/choice",
            Self::Event { .. } => "stream/event",
            Self::ReceiptCount { .. } => "stream/receipt-count",
            Self::Receipt { .. } => "stream/receipt",
            Self::Statement { .. } => "stream/statement",
            Self::Output { .. } => "stream/output",
            Self::Response { .. } => "stream/response",
        }
    }
}
