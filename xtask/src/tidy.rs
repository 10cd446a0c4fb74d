//! `cargo xtask tidy`: rules about files that a reader would otherwise have to remember.
//!
//! Length and opening of files, names, forbidden words and paths, links, vectors, decision
//! records, what lies at the top of the repository, and the size of the trusted base.

use anyhow::Result;

use crate::findings::Findings;
use crate::repo::Repo;
use crate::{clauses, rust};

mod links;
mod names;
mod text;

/// No Rust file may be longer.
const LINES_MAX: usize = 800;
/// A longer one should be split.
const LINES_WARN: usize = 600;
/// Lines of core and verifier without tests: what a careful reader must read to trust a verdict.
const TRUSTED_LINES_MAX: usize = 16_000;
const TRUSTED: &[&str] = &["crates/core/src/", "crates/verifier/src/"];

/// Crates whose results two machines must agree on: no float outside their tests.
const FLOAT_FREE: &[&str] = &[
    "crates/core/src/",
    "crates/engine/src/",
    "crates/issuer/src/",
    "crates/log/src/",
    "crates/verifier/src/",
];

/// What may lie at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "LIMITATIONS.md",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "console",
    "crates",
    "deny.toml",
    "docs",
    "fuzz",
    "justfile",
    "models",
    "mutants.accepted.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "spec",
    "vectors",
    "xtask",
];

/// Applies every rule.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut findings = Findings::default();
    top_level(repo, &mut findings);
    let trusted = sources(repo, &mut findings)?;
    for path in repo.files() {
        text::lint(repo, path, &mut findings)?;
    }
    text::lint_lock(repo, &mut findings)?;
    links::lint(repo, &mut findings)?;
    decisions(repo, &mut findings)?;
    vectors(repo, &mut findings)?;
    println!("tidy: {} files", repo.files().len());
    println!("tidy: trusted base {trusted} lines without tests, budget {TRUSTED_LINES_MAX}");
    if trusted > TRUSTED_LINES_MAX {
        findings.add(format!("core and verifier have {trusted} lines, budget {TRUSTED_LINES_MAX}"));
    }
    findings.end("tidy")
}

fn top_level(repo: &Repo, findings: &mut Findings) {
    for path in repo.files() {
        let top = path.split('/').next().unwrap_or(path);
        if !TOP_LEVEL.contains(&top) {
            findings.add(format!("{top} is not known at the top of the repository"));
        }
    }
}

/// Rules about Rust files; yields the size of the trusted base.
fn sources(repo: &Repo, findings: &mut Findings) -> Result<usize> {
    let mut files = Vec::new();
    for path in repo.ending(".rs") {
        let text = repo.text(path)?;
        let facts = rust::parse(path, &text)?;
        files.push((path, text, facts));
    }
    let tests: Vec<String> = files
        .iter()
        .flat_map(|(path, _, facts)| facts.test_modules.iter().map(|name| module(path, name)))
        .collect();
    let is_test = |path: &str| {
        let inside = |test: &String| path.strip_prefix(test.as_str());
        path.contains("/tests/")
            || tests.iter().filter_map(inside).any(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let mut trusted = 0;
    for (path, text, facts) in &files {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.add(format!("{path} has {lines} lines, limit {LINES_MAX}"));
        } else if lines > LINES_WARN {
            eprintln!("tidy: warning: {path} has {lines} lines; split it above {LINES_WARN}");
        }
        if !text.starts_with("//! ") {
            findings.add(format!("{path}:1 does not open with `//!` and what the file is"));
        }
        for name in facts.names.iter().filter(|name| !names::is_allowed(name)) {
            findings.add(format!("{path}:{}: the name {} says nothing", name.line, name.text));
        }
        for line in &facts.ignored_lines {
            findings.add(format!("{path}:{line}: a test is ignored"));
        }
        if FLOAT_FREE.iter().any(|folder| path.starts_with(folder)) && !is_test(path) {
            for line in &facts.float_lines {
                findings.add(format!("{path}:{line}: a float where two machines must agree"));
            }
        }
        if TRUSTED.iter().any(|folder| path.starts_with(folder)) && !is_test(path) {
            trusted += lines - facts.test_lines;
        }
    }
    Ok(trusted)
}

/// Where the module `name` of the file at `path` lies, without its ending.
fn module(path: &str, name: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let folder = ["/lib", "/main", "/mod"].iter().find_map(|root| stem.strip_suffix(root));
    format!("{}/{name}", folder.unwrap_or(stem))
}

/// Decision records have a number of their own and stand in the index.
fn decisions(repo: &Repo, findings: &mut Findings) -> Result<()> {
    const FOLDER: &str = "docs/decisions/";
    let index = repo.text_if_any(&format!("{FOLDER}README.md"))?.unwrap_or_default();
    let mut numbers: Vec<&str> = Vec::new();
    for path in repo.ending(".md").filter(|path| path.starts_with(FOLDER)) {
        let name = path.trim_start_matches(FOLDER);
        if name == "README.md" {
            continue;
        }
        let Some((number, _)) = numbered(name, 4) else {
            findings.add(format!("{path} is not named NNNN-name.md"));
            continue;
        };
        if numbers.contains(&number) {
            findings.add(format!("{path}: the number {number} is taken"));
        }
        numbers.push(number);
        if !index.contains(&format!("({name})")) {
            findings.add(format!("{path} is not listed in {FOLDER}README.md"));
        }
    }
    Ok(())
}

/// Vectors are numbered without a gap, so that none can vanish unseen, and cite clauses that exist.
fn vectors(repo: &Repo, findings: &mut Findings) -> Result<()> {
    let clauses = clauses::read(repo, findings)?;
    let mut previous = (String::new(), 0);
    for vector in clauses::vectors(repo, findings)? {
        let parent = vector.folder.trim_end_matches(&vector.name).to_owned();
        let expected = if previous.0 == parent { previous.1 + 1 } else { 1 };
        let number = numbered(&vector.name, 3).and_then(|(number, _)| number.parse::<usize>().ok());
        if number != Some(expected) {
            findings.add(format!("{} should have the number {expected:03}", vector.folder));
        }
        previous = (parent, number.unwrap_or(expected));
        for id in vector.case.iter().flat_map(|case| case.clause.ids()) {
            if clauses.iter().all(|clause| clause.id != *id) {
                findings.add(format!("{} cites {id}, which is no clause", vector.folder));
            }
        }
    }
    Ok(())
}

/// Splits `NNN-name` with `digits` digits.
fn numbered(name: &str, digits: usize) -> Option<(&str, &str)> {
    let (number, rest) = name.split_once('-')?;
    let is_number = number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !rest.is_empty()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_exactly_its_digits_and_a_name() {
        assert_eq!(numbered("001-plain", 3), Some(("001", "plain")));
        for name in ["01-plain", "0001-plain", "001", "001-", "00a-plain", "-plain"] {
            assert_eq!(numbered(name, 3), None, "{name}");
        }
    }

    #[test]
    fn a_module_lies_beside_a_root_and_below_any_other_file() {
        assert_eq!(module("crates/core/src/lib.rs", "tests"), "crates/core/src/tests");
        assert_eq!(module("crates/core/src/cbor.rs", "tests"), "crates/core/src/cbor/tests");
    }

    #[test]
    fn the_top_level_list_is_sorted_and_has_no_name_twice() {
        assert!(TOP_LEVEL.is_sorted());
        assert!(TOP_LEVEL.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
