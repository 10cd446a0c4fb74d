//! Models signed as OpenSSF Model Signing 1.0 has it, with a key: reading, verifying, comparing, signing.
//!
//! A bundle is Sigstore's JSON around a DSSE envelope, whose payload is an in-toto statement: the SHA-256 of
//! every file of a model, and a root over them. It is signed by ECDSA over P-256 with a key that the verifier
//! is given. Keyless signatures and certificates are refused by name: there is no clock, no certificate
//! authority and no transparency log here. `cargo xtask formats` holds all of it against the official package
//! `model-signing`, in both directions.
//!
//! A verified bundle says that the key's holder signed these digests. [`SignedModel::compare`] says whether
//! a folder has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use p256::pkcs8::{self, spki};
use thiserror::Error;

use tally_core::Digest;

use crate::json::JsonError;

mod bundle;
mod folder;
mod key;
mod name;
#[cfg(test)]
mod tests;

pub use bundle::{dangerous_parse_unsigned, sign, verify};
pub use folder::{BUNDLE_NAME, Files, Selection};
pub use key::{SigningKey, VerifyingKey};
pub use name::ResourceName;

/// Most bytes of a bundle.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// Most files, or shards of files, of a model.
pub const RESOURCES_MAX: usize = 100_000;
/// Most ignored paths.
pub const IGNORED_MAX: usize = 1000;
/// Most bytes of a file's path below the model's folder.
pub const PATH_BYTES_MAX: usize = 4096;
/// Most folders within folders.
pub const DEPTH_MAX: usize = 64;
/// Most bytes of a key in PEM.
pub const KEY_BYTES_MAX: usize = 16 << 10;

/// What a bundle's signer has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedModel {
    /// The model's name, which is that of its folder when it was signed; of no consequence.
    pub name: String,
    /// SHA-256 of the digests of all resources, in the bundle's order.
    pub root: Digest,
    /// SHA-256 of every file, or of every shard of every file.
    pub resources: BTreeMap<ResourceName, Digest>,
    /// Which files of the folder were meant, and how they were hashed.
    pub selection: Selection,
    /// SHA-256 of the signer's public key in PEM, which bundles carry as a hint.
    pub key_id: Digest,
}

/// Why a bundle is refused, a folder is not the one that was signed, or nothing was signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelSigningError {
    /// The bundle is too long.
    #[error("bundle has {found} bytes, limit {limit}", limit = BUNDLE_BYTES_MAX)]
    BundleBytes {
        /// The length found.
        found: usize,
    },
    /// The bundle is no JSON, or something in it has another type than it must.
    #[error("bundle {0}")]
    Bundle(#[source] JsonError),
    /// The bundle is of another version or kind.
    #[error("bundle is of media type `{found}`, expected `{expected}`")]
    MediaType {
        /// The one that is read here.
        expected: &'static str,
        /// The media type found.
        found: String,
    },
    /// The signature is by another method than a public key.
    #[error("bundle is signed by {found}, expected a public key")]
    Method {
        /// The method found.
        found: &'static str,
    },
    /// The payload is of another type.
    #[error("payload is of type `{found}`, expected `{expected}`")]
    PayloadType {
        /// The one that is read here.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// There is not exactly one signature.
    #[error("envelope has {found} signatures, expected 1")]
    Signatures {
        /// How many there are.
        found: usize,
    },
    /// Something is no base64.
    #[error("{what} is no base64")]
    Base64 {
        /// What it is.
        what: &'static str,
    },
    /// The bundle names another key.
    #[error("bundle names the key {found}, expected {expected}")]
    KeyId {
        /// Id of the key that is verified with.
        expected: Digest,
        /// The id found.
        found: String,
    },
    /// The signature is no ECDSA signature in DER.
    #[error("signature of {found} bytes is no ECDSA signature in DER")]
    SignatureForm {
        /// Its length.
        found: usize,
    },
    /// The signature is not by the key over the payload.
    #[error("signature does not verify under the key {key_id}")]
    Signature {
        /// Id of the key that is verified with.
        key_id: Digest,
    },
    /// The signed statement is no JSON, or something in it has another type than it must.
    #[error("signed statement {0}")]
    Statement(#[source] JsonError),
    /// The statement is of another type.
    #[error("signed statement is of type `{found}`, expected `{expected}`")]
    StatementType {
        /// The one that is read here.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// The statement is not about one model.
    #[error("signed statement has {found} subjects, expected 1")]
    Subjects {
        /// How many there are.
        found: usize,
    },
    /// The files were put into order in another way.
    #[error("serialization is by `{found}`, expected `files` or `shards`")]
    Serialization {
        /// The method found.
        found: String,
    },
    /// The files were hashed by another algorithm.
    #[error("{what} is hashed by `{found}`, expected `{expected}`")]
    Algorithm {
        /// What was hashed.
        what: String,
        /// The algorithm that is read here.
        expected: String,
        /// The algorithm found.
        found: String,
    },
    /// The size of shards is missing, no whole number, or out of range.
    #[error("shard size is `{found}`, expected a whole number from 1 to {}", u32::MAX)]
    ShardSize {
        /// What is found.
        found: String,
    },
    /// A path is not relative, leaves the folder, or is not in its one form.
    #[error("path `{name}` is no relative path of parts other than `.` and `..`")]
    Name {
        /// The path.
        name: String,
    },
    /// A digest is not 64 hexadecimal digits.
    #[error("digest of `{name}` is `{found}`, expected 64 hexadecimal digits")]
    NotADigest {
        /// Of what.
        name: String,
        /// What is found.
        found: String,
    },
    /// A resource stands twice.
    #[error("`{name}` stands twice")]
    Twice {
        /// The resource.
        name: ResourceName,
    },
    /// The root is not that of the resources.
    #[error("resources yield root {computed}, statement says {stated}")]
    Root {
        /// The root over the resources.
        computed: Digest,
        /// The subject's digest.
        stated: Digest,
    },
    /// The folder has something that is not signed.
    #[error("`{name}` is not signed")]
    NotSigned {
        /// The file or shard.
        name: ResourceName,
    },
    /// The folder lacks something that is signed.
    #[error("`{name}` is signed and missing")]
    Missing {
        /// The file or shard.
        name: ResourceName,
    },
    /// A file is another than was signed.
    #[error("`{name}` has SHA-256 {found}, signed is {signed}")]
    Changed {
        /// The file or shard.
        name: ResourceName,
        /// What was signed.
        signed: Digest,
        /// What the file has.
        found: Digest,
    },
    /// The folder has more than can be signed.
    #[error("model has more than {limit} files or shards", limit = RESOURCES_MAX)]
    Resources,
    /// There is nothing to sign or to contribute.
    #[error("{path:?} has no files")]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// There are more ignored paths than are kept.
    #[error("{found} paths are ignored, limit {limit}", limit = IGNORED_MAX)]
    Ignored {
        /// How many there are.
        found: usize,
    },
    /// The folder has folders too deep within it.
    #[error("`{name}` lies more than {limit} folders deep", limit = DEPTH_MAX)]
    Depth {
        /// Where.
        name: String,
    },
    /// A symbolic link is where none is allowed.
    #[error("`{name}` is a symbolic link, which this model does not allow")]
    Link {
        /// Where.
        name: String,
    },
    /// A symbolic link leads to a folder, which no signature would cover.
    #[error("`{name}` is a symbolic link to a folder, whose files would not be covered")]
    LinkToFolder {
        /// Where.
        name: String,
    },
    /// Something is neither file nor folder.
    #[error("`{name}` is neither file nor folder")]
    Special {
        /// Where.
        name: String,
    },
    /// A file's name is not UTF-8.
    #[error("file name {path:?} is not UTF-8")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder is not to be read.
    #[error("{path:?}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// A key in PEM is too long.
    #[error("key has {found} bytes, limit {limit}", limit = KEY_BYTES_MAX)]
    KeyBytes {
        /// The length found.
        found: usize,
    },
    /// The PEM holds something else.
    #[error("PEM holds `{found}`, expected `{expected}`")]
    Pem {
        /// The label of what is read here.
        expected: &'static str,
        /// The label found, empty where there is none.
        found: String,
    },
    /// The public key is none of P-256.
    #[error("public key is none of P-256: {0}")]
    PublicKey(#[source] spki::Error),
    /// The private key is none of P-256.
    #[error("private key is none of P-256: {0}")]
    PrivateKey(#[source] pkcs8::Error),
}
