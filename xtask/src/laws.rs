//! `cargo xtask laws`: what holds of every split, output and book, in how many random cases it was tried.
//!
//! The laws are tests, which `cargo test` runs as well. Each says on a line of its own how many cases it
//! has drawn, and the table is made of those lines: a law that ran fewer cases than it must is a finding.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::findings::Findings;
use crate::repo::Repo;

/// Fewest cases of each law.
const CASES_MIN: u64 = 10_000;

/// The tests of one test program.
struct Laws {
    package: &'static str,
    /// What cargo is told of the program.
    program: &'static [&'static str],
    tests: &'static [&'static str],
}

const LAWS: [Laws; 3] = [
    Laws {
        package: "tally-core",
        program: &["--lib"],
        tests: &[
            "attribution::tests::nothing_is_lost_or_added_in_10_000_random_cases",
            "feedback::tests::ten_thousand_random_payouts_lose_nothing_and_keep_the_cap",
            "split::tests::a_million_splits_of_all_sizes_lose_nothing_and_add_nothing",
            "split::tests::dividing_a_name_among_neighbours_gains_and_loses_nothing",
            "split::tests::shares_add_up_and_each_is_its_exact_value_rounded",
        ],
    },
    Laws {
        package: "tally-attribution",
        program: &["--lib"],
        tests: &[
            "ownership::tests::a_contributor_that_spreads_documents_over_names_owns_the_same",
            "ownership::tests::cutting_a_document_into_pieces_never_gains",
            "ownership::tests::every_byte_has_one_place_and_the_rule_is_the_plain_one",
            "ownership::tests::joining_others_texts_takes_from_the_residual_alone_and_little_at_a_seam",
            "ownership::tests::registering_again_copying_and_registering_late_gain_nothing_and_lower_nobody",
        ],
    },
    Laws {
        package: "tally-attribution",
        program: &["--test", "ledger"],
        tests: &["random_operations_give_the_answers_and_the_state_of_a_naive_book"],
    },
];

/// Runs every law, prints the table, and fails if one does not hold or was hardly tried.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut findings = Findings::default();
    println!("    cases  result  law");
    for laws in &LAWS {
        let mut command = repo.command("cargo");
        command.args(["test", "--locked", "--package", laws.package]);
        command.args(laws.program).args(["--", "--exact", "--show-output"]).args(laws.tests);
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let cases = cases(&said);
        for law in laws.tests {
            let count = cases.get(law).copied();
            let result =
                if said.contains(&format!("test {law} ... ok\n")) { "holds" } else { "FAILED" };
            let shown = count.map_or_else(|| "none".into(), |count| count.to_string());
            println!("{shown:>9}  {result:<6}  {}", in_words(law));
            match count {
                Some(count) if count >= CASES_MIN => {}
                _ => {
                    findings.add(format_args!("{law}: {shown} cases, at least {CASES_MIN} are due"))
                }
            }
        }
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            findings.add(format_args!("{}: {}\n{said}{stderr}", laws.package, output.status));
        }
    }
    findings.end("laws")
}

/// How many cases each test said that it drew, from what `--show-output` shows.
fn cases(said: &str) -> BTreeMap<&str, u64> {
    let mut found = BTreeMap::new();
    let mut test = None;
    for line in said.lines() {
        let head = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        test = head.or(test);
        let count = line.strip_suffix(" cases").and_then(|count| count.parse::<u64>().ok());
        if let (Some(test), Some(count)) = (test, count) {
            *found.entry(test).or_default() += count;
        }
    }
    found
}

/// A test's name as the sentence that it is.
fn in_words(test: &str) -> String {
    test.rsplit("::").next().unwrap_or(test).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_counted_under_the_test_that_drew_them() {
        let said = "\nrunning 2 tests\n..\nsuccesses:\n\n---- a::one stdout ----\nwords\n10000 cases\n\n\
            ---- a::two stdout ----\n7 cases\n5 cases\n-3 cases\n\nsuccesses:\n    a::one\n";
        assert_eq!(cases(said), BTreeMap::from([("a::one", 10_000), ("a::two", 12)]));
        assert!(cases("10000 cases\n").is_empty());
    }

    #[test]
    fn a_law_is_told_as_a_sentence() {
        assert_eq!(in_words("ownership::tests::nobody_gains"), "nobody gains");
    }
}
