//! A contribution: what a contributor says that it made, under which licence, and from what.
//!
//! A manifest is signed by the contributor's own key and names what is contributed by digest. It
//! is a declaration: that somebody says so is verified, and not that it is so. Its parents are
//! named by the digests of their own manifests, so that no chain of parents can return to where it
//! began. `spec/attribution.md` is the normative text.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use crate::Digest;
use crate::account::Account;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::receipt::{ProtectedHeader, SignedStatement};

/// Media type of a manifest.
pub const CONTRIBUTION_CONTENT_TYPE: &str = "application/tally-contribution+cbor";
/// Most parents of one contribution.
pub const PARENTS_MAX: u64 = 64;
/// Ten thousand basis points are the whole.
pub const BPS_WHOLE: u16 = 10_000;
/// Most bytes of a name, licence or version.
pub const NAME_BYTES_MAX: u64 = 128;
/// Most bytes of a link to where the contribution is.
pub const SOURCE_BYTES_MAX: u64 = 512;
/// Most bytes of a signed manifest.
pub const SIGNED_CONTRIBUTION_BYTES_MAX: u64 = 8192;

const VERSION: u64 = 1;

/// What a contributor says of one contribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The contributor's Ed25519 key.
    pub contributor: [u8; 32],
    /// What is contributed.
    pub kind: ContributionKind,
    /// Its name among people, 1 to 128 bytes.
    pub name: String,
    /// SPDX licence expression, or `unknown`; 1 to 128 bytes.
    pub licence: String,
    /// What it consists of, by the digest that its kind demands.
    pub subject: Digest,
    /// How much it is.
    pub extent: Extent,
    /// The contributor's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// What it was made from, and the part of its earnings that goes there.
    pub parents: Vec<Parent>,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// Where it can be had, if that is told.
    pub source: Option<String>,
    /// Who gets what it earns, where that is not the contributor: another key, or the commons.
    pub payee: Option<Account>,
}

/// How much a contribution is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many documents or files it has.
    pub count: u32,
    /// How many bytes they have together.
    pub size_bytes: u64,
}

/// What is contributed, which says what its subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContributionKind {
    /// Documents; the subject is the Merkle root over them.
    Dataset,
    /// A model's weights; the subject is the model root.
    Weights,
    /// Weights that are added to a model's; the subject is the root over their files.
    Adapter,
    /// A program; the subject is the digest of the name and version that statements carry.
    Code,
    /// A prompt or chat template; the subject is SHA-256 of its text.
    Prompt,
    /// A node; the subject is the key id under which it signs statements.
    Node,
    /// An index over datasets that the contributor built from their texts; the subject is its root.
    Index,
}

impl ContributionKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Dataset,
        Self::Weights,
        Self::Adapter,
        Self::Code,
        Self::Prompt,
        Self::Node,
        Self::Index,
    ];

    /// The kind's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Dataset => 1,
            Self::Weights => 2,
            Self::Adapter => 3,
            Self::Code => 4,
            Self::Prompt => 5,
            Self::Node => 6,
            Self::Index => 7,
        }
    }
}

impl fmt::Display for ContributionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dataset => "dataset",
            Self::Weights => "weights",
            Self::Adapter => "adapter",
            Self::Code => "code",
            Self::Prompt => "prompt",
            Self::Node => "node",
            Self::Index => "index",
        })
    }
}

/// Something that a contribution was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// How it was used.
    pub relation: Relation,
    /// Digest of the parent's signed manifest.
    pub manifest: Digest,
    /// What part of this contribution's earnings goes to the parent, in basis points.
    pub share_bps: u16,
}

/// How a contribution was made from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It is a changed copy of it.
    DerivedFrom,
    /// It learned from it.
    TrainedOn,
    /// It began as it and learned further.
    FineTunedFrom,
    /// It indexes it.
    Indexes,
}

impl Relation {
    /// All relations, in the order of their codes.
    pub const ALL: [Self; 4] =
        [Self::DerivedFrom, Self::TrainedOn, Self::FineTunedFrom, Self::Indexes];

    /// The relation's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::DerivedFrom => 1,
            Self::TrainedOn => 2,
            Self::FineTunedFrom => 3,
            Self::Indexes => 4,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DerivedFrom => "derived-from",
            Self::TrainedOn => "trained-on",
            Self::FineTunedFrom => "fine-tuned-from",
            Self::Indexes => "indexes",
        })
    }
}

impl Contribution {
    /// The only protected header that this contribution's envelope has.
    #[must_use]
    pub fn header(&self) -> ProtectedHeader {
        let subject = format!("tally:contribution:{}", self.subject);
        ProtectedHeader::of_key(&self.contributor, CONTRIBUTION_CONTENT_TYPE, subject)
    }

    /// The envelope with a signature over it that `sign` makes.
    #[must_use]
    pub fn signed(&self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> SignedStatement {
        SignedStatement::sign(&self.header(), self.encode(), sign)
    }

    /// Who gets what it earns.
    #[must_use]
    pub fn account(&self) -> Account {
        self.payee.unwrap_or(Account::Contributor(self.contributor))
    }

    /// The parts of its earnings that go to its parents, together.
    #[must_use]
    pub fn shares_bps(&self) -> u64 {
        self.parents.iter().map(|parent| u64::from(parent.share_bps)).sum()
    }
}

impl Cbor for Contribution {
    fn encode_into(&self, encoder: &mut Encoder) {
        let optional = [self.version.is_some(), self.source.is_some(), self.payee.is_some()];
        let optional = optional.into_iter().filter(|is_present| *is_present).count();
        encoder.map(optional.saturating_add(9)).key(1).uint(VERSION);
        encoder.key(2).bytes(&self.contributor);
        encoder.key(3).uint(self.kind.code());
        encoder.key(4).text(&self.name);
        encoder.key(5).text(&self.licence);
        encoder.key(6).bytes(self.subject.as_bytes());
        encoder.key(7).array(2).uint(self.extent.count.into()).uint(self.extent.size_bytes);
        encoder.key(8).uint(self.time_ms);
        encoder.key(9).array(self.parents.len());
        for parent in &self.parents {
            encoder.array(3).uint(parent.relation.code());
            encoder.bytes(parent.manifest.as_bytes()).uint(parent.share_bps.into());
        }
        for (key, text) in [(10, &self.version), (11, &self.source)] {
            if let Some(text) = text {
                encoder.key(key).text(text);
            }
        }
        if let Some(payee) = &self.payee {
            payee.encode_into(encoder.key(12));
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("contribution")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => return Err(unknown("contribution version", found)),
        }
        map.require(decoder, 2)?;
        let contributor = decoder.array_of("contributor")?;
        map.require(decoder, 3)?;
        let code = decoder.uint()?;
        let kind = ContributionKind::ALL.into_iter().find(|known| known.code() == code);
        let kind = kind.ok_or_else(|| unknown("contribution kind", code))?;
        map.require(decoder, 4)?;
        let name = words(decoder, "contribution name", NAME_BYTES_MAX)?;
        map.require(decoder, 5)?;
        let licence = words(decoder, "licence", NAME_BYTES_MAX)?;
        map.require(decoder, 6)?;
        let subject = decoder.digest("contribution subject")?;
        map.require(decoder, 7)?;
        decoder.array_exact("extent", 2)?;
        let extent = Extent { count: decoder.u32("document count")?, size_bytes: decoder.uint()? };
        map.require(decoder, 8)?;
        let time_ms = decoder.uint()?;
        map.require(decoder, 9)?;
        let count = decoder.array("parents", PARENTS_MAX)?;
        let parents = (0..count).map(|_| decode_parent(decoder)).collect::<Result<_, _>>()?;
        let mut text = |key, what, limit| match map.optional(decoder, key)? {
            true => words(decoder, what, limit).map(Some),
            false => Ok(None),
        };
        let version = text(10, "contribution version", NAME_BYTES_MAX)?;
        let source = text(11, "contribution source", SOURCE_BYTES_MAX)?;
        let payee = match map.optional(decoder, 12)? {
            true => Some(decode_payee(decoder, &contributor)?),
            false => None,
        };
        map.end(decoder)?;
        Ok(Self {
            contributor,
            kind,
            name,
            licence,
            subject,
            extent,
            time_ms,
            parents,
            version,
            source,
            payee,
        })
    }
}

fn decode_parent(decoder: &mut Decoder<'_>) -> Result<Parent, CborError> {
    decoder.array_exact("parent", 3)?;
    let relation = decoder.uint()?;
    let known = Relation::ALL.into_iter().find(|known| known.code() == relation);
    let relation = known.ok_or_else(|| unknown("relation", relation))?;
    let manifest = decoder.digest("parent's manifest")?;
    let share = decoder.uint_up_to("parent's share", u64::from(u16::MAX))?;
    Ok(Parent { relation, manifest, share_bps: u16::try_from(share).unwrap_or(u16::MAX) })
}

/// Somebody else than the one who signs, and no pool.
pub(crate) fn decode_payee(
    decoder: &mut Decoder<'_>,
    signer: &[u8; 32],
) -> Result<Account, CborError> {
    match Account::decode_from(decoder)? {
        Account::Feedback => Err(unknown("payee", 1)),
        Account::Contributor(key) if key == *signer => Err(unknown("payee", 2)),
        payee @ (Account::Commons | Account::Contributor(_)) => Ok(payee),
    }
}

/// A text of at least one byte.
pub(crate) fn words(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u64,
) -> Result<String, CborError> {
    let offset = decoder.offset();
    match decoder.text(what, limit)? {
        "" => Err(CborError::Empty { what, offset }),
        text => Ok(text.into()),
    }
}

pub(crate) fn unknown(what: &'static str, found: u64) -> CborError {
    CborError::Value { what, found: i64::try_from(found).unwrap_or(i64::MAX) }
}
