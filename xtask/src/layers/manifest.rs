//! What `cargo metadata` says of the workspace's members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{ASYNC_LIBRARIES, table};
use crate::repo::{Repo, stdout};

/// The section of a manifest that a dependency stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Normal,
    Build,
    Dev,
}

impl Section {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "dependencies",
            Self::Build => "build-dependencies",
            Self::Dev => "dev-dependencies",
        }
    }

    fn of_metadata(kind: Option<&str>) -> Self {
        match kind {
            Some("dev") => Self::Dev,
            Some("build") => Self::Build,
            _ => Self::Normal,
        }
    }
}

/// One direct dependency.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) package: String,
    pub(super) section: Section,
}

/// One member of the workspace.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Name in the table: the folder's name.
    pub(super) row: String,
    pub(super) package: String,
    /// Relative to the repository.
    pub(super) folder: String,
    /// `lib.rs` or `main.rs`, relative to the repository.
    pub(super) root_file: String,
    pub(super) dependencies: Vec<Dependency>,
    /// Async libraries reached through others, each with the direct dependency that leads there.
    pub(super) async_reached: BTreeSet<(String, String)>,
    pub(super) inherits_lints: bool,
    pub(super) has_default_feature: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<RawDependency>,
    targets: Vec<Target>,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// Reads every member of the workspace.
pub(super) fn read(repo: &Repo) -> Result<Vec<Manifest>> {
    let version = stdout(repo.command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its host")?;
    let text = stdout(repo.command("cargo").args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cargo metadata is not as known")?;
    let mut manifests = Vec::new();
    for package in &metadata.packages {
        if metadata.workspace_members.contains(&package.id) {
            manifests.push(member(repo, &metadata, package)?);
        }
    }
    Ok(manifests)
}

fn member(repo: &Repo, metadata: &Metadata, package: &Package) -> Result<Manifest> {
    let relative = |path: &str| -> Result<String> {
        let inside = Path::new(path).strip_prefix(repo.root());
        Ok(inside
            .with_context(|| format!("{path} is outside the repository"))?
            .display()
            .to_string())
    };
    let manifest_path = relative(&package.manifest_path)?;
    let folder = manifest_path.trim_end_matches("/Cargo.toml").to_owned();
    let is_root = |target: &&Target| target.kind.iter().any(|kind| kind == "lib" || kind == "bin");
    let target = package.targets.iter().find(is_root);
    let manifest: toml::Value = toml::from_str(&repo.text(&manifest_path)?)?;
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    Ok(Manifest {
        row: folder.rsplit('/').next().unwrap_or(&folder).to_owned(),
        package: package.name.clone(),
        root_file: relative(&target.with_context(|| format!("{folder} has no target"))?.src_path)?,
        dependencies: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                package: dependency.name.clone(),
                section: Section::of_metadata(dependency.kind.as_deref()),
            })
            .collect(),
        async_reached: async_reached(metadata, package),
        inherits_lints: lints.and_then(toml::Value::as_bool) == Some(true),
        has_default_feature: package.features.get("default").is_some_and(|list| !list.is_empty()),
        folder,
    })
}

/// Async libraries in the closure of normal dependencies, not counting what our own crates that
/// the table lets be async bring in (their own rows answer for them).
fn async_reached(metadata: &Metadata, package: &Package) -> BTreeSet<(String, String)> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let edges: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let next = |id: &str| -> Vec<&str> {
        let node = edges.get(id);
        node.into_iter()
            .flat_map(|node| &node.deps)
            .filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()))
            .map(|edge| edge.pkg.as_str())
            .collect()
    };
    let mut reached = BTreeSet::new();
    for direct in next(&package.id) {
        let mut seen = BTreeSet::new();
        let mut open = vec![direct];
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let name = names.get(id).copied().unwrap_or(id);
            if ASYNC_LIBRARIES.contains(&name) && id != direct {
                let via = names.get(direct).copied().unwrap_or(direct);
                reached.insert((name.to_owned(), table::row_of(via).to_owned()));
            }
            open.extend(next(id));
        }
    }
    reached
}
