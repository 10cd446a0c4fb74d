//! Why an attribution section is refused: its form, its manifests, its spans or its split.

use alloc::string::String;
use core::fmt;

use tally_core::{
    Digest,
    account::{Account, TransferId},
    attribution::{AllocationError, Label, Role},
    cbor::CborError,
    contribution::ContributionKind,
    trace::TraceError,
};
use thiserror::Error;

/// Why an attribution section is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AttributionRejection {
    /// A part of the section cannot be read.
    #[error("{part} cannot be read: {cause}")]
    Form {
        /// Which part.
        part: SectionPart,
        /// The first deviation.
        cause: CborError,
    },
    /// The section names another split policy than the one that it holds.
    #[error("split policy yields digest {computed}, the attribution section says {expected}")]
    PolicyDigest {
        /// What the section says.
        expected: Digest,
        /// What its policy yields.
        computed: Digest,
    },
    /// A manifest has another header than its own words demand.
    #[error("contribution {place} has a header about `{found}`, expected `{expected}`")]
    Header {
        /// The manifest's place.
        place: usize,
        /// The subject that it demands.
        expected: String,
        /// The subject found.
        found: String,
    },
    /// A manifest is not signed by the contributor that it names.
    #[error("contribution {place} is not signed by its contributor, key {key_id}")]
    Signature {
        /// The manifest's place.
        place: usize,
        /// The contributor's key.
        key_id: Digest,
    },
    /// The same manifest twice.
    #[error("contribution {place} stands there twice: {manifest}")]
    ContributionTwice {
        /// The second place.
        place: usize,
        /// The manifest.
        manifest: Digest,
    },
    /// Lineage, places or amounts that allow no split.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// Roles stand out of order, or one stands twice.
    #[error("role {found} does not come after role {previous}")]
    RoleOrder {
        /// The role before it.
        previous: Role,
        /// The role.
        found: Role,
    },
    /// Something has a contribution of another kind than it demands.
    #[error("{what} is contribution {place} of kind {found}, expected {expected}")]
    Kind {
        /// What names the contribution.
        what: &'static str,
        /// Its place.
        place: u16,
        /// The kind that it must have.
        expected: ContributionKind,
        /// The kind found.
        found: ContributionKind,
    },
    /// What is said to have entered the computation is not what the statement names.
    #[error("{what} is {found}, the statement names {}", shown(.expected))]
    Subject {
        /// What it is about.
        what: &'static str,
        /// What the statement names; nothing if it names nothing of the kind.
        expected: Option<Digest>,
        /// What the contribution is about.
        found: Digest,
    },
    /// The same index twice.
    #[error("shard {place} has index root {root}, as an earlier one")]
    ShardTwice {
        /// The second place.
        place: usize,
        /// The index root.
        root: Digest,
    },
    /// The same contribution twice as who built an index.
    #[error("contribution {contribution} is named twice as who built index {root}")]
    BuilderTwice {
        /// The index root.
        root: Digest,
        /// Its place.
        contribution: u16,
    },
    /// A document's part in the context is empty.
    #[error("document {place} of the context goes from byte {start} to {end}")]
    ContextEmpty {
        /// Its place.
        place: usize,
        /// Its first byte.
        start: u32,
        /// The byte after its last.
        end: u32,
    },
    /// Two parts of one document in the context have bytes in common.
    #[error("document {place} of the context has bytes of document {document} that {earlier} has")]
    ContextTwice {
        /// Its place.
        place: usize,
        /// The place of the other.
        earlier: usize,
        /// SHA-256 of the document.
        document: Digest,
    },
    /// A span does not end after the one before it, or has its owner.
    #[error("span {place} ends at byte {end} of {size}, after one that ends at {previous}")]
    SpanOrder {
        /// Its place.
        place: usize,
        /// Where it ends.
        end: u32,
        /// Where the span before it ends.
        previous: u32,
        /// How many bytes there are.
        size: usize,
    },
    /// Two spans beside each other belong to the same document.
    #[error("span {place} has the same owner as the one before it")]
    SpanDivided {
        /// Its place.
        place: usize,
    },
    /// The spans do not cover the output.
    #[error("spans end at byte {found}, the output has {expected}")]
    SpanCover {
        /// How many bytes the output has.
        expected: usize,
        /// Where the last span ends.
        found: u32,
    },
    /// A span belongs to a document of an index that the section does not have.
    #[error("span {place} belongs to shard {shard}, there are {count}")]
    SpanShard {
        /// Its place.
        place: usize,
        /// The shard.
        shard: u16,
        /// How many there are.
        count: usize,
    },
    /// The residual's bytes are not those of the spans without owner.
    #[error("residual is of {found} bytes, the spans without owner have {expected}")]
    ResidualBytes {
        /// The bytes of spans without owner.
        expected: u64,
        /// The bytes that are claimed.
        found: u32,
    },
    /// The amount is not what the policy's tariff demands, or not the statement's price.
    #[error("{what} is {found}, the split policy's tariff demands {expected}")]
    Amount {
        /// Whose amount it is.
        what: &'static str,
        /// What the tariff yields.
        expected: u64,
        /// The amount found.
        found: u64,
    },
    /// The price is in another asset than the policy's.
    #[error("price is in `{found}`, the split policy is about `{expected}`")]
    Asset {
        /// The policy's asset.
        expected: String,
        /// The price's.
        found: String,
    },
    /// The same transfer id twice.
    #[error("transfer {place} has id {id}, as an earlier one")]
    TransferTwice {
        /// The second place.
        place: usize,
        /// The id.
        id: TransferId,
    },
    /// A transfer's id does not follow from the receipt's.
    #[error("transfer {place} has id {found}, the receipt's id demands {expected}")]
    TransferId {
        /// Its place.
        place: usize,
        /// The id that it must have.
        expected: TransferId,
        /// The id found.
        found: TransferId,
    },
    /// Who gets what is not what follows from policy, lineage and spans.
    #[error("transfer {place} is {}, the split yields {}", Share(.found), Share(.expected))]
    Share {
        /// Its place.
        place: usize,
        /// What the split yields there.
        expected: Option<(Label, Account, u64)>,
        /// What the section says there.
        found: Option<(Label, Account, u64)>,
    },
    /// A span proof cannot be read.
    #[error("evidence {item} holds no span proofs: {cause}")]
    TraceForm {
        /// 0-based place among the evidence.
        item: usize,
        /// The first deviation.
        cause: CborError,
    },
    /// Span proofs do not show the spans.
    #[error("evidence {item} does not show the spans: {cause}")]
    Trace {
        /// 0-based place among the evidence.
        item: usize,
        /// What does not hold.
        cause: TraceError,
    },
    /// A span's document was registered by another contribution than the section says.
    #[error(
        "document of span {place} was registered by contribution {}, the section says {}",
        shown(.expected), shown(.found)
    )]
    SpanContribution {
        /// The span's place.
        place: usize,
        /// What the index says.
        expected: Option<Digest>,
        /// What the section says.
        found: Option<Digest>,
    },
    /// The residual is not what follows from policy, lineage and spans.
    #[error("residual is {found}, the split yields {expected}")]
    Residual {
        /// What the split yields.
        expected: u64,
        /// The residual found.
        found: u64,
    },
}

/// A part of an attribution section with a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionPart {
    /// The section itself.
    Section,
    /// Its split policy.
    Policy,
    /// The header of the manifest at this place.
    Header(usize),
    /// The manifest at this place.
    Contribution(usize),
}

impl fmt::Display for SectionPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section => f.write_str("attribution section"),
            Self::Policy => f.write_str("split policy"),
            Self::Header(place) => write!(f, "header of contribution {place}"),
            Self::Contribution(place) => write!(f, "contribution {place}"),
        }
    }
}

/// One transfer, to be shown.
struct Share<'a>(&'a Option<(Label, Account, u64)>);

impl fmt::Display for Share<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some((label, account, amount)) => write!(f, "{amount} to {account} ({label})"),
        }
    }
}

fn shown(digest: &Option<Digest>) -> String {
    use alloc::string::ToString as _;
    digest.map_or_else(|| "nothing".into(), |digest| digest.to_string())
}

impl AttributionRejection {
    /// Every code that [`code`](Self::code) returns.
    pub const CODES: &[&str] = &[
        "attribution/float",
        "attribution/label",
        "attribution/residual-missing",
        "attribution/form",
        "attribution/policy-digest",
        "attribution/contribution-header",
        "attribution/contribution-signature",
        "attribution/contribution-twice",
        "attribution/no-contribution",
        "attribution/lineage-cycle",
        "attribution/parent-missing",
        "attribution/shares",
        "attribution/split",
        "attribution/role-order",
        "attribution/kind",
        "attribution/subject",
        "attribution/shard-twice",
        "attribution/builder-twice",
        "attribution/context-empty",
        "attribution/context-twice",
        "attribution/span-order",
        "attribution/span-divided",
        "attribution/span-cover",
        "attribution/span-shard",
        "attribution/residual-bytes",
        "attribution/amount",
        "attribution/asset",
        "attribution/transfer-twice",
        "attribution/transfer-id",
        "attribution/share",
        "attribution/residual",
        "attribution/trace-form",
        "attribution/trace-root",
        "attribution/trace-item",
        "attribution/trace-neighbour",
        "attribution/trace-text",
        "attribution/trace-document",
        "attribution/trace-not-covered",
        "attribution/trace-earlier-owner",
        "attribution/trace-residual-owned",
        "attribution/span-contribution",
    ];

    /// The rejection's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form { cause, .. } => form(cause),
            Self::PolicyDigest { .. } => "attribution/policy-digest",
            Self::Header { .. } => "attribution/contribution-header",
            Self::Signature { .. } => "attribution/contribution-signature",
            Self::ContributionTwice { .. } => "attribution/contribution-twice",
            Self::Allocation(AllocationError::NoContribution { .. }) => {
                "attribution/no-contribution"
            }
            Self::Allocation(AllocationError::Cycle { .. }) => "attribution/lineage-cycle",
            Self::Allocation(AllocationError::ParentMissing { .. }) => "attribution/parent-missing",
            Self::Allocation(AllocationError::Shares { .. }) => "attribution/shares",
            Self::Allocation(AllocationError::Split(_) | _) => "attribution/split",
            Self::RoleOrder { .. } => "attribution/role-order",
            Self::Kind { .. } => "attribution/kind",
            Self::Subject { .. } => "attribution/subject",
            Self::ShardTwice { .. } => "attribution/shard-twice",
            Self::BuilderTwice { .. } => "attribution/builder-twice",
            Self::ContextEmpty { .. } => "attribution/context-empty",
            Self::ContextTwice { .. } => "attribution/context-twice",
            Self::SpanOrder { .. } => "attribution/span-order",
            Self::SpanDivided { .. } => "attribution/span-divided",
            Self::SpanCover { .. } => "attribution/span-cover",
            Self::SpanShard { .. } => "attribution/span-shard",
            Self::ResidualBytes { .. } => "attribution/residual-bytes",
            Self::Amount { .. } => "attribution/amount",
            Self::Asset { .. } => "attribution/asset",
            Self::TransferTwice { .. } => "attribution/transfer-twice",
            Self::TransferId { .. } => "attribution/transfer-id",
            Self::Share { .. } => "attribution/share",
            Self::Residual { .. } => "attribution/residual",
            Self::TraceForm { .. } => "attribution/trace-form",
            Self::Trace { cause, .. } => trace(cause),
            Self::SpanContribution { .. } => "attribution/span-contribution",
        }
    }
}

const fn trace(cause: &TraceError) -> &'static str {
    match cause {
        TraceError::IndexRoot { .. }
        | TraceError::TreeRoot { .. }
        | TraceError::NodesMissing { .. }
        | TraceError::NodesLeft { .. }
        | TraceError::LeafOutside { .. }
        | TraceError::LeafSize { .. } => "attribution/trace-root",
        TraceError::Neighbour { .. } => "attribution/trace-neighbour",
        TraceError::Text { .. } => "attribution/trace-text",
        TraceError::OutsideDocument { .. } | TraceError::ContributionOutside { .. } => {
            "attribution/trace-document"
        }
        TraceError::NotCovered { .. } => "attribution/trace-not-covered",
        TraceError::EarlierOwner { .. } => "attribution/trace-earlier-owner",
        TraceError::ResidualOwned { .. } => "attribution/trace-residual-owned",
        TraceError::Limit { .. } | _ => "attribution/trace-item",
    }
}

const fn form(cause: &CborError) -> &'static str {
    match cause {
        CborError::Form { .. } => "attribution/float",
        CborError::Value { what, .. } if matches!(what.as_bytes(), b"label") => "attribution/label",
        CborError::MissingKey { map, key: 12 }
            if matches!(map.as_bytes(), b"attribution section") =>
        {
            "attribution/residual-missing"
        }
        CborError::Truncated { .. } | _ => "attribution/form",
    }
}
