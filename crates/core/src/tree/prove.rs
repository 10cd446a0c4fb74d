//! Making proofs from stored nodes (RFC 6962 §2.1.1 and §2.1.2, written as loops).

use alloc::vec::Vec;

use super::{LeafIndex, NodeId, Nodes, TreeError, TreeSize, empty_root, node_hash};
use crate::Digest;

/// The hashes beside the path from leaf `index` to the root of the tree with `size` leaves, from
/// the leaf's sibling upwards.
///
/// # Errors
/// [`TreeError::LeafOutOfTree`] as the inner result; a read error as the outer one.
pub fn prove_inclusion<N: Nodes>(
    nodes: &N,
    index: LeafIndex,
    size: TreeSize,
) -> Result<Result<Vec<Digest>, TreeError>, N::Error> {
    if index.0 >= size.get() {
        return Ok(Err(TreeError::LeafOutOfTree { index, size }));
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0_u64, size.get());
    while let Some(middle) = split(start, end) {
        if index.0 < middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(Ok(proof))
}

/// The proof that the tree with `old` leaves is a prefix of the tree with `new` leaves.
///
/// It is empty if the sizes are equal or the old tree is empty.
///
/// # Errors
/// [`TreeError::SizeOrder`] as the inner result; a read error as the outer one.
pub fn prove_consistency<N: Nodes>(
    nodes: &N,
    old: TreeSize,
    new: TreeSize,
) -> Result<Result<Vec<Digest>, TreeError>, N::Error> {
    if old > new {
        return Ok(Err(TreeError::SizeOrder { old, new }));
    }
    let mut proof = Vec::new();
    if old == TreeSize::ZERO || old == new {
        return Ok(Ok(proof));
    }
    let (mut start, mut end) = (0_u64, new.get());
    // The verifier knows the old root, so a subtree that is the whole old tree is left out.
    while old.get() != end {
        let Some(middle) = split(start, end) else { break };
        if old.get() <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    if start != 0 {
        proof.push(range_root(nodes, start, end)?);
    }
    proof.reverse();
    Ok(Ok(proof))
}

/// Root of the subtree over the leaves from `start` to `end`, where `start` is a multiple of the
/// least power of two that is not below `end - start`.
///
/// # Errors
/// If a node cannot be read.
pub fn range_root<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Digest, N::Error> {
    let mut from_right = complete_subtrees(start, end).into_iter().rev();
    let Some(last) = from_right.next() else { return Ok(empty_root()) };
    let mut hash = nodes.node(last)?;
    for id in from_right {
        hash = node_hash(&nodes.node(id)?, &hash);
    }
    Ok(hash)
}

/// The complete subtrees of the leaves from `start` to `end`, largest first.
pub(super) fn complete_subtrees(start: u64, end: u64) -> Vec<NodeId> {
    let mut ids = Vec::new();
    let mut start = start;
    while let Some(level) = end.checked_sub(start).and_then(u64::checked_ilog2) {
        let Some(index) = start.checked_shr(level) else { break };
        let Some(width) = 1_u64.checked_shl(level) else { break };
        ids.push(NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index });
        start = start.saturating_add(width);
    }
    ids
}

/// Where RFC 6962 divides the leaves from `start` to `end`: after the largest power of two below
/// their number. `None` if there are fewer than two.
fn split(start: u64, end: u64) -> Option<u64> {
    let last = end.checked_sub(start)?.checked_sub(1)?;
    start.checked_add(1_u64.checked_shl(last.checked_ilog2()?)?)
}
