//! `cargo xtask architectures`: every architecture that can be imported, beside `transformers`.
//!
//! Small random checkpoints and what `transformers` computes from them in binary32 are committed in
//! `models/quality/architectures`; `--make` makes them anew in a Python environment of its own. Each
//! is imported and must give the same predictions, in exact integers and in the float reference. And
//! each must stop doing so when one thing that its architecture is about is changed in a copy.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::python;
use crate::repo::{Repo, run as run_command};

mod expected;
mod mutation;
mod outcome;

use expected::Expected;
use mutation::MUTATIONS;
use outcome::Outcome;

/// Where the committed checkpoints are.
const FOLDER: &str = "models/quality/architectures";
const REQUIREMENTS: &str = "xtask/python/requirements.txt";
const SCRIPT: &str = "xtask/python/architectures.py";
/// Fewest checkpoints that make the gate what it says it is.
const CHECKPOINTS_MIN: usize = 10;

/// Compares all committed checkpoints, or those that a Python environment makes now.
pub(crate) fn run(repo: &Repo, is_made: bool, seed: u32) -> Result<()> {
    let folder = match is_made {
        true => python::target(repo).join("architectures"),
        false => repo.root().join(FOLDER),
    };
    if is_made {
        let python = python::environment(repo, "architectures", REQUIREMENTS)?;
        let mut command = repo.command(python.to_str().context("the path is not UTF-8")?);
        command.args(["-W", "ignore", SCRIPT, "--seed", &seed.to_string()]);
        run_command(command.arg(&folder))?;
    }
    let names = names(&folder)?;
    ensure!(names.len() >= CHECKPOINTS_MIN, "{} checkpoints in {FOLDER}", names.len());
    let mut failures = vec![];
    println!("{}", Outcome::HEADING);
    for name in &names {
        let checkpoint = folder.join(name);
        let expected = Expected::read(&checkpoint)?;
        let outcome = outcome::of(&checkpoint, &expected).with_context(|| name.clone())?;
        println!("{}", outcome.row(name, "as published"));
        if !outcome.is_equal() {
            failures.push(format!("{name} differs from transformers"));
        }
        for mutation in MUTATIONS.iter().filter(|mutation| mutation.checkpoints.contains(&&**name))
        {
            let copy = mutation.applied(&checkpoint)?;
            let mutated = outcome::of(copy.path(), &expected)
                .with_context(|| format!("{name}, {}", mutation.what))?;
            println!("{}", mutated.row(name, mutation.what));
            if mutated.is_close() || mutated.is_float_close() {
                failures.push(format!("{name}: nothing notices {}", mutation.what));
            }
        }
    }
    for mutation in MUTATIONS {
        let unknown = mutation.checkpoints.iter().find(|name| !names.iter().any(|n| n == *name));
        ensure!(unknown.is_none(), "{} is for {unknown:?}, which is not there", mutation.what);
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    println!("{} checkpoints agree with transformers, and no mutation goes unnoticed", names.len());
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
