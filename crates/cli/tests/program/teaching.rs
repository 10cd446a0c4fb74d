//! Completions and manual pages, as the program gives them.

use std::fs;

use crate::common::tally;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = tally(home.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("inspect"), "{shell}");
    }
}

#[test]
fn an_unknown_shell_is_wrong_use() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(tally(home.path(), &["completions", "cobol"]).status.code(), Some(2));
}

#[test]
fn manual_pages_are_written_for_commands_and_their_subcommands() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("man/man1");
    let output = tally(home.path(), &["man", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    for page in ["tally.1", "tally-verify.1", "tally-log-proof.1"] {
        assert!(fs::read_to_string(out.join(page)).unwrap().contains(".TH"), "{page}");
    }
}

#[test]
fn manual_pages_are_not_written_where_a_file_stands() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "kept").unwrap();
    let output = tally(home.path(), &["man", "--out", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn every_command_teaches_by_an_example() {
    let home = tempfile::tempdir().unwrap();
    let output = tally(home.path(), &["man", "--out", home.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let mut seen = 0;
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains("Example"), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 30, "{seen} pages");
}
