//! Adapters, and what publishers signed with a key of their own: OpenSSF Model Signing at the command line.

use std::{fs, path::Path};

use serde_json::Value;
use tally_core::Digest;
use tempfile::TempDir;

use crate::{
    common::{refused, told},
    encoder,
};

/// Signed by the official tool, without `notes`, with the key beside it.
const OFFICIAL: &[u8] =
    include_bytes!("../../../attribution/tests/fixtures/model_signing/files.sig");
const OFFICIAL_KEY: &str =
    include_str!("../../../attribution/tests/fixtures/model_signing/public.pem");
/// The P-256 key whose number is 32 bytes of 7, which is nobody's.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCAHBwcHBwcHBwcHBwcH\n\
    BwcHBwcHBwcHBwcHBwcHBwcHBw==\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHhhTL9R1TALzBB2cdc6zO4P/2BrH\n\
    zk/ogsyxyYvFiW6kbDEcTi/0DdlqNlPm5FRF0y3+SG7O11x6kMahiIHAow==\n-----END PUBLIC KEY-----\n";

/// A folder with a home's name, keys and an adapter in it.
struct World {
    folder: TempDir,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            world.write(&format!("adapter/{name}"), text);
        }
        for (name, pem) in
            [("private.pem", PRIVATE), ("public.pem", PUBLIC), ("official.pem", OFFICIAL_KEY)]
        {
            world.write(name, pem);
        }
        world
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn sign(&self, files: &str, bundle: &str) -> Value {
        let (files, key, bundle) = (self.at(files), self.at("private.pem"), self.at(bundle));
        told(&self.home(), &["model", "sign", &files, "--key", &key, "--out", &bundle])
    }

    /// The words of a contribution that a bundle is verified for.
    fn adapter(&self, bundle: &str, key: &str) -> Vec<String> {
        let [folder, bundle, key] = ["adapter", bundle, key].map(|name| self.at(name));
        let words = ["contribute", "adapter", &folder, "--name", "Legal tone"];
        [&words[..], &["--signed-by", &bundle, "--key", &key]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn told(&self, words: &[String]) -> Value {
        told(&self.home(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn refused(&self, words: &[String]) -> String {
        refused(&self.home(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

const FILES: [(&str, &str); 4] = [
    ("adapter_config.json", "{}"),
    ("adapter_model.safetensors", "weights"),
    (".gitignore", "x"),
    ("model.sig", "an old bundle"),
];

#[test]
fn an_adapter_is_the_root_over_its_files_and_says_what_it_was_tuned_from() {
    let world = World::new(&FILES);
    let (home, folder) = (world.home(), world.at("adapter"));
    let base = told(&home, &["contribute", "weights", "default", "--name", "Base"]);
    let parent = format!("{}=2500:fine-tuned-from", base["manifest"].as_str().unwrap());
    let words = ["contribute", "adapter", &folder, "--name", "Legal tone"];
    let further = ["--licence", "apache-2.0", "--parent", &parent];
    let made = told(&home, &[&words[..], &further].concat());
    let digests = ["{}", "weights"].map(|text| Digest::of_content(text.as_bytes()));
    let joined = digests.map(|digest| *digest.as_bytes()).concat();
    assert_eq!(made["kind"], "adapter");
    assert_eq!(made["subject"], Digest::of_content(&joined).to_string());
    assert!(made["signed_by"].is_null() && made["croissant"].is_null());
    let shown = told(&home, &["registry", "show", made["manifest"].as_str().unwrap()]);
    assert_eq!((&shown["count"], &shown["size_bytes"]), (&2.into(), &9.into()));
    assert_eq!(shown["licence"], "Apache-2.0");
    assert_eq!(shown["parents"][0]["relation"], "fine-tuned-from");
    assert_eq!(shown["parents"][0]["share_bps"], 2500);

    let nameless = refused(&home, &["contribute", "adapter", &folder]);
    assert!(nameless.contains("--name"), "{nameless}");
    fs::create_dir(world.at("empty")).unwrap();
    let empty = refused(&home, &["contribute", "adapter", &world.at("empty"), "--name", "x"]);
    assert!(empty.contains("empty\" has no files"), "{empty}");
    std::os::unix::fs::symlink("adapter_config.json", Path::new(&folder).join("link")).unwrap();
    let link = refused(&home, &words);
    assert!(link.contains("`link` is a symbolic link"), "{link}");
}

#[test]
fn a_bundle_that_was_made_here_is_verified_before_an_adapter_is_contributed() {
    let world = World::new(&FILES[..3]);
    let signed = world.sign("adapter", "adapter/model.sig");
    assert_eq!(signed["files"], 2);
    let words = world.adapter("adapter/model.sig", "public.pem");
    let made = world.told(&words);
    assert_eq!(made["signed_by"]["root"], signed["root"]);
    assert_eq!(made["signed_by"]["key_id"], signed["key_id"]);
    assert_eq!(made["subject"], signed["root"], "the bundle names what the manifest names");
    let (key, adapter) = (world.at("private.pem"), world.at("adapter"));
    let bundle = world.at("adapter/model.sig");
    let again =
        refused(&world.home(), &["model", "sign", &adapter, "--key", &key, "--out", &bundle]);
    assert!(again.contains("model.sig is there already"), "{again}");

    let other = world.refused(&world.adapter("adapter/model.sig", "official.pem"));
    assert!(other.contains("bundle names the key"), "{other}");
    let half = world.refused(&words[..words.len() - 2]);
    assert!(half.contains("--key <PUBLIC.pem>"), "{half}");
    let private = world.refused(&world.adapter("adapter/model.sig", "private.pem"));
    assert!(private.contains("PEM holds `PRIVATE KEY`, expected `PUBLIC KEY`"), "{private}");
    let count =
        |home: &Path| told(home, &["registry", "list"])["contributions"].as_array().unwrap().len();
    let before = count(&world.home());
    world.write("adapter/adapter_model.safetensors", "weighty");
    let changed = world.refused(&words);
    let [found, was] = ["weighty", "weights"].map(|text| Digest::of_content(text.as_bytes()));
    let expected = format!("`adapter_model.safetensors` has SHA-256 {found}, signed is {was}");
    assert!(changed.contains(&expected), "{changed}");
    world.write("adapter/adapter_model.safetensors", "weights");
    world.write("adapter/more", "x");
    let more = world.refused(&words);
    assert!(more.contains("`more` is not signed"), "{more}");
    fs::remove_file(world.at("adapter/more")).unwrap();
    fs::remove_file(world.at("adapter/adapter_config.json")).unwrap();
    let missing = world.refused(&words);
    assert!(missing.contains("`adapter_config.json` is signed and missing"), "{missing}");
    assert_eq!(count(&world.home()), before, "what is refused is not registered");
}

#[test]
fn a_bundle_of_the_official_tool_is_accepted_if_it_covers_every_file() {
    let files = [("a.txt", "hi\n"), ("a/b.bin", "weights"), ("empty", ""), ("sub/ü.txt", "u")];
    let world = World::new(&files);
    world.write("model.sig", OFFICIAL);
    let words = world.adapter("model.sig", "official.pem");
    let made = world.told(&words);
    let root = "4b6ed4f899f0b2e31e5cc6e71eb8cdded4da56b939929fe25c997074b0a7497b";
    assert_eq!((&made["subject"], &made["signed_by"]["root"]), (&root.into(), &root.into()));
    assert_eq!(made["signed_by"]["name"], "model");
    // Its signer left `notes` out, so they may differ for it; they would be contributed unsigned.
    world.write("adapter/notes/n.md", "y");
    let notes = world.refused(&words);
    assert!(notes.contains("does not cover all that is contributed"), "{notes}");
    assert!(notes.contains("`notes/n.md` is not signed"), "{notes}");
}

#[test]
fn weights_are_contributed_with_a_bundle_over_what_they_were_converted_from() {
    let world = World::new(&[]);
    let home = world.home();
    let source = world.folder.path().join("source");
    encoder::write(&source, &["a lock keeps others out"]);
    told(&home, &["model", "import", source.to_str().unwrap(), "--name", "tiny"]);
    let signed = world.sign("source", "model.sig");
    let words = |files: &str| -> Vec<String> {
        let [bundle, key, files] = ["model.sig", "public.pem", files].map(|name| world.at(name));
        let words = ["contribute", "weights", "tiny", "--name", "Tiny", "--files", &files];
        let further = ["--signed-by", &bundle, "--key", &key];
        [&words[..], &further].concat().into_iter().map(str::to_owned).collect()
    };
    let mut nowhere = words("source");
    nowhere.drain(5..7);
    let nowhere = world.refused(&nowhere);
    assert!(nowhere.contains("say where they are with `--files`"), "{nowhere}");
    let made = world.told(&words("source"));
    assert_eq!(made["signed_by"]["key_id"], signed["key_id"]);
    let shown = told(&home, &["model", "show", "tiny"]);
    assert_eq!(made["subject"], shown["root"]);

    // A bundle that holds for other files says nothing of these weights.
    let other = world.folder.path().join("other");
    encoder::write(&other, &["quite another vocabulary"]);
    fs::remove_file(world.at("model.sig")).unwrap();
    world.sign("other", "model.sig");
    let foreign = world.refused(&words("other"));
    assert!(foreign.contains("the model was converted from `"), "{foreign}");
    assert!(foreign.contains("which no file of"), "{foreign}");
    let unlike = world.refused(&words("source"));
    assert!(unlike.contains("is not what"), "{unlike}");
}
