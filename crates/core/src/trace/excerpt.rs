//! Parts of a shard that a proof shows: chunks of text, leaves of the array, documents.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;
use core::ops::Range;

use super::tree::Partial;
use super::{CHUNK_BYTES, Document, LEAF_ENTRIES, Least, Shard, TraceError, Tree, chunk_hash};
use super::{count, index};
use crate::Digest;

/// Parts of a shard with the nodes that tie them to its index root; each part stands here once,
/// however many items read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The shard.
    pub shard: Shard,
    /// Chunks of text by their places.
    pub chunks: BTreeMap<u32, Vec<u8>>,
    /// The nodes beside the chunks ([`super::prove_leaves`]).
    pub chunk_nodes: Vec<Digest>,
    /// Leaves of the array by their places: entries of 4 bytes, little-endian.
    pub leaves: BTreeMap<u32, Vec<u8>>,
    /// The nodes beside the leaves.
    pub leaf_nodes: Vec<Least>,
    /// Documents by their places.
    pub documents: BTreeMap<u32, Document>,
    /// The nodes beside the documents.
    pub document_nodes: Vec<Digest>,
}

/// An excerpt that is one of the shard with a known index root.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    excerpt: &'a Excerpt,
    array: Partial<Least>,
}

impl Excerpt {
    /// Verifies that all parts are those of the shard with this index root.
    ///
    /// # Errors
    /// If the shard, a leaf or a node is another, or one is missing or too many.
    pub fn verify(&self, root: &Digest) -> Result<Shown<'_>, TraceError> {
        let computed = self.shard.root();
        if computed != *root {
            return Err(TraceError::IndexRoot { expected: *root, computed });
        }
        let Shard { text_bytes, document_count, .. } = self.shard;
        for (at, chunk) in &self.chunks {
            expect_size(Tree::Text, *at, chunk.len(), size_of(*at, CHUNK_BYTES, text_bytes))?;
        }
        for (at, leaf) in &self.leaves {
            let entries = size_of(*at, LEAF_ENTRIES, text_bytes);
            let size = entries.and_then(|entries| entries.checked_mul(4));
            expect_size(Tree::Array, *at, leaf.len(), size)?;
        }
        let text = (Tree::Text, self.shard.chunk_count(), self.shard.text_root);
        let chunks = self.chunks.iter().map(|(at, chunk)| (*at, chunk_hash(chunk)));
        Partial::grow(text, chunks, self.chunk_nodes.clone())?;
        let documents = (Tree::Documents, document_count, self.shard.documents_root);
        let hashes = self.documents.iter().map(|(at, document)| (*at, document.hash()));
        Partial::grow(documents, hashes, self.document_nodes.clone())?;
        let array = (Tree::Array, self.shard.leaf_count(), self.shard.array_root);
        let leaves = self.leaves.iter().map(|(at, leaf)| (*at, Least::leaf(leaf)));
        let array = Partial::grow(array, leaves, self.leaf_nodes.clone())?;
        Ok(Shown { excerpt: self, array })
    }
}

/// How much a leaf at a place holds if each holds `each` of `all`; `None` beyond the last.
fn size_of(at: u32, each: u32, all: u32) -> Option<u32> {
    let left = all.checked_sub(at.checked_mul(each)?)?;
    Some(left.min(each)).filter(|size| *size > 0)
}

fn expect_size(tree: Tree, at: u32, found: usize, size: Option<u32>) -> Result<(), TraceError> {
    match (size, count(found)) {
        (None, _) => Err(TraceError::LeafOutside { tree, index: at, count: at }),
        (Some(expected), found) if expected != found => {
            Err(TraceError::LeafSize { tree, index: at, expected, found })
        }
        _ => Ok(()),
    }
}

impl<'a> Shown<'a> {
    /// The shard that the excerpt is of.
    #[must_use]
    pub const fn shard(&self) -> &'a Shard {
        &self.excerpt.shard
    }

    /// A document.
    ///
    /// # Errors
    /// [`TraceError::NotShown`].
    pub fn document(&self, at: u32) -> Result<&'a Document, TraceError> {
        let not_shown = TraceError::NotShown { tree: Tree::Documents, index: at };
        self.excerpt.documents.get(&at).ok_or(not_shown)
    }

    /// The array's entry at a place: a position of the text.
    ///
    /// # Errors
    /// [`TraceError::NotShown`], and [`TraceError::EntryOutside`] in an index that is wrong.
    pub fn entry(&self, place: u32) -> Result<u32, TraceError> {
        let size = self.excerpt.shard.text_bytes;
        match self.raw_entry(place)? {
            entry if entry >= size => Err(TraceError::EntryOutside { place, entry, size }),
            entry => Ok(entry),
        }
    }

    /// The array's entry at a place, whether or not it is a position of the text.
    pub(super) fn raw_entry(&self, place: u32) -> Result<u32, TraceError> {
        let (leaf, within) = leaf_of(place);
        let entry = self.entries(leaf)?.get(within);
        entry.copied().map(u32::from_le_bytes).ok_or(not_in_array(leaf))
    }

    /// The least of the array's entries from `interval.start` to before `interval.end`; `None` if
    /// there are none.
    ///
    /// # Errors
    /// [`TraceError::NotShown`] unless the leaves of the first and the last entry are shown.
    pub fn least(&self, interval: &Range<u32>) -> Result<Option<u32>, TraceError> {
        let Some(last) = interval.end.checked_sub(1).filter(|last| *last >= interval.start) else {
            return Ok(None);
        };
        let (first_leaf, start) = leaf_of(interval.start);
        let (last_leaf, end) = leaf_of(last);
        if first_leaf == last_leaf {
            return least_of(self.entries(first_leaf)?.get(start..=end), first_leaf).map(Some);
        }
        let left = least_of(self.entries(first_leaf)?.get(start..), first_leaf)?;
        let right = least_of(self.entries(last_leaf)?.get(..=end), last_leaf)?;
        let between = self.array.least(&(first_leaf.saturating_add(1)..last_leaf))?;
        Ok([Some(left), between, Some(right)].into_iter().flatten().min())
    }

    /// How the suffix at a position stands to `query`: equal means that it begins with it.
    ///
    /// It reads as far as both agree, and one byte more.
    ///
    /// # Errors
    /// [`TraceError::NotShown`].
    pub fn compare(&self, position: u32, query: &[u8]) -> Result<Ordering, TraceError> {
        let (mut at, mut rest) = (position, query);
        while !rest.is_empty() {
            if at >= self.excerpt.shard.text_bytes {
                return Ok(Ordering::Less);
            }
            let text = self.text_from(at)?;
            let len = text.len().min(rest.len());
            let ordering = text.get(..len).cmp(&rest.get(..len));
            if ordering != Ordering::Equal {
                return Ok(ordering);
            }
            at = at.saturating_add(count(len));
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(Ordering::Equal)
    }

    /// How two suffixes of the text stand to each other; equal means that they are one.
    ///
    /// # Errors
    /// [`TraceError::NotShown`].
    pub(super) fn compare_suffixes(&self, left: u32, right: u32) -> Result<Ordering, TraceError> {
        let size = self.excerpt.shard.text_bytes;
        let (mut left, mut right) = (left, right);
        while left != right {
            if left >= size || right >= size {
                // The one that ends first is the beginning of the other.
                return Ok(right.cmp(&left));
            }
            let (a, b) = (self.text_from(left)?, self.text_from(right)?);
            let len = a.len().min(b.len());
            let ordering = a.get(..len).cmp(&b.get(..len));
            if ordering != Ordering::Equal {
                return Ok(ordering);
            }
            left = left.saturating_add(count(len));
            right = right.saturating_add(count(len));
        }
        Ok(Ordering::Equal)
    }

    /// The text from a position to the end of its chunk; at least one byte.
    fn text_from(&self, position: u32) -> Result<&'a [u8], TraceError> {
        let at = position.wrapping_shr(CHUNK_BYTES.trailing_zeros());
        let within = index(position & CHUNK_BYTES.wrapping_sub(1));
        let chunk = self.excerpt.chunks.get(&at).and_then(|chunk| chunk.get(within..));
        let not_shown = TraceError::NotShown { tree: Tree::Text, index: at };
        chunk.filter(|text| !text.is_empty()).ok_or(not_shown)
    }

    fn entries(&self, leaf: u32) -> Result<&'a [[u8; 4]], TraceError> {
        let bytes = self.excerpt.leaves.get(&leaf).ok_or(not_in_array(leaf))?;
        let (entries, _) = bytes.as_chunks::<4>();
        Ok(entries)
    }
}

const fn not_in_array(leaf: u32) -> TraceError {
    TraceError::NotShown { tree: Tree::Array, index: leaf }
}

/// The leaf that holds an entry, and the entry's place in it.
fn leaf_of(place: u32) -> (u32, usize) {
    let within = place & LEAF_ENTRIES.wrapping_sub(1);
    (place.wrapping_shr(LEAF_ENTRIES.trailing_zeros()), index(within))
}

fn least_of(entries: Option<&[[u8; 4]]>, leaf: u32) -> Result<u32, TraceError> {
    let entries = entries.unwrap_or_default().iter();
    entries.map(|entry| u32::from_le_bytes(*entry)).min().ok_or(not_in_array(leaf))
}
