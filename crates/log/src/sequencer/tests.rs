//! Group commit: everybody gets an index of their own, and a crowd shares its batches.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tempfile::TempDir;

use super::*;
use crate::{
    dangerous::{Fault, Faulty},
    log::tests::{entry, key, log_key, report, storage},
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds).unwrap()
}

fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn sequencer(folder: &TempDir, limits: SequencerLimits) -> Sequencer {
    Sequencer::new(Log::create(storage(folder), log_key()).unwrap(), None, limits)
}

#[test]
fn many_threads_get_one_index_each_and_a_cosigned_proof() {
    let (folder, cosigner_folder) = (folder(), folder());
    let log = Log::create(storage(&folder), log_key()).unwrap();
    let mut cosigner =
        Cosigner::create(storage(&cosigner_folder), key("cosigner.example", 2)).unwrap();
    cosigner.trust(log_key().log_verifier()).unwrap();
    let verifier = cosigner.verifier();
    let sequencer = Sequencer::new(log, Some(cosigner), SequencerLimits::default());
    let next = AtomicU64::new(0);
    let taken = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let index = sequencer.append_wait(entry(number), at(number)).unwrap();
                    let proof = sequencer.prove(index).unwrap();
                    assert_eq!(proof.verify_inclusion(&entry(number).encode()), Ok(()));
                    let note = proof.checkpoint.note();
                    assert!(tally_core::cosignature::verify(note, &verifier).is_ok());
                    assert!(locked(&taken).insert(index));
                }
            });
        }
    });
    assert_eq!(
        locked(&taken).iter().map(|index| index.0).collect::<Vec<_>>(),
        (0..320).collect::<Vec<_>>()
    );
    sequencer.publish(at(1_000)).unwrap();
    drop(sequencer.close());
    let report = report(&storage(&folder));
    assert_eq!((report.findings, report.size.get()), (vec![], 320));
}

/// Runs `crowd` callers of which the first leads a batch of one while the others queue up.
fn crowd(sequencer: &Sequencer, crowd: usize) -> Vec<Result<LeafIndex, SequencerError>> {
    thread::scope(|scope| {
        let mut callers = Vec::new();
        sequencer
            .with_log(|_| {
                for number in 0..crowd {
                    let call = move || sequencer.append_wait(entry(number as u64), at(0));
                    callers.push(scope.spawn(call));
                }
                while sequencer.waiting_count() + 1 < crowd {
                    thread::yield_now();
                }
                Ok(())
            })
            .unwrap();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn who_waits_together_shares_one_batch() {
    let folder = folder();
    let sequencer = sequencer(&folder, SequencerLimits::default());
    let indices: BTreeSet<u64> =
        crowd(&sequencer, 20).into_iter().map(|index| index.unwrap().0).collect();
    assert_eq!(indices, (0..20).collect());
    drop(sequencer.close());
    // The empty one, the leader's, and one for the nineteen others.
    assert_eq!(report(&storage(&folder)).checkpoint_count, 3);
}

#[test]
fn batches_keep_to_their_limit() {
    let folder = folder();
    let limits = SequencerLimits { batch_len_max: 5, ..SequencerLimits::default() };
    let sequencer = sequencer(&folder, limits);
    let indices: BTreeSet<u64> =
        crowd(&sequencer, 12).into_iter().map(|index| index.unwrap().0).collect();
    assert_eq!(indices, (0..12).collect());
    drop(sequencer.close());
    // The empty one, the leader's, then 5 + 5 + 1.
    assert_eq!(report(&storage(&folder)).checkpoint_count, 5);
}

#[test]
fn who_finds_the_queue_full_is_refused() {
    let folder = folder();
    let limits = SequencerLimits { queue_len_max: 1, ..SequencerLimits::default() };
    let sequencer = sequencer(&folder, limits);
    thread::scope(|scope| {
        let call = |number| {
            let sequencer = &sequencer;
            scope.spawn(move || sequencer.append_wait(entry(number), at(0)))
        };
        let accepted = sequencer
            .with_log(|_| {
                let leader = call(0);
                while locked(&sequencer.queue).next_ticket < 1 || sequencer.waiting_count() > 0 {
                    thread::yield_now();
                }
                let waiting = call(1);
                while sequencer.waiting_count() < 1 {
                    thread::yield_now();
                }
                let refused = sequencer.append_wait(entry(2), at(0));
                assert!(matches!(refused, Err(SequencerError::Overloaded { limit: 1 })));
                Ok([leader, waiting])
            })
            .unwrap();
        for caller in accepted {
            assert!(caller.join().unwrap().is_ok());
        }
    });
}

#[test]
fn a_failed_batch_fails_for_all_and_the_log_stays_shut() {
    let folder = folder();
    drop(Log::create(storage(&folder), log_key()).unwrap());
    let steps = {
        let counting = Arc::new(Faulty::new(storage(&folder), u64::MAX, Fault::Without));
        let storage: Arc<dyn crate::Storage> = Arc::clone(&counting) as _;
        drop(Log::open(storage, log_key(), &[]).unwrap());
        counting.steps_taken()
    };
    let faulty = Arc::new(Faulty::new(storage(&folder), steps + 2, Fault::Without));
    let log = Log::open(faulty, log_key(), &[]).unwrap();
    let sequencer = Sequencer::new(log, None, SequencerLimits::default());
    let results = crowd(&sequencer, 6);
    assert!(results.iter().all(|result| matches!(result, Err(SequencerError::Log(_)))));
    let later = sequencer.append_wait(entry(9), at(0));
    assert!(
        matches!(later, Err(SequencerError::Log(error)) if matches!(*error, LogError::Poisoned))
    );
}

#[test]
fn a_closed_sequencer_says_so() {
    let folder = folder();
    let sequencer = sequencer(&folder, SequencerLimits::default());
    assert!(sequencer.close().is_some());
    assert!(sequencer.close().is_none());
    assert!(matches!(sequencer.append_wait(entry(0), at(0)), Err(SequencerError::Closed)));
    assert!(matches!(sequencer.prove(LeafIndex(0)), Err(SequencerError::Closed)));
    assert!(matches!(sequencer.publish(at(0)), Err(SequencerError::Closed)));
}

#[test]
fn publication_keeps_to_its_interval() {
    let folder = folder();
    let limits = SequencerLimits { publish_interval_seconds: 10, ..SequencerLimits::default() };
    let sequencer = sequencer(&folder, limits);
    let published = || sequencer.with_log(|log| Ok(log.published_size().get())).unwrap();
    for (number, now, expected) in [(0, 100, 1), (1, 109, 1), (2, 110, 3), (3, 90, 3), (4, 120, 5)]
    {
        sequencer.append_wait(entry(number), at(now)).unwrap();
        assert_eq!(published(), expected, "at {now}");
    }
}
