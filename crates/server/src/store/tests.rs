//! Statements that many threads keep at once.

use std::sync::Arc;

use tally_attribution::ledger::Due;
use tally_core::cbor::Cbor as _;

use super::*;

fn digest_of(number: u8) -> Digest {
    Digest::of_content(&[number])
}

#[test]
fn statements_of_many_threads_are_found_by_id_and_digest_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statements");
    let store = Arc::new(StatementStore::open(&path).unwrap());
    let threads: Vec<_> = (0..40_u8)
        .map(|number| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                store.put([number; 16], digest_of(number), vec![number; 700], None).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(store);
    let store = StatementStore::open(&path).unwrap();
    for number in 0..40 {
        let expected = Some(vec![number; 700]);
        assert_eq!(store.get(&[number; 16]).unwrap(), expected);
        assert_eq!(store.get_by_digest(&digest_of(number)).unwrap(), expected);
    }
    assert_eq!(store.get(&[40; 16]).unwrap(), None);
    assert_eq!(store.get_by_digest(&digest_of(40)).unwrap(), None);
}

#[test]
fn two_processes_cannot_hold_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statements");
    let store = StatementStore::open(&path).unwrap();
    assert!(StatementStore::open(&path).is_err());
    drop(store);
    assert!(StatementStore::open(&path).is_ok());
}

/// What a receipt owes, made from its bytes: nothing else makes one without a receipt.
fn owed_of(number: u8) -> Owed {
    let due = Due {
        receipt: digest_of(number),
        log_index: 0,
        time_s: 1,
        challenge_s: 2,
        asset: "USD".into(),
        amount: 3,
        shares: vec![],
    };
    Owed::parse(&due.encode()).unwrap()
}

#[test]
fn what_receipts_owe_is_there_after_reopening_page_by_page_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statements");
    let store = StatementStore::open(&path).unwrap();
    for number in 0..5_u8 {
        let owed = (number != 2).then(|| owed_of(number));
        store.put([number; 16], digest_of(number), vec![number], owed).unwrap();
    }
    // Of a receipt whose statement is kept elsewhere.
    store.owe(&owed_of(5)).unwrap();
    drop(store);
    let store = StatementStore::open(&path).unwrap();
    assert_eq!(store.get_by_digest(&digest_of(5)).unwrap(), None);
    let mut all: Vec<Digest> = [0, 1, 3, 4, 5].map(digest_of).to_vec();
    all.sort();
    for len_max in [0, 1, 2, 4, 5, 6] {
        let page = store.owed(None, len_max).unwrap();
        let receipts: Vec<Digest> = page.iter().map(Owed::receipt).collect();
        assert_eq!(receipts, all[..len_max.min(5)]);
    }
    for (place, after) in all.iter().enumerate() {
        let page = store.owed(Some(after), 5).unwrap();
        let receipts: Vec<Digest> = page.iter().map(Owed::receipt).collect();
        assert_eq!(receipts, all[place + 1..]);
    }
    store.remove_owed(&all[..4]).unwrap();
    store.remove_owed(&all[..4]).unwrap();
    assert_eq!(store.owed(None, 5).unwrap().len(), 1);
    assert_eq!(store.get(&[1; 16]).unwrap(), Some(vec![1]), "statements stay");
}
