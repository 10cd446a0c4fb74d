//! The section's wire form.

use alloc::vec::Vec;
use core::fmt;

use super::Label;
use crate::Digest;
use crate::account::{Account, TransferId};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::contribution::{ContributionKind, SIGNED_CONTRIBUTION_BYTES_MAX};
use crate::receipt::OPENING_BYTES_MAX;

use super::SPLIT_POLICY_BYTES_MAX;

/// Most contributions that one answer names: those that are bound or quoted, and their ancestors.
pub const CONTRIBUTIONS_MAX: u64 = 128;
/// Most documents that were put into one input.
pub const CONTEXT_MAX: u64 = 64;
/// Most indices that one output was traced in.
pub const SHARDS_MAX: u64 = 64;
/// Most spans of one output.
pub const SPANS_MAX: u64 = 1 << 16;
/// Most transfers of one receipt: for each label, everybody whom a contribution names.
pub const TRANSFERS_MAX: u64 = 7 * (CONTRIBUTIONS_MAX + 2);

const VERSION: u64 = 1;

/// Who is behind one answer, and where its price goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The digest of the split policy.
    pub policy_digest: Digest,
    /// The split policy, encoded.
    pub policy: Vec<u8>,
    /// Signed manifests, encoded: each stands before all that it names as parents.
    pub contributions: Vec<Vec<u8>>,
    /// What entered the computation, by role.
    pub bound: Vec<Bound>,
    /// Registered documents that were put into the input.
    pub context: Vec<Context>,
    /// The output as it was traced: the bytes that its tokens spell.
    pub output: Vec<u8>,
    /// The indices that it was traced in, in the order of registration.
    pub shards: Vec<Shard>,
    /// Whom the output's bytes belong to, in order and without gaps.
    pub spans: Vec<Span>,
    /// What the answer costs, in 10⁻⁹ of the policy's asset.
    pub amount: u64,
    /// Who gets what of it.
    pub transfers: Vec<Transfer>,
    /// What goes to the commons because nobody is known for it.
    pub residual: Residual,
}

/// A contribution that entered the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// As what.
    pub role: Role,
    /// Its place among the contributions.
    pub contribution: u16,
}

/// As what a contribution entered a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The node that ran it.
    Node,
    /// The model's weights.
    Weights,
    /// The program.
    Code,
    /// The chat template.
    Prompt,
}

impl Role {
    /// All roles, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Node, Self::Weights, Self::Code, Self::Prompt];

    const fn code(self) -> u64 {
        match self {
            Self::Node => 1,
            Self::Weights => 2,
            Self::Code => 3,
            Self::Prompt => 4,
        }
    }

    /// The kind that a contribution in this role has.
    #[must_use]
    pub const fn kind(self) -> ContributionKind {
        match self {
            Self::Node => ContributionKind::Node,
            Self::Weights => ContributionKind::Weights,
            Self::Code => ContributionKind::Code,
            Self::Prompt => ContributionKind::Prompt,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

/// A part of a registered document that was put into the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The dataset's place among the contributions.
    pub contribution: u16,
    /// SHA-256 of the whole document.
    pub document: Digest,
    /// Its first byte within the document.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

/// An index that an output was traced in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The index root, which commits to its texts and their order.
    pub root: Digest,
    /// Places of contributions of kind *index*: who built it from the texts and got this root.
    pub built_by: Vec<u16>,
}

/// A part of an output that belongs to one document, or to nobody.
///
/// It begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The byte after its last.
    pub end: u32,
    /// Whose it is.
    pub owner: Option<Owner>,
}

/// A document of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The shard's place among the section's.
    pub shard: u16,
    /// The document's number within the shard.
    pub document: u32,
    /// The place of the dataset that it is part of.
    pub contribution: u16,
}

/// What one account gets on one ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its id, derived from the receipt's.
    pub id: TransferId,
    /// On what ground.
    pub label: Label,
    /// Who gets it.
    pub account: Account,
    /// How much, in 10⁻⁹ of the asset; never 0.
    pub amount: u64,
}

/// What nobody is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residual {
    /// The id of the transfer to the commons.
    pub id: TransferId,
    /// Output bytes that no registered document holds in a window.
    pub size_bytes: u32,
    /// How much goes to the commons for want of anybody known; it may be 0.
    pub amount: u64,
}

impl Cbor for Section {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(12).key(1).uint(VERSION);
        encoder.key(2).bytes(self.policy_digest.as_bytes());
        encoder.key(3).bytes(&self.policy);
        encoder.key(4).array(self.contributions.len());
        for manifest in &self.contributions {
            encoder.bytes(manifest);
        }
        encoder.key(5).array(self.bound.len());
        for bound in &self.bound {
            encoder.array(2).uint(bound.role.code()).uint(bound.contribution.into());
        }
        encoder.key(6).array(self.context.len());
        for context in &self.context {
            encoder.array(4).uint(context.contribution.into());
            encoder.bytes(context.document.as_bytes());
            encoder.uint(context.start.into()).uint(context.end.into());
        }
        encoder.key(7).bytes(&self.output);
        encoder.key(8).array(self.shards.len());
        for shard in &self.shards {
            encoder.array(2).bytes(shard.root.as_bytes()).array(shard.built_by.len());
            for place in &shard.built_by {
                encoder.uint((*place).into());
            }
        }
        encoder.key(9).array(self.spans.len());
        for span in &self.spans {
            encoder.array(if span.owner.is_some() { 4 } else { 1 }).uint(span.end.into());
            if let Some(owner) = span.owner {
                encoder.uint(owner.shard.into()).uint(owner.document.into());
                encoder.uint(owner.contribution.into());
            }
        }
        encoder.key(10).uint(self.amount);
        encoder.key(11).array(self.transfers.len());
        for transfer in &self.transfers {
            encoder.array(4).bytes(transfer.id.as_bytes()).uint(transfer.label.code().into());
            transfer.account.encode_into(encoder);
            encoder.uint(transfer.amount);
        }
        let Residual { id, size_bytes, amount } = &self.residual;
        encoder.key(12).array(3).bytes(id.as_bytes()).uint((*size_bytes).into()).uint(*amount);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("attribution section")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => return Err(unknown("attribution version", found)),
        }
        map.require(decoder, 2)?;
        let policy_digest = decoder.digest("split policy digest")?;
        map.require(decoder, 3)?;
        let policy = decoder.bytes("split policy", SPLIT_POLICY_BYTES_MAX)?.into();
        map.require(decoder, 4)?;
        let contributions = list(decoder, "contributions", CONTRIBUTIONS_MAX, |decoder| {
            decoder.bytes("manifest", SIGNED_CONTRIBUTION_BYTES_MAX).map(Into::into)
        })?;
        map.require(decoder, 5)?;
        let bound = list(decoder, "bound contributions", CONTRIBUTIONS_MAX, decode_bound)?;
        map.require(decoder, 6)?;
        let context = list(decoder, "context", CONTEXT_MAX, decode_context)?;
        map.require(decoder, 7)?;
        let output = decoder.bytes("traced output", OPENING_BYTES_MAX)?.into();
        map.require(decoder, 8)?;
        let shards = list(decoder, "shards", SHARDS_MAX, decode_shard)?;
        map.require(decoder, 9)?;
        let spans = list(decoder, "spans", SPANS_MAX, decode_span)?;
        map.require(decoder, 10)?;
        let amount = decoder.uint()?;
        map.require(decoder, 11)?;
        let transfers = list(decoder, "transfers", TRANSFERS_MAX, decode_transfer)?;
        map.require(decoder, 12)?;
        decoder.array_exact("residual", 3)?;
        let residual = Residual {
            id: TransferId::from_bytes(decoder.array_of("transfer id")?),
            size_bytes: decoder.u32("residual bytes")?,
            amount: decoder.uint()?,
        };
        map.end(decoder)?;
        Ok(Self {
            policy_digest,
            policy,
            contributions,
            bound,
            context,
            output,
            shards,
            spans,
            amount,
            transfers,
            residual,
        })
    }
}

/// An array of at most `limit` items; no capacity is reserved from the stated count.
fn list<'a, T>(
    decoder: &mut Decoder<'a>,
    what: &'static str,
    limit: u64,
    item: impl Fn(&mut Decoder<'a>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    let count = decoder.array(what, limit)?;
    (0..count).map(|_| item(decoder)).collect()
}

fn decode_bound(decoder: &mut Decoder<'_>) -> Result<Bound, CborError> {
    decoder.array_exact("bound contribution", 2)?;
    let code = decoder.uint()?;
    let role = Role::ALL.into_iter().find(|role| role.code() == code);
    let role = role.ok_or_else(|| unknown("role", code))?;
    Ok(Bound { role, contribution: place(decoder)? })
}

fn decode_context(decoder: &mut Decoder<'_>) -> Result<Context, CborError> {
    decoder.array_exact("context", 4)?;
    Ok(Context {
        contribution: place(decoder)?,
        document: decoder.digest("document")?,
        start: decoder.u32("context start")?,
        end: decoder.u32("context end")?,
    })
}

fn decode_shard(decoder: &mut Decoder<'_>) -> Result<Shard, CborError> {
    decoder.array_exact("shard", 2)?;
    let root = decoder.digest("index root")?;
    Ok(Shard { root, built_by: list(decoder, "builders", CONTRIBUTIONS_MAX, place)? })
}

fn decode_span(decoder: &mut Decoder<'_>) -> Result<Span, CborError> {
    let offset = decoder.offset();
    let count = decoder.array("span", 4)?;
    let end = decoder.u32("span end")?;
    let owner = match count {
        1 => None,
        4 => {
            let shard = u16::try_from(decoder.uint_up_to("shard", SHARDS_MAX)?);
            let document = decoder.u32("document")?;
            let shard = shard.unwrap_or(u16::MAX);
            Some(Owner { shard, document, contribution: place(decoder)? })
        }
        found => return Err(CborError::Length { what: "span", offset, expected: 4, found }),
    };
    Ok(Span { end, owner })
}

fn decode_transfer(decoder: &mut Decoder<'_>) -> Result<Transfer, CborError> {
    decoder.array_exact("transfer", 4)?;
    let id = TransferId::from_bytes(decoder.array_of("transfer id")?);
    let code = decoder.uint()?;
    let label = u8::try_from(code).ok().and_then(Label::from_code);
    let label = label.ok_or_else(|| unknown("label", code))?;
    Ok(Transfer { id, label, account: Account::decode_from(decoder)?, amount: decoder.uint()? })
}

/// A place among the contributions.
fn place(decoder: &mut Decoder<'_>) -> Result<u16, CborError> {
    let place = decoder.uint_up_to("contribution", CONTRIBUTIONS_MAX)?;
    Ok(u16::try_from(place).unwrap_or(u16::MAX))
}

fn unknown(what: &'static str, found: u64) -> CborError {
    CborError::Value { what, found: i64::try_from(found).unwrap_or(i64::MAX) }
}
