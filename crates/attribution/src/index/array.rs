//! The suffix array: made by `libsais`, verified by ourselves.
//!
//! The verification needs one pass and 512 counters, after Burkhardt and Kärkkäinen ("Fast
//! lightweight suffix array construction and checking", CPM 2003), with counters in the place of an
//! inverse array: take the empty suffix and then every suffix in the array's order; each with one
//! byte put before it must be the next one of that byte's bucket. Then every slot is visited once,
//! in an order that by induction is that of the suffixes.

use libsais::SuffixArrayConstruction;
use thiserror::Error;

use super::{IndexError, Progress};

/// How many entries are verified between two reports of progress.
const REPORT_EVERY: usize = 1 << 20;

/// The first place at which an array contradicts itself or the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ArrayFault {
    /// The array has another length than the text.
    #[error("it has {found} entries, the text has {expected} bytes")]
    Length {
        /// Bytes of the text.
        expected: usize,
        /// Entries of the array.
        found: usize,
    },
    /// An entry that is no position of the text.
    #[error("entry {place} is {found}, the text has {size} bytes")]
    Outside {
        /// The entry's place.
        place: usize,
        /// The entry.
        found: u32,
        /// Bytes of the text.
        size: usize,
    },
    /// An entry that is another than the order so far demands.
    #[error("entry {place} is {found}, the suffixes before demand {expected}")]
    Order {
        /// The entry's place.
        place: usize,
        /// What it must be.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// More suffixes with one first byte than the text has: an entry stands there twice.
    #[error("the entry {found} at {place} stands there twice")]
    Twice {
        /// The place of the second one.
        place: usize,
        /// The entry.
        found: u32,
    },
}

/// Sorts the suffixes of a text of at most 2³¹ − 1 bytes.
///
/// It takes four bytes of memory for each of the text, besides some kilobytes.
pub(super) fn sort(text: &[u8]) -> Result<Vec<u32>, IndexError> {
    let sorted =
        SuffixArrayConstruction::for_text(text).in_owned_buffer32().single_threaded().run();
    let entries = sorted.map_err(IndexError::Sort)?.into_vec();
    Ok(bytemuck::cast_vec(entries))
}

/// Verifies that `array`, whose entries are little-endian, is the suffix array of `text`.
pub(super) fn verify(text: &[u8], array: &[u32], progress: Progress<'_>) -> Result<(), ArrayFault> {
    if text.len() != array.len() {
        return Err(ArrayFault::Length { expected: text.len(), found: array.len() });
    }
    let mut buckets = Buckets::of(text);
    let mut has_whole = false;
    if let Some(last) = text.len().checked_sub(1) {
        buckets.place(text, array, last, 0)?;
    }
    for (number, entries) in array.chunks(REPORT_EVERY).enumerate() {
        let before = number * REPORT_EVERY;
        progress(thousandths(before, array.len()));
        for (within, entry) in entries.iter().enumerate() {
            let found = u32::from_le(*entry);
            let place = before + within;
            match found as usize {
                0 if has_whole => return Err(ArrayFault::Twice { place, found }),
                0 => has_whole = true,
                outside if outside >= text.len() => {
                    return Err(ArrayFault::Outside { place, found, size: text.len() });
                }
                position => buckets.place(text, array, position - 1, place)?,
            }
        }
    }
    Ok(())
}

pub(super) fn thousandths(done: usize, all: usize) -> u32 {
    u32::try_from(done as u64 * 1_000 / (all as u64).max(1)).unwrap_or(1_000)
}

/// The slots of all suffixes with one first byte: the next one, and the one behind the last.
struct Buckets {
    next: [usize; 256],
    end: [usize; 256],
}

impl Buckets {
    fn of(text: &[u8]) -> Self {
        let mut counts = [0_usize; 256];
        for byte in text {
            counts[usize::from(*byte)] += 1;
        }
        let (mut next, mut end, mut sum) = ([0; 256], [0; 256], 0);
        for (byte, count) in counts.into_iter().enumerate() {
            next[byte] = sum;
            sum += count;
            end[byte] = sum;
        }
        Self { next, end }
    }

    /// Expects the suffix at `position` at the next slot of its bucket; `place` is where the suffix
    /// behind its first byte stands.
    fn place(
        &mut self,
        text: &[u8],
        array: &[u32],
        position: usize,
        place: usize,
    ) -> Result<(), ArrayFault> {
        let bucket = usize::from(text[position]);
        let slot = self.next[bucket];
        if slot == self.end[bucket] {
            return Err(ArrayFault::Twice { place, found: u32::from_le(array[place]) });
        }
        let found = u32::from_le(array[slot]);
        if found as usize != position {
            let expected = u32::try_from(position).unwrap_or(u32::MAX);
            return Err(ArrayFault::Order { place: slot, expected, found });
        }
        self.next[bucket] = slot + 1;
        Ok(())
    }
}
