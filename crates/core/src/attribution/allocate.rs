//! The split: from an amount to what each account gets, the same everywhere.
//!
//! The amount is divided among the policy's pools, each pool among what it is for, and what reaches
//! a contribution between its contributor and its parents. Every division is
//! [`split`](crate::split::split), whose rounding is drawn from computation, policy and stage; the
//! stages are numbered below.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use thiserror::Error;

use super::{Bound, Context, Label, Pool, Role, Span, SplitPolicy};
use crate::Digest;
use crate::account::Account;
use crate::contribution::{BPS_WHOLE, Contribution};
use crate::split::{Offset, SplitError, split};

const STAGE_POOLS: u32 = 0;
const STAGE_CONTEXT: u32 = 1;
const STAGE_SOURCES: u32 = 2;
/// The first stage of lineage: eight for each contribution, one for each label.
const STAGE_LINEAGE: u32 = 16;
const STAGES_PER_CONTRIBUTION: u32 = 8;

/// What a split follows from.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// SHA-256 of the statement's encoded `computation` map.
    pub computation: &'a Digest,
    /// The digest of the split policy.
    pub policy_digest: &'a Digest,
    /// The split policy.
    pub policy: &'a SplitPolicy,
    /// Digests of the signed manifests, in the section's order.
    pub manifests: &'a [Digest],
    /// What the manifests say, in the same order.
    pub contributions: &'a [Contribution],
    /// What entered the computation.
    pub bound: &'a [Bound],
    /// Documents that were put into the input.
    pub context: &'a [Context],
    /// Whom the output's bytes belong to.
    pub spans: &'a [Span],
}

/// What each account gets on each ground.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Amounts above 0, in the order of labels and accounts.
    pub shares: BTreeMap<(Label, Account), u64>,
    /// What nobody is known for.
    pub residual: u64,
}

/// Why there is no split.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// There is no contribution at a place that something names.
    #[error("{what} names contribution {place}, there are {count}")]
    NoContribution {
        /// What names it.
        what: &'static str,
        /// The place.
        place: u16,
        /// How many there are.
        count: usize,
    },
    /// A parent stands at its child's place or before it: followed on, it would be its own ancestor.
    #[error(
        "contribution {child} has contribution {parent} as a parent, which does not come after it: lineage must have no cycle"
    )]
    Cycle {
        /// The child's place.
        child: usize,
        /// The parent's place.
        parent: usize,
    },
    /// A parent is not among the contributions.
    #[error("contribution {child} names parent {parent}, which is not among the contributions")]
    ParentMissing {
        /// The child's place.
        child: usize,
        /// The parent's manifest.
        parent: Digest,
    },
    /// A contribution gives its parents more than it gets.
    #[error(
        "contribution {child} gives its parents {found} basis points, the limit is {BPS_WHOLE}"
    )]
    Shares {
        /// Its place.
        child: usize,
        /// The basis points, together.
        found: u64,
    },
    /// An amount or weights cannot be divided.
    #[error(transparent)]
    Split(#[from] SplitError),
}

/// Divides an amount.
///
/// # Errors
/// If lineage is not a graph without cycles in which every parent is there and nobody gives more
/// than the whole, or a place names nothing.
pub fn allocate(grounds: &Grounds<'_>, amount: u64) -> Result<Allocation, AllocationError> {
    let parents = lineage(grounds)?;
    let mut flow = Flow::new(grounds.contributions.len());
    let pools = grounds.divide(amount, &grounds.policy.pools_bps.map(u64::from), STAGE_POOLS)?;
    for (pool, amount) in Pool::ALL.into_iter().zip(pools) {
        match pool {
            Pool::Node => flow.enter_role(grounds, Role::Node, amount)?,
            Pool::Weights => flow.enter_role(grounds, Role::Weights, amount)?,
            Pool::Code => flow.enter_role(grounds, Role::Code, amount)?,
            Pool::Prompt => flow.enter_role(grounds, Role::Prompt, amount)?,
            Pool::Context => flow.enter_context(grounds, amount)?,
            Pool::Sources => flow.enter_sources(grounds, amount)?,
            Pool::Feedback => flow.give(Label::Policy, Account::Feedback, amount),
            Pool::Commons => flow.give(Label::Policy, Account::Commons, amount),
        }
    }
    flow.descend(grounds, &parents)?;
    Ok(flow.allocation)
}

impl Grounds<'_> {
    /// One division of the split.
    fn divide(&self, amount: u64, weights: &[u64], stage: u32) -> Result<Vec<u64>, SplitError> {
        let offset = Offset::derive(self.computation, self.policy_digest, stage);
        let shares = split(amount.into(), weights, offset)?;
        // No share is above the amount.
        Ok(shares.into_iter().map(|share| u64::try_from(share).unwrap_or(u64::MAX)).collect())
    }

    fn require(&self, what: &'static str, place: u16) -> Result<usize, AllocationError> {
        let count = self.contributions.len();
        let found = usize::from(place);
        match found < count {
            true => Ok(found),
            false => Err(AllocationError::NoContribution { what, place, count }),
        }
    }
}

/// The parents of every contribution as later places with their shares.
fn lineage(grounds: &Grounds<'_>) -> Result<Vec<Vec<(usize, u64)>>, AllocationError> {
    let places: BTreeMap<&Digest, usize> =
        grounds.manifests.iter().enumerate().map(|(place, digest)| (digest, place)).collect();
    let parents_of = |(child, contribution): (usize, &Contribution)| {
        let found = contribution.shares_bps();
        if found > u64::from(BPS_WHOLE) {
            return Err(AllocationError::Shares { child, found });
        }
        let parent = |parent: &crate::contribution::Parent| match places.get(&parent.manifest) {
            Some(place) if *place > child => Ok((*place, u64::from(parent.share_bps))),
            Some(place) => Err(AllocationError::Cycle { child, parent: *place }),
            None => Err(AllocationError::ParentMissing { child, parent: parent.manifest }),
        };
        contribution.parents.iter().map(parent).collect()
    };
    grounds.contributions.iter().enumerate().map(parents_of).collect()
}

/// Amounts on their way.
struct Flow {
    /// What has reached each contribution, by the code of the label.
    reached: Vec<[u64; Label::ALL.len() + 1]>,
    allocation: Allocation,
}

impl Flow {
    fn new(count: usize) -> Self {
        Self { reached: vec![[0; Label::ALL.len() + 1]; count], allocation: Allocation::default() }
    }

    /// Gives an account an amount; all amounts together are one that fits.
    fn give(&mut self, label: Label, account: Account, amount: u64) {
        if amount > 0 {
            let share = self.allocation.shares.entry((label, account)).or_default();
            *share = share.saturating_add(amount);
        }
    }

    fn leave(&mut self, amount: u64) {
        self.allocation.residual = self.allocation.residual.saturating_add(amount);
    }

    fn reach(&mut self, place: usize, label: Label, amount: u64) {
        let reached = self.reached.get_mut(place);
        if let Some(reached) = reached.and_then(|all| all.get_mut(usize::from(label.code()))) {
            *reached = reached.saturating_add(amount);
        }
    }

    /// A pool for one role: it goes to the contribution in that role.
    fn enter_role(
        &mut self,
        grounds: &Grounds<'_>,
        role: Role,
        amount: u64,
    ) -> Result<(), AllocationError> {
        match grounds.bound.iter().find(|bound| bound.role == role) {
            Some(bound) => {
                let place = grounds.require("a bound contribution", bound.contribution)?;
                self.reach(place, Label::Bound, amount);
            }
            None => self.leave(amount),
        }
        Ok(())
    }

    /// The pool of documents in the input: each by how many of its bytes are there.
    fn enter_context(&mut self, grounds: &Grounds<'_>, amount: u64) -> Result<(), AllocationError> {
        let size = |context: &Context| u64::from(context.end.saturating_sub(context.start));
        let weights: Vec<u64> = grounds.context.iter().map(size).collect();
        if weights.iter().all(|weight| *weight == 0) {
            self.leave(amount);
            return Ok(());
        }
        let shares = grounds.divide(amount, &weights, STAGE_CONTEXT)?;
        for (context, share) in grounds.context.iter().zip(shares) {
            let place = grounds.require("a document of the context", context.contribution)?;
            self.reach(place, Label::Bound, share);
        }
        Ok(())
    }

    /// The pool of sources: each contribution by how many bytes of the output are its documents',
    /// in the section's order, and after them nobody.
    fn enter_sources(&mut self, grounds: &Grounds<'_>, amount: u64) -> Result<(), AllocationError> {
        let mut weights = vec![0_u64; grounds.contributions.len().saturating_add(1)];
        let mut start = 0_u32;
        for span in grounds.spans {
            let size = u64::from(span.end.saturating_sub(start));
            start = span.end;
            let place = match span.owner {
                Some(owner) => grounds.require("a span", owner.contribution)?,
                None => grounds.contributions.len(),
            };
            if let Some(weight) = weights.get_mut(place) {
                *weight = weight.saturating_add(size);
            }
        }
        if start == 0 {
            self.leave(amount);
            return Ok(());
        }
        let mut shares = grounds.divide(amount, &weights, STAGE_SOURCES)?;
        self.leave(shares.pop().unwrap_or(0));
        for (place, share) in shares.into_iter().enumerate() {
            self.reach(place, Label::Observed, share);
        }
        Ok(())
    }

    /// Divides what reached each contribution between its contributor and its parents.
    fn descend(
        &mut self,
        grounds: &Grounds<'_>,
        parents: &[Vec<(usize, u64)>],
    ) -> Result<(), AllocationError> {
        for (place, (contribution, parents)) in
            grounds.contributions.iter().zip(parents).enumerate()
        {
            let own = u64::from(BPS_WHOLE).saturating_sub(contribution.shares_bps());
            let weights: Vec<u64> =
                [own].into_iter().chain(parents.iter().map(|(_, share)| *share)).collect();
            for label in Label::ALL {
                let reached =
                    self.reached.get(place).and_then(|all| all.get(usize::from(label.code())));
                let amount = reached.copied().unwrap_or(0);
                if amount == 0 {
                    continue;
                }
                let first = u32::try_from(place).unwrap_or(u32::MAX);
                let stage = first.saturating_mul(STAGES_PER_CONTRIBUTION);
                let stage = stage.saturating_add(STAGE_LINEAGE).saturating_add(label.code().into());
                let shares = grounds.divide(amount, &weights, stage)?;
                let mut shares = shares.into_iter();
                self.give(label, contribution.account(), shares.next().unwrap_or(0));
                for ((parent, _), share) in parents.iter().zip(shares) {
                    self.reach(*parent, Label::Declared, share);
                }
            }
        }
        Ok(())
    }
}
