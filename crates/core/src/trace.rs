//! Span proofs: that the bytes of an output belong to the documents that they are said to belong to.
//!
//! A *shard* is a suffix array over the texts of consecutive registered documents; its index root
//! commits to text, array and documents ([`Shard`]). Given the index roots, and only given them, a
//! [`TraceProof`] shows the rule of the earliest window owner: every byte belongs to the earliest
//! document among those that hold a window of exactly so many bytes that covers it. Two kinds of
//! items carry it. A [`Presence`] shows that a document holds a part of the output, so its owner is
//! not later. A [`Probe`] shows the exact interval of the array whose suffixes begin with a part of
//! the output, and the least position in it, so no window that holds the part occurs before that.
//!
//! This module does not say why a text is repeated, and cannot know whether an index root is that of
//! the registered texts: whoever rebuilds the index says so, and two entries refute a wrong order
//! ([`Refutation`]). Every act here is linear in proof and output, up to a logarithm.

use alloc::vec::Vec;

use crate::Digest;

mod error;
mod excerpt;
mod items;
mod refutation;
mod shard;
mod spans;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

pub use error::{Neighbour, TraceError, Tree};
pub use excerpt::{Excerpt, Shown};
pub use items::{Bound, Presence, Probe};
pub use refutation::Refutation;
pub use shard::{Document, Least, Shard, chunk_hash};
pub use spans::{Claim, DocumentId, Owner, Span, verify_spans};
pub use tree::{Node, prove_leaves};

/// Bytes of text in one leaf of the text tree.
pub const CHUNK_BYTES: u32 = 256;
/// Entries in one leaf of the array tree.
pub const LEAF_ENTRIES: u32 = 128;
/// The byte that ends every document; no UTF-8 text holds it, so no match crosses documents.
pub const SEPARATOR: u8 = 0xff;
/// Most bytes of a shard's text: entries fit 31 bits, as the builder of arrays needs.
pub const TEXT_BYTES_MAX: u32 = (1 << 31) - 1;
/// Most documents of a shard.
pub const DOCUMENT_COUNT_MAX: u32 = 1 << 24;
/// Most contributions of a shard: their digests stand in every proof, so 128 KiB of them.
pub const CONTRIBUTION_COUNT_MAX: u32 = 1 << 12;
/// Most shards that an answer is held against.
pub const SHARD_COUNT_MAX: u32 = 64;
/// Most bytes of a window: far beyond any sentence that is worth a payment.
pub const WINDOW_BYTES_MAX: u32 = 1 << 10;
/// Most bytes of an output that is traced: some 250,000 tokens.
pub const OUTPUT_BYTES_MAX: u32 = 1 << 20;
/// Most bytes of one presence, so that many of them cannot make a verifier compare for long.
pub const PRESENCE_BYTES_MAX: u32 = 1 << 12;
/// Most presences of one shard.
pub const PRESENCE_COUNT_MAX: u64 = 1 << 14;
/// Most probes of one shard.
pub const PROBE_COUNT_MAX: u64 = 1 << 16;
/// Most bytes of an encoded proof: what one piece of evidence may have.
pub const PROOF_BYTES_MAX: u64 = crate::receipt::EVIDENCE_BYTES_MAX;

/// What shows the owners of an output's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceProof {
    /// What is shown of single shards, by increasing number; shards that need nothing are left out.
    pub shards: Vec<ShardTrace>,
}

/// What a proof shows of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardTrace {
    /// 0-based place of the shard among those of the claim.
    pub number: u32,
    /// The parts of text, array and documents that the items read.
    pub excerpt: Excerpt,
    /// What does not occur, or not before some place.
    pub probes: Vec<Probe>,
    /// What occurs.
    pub presences: Vec<Presence>,
}

/// The digest of a whole document, as its leaf carries it: SHA-256 of its text alone.
#[must_use]
pub fn document_digest(text: &[u8]) -> Digest {
    Digest::of_content(text)
}

/// A number of a format as a place in memory; saturates where memory is smaller.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A length in memory as a number of a format; saturates.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
