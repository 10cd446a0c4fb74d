//! Which cosigners together vouch for a checkpoint: nested k-of-n, as in C2SP tlog-policy.
//!
//! Members form a tree: each cosigner and each group stands in one place, so no voice counts twice.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::time::UnixTime;

/// The rule that a quorum satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    root: Member,
}

/// A cosigner, or a group of members of which a number must vouch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A cosigner, by its place in the policy.
    Cosigner {
        /// 0-based place among the policy's cosigners.
        index: usize,
        /// Its name in the policy.
        name: String,
    },
    /// A group.
    Group {
        /// Its name in the policy.
        name: String,
        /// How many members must vouch.
        threshold: usize,
        /// The members.
        members: Vec<Member>,
    },
}

impl Quorum {
    pub(super) const fn new(root: Member) -> Self {
        Self { root }
    }

    /// The member that must vouch: a cosigner or the outermost group.
    #[must_use]
    pub const fn root(&self) -> &Member {
        &self.root
    }

    /// Places of the cosigners that are part of the rule, in its order.
    #[must_use]
    pub fn cosigners(&self) -> Vec<usize> {
        let mut indexes = Vec::new();
        self.root.collect(&mut indexes);
        indexes
    }

    /// The logged time, if the cosigners with a time satisfy the rule.
    ///
    /// `times` has one place per cosigner of the policy. A cosigner's time is its timestamp. A
    /// group's time is the (f+1)-th smallest of its members' times, f = ⌊(n−1)/3⌋ of its n
    /// members: if at most f of them lie, an honest one had seen the checkpoint by then.
    #[must_use]
    pub fn time(&self, times: &[Option<UnixTime>]) -> Option<UnixTime> {
        self.root.time(times)
    }
}

/// How many of `count` members may lie about the time: f = ⌊(n−1)/3⌋.
pub(super) fn liars_max(count: usize) -> usize {
    count.saturating_sub(1).checked_div(3).unwrap_or_default()
}

impl Member {
    fn time(&self, times: &[Option<UnixTime>]) -> Option<UnixTime> {
        match self {
            Self::Cosigner { index, .. } => times.get(*index).copied().flatten(),
            Self::Group { threshold, members, .. } => {
                let mut found: Vec<_> =
                    members.iter().filter_map(|member| member.time(times)).collect();
                if found.len() < *threshold {
                    return None;
                }
                found.sort_unstable();
                found.get(liars_max(members.len())).copied()
            }
        }
    }

    fn collect(&self, indexes: &mut Vec<usize>) {
        match self {
            Self::Cosigner { index, .. } => indexes.push(*index),
            Self::Group { members, .. } => {
                members.iter().for_each(|member| member.collect(indexes));
            }
        }
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cosigner { name, .. } => f.write_str(name),
            Self::Group { threshold, members, .. } => {
                write!(f, "{threshold} of {} (", members.len())?;
                for (place, member) in members.iter().enumerate() {
                    if place != 0 {
                        f.write_str(", ")?;
                    }
                    member.fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}
