//! The attribution section: who is behind an answer, on what ground, and where the money goes.
//!
//! It stands outside the statement, which commits to it with a salt, since it holds the output's
//! text. Everything in it that follows from something else in it is computed again by a verifier:
//! the split from policy, lineage and spans, the transfers' ids from the receipt's. `spec/attribution.md`
//! is the normative text.

mod allocate;
mod policy;
mod section;
#[cfg(test)]
mod tests;

pub use allocate::{Allocation, AllocationError, Grounds, allocate};
pub use policy::{
    CHALLENGE_S_MAX, FEEDBACK_CAP_BPS_MAX, POOLS_COUNT, Pool, SPLIT_POLICY_BYTES_MAX, SplitPolicy,
    Tariff, WINDOW_MAX, WINDOW_MIN,
};
pub use section::{
    Bound, CONTEXT_MAX, CONTRIBUTIONS_MAX, Context, Owner, Residual, Role, SHARDS_MAX, SPANS_MAX,
    Section, Shard, Span, TRANSFERS_MAX, Transfer,
};

use core::fmt;

/// On what ground a number stands; labels are never added up into one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Somebody says so; a signature is all that is verified.
    Declared,
    /// These bytes entered this computation.
    Bound,
    /// Bytes of the output equal bytes of a registered document; nothing is said of cause.
    Observed,
    /// Without it the output's log-probability would differ, under this model and seed.
    Interventional,
    /// Retrained without it, the model's loss differs.
    Replayed,
    /// An estimate of influence.
    Estimated,
    /// A share fixed by agreement; no statement of merit.
    Policy,
}

impl Label {
    /// All labels, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Declared,
        Self::Bound,
        Self::Observed,
        Self::Interventional,
        Self::Replayed,
        Self::Estimated,
        Self::Policy,
    ];

    /// The label's number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Declared => 1,
            Self::Bound => 2,
            Self::Observed => 3,
            Self::Interventional => 4,
            Self::Replayed => 5,
            Self::Estimated => 6,
            Self::Policy => 7,
        }
    }

    /// The label with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.code() == code)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declared => "declared",
            Self::Bound => "bound",
            Self::Observed => "observed",
            Self::Interventional => "interventional",
            Self::Replayed => "replayed",
            Self::Estimated => "estimated",
            Self::Policy => "policy",
        })
    }
}
