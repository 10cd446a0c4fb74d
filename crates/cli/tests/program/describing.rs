//! Datasets that come with a Croissant document, and the documents that are written for others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tally_core::Digest;
use tempfile::TempDir;

use crate::common::{refused, told};

const TEXTS: [(&str, &str); 2] = [
    ("one.txt", "A lock keeps others out of a table until it ends."),
    ("sub/two words.txt", "A view is a query with a name that others use."),
];

/// A folder of two texts, a home, and the Croissant document that describes the texts.
struct World {
    folder: TempDir,
    document: Value,
}

fn file(path: &str, text: &str) -> Value {
    json!({
        "@type": "cr:FileObject",
        "@id": path,
        "contentUrl": path.replace(' ', "%20"),
        "contentSize": format!("{} B", text.len()),
        "sha256": Digest::of_content(text.as_bytes()).to_string(),
    })
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("texts/sub")).unwrap();
        for (name, text) in TEXTS {
            fs::write(folder.path().join("texts").join(name), text).unwrap();
        }
        let document = json!({
            "@context": {"@vocab": "https://schema.org/"},
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": "Notes on databases",
            "license": "https://creativecommons.org/licenses/by/4.0/",
            "version": "1.2.0",
            "url": "https://example.org/notes",
            "distribution": TEXTS.map(|(path, text)| file(path, text)),
        });
        Self { folder, document }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes the document with a change made to it.
    fn describe(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut document = self.document.clone();
        change(&mut document);
        fs::write(self.folder.path().join(name), document.to_string()).unwrap();
    }

    /// Contributes by the document beside the folder; what is refused.
    fn refused(&self, change: impl FnOnce(&mut Value), further: &[&str]) -> String {
        self.describe("notes.json", change);
        let (texts, notes) = (self.at("texts"), self.at("notes.json"));
        let words = ["contribute", "dataset", &texts, "--croissant", &notes];
        refused(&self.home(), &[&words, further].concat())
    }

    fn told(&self, further: &[&str]) -> Value {
        told(&self.home(), &[&["contribute", "dataset", &self.at("texts")], further].concat())
    }
}

#[test]
fn a_dataset_takes_its_words_from_the_document_in_its_folder() {
    let world = World::new();
    let bare = world.told(&["--name", "bare", "--out", &world.at("bare.contribution")]);
    world.describe("texts/croissant.json", |_| {});
    let made = world.told(&[]);
    assert_eq!(made["subject"], bare["subject"], "the description is no part of the dataset");
    assert_eq!(made["croissant"]["files"], 2);
    assert_eq!(made["croissant"]["texts_not_covered"], json!([]));
    let manifest = made["manifest"].as_str().unwrap();
    let shown = told(&world.home(), &["registry", "show", manifest]);
    for (key, expected) in [
        ("name", "Notes on databases"),
        ("licence", "CC-BY-4.0"),
        ("version", "1.2.0"),
        ("source", "https://example.org/notes"),
    ] {
        assert_eq!(shown[key], expected, "{key}");
    }
    let traced = told(&world.home(), &["trace", "--text", TEXTS[0].1]);
    assert_eq!(traced["sources"][0]["name"], "Notes on databases", "{traced}");

    // A node takes the same folder, with its description, from somebody else.
    let (manifest, texts) = (world.at("notes.contribution"), world.at("texts"));
    world.told(&["--out", &manifest, "--of-version", "1.2.0", "--licence", "cc-by-4.0"]);
    let node = world.folder.path().join("node");
    told(&node, &["register", &manifest, "--texts", &texts]);
    let traced = told(&node, &["trace", "--text", TEXTS[1].1]);
    assert_eq!(traced["residual_bytes"], 0, "{traced}");
}

#[test]
fn files_that_are_not_those_of_the_document_are_refused_with_both_digests() {
    let world = World::new();
    let [was, other] =
        [TEXTS[0].1, "other"].map(|text| Digest::of_content(text.as_bytes()).to_string());
    let changed = world.refused(|it| it["distribution"][0]["sha256"] = json!(other), &[]);
    let expected = format!("`one.txt` has SHA-256 {was}, croissant document says {other}");
    assert!(changed.contains(&expected), "{changed}");
    let size = world.refused(|it| it["distribution"][0]["contentSize"] = json!("7 B"), &[]);
    let expected = format!("`one.txt` has {} bytes, croissant document says 7", TEXTS[0].1.len());
    assert!(size.contains(&expected), "{size}");
    let further = world.refused(
        |it| it["distribution"].as_array_mut().unwrap().push(file("three.txt", "three")),
        &[],
    );
    assert!(further.contains("tells of `three.txt` with SHA-256"), "{further}");
    let fewer = world.refused(|it| drop(it["distribution"].as_array_mut().unwrap().pop()), &[]);
    assert!(fewer.contains("`sub/two words.txt` has SHA-256"), "{fewer}");
    assert!(fewer.contains("tells nothing"), "{fewer}");

    // Of a set of files no digest is told: that is said, and not refused.
    world.describe("notes.json", |it| {
        it["distribution"] = json!([{"@type": "cr:FileSet", "@id": "all", "includes": "*.txt"}]);
    });
    let made = world.told(&["--croissant", &world.at("notes.json")]);
    assert_eq!(made["croissant"]["texts_not_covered"], json!(["one.txt", "sub/two words.txt"]));
    assert_eq!(made["croissant"]["without_digest"][0]["reason"], "a set of files has no digest");
    // Under another name in the folder the document would be a text of what it describes.
    world.describe("texts/notes.json", |_| {});
    let within = world.at("texts/notes.json");
    let within = refused(
        &world.home(),
        &["contribute", "dataset", &world.at("texts"), "--croissant", &within],
    );
    assert!(within.contains("would be a text of the dataset that it describes"), "{within}");
}

#[test]
fn words_that_are_not_those_of_the_document_are_refused_with_both() {
    let world = World::new();
    for (further, expected) in [
        (["--name", "Notes"], "name is `Notes`, croissant document says `Notes on databases`"),
        (["--licence", "MIT"], "licence is `MIT`, croissant document says `CC-BY-4.0`"),
        (["--licence", "unknown"], "licence is `unknown`, croissant document says `CC-BY-4.0`"),
        (["--of-version", "2"], "version is `2`, croissant document says `1.2.0`"),
        (
            ["--source", "https://x.example"],
            "url is `https://x.example`, croissant document says `https://example.org/notes`",
        ),
    ] {
        let complaint = world.refused(|_| {}, &further);
        assert!(complaint.contains(expected), "{complaint}");
    }
    let parent = Digest::of_content(b"parent");
    let lost = world.refused(
        |it| it["prov:wasDerivedFrom"] = json!({"@id": format!("urn:tally:manifest:{parent}")}),
        &[],
    );
    let expected = format!("derived from manifest {parent}, which is not among the parents");
    assert!(lost.contains(&expected), "{lost}");
    let kind = world.refused(|it| it["@type"] = json!("sc:Person"), &[]);
    assert!(kind.contains("is of type `sc:Person`, expected Dataset"), "{kind}");
    let long = world.refused(|it| it["name"] = json!("n".repeat(129)), &[]);
    assert!(long.contains("name has 129 bytes, a manifest has 1 to 128"), "{long}");

    // A licence that nobody can name is unknown, unless its contributor names it.
    world.describe("notes.json", |it| it["license"] = json!("as on our website"));
    let notes = world.at("notes.json");
    assert_eq!(world.told(&["--croissant", &notes])["licence"], "unknown");
    let named = world.told(&["--croissant", &notes, "--licence", "MIT"]);
    assert_eq!(named["licence"], "MIT");
    assert_eq!(named["croissant"]["licence_stated"], json!(["as on our website"]));
}

#[test]
fn what_is_exported_is_imported_by_its_owner_and_by_nobody_else() {
    let world = World::new();
    let (home, texts) = (world.home(), world.at("texts"));
    let words = ["--name", "Notes", "--licence", "MIT", "--of-version", "3"];
    let made = world.told(&words);
    let manifest = made["manifest"].as_str().unwrap();
    let out = world.at("texts/croissant.json");
    told(&home, &["registry", "export", &manifest[..12], "--croissant", &out]);
    let written = fs::read(&out).unwrap();
    let document: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(document["license"], "https://spdx.org/licenses/MIT");
    assert_eq!(document["tally:manifest"], format!("sha256:{manifest}"));
    assert_eq!(document["distribution"][1]["contentUrl"], "sub/two%20words.txt");

    let again = world.told(&["--out", &world.at("again.contribution")]);
    assert_eq!((&again["subject"], &again["licence"]), (&made["subject"], &json!("MIT")));
    assert_eq!(again["croissant"]["manifest"], manifest);
    let other = world.folder.path().join("other");
    let foreign = refused(&other, &["contribute", "dataset", &texts]);
    let owner = made["contributor"].as_str().unwrap();
    assert!(foreign.contains(&format!("croissant document says `{owner}`")), "{foreign}");
    let paid = ["contribute", "dataset", &texts, "--payee", owner, "--out", &world.at("paid")];
    told(&other, &paid);

    // Texts and a manifest's file give the same document where nothing is registered.
    let (file, second) = (world.at("notes.contribution"), world.at("second.json"));
    told(&home, &["registry", "export", manifest, "--out", &file]);
    let words = ["registry", "export", &file, "--croissant", &second];
    let lacking = refused(&other, &words);
    assert!(lacking.contains("say where they are with `--texts`"), "{lacking}");
    told(&other, &[&words[..], &["--texts", &texts]].concat());
    assert_eq!(fs::read(&second).unwrap(), written);
    cannot_be_exported(&world, manifest);
}

fn cannot_be_exported(world: &World, manifest: &str) {
    let (home, out) = (world.home(), world.at("third.json"));
    let neither = refused(&home, &["registry", "export", manifest]);
    assert!(neither.contains("--out <FILE>"), "{neither}");
    let node = told(&home, &["contribute", "node", "--name", "Node"]);
    let node = node["manifest"].as_str().unwrap();
    let kind = refused(&home, &["registry", "export", node, "--croissant", &out]);
    assert!(kind.contains("of kind node is no dataset"), "{kind}");
    fs::write(world.folder.path().join("texts/one.txt"), "another text").unwrap();
    let words = ["registry", "export", manifest, "--croissant", &out, "--texts"];
    let other = refused(&home, &[&words[..], &[&world.at("texts")]].concat());
    assert!(other.contains("the texts yield documents root"), "{other}");
    assert!(!Path::new(&out).exists());
}
