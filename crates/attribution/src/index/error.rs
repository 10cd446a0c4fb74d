//! Why an index cannot be built, opened or believed.

use std::io;

use tally_core::Digest;
use tally_core::cbor::CborError;
use tally_core::trace::Tree;
use thiserror::Error;

use super::ArrayFault;

/// Why an index cannot be built, opened or believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A file cannot be read or written.
    #[error("the index file cannot be used: {0}")]
    File(#[from] io::Error),
    /// The file does not begin as an index does.
    #[error("the file is not an index: it does not begin with `{expected}`")]
    NotIndex {
        /// What an index begins with.
        expected: &'static str,
    },
    /// The file is of another version.
    #[error("the index has version {found}, this program knows {expected}")]
    Version {
        /// The version that is known.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// A section does not lie where the ones before it end, or the file ends elsewhere.
    #[error("section {section} lies at {found}, expected {expected}")]
    SectionPlace {
        /// The section's number, or the count of sections for the end of the file.
        section: usize,
        /// Where it must lie.
        expected: u64,
        /// Where it lies.
        found: u64,
    },
    /// A section is said to be larger than the file.
    #[error("section {section} has {found} bytes, the file has {limit}")]
    SectionBeyond {
        /// The section's number.
        section: usize,
        /// Bytes of the file.
        limit: u64,
        /// What the head says.
        found: u64,
    },
    /// A section has another size than the shard demands.
    #[error("section {section} has {found} bytes, the shard demands {expected}")]
    SectionSize {
        /// The section's number.
        section: usize,
        /// What the shard demands.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// Something lies between two sections.
    #[error("byte {at} of the file lies between two sections and is not zero")]
    Padding {
        /// The byte.
        at: usize,
    },
    /// What the root commits to is malformed.
    #[error("the shard's description is malformed: {0}")]
    Shard(#[from] CborError),
    /// Documents that do not divide the text.
    #[error("document {document} begins at {found}, expected {expected}")]
    DocumentPlace {
        /// The document, or the count of documents for the end of the text.
        document: u32,
        /// Where it must begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// A document's name is not text, or lies elsewhere.
    #[error("document {document} has no name that is text")]
    Name {
        /// The document.
        document: u32,
    },
    /// A document of a contribution that the shard does not have.
    #[error("document {document} is of contribution {found}, there are {count}")]
    Contribution {
        /// The document.
        document: u32,
        /// The contribution's place.
        found: u32,
        /// How many there are.
        count: u32,
    },
    /// A document whose text is another than its digest says.
    #[error("document {document} has digest {computed}, its entry says {expected}")]
    DocumentDigest {
        /// The document.
        document: u32,
        /// The digest of its entry.
        expected: Digest,
        /// The digest of its text.
        computed: Digest,
    },
    /// A document that is not UTF-8, so that it could hold the byte that ends documents.
    #[error("document {document} is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// The document.
        document: u32,
        /// The first byte that is not.
        at: usize,
    },
    /// A document that does not end with the byte that ends documents.
    #[error("document {document} does not end with the byte that ends documents")]
    NotEnded {
        /// The document.
        document: u32,
    },
    /// More than a shard can hold.
    #[error("{what} would be {found}, a shard holds {limit}")]
    Limit {
        /// What there would be too much of.
        what: &'static str,
        /// How much a shard holds.
        limit: u64,
        /// How much there would be.
        found: u64,
    },
    /// A shard without documents, or a document before its contribution.
    #[error("a shard needs {what} first")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// The library that sorts gave up.
    #[error("the suffixes cannot be sorted: {0:?}")]
    Sort(libsais::LibsaisError),
    /// The array is not the suffix array of the text.
    #[error("the array is not that of the text: {0}")]
    Array(#[from] ArrayFault),
    /// A tree whose hashes or minima are not those of what lies below.
    #[error("the {tree} tree is wrong at node {index} of level {level}")]
    Node {
        /// Which tree.
        tree: Tree,
        /// Height above the leaves.
        level: u32,
        /// Place in the level.
        index: u32,
    },
    /// A tree with another root than the index root commits to.
    #[error("the {tree} tree has root {computed}, the index says {expected}")]
    Root {
        /// Which tree.
        tree: Tree,
        /// What the index says.
        expected: Digest,
        /// What the tree has.
        computed: Digest,
    },
}
