//! A gold answer: which scores of a receipt are right, fixed before anybody is asked.

use alloc::{format, string::String};

use super::Word;
use super::rating::decode_score;
use crate::Digest;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::commitment::Salt;
use crate::contribution::unknown;

/// Media type of a gold answer.
pub const GOLD_CONTENT_TYPE: &str = "application/tally-gold+cbor";

const VERSION: u64 = 1;

/// Which scores of one receipt are right.
///
/// Its digest in the log says nothing until the signed bytes are shown: they hold a salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gold {
    /// The operator's Ed25519 key.
    pub signer: [u8; 32],
    /// Digest of the receipt.
    pub receipt: Digest,
    /// The least right score.
    pub from: u8,
    /// The greatest right score.
    pub to: u8,
    /// The signer's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// Random bytes, new for each.
    pub salt: Salt,
}

impl Gold {
    /// Whether a score is right.
    #[must_use]
    pub const fn is_right(&self, score: u8) -> bool {
        self.from <= score && score <= self.to
    }
}

impl Word for Gold {
    const CONTENT_TYPE: &'static str = GOLD_CONTENT_TYPE;

    fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    fn subject(&self) -> String {
        format!("tally:gold:{}", self.receipt)
    }
}

impl Cbor for Gold {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(7).key(1).uint(VERSION);
        encoder.key(2).bytes(&self.signer);
        encoder.key(3).bytes(self.receipt.as_bytes());
        encoder.key(4).uint(self.from.into());
        encoder.key(5).uint(self.to.into());
        encoder.key(6).uint(self.time_ms);
        encoder.key(7).bytes(self.salt.as_bytes());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("gold answer")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => return Err(unknown("version of a gold answer", found)),
        }
        map.require(decoder, 2)?;
        let signer = decoder.array_of("signer")?;
        map.require(decoder, 3)?;
        let receipt = decoder.digest("receipt of a gold answer")?;
        map.require(decoder, 4)?;
        let from = decode_score(decoder, "least right score")?;
        map.require(decoder, 5)?;
        let offset = decoder.offset();
        let to = decode_score(decoder, "greatest right score")?;
        if to < from {
            let (limit, found) = (from.into(), to.into());
            return Err(CborError::Below { what: "greatest right score", offset, limit, found });
        }
        map.require(decoder, 6)?;
        let time_ms = decoder.uint()?;
        map.require(decoder, 7)?;
        let salt = Salt::from_bytes(decoder.array_of("salt")?);
        map.end(decoder)?;
        Ok(Self { signer, receipt, from, to, time_ms, salt })
    }
}
