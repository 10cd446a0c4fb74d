//! That an index root is not that of a suffix array: two entries suffice.
//!
//! An array of as many entries as the text has bytes, all inside the text and each suffix greater
//! than the one before, is the suffix array. So a wrong one has an entry outside the text, or two
//! entries next to each other that stand in the wrong order or are the same.

use core::cmp::Ordering;

use super::{Excerpt, TraceError};
use crate::Digest;

/// A place of a shard's array at which it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refutation {
    /// The entries at the place and behind it, and the text that tells them apart.
    pub excerpt: Excerpt,
    /// The first entry's place.
    pub place: u32,
}

impl Refutation {
    /// Verifies that the index with this root is wrong.
    ///
    /// # Errors
    /// If nothing is refuted: the excerpt is of another index, shows too little, or the entries
    /// stand in order.
    pub fn verify(&self, root: &Digest) -> Result<(), TraceError> {
        let shown = self.excerpt.verify(root)?;
        let size = shown.shard().text_bytes;
        let left = shown.raw_entry(self.place)?;
        if left >= size {
            return Ok(());
        }
        let right = shown.raw_entry(self.place.saturating_add(1))?;
        if right >= size {
            return Ok(());
        }
        match shown.compare_suffixes(left, right)? {
            Ordering::Less => Err(TraceError::InOrder { place: self.place }),
            Ordering::Equal | Ordering::Greater => Ok(()),
        }
    }
}
