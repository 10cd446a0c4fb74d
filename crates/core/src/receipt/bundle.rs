//! The bundle: signed statement, evidence and openings in one byte string.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use super::SignedStatement;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::commitment::{Field, Opening, Salt};
use crate::{Digest, tag};

/// CBOR tag that begins every bundle: `TALY` in ASCII, so that a file tells what it is (RFC 9277).
const BUNDLE: u64 = 0x5441_4c59;
const VERSION: u64 = 1;

/// Most evidence items.
pub const EVIDENCE_COUNT_MAX: u64 = 64;
/// Most bytes of one evidence item: attestation evidence with collateral is the largest.
pub const EVIDENCE_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of one opened value.
pub const OPENING_BYTES_MAX: u64 = 8 << 20;
/// Most bytes of a bundle.
pub const BUNDLE_BYTES_MAX: u64 = 64 << 20;

/// A receipt as it is handed over: what is signed, what supports it, what the holder reveals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The signed statement.
    pub statement: SignedStatement,
    /// Evidence, outside what the receipt digest covers.
    pub evidence: Vec<Evidence>,
    /// Values of commitments that the holder reveals.
    pub openings: Openings,
}

/// Openings by field.
pub type Openings = BTreeMap<Field, Opening>;

/// One piece of evidence: typed, named by digest, its value perhaps held elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// SHA-256(tag ‖ kind as u64, big-endian ‖ value).
    pub digest: Digest,
    /// The value, if it is in this bundle.
    pub value: Option<Vec<u8>>,
}

impl Evidence {
    /// Evidence with its value.
    #[must_use]
    pub fn new(kind: EvidenceKind, value: Vec<u8>) -> Self {
        let digest = Self::digest_of(kind, &value);
        Self { kind, digest, value: Some(value) }
    }

    /// The digest that names a value of a kind.
    #[must_use]
    pub fn digest_of(kind: EvidenceKind, value: &[u8]) -> Digest {
        Digest::of_tagged(tag::EVIDENCE, &[&kind.code().to_be_bytes(), value])
    }
}

/// What a piece of evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// Inclusion in a log with a cosigned checkpoint, as a C2SP tlog-proof.
    Inclusion,
    /// Proofs that the output's bytes belong to whom the attribution section says.
    Spans,
    /// A kind that this release does not know; it establishes nothing here.
    Unknown(u64),
}

impl EvidenceKind {
    /// The kind's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Inclusion => 1,
            Self::Spans => 2,
            Self::Unknown(code) => code,
        }
    }

    const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::Inclusion,
            2 => Self::Spans,
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inclusion => f.write_str("log inclusion"),
            Self::Spans => f.write_str("span proofs"),
            Self::Unknown(code) => write!(f, "unknown kind {code}"),
        }
    }
}

impl Cbor for Bundle {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.tag(BUNDLE).map(4).key(1).uint(VERSION);
        encoder.key(2).bytes(&self.statement.encode());
        encoder.key(3).array(self.evidence.len());
        for evidence in &self.evidence {
            evidence.encode_into(encoder);
        }
        encoder.key(4);
        encode_openings(encoder, &self.openings);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.tag(BUNDLE)?;
        let mut map = decoder.map("bundle")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                return Err(CborError::Value { what: "bundle version", found });
            }
        }
        map.require(decoder, 2)?;
        let statement = decoder.bytes("signed statement", super::SIGNED_STATEMENT_BYTES_MAX)?;
        let statement = SignedStatement::parse(statement)?;
        map.require(decoder, 3)?;
        let count = decoder.array("evidence", EVIDENCE_COUNT_MAX)?;
        let evidence =
            (0..count).map(|_| Evidence::decode_from(decoder)).collect::<Result<_, _>>()?;
        map.require(decoder, 4)?;
        let openings = decode_openings(decoder)?;
        map.end(decoder)?;
        Ok(Self { statement, evidence, openings })
    }
}

impl Cbor for Evidence {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(if self.value.is_some() { 3 } else { 2 });
        encoder.key(1).uint(self.kind.code());
        encoder.key(2).bytes(self.digest.as_bytes());
        if let Some(value) = &self.value {
            encoder.key(3).bytes(value);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("evidence")?;
        map.require(decoder, 1)?;
        let kind = EvidenceKind::from_code(decoder.uint()?);
        map.require(decoder, 2)?;
        let digest = decoder.digest("evidence digest")?;
        let value = match map.optional(decoder, 3)? {
            true => Some(decoder.bytes("evidence value", EVIDENCE_BYTES_MAX)?.into()),
            false => None,
        };
        map.end(decoder)?;
        Ok(Self { kind, digest, value })
    }
}

/// Openings as bytes of their own, in the form that they have in a bundle.
#[must_use]
pub fn openings_to_bytes(openings: &Openings) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encode_openings(&mut encoder, openings);
    encoder.finish()
}

/// Parses what [`openings_to_bytes`] wrote.
///
/// # Errors
/// Anything but one deterministic map of openings.
pub fn openings_from_bytes(bytes: &[u8]) -> Result<Openings, CborError> {
    let mut decoder = Decoder::new(bytes);
    let openings = decode_openings(&mut decoder)?;
    decoder.finish()?;
    Ok(openings)
}

fn encode_openings(encoder: &mut Encoder, openings: &Openings) {
    encoder.map(openings.len());
    for (field, opening) in openings {
        encoder.key(field.code().into()).array(2);
        encoder.bytes(opening.salt.as_bytes()).bytes(&opening.value);
    }
}

fn decode_openings(decoder: &mut Decoder<'_>) -> Result<Openings, CborError> {
    let mut map = decoder.map("openings")?;
    let mut openings = Openings::new();
    for field in Field::ALL {
        if map.optional(decoder, field.code().into())? {
            decoder.array_exact("opening", 2)?;
            let salt = Salt::from_bytes(decoder.array_of("salt")?);
            let value = decoder.bytes("opened value", OPENING_BYTES_MAX)?.into();
            openings.insert(field, Opening { salt, value });
        }
    }
    map.end(decoder)?;
    Ok(openings)
}
