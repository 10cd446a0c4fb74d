//! What a hand in the file leaves for the chain to find, and what a torn change leaves.

use std::collections::BTreeMap;

use redb::ReadableDatabase as _;
use tally_core::account::{Account, TransferId};
use tally_core::sum_tree::EpochSecret;
use tempfile::TempDir;

use super::*;
use crate::ledger::{Share, encode_balances};

fn due(number: u8) -> Due {
    let id = TransferId::derive(&[number; 16], 0);
    let share = Share { id, account: Account::Commons, basis: 0, amount: 5 };
    Due {
        receipt: Digest::of_content(&[number]),
        log_index: number.into(),
        time_s: 10,
        challenge_s: 0,
        asset: "USD".into(),
        amount: 5,
        shares: vec![share],
    }
}

/// Event 0 opens, 1 to 6 book, 7 posts, 8 closes an epoch.
fn book() -> (TempDir, EmbeddedBook) {
    let folder = tempfile::tempdir().unwrap();
    let mut book = EmbeddedBook::open(&folder.path().join("book"), "USD").unwrap();
    book.book(&(0..6).map(due).collect::<Vec<_>>()).unwrap();
    book.settle(10).unwrap();
    let range = LogRange { begin: 0, end: 6 };
    book.close_epoch(range, 11, &EpochSecret::from_bytes([1; 32])).unwrap();
    (folder, book)
}

/// Writes the journal as somebody with the file at hand would.
fn tamper(book: &EmbeddedBook, hand: impl FnOnce(&mut BTreeMap<u64, Vec<u8>>)) {
    let transaction = book.database.begin_write().unwrap();
    {
        let mut journal = transaction.open_table(JOURNAL).unwrap();
        let rows = journal.iter().unwrap().map(|row| row.unwrap());
        let mut records: BTreeMap<u64, Vec<u8>> =
            rows.map(|(number, record)| (number.value(), record.value().to_vec())).collect();
        hand(&mut records);
        journal.retain(|_, _| false).unwrap();
        for (number, record) in records {
            journal.insert(number, record.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_a_book() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, _book) = book();
    let mode = std::fs::metadata(folder.path().join("book")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_untouched_journal_verifies() {
    let (_folder, book) = book();
    let head = book.verify_journal().unwrap();
    assert_eq!((head, head.count), (book.head().unwrap(), 9));
    book.verify_journal_to(&head).unwrap();
}

#[test]
fn every_changed_event_is_found() {
    for number in 0..9 {
        let (_folder, book) = book();
        let head = book.head().unwrap();
        tamper(&book, |records| {
            *records.get_mut(&number).unwrap().last_mut().unwrap() ^= 1;
        });
        assert!(book.verify_journal_to(&head).is_err(), "event {number}");
        // The last one is found by no event behind it.
        if number < 8 {
            assert!(book.verify_journal().is_err(), "event {number}");
        }
    }
}

#[test]
fn every_removed_event_is_found() {
    for number in 0..9 {
        let (_folder, book) = book();
        let head = book.head().unwrap();
        tamper(&book, |records| drop(records.remove(&number)));
        let found = book.verify_journal_to(&head).unwrap_err();
        if number < 8 {
            assert!(matches!(found, LedgerError::Gap { .. }), "{found}");
        } else {
            assert!(matches!(found, LedgerError::Head { found_count: 8, .. }), "{found}");
        }
    }
}

#[test]
fn a_removed_event_is_found_where_the_others_close_the_gap() {
    for number in 0..8 {
        let (_folder, book) = book();
        tamper(&book, |records| {
            records.remove(&number);
            *records = (0..).zip(std::mem::take(records).into_values()).collect();
        });
        let found = book.verify_journal().unwrap_err();
        assert!(matches!(found, LedgerError::Chain { event, .. } if event == number), "{found}");
    }
}

#[test]
fn two_swapped_events_are_found() {
    for number in 0..8 {
        let (_folder, book) = book();
        tamper(&book, |records| {
            let (first, second) = (records[&number].clone(), records[&(number + 1)].clone());
            records.insert(number, second);
            records.insert(number + 1, first);
        });
        let found = book.verify_journal().unwrap_err();
        assert!(matches!(found, LedgerError::Chain { event, .. } if event == number), "{found}");
    }
}

#[test]
fn a_journal_rewritten_whole_is_found_by_the_epoch_behind() {
    let (_folder, book) = book();
    tamper(&book, |records| {
        let (mut head, mut forged) = (Head::START, BTreeMap::new());
        for (number, record) in &*records {
            let event = match event_of(record).unwrap() {
                Event::Booked(due) if *number == 3 => Event::Booked(Due { time_s: 9, ..due }),
                event => event,
            };
            let record = head.record(&event);
            head = head.behind(&record);
            forged.insert(*number, record);
        }
        *records = forged;
    });
    let found = book.verify_journal().unwrap_err();
    assert!(matches!(found, LedgerError::EpochJournal { number: 0, event: 8 }), "{found}");
}

#[test]
fn a_rebuild_refuses_a_tampered_journal() {
    let (folder, book) = book();
    tamper(&book, |records| *records.get_mut(&4).unwrap().last_mut().unwrap() ^= 1);
    assert!(book.rebuild(&folder.path().join("rebuilt")).is_err());
}

#[test]
fn a_change_that_fails_after_its_event_was_written_leaves_nothing() {
    let (_folder, book) = book();
    let (head, state) = (book.head().unwrap(), book.state_digest().unwrap());
    let torn: Result<(), LedgerError> = book.write(|tables| {
        tables.append(&Event::Booked(due(9)))?;
        tables.flush()?;
        Err(LedgerError::Overflow)
    });
    assert!(matches!(torn, Err(LedgerError::Overflow)));
    assert_eq!((book.head().unwrap(), book.state_digest().unwrap()), (head, state));
}

#[test]
fn a_killed_change_is_there_whole_or_not_at_all() {
    // A copy of the file taken in the middle of a transaction is what a crash leaves.
    let (folder, book) = book();
    let state = (book.head().unwrap(), encode_balances(&book).unwrap());
    let copy = folder.path().join("copy");
    book.write(|tables| {
        for number in 10..200 {
            tables.append(&Event::Booked(due(number)))?;
        }
        tables.flush()?;
        std::fs::copy(folder.path().join("book"), &copy).unwrap();
        Ok(())
    })
    .unwrap();
    let crashed = EmbeddedBook::open(&copy, "USD").unwrap();
    assert_eq!((crashed.head().unwrap(), encode_balances(&crashed).unwrap()), state);
    assert_ne!(book.head().unwrap(), state.0);
    crashed.verify_journal().unwrap();
}

#[test]
fn an_event_that_cannot_follow_is_refused() {
    let (_folder, book) = book();
    let reason = Digest::of_content(b"why");
    let events = [
        Event::Posted { now_s: 10, entries: vec![1] },
        Event::Voided { entry: 1, reason },
        Event::Voided { entry: 0, reason },
        Event::Corrected { entry: 77, reason },
    ];
    for event in events {
        let refused = book.write(|tables| tables.append(&event));
        assert!(matches!(refused, Err(LedgerError::Event { .. })), "{event:?}");
    }
    let read = book.database.begin_read().unwrap();
    assert_eq!(tables::head(&read.open_table(JOURNAL).unwrap()).unwrap().count, 9);
}
