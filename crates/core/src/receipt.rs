//! The receipt's wire types: statement, evidence, openings and the bundle of the three.
//!
//! `spec/receipt.md` is the normative text. Nothing here judges: a parsed bundle is well-formed,
//! and that is all.

mod bundle;
mod cose;
mod embedding;
mod statement;
#[cfg(test)]
mod tests;

pub use bundle::{BUNDLE_BYTES_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_COUNT_MAX, OPENING_BYTES_MAX};
pub use bundle::{
    Bundle, Evidence, EvidenceKind, Openings, openings_from_bytes, openings_to_bytes,
};
pub use cose::{ALGORITHM_ED25519, CONTENT_TYPE, ProtectedHeader, SignedStatement, key_id};
pub use cose::{HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNED_STATEMENT_BYTES_MAX};
pub(crate) use statement::decode_nonce;

pub use embedding::{EmbeddingAnswer, EmbeddingClaims};
pub use statement::{
    Adjustment, Answer, ComputationClaims, Kind, Outcome, PROFILE, Preparation, Price, Refusal,
    SeedSource, Statement,
};
