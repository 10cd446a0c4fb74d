//! The index file: a head with a table of sections, then the sections, each at a multiple of 64
//! bytes, in a fixed order and without anything between them but zeros. Numbers are little-endian.
//!
//! The shard's description is the deterministic CBOR that proofs carry; the sizes of all other
//! sections follow from it.

use std::ops::Range;

use tally_core::Digest;
use tally_core::cbor::Cbor;
use tally_core::trace::{Document, Shard};

use super::IndexError;
use super::levels::node_count;

/// What an index file begins with.
pub(super) const MAGIC: &str = "tallyidx";
/// The version of this layout.
pub(super) const VERSION: u32 = 1;
/// Bytes of one document's record: start, size, contribution, end of its name, digest.
pub(super) const DOCUMENT_BYTES: usize = 48;
/// Where the sections begin, and what every section begins at a multiple of.
pub(super) const ALIGNMENT: u64 = 64;
const SECTION_COUNT: usize = 9;
const TABLE_START: usize = 16;
pub(super) const HEAD_BYTES: usize = TABLE_START + 16 * SECTION_COUNT;

/// The sections in their order in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// What the index root commits to.
    Shard,
    /// One record for each document.
    Documents,
    /// The documents' names, one after another.
    Names,
    /// The documents' texts.
    Text,
    /// The suffix array.
    Array,
    /// The least entries of all complete subtrees of the array tree.
    Minima,
    /// The hashes of the same.
    LeafHashes,
    /// The hashes of all complete subtrees of the text tree.
    ChunkHashes,
    /// The hashes of all complete subtrees of the documents tree.
    DocumentHashes,
}

/// All sections in their order.
pub(super) const SECTIONS: [Section; SECTION_COUNT] = [
    Section::Shard,
    Section::Documents,
    Section::Names,
    Section::Text,
    Section::Array,
    Section::Minima,
    Section::LeafHashes,
    Section::ChunkHashes,
    Section::DocumentHashes,
];

/// Where the sections lie; every range is inside the file.
#[derive(Clone, Debug)]
pub(super) struct Layout([Range<usize>; SECTION_COUNT]);

impl Layout {
    /// Where each section begins, from their sizes, and where the file ends.
    pub(super) fn of(sizes: [u64; SECTION_COUNT]) -> ([u64; SECTION_COUNT], u64) {
        let mut end = HEAD_BYTES as u64;
        let starts = sizes.map(|size| {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start.saturating_add(size);
            start
        });
        (starts, end)
    }

    /// The sizes of all sections of a shard.
    pub(super) fn sizes(shard: &Shard, names_bytes: u64) -> [u64; SECTION_COUNT] {
        let text = u64::from(shard.text_bytes);
        let leaves = node_count(shard.leaf_count());
        [
            shard.encode().len() as u64,
            u64::from(shard.document_count) * DOCUMENT_BYTES as u64,
            names_bytes,
            text,
            4 * text,
            4 * leaves,
            32 * leaves,
            32 * node_count(shard.chunk_count()),
            32 * node_count(shard.document_count),
        ]
    }

    /// The head of a file with sections of these sizes.
    pub(super) fn head(sizes: [u64; SECTION_COUNT]) -> Vec<u8> {
        let mut head = MAGIC.as_bytes().to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend(u32::try_from(SECTION_COUNT).unwrap_or(u32::MAX).to_le_bytes());
        for (start, size) in Self::of(sizes).0.into_iter().zip(sizes) {
            head.extend(start.to_le_bytes());
            head.extend(size.to_le_bytes());
        }
        head
    }

    /// Reads the head of a file and the shard's description.
    pub(super) fn parse(file: &[u8]) -> Result<(Self, Shard), IndexError> {
        if !file.starts_with(MAGIC.as_bytes()) {
            return Err(IndexError::NotIndex { expected: MAGIC });
        }
        let word = |at: usize| file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        match word(MAGIC.len()).map_or(0, u32::from_le_bytes) {
            VERSION => {}
            found => return Err(IndexError::Version { expected: VERSION, found }),
        }
        let count = word(MAGIC.len() + 4).map_or(0, u32::from_le_bytes);
        if count as usize != SECTION_COUNT || file.len() < HEAD_BYTES {
            let (expected, found) = (HEAD_BYTES as u64, file.len() as u64);
            return Err(IndexError::SectionPlace { section: 0, expected, found });
        }
        let (table, _) = file[TABLE_START..HEAD_BYTES].as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(table[at]);
        let sizes: [u64; SECTION_COUNT] = std::array::from_fn(|at| number(2 * at + 1));
        // So no sum of sizes leaves 64 bits.
        for (section, found) in sizes.into_iter().enumerate() {
            let limit = file.len() as u64;
            if found > limit {
                return Err(IndexError::SectionBeyond { section, limit, found });
            }
        }
        let (starts, end) = Self::of(sizes);
        for (section, expected) in starts.into_iter().enumerate() {
            let found = number(2 * section);
            if found != expected {
                return Err(IndexError::SectionPlace { section, expected, found });
            }
        }
        if end != file.len() as u64 {
            let (expected, found) = (end, file.len() as u64);
            return Err(IndexError::SectionPlace { section: SECTION_COUNT, expected, found });
        }
        // The file ends where the last section does, so all of them are inside of it.
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let layout =
            Self(std::array::from_fn(|at| place(starts[at])..place(starts[at] + sizes[at])));
        let shard = Shard::parse(&file[layout.range(Section::Shard)])?;
        let demanded = Self::sizes(&shard, sizes[Section::Names as usize]);
        for (section, (expected, found)) in demanded.into_iter().zip(sizes).enumerate() {
            if expected != found {
                return Err(IndexError::SectionSize { section, expected, found });
            }
        }
        let mut end = HEAD_BYTES;
        for section in SECTIONS {
            let Range { start, end: next } = layout.range(section);
            if let Some(at) = file[end..start].iter().position(|byte| *byte != 0) {
                return Err(IndexError::Padding { at: end + at });
            }
            end = next;
        }
        Ok((layout, shard))
    }

    /// Where a section lies.
    pub(super) fn range(&self, section: Section) -> Range<usize> {
        self.0[section as usize].clone()
    }
}

/// A document with the end of its name among all names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) document: Document,
    pub(super) name_end: u32,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; DOCUMENT_BYTES] {
        let Document { start, size_bytes, digest, contribution } = self.document;
        let mut bytes = [0; DOCUMENT_BYTES];
        let (numbers, rest) = bytes.split_at_mut(16);
        for (place, number) in numbers.as_chunks_mut::<4>().0.iter_mut().zip([
            start,
            size_bytes,
            contribution,
            self.name_end,
        ]) {
            *place = number.to_le_bytes();
        }
        rest.copy_from_slice(digest.as_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; DOCUMENT_BYTES]) -> Self {
        let (numbers, digest) = bytes.split_at(16);
        let (numbers, _) = numbers.as_chunks::<4>();
        let [start, size_bytes, contribution, name_end] =
            [0, 1, 2, 3].map(|at: usize| u32::from_le_bytes(numbers[at]));
        let mut hash = [0; Digest::SIZE_BYTES];
        hash.copy_from_slice(digest);
        let digest = Digest::from_bytes(hash);
        Self { document: Document { start, size_bytes, digest, contribution }, name_end }
    }

    /// Where the document of a record begins, for searches that need nothing else.
    pub(super) fn start(bytes: &[u8; DOCUMENT_BYTES]) -> u32 {
        let [a, b, c, d, ..] = *bytes;
        u32::from_le_bytes([a, b, c, d])
    }
}
