//! The receipts of an answer: read from its `tally` member, judged, kept.

use std::collections::BTreeSet;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Deserialize;
use tally_core::{
    cbor::Cbor as _,
    receipt::{Bundle, Outcome, Statement, openings_from_bytes},
};
use tally_verifier::{Expected, Receipt, Verified, verify};

use super::{Asking, Fault};

/// Receipts as an answer carries them. It has no further members: nobody would have verified them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Carried {
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) openings: String,
    #[serde(default)]
    pub(super) receipts: Vec<Carried>,
}

/// A receipt that holds under the policy, for this request, nonce and answer.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bundle: Bundle,
    pub(super) verified: Verified<Receipt>,
}

/// Cuts the member `tally` off a body: the bytes that receipts commit to, and the member.
pub(super) fn split_member(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    const MARK: &[u8] = br#","tally":"#;
    let at = bytes.windows(MARK.len()).rposition(|window| window == MARK)?;
    let member = bytes.get(at + MARK.len()..)?.strip_suffix(b"}")?;
    let payload = [bytes.get(..at)?, b"}"].concat();
    Some((payload, member))
}

/// Judges all receipts of an answer.
///
/// # Errors
/// A receipt that is missing, unreadable, rejected, or of another choice than its place says.
pub(super) fn judge(
    asking: &Asking,
    carried: &Carried,
    response: Option<&[u8]>,
) -> Result<Vec<Held>, Fault> {
    let all = all_of(carried)?;
    if all.len() != asking.choices as usize {
        let text = format!("{} receipts for {} answers", all.len(), asking.choices);
        return Err(Fault::new("receipt/count", text));
    }
    let mut held = vec![];
    let mut ids = BTreeSet::new();
    for (index, carried) in (0..).zip(all) {
        let found = judge_one(asking, carried, response)?;
        let receipt = found.verified.get();
        let id = hex::encode(receipt.statement.id);
        if carried.id != id {
            let text = format!("the answer names receipt `{}`, the receipt is {id}", carried.id);
            return Err(Fault::new("receipt/id", text));
        }
        if !ids.insert(receipt.statement.id) {
            return Err(Fault::new("receipt/repeated", "one receipt stands for two answers"));
        }
        require_place(asking, &receipt.statement, index)?;
        held.push(found);
    }
    Ok(held)
}

/// The receipts of all choices: where there are several, the first stands outside as well.
fn all_of(carried: &Carried) -> Result<Vec<&Carried>, Fault> {
    let Some(first) = carried.receipts.first() else { return Ok(vec![carried]) };
    let is_nested = carried.receipts.iter().any(|inner| !inner.receipts.is_empty());
    let outside = Carried { receipts: vec![], ..carried.clone() };
    if is_nested || outside != *first {
        let text = "the receipt that stands outside is not the first of the list";
        return Err(Fault::new("receipt/count", text));
    }
    Ok(carried.receipts.iter().collect())
}

/// That a receipt is of the kind that was asked for, and of the answer that it stands beside.
fn require_place(asking: &Asking, statement: &Statement, index: u32) -> Result<(), Fault> {
    if statement.kind != asking.kind {
        let text = format!("the receipt is of a {}, expected a {}", statement.kind, asking.kind);
        return Err(Fault::new("receipt/kind", text));
    }
    match &statement.outcome {
        Outcome::Answer(answer) if answer.computation.parameters.choice != index => {
            let choice = answer.computation.parameters.choice;
            let text = format!("the receipt of answer {index} is that of answer {choice}");
            Err(Fault::new("receipt/choice", text))
        }
        Outcome::Answer(_) | Outcome::Embedding(_) => Ok(()),
        Outcome::Refusal(refusal) => {
            let text = format!("the receipt says that there is no answer: {}", refusal.code);
            Err(Fault::new("upstream/refused", text))
        }
    }
}

fn judge_one(asking: &Asking, carried: &Carried, response: Option<&[u8]>) -> Result<Held, Fault> {
    let unreadable = |what: &str| Fault::new("receipt/unreadable", format!("{what} is unreadable"));
    let decoded =
        |text: &str, what: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_| unreadable(what));
    let bare = decoded(&carried.receipt, "the receipt")?;
    let openings = decoded(&carried.openings, "the receipt's openings")?;
    let mut bundle = Bundle::parse(&bare).map_err(|_| unreadable("the receipt"))?;
    bundle.openings =
        openings_from_bytes(&openings).map_err(|_| unreadable("the receipt's openings"))?;
    let expected = Expected {
        nonce: Some(&asking.nonce),
        request: Some(&asking.body),
        response,
        receipt_digest: None,
    };
    let verified = verify(&bundle.encode(), &asking.proxy.policy, &expected, asking.now());
    match verified {
        Ok(verified) => Ok(Held { bundle, verified }),
        Err(rejection) => Err(Fault::new(rejection.code(), rejection.to_string())),
    }
}

/// Keeps receipts; only then may the answer be shown.
///
/// # Errors
/// If one cannot be kept.
pub(super) async fn keep(asking: &Asking, held: &[Held]) -> Result<(), Fault> {
    let keeper = std::sync::Arc::clone(&asking.proxy.keeper);
    let bundles: Vec<Bundle> = held.iter().map(|held| held.bundle.clone()).collect();
    let keeping = tokio::task::spawn_blocking(move || {
        bundles.iter().try_for_each(|bundle| keeper.keep(bundle))
    });
    match keeping.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(Fault::new("receipt/not-kept", reason)),
        Err(error) => Err(Fault::new("receipt/not-kept", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_member_is_cut_off_and_nothing_else() {
        let whole = br#"{"a":"x,\"tally\":1","b":{"tally":2},"tally":{"id":"q"}}"#;
        let (payload, member) = split_member(whole).unwrap();
        assert_eq!(payload, br#"{"a":"x,\"tally\":1","b":{"tally":2}}"#);
        assert_eq!(member, br#"{"id":"q"}"#);
        for bad in [&b"{}"[..], br#"{"a":1}"#, br#"{"a":1,"tally":{}"#, b"", br#","tally":"#] {
            let found = split_member(bad)
                .filter(|(_, member)| serde_json::from_slice::<Carried>(member).is_ok());
            assert!(found.is_none());
        }
    }
}
