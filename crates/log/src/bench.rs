//! How many entries a second a log takes, measured where it matters: on the disk it will stand on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tally_core::{
    Digest,
    cosignature::Timestamp,
    entry::{Entry, EntryKind, HourBucket},
};

use crate::{Cosigner, Log, LogError, Sequencer, SequencerError, SequencerLimits};

/// How many entries in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Entries that were acknowledged.
    pub entry_count: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Rate {
    /// Whole entries per second.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        let nanoseconds = self.elapsed.as_nanos().max(1);
        let rate = u128::from(self.entry_count) * 1_000_000_000 / nanoseconds;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// The entry with this number, for loads.
#[must_use]
pub fn entry(number: u64) -> Entry {
    Entry {
        kind: EntryKind::RECEIPT,
        hour: HourBucket(0),
        digest: Digest::of_content(&number.to_be_bytes()),
    }
}

/// One writer appends batches of the same length: how many are acknowledged in which time, and how
/// many were published, in tiles and index, in which time afterwards.
///
/// # Errors
/// If the log refuses.
pub fn batches(log: &mut Log, batch_count: u64, batch_len: u64) -> Result<[Rate; 2], LogError> {
    let entry_count = batch_count * batch_len;
    let start = Instant::now();
    for batch in 0..batch_count {
        let first = batch * batch_len;
        let entries: Vec<Entry> = (first..first + batch_len).map(entry).collect();
        log.append(&entries)?;
    }
    let appended = Rate { entry_count, elapsed: start.elapsed() };
    let start = Instant::now();
    log.publish()?;
    Ok([appended, Rate { entry_count, elapsed: start.elapsed() }])
}

/// Many threads append one entry at a time until all are acknowledged.
///
/// # Errors
/// If the log refuses one of them.
pub fn threads(
    log: Log,
    cosigner: Option<Cosigner>,
    thread_count: usize,
    entry_count: u64,
) -> Result<Rate, SequencerError> {
    let sequencer = Arc::new(Sequencer::new(log, cosigner, SequencerLimits::default()));
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let failed = thread::scope(|scope| {
        let work = || -> Result<(), SequencerError> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= entry_count {
                    return Ok(());
                }
                let seconds = start.elapsed().as_secs();
                let now = Timestamp::new(seconds).unwrap_or_default();
                sequencer.append_wait(entry(number), now)?;
            }
        };
        let callers: Vec<_> = (0..thread_count).map(|_| scope.spawn(work)).collect();
        callers.into_iter().filter_map(|caller| caller.join().ok()?.err()).next()
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(Rate { entry_count, elapsed: start.elapsed() }),
    }
}
