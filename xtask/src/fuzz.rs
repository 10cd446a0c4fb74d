//! `cargo xtask fuzz`: coverage-guided fuzzing of every parser, on the stable compiler.
//!
//! libFuzzer needs LLVM's coverage pass, which stable `rustc` runs when its `-C` flags name it; no
//! nightly and no sanitizer is involved (the parsers have no unsafe code for one to find). Before
//! the parsers a canary runs that crashes on one eight-byte word: blind luck would need 2⁶⁴ tries,
//! so a fuzzer that finds it does follow coverage, and its silence about the others means something.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::repo::{Repo, stdout};

const MANIFEST: &str = "fuzz/Cargo.toml";
const CANARY: &str = "canary";
/// The canary falls within a second or two; a loaded machine gets more.
const CANARY_SECONDS: u64 = 60;
/// One input may take this long before it counts as a hang.
const INPUT_SECONDS_MAX: u64 = 10;
/// Memory above which an input counts as a size bomb.
const MEMORY_MIB_MAX: u64 = 2_048;

const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// What fuzzing one target came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) target: String,
    pub(crate) seconds: u64,
    /// Inputs tried.
    pub(crate) runs: u64,
    /// Edges of the program reached.
    pub(crate) edges: u64,
}

/// Fuzzes every target, or those named, for `seconds` together.
pub(crate) fn run(repo: &Repo, seconds: u64, only: &[String]) -> Result<Vec<Outcome>> {
    let mut programs = build(repo)?;
    let canary = programs.remove(CANARY).context("fuzz/Cargo.toml has no canary")?;
    ensure!(!programs.is_empty(), "fuzz/Cargo.toml has no target but the canary");
    for name in only {
        ensure!(programs.contains_key(name), "there is no fuzz target {name}");
    }
    programs.retain(|name, _| only.is_empty() || only.contains(name));
    find_canary(repo, canary)?;
    let each = (seconds / u64::try_from(programs.len())?).max(1);
    let mut outcomes = Vec::new();
    for (target, program) in programs {
        let outcome = fuzz(repo, target, program, each)?;
        println!(
            "fuzz: {:14} {each:>6} s {:>12} inputs {:>6} edges",
            outcome.target, outcome.runs, outcome.edges
        );
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// How many parsers there are to fuzz.
pub(crate) fn count(repo: &Repo) -> Result<usize> {
    let manifest: toml::Value = toml::from_str(&repo.text(MANIFEST)?)?;
    let targets = manifest.get("bin").and_then(toml::Value::as_array).context("no target")?;
    Ok(targets.len().saturating_sub(1))
}

/// Folders with first inputs for a target: its own, and those that the manifest names.
fn seeds(repo: &Repo, target: &str) -> Result<Vec<PathBuf>> {
    let manifest: toml::Value = toml::from_str(&repo.text(MANIFEST)?)?;
    let named = ["package", "metadata", "seeds", target]
        .iter()
        .try_fold(&manifest, |table, key| table.get(key))
        .and_then(toml::Value::as_array);
    let own = format!("fuzz/seeds/{target}");
    let named = named.into_iter().flatten().filter_map(toml::Value::as_str);
    let folders = named.chain([own.as_str()]).map(|folder| repo.root().join(folder));
    Ok(folders.filter(|folder| folder.is_dir()).collect())
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds every target with coverage instrumentation; yields the programs by name.
fn build(repo: &Repo) -> Result<BTreeMap<String, PathBuf>> {
    let version = stdout(repo.command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = repo.command("cargo");
    // With a target named, the flags reach neither build scripts nor procedural macros.
    command
        .args(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target"])
        .arg(host.context("rustc does not name its host")?)
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .stderr(std::process::Stdio::inherit());
    let mut programs = BTreeMap::new();
    for line in stdout(&mut command)?.lines() {
        let message: Message = serde_json::from_str(line)?;
        if let (Some(program), Some(target)) = (message.executable, message.target) {
            programs.insert(target.name, program);
        }
    }
    Ok(programs)
}

/// Shows that this build finds a planted crash.
fn find_canary(repo: &Repo, program: PathBuf) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = fuzzer(repo, program, CANARY_SECONDS)
        .arg(format!("-artifact_prefix={}/", folder.path().display()))
        .arg("-seed=1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_found = !output.status.success() && text.contains("the canary fell");
    ensure!(is_found, "the fuzzer did not find its planted crash: it is blind\n{text}");
    let runs = text.lines().filter_map(|line| line.strip_prefix("#")).next_back();
    let runs = runs.and_then(|line| line.split_whitespace().next()).unwrap_or("?");
    println!("fuzz: planted crash found after about {runs} inputs");
    Ok(())
}

/// Fuzzes one target, keeping its corpus in `fuzz/corpus` and starting from `fuzz/seeds`.
fn fuzz(repo: &Repo, target: String, program: PathBuf, seconds: u64) -> Result<Outcome> {
    let corpus = repo.root().join("fuzz/corpus").join(&target);
    let artifacts = repo.root().join("fuzz/artifacts").join(&target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = fuzzer(repo, program, seconds);
    command.arg(format!("-artifact_prefix={}/", artifacts.display())).arg(&corpus);
    let output = command.args(seeds(repo, &target)?).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("fuzz target {target} failed; its input lies in fuzz/artifacts/{target}\n{text}");
    }
    let runs = number_after(&text, "stat::number_of_executed_units:");
    let edges = number_after(&text, " cov: ");
    ensure!(runs > 0 && edges > 0, "fuzz target {target} tried nothing\n{text}");
    Ok(Outcome { target, seconds, runs, edges })
}

fn fuzzer(repo: &Repo, program: PathBuf, seconds: u64) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(repo.root())
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg("-print_final_stats=1");
    command
}

/// The number after the last occurrence of `label`, 0 if there is none.
fn number_after(text: &str, label: &str) -> u64 {
    let after = text.rsplit_once(label).map_or("", |(_, after)| after.trim_start());
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after.get(..digits).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_after_a_label_is_read() {
        let text = "#2 INITED cov: 12 ft: 3\n#9 DONE cov: 34 ft: 9\nstat::x:   56\n";
        assert_eq!(number_after(text, " cov: "), 34);
        assert_eq!(number_after(text, "stat::x:"), 56);
        assert_eq!(number_after(text, "stat::y:"), 0);
    }
}
