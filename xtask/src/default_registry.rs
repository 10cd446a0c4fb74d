//! `cargo xtask default-registry`: the default model's provenance as signed contributions.
//!
//! The collections that it learned from, and the model. Nobody earns by them: their payee is the
//! commons, and no part of the model's earnings is declared to belong to a collection whose makers
//! never said so. They are signed with a key that is made for this and thrown away, so that nobody
//! can sign anything else with it. `--compare` is the gate: what is committed says exactly what
//! model and documents say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tally_attribution::dataset::documents_root;
use tally_attribution::registry::{Registry, encode_all, parse_all};
use tally_core::Digest;
use tally_core::account::Account;
use tally_core::contribution::{Contribution, ContributionKind, Extent, Parent, Relation};
use tally_core::ed25519::SigningKey;
use tally_core::receipt::SignedStatement;
use tally_engine::Model;

use crate::identical::MODEL;
use crate::repo::Repo;

const DOCUMENTS: &str = "models/default/documents.jsonl";
const REGISTRY: &str = "models/default/registry.cbor";
/// 2026-11-21T00:00:00Z.
const TIME_MS: u64 = 1_795_219_200_000;

/// A line of the documents' list.
#[derive(Deserialize)]
struct Document {
    sha256: String,
    package: String,
    version: String,
    licence: String,
    text_bytes: u64,
}

/// Signs, and writes the file or compares it with the one that is there.
pub(crate) fn run(repo: &Repo, is_comparison: bool) -> Result<()> {
    let path = repo.root().join(REGISTRY);
    if is_comparison {
        return compare(repo, &path);
    }
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let key = SigningKey::from_seed(&seed);
    seed.fill(0);
    let all = contributions(repo, key.public_key().as_bytes(), |it| {
        it.signed(|message| *key.sign(message).as_bytes())
    })?;
    let signed: Vec<SignedStatement> = all.into_iter().map(|(signed, _)| signed).collect();
    std::fs::write(&path, encode_all(&signed))?;
    println!("{REGISTRY}: {} contributions, signed with a key that is gone", signed.len());
    Ok(())
}

/// Compares every word but the signatures, and verifies those.
fn compare(repo: &Repo, path: &Path) -> Result<()> {
    let committed = parse_all(&std::fs::read(path)?)?;
    let mut registry = Registry::default();
    for (place, signed) in (0..).zip(&committed) {
        registry.register(place, signed.clone())?;
    }
    let first = registry.all().first().context("the registry is empty")?;
    // A parent is named by its signed manifest, so what is expected is made of what is committed.
    let mut left = committed.iter();
    let contributor = first.contribution.contributor;
    let expected = contributions(repo, &contributor, |_| {
        left.next().cloned().unwrap_or_else(|| committed[0].clone())
    })?;
    ensure!(expected.len() == committed.len(), "{REGISTRY} has {} entries", committed.len());
    for (found, (_, expected)) in registry.all().iter().zip(&expected) {
        ensure!(
            found.contribution == *expected,
            "{REGISTRY} says {:?}, model and documents say {expected:?}",
            found.contribution
        );
    }
    println!("{REGISTRY}: {} contributions say what model and documents say", committed.len());
    Ok(())
}

/// The collections in the order of their names, and the model after them.
fn contributions(
    repo: &Repo,
    contributor: &[u8; 32],
    mut sign: impl FnMut(&Contribution) -> SignedStatement,
) -> Result<Vec<(SignedStatement, Contribution)>> {
    let mut packages: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for line in repo.text(DOCUMENTS)?.lines() {
        let document: Document = serde_json::from_str(line)?;
        packages.entry(document.package.clone()).or_default().push(document);
    }
    let mut all = vec![];
    for (package, documents) in &packages {
        let digests: Option<Vec<Digest>> =
            documents.iter().map(|document| Digest::parse_hex(&document.sha256)).collect();
        let digests = digests.context("a document's SHA-256 is none")?;
        let first = documents.first().context("a package without documents")?;
        let contribution = Contribution {
            contributor: *contributor,
            kind: ContributionKind::Dataset,
            name: format!("Debian package {package}"),
            licence: first.licence.clone(),
            subject: documents_root(digests),
            extent: Extent {
                count: u32::try_from(documents.len())?,
                size_bytes: documents.iter().map(|document| document.text_bytes).sum(),
            },
            time_ms: TIME_MS,
            parents: vec![],
            version: Some(first.version.clone()),
            source: Some(format!("https://packages.debian.org/bookworm/{package}")),
            payee: Some(Account::Commons),
        };
        all.push((sign(&contribution), contribution));
    }
    let parents = all.iter().map(|(signed, _)| Parent {
        relation: Relation::TrainedOn,
        manifest: signed.digest(),
        share_bps: 0,
    });
    let model = Model::open(&repo.root().join(MODEL))?;
    let size = model.manifest().parts.iter().map(|part| part.size_bytes).sum();
    let weights = Contribution {
        contributor: *contributor,
        kind: ContributionKind::Weights,
        name: "Tally's default model".into(),
        licence: "MIT OR Apache-2.0".into(),
        subject: model.root(),
        extent: Extent { count: 1, size_bytes: size },
        time_ms: TIME_MS,
        parents: parents.collect(),
        version: None,
        source: None,
        payee: Some(Account::Commons),
    };
    all.push((sign(&weights), weights));
    Ok(all)
}
