//! The Merkle-sum tree over what accounts have earned: every node carries the sum of what is below it.
//!
//! Whoever holds one leaf with its path recomputes the root *and the total*: an operator that owes
//! more than its root says must leave somebody out, and whoever is left out sees it. The tree has
//! the shape of RFC 6962. Leaves stand in the order of their salts, which come from an epoch's
//! secret: hashes on a path tell nothing of an account, and the place of a leaf tells nothing of its
//! neighbours. The sums on a path are not hidden: the lowest is the amount of one other account,
//! without its name, and the others are sums of many. `spec/attribution.md`, Ledger.

use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::account::{Account, decode_amount, encode_amount};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::commitment::Salt;
use crate::{Digest, tag};

mod earnings;
#[cfg(test)]
mod tests;

pub use earnings::{
    ASSET_BYTES_MAX, CONTENT_TYPE_EARNINGS, CONTENT_TYPE_EPOCH, EarningsError, EarningsStatement,
    Epoch,
};

/// Most nodes of a path: a tree has at most 2³² − 1 leaves, so 32 levels suffice.
pub const PATH_LEN_MAX: u64 = 32;

/// Why a path does not show that an amount is in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SumTreeError {
    /// The leaf is not in a tree of this many leaves.
    #[error("leaf {index} is not in a sum tree of {count} leaves")]
    LeafOutOfTree {
        /// The leaf.
        index: u32,
        /// How many leaves the tree has.
        count: u32,
    },
    /// The path has another number of nodes than place and count demand.
    #[error("sum path has {found} nodes, leaf {index} of {count} demands {expected}")]
    PathLength {
        /// The leaf.
        index: u32,
        /// How many leaves the tree has.
        count: u32,
        /// How many nodes these demand.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Two sums add up to more than 128 bits hold, so some amount is not what it seems.
    #[error("sums {left} and {right} add up to more than 128 bits")]
    Overflow {
        /// Sum of the left node.
        left: u128,
        /// Sum of the right node.
        right: u128,
    },
    /// The path leads to another total.
    #[error("sum path yields total {computed}, the epoch says {expected}")]
    Total {
        /// The total that the epoch states.
        expected: u128,
        /// The total that the path yields.
        computed: u128,
    },
    /// The path leads to another root.
    #[error("sum path yields root {computed}, the epoch says {expected}")]
    Root {
        /// The root that the epoch states.
        expected: Digest,
        /// The root that the path yields.
        computed: Digest,
    },
}

/// The secret of one epoch, from which the salts of its leaves are derived.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EpochSecret([u8; 32]);

impl EpochSecret {
    /// Takes 32 bytes of randomness that no other epoch has.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of one account's leaf: SHA-256(`SUM_SALT` ‖ secret ‖ encoded account).
    #[must_use]
    pub fn salt(&self, account: &Account) -> Salt {
        self.salt_of(&account.encode())
    }

    /// Commits to the journal's newest link with a salt that no account has.
    #[must_use]
    pub fn commit_journal(&self, head: &Digest) -> Digest {
        // A text is the encoding of no account.
        let mut name = Encoder::new();
        name.text("journal");
        self.salt_of(&name.finish()).commit(head.as_bytes())
    }

    fn salt_of(&self, name: &[u8]) -> Salt {
        Salt::from_bytes(*Digest::of_tagged(tag::SUM_SALT, &[&self.0, name]).as_bytes())
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecret(..)")
    }
}

/// A node: a hash and the sum of all amounts below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumNode {
    /// What the node's leaves hash to.
    pub hash: Digest,
    /// What they add up to.
    pub sum: u128,
}

impl SumNode {
    /// The node of one leaf: SHA-256(`SUM_LEAF` ‖ salt ‖ amount as 16 bytes ‖ encoded account).
    #[must_use]
    pub fn of_leaf(salt: &Salt, account: &Account, amount: u128) -> Self {
        let parts: [&[u8]; 3] = [salt.as_bytes(), &amount.to_be_bytes(), &account.encode()];
        Self { hash: Digest::of_tagged(tag::SUM_LEAF, &parts), sum: amount }
    }

    /// The node over two: SHA-256(`SUM_NODE` ‖ left sum ‖ left hash ‖ right sum ‖ right hash), sums
    /// as 16 bytes, big-endian.
    ///
    /// # Errors
    /// [`SumTreeError::Overflow`].
    pub fn join(left: &Self, right: &Self) -> Result<Self, SumTreeError> {
        let overflow = SumTreeError::Overflow { left: left.sum, right: right.sum };
        let sum = left.sum.checked_add(right.sum).ok_or(overflow)?;
        let (left_sum, right_sum) = (left.sum.to_be_bytes(), right.sum.to_be_bytes());
        let parts: [&[u8]; 4] =
            [&left_sum, left.hash.as_bytes(), &right_sum, right.hash.as_bytes()];
        Ok(Self { hash: Digest::of_tagged(tag::SUM_NODE, &parts), sum })
    }
}

/// The root: SHA-256(`SUM_ROOT` ‖ count as four bytes ‖ total as 16 ‖ hash of the top node), where a
/// tree without leaves has no top node and the total 0.
#[must_use]
pub fn sum_root(count: u32, top: Option<&SumNode>) -> Digest {
    let total = top.map_or(0, |top| top.sum).to_be_bytes();
    let hash: &[u8] = top.map_or(&[], |top| top.hash.as_bytes());
    Digest::of_tagged(tag::SUM_ROOT, &[&count.to_be_bytes(), &total, hash])
}

/// Where a leaf stands, and the nodes beside its way up, lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumPath {
    /// 0-based place of the leaf.
    pub index: u32,
    /// The nodes beside the way up.
    pub siblings: Vec<SumNode>,
}

impl SumPath {
    /// Verifies that `leaf` is in the tree of `count` leaves with this root and this total.
    ///
    /// # Errors
    /// If the leaf is outside the tree, the path has the wrong length, sums overflow, or the path
    /// yields another total or root.
    pub fn verify(
        &self,
        leaf: SumNode,
        count: u32,
        total: u128,
        root: &Digest,
    ) -> Result<(), SumTreeError> {
        let top = self.climb(leaf, count)?;
        if top.sum != total {
            return Err(SumTreeError::Total { expected: total, computed: top.sum });
        }
        let computed = sum_root(count, Some(&top));
        if computed != *root {
            return Err(SumTreeError::Root { expected: *root, computed });
        }
        Ok(())
    }

    /// The top node that the path yields.
    fn climb(&self, leaf: SumNode, count: u32) -> Result<SumNode, SumTreeError> {
        let index = self.index;
        let Some(last) = count.checked_sub(1).filter(|last| index <= *last) else {
            return Err(SumTreeError::LeafOutOfTree { index, count });
        };
        let (expected, found) = (path_len(index, last), self.siblings.len());
        if expected != found {
            return Err(SumTreeError::PathLength { index, count, expected, found });
        }
        Way { index, last }.flatten().zip(&self.siblings).try_fold(leaf, |node, (side, sibling)| {
            match side {
                Side::Left => SumNode::join(sibling, &node),
                Side::Right => SumNode::join(&node, sibling),
            }
        })
    }
}

impl Cbor for SumPath {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.array(2).uint(u64::from(self.index)).array(self.siblings.len());
        for node in &self.siblings {
            encode_amount(encoder.array(2), node.sum);
            encoder.bytes(node.hash.as_bytes());
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.array_exact("sum path", 2)?;
        let index = decoder.u32("leaf")?;
        let count = decoder.array("nodes of the path", PATH_LEN_MAX)?;
        let mut siblings = Vec::new();
        for _ in 0..count {
            decoder.array_exact("sum node", 2)?;
            let sum = decode_amount(decoder, "sum")?;
            siblings.push(SumNode { hash: decoder.digest("hash of a sum node")?, sum });
        }
        Ok(Self { index, siblings })
    }
}

/// Where a node's sibling stands.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The way from a leaf to the top, level by level: the last node of an odd level has no sibling and
/// moves up as it is.
struct Way {
    index: u32,
    last: u32,
}

impl Iterator for Way {
    type Item = Option<Side>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.last == 0 {
            return None;
        }
        let side = match self.index {
            index if index & 1 == 1 => Some(Side::Left),
            index if index < self.last => Some(Side::Right),
            _ => None,
        };
        (self.index, self.last) = (self.index >> 1, self.last >> 1);
        Some(side)
    }
}

fn path_len(index: u32, last: u32) -> usize {
    Way { index, last }.flatten().count()
}
