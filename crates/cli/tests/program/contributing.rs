//! Contributions as people make them: signed, registered, indexed, and found in answers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::common::{refused, tally, text, told};

const QUESTION: [&str; 6] = ["ask", "What is a lock?", "--temperature", "0", "--max-tokens", "60"];

/// A folder with one text, given as the words around a piece of something else.
fn texts(folder: &Path, name: &str, piece: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("page.txt"), format!("{name} wrote: {piece} And no more.")).unwrap();
    path
}

/// An answer of the default model that is always the same, its text, and its receipt.
fn answer(home: &Path, receipt: &Path) -> (Value, String) {
    let mut arguments = QUESTION.to_vec();
    arguments.extend(["--receipt", receipt.to_str().unwrap()]);
    let answer = told(home, &arguments);
    let text = answer["text"].as_str().unwrap().to_owned();
    (answer, text)
}

#[test]
fn an_answer_that_repeats_registered_words_says_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (node, first) = (at("node"), at("first.receipt"));
    let (_, said) = answer(&node, &first);
    let said: Vec<char> = said.chars().collect();
    let piece = |from: usize, to: usize| said[from..to].iter().collect::<String>();
    let nobody = told(&node, &["trace", first.to_str().unwrap()]);
    assert_eq!(nobody["residual_bytes"], nobody["text"].as_str().unwrap().len());

    // Two people who never saw the answer's node, and a node that charges.
    for (name, words) in [("ann", piece(0, 40)), ("bob", piece(44, 84))] {
        let (own, texts) = (at(&format!("home-{name}")), texts(folder.path(), name, &words));
        let (texts, manifest) = (texts.to_str().unwrap(), at(&format!("{name}.contribution")));
        let manifest = manifest.to_str().unwrap();
        let words = ["contribute", "dataset", texts, "--name", name, "--licence", "CC-BY-4.0"];
        told(&own, &[&words[..], &["--out", manifest]].concat());
        told(&node, &["register", manifest, "--texts", texts]);
    }
    told(&node, &["contribute", "node", "--name", "The node"]);
    let policy = node.join("split.toml");
    told(&node, &["split", "new", "--out", policy.to_str().unwrap()]);
    let free = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, free.replace("output_token = 0", "output_token = 1000")).unwrap();

    let second = at("second.receipt");
    let (_, again) = answer(&node, &second);
    assert_eq!(again, said.iter().collect::<String>(), "registering changes no answer");
    let traced = told(&node, &["trace", second.to_str().unwrap()]);
    let names: Vec<&str> =
        traced["sources"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["ann", "bob"], "{traced}");
    assert!(traced["sources"][0]["bytes"].as_u64().unwrap() >= 40, "{traced}");
    assert_eq!(traced["notes"][0], "traced again here, in the same indices: the same spans");
    let transfers = traced["price"]["transfers"].as_array().unwrap();
    let sum: u64 = transfers.iter().filter_map(|it| it["amount"].as_u64()).sum();
    assert_eq!(Some(sum), traced["price"]["amount"].as_u64());
    assert!(sum > 0, "{traced}");
    for label in ["bound", "observed", "policy", "residual"] {
        assert!(transfers.iter().any(|it| it["label"] == label), "{label}: {traced}");
    }

    // Somebody without the indices verifies the spans from the receipt alone.
    let proved = at("proved.receipt");
    let (second, proved) = (second.to_str().unwrap(), proved.to_str().unwrap());
    told(&node, &["trace", second, "--prove", proved]);
    let policy = node.join("policy.toml");
    let verified = told(&at("nowhere"), &["verify", proved, "--policy", policy.to_str().unwrap()]);
    let codes = |list: &str| -> Vec<String> {
        let listed = verified[list].as_array().unwrap().iter();
        listed.filter_map(|it| it["code"].as_str().map(Into::into)).collect()
    };
    for code in ["attribution", "spans"] {
        assert!(codes("established").contains(&code.to_owned()), "{code}: {verified}");
    }
    assert!(codes("not_established").contains(&"index-roots".to_owned()), "{verified}");
    let replayed = told(&node, &["replay", proved]);
    let same = replayed["same"].as_array().unwrap();
    assert!(same.iter().any(|it| it == "the text that was traced is what the output tokens say"));
}

#[test]
fn what_cannot_be_registered_is_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let mine = texts(folder.path(), "mine", "some words");
    let other = texts(folder.path(), "other", "other words");
    let (mine, other) = (mine.to_str().unwrap(), other.to_str().unwrap());
    let manifest = folder.path().join("mine.contribution");
    let manifest = manifest.to_str().unwrap();
    let dataset = ["contribute", "dataset", mine, "--name", "Mine"];
    let with = |further: &[&'static str]| [&dataset[..], further].concat();

    let licence = refused(&home, &with(&["--licence", "Apache 2"]));
    assert!(licence.contains("did you mean Apache-2.0"), "{licence}");
    let parent = refused(&home, &with(&["--parent", "abcdef=10001"]));
    assert!(parent.contains("expected 0 to 10000 basis points, found `10001`"), "{parent}");
    let parent = refused(&home, &with(&["--parent", "abcdef=1"]));
    assert!(parent.contains("no registered contribution begins with `abcdef`"), "{parent}");
    let payee = refused(&home, &with(&["--payee", "did:key:z6Mk"]));
    assert!(payee.contains("expected `commons` or a did:key"), "{payee}");

    told(&home, &[&dataset[..], &["--out", manifest]].concat());
    let foreign = refused(&home, &["register", manifest, "--texts", other]);
    assert!(foreign.contains("the texts yield documents root"), "{foreign}");
    let registered = told(&home, &["register", manifest, "--texts", mine]);
    let twice = refused(&home, &["register", manifest, "--texts", mine]);
    assert!(twice.contains("is registered already"), "{twice}");
    // An index whose building was cut short is built after all.
    let index = fs::read_dir(home.join("indices")).unwrap().next().unwrap().unwrap().path();
    let built = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    assert!(refused(&home, &["register", manifest, "--texts", other]).contains("documents root"));
    told(&home, &["register", manifest, "--texts", mine]);
    assert_eq!(fs::read(&index).unwrap(), built);
    let mut bytes = fs::read(manifest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(manifest, &bytes).unwrap();
    let forged = refused(&home, &["register", manifest]);
    assert!(forged.contains("not signed by its contributor"), "{forged}");

    let listed = told(&home, &["registry", "list"]);
    let names: Vec<&str> = listed["contributions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert!(names.contains(&"Mine") && names.contains(&"Tally's default model"), "{names:?}");
    let digest = registered["manifest"].as_str().unwrap();
    let shown = text(&tally(&home, &["registry", "show", &digest[..12]]));
    assert!(shown.contains("earnings go to did:key:"), "{shown}");
    let sound = told(&home, &["registry", "verify"]);
    assert_eq!(sound["indices"].as_array().unwrap().len(), 1, "{sound}");
    assert!(sound["indices"][0]["fault"].is_null(), "{sound}");
}

#[test]
fn a_damaged_index_is_found_and_a_page_obeys_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let words = "<script>alert(1)</script> & \"quoted\" words of forty bytes or more";
    let mine = texts(folder.path(), "<b>mine</b>", words);
    told(&home, &["contribute", "dataset", mine.to_str().unwrap(), "--name", "<i>Mine</i>"]);
    let page = folder.path().join("page.html");
    let traced = told(&home, &["trace", "--text", words, "--html", page.to_str().unwrap()]);
    assert_eq!(traced["residual_bytes"], 0);
    let html = fs::read_to_string(&page).unwrap();
    assert!(!html.contains("<script") && !html.contains("<i>Mine") && !html.contains("<b>mine"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
    assert!(html.contains("default-src 'none'"));
    let again = refused(&home, &["trace", "--text", words, "--html", page.to_str().unwrap()]);
    assert!(again.contains("page.html"), "{again}");

    let index = fs::read_dir(home.join("indices")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.windows(12).position(|window| window == b"mine</b> wro").unwrap();
    bytes[middle] ^= 1;
    fs::write(&index, &bytes).unwrap();
    let output = tally(&home, &["registry", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("is damaged"), "{}", text(&output));
}
