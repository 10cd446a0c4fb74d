//! Proofs of many leaves of one tree at once: the leaves, and every subtree without one of them.
//!
//! The shape is that of RFC 6962 §2.1; what a node is, is the tree's own business ([`Node`]).

use alloc::vec::Vec;
use core::iter::Peekable;
use core::ops::Range;

use super::{Least, TraceError, Tree};
use crate::Digest;

/// A node that is made of two.
pub trait Node: Clone {
    /// The node above both.
    fn parent(left: &Self, right: &Self) -> Self;

    /// The hash that stands for it.
    fn hash(&self) -> Digest;
}

/// The nodes beside the leaves at the places `wanted` of a tree with `count` leaves, from left to
/// right: one for every largest subtree that has none of them.
///
/// `wanted` must increase. `node` yields the node over a range of leaves; it is asked for subtrees
/// of the shape of RFC 6962 only.
pub fn prove_leaves<N>(
    count: u32,
    wanted: &[u32],
    node: &mut impl FnMut(Range<u32>) -> N,
) -> Vec<N> {
    let mut nodes = Vec::new();
    if !wanted.is_empty() {
        add_beside(0..count, wanted, node, &mut nodes);
    }
    nodes
}

fn add_beside<N>(
    range: Range<u32>,
    wanted: &[u32],
    node: &mut impl FnMut(Range<u32>) -> N,
    nodes: &mut Vec<N>,
) {
    if wanted.is_empty() {
        return nodes.push(node(range));
    }
    let Some(middle) = split(&range) else { return };
    let (left, right) = wanted.split_at(wanted.partition_point(|place| *place < middle));
    add_beside(range.start..middle, left, node, nodes);
    add_beside(middle..range.end, right, node, nodes);
}

/// A tree of which some leaves are known, and the hashes of all else.
#[derive(Clone, Debug)]
pub(super) struct Partial<N> {
    /// Every node after those below it; the root is the last.
    parts: Vec<Part<N>>,
}

#[derive(Clone, Debug)]
struct Part<N> {
    leaves: Range<u32>,
    node: N,
    /// Places of the two halves, if they are known.
    halves: Option<[usize; 2]>,
}

/// A tree while it is put together.
struct Growth<L: Iterator, N> {
    tree: Tree,
    shown: Peekable<L>,
    beside: Vec<N>,
    taken: usize,
    parts: Vec<Part<N>>,
}

impl<N: Node> Partial<N> {
    /// Puts a tree with `count` leaves together from the leaves `shown`, by increasing place, and
    /// the nodes `beside` them, and compares its root.
    ///
    /// Where no leaf is shown nothing is known, and no node may stand beside.
    pub(super) fn grow(
        (tree, count, root): (Tree, u32, Digest),
        shown: impl Iterator<Item = (u32, N)>,
        beside: Vec<N>,
    ) -> Result<Self, TraceError> {
        let mut growth =
            Growth { tree, shown: shown.peekable(), beside, taken: 0, parts: Vec::new() };
        if growth.shown.peek().is_some() {
            let top = growth.add(0..count)?;
            // Places increase, so one that is left is beyond the last leaf.
            if let Some((index, _)) = growth.shown.next() {
                return Err(TraceError::LeafOutside { tree, index, count });
            }
            let computed = growth.parts.get(top).map(|part| part.node.hash());
            if let Some(computed) = computed.filter(|computed| *computed != root) {
                return Err(TraceError::TreeRoot { tree, expected: root, computed });
            }
        }
        let (expected, found) = (growth.taken, growth.beside.len());
        if expected != found {
            return Err(TraceError::NodesLeft { tree, expected, found });
        }
        Ok(Self { parts: growth.parts })
    }
}

impl<L: Iterator<Item = (u32, N)>, N: Node> Growth<L, N> {
    /// Adds the subtree over `leaves` and says where it stands; as deep as the tree is high, so at
    /// most 32.
    fn add(&mut self, leaves: Range<u32>) -> Result<usize, TraceError> {
        let is_known = self.shown.peek().is_some_and(|(place, _)| *place < leaves.end);
        let (node, halves) = match split(&leaves) {
            _ if !is_known => {
                let missing =
                    TraceError::NodesMissing { tree: self.tree, found: self.beside.len() };
                let node = self.beside.get(self.taken).cloned().ok_or(missing)?;
                self.taken = self.taken.saturating_add(1);
                (node, None)
            }
            Some(middle) => {
                let left = self.add(leaves.start..middle)?;
                let right = self.add(middle..leaves.end)?;
                (self.parent(left, right)?, Some([left, right]))
            }
            None => {
                let outside =
                    TraceError::LeafOutside { tree: self.tree, index: 0, count: leaves.end };
                (self.shown.next().ok_or(outside)?.1, None)
            }
        };
        self.parts.push(Part { leaves, node, halves });
        Ok(self.parts.len().saturating_sub(1))
    }

    fn parent(&self, left: usize, right: usize) -> Result<N, TraceError> {
        match (self.parts.get(left), self.parts.get(right)) {
            (Some(left), Some(right)) => Ok(N::parent(&left.node, &right.node)),
            _ => Err(TraceError::NodesMissing { tree: self.tree, found: self.beside.len() }),
        }
    }
}

impl Partial<Least> {
    /// The least entry below the leaves `range`; `None` if there are none.
    ///
    /// # Errors
    /// [`TraceError::NotShown`] unless the leaves at both sides of the range are known.
    pub(super) fn least(&self, range: &Range<u32>) -> Result<Option<u32>, TraceError> {
        match self.parts.len().checked_sub(1) {
            _ if range.is_empty() => Ok(None),
            Some(root) => self.least_below(root, range),
            None => Err(TraceError::NotShown { tree: Tree::Array, index: range.start }),
        }
    }

    fn least_below(&self, at: usize, range: &Range<u32>) -> Result<Option<u32>, TraceError> {
        let not_shown = TraceError::NotShown { tree: Tree::Array, index: range.start };
        let Some(part) = self.parts.get(at) else { return Err(not_shown) };
        if part.leaves.end <= range.start || range.end <= part.leaves.start {
            return Ok(None);
        }
        if range.start <= part.leaves.start && part.leaves.end <= range.end {
            return Ok(Some(part.node.entry));
        }
        let Some([left, right]) = part.halves else { return Err(not_shown) };
        let both = [self.least_below(left, range)?, self.least_below(right, range)?];
        Ok(both.into_iter().flatten().min())
    }
}

/// Where RFC 6962 divides leaves: after the largest power of two below their number. `None` if
/// there are fewer than two.
fn split(leaves: &Range<u32>) -> Option<u32> {
    let last = leaves.end.checked_sub(leaves.start)?.checked_sub(1)?;
    leaves.start.checked_add(1_u32.checked_shl(last.checked_ilog2()?)?)
}
