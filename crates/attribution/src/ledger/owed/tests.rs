//! What a receipt owes, from its statement and its opened section.

use tally_core::account::{Account, TransferId};
use tally_core::attribution::{Label, Residual, Transfer};
use tally_core::commitment::{Opening, Salt};
use tally_core::receipt::{Kind, Outcome, Price, Refusal};

use super::*;
use crate::policy_file::free;

const RECEIPT: Digest = Digest::from_bytes([7; 32]);

fn statement(price: Option<u64>) -> Statement {
    Statement {
        id: [1; 16],
        nonce: None,
        kind: Kind::Chat,
        time_ms: 1_999,
        request: RECEIPT,
        // What was answered does not matter here.
        outcome: Outcome::Refusal(Refusal { code: "context/length".into() }),
        software: "tally/0".into(),
        price: price.map(|amount| Price { asset: "USD".into(), amount }),
        attribution: None,
        trace_root: None,
        keyset: None,
    }
}

fn openings(amount: u64, residual: u64) -> Openings {
    let policy = free();
    let transfer = Transfer {
        id: TransferId::derive(&[1; 16], 0),
        label: Label::Observed,
        account: Account::Contributor([9; 32]),
        amount: amount - residual,
    };
    let section = Section {
        policy_digest: policy.digest(),
        policy: policy.encode(),
        contributions: vec![],
        bound: vec![],
        context: vec![],
        output: vec![],
        shards: vec![],
        spans: vec![],
        amount,
        transfers: vec![transfer],
        residual: Residual { id: TransferId::derive(&[1; 16], 1), size_bytes: 0, amount: residual },
    };
    let opening = Opening { salt: Salt::from_bytes([0; 32]), value: section.encode() };
    Openings::from([(Field::Attribution, opening)])
}

#[test]
fn a_receipt_without_a_price_owes_nothing_whatever_it_opens() {
    for openings in [Openings::new(), openings(5, 0)] {
        assert_eq!(Owed::of(RECEIPT, &statement(None), &openings), Ok(None));
    }
}

#[test]
fn what_is_owed_is_sound_and_has_the_residual_only_where_there_is_one() {
    for (residual, count) in [(0, 1), (1, 2), (4, 2)] {
        let owed = Owed::of(RECEIPT, &statement(Some(5)), &openings(5, residual)).unwrap();
        let due = owed.unwrap().at(12);
        due.require_sound().unwrap();
        assert_eq!((due.receipt, due.log_index, due.time_s), (RECEIPT, 12, 1));
        assert_eq!((due.challenge_s, due.amount), (free().challenge_s, 5));
        assert_eq!(due.shares.len(), count);
        assert_eq!(due.shares[0].basis, Label::Observed.code());
        let last = due.shares.last().unwrap();
        if residual > 0 {
            assert_eq!((last.account, last.basis), (Account::Commons, BASIS_RESIDUAL));
        }
    }
}

#[test]
fn a_price_that_nothing_divides_or_a_section_divides_otherwise_is_refused() {
    let unopened = Owed::of(RECEIPT, &statement(Some(5)), &Openings::new());
    assert_eq!(unopened, Err(OwedError::Unopened { receipt: RECEIPT, price: 5 }));
    for found in [4, 6] {
        let differing = Owed::of(RECEIPT, &statement(Some(5)), &openings(found, 0));
        assert_eq!(differing, Err(OwedError::Price { receipt: RECEIPT, price: 5, found }));
    }
    let mut damaged = openings(5, 0);
    damaged.get_mut(&Field::Attribution).unwrap().value.pop();
    let damaged = Owed::of(RECEIPT, &statement(Some(5)), &damaged);
    assert!(matches!(damaged, Err(OwedError::Form(_))), "{damaged:?}");
}

#[test]
fn the_encoding_round_trips_and_has_no_log_index() {
    let owed = Owed::of(RECEIPT, &statement(Some(5)), &openings(5, 2)).unwrap().unwrap();
    assert_eq!(Owed::parse(&owed.encode()), Ok(owed.clone()));
    for log_index in [1, u64::MAX] {
        assert!(Owed::parse(&owed.clone().at(log_index).encode()).is_err());
    }
}
