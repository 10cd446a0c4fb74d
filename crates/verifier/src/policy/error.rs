//! Why a text is not a policy: each fault with its line and field.

use alloc::string::String;

use tally_core::{ed25519::Ed25519Error, note::NoteError};
use thiserror::Error;

use super::{DURATION_MAX_S, NAME_BYTES_MAX, POLICY_BYTES_MAX, Requirement};

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file is above the size limit.
    #[error("policy has {found} bytes, the limit is {POLICY_BYTES_MAX}")]
    Size {
        /// Its size.
        found: usize,
    },
    /// The file is not TOML.
    #[error("policy line {line} is not TOML: {message}")]
    Syntax {
        /// 1-based line.
        line: usize,
        /// What the TOML parser says.
        message: String,
    },
    /// A version that this release does not read.
    #[error("policy line {line}: version is {found}, expected 1")]
    Version {
        /// 1-based line.
        line: usize,
        /// The version found.
        found: u64,
    },
    /// A field has another type.
    #[error("policy line {line}: `{field}` is of type {found}, expected {expected}")]
    Type {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A field that does not exist.
    #[error("policy line {line}: there is no field `{field}`")]
    UnknownField {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
    },
    /// A field that must be there is not.
    #[error("policy line {line}: `{field}` is missing")]
    MissingField {
        /// 1-based line of the table that lacks it.
        line: usize,
        /// The field.
        field: String,
    },
    /// Something that a later release may support and this one does not.
    #[error("policy line {line}: `{field}` is not supported by this release")]
    Unsupported {
        /// 1-based line.
        line: usize,
        /// The section or demand.
        field: String,
    },
    /// A list has too many items.
    #[error("policy line {line}: `{field}` has {found} items, the limit is {limit}")]
    Count {
        /// 1-based line.
        line: usize,
        /// The list.
        field: String,
        /// Most items.
        limit: usize,
        /// How many it has.
        found: usize,
    },
    /// A list that must not be empty is.
    #[error("policy line {line}: `{field}` is empty")]
    Empty {
        /// 1-based line.
        line: usize,
        /// The list.
        field: String,
    },
    /// A name is empty, too long, or holds a control character.
    #[error(
        "policy line {line}: `{field}` is empty, above {NAME_BYTES_MAX} bytes, \
         or holds a control character"
    )]
    Name {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
    },
    /// A model root is not 64 lower-case hexadecimal digits.
    #[error("policy line {line}: `{field}` is not 64 lower-case hexadecimal digits")]
    Hexadecimal {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
    },
    /// A list that is not a list of values and not the word `any`.
    #[error("policy line {line}: `{field}` is `{found}`, expected a list or \"any\"")]
    NotAny {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
        /// The word found.
        found: String,
    },
    /// A key is refused.
    #[error("policy line {line}: `{field}`: {cause}")]
    Key {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
        /// Why.
        cause: KeyFault,
    },
    /// A log's origin is not its key's name.
    #[error("policy line {line}: origin is `{origin}`, its key is named `{name}`")]
    Origin {
        /// 1-based line.
        line: usize,
        /// The origin.
        origin: String,
        /// The key's name.
        name: String,
    },
    /// A name or key stands there twice, or one key serves two purposes.
    #[error("policy line {line}: `{field}` stands already elsewhere in the policy")]
    Duplicate {
        /// 1-based line of the second one.
        line: usize,
        /// The field.
        field: String,
    },
    /// A time without offset, or one that does not exist, or one before 1970.
    #[error("policy line {line}: `{field}` is not a date and time with offset, from 1970 on")]
    Time {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
    },
    /// A key's validity ends before it begins.
    #[error("policy line {line}: `{field}` ends before it begins")]
    Interval {
        /// 1-based line.
        line: usize,
        /// The issuer.
        field: String,
    },
    /// A duration is above its limit.
    #[error("policy line {line}: `{field}` is {found} seconds, the limit is {limit}")]
    Duration {
        /// 1-based line.
        line: usize,
        /// The field.
        field: String,
        /// Most seconds; never above [`DURATION_MAX_S`].
        limit: u64,
        /// The seconds found.
        found: u64,
    },
    /// A word that names no assurance.
    #[error("policy line {line}: `{found}` is no assurance")]
    Assurance {
        /// 1-based line.
        line: usize,
        /// The word.
        found: String,
    },
    /// A demand that nothing in the policy can meet.
    #[error("policy line {line}: nothing in the policy can establish `{required}`")]
    Unattainable {
        /// 1-based line.
        line: usize,
        /// The demand.
        required: Requirement,
    },
    /// A group or quorum names something that is not defined above it.
    #[error("policy line {line}: `{field}` names `{name}`, which is not defined before it")]
    Undefined {
        /// 1-based line.
        line: usize,
        /// The group or quorum.
        field: String,
        /// The name.
        name: String,
    },
    /// A cosigner or group is a member in two places, so it could count twice.
    #[error("policy line {line}: `{name}` is a member already, and one voice counts once")]
    MemberTwice {
        /// 1-based line.
        line: usize,
        /// The member.
        name: String,
    },
    /// A cosigner of an issuer's or log's operator is in a group or is the quorum.
    #[error(
        "policy line {line}: cosigner `{name}` is run by the operator of an issuer or log, \
         so it cannot be part of a quorum"
    )]
    OwnMember {
        /// 1-based line.
        line: usize,
        /// The cosigner.
        name: String,
    },
    /// A group's threshold is too low for a logged time, or above the number of its members.
    #[error(
        "policy line {line}: threshold of group `{group}` is {found}, \
         expected {lowest} to {highest}"
    )]
    Threshold {
        /// 1-based line.
        line: usize,
        /// The group.
        group: String,
        /// Lowest threshold: more than a third of the members less one.
        lowest: u64,
        /// Highest threshold: the number of members.
        highest: u64,
        /// The threshold found.
        found: u64,
    },
}

/// Why a key is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// It is not 64 lower-case hexadecimal digits.
    #[error("not 64 lower-case hexadecimal digits")]
    Hexadecimal,
    /// It is not a usable Ed25519 key.
    #[error(transparent)]
    Ed25519(#[from] Ed25519Error),
    /// It is not a verifier key, or one of another type.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl PolicyError {
    /// Every code that [`code`](Self::code) returns.
    pub const CODES: &[&str] = &[
        "policy/size",
        "policy/syntax",
        "policy/version",
        "policy/type",
        "policy/unknown-field",
        "policy/missing-field",
        "policy/unsupported",
        "policy/count",
        "policy/empty",
        "policy/name",
        "policy/hexadecimal",
        "policy/not-any",
        "policy/key",
        "policy/origin",
        "policy/duplicate",
        "policy/time",
        "policy/interval",
        "policy/duration",
        "policy/assurance",
        "policy/unattainable",
        "policy/undefined",
        "policy/member-twice",
        "policy/own-member",
        "policy/threshold",
    ];

    /// The fault's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "policy/size",
            Self::Syntax { .. } => "policy/syntax",
            Self::Version { .. } => "policy/version",
            Self::Type { .. } => "policy/type",
            Self::UnknownField { .. } => "policy/unknown-field",
            Self::MissingField { .. } => "policy/missing-field",
            Self::Unsupported { .. } => "policy/unsupported",
            Self::Count { .. } => "policy/count",
            Self::Empty { .. } => "policy/empty",
            Self::Name { .. } => "policy/name",
            Self::Hexadecimal { .. } => "policy/hexadecimal",
            Self::NotAny { .. } => "policy/not-any",
            Self::Key { .. } => "policy/key",
            Self::Origin { .. } => "policy/origin",
            Self::Duplicate { .. } => "policy/duplicate",
            Self::Time { .. } => "policy/time",
            Self::Interval { .. } => "policy/interval",
            Self::Duration { .. } => "policy/duration",
            Self::Assurance { .. } => "policy/assurance",
            Self::Unattainable { .. } => "policy/unattainable",
            Self::Undefined { .. } => "policy/undefined",
            Self::MemberTwice { .. } => "policy/member-twice",
            Self::OwnMember { .. } => "policy/own-member",
            Self::Threshold { .. } => "policy/threshold",
        }
    }
}

// The limit of every duration is stated where the error is documented.
const _: () = assert!(super::CLOCK_TOLERANCE_MAX_S <= DURATION_MAX_S);
