//! `tally registry export`: a signed manifest as it is, or a dataset described as Croissant.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tally_attribution::{
    croissant::{DescribedFile, Description},
    dataset::{Dataset, documents_root},
    registry::{Registered, Registry, open_manifest},
};
use tally_core::{
    Digest,
    cbor::Cbor as _,
    contribution::{Contribution, ContributionKind, SIGNED_CONTRIBUTION_BYTES_MAX},
    receipt::SignedStatement,
};

use crate::{
    args::ExportContribution,
    command::{read_limited, write_new},
    contributions::{self, named},
    home::Home,
    output::Output,
    receipt_file::require_absent,
};

pub(super) fn run(
    args: &ExportContribution,
    home: &Home,
    registry: &Registry,
    output: Output,
) -> Result<()> {
    let (signed, registered) = exported(&args.contribution, registry)?;
    let (contribution, manifest) = (open_manifest(&signed)?, signed.digest());
    for path in [&args.out, &args.croissant].into_iter().flatten() {
        require_absent(path)?;
    }
    if let Some(path) = &args.croissant {
        let files = files_of(args.texts.as_deref(), home, registered, &contribution)?;
        let contribution = &contribution;
        let document =
            Description { contribution, manifest, text: None, files: &files }.encode()?;
        write_new(path, document.as_bytes())?;
        let (count, path) = (files.len(), path.display());
        output.note(&format!("manifest {manifest} with {count} files described in {path}"));
    }
    if let Some(path) = &args.out {
        write_new(path, &signed.encode())?;
        output.note(&format!("manifest {manifest} written to {}", path.display()));
    }
    output.json(&json!({
        "manifest": manifest.to_string(),
        "file": args.out,
        "croissant": args.croissant,
    }))
}

/// A signed manifest from its file, or the registered one whose digest begins so.
fn exported<'r>(
    name: &str,
    registry: &'r Registry,
) -> Result<(SignedStatement, Option<&'r Registered>)> {
    let path = Path::new(name);
    if !path.is_file() {
        let one = named(registry.all(), name)?;
        return Ok((one.signed.clone(), Some(one)));
    }
    let signed = SignedStatement::parse(&read_limited(path, SIGNED_CONTRIBUTION_BYTES_MAX)?)
        .with_context(|| format!("{name} is no signed manifest"))?;
    let registered = registry.get(&signed.digest());
    Ok((signed, registered))
}

/// The files of a dataset, which must be those that its manifest names.
fn files_of(
    texts: Option<&Path>,
    home: &Home,
    registered: Option<&Registered>,
    contribution: &Contribution,
) -> Result<Vec<DescribedFile>> {
    let (kind, subject) = (contribution.kind, contribution.subject);
    ensure!(
        kind == ContributionKind::Dataset,
        "a contribution of kind {kind} is no dataset, and Croissant describes nothing else"
    );
    let files = match (texts, registered) {
        (Some(path), _) => files_in(path)?,
        (None, Some(it)) => indexed(home, it)?.with_context(|| no_texts(&it.manifest))?,
        (None, None) => None.with_context(|| no_texts(&subject))?,
    };
    let found = documents_root(files.iter().map(|file| file.sha256));
    ensure!(
        found == subject,
        "the texts yield documents root {found}, the manifest says {subject}"
    );
    Ok(files)
}

fn no_texts(what: &Digest) -> String {
    format!("this home has no texts of {what}\n\nhint: say where they are with `--texts`")
}

fn files_in(path: &Path) -> Result<Vec<DescribedFile>> {
    let documents = Dataset::read(path)?.documents.into_iter();
    Ok(documents.map(|(name, text)| described(name, text.as_bytes())).collect())
}

/// The files of a registered dataset, if this home indexed it.
fn indexed(home: &Home, registered: &Registered) -> Result<Option<Vec<DescribedFile>>> {
    let Some(index) = contributions::index_of(home, registered)? else { return Ok(None) };
    let file = |at| Some(described(index.name(at)?.to_owned(), index.text(at)?));
    let files: Option<_> = (0..index.shard().document_count).map(file).collect();
    files.with_context(|| format!("index {} is damaged", index.root())).map(Some)
}

fn described(name: String, bytes: &[u8]) -> DescribedFile {
    let size_bytes = bytes.len() as u64;
    DescribedFile { name, sha256: Digest::of_content(bytes), size_bytes, url: None }
}
