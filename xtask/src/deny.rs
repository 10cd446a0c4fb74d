//! `cargo xtask deny`: licences, bans and sources of every dependency, by `cargo deny`.
//!
//! These three need no network. Advisories need the advisory database: they are looked at where
//! a copy of it lies on the machine, and otherwise said not to have been.

use anyhow::Result;

use crate::repo::{Repo, run};
use crate::tool;

/// Runs `cargo deny` offline over both workspaces.
pub(crate) fn run_all(repo: &Repo) -> Result<()> {
    tool::require(repo, "cargo-deny")?;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let arguments = ["deny", "--offline", "--manifest-path", manifest, "check"];
        let options = ["--hide-inclusion-graph", "--config", "deny.toml"];
        run(repo
            .command("cargo")
            .args(arguments)
            .args(options)
            .args(["licenses", "bans", "sources"]))?;
        let advisories =
            repo.command("cargo").args(arguments).args(options).arg("advisories").output()?;
        let text = String::from_utf8_lossy(&advisories.stderr);
        if text.contains("failed to load advisory database") || text.contains("advisory-db") {
            println!("deny: advisories NOT looked at: no copy of the database on this machine");
        } else if advisories.status.success() {
            println!("deny: advisories looked at: none for {manifest}");
        } else {
            anyhow::bail!("deny: advisories for {manifest}\n{text}");
        }
    }
    Ok(())
}
