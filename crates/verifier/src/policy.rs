//! What a relying party accepts: issuers, logs, cosigners and a quorum, demands and limits.
//!
//! A policy is a TOML file that its owner can read (`spec/policy.md`). It is parsed once; what was
//! parsed is consistent: every name resolves, every key is a point, every demand can be met.

use alloc::{string::String, vec::Vec};
use core::fmt;

use tally_core::{
    Digest,
    checkpoint::Origin,
    ed25519::PublicKey,
    note::{KeyName, VerifierKey},
};

use crate::time::UnixTime;

mod describe;
mod error;
mod fields;
mod home;
mod parse;
mod quorum;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test counts small numbers")]
mod tests;

pub use error::{KeyFault, PolicyError};
pub use home::HomePolicy;
pub use quorum::{Member, Quorum};

/// Most bytes of a policy file: every list at its limit fits in it.
pub const POLICY_BYTES_MAX: usize = 65_536;
/// Most issuers.
pub const ISSUERS_MAX: usize = 64;
/// Most logs.
pub const LOGS_MAX: usize = 32;
/// Most cosigners: bounds the signatures that one receipt can make a verifier examine.
pub const COSIGNERS_MAX: usize = 64;
/// Most groups, and so the deepest nesting of them.
pub const GROUPS_MAX: usize = 32;
/// Most model roots, and most arithmetic ids.
pub const ACCEPTED_MAX: usize = 256;
/// Longest name of an issuer, cosigner, group or operator in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest duration in seconds: a hundred years.
pub const DURATION_MAX_S: u64 = 3_155_760_000;
/// Difference between two honest clocks that is tolerated unless the policy says otherwise.
pub const CLOCK_TOLERANCE_DEFAULT_S: u64 = 300;
/// Largest tolerated difference between clocks that a policy can state: a day.
pub const CLOCK_TOLERANCE_MAX_S: u64 = 86_400;

/// What a relying party accepts; made by [`Policy::parse`].
#[derive(Clone, Debug)]
pub struct Policy {
    required: Vec<Requirement>,
    issuers: Vec<Issuer>,
    logs: Vec<Log>,
    cosigners: Vec<Cosigner>,
    quorum: Option<Quorum>,
    models: Accepted<Digest>,
    arithmetics: Accepted<String>,
    age_max_ms: Option<u64>,
    logging_delay_max_ms: Option<u64>,
    clock_tolerance_ms: u64,
}

/// An assurance that a policy can demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// A trusted issuer's signature; every policy demands it.
    Signed,
    /// Inclusion in a trusted log, cosigned at least by the operator's own cosigner.
    SelfCosigned,
    /// Inclusion in a trusted log, cosigned by the quorum of independent cosigners.
    Logged,
}

impl Requirement {
    /// The word that stands for it in a policy file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::SelfCosigned => "self-cosigned",
            Self::Logged => "logged",
        }
    }

    const fn from_word(word: &str) -> Option<Self> {
        match word.as_bytes() {
            b"signed" => Some(Self::Signed),
            b"self-cosigned" => Some(Self::SelfCosigned),
            b"logged" => Some(Self::Logged),
            _ => None,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whose statements are believed to be theirs, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What the policy's owner calls the issuer.
    pub name: String,
    /// Who runs it, if the policy says so.
    pub operator: Option<String>,
    /// Identifier of the key, as a statement's header holds it.
    pub key_id: Digest,
    /// The key.
    pub key: PublicKey,
    /// First moment at which the key is accepted.
    pub valid_from: Option<UnixTime>,
    /// First moment at which the key is accepted no longer.
    pub valid_until: Option<UnixTime>,
    /// Moment from which the key may be in other hands.
    pub revoked_from: Option<UnixTime>,
}

/// A log whose checkpoints are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The log's name, which is also its key's.
    pub origin: Origin,
    /// Its key.
    pub key: VerifierKey,
    /// Who runs it, if the policy says so.
    pub operator: Option<String>,
}

/// A cosigner whose cosignatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigner {
    /// What the policy's owner calls the cosigner.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Who runs it, if the policy says so.
    pub operator: Option<String>,
    /// Whether it is run by an issuer's or a log's operator, so that it vouches for itself.
    pub is_own: bool,
}

/// Anything, or what a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted<T> {
    /// Anything is accepted.
    Any,
    /// Only these are.
    Listed(Vec<T>),
}

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// The first fault, with its line and field.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::policy(text)
    }

    /// What the policy accepts and demands, in sentences for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        describe::lines(self)
    }

    /// The assurances that it demands, in the order of the file.
    #[must_use]
    pub fn required(&self) -> &[Requirement] {
        &self.required
    }

    /// The issuers that it accepts.
    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The logs that it accepts.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The cosigners that it knows.
    #[must_use]
    pub fn cosigners(&self) -> &[Cosigner] {
        &self.cosigners
    }

    /// Which cosigners together establish that a receipt is logged; `None` if none do.
    #[must_use]
    pub const fn quorum(&self) -> Option<&Quorum> {
        self.quorum.as_ref()
    }

    /// The accepted model roots.
    #[must_use]
    pub const fn models(&self) -> &Accepted<Digest> {
        &self.models
    }

    /// The accepted arithmetic ids.
    #[must_use]
    pub const fn arithmetics(&self) -> &Accepted<String> {
        &self.arithmetics
    }

    /// The greatest age of a receipt in milliseconds, if it is limited.
    #[must_use]
    pub const fn age_max_ms(&self) -> Option<u64> {
        self.age_max_ms
    }

    /// The longest time from statement to log in milliseconds, if it is limited.
    #[must_use]
    pub const fn logging_delay_max_ms(&self) -> Option<u64> {
        self.logging_delay_max_ms
    }

    /// By how many milliseconds honest clocks may differ.
    #[must_use]
    pub const fn clock_tolerance_ms(&self) -> u64 {
        self.clock_tolerance_ms
    }

    pub(crate) fn requires(&self, requirement: Requirement) -> bool {
        self.required.contains(&requirement)
    }

    pub(crate) fn issuer(&self, key_id: &Digest) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.key_id == *key_id)
    }

    pub(crate) fn log(&self, origin: &Origin) -> Option<&Log> {
        self.logs.iter().find(|log| log.origin == *origin)
    }
}

/// The origin that a log's key stands for.
fn origin_of(name: &KeyName) -> Origin {
    Origin::from(name)
}
