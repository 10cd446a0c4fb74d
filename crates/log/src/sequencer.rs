//! Group commit: many threads append, one batch is synced for all of them.
//!
//! There is no thread of its own. The first caller that finds nobody at work takes all waiting
//! entries as one batch and works for the others; who comes meanwhile waits for the next batch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use tally_core::{cosignature::Timestamp, entry::Entry, tlog_proof::TlogProof, tree::LeafIndex};
use thiserror::Error;

use crate::{Cosigner, Log, LogError, segment::BATCH_LEN_MAX};

#[cfg(test)]
mod tests;

/// How much may wait and how often is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencerLimits {
    /// Most entries of one batch, at most 65,536.
    pub batch_len_max: usize,
    /// Most callers that wait; the next one is refused.
    pub queue_len_max: usize,
    /// Least time between two publications, in seconds.
    pub publish_interval_seconds: u64,
}

impl Default for SequencerLimits {
    /// Batches of up to 4,096 entries, 65,536 callers, one publication a second.
    fn default() -> Self {
        Self { batch_len_max: 4_096, queue_len_max: 65_536, publish_interval_seconds: 1 }
    }
}

/// Why an entry was not acknowledged.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SequencerError {
    /// Too many callers wait.
    #[error("{limit} entries wait already")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// The batch failed; the log must be opened again.
    #[error(transparent)]
    Log(#[from] Arc<LogError>),
    /// The sequencer was closed.
    #[error("sequencer is closed")]
    Closed,
}

/// A log, and its local cosigner if it has one, shared between threads.
#[derive(Debug)]
pub struct Sequencer {
    queue: Mutex<Queue>,
    turn: Condvar,
    work: Mutex<Option<Work>>,
    limits: SequencerLimits,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(u64, Entry)>,
    next_ticket: u64,
    is_led: bool,
    done: BTreeMap<u64, Result<LeafIndex, SequencerError>>,
}

#[derive(Debug)]
struct Work {
    log: Log,
    cosigner: Option<Cosigner>,
    published_at: Option<Timestamp>,
}

impl Sequencer {
    /// Takes a log and the cosigner that cosigns every batch before it is acknowledged.
    #[must_use]
    pub fn new(log: Log, cosigner: Option<Cosigner>, limits: SequencerLimits) -> Self {
        let limits = SequencerLimits {
            batch_len_max: limits.batch_len_max.clamp(1, BATCH_LEN_MAX),
            queue_len_max: limits.queue_len_max.max(1),
            ..limits
        };
        let work = Work { log, cosigner, published_at: None };
        Self { queue: Mutex::default(), turn: Condvar::new(), work: Mutex::new(Some(work)), limits }
    }

    /// Appends an entry and waits until it is durable, covered by a signed checkpoint, and cosigned
    /// if there is a cosigner. `now` is used if this caller leads the batch.
    ///
    /// # Errors
    /// If too many wait, the sequencer is closed, or the batch failed.
    pub fn append_wait(&self, entry: Entry, now: Timestamp) -> Result<LeafIndex, SequencerError> {
        let mut queue = locked(&self.queue);
        if queue.waiting.len() >= self.limits.queue_len_max {
            return Err(SequencerError::Overloaded { limit: self.limits.queue_len_max });
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push((ticket, entry));
        loop {
            if let Some(result) = queue.done.remove(&ticket) {
                return result;
            }
            if queue.is_led {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_led = true;
            let len = queue.waiting.len().min(self.limits.batch_len_max);
            let batch: Vec<(u64, Entry)> = queue.waiting.drain(..len).collect();
            drop(queue);
            let results = self.lead(&batch, now);
            queue = locked(&self.queue);
            queue.done.extend(results);
            queue.is_led = false;
            self.turn.notify_all();
        }
    }

    /// A proof for an acknowledged entry, as [`Log::prove`].
    ///
    /// # Errors
    /// As [`Log::prove`], or if the sequencer is closed.
    pub fn prove(&self, index: LeafIndex) -> Result<TlogProof, SequencerError> {
        self.with_log(|log| log.prove(index))
    }

    /// Publishes what has been appended, whatever the interval.
    ///
    /// # Errors
    /// If the storage refuses, or the sequencer is closed.
    pub fn publish(&self, now: Timestamp) -> Result<(), SequencerError> {
        let mut work = locked(&self.work);
        let work = work.as_mut().ok_or(SequencerError::Closed)?;
        work.published_at = Some(now);
        Ok(work.log.publish().map_err(Arc::new)?)
    }

    /// Looks at the log between two batches.
    ///
    /// # Errors
    /// What `act` returns, or if the sequencer is closed.
    pub fn with_log<T>(
        &self,
        act: impl FnOnce(&mut Log) -> Result<T, LogError>,
    ) -> Result<T, SequencerError> {
        let mut work = locked(&self.work);
        let work = work.as_mut().ok_or(SequencerError::Closed)?;
        Ok(act(&mut work.log).map_err(Arc::new)?)
    }

    /// How many entries wait for the next batch.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        locked(&self.queue).waiting.len()
    }

    /// Gives log and cosigner back; who still waits is told that the sequencer is closed.
    pub fn close(&self) -> Option<(Log, Option<Cosigner>)> {
        locked(&self.work).take().map(|work| (work.log, work.cosigner))
    }

    fn lead(
        &self,
        batch: &[(u64, Entry)],
        now: Timestamp,
    ) -> Vec<(u64, Result<LeafIndex, SequencerError>)> {
        let entries: Vec<Entry> = batch.iter().map(|(_, entry)| *entry).collect();
        let outcome = match locked(&self.work).as_mut() {
            Some(work) => self.sequence(work, &entries, now),
            None => Err(SequencerError::Closed),
        };
        let tickets = batch.iter().map(|(ticket, _)| *ticket);
        match outcome {
            Ok(first) => {
                tickets.zip(first.0..).map(|(t, index)| (t, Ok(LeafIndex(index)))).collect()
            }
            Err(error) => tickets.map(|ticket| (ticket, Err(error.clone()))).collect(),
        }
    }

    fn sequence(
        &self,
        work: &mut Work,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<LeafIndex, SequencerError> {
        let appended = work.log.append(entries).map_err(Arc::new)?;
        if let Some(cosigner) = &mut work.cosigner {
            work.log.cosign(cosigner, now).map_err(Arc::new)?;
        }
        let is_due = work.published_at.is_none_or(|at| {
            now.seconds().saturating_sub(at.seconds()) >= self.limits.publish_interval_seconds
        });
        if is_due {
            work.log.publish().map_err(Arc::new)?;
            work.published_at = Some(now);
        }
        Ok(appended.first)
    }
}

/// A panic elsewhere cannot leave these half changed: the log marks itself before it writes.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
