//! Trees of the shape of RFC 6962, stored: all complete subtrees, level by level from the leaves.

use std::ops::Range;

use tally_core::trace::Node;

/// How many complete subtrees a tree with `count` leaves has, the leaves included.
pub(super) fn node_count(count: u32) -> u64 {
    sizes(count).map(u64::from).sum()
}

/// How many complete subtrees each level has.
fn sizes(count: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS).map(move |level| count >> level).take_while(|size| *size > 0)
}

/// Where a complete subtree stands among all.
pub(super) fn place_of(count: u32, level: u32, index: u32) -> usize {
    let below: u64 = sizes(count).take(level as usize).map(u64::from).sum();
    usize::try_from(below).unwrap_or(usize::MAX).saturating_add(index as usize)
}

/// All complete subtrees above these leaves, level by level, the leaves first.
pub(super) fn grow<N: Node>(leaves: Vec<N>) -> Vec<N> {
    let mut nodes = leaves;
    let mut level = 0..nodes.len();
    while level.len() > 1 {
        nodes.reserve(level.len() / 2);
        for pair in 0..level.len() / 2 {
            let left = level.start + 2 * pair;
            nodes.push(N::parent(&nodes[left], &nodes[left + 1]));
        }
        level = level.end..nodes.len();
    }
    nodes
}

/// Level and place of a complete subtree that stands at `at` among all.
pub(super) fn level_of(count: u32, at: usize) -> (u32, u32) {
    let mut index = u32::try_from(at).unwrap_or(u32::MAX);
    for (level, size) in (0..).zip(sizes(count)) {
        if index < size {
            return (level, index);
        }
        index -= size;
    }
    (u32::BITS, index)
}

/// The node over a range of leaves as RFC 6962 divides a tree: from complete subtrees that
/// `node` yields by level and place. The range must not be empty and begin where the tree divides.
pub(super) fn over<N: Node>(range: Range<u32>, mut node: impl FnMut(u32, u32) -> N) -> N {
    let mut subtrees = vec![];
    let mut start = range.start;
    while start < range.end {
        let level = (range.end - start).ilog2();
        subtrees.push((level, start >> level));
        start += 1 << level;
    }
    // Largest first, so the last two are the lowest pair.
    let (level, index) = subtrees.pop().unwrap_or((0, range.start));
    let last = node(level, index);
    subtrees
        .into_iter()
        .rev()
        .fold(last, |right, (level, index)| N::parent(&node(level, index), &right))
}
