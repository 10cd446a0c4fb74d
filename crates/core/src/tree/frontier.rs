//! The right edge of a growing tree: enough to append leaves and know the root.

use alloc::vec::Vec;

use super::{NodeId, Nodes, TreeSize, empty_root, node_hash, peaks};
use crate::Digest;

/// The hashes of the complete subtrees of a tree, from left to right, largest first.
///
/// It holds one hash per 1-bit of the size, so at most 63.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: TreeSize,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: TreeSize::ZERO, peaks: Vec::new() }
    }

    /// Reads the frontier of the tree with `size` leaves from stored nodes.
    ///
    /// # Errors
    /// If a node cannot be read.
    pub fn load<N: Nodes>(nodes: &N, size: TreeSize) -> Result<Self, N::Error> {
        let peaks = peaks(size).into_iter().map(|id| nodes.node(id)).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Appends a leaf hash. A tree of the largest size stays as it is.
    pub fn push(&mut self, leaf: Digest) {
        self.push_with(leaf, |_, _| ());
    }

    /// Appends a leaf hash and reports every subtree that it completes, the leaf first.
    pub fn push_with(&mut self, leaf: Digest, mut completed: impl FnMut(NodeId, Digest)) {
        let Some(size) = self.size.next() else { return };
        let mut id = NodeId { level: 0, index: self.size.get() };
        let mut hash = leaf;
        completed(id, hash);
        while id.index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            id = NodeId { level: id.level.saturating_add(1), index: id.index >> 1 };
            completed(id, hash);
        }
        self.peaks.push(hash);
        self.size = size;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut from_right = self.peaks.iter().rev();
        let Some(last) = from_right.next() else { return empty_root() };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }
}
