//! The bundle: Sigstore's JSON, the DSSE envelope in it and the in-toto statement in that.

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use serde::de::IgnoredAny;

use tally_core::Digest;

use super::folder::{Resources, resources, root};
use super::{
    BUNDLE_BYTES_MAX, IGNORED_MAX, ModelSigningError, RESOURCES_MAX, ResourceName, Selection,
    SignedModel, SigningKey, VerifyingKey,
};
use crate::json::{self, Bounded, Json};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const SHA256: &str = "sha256";
const FILES: &str = "files";
const SHARDS: &str = "shards";

/// Verifies a bundle with the signer's public key.
///
/// # Errors
/// If the bundle is too long or is not of the form, is signed in another way or by another key, the signature
/// does not verify, or the signed statement contradicts itself.
pub fn verify(bundle: &[u8], key: &VerifyingKey) -> Result<SignedModel, ModelSigningError> {
    if bundle.len() > BUNDLE_BYTES_MAX {
        return Err(ModelSigningError::BundleBytes { found: bundle.len() });
    }
    let bundle: Bundle = json::parse(bundle).map_err(ModelSigningError::Bundle)?;
    if bundle.media_type != MEDIA_TYPE {
        let (expected, found) = (MEDIA_TYPE, bundle.media_type);
        return Err(ModelSigningError::MediaType { expected, found });
    }
    verify_key_id(bundle.verification_material, key)?;
    let payload = verify_envelope(bundle.dsse_envelope, key)?;
    dangerous_parse_unsigned(&payload, key)
}

/// Reads a statement that nobody need have signed, as if `key` had: for fuzzing alone.
///
/// # Errors
/// As [`verify`], but for the signature.
pub fn dangerous_parse_unsigned(
    statement: &[u8],
    key: &VerifyingKey,
) -> Result<SignedModel, ModelSigningError> {
    model(json::parse(statement).map_err(ModelSigningError::Statement)?, key.id())
}

/// Signs the files of a folder, or one file; the result is the bundle in canonical JSON.
///
/// # Errors
/// If something cannot be read, is a link that is not allowed or neither file nor folder, or there are too many
/// files.
pub fn sign(
    model: &Path,
    selection: &Selection,
    key: &SigningKey,
) -> Result<String, ModelSigningError> {
    let whole = model.canonicalize();
    let whole = whole.map_err(|error| ModelSigningError::Io { path: model.to_owned(), error })?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let resources = resources(model, selection)?;
    let payload = statement(&name, &resources, selection).encode();
    let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, payload.as_bytes()));
    let signature = Json::map([
        ("keyid", Json::text("")),
        ("sig", Json::text(Base64::encode_string(signature.as_bytes()))),
    ]);
    let envelope = Json::map([
        ("payload", Json::text(Base64::encode_string(payload.as_bytes()))),
        ("payloadType", Json::text(PAYLOAD_TYPE)),
        ("signatures", Json::List(vec![signature])),
    ]);
    let hint = Json::map([("hint", Json::text(key.public().id().to_string()))]);
    let material = Json::map([("publicKey", hint), ("tlogEntries", Json::List(Vec::new()))]);
    let bundle = Json::map([
        ("dsseEnvelope", envelope),
        ("mediaType", Json::text(MEDIA_TYPE)),
        ("verificationMaterial", material),
    ]);
    let bundle = bundle.encode();
    match bundle.len() {
        found if found > BUNDLE_BYTES_MAX => Err(ModelSigningError::BundleBytes { found }),
        _ => Ok(bundle),
    }
}

fn statement(name: &str, resources: &Resources, selection: &Selection) -> Json {
    let algorithm = algorithm(selection);
    let listed = resources.iter().map(|(name, digest)| {
        Json::map([
            ("algorithm", Json::text(algorithm.as_str())),
            ("digest", Json::text(digest.to_string())),
            ("name", Json::text(name.to_string())),
        ])
    });
    let mut serialization = vec![
        ("allow_symlinks", Json::Truth(selection.allows_links())),
        ("hash_type", Json::text(SHA256)),
        ("ignore_paths", Json::List(selection.ignored().map(Json::Text).collect())),
        ("method", Json::text(selection.shard_bytes().map_or(FILES, |_| SHARDS))),
    ];
    // A selection that was made here has shards below 2³².
    let shard_size = selection.shard_bytes().and_then(|size| u32::try_from(size).ok());
    serialization.extend(shard_size.map(|size| ("shard_size", Json::Number(size))));
    let digest = Json::map([(SHA256, Json::text(root(resources.values()).to_string()))]);
    let subject = Json::map([("digest", digest), ("name", Json::text(name))]);
    let predicate = Json::map([
        ("resources", Json::List(listed.collect())),
        ("serialization", Json::Map(serialization.into_iter().collect())),
    ]);
    Json::map([
        ("_type", Json::text(STATEMENT_TYPE)),
        ("predicate", predicate),
        ("predicateType", Json::text(PREDICATE_TYPE)),
        ("subject", Json::List(vec![subject])),
    ])
}

/// What a resource says it was hashed by.
fn algorithm(selection: &Selection) -> String {
    selection.shard_bytes().map_or_else(|| SHA256.into(), |size| format!("{SHA256}-sharded-{size}"))
}

/// What DSSE signs: type and payload with their lengths.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn verify_key_id(material: Material, key: &VerifyingKey) -> Result<(), ModelSigningError> {
    let other = [
        (material.certificate, "a certificate (Sigstore keyless)"),
        (material.x509_certificate_chain, "a chain of certificates"),
    ];
    if let Some((_, found)) = other.into_iter().find(|(is_there, _)| is_there.is_some()) {
        return Err(ModelSigningError::Method { found });
    }
    let named = material.public_key.ok_or(ModelSigningError::Method { found: "nothing named" })?;
    // Bundles of the first releases name no key; the signature decides then as ever.
    match named.hint {
        Some(found) if !found.is_empty() && found != key.id().to_string() => {
            Err(ModelSigningError::KeyId { expected: key.id(), found })
        }
        _ => Ok(()),
    }
}

/// The payload, once its one signature has verified.
fn verify_envelope(
    envelope: Option<Envelope>,
    key: &VerifyingKey,
) -> Result<Vec<u8>, ModelSigningError> {
    let envelope = envelope.ok_or(ModelSigningError::Method { found: "a message signature" })?;
    if envelope.payload_type != PAYLOAD_TYPE {
        let (expected, found) = (PAYLOAD_TYPE, envelope.payload_type);
        return Err(ModelSigningError::PayloadType { expected, found });
    }
    let [signature] = &*envelope.signatures else {
        return Err(ModelSigningError::Signatures { found: envelope.signatures.len() });
    };
    let decode =
        |text, what| Base64::decode_vec(text).map_err(|_| ModelSigningError::Base64 { what });
    let signature = decode(&signature.sig, "signature")?;
    let payload = decode(&envelope.payload, "payload")?;
    key.verify(&pre_authentication(PAYLOAD_TYPE, &payload), &signature)?;
    Ok(payload)
}

fn model(statement: Statement, key_id: Digest) -> Result<SignedModel, ModelSigningError> {
    for (expected, found) in
        [(STATEMENT_TYPE, statement.kind), (PREDICATE_TYPE, statement.predicate_type)]
    {
        if found != expected {
            return Err(ModelSigningError::StatementType { expected, found });
        }
    }
    let found = statement.subject.len();
    let subject = statement.subject.into_iter().next().filter(|_| found == 1);
    let subject = subject.ok_or(ModelSigningError::Subjects { found })?;
    let stated = digest(&subject.name, &subject.digest.sha256)?;
    let selection = selection(&statement.predicate.serialization)?;
    let (resources, computed) = signed(statement.predicate.resources, &selection)?;
    match computed == stated {
        true => Ok(SignedModel { name: subject.name, root: stated, resources, selection, key_id }),
        false => Err(ModelSigningError::Root { computed, stated }),
    }
}

fn selection(serialization: &Serialization) -> Result<Selection, ModelSigningError> {
    if serialization.hash_type != SHA256 {
        return Err(ModelSigningError::Algorithm {
            what: "model".into(),
            expected: SHA256.into(),
            found: serialization.hash_type.clone(),
        });
    }
    let ignored = serialization.ignore_paths.iter().map(String::as_str);
    let selection = Selection::new(ignored, serialization.allow_symlinks)?;
    match serialization.method.as_str() {
        FILES => Ok(selection),
        SHARDS => selection.in_shards(shard_bytes(serialization.shard_size.as_ref())?),
        found => Err(ModelSigningError::Serialization { found: found.into() }),
    }
}

/// A whole number, which the official tool writes with a decimal point.
fn shard_bytes(number: Option<&serde_json::Number>) -> Result<u64, ModelSigningError> {
    let found = number.map_or_else(|| "missing".into(), ToString::to_string);
    let digits = found.strip_suffix(".0").unwrap_or(&found);
    digits.parse().map_err(|_| ModelSigningError::ShardSize { found: found.clone() })
}

/// The resources by name, and the root over them in the order of the statement.
fn signed(
    listed: Bounded<Resource, RESOURCES_MAX>,
    selection: &Selection,
) -> Result<(Resources, Digest), ModelSigningError> {
    let expected = algorithm(selection);
    let parse = match selection.shard_bytes() {
        Some(_) => ResourceName::parse_shard,
        None => ResourceName::parse_file,
    };
    let (mut resources, mut digests) = (Resources::new(), Vec::new());
    for Resource { name, algorithm: found, digest: hexadecimal } in listed {
        if found != expected {
            return Err(ModelSigningError::Algorithm { what: name, expected, found });
        }
        let digest = digest(&name, &hexadecimal)?;
        digests.push(digest);
        let name = parse(&name)?;
        if resources.insert(name.clone(), digest).is_some() {
            return Err(ModelSigningError::Twice { name });
        }
    }
    let root = root(&digests);
    Ok((resources, root))
}

fn digest(name: &str, hexadecimal: &str) -> Result<Digest, ModelSigningError> {
    let digest = Digest::parse_hex(&hexadecimal.to_ascii_lowercase());
    let refused = || (name.to_owned(), hexadecimal.to_owned());
    digest
        .ok_or_else(refused)
        .map_err(|(name, found)| ModelSigningError::NotADigest { name, found })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<NamedKey>,
    certificate: Option<IgnoredAny>,
    #[serde(rename = "x509CertificateChain")]
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedKey {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Bounded<Signature, 16>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Bounded<Subject, 16>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Bounded<Resource, RESOURCES_MAX>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Bounded<String, IGNORED_MAX>,
    shard_size: Option<serde_json::Number>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}
