//! A receipt's openings against its commitments, without asking who signed it.
//!
//! Replay needs no trust in the issuer: whoever computes the answer again needs only to know that
//! what is computed is what the statement commits to.

use super::{Findings, openings, parse, statement};
use crate::{rejection::Rejection, verdict::Receipt};

/// A receipt whose openings are those that its statement commits to.
///
/// Nothing is known of its signature, its issuer or its log: [`verify`](crate::verify) tells that.
#[derive(Clone, Debug)]
pub struct Opened(Receipt);

impl Opened {
    /// The receipt, signed by whomever.
    #[must_use]
    pub const fn receipt(&self) -> &Receipt {
        &self.0
    }
}

/// Reads a receipt and verifies its openings, and nothing else.
///
/// # Errors
/// If it cannot be read, its statement contradicts itself, or an opening does not match.
pub fn open(receipt: &[u8]) -> Result<Opened, Rejection> {
    let parsed = parse(receipt)?;
    let digest = parsed.bundle.statement.digest();
    statement::verify(&parsed.statement)?;
    let signer = parsed.header.key_id;
    openings::verify(&parsed.bundle, &parsed.statement, &signer, &mut Findings::default())?;
    let openings = parsed.bundle.openings;
    Ok(Opened(Receipt { digest, statement: parsed.statement, openings }))
}
