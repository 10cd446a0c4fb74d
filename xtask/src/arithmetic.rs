//! `cargo xtask vectors arithmetic`: known answers of every operation, from the scalar law.
//!
//! The files are `vectors/arithmetic/*.json`; `vectors/arithmetic/README.md` says what is in them.
//! Inputs are chosen here, outputs are what `Kernels::PORTABLE` makes of them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_engine::Kernels;

use crate::repo::Repo;

mod cases;
mod compute;
mod generation;
mod integers;
#[cfg(test)]
mod tests;

pub(crate) use generation::{finish_name, request_of};

/// Where the files lie.
pub(crate) const FOLDER: &str = "vectors/arithmetic";
/// The operation whose cases are whole outputs of the default model.
pub(crate) const GENERATION: &str = "generation";

/// One operation's vectors.
struct Group {
    operation: &'static str,
    clauses: &'static [&'static str],
    what: &'static str,
    cases: Vec<Case>,
}

/// One input of an operation and what it shows.
struct Case {
    what: String,
    given: Value,
}

impl Case {
    fn new(what: impl Into<String>, given: Value) -> Self {
        Self { what: what.into(), given }
    }
}

/// Writes every file, or compares with what is there.
pub(crate) fn run(repo: &Repo, is_comparison: bool) -> Result<()> {
    let mut files = files()?;
    files.insert(format!("{GENERATION}.json"), generation::file(repo)?);
    let folder = repo.root().join(FOLDER);
    for (name, text) in &files {
        let path = folder.join(name);
        if is_comparison {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            ensure!(committed == *text, "{FOLDER}/{name} differs from what the law yields");
        } else {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_known = !name.ends_with(".json") || files.contains_key(&name);
        ensure!(is_known, "{FOLDER}/{name} is written by nothing");
    }
    let bytes: usize = files.values().map(String::len).sum();
    let state = if is_comparison { "equal to what the law yields" } else { "written" };
    println!("vectors: {} files in {FOLDER}, {bytes} bytes, {state}", files.len());
    Ok(())
}

/// Every file of single operations, by name.
fn files() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for group in cases::groups() {
        let mut cases = vec![];
        for case in &group.cases {
            let out = compute::answer(Kernels::PORTABLE, group.operation, &case.given)
                .with_context(|| format!("{}: {}", group.operation, case.what))?;
            cases.push(json!({ "what": case.what, "in": case.given, "out": out }));
        }
        let text = text(group.operation, group.clauses, group.what, &cases);
        let name = format!("{}.json", group.operation);
        ensure!(files.insert(name, text).is_none(), "{} stands twice", group.operation);
    }
    Ok(files)
}

/// A file's text: one line for each case.
fn text(operation: &str, clauses: &[&str], what: &str, cases: &[Value]) -> String {
    let sorted = |case: &Value| {
        let mut case = case.clone();
        case.sort_all_objects();
        case.to_string()
    };
    let lines: Vec<String> = cases.iter().map(sorted).collect();
    let head = format!(
        "{{\n\"operation\": {},\n\"clauses\": {},\n\"what\": {},\n",
        json!(operation),
        json!(clauses),
        json!(what)
    );
    format!("{head}\"cases\": [\n{}\n]\n}}\n", lines.join(",\n"))
}
