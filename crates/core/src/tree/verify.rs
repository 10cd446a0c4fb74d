//! Verifying proofs from bytes alone (RFC 9162 §2.1.3.2 and §2.1.4.2).
//!
//! The number of hashes is computed from the sizes first, so a proof of any other length is refused
//! before one hash is computed.

use super::{LeafIndex, TreeError, TreeSize, empty_root, node_hash};
use crate::Digest;

/// Verifies that `leaf` stands at `index` in the tree with `size` leaves and root `root`.
///
/// # Errors
/// If the leaf is outside the tree, the proof has the wrong length, or it yields another root.
pub fn verify_inclusion(
    leaf: &Digest,
    index: LeafIndex,
    size: TreeSize,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), TreeError> {
    let computed = root_from_inclusion(leaf, index, size, proof)?;
    if computed != *root {
        return Err(TreeError::InclusionRoot { expected: *root, computed });
    }
    Ok(())
}

/// The root that an inclusion proof yields.
///
/// # Errors
/// If the leaf is outside the tree or the proof has the wrong length.
pub fn root_from_inclusion(
    leaf: &Digest,
    index: LeafIndex,
    size: TreeSize,
    proof: &[Digest],
) -> Result<Digest, TreeError> {
    let Some(last) = size.get().checked_sub(1).filter(|last| index.0 <= *last) else {
        return Err(TreeError::LeafOutOfTree { index, size });
    };
    expect_length("inclusion proof", inclusion_length(index.0, last), proof.len())?;
    Ok(climb(*leaf, index.0, last, proof))
}

/// Verifies that the tree with `old` leaves and root `old_root` is a prefix of the tree with `new`
/// leaves and root `new_root`.
///
/// The empty tree is a prefix of every tree, with an empty proof, if its root is that of the empty
/// tree.
///
/// # Errors
/// If the sizes are out of order, the proof has the wrong length, or it yields another root.
pub fn verify_consistency(
    old: TreeSize,
    old_root: &Digest,
    new: TreeSize,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), TreeError> {
    let Some(grown) = new.get().checked_sub(old.get()) else {
        return Err(TreeError::SizeOrder { old, new });
    };
    let Some(old_last) = old.get().checked_sub(1) else {
        expect_length("consistency proof", 0, proof.len())?;
        same_old_root(old_root, empty_root())?;
        return if grown == 0 { same_new_root(new_root, *old_root) } else { Ok(()) };
    };
    if grown == 0 {
        expect_length("consistency proof", 0, proof.len())?;
        return same_new_root(new_root, *old_root);
    }
    // The largest complete subtree that ends where the old tree ends: the verifier knows its hash
    // only if it is the whole old tree.
    let level = old.get().trailing_zeros();
    let first_index = old_last.checked_shr(level).unwrap_or(0);
    let new_last = new.get().saturating_sub(1).checked_shr(level).unwrap_or(0);
    let seeded = first_index != 0;
    let path_length = inclusion_length(first_index, new_last);
    let length = path_length.saturating_add(usize::from(seeded));
    expect_length("consistency proof", length, proof.len())?;
    let (seed, path) = match proof.split_first() {
        Some((first, rest)) if seeded => (*first, rest),
        _ => (*old_root, proof),
    };
    same_old_root(old_root, climb_left(seed, first_index, new_last, path))?;
    same_new_root(new_root, climb(seed, first_index, new_last, path))
}

/// Climbs from a node at `index` of a level whose last node is `last` to the root.
fn climb(node: Digest, index: u64, last: u64, path: &[Digest]) -> Digest {
    let mut position = Position { index, last };
    path.iter().fold(node, |hash, sibling| {
        if position.step() { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
    })
}

/// As [`climb`], but takes in only the siblings on the left: the root of the old tree.
fn climb_left(node: Digest, index: u64, last: u64, path: &[Digest]) -> Digest {
    let mut position = Position { index, last };
    path.iter().fold(
        node,
        |hash, sibling| {
            if position.step() { node_hash(sibling, &hash) } else { hash }
        },
    )
}

/// A node and the last node of its level.
struct Position {
    index: u64,
    last: u64,
}

impl Position {
    /// Moves to the parent; whether the next sibling of the path is on the left.
    ///
    /// A last node with an even index has no sibling and rises alone until it has one, always on
    /// the left: a node that is the last of its level stays so in every level above. How many
    /// siblings a path has is established before.
    fn step(&mut self) -> bool {
        let left = self.index & 1 == 1 || self.index == self.last;
        self.index >>= 1;
        self.last >>= 1;
        left
    }
}

/// How many siblings the path of node `index` has in a level whose last node is `last`.
fn inclusion_length(index: u64, last: u64) -> usize {
    let inner = u64::BITS.saturating_sub((index ^ last).leading_zeros());
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    usize::try_from(inner.saturating_add(border)).unwrap_or(usize::MAX)
}

fn expect_length(proof: &'static str, expected: usize, found: usize) -> Result<(), TreeError> {
    if found == expected { Ok(()) } else { Err(TreeError::ProofLength { proof, expected, found }) }
}

fn same_old_root(expected: &Digest, computed: Digest) -> Result<(), TreeError> {
    if computed == *expected {
        Ok(())
    } else {
        Err(TreeError::OldRoot { expected: *expected, computed })
    }
}

fn same_new_root(expected: &Digest, computed: Digest) -> Result<(), TreeError> {
    if computed == *expected {
        Ok(())
    } else {
        Err(TreeError::NewRoot { expected: *expected, computed })
    }
}
