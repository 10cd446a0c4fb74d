//! Where texts occur in a shard: intervals of the array, and the least position in one.

use std::cmp::Ordering;
use std::ops::Range;

use tally_core::trace::LEAF_ENTRIES;

use super::file::Section;
use super::{Index, levels};

/// The longest beginning of a query that occurs in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Longest {
    /// Its length in bytes; 0 if not even the first byte occurs.
    pub len: usize,
    /// The places of the array whose suffixes begin with it.
    pub interval: Range<u32>,
}

impl Index {
    /// The places of the array whose suffixes begin with `query`; its length is how often the query
    /// occurs. If it occurs nowhere, the empty interval at which it would stand.
    ///
    /// An empty query is the beginning of every suffix.
    #[must_use]
    pub fn interval(&self, query: &[u8]) -> Range<u32> {
        let (mut low, mut high) = (0, self.shard().text_bytes);
        while low < high {
            let middle = low.midpoint(high);
            match self.compare(middle, query) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    let is_less = |place| self.compare(place, query) == Ordering::Less;
                    let is_equal = |place| self.compare(place, query) == Ordering::Equal;
                    return first_not(low..middle, is_less)..first_not(middle + 1..high, is_equal);
                }
            }
        }
        low..low
    }

    /// The longest beginning of `query` that occurs, shown by the two suffixes between which the
    /// query would stand.
    #[must_use]
    pub fn longest(&self, query: &[u8]) -> Longest {
        let place = self.interval(query);
        if !place.is_empty() {
            return Longest { len: query.len(), interval: place };
        }
        let beside = [place.start.checked_sub(1), Some(place.start)].into_iter().flatten();
        let beside = beside.filter(|place| *place < self.shard().text_bytes);
        let common = |place| common_len(self.suffix(self.entry(place)), query);
        let len = beside.map(common).max().unwrap_or(0);
        Longest { len, interval: self.interval(&query[..len]) }
    }

    /// The least position at which `query` stands, so the earliest; `None` if it occurs nowhere.
    #[must_use]
    pub fn earliest(&self, query: &[u8]) -> Option<u32> {
        self.least(self.interval(query))
    }

    /// The least entry of an interval of the array; `None` if it is empty.
    #[must_use]
    pub fn least(&self, interval: Range<u32>) -> Option<u32> {
        let entries = self.entries();
        let least_of = |part: Range<u32>| {
            let part = entries.get(part.start as usize..part.end as usize).unwrap_or_default();
            part.iter().map(|entry| u32::from_le(*entry)).min()
        };
        // Whole blocks by their stored minima, the rest entry by entry.
        let (first, last) = (interval.start.div_ceil(LEAF_ENTRIES), interval.end / LEAF_ENTRIES);
        if first >= last {
            return least_of(interval);
        }
        let head = least_of(interval.start..first * LEAF_ENTRIES);
        let tail = least_of(last * LEAF_ENTRIES..interval.end);
        [head, self.least_of_blocks(first..last), tail].into_iter().flatten().min()
    }

    fn least_of_blocks(&self, blocks: Range<u32>) -> Option<u32> {
        let minima = self.numbers(Section::Minima);
        let count = self.shard().leaf_count();
        let (mut start, mut end, mut level, mut least) = (blocks.start, blocks.end, 0, None);
        let mut take = |level: u32, index: u32| {
            let found = minima.get(levels::place_of(count, level, index));
            let found = found.map(|entry| u32::from_le(*entry));
            least = [least, found].into_iter().flatten().min();
        };
        while start < end {
            if start & 1 == 1 {
                take(level, start);
                start += 1;
            }
            if end & 1 == 1 {
                end -= 1;
                take(level, end);
            }
            (start, end, level) = (start / 2, end / 2, level + 1);
        }
        least
    }

    /// How the suffix at a place of the array stands to `query`; equal if it begins with it.
    fn compare(&self, place: u32, query: &[u8]) -> Ordering {
        let suffix = self.suffix(self.entry(place));
        suffix[..suffix.len().min(query.len())].cmp(query)
    }
}

/// The first place of a range at which `is_before` no longer holds.
fn first_not(range: Range<u32>, is_before: impl Fn(u32) -> bool) -> u32 {
    let Range { start: mut low, end: mut high } = range;
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// How many bytes two texts have in common from their beginnings.
pub(super) fn common_len(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
