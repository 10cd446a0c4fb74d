//! The statement's envelope: COSE_Sign1 (RFC 9052) with Ed25519 (RFC 9864, algorithm −19).
//!
//! The protected header carries the CWT claims that make it a SCITT signed statement (RFC 9943).
//! The unprotected header is empty, always: evidence stands outside what the digest covers.

use alloc::{format, string::String, vec::Vec};

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::ed25519::{self, Ed25519Error, PublicKey, Signature};
use crate::{Digest, tag};

/// Most bytes of a protected header.
pub const HEADER_BYTES_MAX: u64 = 512;
/// Most bytes of a statement's payload.
pub const PAYLOAD_BYTES_MAX: u64 = 16_384;
/// Most bytes of a whole signed statement: payload, header, signature and their heads.
pub const SIGNED_STATEMENT_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX + HEADER_BYTES_MAX + 128;
/// COSE algorithm number of Ed25519 with a fully specified curve (RFC 9864).
pub const ALGORITHM_ED25519: i64 = -19;
/// Media type of the payload.
pub const CONTENT_TYPE: &str = "application/tally-statement+cbor";

const COSE_SIGN1: u64 = 18;
const TEXT_BYTES_MAX: u64 = 128;

/// Identifier of a signing key: SHA-256(tag ‖ algorithm byte ‖ public key); 1 is Ed25519.
#[must_use]
pub fn key_id(public_key: &[u8; 32]) -> Digest {
    Digest::of_tagged(tag::KEY_ID, &[&[1], public_key])
}

/// What the signature covers beside the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedHeader {
    /// COSE algorithm (label 1).
    pub algorithm: i64,
    /// Media type of the payload (label 3).
    pub content_type: String,
    /// Identifier of the issuer's key (label 4).
    pub key_id: Digest,
    /// CWT claim `iss` (label 15, claim 1): the issuer by name, `tally:key:` and the key id.
    pub issuer: String,
    /// CWT claim `sub` (label 15, claim 2): `tally:receipt:` and the receipt id.
    pub subject: String,
}

impl ProtectedHeader {
    /// The only header that a statement of this profile has for a key and a receipt id.
    #[must_use]
    pub fn new(key_id: Digest, receipt_id: &[u8; 16]) -> Self {
        let hex: String = receipt_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            algorithm: ALGORITHM_ED25519,
            content_type: CONTENT_TYPE.into(),
            key_id,
            issuer: format!("tally:key:{key_id}"),
            subject: format!("tally:receipt:{hex}"),
        }
    }

    /// The only header that what a key says of a subject has under a media type.
    #[must_use]
    pub fn of_key(key: &[u8; 32], content_type: &str, subject: String) -> Self {
        let key_id = key_id(key);
        Self {
            algorithm: ALGORITHM_ED25519,
            content_type: content_type.into(),
            key_id,
            issuer: format!("tally:key:{key_id}"),
            subject,
        }
    }
}

impl Cbor for ProtectedHeader {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(4).key(1).int(self.algorithm);
        encoder.key(3).text(&self.content_type);
        encoder.key(4).bytes(self.key_id.as_bytes());
        encoder.key(15).map(2).key(1).text(&self.issuer);
        encoder.key(2).text(&self.subject);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("protected header")?;
        map.require(decoder, 1)?;
        let algorithm = decoder.int()?;
        map.require(decoder, 3)?;
        let content_type = decoder.text("content type", TEXT_BYTES_MAX)?.into();
        map.require(decoder, 4)?;
        let key_id = decoder.digest("key id")?;
        map.require(decoder, 15)?;
        let mut claims = decoder.map("CWT claims")?;
        claims.require(decoder, 1)?;
        let issuer = decoder.text("issuer", TEXT_BYTES_MAX)?.into();
        claims.require(decoder, 2)?;
        let subject = decoder.text("subject", TEXT_BYTES_MAX)?.into();
        claims.end(decoder)?;
        map.end(decoder)?;
        Ok(Self { algorithm, content_type, key_id, issuer, subject })
    }
}

/// A COSE_Sign1 with an empty unprotected header; its parts are kept as the bytes they arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// The encoded [`ProtectedHeader`].
    pub protected: Vec<u8>,
    /// The encoded [`Statement`](super::Statement).
    pub payload: Vec<u8>,
    /// The Ed25519 signature over [`to_be_signed`](Self::to_be_signed).
    pub signature: [u8; 64],
}

impl SignedStatement {
    /// The envelope of a payload with the signature that `sign` makes over it.
    #[must_use]
    pub fn sign(
        header: &ProtectedHeader,
        payload: Vec<u8>,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let protected = header.encode();
        let signature = sign(&Self::to_be_signed(&protected, &payload));
        Self { protected, payload, signature }
    }

    /// Verifies that a key made the signature; what it is under is not looked at.
    ///
    /// # Errors
    /// If it is no key, or the signature does not hold.
    pub fn verify_by(&self, key: &[u8; 32]) -> Result<(), Ed25519Error> {
        let message = Self::to_be_signed(&self.protected, &self.payload);
        let key = PublicKey::from_bytes(key)?;
        ed25519::verify(&key, &message, &Signature::from_bytes(self.signature))
    }

    /// The bytes that are signed: the `Sig_structure` of RFC 9052 §4.4 without external data.
    #[must_use]
    pub fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.array(4).text("Signature1").bytes(protected).bytes(&[]).bytes(payload);
        encoder.finish()
    }

    /// The receipt digest: SHA-256 of this COSE_Sign1, tag and empty unprotected header included.
    ///
    /// It is what the log's leaf holds and what everything else refers to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_content(&self.encode())
    }
}

impl Cbor for SignedStatement {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.tag(COSE_SIGN1).array(4).bytes(&self.protected).map(0);
        encoder.bytes(&self.payload).bytes(&self.signature);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.tag(COSE_SIGN1)?;
        decoder.array_exact("COSE_Sign1", 4)?;
        let protected = decoder.bytes("protected header", HEADER_BYTES_MAX)?.into();
        decoder.map("unprotected header")?.end(decoder)?;
        let payload = decoder.bytes("payload", PAYLOAD_BYTES_MAX)?.into();
        let signature = decoder.array_of("signature")?;
        Ok(Self { protected, payload, signature })
    }
}
