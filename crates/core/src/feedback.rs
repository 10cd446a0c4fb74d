//! Feedback: what raters say of receipts, what the right answers were, and what was used.
//!
//! Three things are signed, each by the key that it names: a [`Rating`] by its rater, a [`Gold`] and a
//! [`Use`] by the operator. The log has the digests of the signed bytes alone, which tell nothing: a
//! signature cannot be guessed. Who earns by them is in [`payout`]. `spec/attribution.md`, Feedback.

use alloc::string::String;

use thiserror::Error;

use crate::Digest;
use crate::cbor::{Cbor, CborError};
use crate::ed25519::Ed25519Error;
use crate::receipt::{ProtectedHeader, SignedStatement};

mod gold;
pub mod payout;
mod rating;
#[cfg(test)]
mod tests;
mod usage;

pub use gold::{GOLD_CONTENT_TYPE, Gold};
pub use rating::{COMMENT_BYTES_MAX, RATING_CONTENT_TYPE, Rating, SCORE_MAX};
pub use usage::{USE_CONTENT_TYPE, USED_RATINGS_MAX, Use};

/// Why signed feedback is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeedbackError {
    /// The bytes are not deterministic CBOR of this form.
    #[error(transparent)]
    Form(#[from] CborError),
    /// The header is not the one that the payload demands.
    #[error("header is of `{found}`, the payload demands `{expected}`")]
    Header {
        /// The subject that the payload demands.
        expected: String,
        /// The subject that stands there.
        found: String,
    },
    /// The header has a media type that feedback does not have.
    #[error("media type is `{found}`, which is none of feedback")]
    ContentType {
        /// The media type.
        found: String,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] Ed25519Error),
}

/// What a key says under its own name: the header follows from the payload.
pub trait Word: Cbor {
    /// The media type of the payload.
    const CONTENT_TYPE: &'static str;

    /// The key that signs it.
    fn signer(&self) -> &[u8; 32];

    /// What it is about, as the header has it.
    fn subject(&self) -> String;

    /// The only protected header that its envelope has.
    fn header(&self) -> ProtectedHeader {
        ProtectedHeader::of_key(self.signer(), Self::CONTENT_TYPE, self.subject())
    }

    /// The envelope with a signature over it that `sign` makes.
    fn signed(&self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> SignedStatement {
        SignedStatement::sign(&self.header(), self.encode(), sign)
    }

    /// Reads a signed one, and verifies that the key which it names signed it.
    ///
    /// # Errors
    /// Malformed bytes, another header than its own, a signature that does not hold.
    fn open(signed: &SignedStatement) -> Result<Self, FeedbackError> {
        let word = Self::parse(&signed.payload)?;
        let (found, expected) = (ProtectedHeader::parse(&signed.protected)?, word.header());
        if found != expected {
            let (expected, found) = (expected.subject, found.subject);
            return Err(FeedbackError::Header { expected, found });
        }
        signed.verify_by(word.signer())?;
        Ok(word)
    }
}

/// Signed feedback of any of the three kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// What a rater says of a receipt.
    Rating(Rating),
    /// What the right scores of a receipt were.
    Gold(Gold),
    /// Which ratings were used.
    Use(Use),
}

impl Feedback {
    /// Reads signed feedback of whatever kind it is, and verifies its signature.
    ///
    /// # Errors
    /// As [`Word::open`], and a media type that none of the three has.
    pub fn open(signed: &SignedStatement) -> Result<Self, FeedbackError> {
        let header = ProtectedHeader::parse(&signed.protected)?;
        match header.content_type.as_str() {
            RATING_CONTENT_TYPE => Rating::open(signed).map(Self::Rating),
            GOLD_CONTENT_TYPE => Gold::open(signed).map(Self::Gold),
            USE_CONTENT_TYPE => Use::open(signed).map(Self::Use),
            _ => Err(FeedbackError::ContentType { found: header.content_type }),
        }
    }

    /// The receipt that it is about, if it is about one.
    #[must_use]
    pub const fn receipt(&self) -> Option<&Digest> {
        match self {
            Self::Rating(rating) => Some(&rating.receipt),
            Self::Gold(gold) => Some(&gold.receipt),
            Self::Use(_) => None,
        }
    }
}
