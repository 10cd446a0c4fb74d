//! Answers from texts as a person gets them: added, asked, cited, paid, explained and replayed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    common::{complaint, tally, told},
    encoder,
};

const LOCKS: &str =
    "A lock keeps others out of a table.\n\nA transaction holds its lock until it ends.\n";
const VIEWS: &str = "A view is a query with a name.\n";
const CATS: &str = "The cat sleeps in the sun all day.\n";

/// A home with an encoder, and a folder of three documents.
fn begin() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (home, texts) = (folder.path().join("home"), folder.path().join("texts"));
    let model = folder.path().join("encoder");
    encoder::write(&model, &[LOCKS, VIEWS, CATS, "what does do who a question"]);
    told(&home, &["model", "import", model.to_str().unwrap(), "--name", "tiny"]);
    fs::create_dir(&texts).unwrap();
    for (name, text) in [("locks.txt", LOCKS), ("views.txt", VIEWS), ("cats.txt", CATS)] {
        fs::write(texts.join(name), text).unwrap();
    }
    (folder, home, texts)
}

fn add(home: &Path, texts: &Path, further: &[&str]) -> Value {
    let base = ["rag", "add", texts.to_str().unwrap(), "--model", "tiny", "--passage-bytes", "64"];
    told(home, &[&base, further].concat())
}

/// Asks for 8 tokens, and more by `further`.
fn ask(home: &Path, receipt: &Path, further: &[&str]) -> Value {
    ask_for(home, receipt, "8", further)
}

fn ask_for(home: &Path, receipt: &Path, count: &str, further: &[&str]) -> Value {
    let base = ["rag", "ask", "what does a lock do", "--max-tokens", count, "--seed", "7"];
    told(home, &[&base, ["--receipt", receipt.to_str().unwrap()].as_slice(), further].concat())
}

#[test]
fn the_same_texts_give_the_same_bytes_and_the_nearest_passages_are_cited() {
    let (folder, home, texts) = begin();
    let [first, second] = ["a", "b"].map(|name| add(&home, &texts, &["--name", name]));
    assert_eq!((&first["documents"], &first["passages"]), (&3.into(), &4.into()));
    assert_eq!(first["digest"], second["digest"]);
    let third = add(&home, &texts, &["--name", "c", "--threads", "3", "--kernels", "portable"]);
    assert_eq!(first["digest"], third["digest"]);
    let twice =
        tally(&home, &["rag", "add", texts.to_str().unwrap(), "--model", "tiny", "--name", "a"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(complaint(&twice).contains("rag forget a"), "{}", complaint(&twice));
    assert_eq!(told(&home, &["rag", "list"])["passages"].as_array().unwrap().len(), 3);

    let answer = ask(&home, &folder.path().join("a.receipt"), &["--from", "a", "--top", "2"]);
    let cited = answer["citations"].as_array().unwrap();
    assert_eq!(cited.len(), 2);
    assert_eq!(cited[0]["name"], "locks.txt");
    assert_eq!((&cited[0]["start"], &cited[0]["end"]), (&0.into(), &35.into()));
    assert!(cited[0]["score"].as_i64() > cited[1]["score"].as_i64());
    assert_eq!(cited[0]["dataset"], Value::Null, "nothing is registered");
    // The same passages in three sets are found once.
    let all = ask(&home, &folder.path().join("b.receipt"), &["--top", "9"]);
    assert_eq!(all["citations"].as_array().unwrap().len(), 4);
    for name in ["a", "b", "c"] {
        told(&home, &["rag", "forget", name]);
    }
    let none = tally(&home, &["rag", "ask", "x"]);
    assert!(complaint(&none).contains("hint: `tally rag add"), "{}", complaint(&none));
}

#[test]
fn passages_that_do_not_fit_the_context_are_left_out() {
    let (folder, home, texts) = begin();
    add(&home, &texts, &["--name", "a"]);
    let long = ask_for(&home, &folder.path().join("a.receipt"), "430", &["--top", "9"]);
    assert!(long["citations"].as_array().unwrap().len() < 4);
    let none = tally(&home, &["rag", "ask", "what", "--max-tokens", "505"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(complaint(&none).contains("none of the nearest passages fits"), "{}", complaint(&none));
}

/// Registers the document of locks alone.
fn register(home: &Path, folder: &Path) -> String {
    let registered = folder.join("registered");
    fs::create_dir(&registered).unwrap();
    fs::write(registered.join("locks.txt"), LOCKS).unwrap();
    let path = registered.to_str().unwrap();
    let dataset =
        told(home, &["contribute", "dataset", path, "--name", "Locks", "--licence", "CC0-1.0"]);
    dataset["manifest"].as_str().unwrap().to_owned()
}

#[test]
fn registered_documents_are_paid_as_context_and_others_are_not() {
    let (folder, home, texts) = begin();
    add(&home, &texts, &["--name", "own"]);
    let manifest = register(&home, folder.path());
    let split = folder.path().join("split.toml");
    told(&home, &["split", "new", "--out", split.to_str().unwrap()]);
    let policy = fs::read_to_string(&split).unwrap();
    fs::write(home.join("split.toml"), policy.replace("input_token = 0", "input_token = 1000"))
        .unwrap();
    let path = folder.path().join("a.receipt");
    let answer = ask(&home, &path, &["--top", "4"]);
    let receipt = path.to_str().unwrap();
    let cited = answer["citations"].as_array().unwrap();
    let bound: Vec<&Value> = cited.iter().filter(|it| it["dataset"] == manifest.as_str()).collect();
    assert_eq!((bound.len(), cited.len()), (2, 4));
    assert!(bound.iter().all(|it| it["name"] == "locks.txt"));

    let verified = told(&home, &["verify", receipt]);
    let gaps = verified["not_established"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["code"] == "context"), "{verified}");
    let traced = told(&home, &["trace", receipt]);
    let paid = traced["price"]["transfers"].as_array().unwrap();
    let behind = traced["behind"].as_array().unwrap();
    let context: Vec<_> = behind.iter().filter(|it| it["role"] == "context").collect();
    assert_eq!((context.len(), &context[0]["manifest"]), (1, &manifest.as_str().into()));
    let bound = paid.iter().find(|it| it["label"] == "bound").unwrap();
    assert!(bound["amount"].as_u64().unwrap() > 0, "{paid:?}");

    let replayed = told(&home, &["replay", receipt]);
    let same = replayed["same"].to_string();
    assert!(same.contains("2 of 2 passages paid as context stand in the request"), "{same}");
    let bare = folder.path().join("bare");
    let elsewhere = told(&bare, &["replay", receipt]);
    let open = elsewhere["not_compared"].to_string();
    assert!(open.contains("2 of 2 passages paid as context"), "{open}");
}

#[test]
fn the_texts_of_a_registered_dataset_are_added_from_its_index() {
    let (folder, home, _) = begin();
    let manifest = register(&home, folder.path());
    let base = ["rag", "add", "--model", "tiny", "--of", &manifest[..8]];
    let added = told(&home, &base);
    assert_eq!((&added["documents"], &added["name"]), (&1.into(), &manifest[..16].into()));
    let answer = ask(&home, &folder.path().join("a.receipt"), &[]);
    assert_eq!(answer["citations"][0]["dataset"], manifest.as_str());
    let unknown = tally(&home, &["rag", "add", "--model", "tiny", "--of", "0000"]);
    assert_eq!(unknown.status.code(), Some(2));
}

fn number(value: &Value) -> i128 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn removals_are_explained_exactly_and_equally_everywhere() {
    let (folder, home, texts) = begin();
    add(&home, &texts, &["--name", "a"]);
    let path = folder.path().join("a.receipt");
    ask(&home, &path, &["--top", "4"]);
    let receipt = path.to_str().unwrap();
    let explained = told(&home, &["rag", "explain", receipt]);
    assert_eq!(
        (&explained["label"], &explained["form"]),
        (&"interventional".into(), &"tally-rag/1".into())
    );
    let documents = explained["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 3);
    let locks = documents.iter().find(|it| it["name"] == "locks.txt").unwrap();
    assert_eq!(locks["passages"].as_array().unwrap().len(), 2, "a document goes as a whole");
    let sum: i128 = documents.iter().map(|it| number(&it["shapley"]["numerator"])).sum();
    assert_eq!(sum, 6 * (number(&explained["whole"]) - number(&explained["none"])));
    assert!(documents.iter().any(|it| number(&it["leave_one_out"]) != 0));
    let portable =
        told(&home, &["rag", "explain", receipt, "--threads", "3", "--kernels", "portable"]);
    assert_eq!(explained, portable);
    // Nothing but the receipt and the model is needed.
    told(&home, &["rag", "forget", "a"]);
    assert_eq!(told(&folder.path().join("bare"), &["rag", "explain", receipt]), explained);
    let shown = tally(&home, &["rag", "explain", receipt]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("exactly") && shown.contains("this seed"), "{shown}");
}

#[test]
fn a_receipt_of_a_plain_question_is_not_explained() {
    let (folder, home, _) = begin();
    let path = folder.path().join("a.receipt");
    let receipt = path.to_str().unwrap();
    told(&home, &["ask", "What is a lock?", "--max-tokens", "4", "--receipt", receipt]);
    let refused = tally(&home, &["rag", "explain", receipt]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(complaint(&refused).contains("not in the form"), "{}", complaint(&refused));
    let text = folder.path().join("texts/locks.txt");
    let decoder = tally(&home, &["rag", "add", text.to_str().unwrap(), "--model", "default"]);
    assert!(complaint(&decoder).contains("makes no vectors"), "{}", complaint(&decoder));
}
