//! The sample made from the corpus: families, their windows, and held-out texts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tally_attribution::dataset::documents_root;
use tally_attribution::registry::parse_all;
use tally_core::Digest;
use tally_core::cbor::Cbor as _;
use tally_core::contribution::{Contribution, ContributionKind};
use tally_engine::Model;
use tally_engine::tokenizer::Tokenizer;

use super::sample::{Sample, SampledFamily};
use crate::repo::Repo;

const DOCUMENTS: &str = "models/default/documents.jsonl";
const REGISTRY: &str = "models/default/registry.cbor";
/// About how many bytes of text a family has.
const FAMILY_BYTES: u64 = 165_000;
/// Windows of each family, evenly spaced, and tokens of each.
const WINDOWS: usize = 8;
const WINDOW_LEN: usize = 256;
/// Fewest tokens of a held-out text.
const HELD_OUT_LEN_MIN: usize = 64;

/// A line of the corpus.
#[derive(Deserialize)]
struct Text {
    id: String,
    plain: String,
}

/// A line of the documents' list.
#[derive(Deserialize)]
struct Document {
    path: String,
    package: String,
}

/// Cuts the families and samples them.
pub(super) fn sample(repo: &Repo, corpus: &Path, model: &Model) -> Result<Sample> {
    let tokenizer = Tokenizer::parse(model.tokenizer())?;
    let configuration = model.configuration();
    let begin = configuration.begin_token.context("the model has no begin token")?;
    let end = *configuration.end_tokens.first().context("the model has no end token")?;
    let contributions = datasets(repo)?;
    let mut families = vec![];
    for (package, texts) in packages(repo, corpus)? {
        let name = format!("Debian package {package}");
        let contribution = contributions.get(&name);
        let contribution = *contribution.with_context(|| format!("`{name}` is not registered"))?;
        for family in cut(&texts) {
            let mut stream = vec![];
            for text in family {
                stream.push(begin);
                stream.extend(tokenizer.encode(&text.plain)?);
                stream.push(end);
            }
            let room = stream.len().checked_sub(WINDOW_LEN).context("a family is too short")?;
            let starts = (0..WINDOWS).map(|window| window * room / (WINDOWS - 1));
            let digest = |text: &Text| Digest::of_content(text.plain.as_bytes());
            families.push(SampledFamily {
                contribution,
                name: name_of(family)?,
                documents: documents_root(family.iter().map(digest)),
                document_count: u32::try_from(family.len())?,
                size_bytes: family.iter().map(|text| text.plain.len() as u64).sum(),
                windows: starts.map(|start| stream[start..start + WINDOW_LEN].to_vec()).collect(),
            });
        }
    }
    let mut held_out = vec![];
    for text in read(&corpus.join("heldout.jsonl"))? {
        let tokens = tokenizer.encode(&text.plain)?;
        let tokens: Vec<u32> = [begin].into_iter().chain(tokens).take(WINDOW_LEN).collect();
        if tokens.len() >= HELD_OUT_LEN_MIN {
            held_out.push(tokens);
        }
    }
    Ok(Sample { families, held_out })
}

/// That every family's contribution is a registered dataset.
pub(super) fn require_registered(repo: &Repo, sample: &Sample) -> Result<()> {
    let known = datasets(repo)?;
    for family in &sample.families {
        let is_known = known.values().any(|manifest| *manifest == family.contribution);
        ensure!(is_known, "family `{}` is of no registered dataset", family.name);
    }
    Ok(())
}

/// Registered datasets by name, with their manifests.
fn datasets(repo: &Repo) -> Result<BTreeMap<String, Digest>> {
    let mut found = BTreeMap::new();
    for signed in parse_all(&fs::read(repo.root().join(REGISTRY))?)? {
        let contribution = Contribution::parse(&signed.payload)?;
        if contribution.kind == ContributionKind::Dataset {
            found.insert(contribution.name, signed.digest());
        }
    }
    Ok(found)
}

/// The texts that were trained on, by package and in the order of their names.
fn packages(repo: &Repo, corpus: &Path) -> Result<BTreeMap<String, Vec<Text>>> {
    let mut packages = BTreeMap::new();
    for line in repo.text(DOCUMENTS)?.lines() {
        let document: Document = serde_json::from_str(line)?;
        packages.insert(document.path, document.package);
    }
    let mut found: BTreeMap<String, Vec<Text>> = BTreeMap::new();
    for text in read(&corpus.join("train.jsonl"))? {
        let path = text.id.split('#').next().unwrap_or_default();
        let package = packages.get(path);
        let package = package.with_context(|| format!("`{path}` is not in {DOCUMENTS}"))?;
        found.entry(package.clone()).or_default().push(text);
    }
    found.values_mut().for_each(|texts| texts.sort_by(|a, b| a.id.cmp(&b.id)));
    Ok(found)
}

/// Parts of nearly the same size: one ends with the text that reaches its share.
fn cut(texts: &[Text]) -> Vec<&[Text]> {
    let total: u64 = texts.iter().map(|text| text.plain.len() as u64).sum();
    let count = ((total + FAMILY_BYTES / 2) / FAMILY_BYTES).max(1);
    let (mut parts, mut start, mut have, mut made) = (vec![], 0, 0, 0);
    for (place, text) in texts.iter().enumerate() {
        have += text.plain.len() as u64;
        if have * count >= total * (made + 1) {
            parts.push(&texts[start..=place]);
            start = place + 1;
            made = have * count / total;
        }
    }
    parts
}

/// The first and the last of its texts, without what all names have in common.
fn name_of(family: &[Text]) -> Result<String> {
    let ends = [family.first(), family.last()].map(|text| {
        let id = text.map_or("", |text| text.id.as_str());
        let own = id.split_once('#').or_else(|| id.split_once("/html/"));
        let own = own.map_or(id, |(_, own)| own);
        own.strip_suffix(".html").unwrap_or(own).to_owned()
    });
    let name = ends.join(" … ");
    ensure!(!name.is_empty() && name.len() <= 256, "`{name}` is no name");
    Ok(name)
}

fn read(path: &Path) -> Result<Vec<Text>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
