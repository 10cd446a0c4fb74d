//! Mutation testing of the trusted base, by `cargo-mutants`.
//!
//! A mutant that no test notices fails the run unless `mutants.accepted.toml` names it with a
//! reason. Lines and columns are no part of the name, since they move with every edit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::record;
use crate::findings::Findings;
use crate::repo::Repo;
use crate::tool;

/// Each package with the tests that are run against its mutants.
const PACKAGES: &[(&str, &[&str])] = &[
    ("tally-core", &["--lib"]),
    ("tally-verifier", &["--lib", "--test", "vectors", "--test", "changes"]),
];
const ACCEPTED: &str = "mutants.accepted.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    /// `path: description`, as cargo-mutants prints it without line and column.
    mutant: String,
    reason: String,
}

/// Tries every mutant and compares the survivors with the accepted ones.
pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<()> {
    let accepted = accepted(&repo.text(ACCEPTED)?)?;
    tool::require(repo, "cargo-mutants")?;
    let mut outcome = Outcome::default();
    for (package, tests) in PACKAGES {
        mutate(repo, package, tests, arguments)?;
        outcome.read(&folder(repo, package).join("mutants.out"))?;
    }
    let Outcome { caught, missed, timeout, unviable } = outcome;
    ensure!(!caught.is_empty(), "no mutant was caught, so nothing was tested");
    let mut findings = Findings::default();
    compare(&accepted, &missed, arguments.is_empty(), &mut findings);
    let amount = format!("{} mutants", caught.len() + missed.len() + timeout.len());
    let result = format!(
        "{} caught, {} timed out, {} survived ({} accepted), {} did not compile",
        caught.len(),
        timeout.len(),
        missed.len(),
        missed.iter().filter(|mutant| accepted.contains_key(*mutant)).count(),
        unviable.len()
    );
    println!("mutants: {amount}: {result}");
    findings.end("mutants")?;
    record(repo, format!("mutants {}", arguments.join(" ")).trim(), &amount, &result)
}

/// The mutants by what became of them.
#[derive(Default)]
struct Outcome {
    caught: Vec<String>,
    missed: Vec<String>,
    timeout: Vec<String>,
    unviable: Vec<String>,
}

impl Outcome {
    fn read(&mut self, folder: &Path) -> Result<()> {
        let lists = [
            ("caught.txt", &mut self.caught),
            ("missed.txt", &mut self.missed),
            ("timeout.txt", &mut self.timeout),
            ("unviable.txt", &mut self.unviable),
        ];
        for (name, list) in lists {
            let text =
                std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
            list.extend(text.lines().map(nameless));
        }
        Ok(())
    }
}

/// Where the lists of one package are kept.
fn folder(repo: &Repo, package: &str) -> PathBuf {
    repo.root().join("target/mutants").join(package)
}

/// Runs `cargo mutants` over one package.
///
/// Most of the time goes into building, so the builds are the cheapest that run the same tests:
/// neither optimised nor described for a debugger, and incremental.
fn mutate(repo: &Repo, package: &str, tests: &[&str], arguments: &[String]) -> Result<()> {
    let folder = folder(repo, package);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut command = repo.command("cargo");
    command.args(["mutants", "--no-shuffle", "--colors", "never", "--jobs", "2"]);
    command.args(["--timeout", "120", "--baseline", "skip", "--output"]).arg(&folder);
    // The copy that is mutated has its own build folder, and none of what git ignores.
    command.args(["--gitignore", "true"]).env_remove("CARGO_TARGET_DIR");
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    command.env("CARGO_INCREMENTAL", "1");
    command.args(["--package", package, "--test-package", package]).args(arguments);
    let status = command.arg("--").args(tests).status().context("cannot start cargo mutants")?;
    // 0: all caught; 2: some missed; 3: some timed out, which is a way of being caught.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo mutants ended with {status}");
    Ok(())
}

fn accepted(text: &str) -> Result<BTreeMap<String, String>> {
    let file: Accepted = toml::from_str(text).context(ACCEPTED)?;
    let mut accepted = BTreeMap::new();
    for survivor in file.survivor {
        ensure!(!survivor.reason.trim().is_empty(), "{} has no reason", survivor.mutant);
        if let Some(_first) = accepted.insert(survivor.mutant.clone(), survivor.reason) {
            bail!("{} is accepted twice", survivor.mutant);
        }
    }
    Ok(accepted)
}

/// Survivors without a reason and, after a whole run, reasons without a survivor.
fn compare(
    accepted: &BTreeMap<String, String>,
    missed: &[String],
    is_whole: bool,
    findings: &mut Findings,
) {
    let missed: BTreeSet<&String> = missed.iter().collect();
    for mutant in missed.iter().filter(|mutant| !accepted.contains_key(**mutant)) {
        findings.add(format!("no test notices: {mutant}"));
    }
    if is_whole {
        for mutant in accepted.keys().filter(|mutant| !missed.contains(mutant)) {
            findings.add(format!("{ACCEPTED}: {mutant} is noticed by now, or no longer exists"));
        }
    }
}

/// `path:12:5: description` as `path: description`.
fn nameless(line: &str) -> String {
    let mut parts = line.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(_line), Some(_column), Some(description)) => {
            format!("{path}:{description}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_no_part_of_a_name() {
        assert_eq!(
            nameless("crates/core/src/a.rs:12:5: replace f -> bool with true: x"),
            "crates/core/src/a.rs: replace f -> bool with true: x"
        );
    }

    #[test]
    fn an_unknown_survivor_and_a_stale_reason_are_found() {
        let accepted = accepted(
            "[[survivor]]\nmutant = \"a.rs: x\"\nreason = \"equal\"\n\
             [[survivor]]\nmutant = \"b.rs: y\"\nreason = \"equal\"\n",
        )
        .unwrap();
        let missed = ["a.rs: x".to_owned(), "c.rs: z".to_owned()];
        let mut findings = Findings::default();
        compare(&accepted, &missed, true, &mut findings);
        assert_eq!(findings.lines().len(), 2);
        let mut findings = Findings::default();
        compare(&accepted, &missed, false, &mut findings);
        assert_eq!(findings.lines(), ["no test notices: c.rs: z"]);
    }

    #[test]
    fn a_reason_must_be_written_once() {
        let one = "[[survivor]]\nmutant = \"a.rs: x\"\nreason = \"equal\"\n";
        assert!(accepted(&format!("{one}{one}")).is_err());
        assert!(accepted(&one.replace("equal", " ")).is_err());
        assert!(accepted(&one.replace("reason", "because")).is_err());
    }
}
