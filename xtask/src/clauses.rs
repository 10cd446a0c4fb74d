//! The numbered clauses of `spec/` and the vector folders that cite them.
//!
//! A clause opens with its id in bold at the start of a line (`**R-12** A verifier MUST ...`) and
//! ends before the next clause or heading. A vector is a folder
//! `vectors/<spec>/{accept,reject}/NNN-name` with a `case.json`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::findings::Findings;
use crate::repo::Repo;

/// Words that make a clause a demand (RFC 2119, in capitals as RFC 8174 has it).
const DEMANDS: &[&str] = &["MUST", "SHALL", "REQUIRED"];

/// One clause of a specification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) id: String,
    /// File stem of the specification.
    pub(crate) spec: String,
    pub(crate) line: usize,
    /// Whether the clause demands something.
    pub(crate) is_demand: bool,
}

/// Whether a vector is to be accepted or rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Reject,
}

/// What `case.json` says of a vector.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) clause: Cited,
    /// The rejection's code; absent on a vector to be accepted.
    pub(crate) code: Option<String>,
    /// The accepted vector that this one differs from, as `accept/NNN-name`.
    pub(crate) differs_from: Option<String>,
    /// One sentence: what the vector shows, or how it differs.
    #[serde(default)]
    pub(crate) what: String,
}

/// One clause or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cited {
    One(String),
    Many(Vec<String>),
}

impl Cited {
    pub(crate) fn ids(&self) -> &[String] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// One vector folder.
#[derive(Debug)]
pub(crate) struct Vector {
    /// Relative to the repository.
    pub(crate) folder: String,
    /// The folder under `vectors/`.
    pub(crate) spec: String,
    pub(crate) verdict: Verdict,
    /// `NNN-name`.
    pub(crate) name: String,
    pub(crate) case: Option<Case>,
}

/// Reads every clause of every file of `spec/`.
pub(crate) fn read(repo: &Repo, findings: &mut Findings) -> Result<Vec<Clause>> {
    let mut clauses = Vec::new();
    for path in repo.ending(".md").filter(|path| path.starts_with("spec/")) {
        clauses.extend(parse(path, &repo.text(path)?, findings));
    }
    let mut seen: BTreeMap<&str, &Clause> = BTreeMap::new();
    for clause in &clauses {
        if let Some(first) = seen.insert(&clause.id, clause) {
            findings.add(format!(
                "spec/{}.md:{}: clause {} stands already in spec/{}.md:{}",
                clause.spec, clause.line, clause.id, first.spec, first.line
            ));
        }
    }
    Ok(clauses)
}

fn parse(path: &str, text: &str, findings: &mut Findings) -> Vec<Clause> {
    let spec = path.trim_start_matches("spec/").trim_end_matches(".md").to_owned();
    let mut clauses: Vec<Clause> = Vec::new();
    let mut is_inside = false;
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        if let Some(id) = clause_id(line) {
            is_inside = true;
            let id = id.to_owned();
            clauses.push(Clause { id, spec: spec.clone(), line: line_number, is_demand: false });
        } else if line.starts_with('#') {
            is_inside = false;
        }
        if !demands(line) {
            continue;
        }
        match clauses.last_mut() {
            Some(clause) if is_inside => clause.is_demand = true,
            // A specification that numbers its clauses has no demand without a number.
            Some(_) if !is_boilerplate(line) => {
                findings.add(format!("{path}:{line_number} demands something outside a clause"));
            }
            _ => {}
        }
    }
    clauses
}

/// The id in `**R-12**` at the start of a line or list item.
fn clause_id(line: &str) -> Option<&str> {
    let bold = line.trim_start().trim_start_matches("- ").strip_prefix("**")?;
    let (id, _) = bold.split_once("**")?;
    let id = id.trim_end_matches(['.', ':']);
    let (letters, digits) = id.split_once('-')?;
    let is_letters = !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_uppercase());
    let is_digits = digits.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'.');
    (is_letters && is_digits).then_some(id)
}

fn demands(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| DEMANDS.contains(&word))
}

/// The sentence that says what the capital words mean.
fn is_boilerplate(line: &str) -> bool {
    line.contains("RFC 2119") || line.contains("RFC 8174") || line.contains("BCP 14")
}

/// Reads every vector folder.
pub(crate) fn vectors(repo: &Repo, findings: &mut Findings) -> Result<Vec<Vector>> {
    let mut folders: BTreeMap<String, (String, Verdict, String)> = BTreeMap::new();
    for path in repo.files().iter().filter(|path| path.starts_with("vectors/")) {
        let mut parts = path.split('/').skip(1);
        let (Some(spec), Some(verdict), Some(name), Some(_)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let verdict = match verdict {
            "accept" => Verdict::Accept,
            "reject" => Verdict::Reject,
            _ => continue,
        };
        let folder = path.split('/').take(4).collect::<Vec<_>>().join("/");
        folders.insert(folder, (spec.to_owned(), verdict, name.to_owned()));
    }
    let mut vectors = Vec::new();
    for (folder, (spec, verdict, name)) in folders {
        let path = format!("{folder}/case.json");
        let case = match repo.text_if_any(&path)? {
            None => {
                findings.add(format!("{folder} has no case.json"));
                None
            }
            Some(text) => Some(serde_json::from_str(&text).context(path)?),
        };
        vectors.push(Vector { folder, spec, verdict, name, case });
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_where_they_open_and_demands_belong_to_them() {
        let text = "# Title\nThe word MUST is as in RFC 2119.\n\n**R-1** One MUST do.\n\
            and **R-9** is only mentioned\n\n- **R-2** One may\n  and SHALL rest.\n**R-3** MUSTARD.\n\
            ```\n**R-4** MUST\n```\n## Next\nOne MUST not say this here.\n**Bold** MUST\n";
        let mut findings = Findings::default();
        let clauses = parse("spec/receipt.md", text, &mut findings);
        let found: Vec<_> = clauses.iter().map(|c| (c.id.as_str(), c.line, c.is_demand)).collect();
        assert_eq!(found, [("R-1", 4, true), ("R-2", 7, true), ("R-3", 9, false)]);
        assert_eq!(
            findings.lines(),
            [
                "spec/receipt.md:14 demands something outside a clause",
                "spec/receipt.md:15 demands something outside a clause",
            ]
        );
    }

    #[test]
    fn an_id_has_capital_letters_a_hyphen_and_a_number() {
        for (line, id) in [
            ("**R-12** x", Some("R-12")),
            ("**R-12.** x", Some("R-12")),
            ("**A-3b** x", Some("A-3b")),
            ("**R-** x", None),
            ("**-1** x", None),
            ("**r-1** x", None),
            ("x **R-1** x", None),
            ("**R-1 x", None),
        ] {
            assert_eq!(clause_id(line), id, "{line}");
        }
    }
}
