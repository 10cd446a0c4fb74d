//! `cargo xtask deny`: licences, bans and sources of every dependency, by `cargo deny`.
//!
//! These three need the dependencies' manifests and no further network. Advisories need the
//! advisory database: they are looked at where a copy of it lies on the machine, and otherwise
//! said not to have been.

use std::process::Command;

use anyhow::{Result, bail};

use crate::repo::{Repo, run};
use crate::tool;

/// The product's workspace and the fuzz targets'.
const MANIFESTS: &[&str] = &["Cargo.toml", "fuzz/Cargo.toml"];

/// What cargo-deny says when there is no copy of the advisory database.
const ABSENT: &[&str] =
    &["failed to load advisory database", "failed to get 'FETCH_HEAD' metadata"];

/// Runs `cargo deny` over both workspaces.
pub(crate) fn run_all(repo: &Repo) -> Result<()> {
    tool::require(repo, "cargo-deny")?;
    for manifest in MANIFESTS {
        run(repo.command("cargo").args(["fetch", "--locked", "--manifest-path", manifest]))?;
        run(deny(repo, manifest).args(["licenses", "bans", "sources"]))?;
        let advisories = deny(repo, manifest).arg("advisories").output()?;
        let text = String::from_utf8_lossy(&advisories.stderr);
        if advisories.status.success() {
            println!("deny: {manifest} has no dependency with an advisory");
        } else if ABSENT.iter().any(|message| text.contains(message)) {
            println!("deny: advisories of {manifest} NOT looked at: this machine has no database");
        } else {
            bail!("advisories of {manifest}\n{text}");
        }
    }
    Ok(())
}

fn deny(repo: &Repo, manifest: &str) -> Command {
    let mut command = repo.command("cargo");
    command.args(["deny", "--offline", "--manifest-path", manifest, "--config", "deny.toml"]);
    command.args(["check", "--hide-inclusion-graph"]);
    command
}
