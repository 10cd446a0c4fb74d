//! `cargo xtask layers`: the crate table of `ARCHITECTURE.md` against the manifests and sources.
//!
//! The table is the law. A crate it does not name, an edge it does not grant, a missing
//! `#![no_std]` or `#![forbid(unsafe_code)]`, unsafe code outside the named places, an async
//! runtime outside the named crates: each is a finding that names the crate and the edge.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::findings::Findings;
use crate::repo::Repo;
use crate::rust;
use manifest::{Manifest, Section};
use table::{Async, Grant, Row, Unsafe};

mod manifest;
mod table;
#[cfg(test)]
mod tests;

/// Libraries that bring an async runtime, a reactor or an HTTP stack.
const ASYNC_LIBRARIES: &[&str] =
    &["tokio", "async-std", "smol", "futures", "futures-util", "hyper", "axum", "reqwest", "tower"];

/// Lints that a crate without the standard library denies at its root.
const STRICT_LINTS: &[&str] = &[
    "arithmetic_side_effects",
    "as_conversions",
    "expect_used",
    "float_arithmetic",
    "indexing_slicing",
    "integer_division",
    "panic",
    "unreachable",
    "wildcard_enum_match_arm",
];

/// Compares the table with the workspace.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let rows = table::parse(&repo.text("ARCHITECTURE.md")?)?;
    let manifests = manifest::read(repo)?;
    ensure!(!manifests.is_empty(), "the workspace has no member");
    let mut findings = Findings::default();
    compare_members(&rows, &manifests, &mut findings);
    for row in rows.iter().filter(|row| !row.planned) {
        let Some(manifest) = manifests.iter().find(|manifest| manifest.row == row.name) else {
            continue;
        };
        compare_edges(row, &rows, manifest, &mut findings);
        compare_async(row, manifest, &mut findings);
        compare_sources(repo, row, manifest, &mut findings)?;
    }
    println!("layers: {} crates, {} rows in the table", manifests.len(), rows.len());
    findings.end("layers")
}

/// Every crate has a row, every row that is not planned has a crate.
fn compare_members(rows: &[Row], manifests: &[Manifest], findings: &mut Findings) {
    for manifest in manifests {
        match rows.iter().find(|row| row.name == manifest.row) {
            None => findings.add(format!("{} has no row in the table", manifest.row)),
            Some(row) if row.planned => {
                findings.add(format!("{} exists, but the table says planned", row.name));
            }
            Some(_) => {}
        }
        let expected = table::package_of(&manifest.row);
        if manifest.package != expected {
            findings.add(format!("{} is named {}, not {expected}", manifest.row, manifest.package));
        }
        if !manifest.inherits_lints {
            findings.add(format!("{} does not inherit the workspace's lints", manifest.row));
        }
        if manifest.has_default_feature {
            findings.add(format!("{} has a default feature", manifest.row));
        }
    }
    for row in rows.iter().filter(|row| !row.planned) {
        if manifests.iter().all(|manifest| manifest.row != row.name) {
            findings.add(format!("{} stands in the table, but there is no such crate", row.name));
        }
    }
}

/// Every edge between our crates is granted by the table.
fn compare_edges(row: &Row, rows: &[Row], manifest: &Manifest, findings: &mut Findings) {
    let packages: BTreeSet<String> = rows.iter().map(|row| table::package_of(&row.name)).collect();
    for dependency in manifest.dependencies.iter().filter(|d| packages.contains(&d.package)) {
        let target = table::row_of(&dependency.package);
        let is_granted = match &row.may {
            _ if target == "cli" || target == "xtask" => false,
            Grant::All => true,
            Grant::Only(names) => names.contains(target),
        };
        let is_test_of_verdict = dependency.section == Section::Dev && target == "verifier";
        if !is_granted && !is_test_of_verdict {
            findings.add(format!(
                "{} must not depend on {target} ({})",
                row.name,
                dependency.section.name()
            ));
        }
    }
}

/// Async libraries stand only where the table says so.
fn compare_async(row: &Row, manifest: &Manifest, findings: &mut Findings) {
    if row.is_async != Async::No {
        return;
    }
    for dependency in &manifest.dependencies {
        if ASYNC_LIBRARIES.contains(&dependency.package.as_str()) {
            findings
                .add(format!("{} is not async, but depends on {}", row.name, dependency.package));
        }
    }
    for (library, via) in &manifest.async_reached {
        findings.add(format!("{} is not async, but reaches {library} through {via}", row.name));
    }
}

/// Crate attributes and unsafe code are as the table says.
fn compare_sources(
    repo: &Repo,
    row: &Row,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<()> {
    let root = rust::parse(&manifest.root_file, &repo.text(&manifest.root_file)?)?;
    if row.is_no_std {
        for attribute in ["no_std".to_owned(), "forbid(unsafe_code)".to_owned()]
            .into_iter()
            .chain(STRICT_LINTS.iter().map(|lint| format!("deny(clippy::{lint})")))
        {
            if !root.attributes.contains(&attribute) {
                findings.add(format!("{} lacks #![{attribute}]", manifest.root_file));
            }
        }
    }
    if row.unsafe_code == Unsafe::Forbid && !root.attributes.contains("forbid(unsafe_code)") {
        findings.add(format!("{} lacks #![forbid(unsafe_code)]", manifest.root_file));
    }
    let folder = manifest.folder.as_str();
    for path in repo.ending(".rs").filter(|path| path.starts_with(folder)) {
        let inside = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
        if row.unsafe_code.grants(inside) {
            continue;
        }
        for line in rust::parse(path, &repo.text(path)?)?.unsafe_lines {
            findings.add(format!(
                "{path}:{line} has unsafe code, which {} may not have here",
                row.name
            ));
        }
    }
    Ok(())
}
