//! Estimates of influence: labelled, beside their accuracy, the same everywhere, and of what was computed alone.

use std::path::Path;

use serde_json::Value;
use tally_core::{cbor::Cbor as _, commitment::Field, receipt::Bundle};

use crate::common::{complaint, tally, text, told, told_with};

fn receipt(folder: &Path, question: &str, further: &[&str]) -> String {
    let path = folder.join("a.receipt").to_str().unwrap().to_owned();
    let arguments = ["ask", question, "--max-tokens", "24", "--seed", "3", "--receipt", &path];
    told(&folder.join("home"), &[&arguments[..], further].concat());
    path
}

/// A decimal with six places as millionths.
fn millionths(score: &Value) -> i64 {
    let text = score.as_str().unwrap();
    let (whole, places) = text.split_once('.').unwrap();
    assert_eq!(places.len(), 6, "{text}");
    format!("{whole}{places}").parse().unwrap()
}

#[test]
fn an_estimate_stands_beside_its_accuracy_and_is_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let path = receipt(folder.path(), "How do I create a table in SQL?", &[]);
    let said = told(&home, &["estimate", &path]);
    for further in
        [["--kernels", "portable", "--threads", "1"], ["--kernels", "detect", "--threads", "3"]]
    {
        let again = told(&home, &[&["estimate", path.as_str()][..], &further].concat());
        assert_eq!(again, said);
    }
    // Nobody's home is needed: the model is in the program.
    assert_eq!(told(&folder.path().join("none"), &["estimate", &path]), said);

    assert_eq!((&said["label"], &said["method"]), (&"estimated".into(), &"bias-gradient/1".into()));
    assert_eq!(said["influence_root"].as_str().unwrap().len(), 64);
    let all = said["estimates"].as_array().unwrap();
    let mut families = 0;
    for it in all {
        let below = it["families"].as_array().unwrap();
        families += below.len();
        assert_eq!(
            below.iter().map(|it| millionths(&it["score"])).sum::<i64>(),
            millionths(&it["score"])
        );
        assert!(below.is_sorted_by_key(|it| -millionths(&it["score"])));
        for each in below.iter().chain([it]) {
            assert_eq!(each["label"], "estimated");
            assert_eq!(each["lds"], said["accuracy"]["lds"]);
        }
    }
    assert!(all.is_sorted_by_key(|it| -millionths(&it["score"])));
    assert_eq!((all.len(), families), (4, 99));
    assert!(all.iter().any(|it| millionths(&it["score"]) != 0));

    let shown = text(&tally(&home, &["estimate", &path, "--all"]));
    let scores: Vec<&str> =
        shown.lines().filter(|it| it.trim_start().starts_with(['+', '-'])).collect();
    assert_eq!(scores.len(), 4 + 99, "{shown}");
    assert!(scores.iter().all(|line| line.contains("estimated, LDS ")), "{shown}");
    assert!(shown.contains("no statement of cause") && shown.contains("no money"), "{shown}");
    let short = text(&tally(&home, &["estimate", &path]));
    assert!(short.lines().count() < 40 && short.contains("families more"), "{short}");
}

#[test]
fn what_cannot_be_computed_again_is_not_estimated() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let path = receipt(folder.path(), "What is a lock?", &[]);
    let original = Bundle::parse(&std::fs::read(&path).unwrap()).unwrap();

    let mut changed = original.clone();
    *changed.openings.get_mut(&Field::Output).unwrap().value.last_mut().unwrap() ^= 1;
    std::fs::write(&path, changed.encode()).unwrap();
    let refused = told_with(1, &home, &["estimate", &path]);
    assert!(refused.get("estimates").is_none(), "{refused}");

    let mut hidden = original;
    hidden.openings.remove(&Field::Input);
    std::fs::write(&path, hidden.encode()).unwrap();
    let refused = tally(&home, &["estimate", &path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(complaint(&refused).contains("does not open"), "{}", complaint(&refused));
}

#[test]
fn answers_of_other_models_have_no_estimates() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    // The same weights in four bits are another model.
    let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/default/checkpoint");
    told(&home, &["model", "import", checkpoint, "--weights", "int4", "--name", "other"]);
    let path = receipt(folder.path(), "a", &["--model", "other"]);
    let refused = tally(&home, &["estimate", &path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(complaint(&refused).contains("no vectors of influence"), "{}", complaint(&refused));
    assert!(text(&refused).is_empty());
}
