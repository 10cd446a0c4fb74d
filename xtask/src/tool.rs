//! Cargo subcommands that a gate needs and a fresh machine lacks.

use anyhow::Result;

use crate::repo::{Repo, run};

/// Installs the crate `name` from the registry unless its program can already be started.
pub(crate) fn require(repo: &Repo, name: &str) -> Result<()> {
    let is_there = repo.command(name).arg("--version").output().is_ok();
    if is_there {
        return Ok(());
    }
    eprintln!("installing {name}, which this gate needs, by `cargo install --locked {name}`");
    // These programs wait for others: an optimised build would only take longer to make.
    run(repo.command("cargo").args(["install", "--locked", "--debug", name]))
}
