//! Rules about the text of files: white space, unfinished work, and the machine it was written on.

use anyhow::Result;

use crate::findings::Findings;
use crate::repo::Repo;

/// Endings of files that people write.
const TEXT_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".py", ".sh", ".yml", "justfile", ".ci/run"];

/// Marks of unfinished work; written in halves so that this file does not hold them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders and options that exist on one machine alone.
const MACHINE: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("--index", "-url"),
    concat!("--extra-index", "-url"),
    concat!("--find", "-links"),
];

/// The only registry that the lock files may name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Applies the rules to one file, if it is one that people write.
pub(super) fn lint(repo: &Repo, path: &str, findings: &mut Findings) -> Result<()> {
    if path.starts_with("vectors/") || !TEXT_ENDINGS.iter().any(|end| path.ends_with(end)) {
        return Ok(());
    }
    let text = repo.text(path)?;
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        findings.add(format!("{path} does not end in exactly one line feed"));
    }
    for (number, line) in text.lines().enumerate() {
        for fault in faults(line) {
            findings.add(format!("{path}:{} {fault}", number + 1));
        }
    }
    Ok(())
}

fn faults(line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if line.contains('\t') {
        faults.push("has a tab".to_owned());
    }
    if line.ends_with([' ', '\r']) {
        faults.push("ends in white space".to_owned());
    }
    let words = || line.split(|letter: char| !letter.is_ascii_alphanumeric());
    for mark in UNFINISHED.iter().filter(|mark| words().any(|word| word == **mark)) {
        faults.push(format!("says {mark}"));
    }
    for place in MACHINE.iter().filter(|place| line.contains(**place)) {
        faults.push(format!("names {place}, which is of one machine"));
    }
    faults
}

/// Lock files name no source but the public registry.
pub(super) fn lint_lock(repo: &Repo, findings: &mut Findings) -> Result<()> {
    for path in repo.ending("Cargo.lock") {
        for (number, line) in repo.text(path)?.lines().enumerate() {
            let Some(source) = line.strip_prefix("source = ") else { continue };
            if source.trim_matches('"') != REGISTRY {
                findings.add(format!("{path}:{} has the source {source}", number + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found_and_a_plain_line_has_none() {
        assert_eq!(faults("let x = 1; // why"), [""; 0]);
        assert_eq!(faults("\tx"), ["has a tab"]);
        assert_eq!(faults("x "), ["ends in white space"]);
        assert_eq!(faults(concat!("// TO", "DO: x")).len(), 1);
        assert_eq!(faults(concat!("TO", "DOS")), [""; 0]);
        assert_eq!(faults(concat!("cd /ro", "ot/x")).len(), 1);
    }
}
