//! What an index root commits to: sizes, three roots, and whose contributions the texts are.

use alloc::vec::Vec;

use super::tree::Node;
use super::{CHUNK_BYTES, LEAF_ENTRIES};
use crate::{Digest, Hasher, tag, tree};

/// A shard as its index root commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Bytes of the text: all documents, each with the byte that ends it.
    pub text_bytes: u32,
    /// How many documents it has.
    pub document_count: u32,
    /// Root of the RFC 6962 tree over the documents ([`Document::hash`]).
    pub documents_root: Digest,
    /// Root of the RFC 6962 tree over the text's chunks ([`chunk_hash`]).
    pub text_root: Digest,
    /// Root of the tree over the suffix array, of the same shape ([`Least`]).
    pub array_root: Digest,
    /// Digests of the manifests that registered the documents, in the order of registration.
    pub contributions: Vec<Digest>,
}

impl Shard {
    /// The index root: H(tag ‖ text bytes u64 ‖ document count u32 ‖ documents root ‖ text root ‖
    /// array root ‖ contribution count u32 ‖ contributions), numbers big-endian.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut hasher = Hasher::tagged(tag::INDEX);
        hasher.update(&u64::from(self.text_bytes).to_be_bytes());
        hasher.update(&self.document_count.to_be_bytes());
        for root in [&self.documents_root, &self.text_root, &self.array_root] {
            hasher.update(root.as_bytes());
        }
        hasher.update(&super::count(self.contributions.len()).to_be_bytes());
        for contribution in &self.contributions {
            hasher.update(contribution.as_bytes());
        }
        hasher.finish()
    }

    /// How many leaves the text tree has.
    #[must_use]
    pub const fn chunk_count(&self) -> u32 {
        self.text_bytes.div_ceil(CHUNK_BYTES)
    }

    /// How many leaves the array tree has.
    #[must_use]
    pub const fn leaf_count(&self) -> u32 {
        self.text_bytes.div_ceil(LEAF_ENTRIES)
    }
}

/// A document as a leaf of its shard's documents tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where its text begins in the shard's.
    pub start: u32,
    /// Bytes of its text, without the byte that ends it.
    pub size_bytes: u32,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// 0-based place of its manifest among the shard's contributions.
    pub contribution: u32,
}

impl Document {
    /// The RFC 6962 leaf hash of tag ‖ start u32 ‖ size u32 ‖ digest ‖ contribution u32,
    /// big-endian.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut hasher = tagged_leaf(tag::INDEX_DOCUMENT);
        hasher.update(&self.start.to_be_bytes());
        hasher.update(&self.size_bytes.to_be_bytes());
        hasher.update(self.digest.as_bytes());
        hasher.update(&self.contribution.to_be_bytes());
        hasher.finish()
    }
}

/// The RFC 6962 leaf hash of tag ‖ chunk: [`CHUNK_BYTES`] bytes of text, the last chunk the rest.
#[must_use]
pub fn chunk_hash(chunk: &[u8]) -> Digest {
    let mut hasher = tagged_leaf(tag::INDEX_TEXT);
    hasher.update(chunk);
    hasher.finish()
}

fn tagged_leaf(tag: tag::Tag) -> Hasher {
    let mut hasher = Hasher::plain();
    hasher.update(&[0]);
    hasher.update(tag.as_bytes());
    hasher
}

/// A node of the array tree: its hash, and the least entry below it.
///
/// A node's hash covers the least entries of both its halves, so a hash stands for the minimum too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// The least entry.
    pub entry: u32,
    /// The hash.
    pub hash: Digest,
}

impl Least {
    /// The leaf over up to [`LEAF_ENTRIES`] entries, given as they lie in the array: 4 bytes each,
    /// little-endian. H(tag ‖ entries).
    #[must_use]
    pub fn leaf(entries: &[u8]) -> Self {
        let (entries_of_four, _) = entries.as_chunks::<4>();
        let least = entries_of_four.iter().map(|entry| u32::from_le_bytes(*entry)).min();
        Self {
            entry: least.unwrap_or(u32::MAX),
            hash: Digest::of_tagged(tag::INDEX_ARRAY_LEAF, &[entries]),
        }
    }
}

impl Node for Least {
    /// H(tag ‖ left least u32 ‖ left hash ‖ right least u32 ‖ right hash), big-endian.
    fn parent(left: &Self, right: &Self) -> Self {
        let parts: [&[u8]; 4] = [
            &left.entry.to_be_bytes(),
            left.hash.as_bytes(),
            &right.entry.to_be_bytes(),
            right.hash.as_bytes(),
        ];
        Self {
            entry: left.entry.min(right.entry),
            hash: Digest::of_tagged(tag::INDEX_ARRAY_NODE, &parts),
        }
    }

    fn hash(&self) -> Digest {
        self.hash
    }
}

impl Node for Digest {
    fn parent(left: &Self, right: &Self) -> Self {
        tree::node_hash(left, right)
    }

    fn hash(&self) -> Digest {
        *self
    }
}
