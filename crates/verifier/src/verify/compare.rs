//! Comparing the receipt with what the caller knows of the exchange.

use tally_core::{Digest, commitment::Field};

use super::Findings;
use crate::{
    expected::Expected,
    gap::Gap,
    rejection::Rejection,
    verdict::{Established, Receipt},
};

/// Compares everything that the caller gave; lists what it did not give.
pub(super) fn compare(
    receipt: &Receipt,
    expected: &Expected<'_>,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    if let Some(expected) = expected.receipt_digest {
        let found = receipt.digest;
        if found != expected {
            return Err(Rejection::ReceiptDigest { expected, found });
        }
        findings.establish(Established::ReceiptDigest);
    }
    compare_nonce(receipt.statement.nonce.as_deref(), expected.nonce, findings)?;
    match expected.request {
        None => findings.miss(Gap::RequestNotGiven),
        Some(request) => {
            if let Some((expected, found)) = difference(receipt, Field::Request, request)? {
                return Err(Rejection::Request { expected, found });
            }
            findings.establish(Established::Request);
        }
    }
    let Some(response) = expected.response else {
        if receipt.statement.outcome.refusal().is_none() {
            findings.miss(Gap::ResponseNotGiven);
        }
        return Ok(());
    };
    if let Some(refusal) = receipt.statement.outcome.refusal() {
        return Err(Rejection::ResponseOfRefusal { code: refusal.code.clone() });
    }
    if let Some((expected, found)) = difference(receipt, Field::Response, response)? {
        return Err(Rejection::Response { expected, found });
    }
    findings.establish(Established::Response);
    Ok(())
}

fn compare_nonce(
    found: Option<&[u8]>,
    expected: Option<&[u8]>,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    match (found, expected) {
        (Some(found), Some(expected)) if found == expected => {
            findings.establish(Established::Nonce);
        }
        (Some(found), Some(expected)) => {
            return Err(Rejection::Nonce { expected: expected.into(), found: found.into() });
        }
        (None, Some(expected)) => {
            return Err(Rejection::NonceMissing { expected: expected.into() });
        }
        (Some(_), None) => findings.miss(Gap::NonceNotGiven),
        (None, None) => findings.miss(Gap::NoNonce),
    }
    Ok(())
}

/// SHA-256 of the caller's value and of the opened one, if they differ.
fn difference(
    receipt: &Receipt,
    field: Field,
    expected: &[u8],
) -> Result<Option<(Digest, Digest)>, Rejection> {
    // The opening was verified against the commitment before.
    let opening = receipt.openings.get(&field).ok_or(Rejection::NotOpened { field })?;
    if opening.value == expected {
        return Ok(None);
    }
    Ok(Some((Digest::of_content(expected), Digest::of_content(&opening.value))))
}
