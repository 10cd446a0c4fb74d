//! The yes: a receipt together with what was established about it, by what, and what was not.
//!
//! A [`Verified`] can be made by [`verify`](crate::verify) alone. There is no bare "valid" in it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use tally_core::{
    Digest,
    cbor::Cbor as _,
    checkpoint::Origin,
    commitment::Field,
    computation::{
        Computation, Controls, EmbeddingComputation, inputs_from_bytes, tokens_from_bytes,
        vectors_from_bytes,
    },
    receipt::{Openings, Statement},
    tree::{LeafIndex, TreeSize},
};

use crate::{gap::Gap, time::UnixTime};

mod claims;

/// A value of which some things were established.
///
/// Only [`verify`](crate::verify) makes one; the value can be read and not changed.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    value: T,
    established: Vec<Established>,
    gaps: Vec<Gap>,
    judged_at: (UnixTime, TimeBasis),
}

/// A receipt as it was read.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The receipt digest, which logs and everything else refer to.
    pub digest: Digest,
    /// What the issuer states.
    pub statement: Statement,
    /// The openings that the bundle holds.
    pub openings: Openings,
}

/// Something that was established, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Established {
    /// A step of the ladder of assurance.
    Assurance(Assurance),
    /// A field's opened value is the one that the statement commits to.
    Opened(Field),
    /// The sampling seed is the hash of nonce and input, so no side chose it alone.
    SeedDerived,
    /// The statement holds the caller's nonce.
    Nonce,
    /// The receipt is for the caller's request.
    Request,
    /// The receipt is for the response that the caller got.
    Response,
    /// It is the receipt that the caller named by its digest.
    ReceiptDigest,
    /// The model is one that the policy lists.
    Model(Digest),
    /// The arithmetic is one that the policy lists.
    Arithmetic(String),
    /// The receipt is not older than the policy allows.
    Age {
        /// Its age in milliseconds.
        found_ms: u64,
    },
    /// Who gets what of the price follows from policy, manifests and spans.
    Attributed(Attributed),
    /// Whose words the output repeats, given the index roots.
    Spans {
        /// In how many indices it was traced.
        shard_count: usize,
    },
}

/// What was computed again of an attribution section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributed {
    /// The split policy's name.
    pub policy: String,
    /// Its digest.
    pub policy_digest: Digest,
    /// The asset of all amounts.
    pub asset: String,
    /// The price, in 10⁻⁹ of the asset.
    pub amount: u64,
    /// How many manifests there are, each signed by its contributor.
    pub contribution_count: usize,
}

/// A step of the ladder of assurance that this release can establish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Assurance {
    /// An issuer that the policy names signed the statement.
    Signed {
        /// The policy's name for the issuer.
        issuer: String,
        /// Its key.
        key_id: Digest,
    },
    /// The log alone says that it holds the receipt; no cosigner of the policy vouches for it.
    Included(Inclusion),
    /// The log holds the receipt, cosigned by cosigners of the issuer's or log's own operator.
    SelfCosigned {
        /// Where it stands.
        inclusion: Inclusion,
        /// The operator's own cosigners that vouch.
        cosigners: Vec<String>,
        /// The earliest time that one of them gives.
        time: UnixTime,
    },
    /// The log holds the receipt, cosigned by the policy's quorum.
    Logged {
        /// Where it stands.
        inclusion: Inclusion,
        /// The independent cosigners that vouch.
        cosigners: Vec<String>,
        /// How many cosigners the quorum's rule is about.
        of: usize,
        /// The rule.
        quorum: String,
        /// The logged time: by then the receipt existed.
        time: UnixTime,
    },
}

/// Where a receipt stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The log.
    pub origin: Origin,
    /// The place of the receipt.
    pub index: LeafIndex,
    /// Size of the tree that the proof is about.
    pub tree_size: TreeSize,
    /// Which evidence of the bundle shows it, from zero.
    pub item: usize,
}

/// Whose word the time is at which keys and age were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// The quorum's: the receipt existed by then.
    Logged,
    /// The issuer's own.
    Statement,
}

/// Something that only the issuer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it is about.
    pub name: &'static str,
    /// What the issuer says.
    pub value: String,
}

impl<T> Verified<T> {
    pub(crate) const fn new(
        value: T,
        established: Vec<Established>,
        gaps: Vec<Gap>,
        judged_at: (UnixTime, TimeBasis),
    ) -> Self {
        Self { value, established, gaps, judged_at }
    }

    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// Everything that was established, the ladder of assurance first.
    #[must_use]
    pub fn established(&self) -> &[Established] {
        &self.established
    }

    /// The established steps of the ladder of assurance.
    pub fn assurances(&self) -> impl Iterator<Item = &Assurance> {
        self.established.iter().filter_map(|established| {
            let Established::Assurance(assurance) = established else { return None };
            Some(assurance)
        })
    }

    /// Everything that was not established, each with its reason.
    #[must_use]
    pub fn not_established(&self) -> &[Gap] {
        &self.gaps
    }

    /// The time at which keys and age were judged, and whose word it is.
    #[must_use]
    pub const fn judged_at(&self) -> (UnixTime, TimeBasis) {
        self.judged_at
    }
}

impl Verified<Receipt> {
    /// What only the issuer says: signed, and established by nothing else.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        claims::of(&self.value.statement)
    }
}

impl Receipt {
    /// The whole computation, to be replayed, if input, seed, output and controls are opened.
    ///
    /// `None` for embeddings and refusals too.
    #[must_use]
    pub fn computation(&self) -> Option<Computation> {
        let claims = &self.statement.outcome.answer()?.computation;
        let tokens = |field| tokens_from_bytes(&self.openings.get(&field)?.value).ok();
        let controls = match claims.controls {
            None => Controls::default(),
            Some(_) => Controls::parse(&self.openings.get(&Field::Controls)?.value).ok()?,
        };
        Some(Computation {
            arithmetic: claims.arithmetic.clone(),
            model_root: claims.model_root,
            input: tokens(Field::Input)?,
            parameters: claims.parameters.clone(),
            controls,
            seed: self.openings.get(&Field::Seed)?.value.as_slice().try_into().ok()?,
            output: tokens(Field::Output)?,
            finish: claims.finish,
        })
    }

    /// The embeddings, to be replayed, if input and output are opened; else `None`.
    #[must_use]
    pub fn embedding(&self) -> Option<EmbeddingComputation> {
        let claims = &self.statement.outcome.embedding()?.computation;
        Some(EmbeddingComputation {
            arithmetic: claims.arithmetic.clone(),
            model_root: claims.model_root,
            inputs: inputs_from_bytes(&self.openings.get(&Field::Input)?.value).ok()?,
            vectors: vectors_from_bytes(&self.openings.get(&Field::Output)?.value).ok()?,
        })
    }
}

impl Established {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> String {
        let code = match self {
            Self::Assurance(assurance) => assurance.code(),
            Self::Opened(field) => return format!("opened/{field}"),
            Self::SeedDerived => "seed",
            Self::Nonce => "expected/nonce",
            Self::Request => "expected/request",
            Self::Response => "expected/response",
            Self::ReceiptDigest => "expected/receipt-digest",
            Self::Model(_) => "accepted/model",
            Self::Arithmetic(_) => "accepted/arithmetic",
            Self::Age { .. } => "age",
            Self::Attributed(_) => "attribution",
            Self::Spans { .. } => "spans",
        };
        code.into()
    }
}

impl Assurance {
    /// Its stable code: the word of the ladder.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signed { .. } => "signed",
            Self::Included(_) => "included",
            Self::SelfCosigned { .. } => "self-cosigned",
            Self::Logged { .. } => "logged",
        }
    }

    /// Whom one has to trust for it to mean something.
    #[must_use]
    pub const fn trusted(&self) -> &'static str {
        match self {
            Self::Signed { .. } => "the issuer",
            Self::Included(_) => "the log",
            Self::SelfCosigned { .. } => "the operator, whose log and cosigner it is",
            Self::Logged { .. } => "that too few of these cosigners lie to hide a second log",
        }
    }
}

impl fmt::Display for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assurance(assurance) => assurance.fmt(f),
            Self::Opened(field) => {
                write!(f, "the opened {field} is the one that the statement commits to")
            }
            Self::SeedDerived => {
                f.write_str("the sampling seed is the hash of nonce and input, chosen by no side")
            }
            Self::Nonce => f.write_str("the statement holds your nonce"),
            Self::Request => f.write_str("the receipt is for your request"),
            Self::Response => f.write_str("the receipt is for the response you got"),
            Self::ReceiptDigest => f.write_str("it is the receipt with the digest you named"),
            Self::Model(root) => write!(f, "the model it names is accepted by the policy: {root}"),
            Self::Arithmetic(id) => {
                write!(f, "the arithmetic it names is accepted by the policy: {id}")
            }
            Self::Age { found_ms } => {
                write!(f, "the receipt is {} old", crate::time::Duration(*found_ms))
            }
            Self::Spans { shard_count } => write!(
                f,
                "every byte of the traced output belongs to the earliest registered document that \
                 holds its words, given the roots of {shard_count} indices"
            ),
            Self::Attributed(attributed) => {
                let Attributed { policy, policy_digest, asset, amount, contribution_count } =
                    attributed;
                write!(
                    f,
                    "who gets what of {amount} billionths of {asset} follows from split policy \
                     `{policy}` ({policy_digest}), the stated spans and {contribution_count} \
                     manifests, each signed by its contributor"
                )
            }
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { issuer, key_id } => {
                write!(f, "signed: by issuer `{issuer}` with key {key_id}")
            }
            Self::Included(inclusion) => {
                write!(f, "included: {inclusion}; the log alone says so")
            }
            Self::SelfCosigned { inclusion, cosigners, time } => {
                let cosigners = cosigners.join("`, `");
                write!(
                    f,
                    "self-cosigned: {inclusion}, cosigned at {time} by `{cosigners}` of the \
                     operator's own"
                )
            }
            Self::Logged { inclusion, cosigners, of, quorum, time } => {
                let (count, cosigners) = (cosigners.len(), cosigners.join(", "));
                write!(
                    f,
                    "logged: {inclusion} by {time}, cosigned by {count} of {of} ({cosigners}), \
                     quorum {quorum}"
                )
            }
        }
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, index, tree_size, .. } = self;
        write!(f, "entry {index} of {tree_size} in log `{origin}`")
    }
}

impl fmt::Display for TimeBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logged => "the logged time",
            Self::Statement => "the statement's own time",
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

/// Tokens, texts or digests, one after another.
pub(crate) fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
