//! A use: which ratings went into a training batch, or changed a selection.

use alloc::{format, string::String, vec::Vec};

use super::Word;
use crate::Digest;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::contribution::unknown;

/// Media type of a use.
pub const USE_CONTENT_TYPE: &str = "application/tally-rating-use+cbor";
/// Most ratings that one use names: it stays within what a signed statement may hold.
pub const USED_RATINGS_MAX: u64 = 256;

const VERSION: u64 = 1;

/// An operator's word that ratings were used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The operator's Ed25519 key.
    pub signer: [u8; 32],
    /// SHA-256 of what they were used in: the training batch, or the record of the selection.
    pub batch: Digest,
    /// Digests of the signed ratings, 1 to [`USED_RATINGS_MAX`], in strictly increasing order.
    pub ratings: Vec<Digest>,
    /// The signer's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
}

impl Word for Use {
    const CONTENT_TYPE: &'static str = USE_CONTENT_TYPE;

    fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    fn subject(&self) -> String {
        format!("tally:rating-use:{}", self.batch)
    }
}

impl Cbor for Use {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(5).key(1).uint(VERSION);
        encoder.key(2).bytes(&self.signer);
        encoder.key(3).bytes(self.batch.as_bytes());
        encoder.key(4).array(self.ratings.len());
        for rating in &self.ratings {
            encoder.bytes(rating.as_bytes());
        }
        encoder.key(5).uint(self.time_ms);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("use of ratings")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => return Err(unknown("version of a use", found)),
        }
        map.require(decoder, 2)?;
        let signer = decoder.array_of("signer")?;
        map.require(decoder, 3)?;
        let batch = decoder.digest("batch")?;
        map.require(decoder, 4)?;
        let count = decoder.array_nonempty("used ratings", USED_RATINGS_MAX)?;
        let mut ratings: Vec<Digest> = Vec::new();
        for place in 0..count {
            let rating = decoder.digest("used rating")?;
            if ratings.last().is_some_and(|last| *last >= rating) {
                return Err(unknown("place of a rating that is out of order", place));
            }
            ratings.push(rating);
        }
        map.require(decoder, 5)?;
        let time_ms = decoder.uint()?;
        map.end(decoder)?;
        Ok(Self { signer, batch, ratings, time_ms })
    }
}
