//! The committed vectors are the generated ones, byte for byte.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER)
}

#[test]
fn generating_again_yields_the_committed_bytes() {
    for (path, bytes) in files() {
        let committed = fs::read(folder().join(&path)).unwrap_or_default();
        assert!(committed == bytes, "{path} differs: run `cargo xtask vectors`");
    }
}

#[test]
fn every_committed_folder_is_generated() {
    let generated: BTreeSet<String> = files().into_keys().collect();
    for kind in ["accept", "reject"] {
        for entry in fs::read_dir(folder().join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(generated.contains(&format!("{kind}/{name}/case.json")), "{kind}/{name}");
        }
    }
}

#[test]
fn no_two_vectors_have_one_name() {
    let mut names = BTreeSet::new();
    for path in files().keys().filter(|path| path.ends_with("case.json")) {
        let folder = path.split('/').nth(1).and_then(|folder| folder.split_once('-'));
        assert!(names.insert(folder.unwrap().1.to_owned()), "{path}");
    }
}
