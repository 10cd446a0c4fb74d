//! What an operator signs about one epoch: the public record, and to each account its own earnings.
//!
//! Both are COSE_Sign1 with the header of a receipt's statement, under other media types. The record
//! is logged; a statement goes to its account alone. A statement holds the record, so that it is
//! verified with nothing but itself and the operator's key.

use alloc::{format, string::String, vec::Vec};

use thiserror::Error;

use super::{EpochSecret, SumNode, SumPath, SumTreeError};
use crate::Digest;
use crate::account::{Account, decode_amount, encode_amount};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::commitment::Salt;
use crate::ed25519::{self, Ed25519Error, PublicKey, Signature, SigningKey};
use crate::receipt::{ProtectedHeader, SignedStatement, key_id};

/// Media type of an epoch's record.
pub const CONTENT_TYPE_EPOCH: &str = "application/tally-epoch+cbor";
/// Media type of a statement of earnings.
pub const CONTENT_TYPE_EARNINGS: &str = "application/tally-earnings+cbor";
/// Most bytes of an asset's name, as in a receipt's price.
pub const ASSET_BYTES_MAX: u64 = 128;

/// Why a record or a statement of earnings is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EarningsError {
    /// The bytes are not deterministic CBOR of this form.
    #[error(transparent)]
    Form(#[from] CborError),
    /// The header is not the one that this key and this epoch have.
    #[error(
        "header of epoch {epoch} is not the one of key {key_id} with media type {content_type}"
    )]
    Header {
        /// The epoch.
        epoch: u64,
        /// Identifier of the operator's key.
        key_id: Digest,
        /// The media type expected.
        content_type: &'static str,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] Ed25519Error),
    /// The range ends before it begins.
    #[error("epoch ends at log index {end}, before its begin {begin}")]
    Range {
        /// First log index.
        begin: u64,
        /// Log index after the last.
        end: u64,
    },
    /// The amount is not in the epoch's tree.
    #[error(transparent)]
    Path(#[from] SumTreeError),
}

/// What is public of an epoch: a range of the log, counts, and the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// 0-based number; an epoch begins where the one before it ended.
    pub number: u64,
    /// First log index that the epoch covers.
    pub begin: u64,
    /// Log index after the last; earnings are those of all receipts before it.
    pub end: u64,
    /// When it was closed, in seconds since 1970-01-01T00:00:00Z.
    pub time_s: u64,
    /// The asset's name.
    pub asset: String,
    /// How many accounts have a leaf.
    pub count: u32,
    /// What all of them have earned since the first receipt, in billionths of the asset's unit.
    pub total: u128,
    /// Root of the sum tree.
    pub root: Digest,
    /// Salted commitment to the newest link of the book's journal.
    pub journal: Digest,
}

impl Epoch {
    /// Signs the record.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> SignedStatement {
        sign(self.encode(), CONTENT_TYPE_EPOCH, self.number, key)
    }

    /// Parses a signed record and verifies header and signature.
    ///
    /// # Errors
    /// Malformed bytes, a foreign header, a bad signature, a range that ends before it begins.
    pub fn verify(signed: &[u8], key: &PublicKey) -> Result<Self, EarningsError> {
        let signed = SignedStatement::parse(signed)?;
        let epoch = Self::parse(&signed.payload)?;
        verify(&signed, CONTENT_TYPE_EPOCH, epoch.number, key)?;
        epoch.verify_range()?;
        Ok(epoch)
    }

    const fn verify_range(&self) -> Result<(), EarningsError> {
        if self.end < self.begin {
            return Err(EarningsError::Range { begin: self.begin, end: self.end });
        }
        Ok(())
    }

    /// Whether the record commits to this link of the journal.
    #[must_use]
    pub fn is_of_journal(&self, secret: &EpochSecret, head: &Digest) -> bool {
        self.journal == secret.commit_journal(head)
    }
}

impl Cbor for Epoch {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(9).key(1).uint(self.number);
        encoder.key(2).uint(self.begin);
        encoder.key(3).uint(self.end);
        encoder.key(4).uint(self.time_s);
        encoder.key(5).text(&self.asset);
        encoder.key(6).uint(u64::from(self.count));
        encode_amount(encoder.key(7), self.total);
        encoder.key(8).bytes(self.root.as_bytes());
        encoder.key(9).bytes(self.journal.as_bytes());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("epoch")?;
        map.require(decoder, 1)?;
        let number = decoder.uint()?;
        map.require(decoder, 2)?;
        let begin = decoder.uint()?;
        map.require(decoder, 3)?;
        let end = decoder.uint()?;
        map.require(decoder, 4)?;
        let time_s = decoder.uint()?;
        map.require(decoder, 5)?;
        let asset = decoder.text("asset", ASSET_BYTES_MAX)?.into();
        map.require(decoder, 6)?;
        let count = decoder.u32("count of accounts")?;
        map.require(decoder, 7)?;
        let total = decode_amount(decoder, "total")?;
        map.require(decoder, 8)?;
        let root = decoder.digest("root of the sum tree")?;
        map.require(decoder, 9)?;
        let journal = decoder.digest("commitment to the journal")?;
        map.end(decoder)?;
        Ok(Self { number, begin, end, time_s, asset, count, total, root, journal })
    }
}

/// What one account has earned, with the path to the epoch's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarningsStatement {
    /// The epoch's public record.
    pub epoch: Epoch,
    /// Whose earnings.
    pub account: Account,
    /// What the account has earned since the first receipt, in billionths of the asset's unit.
    pub amount: u128,
    /// How much of it was paid out when the statement was made. No leaf holds it: it is the
    /// operator's word alone.
    pub claimed: u128,
    /// Salt of the account's leaf.
    pub salt: Salt,
    /// Path from the leaf to the root.
    pub path: SumPath,
}

impl EarningsStatement {
    /// Signs the statement.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> SignedStatement {
        sign(self.encode(), CONTENT_TYPE_EARNINGS, self.epoch.number, key)
    }

    /// Verifies a signed statement with nothing but itself and the operator's key: header,
    /// signature, and that the amount is in the tree whose root and total the epoch states.
    ///
    /// That this epoch is the one that everybody sees is known once its record is found in the log.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(signed: &[u8], key: &PublicKey) -> Result<Self, EarningsError> {
        let signed = SignedStatement::parse(signed)?;
        let statement = Self::parse(&signed.payload)?;
        let epoch = &statement.epoch;
        verify(&signed, CONTENT_TYPE_EARNINGS, epoch.number, key)?;
        epoch.verify_range()?;
        let leaf = SumNode::of_leaf(&statement.salt, &statement.account, statement.amount);
        statement.path.verify(leaf, epoch.count, epoch.total, &epoch.root)?;
        Ok(statement)
    }

    /// What the account may still claim; nothing if a correction took back what was paid out.
    #[must_use]
    pub const fn claimable(&self) -> u128 {
        self.amount.saturating_sub(self.claimed)
    }
}

impl Cbor for EarningsStatement {
    fn encode_into(&self, encoder: &mut Encoder) {
        self.epoch.encode_into(encoder.map(6).key(1));
        self.account.encode_into(encoder.key(2));
        encode_amount(encoder.key(3), self.amount);
        encode_amount(encoder.key(4), self.claimed);
        encoder.key(5).bytes(self.salt.as_bytes());
        self.path.encode_into(encoder.key(6));
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("statement of earnings")?;
        map.require(decoder, 1)?;
        let epoch = Epoch::decode_from(decoder)?;
        map.require(decoder, 2)?;
        let account = Account::decode_from(decoder)?;
        map.require(decoder, 3)?;
        let amount = decode_amount(decoder, "amount")?;
        map.require(decoder, 4)?;
        let claimed = decode_amount(decoder, "claimed amount")?;
        map.require(decoder, 5)?;
        let salt = Salt::from_bytes(decoder.array_of("salt")?);
        map.require(decoder, 6)?;
        let path = SumPath::decode_from(decoder)?;
        map.end(decoder)?;
        Ok(Self { epoch, account, amount, claimed, salt, path })
    }
}

/// The only header that a document of an epoch has under a key.
fn header(content_type: &'static str, epoch: u64, key_id: Digest) -> ProtectedHeader {
    ProtectedHeader {
        content_type: content_type.into(),
        subject: format!("tally:epoch:{epoch}"),
        ..ProtectedHeader::new(key_id, &[0; 16])
    }
}

fn sign(
    payload: Vec<u8>,
    content_type: &'static str,
    epoch: u64,
    key: &SigningKey,
) -> SignedStatement {
    let protected = header(content_type, epoch, key_id(key.public_key().as_bytes())).encode();
    let signature = key.sign(&SignedStatement::to_be_signed(&protected, &payload));
    SignedStatement { protected, payload, signature: *signature.as_bytes() }
}

fn verify(
    signed: &SignedStatement,
    content_type: &'static str,
    epoch: u64,
    key: &PublicKey,
) -> Result<(), EarningsError> {
    let key_id = key_id(key.as_bytes());
    if signed.protected != header(content_type, epoch, key_id).encode() {
        return Err(EarningsError::Header { epoch, key_id, content_type });
    }
    let message = SignedStatement::to_be_signed(&signed.protected, &signed.payload);
    ed25519::verify(key, &message, &Signature::from_bytes(signed.signature))?;
    Ok(())
}
