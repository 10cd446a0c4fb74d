//! A rating: how good somebody found an answer, bound to its receipt.

use alloc::{format, string::String};

use super::Word;
use crate::Digest;
use crate::account::Account;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::contribution::{decode_payee, unknown, words};

/// Media type of a rating.
pub const RATING_CONTENT_TYPE: &str = "application/tally-rating+cbor";
/// The best score.
pub const SCORE_MAX: u8 = 100;
/// Most bytes of a comment.
pub const COMMENT_BYTES_MAX: u64 = 1024;

const VERSION: u64 = 1;

/// What a rater says of one receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// The rater's Ed25519 key.
    pub rater: [u8; 32],
    /// Digest of the receipt.
    pub receipt: Digest,
    /// From 0, useless, to [`SCORE_MAX`].
    pub score: u8,
    /// The signer's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// Who gets what it earns, where that is not the rater: another key, or the commons.
    pub payee: Option<Account>,
    /// Why, in 1 to [`COMMENT_BYTES_MAX`] bytes.
    pub comment: Option<String>,
}

impl Rating {
    /// Who gets what it earns.
    #[must_use]
    pub fn account(&self) -> Account {
        self.payee.unwrap_or(Account::Contributor(self.rater))
    }
}

impl Rating {
    /// Whether another one differs in nothing but when it was said.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { time_ms: self.time_ms, ..other.clone() }
    }
}

impl Word for Rating {
    const CONTENT_TYPE: &'static str = RATING_CONTENT_TYPE;

    fn signer(&self) -> &[u8; 32] {
        &self.rater
    }

    fn subject(&self) -> String {
        format!("tally:rating:{}", self.receipt)
    }
}

impl Cbor for Rating {
    fn encode_into(&self, encoder: &mut Encoder) {
        let optional = [self.payee.is_some(), self.comment.is_some()];
        let optional = optional.into_iter().filter(|is_present| *is_present).count();
        encoder.map(optional.saturating_add(5)).key(1).uint(VERSION);
        encoder.key(2).bytes(&self.rater);
        encoder.key(3).bytes(self.receipt.as_bytes());
        encoder.key(4).uint(self.score.into());
        encoder.key(5).uint(self.time_ms);
        if let Some(payee) = &self.payee {
            payee.encode_into(encoder.key(6));
        }
        if let Some(comment) = &self.comment {
            encoder.key(7).text(comment);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("rating")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => return Err(unknown("rating version", found)),
        }
        map.require(decoder, 2)?;
        let rater = decoder.array_of("rater")?;
        map.require(decoder, 3)?;
        let receipt = decoder.digest("rated receipt")?;
        map.require(decoder, 4)?;
        let score = decode_score(decoder, "score")?;
        map.require(decoder, 5)?;
        let time_ms = decoder.uint()?;
        let payee = match map.optional(decoder, 6)? {
            true => Some(decode_payee(decoder, &rater)?),
            false => None,
        };
        let comment = match map.optional(decoder, 7)? {
            true => Some(words(decoder, "comment", COMMENT_BYTES_MAX)?),
            false => None,
        };
        map.end(decoder)?;
        Ok(Self { rater, receipt, score, time_ms, payee, comment })
    }
}

/// A score from 0 to [`SCORE_MAX`].
pub(super) fn decode_score(decoder: &mut Decoder<'_>, what: &'static str) -> Result<u8, CborError> {
    let score = decoder.uint_up_to(what, SCORE_MAX.into())?;
    Ok(u8::try_from(score).unwrap_or(SCORE_MAX))
}
