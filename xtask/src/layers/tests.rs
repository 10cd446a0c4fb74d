//! The table is read strictly, and each kind of forbidden edge is found.

use std::collections::BTreeSet;

use super::manifest::{Dependency, Manifest, Section};
use super::*;

const TABLE: &str = "\
| crate | may depend on | std | unsafe | async | state |
|---|---|---|---|---|---|
| core | none of ours | no_std + alloc | forbid | no | here |
| engine | core | yes | only `src/kernel/`, `src/map.rs` | no | here |
| verifier | core | no_std + alloc | forbid | no | here |
| server | core, engine | yes | forbid | yes | planned |
| cli | all | yes | forbid | only to start the server | here |

| another | table |
";

fn manifest(row: &str, dependencies: &[(&str, Section)]) -> Manifest {
    Manifest {
        row: row.to_owned(),
        package: table::package_of(row),
        folder: format!("crates/{row}"),
        root_file: format!("crates/{row}/src/lib.rs"),
        dependencies: dependencies
            .iter()
            .map(|(package, section)| Dependency {
                package: (*package).to_owned(),
                section: *section,
            })
            .collect(),
        async_reached: BTreeSet::new(),
        inherits_lints: true,
        has_default_feature: false,
    }
}

fn edges(row: &str, dependencies: &[(&str, Section)]) -> Vec<String> {
    let rows = table::parse(TABLE).unwrap();
    let found = rows.iter().find(|r| r.name == row).unwrap();
    let mut findings = Findings::default();
    let manifest = manifest(row, dependencies);
    compare_edges(found, &rows, &manifest, &mut findings);
    compare_async(found, &manifest, &mut findings);
    findings.lines().to_vec()
}

#[test]
fn the_table_is_read_to_its_end_and_no_further() {
    let rows = table::parse(TABLE).unwrap();
    assert_eq!(rows.len(), 5);
    assert!(rows[0].is_no_std && rows[3].planned);
    assert!(rows[1].unsafe_code.grants("src/kernel/avx512.rs"));
    assert!(rows[1].unsafe_code.grants("src/map.rs"));
    assert!(!rows[1].unsafe_code.grants("src/map.rs2"));
    assert!(!rows[0].unsafe_code.grants("src/kernel/avx512.rs"));
}

#[test]
fn a_row_that_names_itself_a_lower_row_or_an_unknown_word_is_refused() {
    for (from, to) in [
        ("| core | none of ours |", "| core | engine |"),
        ("| core | none of ours |", "| core | core |"),
        ("| engine | core |", "| core | core |"),
        ("| no | here |", "| maybe | here |"),
        ("| no | here |", "| no | somewhere |"),
        ("| forbid | no |", "| sometimes | no |"),
        ("| crate |", "| crates |"),
    ] {
        assert!(table::parse(&TABLE.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn a_granted_edge_is_silent_and_every_other_edge_is_named() {
    assert_eq!(edges("engine", &[("tally-core", Section::Normal)]), [""; 0]);
    assert_eq!(edges("cli", &[("tally-engine", Section::Normal)]), [""; 0]);
    assert_eq!(
        edges("core", &[("tally-engine", Section::Normal)]),
        ["core must not depend on engine (dependencies)"]
    );
    assert_eq!(
        edges("core", &[("tally-engine", Section::Build)]),
        ["core must not depend on engine (build-dependencies)"]
    );
    assert_eq!(
        edges("engine", &[("tally", Section::Normal)]),
        ["engine must not depend on cli (dependencies)"]
    );
}

#[test]
fn a_test_may_ask_the_verifier_but_nothing_higher() {
    assert_eq!(edges("engine", &[("tally-verifier", Section::Dev)]), [""; 0]);
    assert_eq!(
        edges("engine", &[("tally-verifier", Section::Normal)]),
        ["engine must not depend on verifier (dependencies)"]
    );
    assert_eq!(
        edges("verifier", &[("tally-engine", Section::Dev)]),
        ["verifier must not depend on engine (dev-dependencies)"]
    );
}

#[test]
fn an_async_library_is_found_in_every_section() {
    for section in [Section::Normal, Section::Build, Section::Dev] {
        assert_eq!(
            edges("core", &[("tokio", section)]),
            ["core is not async, but depends on tokio"]
        );
    }
    assert_eq!(edges("cli", &[("tokio", Section::Normal)]), [""; 0]);
}

#[test]
fn a_crate_without_a_row_and_a_planned_crate_that_exists_are_found() {
    let rows = table::parse(TABLE).unwrap();
    let mut findings = Findings::default();
    let members: Vec<_> = ["core", "engine", "verifier", "server", "stray"]
        .iter()
        .map(|name| manifest(name, &[]))
        .collect();
    compare_members(&rows, &members, &mut findings);
    assert_eq!(
        findings.lines(),
        [
            "server exists, but the table says planned",
            "stray has no row in the table",
            "cli stands in the table, but there is no such crate",
        ]
    );
}
