//! Statements that many threads keep at once.

use std::sync::Arc;

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
                store.put([number; 16], digest_of(number), vec![number; 700]).unwrap();
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
