//! The earliest document of every window of an answer, in few searches.
//!
//! Windows next to each other have most of their bytes in common. So a part is sought that many
//! windows hold: if it occurs nowhere, none of them does; if it occurs in a few places, all of them
//! are compared there. Only a part that occurs often makes a longer one necessary, in the end the
//! window itself, whose earliest place is the least entry of its interval.

use std::borrow::Borrow;
use std::ops::Range;

use tally_core::trace::{DocumentId, SEPARATOR};

use super::Index;
use crate::ownership::Corpus;

/// So many places of a part are compared one by one.
const PLACES_MAX: u32 = 32;

/// Shards in the order of registration, searched as one.
#[derive(Clone, Copy, Debug)]
pub struct Shards<'a, I>(pub &'a [I]);

impl<I: Borrow<Index>> Corpus for Shards<'_, I> {
    fn earliest(&self, window: &[u8]) -> Option<DocumentId> {
        (0_u32..).zip(self.0).find_map(|(shard, index)| {
            let index = index.borrow();
            // A part with the byte that ends documents is in no document.
            let position = index.earliest(window).filter(|_| !window.contains(&SEPARATOR))?;
            Some(DocumentId { shard, document: index.document_at(position) })
        })
    }

    fn earliest_of_windows(&self, output: &[u8], window: usize) -> Vec<Option<DocumentId>> {
        let mut found = vec![None; output.windows(window).len()];
        for (shard, index) in (0_u32..).zip(self.0) {
            let index = index.borrow();
            let positions = index.earliest_of_windows(output, window, &found);
            let document = |position| DocumentId { shard, document: index.document_at(position) };
            for (owner, position) in found.iter_mut().zip(positions) {
                *owner = owner.or(position.map(document));
            }
        }
        found
    }
}

impl Index {
    /// For every window that is not in `found`, the position of its earliest occurrence.
    fn earliest_of_windows(
        &self,
        output: &[u8],
        window: usize,
        found: &[Option<DocumentId>],
    ) -> Vec<Option<u32>> {
        let mut search = Search { index: self, output, window, earliest: vec![None; found.len()] };
        let lengths = [window.div_ceil(2), (window * 3).div_ceil(4), window];
        let (mut start, mut level) = (0, 0);
        while start < found.len() {
            if found[start].is_some() {
                start += 1;
                continue;
            }
            // Where short parts occur often the next ones will too, so the length changes by steps.
            match search.group(start, lengths[level]) {
                Some(next) => (start, level) = (next, level.saturating_sub(1)),
                None => level += 1,
            }
        }
        search.earliest
    }
}

struct Search<'a> {
    index: &'a Index,
    output: &'a [u8],
    window: usize,
    earliest: Vec<Option<u32>>,
}

impl Search<'_> {
    /// Finds the earliest places of all windows that hold the last `len` bytes of the one that begins
    /// at `start`, and says where the next window begins; `None` if the part occurs too often.
    fn group(&mut self, start: usize, len: usize) -> Option<usize> {
        let end = start + self.window;
        let part = end - len..end;
        let next = (part.start + 1).min(self.earliest.len());
        let text = &self.output[part.clone()];
        if let Some(separator) = text.iter().rposition(|byte| *byte == SEPARATOR) {
            // All windows that hold it occur nowhere, those of this group and further ones.
            return Some((part.start + separator + 1).min(self.earliest.len()));
        }
        let interval = self.index.interval(text);
        if len == self.window {
            self.earliest[start] = self.index.least(interval);
            return Some(next);
        }
        if interval.end - interval.start > PLACES_MAX {
            return None;
        }
        for place in interval {
            self.compare_at(start, &part, self.index.entry(place) as usize);
        }
        Some(next)
    }

    /// Takes an occurrence of `part` at `position` for every window that holds the part and occurs
    /// there as a whole.
    fn compare_at(&mut self, start: usize, part: &Range<usize>, position: usize) {
        let Some((texts_before, found)) = self.index.texts().split_at_checked(position) else {
            return;
        };
        let Some(texts_behind) = found.get(part.len()..) else { return };
        let before = self.output[start..part.start].iter().rev();
        let before = before.zip(texts_before.iter().rev());
        let left = before.take_while(|(a, b)| a == b && **b != SEPARATOR).count();
        // The last window that holds the part begins with it.
        let furthest = (part.start + self.window).min(self.output.len());
        let behind = self.output[part.end..furthest].iter().zip(texts_behind);
        let right = behind.take_while(|(a, b)| a == b && **b != SEPARATOR).count();
        let (first, until) = (part.start - left, part.end + right);
        for begin in first..=until.saturating_sub(self.window).min(part.start) {
            if until < begin + self.window {
                break;
            }
            let at = u32::try_from(position - (part.start - begin)).unwrap_or(u32::MAX);
            let earliest = &mut self.earliest[begin];
            *earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }
}
