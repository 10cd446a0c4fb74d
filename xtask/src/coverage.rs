//! `cargo xtask coverage`: every demand of the specifications has a vector that breaks it.
//!
//! It reads clauses, `case.json` files and `spec/uncovered.toml`; that a vector really yields its
//! code is the business of the verifier's own vector test. Of the arithmetic, every clause has a
//! known answer that shows it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::clauses::{self, Case, Clause, Vector, Verdict};
use crate::findings::Findings;
use crate::repo::Repo;

#[cfg(test)]
mod tests;

/// Specifications that must exist and number their clauses.
const NUMBERED_SPECS: &[&str] = &["receipt", "policy"];

/// Demands without a reject vector, each with its reason.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Uncovered {
    /// Clause id to reason.
    #[serde(default)]
    clauses: BTreeMap<String, String>,
    /// Specification to reason: its vectors are of another form.
    #[serde(default)]
    specs: BTreeMap<String, String>,
    /// Clause id to reason: a clause of the arithmetic without a known answer.
    #[serde(default)]
    answers: BTreeMap<String, String>,
}

/// What a file of known answers says of itself.
#[derive(Debug, Deserialize)]
struct Answers {
    clauses: Vec<String>,
    cases: Vec<serde_json::Value>,
}

/// The specification whose every clause has a known answer, and where those lie.
const ANSWERED_SPEC: &str = "arithmetic";

/// Compares demands, vectors and rejection codes.
pub(crate) fn run(repo: &Repo, codes: &[&str]) -> Result<()> {
    let mut findings = Findings::default();
    let clauses = clauses::read(repo, &mut findings)?;
    let vectors = clauses::vectors(repo, &mut findings)?;
    let uncovered: Uncovered = match repo.text_if_any("spec/uncovered.toml")? {
        Some(text) => toml::from_str(&text)?,
        None => Uncovered::default(),
    };
    for spec in NUMBERED_SPECS {
        if clauses.iter().all(|clause| clause.spec != *spec) {
            findings.add(format!("spec/{spec}.md has no clause"));
        }
    }
    let table = compare_clauses(&clauses, &vectors, &uncovered, &mut findings);
    compare_cases(&clauses, &vectors, codes, &mut findings);
    let mut answers = vec![];
    let folder = format!("vectors/{ANSWERED_SPEC}/");
    for path in repo.ending(".json").filter(|path| path.starts_with(&folder)) {
        let found: Answers = serde_json::from_str(&repo.text(path)?).context(path.to_owned())?;
        answers.push((path, found));
    }
    compare_answers(&clauses, &answers, &uncovered, &mut findings);
    print!("{table}");
    println!("coverage: {} vectors, {} rejection codes", vectors.len(), codes.len());
    findings.end("coverage")
}

/// Every demand is broken by a reject vector or excused, and no excuse is stale.
fn compare_clauses(
    clauses: &[Clause],
    vectors: &[Vector],
    uncovered: &Uncovered,
    findings: &mut Findings,
) -> String {
    let broken: BTreeSet<&str> = vectors
        .iter()
        .filter(|vector| vector.verdict == Verdict::Reject)
        .filter_map(|vector| vector.case.as_ref())
        .flat_map(|case| case.clause.ids())
        .map(String::as_str)
        .collect();
    let mut specs: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for clause in clauses {
        let [all, demands, covered, excused] = specs.entry(&clause.spec).or_default();
        *all += 1;
        let excuse = uncovered.clauses.get(&clause.id);
        let is_broken = broken.contains(clause.id.as_str());
        if excuse.is_some() && (is_broken || !clause.is_demand) {
            findings.add(format!("spec/uncovered.toml: the excuse for {} is stale", clause.id));
        }
        if !clause.is_demand {
            continue;
        }
        *demands += 1;
        if is_broken {
            *covered += 1;
        } else if excuse.is_some() || uncovered.specs.contains_key(&clause.spec) {
            *excused += 1;
        } else {
            findings.add(format!(
                "spec/{}.md:{}: {} has neither a reject vector nor a written reason",
                clause.spec, clause.line, clause.id
            ));
        }
    }
    compare_excuses(clauses, uncovered, findings);
    let mut table = format!(
        "{:12} {:>8} {:>8} {:>8} {:>8}\n",
        "spec", "clauses", "demands", "vectors", "excused"
    );
    for (spec, [all, demands, covered, excused]) in specs {
        table += &format!("{spec:12} {all:>8} {demands:>8} {covered:>8} {excused:>8}\n");
    }
    table
}

/// Excuses are about something that exists and say why.
fn compare_excuses(clauses: &[Clause], uncovered: &Uncovered, findings: &mut Findings) {
    for (id, reason) in &uncovered.clauses {
        if clauses.iter().all(|clause| clause.id != *id) {
            findings.add(format!("spec/uncovered.toml: there is no clause {id}"));
        }
        if reason.trim().is_empty() {
            findings.add(format!("spec/uncovered.toml: {id} has no reason"));
        }
    }
    for (spec, reason) in &uncovered.specs {
        if NUMBERED_SPECS.contains(&spec.as_str()) {
            findings.add(format!("spec/uncovered.toml: {spec} cannot be excused as a whole"));
        }
        if reason.trim().is_empty() {
            findings.add(format!("spec/uncovered.toml: {spec} has no reason"));
        }
    }
}

/// Every clause of the arithmetic is shown by an answer or excused, and no excuse is stale.
fn compare_answers(
    clauses: &[Clause],
    answers: &[(&str, Answers)],
    uncovered: &Uncovered,
    findings: &mut Findings,
) {
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    let is_clause = |id: &str| clauses.iter().any(|clause| clause.id == id);
    for (path, answers) in answers {
        if answers.cases.is_empty() {
            findings.add(format!("{path} has no case"));
        }
        for id in &answers.clauses {
            if !is_clause(id) {
                findings.add(format!("{path}: there is no clause {id}"));
            }
            shown.insert(id);
        }
    }
    for clause in clauses.iter().filter(|clause| clause.spec == ANSWERED_SPEC) {
        let is_shown = shown.contains(clause.id.as_str());
        match uncovered.answers.contains_key(&clause.id) {
            false if !is_shown => findings.add(format!(
                "spec/{ANSWERED_SPEC}.md:{}: {} has neither a known answer nor a written reason",
                clause.line, clause.id
            )),
            true if is_shown => {
                findings.add(format!("spec/uncovered.toml: the excuse for {} is stale", clause.id))
            }
            _ => {}
        }
    }
    for (id, reason) in &uncovered.answers {
        if !is_clause(id) {
            findings.add(format!("spec/uncovered.toml: there is no clause {id}"));
        }
        if reason.trim().is_empty() {
            findings.add(format!("spec/uncovered.toml: {id} has no reason"));
        }
    }
}

/// Every case cites what exists, and every code is yielded by a case.
fn compare_cases(clauses: &[Clause], vectors: &[Vector], codes: &[&str], findings: &mut Findings) {
    let mut yielded: BTreeSet<&str> = BTreeSet::new();
    for vector in vectors {
        let Some(case) = &vector.case else { continue };
        for id in case.clause.ids() {
            if clauses.iter().all(|clause| clause.id != *id) {
                findings.add(format!("{}: there is no clause {id}", vector.folder));
            }
        }
        if case.clause.ids().is_empty() || case.what.trim().is_empty() {
            findings.add(format!("{}: case.json lacks a clause or `what`", vector.folder));
        }
        match vector.verdict {
            Verdict::Accept if case.code.is_some() => {
                findings.add(format!("{}: an accepted vector has a code", vector.folder));
            }
            Verdict::Accept => {}
            Verdict::Reject => compare_reject(vector, case, vectors, codes, findings),
        }
        yielded.extend(case.code.as_deref());
    }
    for code in codes.iter().filter(|code| !yielded.contains(*code)) {
        findings.add(format!("no reject vector yields the code {code}"));
    }
}

fn compare_reject(
    vector: &Vector,
    case: &Case,
    vectors: &[Vector],
    codes: &[&str],
    findings: &mut Findings,
) {
    let folder = &vector.folder;
    match case.code.as_deref() {
        None => findings.add(format!("{folder}: case.json has no code")),
        Some(code) if !codes.contains(&code) => {
            findings.add(format!("{folder}: the verifier has no code {code}"));
        }
        Some(_) => {}
    }
    let origin = case.differs_from.as_deref().and_then(|from| from.strip_prefix("accept/"));
    let is_known = |name: &str| {
        vectors.iter().any(|other| {
            other.spec == vector.spec && other.verdict == Verdict::Accept && other.name == name
        })
    };
    match origin {
        None => findings.add(format!("{folder}: `differs_from` names no `accept/NNN-name`")),
        Some(name) if !is_known(name) => {
            findings.add(format!("{folder}: differs from accept/{name}, which does not exist"));
        }
        Some(_) => {}
    }
}
