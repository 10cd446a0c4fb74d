//! Bundles of the official tool and our own: verified, compared, and refused by cause.

use std::fs;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Made by `model-signing` 1.1.1: whole files, and shards of three bytes.
const FILES: &[u8] = include_bytes!("../../tests/fixtures/model_signing/files.sig");
const SHARDS: &[u8] = include_bytes!("../../tests/fixtures/model_signing/shards.sig");
const PUBLIC: &str = include_str!("../../tests/fixtures/model_signing/public.pem");
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The folder that the official tool signed.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.txt", "hi\n"),
        ("a/b.bin", "weights"),
        ("empty", ""),
        ("sub/ü.txt", "u"),
        (".gitignore", "x"),
        ("notes/n.md", "y"),
    ] {
        write(folder.path(), name, bytes);
    }
    folder
}

fn write(folder: &Path, name: &str, bytes: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn official() -> VerifyingKey {
    VerifyingKey::from_pem(PUBLIC).unwrap()
}

fn own(seed: u8) -> SigningKey {
    let key = p256::SecretKey::from_slice(&[seed; 32]).unwrap();
    SigningKey::from_pem(&key.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap()
}

/// A bundle over any payload, signed by our key 7, with `change` made to its JSON.
fn bundle(payload: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let signature = own(7).sign(&[head.as_bytes(), payload].concat());
    let mut bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": own(7).public().id().to_string()}},
        "dsseEnvelope": {
            "payload": Base64::encode_string(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": Base64::encode_string(signature.as_bytes()), "keyid": ""}],
        },
    });
    change(&mut bundle);
    serde_json::to_vec(&bundle).unwrap()
}

/// A statement about two files, with `change` made to it.
fn statement(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let digests = [Digest::of_content(b"a"), Digest::of_content(b"b")];
    let mut statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": super::folder::root(&digests).to_string()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": false},
            "resources": [
                {"name": "a", "algorithm": "sha256", "digest": digests[0].to_string()},
                {"name": "b", "algorithm": "sha256", "digest": digests[1].to_string()},
            ],
        },
    });
    change(&mut statement);
    serde_json::to_vec(&statement).unwrap()
}

fn judge(bundle: &[u8]) -> Result<SignedModel, ModelSigningError> {
    verify(bundle, own(7).public())
}

fn judge_statement(change: impl FnOnce(&mut Value)) -> Result<SignedModel, ModelSigningError> {
    judge(&bundle(&statement(change), |_| {}))
}

fn judge_bundle(change: impl FnOnce(&mut Value)) -> Result<SignedModel, ModelSigningError> {
    judge(&bundle(&statement(|_| {}), change))
}

#[test]
fn the_official_tools_bundles_verify_and_fit_the_folder() {
    let folder = folder();
    for (bundle, root, count) in [
        (FILES, "4b6ed4f899f0b2e31e5cc6e71eb8cdded4da56b939929fe25c997074b0a7497b", 4),
        (SHARDS, "c5d9f440fa0a3463920cd11cf61cbbaf9ad0d1b56617732c61e019f0d678721b", 5),
    ] {
        let model = verify(bundle, &official()).unwrap();
        assert_eq!((model.root.to_string(), model.resources.len()), (root.into(), count));
        assert_eq!((&*model.name, model.key_id), ("model", official().id()));
        assert_eq!(super::folder::root(model.resources.values()), model.root);
        model.compare(folder.path(), &[]).unwrap();
    }
}

#[test]
fn signing_the_same_folder_yields_the_official_root() {
    let folder = folder();
    let files = Selection::default().ignoring(["notes"]).unwrap();
    let shards = files.clone().in_shards(3).unwrap();
    for (theirs, selection) in [(FILES, files), (SHARDS, shards)] {
        let ours = sign(folder.path(), &selection, &own(7)).unwrap();
        let ours = judge(ours.as_bytes()).unwrap();
        let theirs = verify(theirs, &official()).unwrap();
        assert_eq!((ours.root, &ours.resources), (theirs.root, &theirs.resources));
        assert_eq!(ours.selection.shard_bytes(), theirs.selection.shard_bytes());
        ours.compare(folder.path(), &[]).unwrap();
    }
}

#[test]
fn the_root_over_files_is_that_of_a_bundle_over_them() {
    let folder = folder();
    write(folder.path(), "model.sig", "a bundle");
    let files = Files::read(folder.path()).unwrap();
    assert_eq!(files.extent(), tally_core::contribution::Extent { count: 5, size_bytes: 12 });
    let without = Selection::default().ignoring([BUNDLE_NAME]).unwrap();
    let whole = judge(sign(folder.path(), &without, &own(7)).unwrap().as_bytes()).unwrap();
    assert_eq!(whole.root, files.root());
    whole.cover(&files).unwrap();
    let mut joined = vec![];
    // `a` with all below it stands before `a.txt`: parts of paths are compared, not whole paths.
    for text in ["weights", "hi\n", "", "y", "u"] {
        joined.extend(Digest::of_content(text.as_bytes()).as_bytes());
    }
    assert_eq!(files.root(), Digest::of_content(&joined));
    let weights = Digest::of_content(b"weights");
    assert_eq!(files.named(&weights).unwrap().path(), "a/b.bin");
    assert!(files.named(&Digest::of_content(b"other")).is_none());
}

#[test]
fn a_file_that_the_signer_left_out_is_not_covered() {
    let folder = folder();
    let files = Files::read(folder.path()).unwrap();
    // The official bundles leave `notes` out; they hold for the folder none the less.
    for bundle in [FILES, SHARDS] {
        let model = verify(bundle, &official()).unwrap();
        model.compare(folder.path(), &[]).unwrap();
        let digest = Digest::of_content(b"u");
        model.cover_one(files.named(&digest).unwrap(), &digest).unwrap();
    }
    let model = verify(FILES, &official()).unwrap();
    let refused = model.cover(&files);
    assert!(
        matches!(refused, Err(ModelSigningError::NotSigned { name }) if name.path() == "notes/n.md")
    );
    // Of an empty file there is no shard.
    let model = verify(SHARDS, &official()).unwrap();
    let refused = model.cover(&files);
    assert!(
        matches!(refused, Err(ModelSigningError::NotSigned { name }) if name.path() == "empty")
    );
    write(folder.path(), "a.txt", "ho\n");
    let changed = verify(FILES, &official()).unwrap().cover(&Files::read(folder.path()).unwrap());
    assert!(
        matches!(changed, Err(ModelSigningError::Changed { name, .. }) if name.path() == "a.txt")
    );
    let nothing = tempfile::tempdir().unwrap();
    write(nothing.path(), ".git/config", "x");
    assert!(matches!(Files::read(nothing.path()), Err(ModelSigningError::NoFiles { .. })));
}

#[test]
fn signing_twice_yields_the_same_bytes() {
    let folder = folder();
    let sign = || sign(folder.path(), &Selection::default(), &own(7)).unwrap();
    assert_eq!(sign(), sign());
}

#[test]
fn every_change_of_a_folder_is_told_by_name() {
    for bundle in [FILES, SHARDS] {
        let model = verify(bundle, &official()).unwrap();
        let refusal = |change: &dyn Fn(&Path)| {
            let folder = folder();
            change(folder.path());
            model.compare(folder.path(), &[]).unwrap_err()
        };
        let changed = refusal(&|folder| write(folder, "a/b.bin", "weighty"));
        assert!(
            matches!(&changed, ModelSigningError::Changed { name, .. } if name.path() == "a/b.bin")
        );
        let missing = refusal(&|folder| fs::remove_file(folder.join("a.txt")).unwrap());
        assert!(matches!(&missing, ModelSigningError::Missing { name } if name.path() == "a.txt"));
        let added = refusal(&|folder| write(folder, "sub/more", "1"));
        assert!(
            matches!(&added, ModelSigningError::NotSigned { name } if name.path() == "sub/more")
        );
        let longer = refusal(&|folder| write(folder, "a.txt", "hi\nho"));
        let is_told = match &longer {
            ModelSigningError::Changed { name, .. } => name.path() == "a.txt",
            ModelSigningError::NotSigned { name } => name.to_string() == "a.txt:3:5",
            _ => false,
        };
        assert!(is_told, "{longer}");
    }
}

#[test]
fn what_is_ignored_may_change() {
    let model = verify(FILES, &official()).unwrap();
    let folder = folder();
    write(folder.path(), "notes/n.md", "z");
    write(folder.path(), ".git/config", "z");
    model.compare(folder.path(), &[]).unwrap();
    write(folder.path(), "model.sig", "z");
    assert!(matches!(model.compare(folder.path(), &[]), Err(ModelSigningError::NotSigned { .. })));
    model.compare(folder.path(), &["model.sig"]).unwrap();
    // Whole names are meant, not their beginnings.
    write(folder.path(), "notes2", "z");
    assert!(model.compare(folder.path(), &["model.sig"]).is_err());
    for path in ["", ".", "..", "/a", "a/../b"] {
        let refused = model.compare(folder.path(), &[path]);
        assert!(matches!(refused, Err(ModelSigningError::Name { .. })), "{path}");
    }
}

#[test]
fn a_model_may_be_one_file() {
    let folder = folder();
    let file = folder.path().join("a.txt");
    let bundle = sign(&file, &Selection::default(), &own(7)).unwrap();
    let model = judge(bundle.as_bytes()).unwrap();
    assert_eq!(model.name, "a.txt");
    let names: Vec<_> = model.resources.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["."]);
    model.compare(&file, &[]).unwrap();
    fs::write(&file, "other").unwrap();
    assert!(matches!(model.compare(&file, &[]), Err(ModelSigningError::Changed { .. })));
}

#[test]
fn shards_end_where_files_do() {
    let folder = tempfile::tempdir().unwrap();
    for (size, shard_bytes, expected) in [
        (0, 3, vec![]),
        (1, 3, vec![(0, 1)]),
        (3, 3, vec![(0, 3)]),
        (4, 3, vec![(0, 3), (3, 4)]),
        (6, 3, vec![(0, 3), (3, 6)]),
        (4, u32::MAX.into(), vec![(0, 4)]),
    ] {
        fs::write(folder.path().join("f"), vec![1; size]).unwrap();
        let selection = Selection::default().in_shards(shard_bytes).unwrap();
        let found = super::folder::resources(folder.path(), &selection).unwrap();
        let ranges: Vec<_> = found.keys().filter_map(ResourceName::range).collect();
        assert_eq!(ranges, expected, "{size} {shard_bytes}");
    }
    for size in [0, u64::from(u32::MAX) + 1] {
        assert!(matches!(
            Selection::default().in_shards(size),
            Err(ModelSigningError::ShardSize { .. })
        ));
    }
}

#[cfg(unix)]
#[test]
fn links_are_refused_unless_they_are_allowed_and_lead_to_files() {
    let folder = folder();
    std::os::unix::fs::symlink("a.txt", folder.path().join("link")).unwrap();
    let sign = |selection: &Selection| sign(folder.path(), selection, &own(7));
    let refused = sign(&Selection::default());
    assert!(matches!(refused, Err(ModelSigningError::Link { name }) if name == "link"));
    let following = Selection::default().following_links();
    let model = judge(sign(&following).unwrap().as_bytes()).unwrap();
    model.compare(folder.path(), &[]).unwrap();
    std::os::unix::fs::symlink("sub", folder.path().join("folder")).unwrap();
    let refused = sign(&following);
    assert!(matches!(refused, Err(ModelSigningError::LinkToFolder { name }) if name == "folder"));
    let socket = folder.path().join("sub/socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let refused = sign(&following.ignoring(["folder"]).unwrap());
    assert!(matches!(refused, Err(ModelSigningError::Special { name }) if name == "sub/socket"));
}

#[test]
fn folders_end_at_a_depth() {
    let folder = tempfile::tempdir().unwrap();
    let path = |depth: usize| format!("{}f", "d/".repeat(depth));
    let sign = || sign(folder.path(), &Selection::default(), &own(7));
    write(folder.path(), &path(DEPTH_MAX - 1), "");
    assert!(sign().is_ok());
    write(folder.path(), &path(DEPTH_MAX), "");
    assert!(matches!(sign(), Err(ModelSigningError::Depth { .. })));
}

#[test]
fn another_key_is_refused() {
    let key = own(8);
    let refused = verify(FILES, key.public());
    assert!(
        matches!(refused, Err(ModelSigningError::KeyId { expected, .. }) if expected == key.public().id())
    );
    // Where the bundle names no key, or an empty one, the signature decides.
    for hint in [json!({}), json!({"hint": null}), json!({"hint": ""})] {
        let unnamed = bundle(&statement(|_| {}), |bundle| {
            bundle["verificationMaterial"]["publicKey"] = hint;
        });
        judge(&unnamed).unwrap();
        let refused = verify(&unnamed, key.public());
        assert!(matches!(refused, Err(ModelSigningError::Signature { .. })));
    }
}

#[test]
fn other_methods_are_refused_by_what_they_are() {
    let method = |member: &str| {
        let refused = judge_bundle(|bundle| {
            bundle["verificationMaterial"] = json!({member: {"rawBytes": "AA=="}});
        });
        match refused {
            Err(ModelSigningError::Method { found }) => found,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(method("certificate"), "a certificate (Sigstore keyless)");
    assert_eq!(method("x509CertificateChain"), "a chain of certificates");
    assert_eq!(method("other"), "nothing named");
    let message = judge_bundle(|bundle| {
        bundle["messageSignature"] = bundle["dsseEnvelope"].take();
    });
    assert!(matches!(message, Err(ModelSigningError::Method { found: "a message signature" })));
}

#[test]
fn every_part_of_a_bundle_is_looked_at() {
    use ModelSigningError as E;
    judge_bundle(|_| {}).unwrap();
    let envelope = |member: &'static str, value: Value| {
        judge_bundle(move |bundle| bundle["dsseEnvelope"][member] = value).unwrap_err()
    };
    let media = judge_bundle(|bundle| bundle["mediaType"] = json!("x"));
    assert!(matches!(media, Err(E::MediaType { found, .. }) if found == "x"));
    assert!(matches!(envelope("payloadType", json!("x")), E::PayloadType { .. }));
    assert!(matches!(envelope("payload", json!("*")), E::Base64 { what: "payload" }));
    assert!(matches!(envelope("payload", json!("e30=")), E::Signature { .. }));
    assert!(matches!(envelope("payload", json!(5)), E::Bundle(_)));
    assert!(matches!(envelope("signatures", json!([])), E::Signatures { found: 0 }));
    let two = json!([{"sig": ""}, {"sig": ""}]);
    assert!(matches!(envelope("signatures", two), E::Signatures { found: 2 }));
    let sig = |sig: &str| envelope("signatures", json!([{"sig": sig}]));
    assert!(matches!(sig("*"), E::Base64 { what: "signature" }));
    assert!(matches!(sig("AAAA"), E::SignatureForm { found: 3 }));
    for bytes in [&b""[..], b"[]", b"{}", b"{", b"\xff"] {
        assert!(matches!(judge(bytes), Err(E::Bundle(_))));
    }
    let mut long = bundle(&statement(|_| {}), |_| {});
    long.resize(BUNDLE_BYTES_MAX, b' ');
    judge(&long).unwrap();
    long.push(b' ');
    assert!(matches!(judge(&long), Err(E::BundleBytes { .. })));
}

#[test]
fn no_bit_of_a_signed_payload_may_change() {
    let bundle: Value = serde_json::from_slice(FILES).unwrap();
    let payload = Base64::decode_vec(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    for at in (0..payload.len()).step_by(97) {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        let mut bundle = bundle.clone();
        bundle["dsseEnvelope"]["payload"] = json!(Base64::encode_string(&changed));
        let refused = verify(&serde_json::to_vec(&bundle).unwrap(), &official());
        assert!(matches!(refused, Err(ModelSigningError::Signature { .. })), "{at}");
    }
}

#[test]
fn a_signed_statement_that_contradicts_itself_is_refused_by_cause() {
    use ModelSigningError as E;
    let of = |change: &dyn Fn(&mut Value)| judge_statement(|s| change(s)).unwrap_err();
    let serialization = |member: &'static str, value: Value| {
        judge_statement(move |s| s["predicate"]["serialization"][member] = value).unwrap_err()
    };
    let resource = |member: &'static str, value: Value| {
        judge_statement(move |s| s["predicate"]["resources"][1][member] = value).unwrap_err()
    };
    assert!(matches!(judge(&bundle(b"{", |_| {})), Err(E::Statement(_))));
    assert!(matches!(of(&|s| s["_type"] = json!("x")), E::StatementType { .. }));
    let compatible = "https://model_signing/Digests/v0.1";
    let old = of(&|s| s["predicateType"] = json!(compatible));
    assert!(matches!(old, E::StatementType { found, .. } if found == compatible));
    assert!(matches!(of(&|s| s["subject"] = json!([])), E::Subjects { found: 0 }));
    let two = of(&|s| s["subject"] = json!([s["subject"][0], s["subject"][0]]));
    assert!(matches!(two, E::Subjects { found: 2 }));
    let short = of(&|s| s["subject"][0]["digest"]["sha256"] = json!("00"));
    assert!(matches!(short, E::NotADigest { found, .. } if found == "00"));
    let other = of(&|s| s["subject"][0]["digest"]["sha256"] = json!("00".repeat(32)));
    assert!(matches!(other, E::Root { .. }));
    assert!(matches!(of(&|s| s["predicate"]["resources"] = json!([])), E::Root { .. }));
    assert!(matches!(serialization("method", json!("tensors")), E::Serialization { .. }));
    assert!(matches!(serialization("hash_type", json!("blake3")), E::Algorithm { .. }));
    assert!(matches!(serialization("allow_symlinks", json!("false")), E::Statement(_)));
    assert!(matches!(serialization("ignore_paths", json!(["../x"])), E::Name { .. }));
    assert!(matches!(serialization("ignore_paths", json!(["."])), E::Name { .. }));
    let many = vec!["a"; IGNORED_MAX + 1];
    assert!(matches!(serialization("ignore_paths", json!(many)), E::Statement(_)));
    assert!(matches!(serialization("method", json!("shards")), E::ShardSize { .. }));
    assert!(matches!(resource("algorithm", json!("blake2b")), E::Algorithm { .. }));
    assert!(matches!(resource("digest", json!("zz".repeat(32))), E::NotADigest { .. }));
    assert!(matches!(resource("digest", json!("00".repeat(32))), E::Root { .. }));
    assert!(matches!(resource("name", json!("a")), E::Twice { name } if name.path() == "a"));
    for name in ["", "/a", "../a", "a/..", "a//b", "a/", "./a", "a\0", &"a".repeat(4097)] {
        assert!(matches!(resource("name", json!(name)), E::Name { .. }), "{name}");
    }
    let fault = resource("name", json!(5)).to_string();
    assert!(fault.contains("predicate.resources[1].name"), "{fault}");
}

#[test]
fn names_of_shards_have_one_form() {
    let sharded = |name: &str, size: Value| {
        judge_statement(|s| {
            let digest = Digest::of_content(b"a");
            let root = super::folder::root(&[digest]).to_string();
            s["subject"][0]["digest"]["sha256"] = json!(root);
            s["predicate"]["serialization"]["method"] = json!("shards");
            s["predicate"]["serialization"]["shard_size"] = size;
            let digest = digest.to_string();
            s["predicate"]["resources"] =
                json!([{"name": name, "algorithm": "sha256-sharded-3", "digest": digest}]);
        })
    };
    for size in [json!(3), json!(3.0)] {
        assert_eq!(sharded("a:0:3", size).unwrap().selection.shard_bytes(), Some(3));
    }
    for size in [json!(0), json!(3.5), json!(-3), json!(1e300), json!(4_294_967_296_u64)] {
        let refused = sharded("a:0:3", size);
        assert!(matches!(refused, Err(ModelSigningError::ShardSize { .. })));
    }
    for name in ["a", "a:0", "a:0:3:4", "a:00:3", "a:0:+3", "a:3:3", "a:3:0", "../a:0:3", "a: 0:3"]
    {
        let refused = sharded(name, json!(3));
        assert!(matches!(refused, Err(ModelSigningError::Name { .. })), "{name}");
    }
}

#[test]
fn resources_end_at_their_limit() {
    let digest = Digest::of_content(b"a");
    let listed = |count: usize| {
        judge_statement(|s| {
            let resources = (0..count).map(|index| {
                json!({"name": index.to_string(), "algorithm": "sha256", "digest": digest.to_string()})
            });
            s["predicate"]["resources"] = resources.collect();
            let root = super::folder::root(&vec![digest; count]).to_string();
            s["subject"][0]["digest"]["sha256"] = json!(root);
        })
    };
    assert_eq!(listed(RESOURCES_MAX).unwrap().resources.len(), RESOURCES_MAX);
    assert!(matches!(listed(RESOURCES_MAX + 1), Err(ModelSigningError::Statement(_))));
}

#[test]
fn keys_of_other_kinds_are_refused_by_what_they_are() {
    use ModelSigningError as E;
    let private = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let pem = private.to_pkcs8_pem(LineEnding::CRLF).unwrap();
    let key = SigningKey::from_pem(&format!("comment\n{}", pem.as_str())).unwrap();
    assert_eq!(key.public(), own(7).public());
    let public = private.public_key().to_public_key_pem(LineEnding::LF).unwrap();
    assert_eq!(&VerifyingKey::from_pem(&public).unwrap(), key.public());
    let found = |refused: Result<SigningKey, E>| match refused {
        Err(E::Pem { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(SigningKey::from_pem(&public)), "PUBLIC KEY");
    assert_eq!(found(SigningKey::from_pem("-----BEGIN EC PRIVATE KEY-----\n")), "EC PRIVATE KEY");
    assert_eq!(found(SigningKey::from_pem("")), "");
    assert!(matches!(VerifyingKey::from_pem(&pem), Err(E::Pem { .. })));
    let cut = public.replace("-----END", "AAAA\n-----END");
    assert!(matches!(VerifyingKey::from_pem(&cut), Err(E::PublicKey(_))));
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert!(matches!(VerifyingKey::from_pem(ed25519), Err(E::PublicKey(_))));
    let long = " ".repeat(KEY_BYTES_MAX + 1);
    assert!(matches!(VerifyingKey::from_pem(&long), Err(E::KeyBytes { .. })));
    assert!(!format!("{key:?}").contains("0707"));
}
