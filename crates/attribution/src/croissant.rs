//! Datasets as MLCommons' Croissant describes them, versions 1.0 and 1.1: reading and writing.
//!
//! What is read is what a contribution's manifest can say: name, licence, version, source, and the files
//! whose SHA-256 is told. The document is read as the usual JSON-LD that all known producers write, with
//! the prefixes `cr`, `sc` and `dct`; it is not expanded as RDF, and no context is fetched. What is written
//! is canonical JSON (RFC 8785) that the official package `mlcroissant` accepts (`cargo xtask formats`).
//! That the files exist and have those digests is for whoever has them.

use thiserror::Error;

use tally_core::Digest;
use tally_core::account::Account;
use tally_core::contribution::{
    Contribution, ContributionKind, Extent, NAME_BYTES_MAX, Parent, SOURCE_BYTES_MAX,
};

use crate::json::JsonError;
use crate::licence::Licence;

mod compare;
mod export;
mod import;
mod known_licence;
#[cfg(test)]
mod tests;

pub use export::{DescribedFile, Description};

/// Most bytes of a Croissant document.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Most files and file sets of a dataset.
pub const FILES_MAX: usize = 100_000;
/// Most creators, licences, sources and the like of a dataset.
pub const LIST_MAX: usize = 1000;

/// A version of Croissant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CroissantVersion {
    /// 1.0
    V1_0,
    /// 1.1
    V1_1,
}

impl CroissantVersion {
    /// All versions, the newest first.
    pub const ALL: [Self; 2] = [Self::V1_1, Self::V1_0];

    /// What a document of this version says that it conforms to.
    #[must_use]
    pub const fn iri(self) -> &'static str {
        match self {
            Self::V1_0 => "http://mlcommons.org/croissant/1.0",
            Self::V1_1 => "http://mlcommons.org/croissant/1.1",
        }
    }
}

/// What a Croissant document says of a dataset, as far as a contribution can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantDataset {
    /// The newest version that the document says it conforms to.
    pub conforms_to: CroissantVersion,
    /// Its name; of several languages the English one, else the first in order of language tags.
    pub name: String,
    /// What it is, in prose.
    pub description: Option<String>,
    /// Its licence.
    pub licence: StatedLicence,
    /// Its version.
    pub version: Option<String>,
    /// Its web page.
    pub url: Option<String>,
    /// Who made it.
    pub creators: Vec<Creator>,
    /// The files whose SHA-256 is told.
    pub files: Vec<CroissantFile>,
    /// What the dataset has besides, which no digest covers.
    pub not_covered: Vec<NotCovered>,
    /// Digest of the signed manifest, where the document was written from one.
    pub manifest: Option<Digest>,
    /// What it was made from, by IRI.
    pub derived_from: Vec<String>,
}

/// A licence beside the words it was stated in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedLicence {
    /// The SPDX licence that is meant, or `unknown` where that is not certain.
    pub licence: Licence,
    /// All that the document states; none, or several, mean `unknown`.
    pub stated: Vec<String>,
}

/// Who made a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creator {
    /// The name, if there is one.
    pub name: Option<String>,
    /// An IRI: a page, or a did:key.
    pub iri: Option<String>,
}

/// A file with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantFile {
    /// Its id in the document.
    pub id: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Where it can be had.
    pub url: Option<String>,
    /// Its size, where the document tells it in bytes.
    pub size_bytes: Option<u64>,
}

/// Something of a dataset that no digest covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCovered {
    /// Its id in the document.
    pub id: String,
    /// Why it is not covered.
    pub reason: NotCoveredReason,
}

/// Why something is not covered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotCoveredReason {
    /// It is a set of files, which has no digest.
    #[error("a set of files has no digest")]
    FileSet,
    /// It is a file without SHA-256.
    #[error("no sha256 is told")]
    NoDigest,
    /// Its `sha256` is something else.
    #[error("sha256 is `{found}`, which is no digest")]
    NotADigest {
        /// What is found there.
        found: String,
    },
    /// It is of another type.
    #[error("type is `{found}`, neither FileObject nor FileSet")]
    OtherType {
        /// The types found.
        found: String,
    },
}

/// Why a Croissant document is not read, or not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CroissantError {
    /// The document is too long.
    #[error("croissant document has {found} bytes, limit {limit}", limit = DOCUMENT_BYTES_MAX)]
    DocumentBytes {
        /// The length found.
        found: usize,
    },
    /// It is no JSON, or something in it has another type than it must.
    #[error("croissant document {0}")]
    Json(#[from] JsonError),
    /// It does not describe a dataset.
    #[error("croissant document is of type `{found}`, expected Dataset")]
    NotADataset {
        /// The types found.
        found: String,
    },
    /// It conforms to no version that is known here.
    #[error("croissant document conforms to `{found}`, expected {} or {}",
        CroissantVersion::V1_1.iri(), CroissantVersion::V1_0.iri())]
    Version {
        /// What it says it conforms to.
        found: String,
    },
    /// The dataset has no name.
    #[error("croissant document has no name")]
    NoName,
    /// Two files or file sets have one id.
    #[error("croissant document has the id `{id}` twice")]
    TwiceTheId {
        /// The id.
        id: String,
    },
    /// Something is longer than a manifest can have it.
    #[error("{what} has {found} bytes, a manifest has 1 to {limit}")]
    Length {
        /// Which of the manifest's texts.
        what: &'static str,
        /// The length found.
        found: usize,
        /// The longest there is.
        limit: u64,
    },
    /// A contribution of another kind is no dataset.
    #[error("contribution is of kind {found}, expected dataset")]
    Kind {
        /// The kind found.
        found: ContributionKind,
    },
    /// There are too many files.
    #[error("dataset has {found} files, limit {limit}", limit = FILES_MAX)]
    Files {
        /// How many there are.
        found: usize,
    },
    /// A file's name is no relative path.
    #[error("file name `{name}` is no relative path of parts other than `.` and `..`")]
    FileName {
        /// The name.
        name: String,
    },
    /// A document of the dataset has another digest than is told.
    #[error("`{name}` has SHA-256 {found}, croissant document says {described}")]
    Changed {
        /// The document.
        name: String,
        /// What is told.
        described: Digest,
        /// What the document has.
        found: Digest,
    },
    /// A document of the dataset has another size than is told.
    #[error("`{name}` has {found} bytes, croissant document says {described}")]
    Size {
        /// The document.
        name: String,
        /// What is told.
        described: u64,
        /// What the document has.
        found: u64,
    },
    /// A file that is told is no document of the dataset.
    #[error(
        "croissant document tells of `{id}` with SHA-256 {described}, which no document of the dataset has"
    )]
    Missing {
        /// Its id in the croissant document.
        id: String,
        /// What is told.
        described: Digest,
    },
    /// The document says something else than the contribution.
    #[error("{what} is `{found}`, croissant document says `{described}`")]
    Differs {
        /// Of what.
        what: &'static str,
        /// What the document says.
        described: String,
        /// What the contribution says.
        found: String,
    },
    /// The document is derived from a contribution that is not named as a parent.
    #[error(
        "croissant document is derived from manifest {manifest}, which is not among the parents"
    )]
    Parent {
        /// The parent's manifest.
        manifest: Digest,
    },
    /// A document of the dataset is not told of.
    #[error("`{name}` has SHA-256 {found}, of which the croissant document tells nothing")]
    NotDescribed {
        /// The document.
        name: String,
        /// What it has.
        found: Digest,
    },
    /// The contribution's time has no date of four digits.
    #[error("time {time_ms} ms is after the year 9999")]
    Time {
        /// The time.
        time_ms: u64,
    },
}

impl CroissantDataset {
    /// Reads a document of Croissant 1.0 or 1.1; members that are not known are passed over.
    ///
    /// # Errors
    /// If the document is longer than [`DOCUMENT_BYTES_MAX`], is no JSON, has a wrong type somewhere, has a
    /// list beyond its limit, describes no dataset, conforms to another version, has no name or an id twice.
    pub fn parse(document: &[u8]) -> Result<Self, CroissantError> {
        import::parse(document)
    }

    /// The contribution that `contributor` may sign: the document's words, beside what the texts show.
    ///
    /// # Errors
    /// If name, version or page are longer than a manifest can have them.
    pub fn contribution(&self, texts: &Texts, by: By) -> Result<Contribution, CroissantError> {
        let fit = |what, text: &str, limit: u64| match text.len() {
            found @ 1.. if found as u64 <= limit => Ok(text.to_owned()),
            found => Err(CroissantError::Length { what, found, limit }),
        };
        let name = fit("name", &self.name, NAME_BYTES_MAX)?;
        let version = self.version.as_deref().map(|text| fit("version", text, NAME_BYTES_MAX));
        let source = self.url.as_deref().map(|text| fit("url", text, SOURCE_BYTES_MAX));
        Ok(Contribution {
            contributor: by.contributor,
            kind: ContributionKind::Dataset,
            name,
            licence: self.licence.licence.as_str().into(),
            subject: texts.root,
            extent: texts.extent,
            time_ms: by.time_ms,
            parents: by.parents,
            version: version.transpose()?,
            source: source.transpose()?,
            payee: by.payee,
        })
    }
}

/// What a dataset's texts show of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Root over the documents, which becomes the manifest's subject.
    pub root: Digest,
    /// How many they are, and how long.
    pub extent: Extent,
}

/// Who contributes, when, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The contributor's Ed25519 key.
    pub contributor: [u8; 32],
    /// The contributor's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// What the dataset was made from, with shares.
    pub parents: Vec<Parent>,
    /// Who gets what it earns, where that is not the contributor.
    pub payee: Option<Account>,
}
