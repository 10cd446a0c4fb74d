//! Who earns by feedback: from what stands in the log to the weights of a payout.
//!
//! Everything follows from signed bytes and their places in the log, so an auditor that holds them
//! computes the same. What a rating was worth to a model is not known here: that it was used is the
//! operator's word, and that its author rates well is measured by gold questions.
//! `spec/attribution.md`, Feedback.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::account::Account;
use tally_core::attribution::SplitPolicy;
use tally_core::feedback::payout::{Weight, gold_bps};
use tally_core::feedback::{Feedback, FeedbackError, Gold, Rating, Use};
use tally_core::receipt::SignedStatement;
use tally_core::{Digest, Hasher, tag};
use thiserror::Error;

use crate::ledger::{FeedbackTerms, LogRange};

mod store;
#[cfg(test)]
mod tests;

pub use store::{FeedbackStore, FeedbackStoreError, Kept, RATERS_OF_RECEIPT_MAX};

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is no signed feedback.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// A gold answer or a use that the operator did not sign.
    #[error("it is signed by key {}, the operator's is {}", hex(found), hex(expected))]
    Signer {
        /// The operator's key.
        expected: [u8; 32],
        /// The signer's.
        found: [u8; 32],
    },
}

fn hex(key: &[u8; 32]) -> Account {
    Account::Contributor(*key)
}

/// Signed feedback by its place in the log.
#[derive(Clone, Debug)]
pub struct Records {
    operator: [u8; 32],
    ratings: BTreeMap<u64, (Digest, Rating)>,
    golds: BTreeMap<u64, Gold>,
    uses: BTreeMap<u64, (Digest, Use)>,
}

/// How a rater did, and what of it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Ratings that count: of distinct receipts, used for the first time.
    pub used: u32,
    /// Gold questions that were answered.
    pub answered: u32,
    /// Those answered right.
    pub right: u32,
}

impl Records {
    /// No records; gold answers and uses are to be signed by this key.
    #[must_use]
    pub const fn new(operator: [u8; 32]) -> Self {
        Self { operator, ratings: BTreeMap::new(), golds: BTreeMap::new(), uses: BTreeMap::new() }
    }

    /// Adds what stands in the log at this index.
    ///
    /// # Errors
    /// If it is no feedback, its signature does not hold, or it is the operator's to sign and somebody
    /// else signed it.
    pub fn add(&mut self, log_index: u64, signed: &SignedStatement) -> Result<(), RecordError> {
        let by_operator = |found: [u8; 32]| match found == self.operator {
            true => Ok(()),
            false => Err(RecordError::Signer { expected: self.operator, found }),
        };
        match Feedback::open(signed)? {
            Feedback::Rating(rating) => {
                self.ratings.insert(log_index, (signed.digest(), rating));
            }
            Feedback::Gold(gold) => {
                by_operator(gold.signer)?;
                self.golds.insert(log_index, gold);
            }
            Feedback::Use(used) => {
                by_operator(used.signer)?;
                self.uses.insert(log_index, (signed.digest(), used));
            }
        }
        Ok(())
    }

    /// What a payout of this range is for, under a split policy.
    #[must_use]
    pub fn terms(&self, range: LogRange, policy: SplitPolicy) -> FeedbackTerms {
        FeedbackTerms { range, policy, uses: self.uses(range), weights: self.weights(range) }
    }

    /// Digest of the uses in a range, in the log's order.
    #[must_use]
    pub fn uses(&self, range: LogRange) -> Digest {
        let mut hasher = Hasher::tagged(tag::FEEDBACK_USES);
        for (digest, _) in self.uses.range(range.begin..range.end.max(range.begin)).map(|it| it.1) {
            hasher.update(digest.as_bytes());
        }
        hasher.finish()
    }

    /// What each rater brings to a payout of this range, by rater and by whom it wants paid; those
    /// without a weight are left out.
    #[must_use]
    pub fn weights(&self, range: LogRange) -> Vec<Weight> {
        let gold = self.gold(range);
        let weight = |((rater, account), used): (([u8; 32], Account), u32)| {
            let Standing { right, answered, .. } = gold.get(&rater).copied().unwrap_or_default();
            let weight = u64::from(used).saturating_mul(gold_bps(right, answered));
            (weight > 0).then_some(Weight { rater, account, weight })
        };
        self.used(range).into_iter().filter_map(weight).collect()
    }

    /// How every rater with a rating in or before this range did in it.
    #[must_use]
    pub fn standings(&self, range: LogRange) -> BTreeMap<[u8; 32], Standing> {
        let mut standings = self.gold(range);
        for ((rater, _), used) in self.used(range) {
            standings.entry(rater).or_default().used += used;
        }
        standings
    }

    /// How many ratings of each rater, and of whom it wants paid, were used for the first time in a
    /// range: of each receipt the rater's first rating in the log, by a use that stands behind it.
    fn used(&self, range: LogRange) -> BTreeMap<([u8; 32], Account), u32> {
        let counted: BTreeMap<Digest, (u64, &Rating)> =
            self.firsts(range.end).map(|(at, (digest, rating))| (*digest, (at, rating))).collect();
        let (mut seen, mut used) = (BTreeSet::new(), BTreeMap::new());
        for (at, (_, names)) in self.uses.range(..range.end) {
            for name in &names.ratings {
                let Some((rated, rating)) = counted.get(name) else { continue };
                if rated < at && seen.insert(*name) && *at >= range.begin {
                    *used.entry((rating.rater, rating.account())).or_insert(0) += 1;
                }
            }
        }
        used
    }

    /// Which gold questions of a range each rater answered in it: those that were fixed before.
    fn gold(&self, range: LogRange) -> BTreeMap<[u8; 32], Standing> {
        let mut golds: BTreeMap<Digest, (u64, &Gold)> = BTreeMap::new();
        for (at, gold) in self.golds.range(range.begin..range.end.max(range.begin)) {
            golds.entry(gold.receipt).or_insert((*at, gold));
        }
        let mut standings: BTreeMap<[u8; 32], Standing> = BTreeMap::new();
        for (at, (_, rating)) in self.firsts(range.end) {
            let Some((fixed, gold)) = golds.get(&rating.receipt) else { continue };
            if at > *fixed {
                let standing = standings.entry(rating.rater).or_default();
                standing.answered += 1;
                standing.right += u32::from(gold.is_right(rating.score));
            }
        }
        standings
    }

    /// Of each rater and receipt the first rating, in the log's order, before an index.
    fn firsts(&self, end: u64) -> impl Iterator<Item = (u64, &(Digest, Rating))> {
        let mut seen = BTreeSet::new();
        let is_first =
            move |it: &(&u64, &(Digest, Rating))| seen.insert((it.1.1.rater, it.1.1.receipt));
        self.ratings.range(..end).filter(is_first).map(|(at, rating)| (*at, rating))
    }
}
