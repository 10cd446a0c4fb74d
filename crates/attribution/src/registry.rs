//! The registry: signed contributions in the order in which a log took them.
//!
//! What is registered is what contributors say; the registry verifies that they said it, that every
//! parent was registered before its child and that nobody gives more than the whole. The order is
//! what earlier and later mean everywhere else: of two that register the same, the first counts.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::{
    Digest,
    account::Account,
    cbor::{Cbor as _, CborError, Decoder, Encoder},
    contribution::{BPS_WHOLE, Contribution, ContributionKind, SIGNED_CONTRIBUTION_BYTES_MAX},
    receipt::{ProtectedHeader, SignedStatement},
};
use thiserror::Error;

mod folder;
#[cfg(test)]
mod tests;

pub use folder::{FolderError, RegistryFolder};

/// Most contributions of one registry that is held in memory.
pub const REGISTERED_MAX: usize = 1 << 16;
/// Most ancestors of one contribution: what one answer rests on must fit its receipt.
pub const ANCESTORS_MAX: usize = 64;

/// Why a contribution is not registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A manifest, its header or its payload cannot be read.
    #[error("the manifest cannot be read: {0}")]
    Form(#[from] CborError),
    /// The manifest is too large.
    #[error("the manifest has {found} bytes, the limit is {SIGNED_CONTRIBUTION_BYTES_MAX}")]
    Size {
        /// Its bytes.
        found: usize,
    },
    /// The header is not the one that the payload demands.
    #[error("the manifest's header is about `{found}`, expected `{expected}`")]
    Header {
        /// The subject that the payload demands.
        expected: String,
        /// The subject found.
        found: String,
    },
    /// The contributor did not sign it.
    #[error("the manifest is not signed by its contributor")]
    Signature,
    /// It is registered already.
    #[error("contribution {manifest} is registered already, as entry {log_index} of the log")]
    Registered {
        /// Its manifest.
        manifest: Digest,
        /// Its place in the log.
        log_index: u64,
    },
    /// It stands before one that was registered earlier.
    #[error(
        "entry {found} of the log does not come after entry {last}, the last that is registered"
    )]
    Order {
        /// The last place.
        last: u64,
        /// The place found.
        found: u64,
    },
    /// A parent is not registered.
    #[error("parent {parent} is not registered; register it before what is made from it")]
    Parent {
        /// The parent's manifest.
        parent: Digest,
    },
    /// The same parent twice.
    #[error("parent {parent} is named twice")]
    ParentTwice {
        /// The parent's manifest.
        parent: Digest,
    },
    /// It gives its parents more than it gets.
    #[error("its parents get {found} basis points together, the limit is {BPS_WHOLE}")]
    Shares {
        /// The basis points.
        found: u64,
    },
    /// Its lineage is too large for a receipt.
    #[error("it has {found} ancestors, the limit is {ANCESTORS_MAX}")]
    Ancestors {
        /// How many.
        found: usize,
    },
    /// The registry is full.
    #[error("the registry has {REGISTERED_MAX} contributions, which is its limit")]
    Full,
}

/// One registered contribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its place in the log.
    pub log_index: u64,
    /// The digest of its signed manifest.
    pub manifest: Digest,
    /// The signed manifest.
    pub signed: SignedStatement,
    /// What it says.
    pub contribution: Contribution,
}

/// Contributions in the order of their registration.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    all: Vec<Registered>,
    places: BTreeMap<Digest, usize>,
    /// The first that was registered of a kind and a subject.
    first: BTreeMap<(ContributionKind, Digest), usize>,
}

/// Reads a signed manifest and verifies that its contributor signed it.
///
/// # Errors
/// If it cannot be read, its header is another's, or the signature is not the contributor's.
pub fn open_manifest(signed: &SignedStatement) -> Result<Contribution, RegistryError> {
    let found = signed.encode().len();
    if found as u64 > SIGNED_CONTRIBUTION_BYTES_MAX {
        return Err(RegistryError::Size { found });
    }
    let contribution = Contribution::parse(&signed.payload)?;
    let (found, expected) = (ProtectedHeader::parse(&signed.protected)?, contribution.header());
    if found != expected {
        let (expected, found) = (expected.subject, found.subject);
        return Err(RegistryError::Header { expected, found });
    }
    signed.verify_by(&contribution.contributor).map_err(|_| RegistryError::Signature)?;
    Ok(contribution)
}

/// Demands of a contribution's parents what takes no registry: none twice, and no more than the whole.
///
/// # Errors
/// Which of them it is.
pub fn require_parents(contribution: &Contribution) -> Result<(), RegistryError> {
    let mut seen = BTreeSet::new();
    let parents = contribution.parents.iter().map(|parent| parent.manifest);
    if let Some(parent) = parents.into_iter().find(|parent| !seen.insert(*parent)) {
        return Err(RegistryError::ParentTwice { parent });
    }
    match contribution.shares_bps() {
        found if found > u64::from(BPS_WHOLE) => Err(RegistryError::Shares { found }),
        _ => Ok(()),
    }
}

/// Signed manifests in one file: a CBOR array of byte strings.
#[must_use]
pub fn encode_all(all: &[SignedStatement]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.array(all.len());
    for signed in all {
        encoder.bytes(&signed.encode());
    }
    encoder.finish()
}

/// Reads what [`encode_all`] wrote; nothing is verified.
///
/// # Errors
/// If it is not that, or holds more than [`REGISTERED_MAX`].
pub fn parse_all(bytes: &[u8]) -> Result<Vec<SignedStatement>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder.array("manifests", REGISTERED_MAX as u64)?;
    let one = |_| {
        SignedStatement::parse(decoder.bytes("signed manifest", SIGNED_CONTRIBUTION_BYTES_MAX)?)
    };
    let all = (0..count).map(one).collect::<Result<_, _>>()?;
    decoder.finish()?;
    Ok(all)
}

impl Registry {
    /// Verifies that a contribution can be registered next, without registering it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn require(&self, signed: &SignedStatement) -> Result<Contribution, RegistryError> {
        let contribution = open_manifest(signed)?;
        let manifest = signed.digest();
        if let Some(known) = self.get(&manifest) {
            let log_index = known.log_index;
            return Err(RegistryError::Registered { manifest, log_index });
        }
        if self.all.len() >= REGISTERED_MAX {
            return Err(RegistryError::Full);
        }
        require_parents(&contribution)?;
        let parents = contribution.parents.iter().map(|parent| parent.manifest);
        if let Some(parent) = parents.clone().find(|parent| !self.places.contains_key(parent)) {
            return Err(RegistryError::Parent { parent });
        }
        let found = self.with_ancestors(parents).len();
        if found > ANCESTORS_MAX {
            return Err(RegistryError::Ancestors { found });
        }
        Ok(contribution)
    }

    /// Registers a contribution that stands at this place of the log.
    ///
    /// # Errors
    /// What is wrong with it, or with its place.
    pub fn register(
        &mut self,
        log_index: u64,
        signed: SignedStatement,
    ) -> Result<&Registered, RegistryError> {
        let contribution = self.require(&signed)?;
        if let Some(last) = self.all.last().map(|last| last.log_index)
            && log_index <= last
        {
            return Err(RegistryError::Order { last, found: log_index });
        }
        let (place, manifest) = (self.all.len(), signed.digest());
        self.places.insert(manifest, place);
        self.first.entry((contribution.kind, contribution.subject)).or_insert(place);
        self.all.push(Registered { log_index, manifest, signed, contribution });
        Ok(&self.all[place])
    }

    /// The same contributions with one more at its place in the log, which need not be the last; says
    /// how many stand before it.
    fn with(
        &self,
        log_index: u64,
        signed: &SignedStatement,
    ) -> Result<(Self, usize), RegistryError> {
        let place = self.all.partition_point(|it| it.log_index < log_index);
        let (before, behind) = self.all.split_at(place);
        let known = |it: &Registered| (it.log_index, it.signed.clone());
        let all = before.iter().map(known).chain([(log_index, signed.clone())]);
        let mut registry = Self::default();
        for (log_index, signed) in all.chain(behind.iter().map(known)) {
            registry.register(log_index, signed)?;
        }
        Ok((registry, place))
    }

    /// All contributions in the order of registration.
    #[must_use]
    pub fn all(&self) -> &[Registered] {
        &self.all
    }

    /// The contribution with this manifest.
    #[must_use]
    pub fn get(&self, manifest: &Digest) -> Option<&Registered> {
        self.places.get(manifest).map(|place| &self.all[*place])
    }

    /// The first contribution of a kind that was registered for a subject.
    #[must_use]
    pub fn first(&self, kind: ContributionKind, subject: &Digest) -> Option<&Registered> {
        self.first.get(&(kind, *subject)).map(|place| &self.all[*place])
    }

    /// All contributions of a kind for a subject, in order: for an index, all who built it.
    pub fn of_subject(
        &self,
        kind: ContributionKind,
        subject: Digest,
    ) -> impl Iterator<Item = &Registered> {
        let is_it = move |it: &&Registered| {
            it.contribution.kind == kind && it.contribution.subject == subject
        };
        self.all.iter().filter(is_it)
    }

    /// All contributions whose earnings an account gets.
    pub fn of_account(&self, account: Account) -> impl Iterator<Item = &Registered> {
        self.all.iter().filter(move |it| it.contribution.account() == account)
    }

    /// These contributions and all that they were made from, each before its parents.
    #[must_use]
    pub fn with_ancestors(&self, manifests: impl IntoIterator<Item = Digest>) -> Vec<&Registered> {
        let mut places = BTreeSet::new();
        let mut open: Vec<usize> =
            manifests.into_iter().filter_map(|digest| self.places.get(&digest).copied()).collect();
        while let Some(place) = open.pop() {
            if places.insert(place) {
                let parents = &self.all[place].contribution.parents;
                open.extend(parents.iter().filter_map(|it| self.places.get(&it.manifest)));
            }
        }
        // A parent is registered before its children, so later ones come first.
        places.into_iter().rev().map(|place| &self.all[place]).collect()
    }
}
