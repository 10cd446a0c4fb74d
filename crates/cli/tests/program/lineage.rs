//! What a contribution says it was made from, and every lineage that is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tally_core::Digest;
use tempfile::TempDir;

use crate::common::{refused, told};

/// A home in which `book` and `pages` are registered, with their manifests.
struct World {
    folder: TempDir,
    book: String,
    pages: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { folder, book: String::new(), pages: String::new() };
        world.book = world.contribute("book", &[]);
        world.pages = world.contribute("pages", &[]);
        world
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The words that contribute a prompt of this name, as one file, with these parents.
    fn words(&self, name: &str, parents: &[&str]) -> Vec<String> {
        let file = self.folder.path().join(name);
        fs::write(&file, name).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let mut words = vec!["contribute".into(), "prompt".into(), file];
        words.extend(["--name".into(), name.to_owned()]);
        words.extend(parents.iter().flat_map(|it| ["--parent".to_owned(), (*it).to_owned()]));
        words
    }

    fn contribute(&self, name: &str, parents: &[&str]) -> String {
        let words = self.words(name, parents);
        let made = told(&self.home(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        made["manifest"].as_str().unwrap().to_owned()
    }

    /// Refused both where it would be registered and where it would only be signed.
    fn refused_signed_or_not(&self, parents: &[&str], expected: &str) {
        let mut words = self.words("child", parents);
        let out = self.folder.path().join("child.contribution");
        for _ in 0..2 {
            let words_now: Vec<&str> = words.iter().map(String::as_str).collect();
            let complaint = refused(&self.home(), &words_now);
            assert!(complaint.contains(expected), "{words_now:?}: {complaint}");
            assert!(!out.exists(), "nothing is signed for good");
            words.extend(["--out".into(), out.to_str().unwrap().into()]);
        }
    }

    /// Signs without registering; the file of the manifest and its digest.
    fn signed(&self, name: &str, parents: &[&str]) -> (String, String) {
        let out = self.folder.path().join(format!("{name}.contribution"));
        let mut words = self.words(name, parents);
        words.extend(["--out".into(), out.to_str().unwrap().into()]);
        let made = told(&self.home(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        let manifest = made["manifest"].as_str().unwrap().to_owned();
        (out.to_str().unwrap().to_owned(), manifest)
    }
}

fn names(home: &Path) -> Vec<String> {
    let listed = told(home, &["registry", "list"]);
    let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
    listed["contributions"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_lineage_without_fault_is_shown_from_both_ends() {
    let world = World::new();
    let parents =
        [format!("{}=4000", &world.book[..8]), format!("{}=6000:trained-on", world.pages)];
    let child = world.contribute("child", &parents.each_ref().map(String::as_str));
    let shown = told(&world.home(), &["registry", "show", &child]);
    let listed: Vec<(&str, &str, u64)> = shown["parents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap();
            (text("relation"), text("manifest"), it["share_bps"].as_u64().unwrap())
        })
        .collect();
    let expected =
        [("derived-from", world.book.as_str(), 4000), ("trained-on", world.pages.as_str(), 6000)];
    assert_eq!(listed, expected, "ten thousand basis points are the whole, and allowed");
}

#[test]
fn shares_above_the_whole_and_a_parent_twice_are_refused_before_anything_is_signed() {
    let world = World::new();
    let (book, pages) = (&world.book, &world.pages);
    let before = names(&world.home());
    world.refused_signed_or_not(
        &[&format!("{book}=5000"), &format!("{pages}=5001")],
        "its parents get 10001 basis points together, the limit is 10000",
    );
    world.refused_signed_or_not(
        &[&format!("{book}=1"), &format!("{}=2:trained-on", &book[..10])],
        &format!("parent {book} is named twice"),
    );
    world.refused_signed_or_not(
        &[&format!("{book}=10001")],
        "expected 0 to 10000 basis points, found `10001`",
    );
    world.refused_signed_or_not(&[&format!("{book}=-1")], "basis points, found `-1`");
    world.refused_signed_or_not(
        &[&format!("{book}=1:copied-from")],
        "expected a relation: derived-from, trained-on, fine-tuned-from, indexes",
    );
    assert_eq!(names(&world.home()), before);
}

#[test]
fn a_parent_that_nobody_registered_is_refused_and_named() {
    let world = World::new();
    let unknown = Digest::of_content(b"unknown").to_string();
    let whole = world.words("child", &[&format!("{unknown}=1")]);
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let complaint = refused(&world.home(), &whole);
    assert!(complaint.contains(&format!("parent {unknown} is not registered here")), "{complaint}");
    world.refused_signed_or_not(&["abcdef=1"], "no registered contribution begins with `abcdef`");
    world.refused_signed_or_not(&["abc=1"], "expected MANIFEST=BPS");
    // Another node may know the parent, so it can be signed; it is registered nowhere without it.
    let (file, _) = world.signed("child", &[&format!("{unknown}=1")]);
    let complaint = refused(&world.home(), &["register", &file]);
    let expected =
        format!("parent {unknown} is not registered; register it before what is made from it");
    assert!(complaint.contains(&expected), "{complaint}");
}

#[test]
fn a_lineage_that_returns_to_where_it_began_cannot_be_registered() {
    let world = World::new();
    // One is made from two, and two would be made from one: the digest that one names is of
    // another manifest of two, the only one that it could be made from.
    let (early_two, two) = world.signed("two", &[]);
    fs::rename(&early_two, world.folder.path().join("early")).unwrap();
    let early_two = world.folder.path().join("early");
    let (one_file, one) = world.signed("one", &[&format!("{two}=1")]);
    let (late_two, closing) = world.signed("two", &[&format!("{one}=1")]);
    assert_ne!(closing, two, "what names one is not what one names");
    let complaint = refused(&world.home(), &["register", &late_two]);
    assert!(complaint.contains(&format!("parent {one} is not registered")), "{complaint}");
    let complaint = refused(&world.home(), &["register", &one_file]);
    assert!(complaint.contains(&format!("parent {two} is not registered")), "{complaint}");

    // Whoever writes the digest that closes the circle into the manifest breaks its signature.
    let mut bytes = fs::read(&one_file).unwrap();
    let digest = |hex: &str| *Digest::parse_hex(hex).unwrap().as_bytes();
    let at = bytes.windows(32).position(|window| window == digest(&two)).unwrap();
    bytes[at..at + 32].copy_from_slice(&digest(&closing));
    let forged = world.folder.path().join("forged");
    fs::write(&forged, &bytes).unwrap();
    let complaint = refused(&world.home(), &["register", forged.to_str().unwrap()]);
    assert!(complaint.contains("not signed by its contributor"), "{complaint}");

    // What is left is a line, each registered after what it was made from.
    for file in [early_two.to_str().unwrap(), &one_file, &late_two] {
        told(&world.home(), &["register", file]);
    }
    let shown = told(&world.home(), &["registry", "show", &closing]);
    assert_eq!(shown["parents"][0]["manifest"], one.as_str());
}

#[test]
fn a_registry_whose_order_was_changed_is_refused() {
    let world = World::new();
    let child = world.contribute("child", &[&format!("{}=1", world.book)]);
    let folder = world.home().join("registry");
    let find = |manifest: &str| {
        let mut files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_str().unwrap().contains(manifest)).unwrap()
    };
    let place = |path: &Path| path.file_name().unwrap().to_str().unwrap()[..12].to_owned();
    let (parent, young) = (find(&world.book), find(&child));
    let [early, late] = [&parent, &young].map(|path| place(path));
    let named =
        |place: &str, manifest: &str| folder.join(format!("{place}-{manifest}.contribution"));
    fs::rename(&parent, named(&late, &world.book)).unwrap();
    fs::rename(&young, named(&early, &child)).unwrap();
    let complaint = refused(&world.home(), &["registry", "list"]);
    let expected = format!("parent {} is not registered", world.book);
    assert!(complaint.contains(&expected) && complaint.contains(&child), "{complaint}");
}

#[test]
fn a_licence_that_is_no_spdx_expression_is_refused_with_what_is_meant() {
    let world = World::new();
    for (licence, expected) in [
        ("Unknown", "`Unknown`"),
        ("Apache 2", "did you mean Apache-2.0"),
        ("CC-BY", "licence is no SPDX expression at byte 0, `CC-BY`"),
        ("MIT OR", "licence is no SPDX expression"),
        ("", "licence is empty, expected an SPDX expression or `unknown`"),
    ] {
        let mut words = world.words("child", &[]);
        words.extend(["--licence".into(), licence.into()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let complaint = refused(&world.home(), &words);
        assert!(complaint.contains(expected), "{licence}: {complaint}");
    }
    let mut words = world.words("child", &[]);
    words.extend(["--licence".into(), "mit or apache-2.0".into()]);
    let made = told(&world.home(), &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(made["licence"], "MIT OR Apache-2.0");
}
