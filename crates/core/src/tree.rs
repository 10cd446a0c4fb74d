//! The Merkle tree of RFC 6962 §2.1 with SHA-256: hashes, roots, and proofs of two kinds.
//!
//! Makes proofs from stored nodes and verifies them from bytes alone. Where the nodes are stored
//! is the business of whoever implements [`Nodes`].

use alloc::vec::Vec;

use thiserror::Error;

use crate::{Digest, Hasher};

mod frontier;
mod prove;
#[cfg(test)]
#[expect(
    clippy::integer_division,
    clippy::arithmetic_side_effects,
    reason = "a test counts bits and bytes"
)]
mod tests;
mod verify;

pub use frontier::Frontier;
pub use prove::{prove_consistency, prove_inclusion, range_root};
pub use verify::{root_from_inclusion, verify_consistency, verify_inclusion};

/// Most hashes that a proof can hold: a tree has at most 2⁶³ − 1 leaves, so 64 levels suffice.
pub const PROOF_LEN_MAX: usize = 64;

/// How many leaves a tree has: at most 2⁶³ − 1.
///
/// The bound is that of tlog-witness (63 consistency hashes) and of readers with signed integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeSize(u64);

impl TreeSize {
    /// The size of the empty tree.
    pub const ZERO: Self = Self(0);
    /// The largest size.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned());

    /// Takes a size; `None` above the largest.
    #[must_use]
    pub const fn new(size: u64) -> Option<Self> {
        if size <= Self::MAX.0 { Some(Self(size)) } else { None }
    }

    /// The size as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The size with one leaf more; `None` at the largest.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0.checked_add(1)?)
    }
}

impl core::fmt::Display for TreeSize {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The 0-based place of a leaf in its tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeafIndex(pub u64);

impl core::fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A complete subtree: the 2^level leaves from `index · 2^level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId {
    /// Height above the leaves, 0 to 63.
    pub level: u8,
    /// 0-based place within the level.
    pub index: u64,
}

/// Stored hashes of complete subtrees.
///
/// `node` answers for every complete subtree of the tree that the implementor claims to hold; it
/// need not verify what it returns, since proofs made from wrong nodes verify nowhere.
pub trait Nodes {
    /// What can go wrong while reading.
    type Error;

    /// The hash of the complete subtree `id`.
    ///
    /// # Errors
    /// If it cannot be read.
    fn node(&self, id: NodeId) -> Result<Digest, Self::Error>;
}

/// Why a proof cannot be made, or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The leaf is not in a tree of this size.
    #[error("leaf {index} is not in a tree of size {size}")]
    LeafOutOfTree {
        /// The leaf.
        index: LeafIndex,
        /// The tree's size.
        size: TreeSize,
    },
    /// The old tree is larger than the new one.
    #[error("old tree size {old} is above new tree size {new}")]
    SizeOrder {
        /// Size of the old tree.
        old: TreeSize,
        /// Size of the new tree.
        new: TreeSize,
    },
    /// The proof has another number of hashes than the sizes demand.
    #[error("{proof} has {found} hashes, the sizes demand {expected}")]
    ProofLength {
        /// Which kind of proof.
        proof: &'static str,
        /// How many the sizes demand.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The inclusion proof leads to another root.
    #[error("inclusion proof yields root {computed}, checkpoint says {expected}")]
    InclusionRoot {
        /// The root that the checkpoint states.
        expected: Digest,
        /// The root that the proof yields.
        computed: Digest,
    },
    /// The consistency proof leads to another old root.
    #[error("consistency proof yields old root {computed}, checkpoint says {expected}")]
    OldRoot {
        /// The root that the old checkpoint states.
        expected: Digest,
        /// The root that the proof yields.
        computed: Digest,
    },
    /// The consistency proof leads to another new root.
    #[error("consistency proof yields new root {computed}, checkpoint says {expected}")]
    NewRoot {
        /// The root that the new checkpoint states.
        expected: Digest,
        /// The root that the proof yields.
        computed: Digest,
    },
}

/// Root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of_content(&[])
}

/// Hash of a leaf: SHA-256(0x00 ‖ entry).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hasher = Hasher::plain();
    hasher.update(&[0]);
    hasher.update(entry);
    hasher.finish()
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Hasher::plain();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// Root of the tree over these leaf hashes.
#[must_use]
pub fn root(leaf_hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::new();
    for leaf in leaf_hashes {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// The complete subtrees that make up the leaves from 0 to `size`, from left to right.
#[must_use]
pub fn peaks(size: TreeSize) -> Vec<NodeId> {
    prove::complete_subtrees(0, size.get())
}
