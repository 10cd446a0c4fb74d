//! The index of one shard: a suffix array over registered texts, mapped as it lies in its file.
//!
//! The documents' texts stand one after another in the order of registration, each followed by a
//! byte that no text holds. One file has all: text, array, the least entry of every block of the
//! array with the tree over them, and the hashes of the three trees below the index root
//! ([`tally_core::trace`]), in all less than 6 bytes for each of text besides some 112 for each
//! document and its name.
//!
//! An opened index is used as its file says; that the array is sorted and the roots are those of
//! the text is shown by [`Index::verify`], which reads everything. An index says where texts are
//! repeated, not why, and not whose the documents are.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use tally_core::Digest;
use tally_core::trace::{Document, Shard};

use crate::map::Map;
use file::{DOCUMENT_BYTES, Layout, Section};

mod answer;
mod array;
mod build;
mod error;
mod file;
mod levels;
mod prove;
mod search;
#[cfg(test)]
mod tests;
mod verify;

pub use answer::Shards;
pub use array::ArrayFault;
pub use build::{Builder, NAME_BYTES_MAX};
pub use error::IndexError;
pub use prove::{ProveError, Traced, prove, refute};
pub use search::Longest;

/// Told how far a long act is, in thousandths; it need not be told every one.
pub type Progress<'a> = &'a mut dyn FnMut(u32);

/// A shard's index, opened.
#[derive(Debug)]
pub struct Index {
    map: Map,
    layout: Layout,
    shard: Shard,
    root: Digest,
}

impl Index {
    /// Opens an index file: its sizes and documents are verified, its array and hashes are not
    /// ([`Index::verify`]).
    ///
    /// # Errors
    /// If the file cannot be mapped or is not an index.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let map = Map::open(&File::open(path)?)?;
        let (layout, shard) = Layout::parse(&map)?;
        let index = Self { root: shard.root(), map, layout, shard };
        verify::documents_in_order(&index)?;
        Ok(index)
    }

    /// What the index root commits to.
    #[must_use]
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The index root.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.map.len()
    }

    /// A document by its place; `None` beyond the last.
    #[must_use]
    pub fn document(&self, at: u32) -> Option<Document> {
        self.record(at).map(|record| record.document)
    }

    /// The name under which a document was added; names do not enter the root.
    #[must_use]
    pub fn name(&self, at: u32) -> Option<&str> {
        let end = self.record(at)?.name_end as usize;
        let start = match at.checked_sub(1) {
            Some(before) => self.record(before)?.name_end as usize,
            None => 0,
        };
        std::str::from_utf8(self.section(Section::Names).get(start..end)?).ok()
    }

    /// All documents in the order of registration.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = Document> {
        let (records, _) = self.section(Section::Documents).as_chunks::<DOCUMENT_BYTES>();
        records.iter().map(|record| file::Record::parse(record).document)
    }

    /// A document's text.
    #[must_use]
    pub fn text(&self, at: u32) -> Option<&[u8]> {
        let Document { start, size_bytes, .. } = self.document(at)?;
        self.texts().get(start as usize..)?.get(..size_bytes as usize)
    }

    /// The document in which a position of the shard's text lies.
    #[must_use]
    pub fn document_at(&self, position: u32) -> u32 {
        let (records, _) = self.section(Section::Documents).as_chunks::<DOCUMENT_BYTES>();
        let behind = records.partition_point(|record| file::Record::start(record) <= position);
        u32::try_from(behind).unwrap_or(u32::MAX).saturating_sub(1)
    }

    /// The texts of all documents, each with the byte that ends it.
    fn texts(&self) -> &[u8] {
        self.section(Section::Text)
    }

    /// The text from a position on; nothing where an array that nobody verified leads outside.
    fn suffix(&self, position: u32) -> &[u8] {
        self.texts().get(position as usize..).unwrap_or_default()
    }

    fn entries(&self) -> &[u32] {
        self.numbers(Section::Array)
    }

    /// The array's entry at a place that the array has.
    fn entry(&self, place: u32) -> u32 {
        u32::from_le(self.entries()[place as usize])
    }

    fn record(&self, at: u32) -> Option<file::Record> {
        let (records, _) = self.section(Section::Documents).as_chunks::<DOCUMENT_BYTES>();
        records.get(at as usize).map(file::Record::parse)
    }

    fn section(&self, section: Section) -> &[u8] {
        &self.map[self.range(section)]
    }

    /// A section of numbers, each little-endian whatever the machine.
    fn numbers(&self, section: Section) -> &[u32] {
        // Sections begin at multiples of 64 bytes of a mapping, and their sizes were verified.
        bytemuck::cast_slice(self.section(section))
    }

    fn range(&self, section: Section) -> Range<usize> {
        self.layout.range(section)
    }
}
