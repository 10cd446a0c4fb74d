//! What a verified receipt does not establish, each with its reason.
//!
//! A gap is never a fault: a fault is a [`Rejection`](crate::Rejection).

use alloc::{format, string::String};

use tally_core::{Digest, commitment::Field, receipt::EvidenceKind};

/// Something that was not established.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// It is not established that the receipt stands in a log that a quorum watches.
    Logged(NotLogged),
    /// No evidence shows in what hardware and software the answer was computed.
    Attested,
    /// No auditor has said that it replayed the computation.
    Audited,
    /// The computation was not repeated here.
    Replayed,
    /// No succinct proof of the computation was given.
    Proved,
    /// A field is committed to and was not opened.
    NotOpened(Field),
    /// The caller gave no nonce, so the receipt may be an answer to somebody else.
    NonceNotGiven,
    /// The statement holds no nonce and the caller gave none.
    NoNonce,
    /// The caller gave no request to compare.
    RequestNotGiven,
    /// The caller gave no response to compare.
    ResponseNotGiven,
    /// That the effective input is what the request becomes, and the parameters what it asked for.
    InputOfRequest,
    /// That the response is what the output tokens say.
    ResponseOfOutput,
    /// That the bytes that were traced are what the output tokens say.
    TracedOutput,
    /// That the split policy was logged before the answer, and that the named contributions are
    /// registered, each as the first for what it is about.
    Registered,
    /// That the documents named as context stand in the input.
    Context,
    /// Whose words the output repeats is the issuer's word.
    Spans,
    /// That an index root is that of the registered texts is its builders' word.
    IndexRoots,
    /// The output was traced in no index.
    NotTraced,
    /// The seed is said to be derived and could not be derived again.
    SeedNotDerived,
    /// The issuer chose the seed, so it may have tried several.
    SeedOfIssuer,
    /// The seed is said to be the client's, and only the client knows.
    SeedOfClient,
    /// The statement's time is the issuer's word.
    StatementTime,
    /// The policy accepts any model.
    AnyModel,
    /// The policy accepts any arithmetic.
    AnyArithmetic,
    /// Evidence is of a log that the policy does not name.
    ForeignLog {
        /// The log.
        origin: String,
    },
    /// Evidence is of a kind that this release does not know.
    UnknownEvidence {
        /// The kind.
        kind: EvidenceKind,
    },
    /// Evidence is named by digest and is not in the bundle.
    EvidenceElsewhere {
        /// What it is.
        kind: EvidenceKind,
        /// Its digest.
        digest: Digest,
    },
}

/// Why a receipt does not count as logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLogged {
    /// The bundle holds no inclusion proof of a log that the policy names.
    NoProof,
    /// The policy has no quorum.
    NoQuorum,
    /// The cosigners that vouch are too few.
    Short {
        /// The independent cosigners that vouch, or `nobody`.
        found: String,
        /// The rule.
        expected: String,
    },
}

impl Gap {
    /// The gap's stable code.
    #[must_use]
    pub fn code(&self) -> String {
        let code = match self {
            Self::Logged(_) => "logged",
            Self::Attested => "attested",
            Self::Audited => "audited",
            Self::Replayed => "replayed",
            Self::Proved => "proved",
            Self::NotOpened(field) => return format!("opened/{field}"),
            Self::NonceNotGiven | Self::NoNonce => "expected/nonce",
            Self::RequestNotGiven => "expected/request",
            Self::ResponseNotGiven => "expected/response",
            Self::InputOfRequest => "input-of-request",
            Self::ResponseOfOutput => "response-of-output",
            Self::TracedOutput => "traced-output",
            Self::Registered => "registered",
            Self::Context => "context",
            Self::Spans | Self::NotTraced => "spans",
            Self::IndexRoots => "index-roots",
            Self::SeedNotDerived | Self::SeedOfIssuer | Self::SeedOfClient => "seed",
            Self::StatementTime => "statement-time",
            Self::AnyModel => "accepted/model",
            Self::AnyArithmetic => "accepted/arithmetic",
            Self::ForeignLog { .. } => "evidence/foreign-log",
            Self::UnknownEvidence { .. } => "evidence/unknown",
            Self::EvidenceElsewhere { .. } => "evidence/elsewhere",
        };
        code.into()
    }

    /// What was not established.
    #[must_use]
    pub fn what(&self) -> String {
        let what = match self {
            Self::Logged(_) => "logged: that the receipt stands in a log which a quorum watches",
            Self::Attested => "attested: in what hardware and software the answer was computed",
            Self::Audited => "audited: that independent auditors replayed the computation",
            Self::Replayed => "replayed: that the computation yields this output",
            Self::Proved => "proved: that the computation yields this output",
            Self::NotOpened(field) => return format!("the {field}"),
            Self::NonceNotGiven | Self::NoNonce => "that the receipt answers this very request",
            Self::RequestNotGiven => "that the receipt is for your request",
            Self::ResponseNotGiven => "that the receipt is for the response you got",
            Self::InputOfRequest => {
                "that the model's input, sampling parameters and seed are what the request asked for"
            }
            Self::ResponseOfOutput => "that the response is what the output tokens or vectors say",
            Self::TracedOutput => "that the text that was traced is what the output tokens say",
            Self::Registered => {
                "that the split policy was on record before the answer, and that the named contributions are, each as the first of its kind"
            }
            Self::Context => "that the documents named as context stand in the input",
            Self::Spans | Self::NotTraced => "whose registered words the output repeats",
            Self::IndexRoots => "that the indices are those of the registered texts",
            Self::SeedNotDerived | Self::SeedOfIssuer | Self::SeedOfClient => {
                "that nobody chose the sampling seed to get this answer"
            }
            Self::StatementTime => "when the answer was made",
            Self::AnyModel => "that the model is one that you know",
            Self::AnyArithmetic => "that the arithmetic is one that you know",
            Self::ForeignLog { origin } => return format!("inclusion in log `{origin}`"),
            Self::UnknownEvidence { kind } => return format!("evidence of {kind}"),
            Self::EvidenceElsewhere { kind, .. } => return format!("evidence of {kind}"),
        };
        what.into()
    }

    /// Why it was not established.
    #[must_use]
    pub fn reason(&self) -> String {
        let reason = match self {
            Self::Logged(NotLogged::NoProof) => {
                "the bundle holds no inclusion proof of a log that the policy names"
            }
            Self::Logged(NotLogged::NoQuorum) => {
                "the policy names no quorum of independent cosigners"
            }
            Self::Logged(NotLogged::Short { found, expected }) => {
                return format!("the checkpoint is cosigned by {found}, the quorum is {expected}");
            }
            Self::Attested => "this release does not appraise attestation evidence",
            Self::Audited => "this release does not appraise audit verdicts",
            Self::Replayed => "verifying never computes; replay the receipt to establish it",
            Self::Proved => "this release does not verify proofs of computation",
            Self::NotOpened(_) => "the statement commits to it and the bundle does not open it",
            Self::NonceNotGiven => "you gave no nonce to compare with the one in the statement",
            Self::NoNonce => "the statement holds no nonce",
            Self::RequestNotGiven => "you gave no request to compare",
            Self::ResponseNotGiven => "you gave no response to compare",
            Self::InputOfRequest => {
                "that takes the model's tokenizer and template; replay the receipt to establish it"
            }
            Self::ResponseOfOutput => {
                "that takes the model's tokenizer, and the form of the answer"
            }
            Self::TracedOutput => {
                "that takes the model's tokenizer; replay the receipt to establish it"
            }
            Self::Registered => "that takes the log in which they stand",
            Self::Context => "that takes their texts; replay the receipt where those are",
            Self::Spans => {
                "the receipt brings no span proofs; `tally trace` finds the spans again where the \
                 texts are"
            }
            Self::IndexRoots => {
                "that is their builders' word; whoever has the texts can build them again"
            }
            Self::NotTraced => "the issuer traced it in no index, so all of it counts as nobody's",
            Self::SeedNotDerived => {
                "it is said to be derived from nonce and input, and input or seed is not opened"
            }
            Self::SeedOfIssuer => "the issuer chose it and may have tried several",
            Self::SeedOfClient => "it is said to be the client's; only the client can tell",
            Self::StatementTime => "the statement's time is the issuer's word",
            Self::AnyModel | Self::AnyArithmetic => "the policy accepts any",
            Self::ForeignLog { .. } => "the policy does not name that log",
            Self::UnknownEvidence { .. } => "this release does not know that kind",
            Self::EvidenceElsewhere { digest, .. } => {
                return format!("the bundle holds only its digest {digest}");
            }
        };
        reason.into()
    }
}
