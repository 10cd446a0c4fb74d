//! `cargo xtask formats`: our forms of Croissant and OpenSSF Model Signing against the official packages.
//!
//! What the official tool signs, ours verifies, and the reverse; both refuse a folder in which a byte was
//! changed, a file added or one removed. What ours writes as Croissant, `mlcroissant` accepts, and `rfc8785`
//! finds canonical; what `mlcroissant` writes, ours reads. Whole files are signed, contributed, described and
//! exported by the program `tally` itself; shards, which it does not make, by the library below it.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use tally_attribution::croissant::{CroissantDataset, DescribedFile, Description};
use tally_attribution::model_signing::{
    Selection, SignedModel, SigningKey, VerifyingKey, sign, verify,
};
use tally_core::Digest;
use tally_core::contribution::{Contribution, ContributionKind, Extent, Parent, Relation};

use crate::python;
use crate::repo::Repo;
use crate::tally::Tally;

/// The official packages.
const PYTHON: &str = "xtask/python/formats.txt";
const SCRIPT: &str = "xtask/python/formats.py";
const SHARD_BYTES: u64 = 1000;
/// Files whose order is another as text and as paths, an empty one, one of several shards.
const FILES: [(&str, usize); 6] = [
    ("config.json", 120),
    ("config/a.bin", 3000),
    ("config/b c/ü.bin", 999),
    ("empty", 0),
    ("weights.safetensors", 2_500_000),
    (".gitignore", 5),
];

/// Runs all of it, and fails if the official packages judge otherwise than ours.
pub(crate) fn run_all(repo: &Repo) -> Result<()> {
    let python = python::environment(repo, "formats", PYTHON)?;
    let official = Official { python: &python, script: &repo.root().join(SCRIPT) };
    model_signing(&official)?;
    croissant(&official)?;
    let tally = Tally::build(repo)?;
    program_signs(&official, &tally)?;
    program_describes(&official, &tally)
}

struct Official<'a> {
    python: &'a Path,
    script: &'a Path,
}

impl Official<'_> {
    /// Runs a program of the environment.
    fn program(&self, name: &str, arguments: &[&Path], fixed: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.python.with_file_name(name));
        command.args(fixed).args(arguments);
        command.output().with_context(|| format!("{name} does not start"))
    }

    fn script(&self, act: &str, arguments: &[&Path]) -> Result<Output> {
        let mut command = Command::new(self.python);
        command.arg(self.script).arg(act).args(arguments);
        command.output().context("python does not start")
    }
}

fn succeed(output: &Output, what: &str) -> Result<()> {
    ensure!(output.status.success(), "{what} failed:\n{}", said(output));
    Ok(())
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn write_model(folder: &Path) -> Result<()> {
    for (name, size) in FILES {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        let bytes: Vec<u8> = (0..251_u8).cycle().take(size).collect();
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Makes a change that no signature may survive.
type Change = fn(&Path) -> std::io::Result<()>;

const CHANGES: [(&str, Change); 3] = [
    ("changed byte", |folder| {
        let path = folder.join("config/a.bin");
        let mut bytes = fs::read(&path)?;
        bytes[1500] ^= 1;
        fs::write(path, bytes)
    }),
    ("added file", |folder| fs::write(folder.join("config/more"), "x")),
    ("removed file", |folder| fs::remove_file(folder.join("config.json"))),
];

fn model_signing(official: &Official<'_>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let at = |name: &str| home.path().join(name);
    succeed(&official.script("keys", &[home.path()])?, "making keys")?;
    let signing = SigningKey::from_pem(&fs::read_to_string(at("private.pem"))?)?;
    let verifying = VerifyingKey::from_pem(&fs::read_to_string(at("public.pem"))?)?;
    ensure!(signing.public() == &verifying, "the two halves of a key are not one key");
    let model = tempfile::tempdir()?;
    write_model(model.path())?;
    let whole = Selection::default();
    let shards = Selection::default().in_shards(SHARD_BYTES)?;
    for (how, selection) in [("files", whole), ("shards", shards)] {
        let their_bundle = at(&format!("theirs-{how}.sig"));
        let signed = by_theirs(official, how, &home, Act::Sign, (model.path(), &their_bundle))?;
        succeed(&signed, "signing")?;
        let theirs = verify(&fs::read(&their_bundle)?, &verifying)?;
        let our_bundle = at(&format!("ours-{how}.sig"));
        fs::write(&our_bundle, sign(model.path(), &selection, &signing)?)?;
        let ours = verify(&fs::read(&our_bundle)?, &verifying)?;
        ensure!(ours.root == theirs.root, "{how}: root {}, official {}", ours.root, theirs.root);
        ensure!(ours.resources == theirs.resources, "{how}: other resources");
        let verified = by_theirs(official, how, &home, Act::Verify, (model.path(), &our_bundle))?;
        succeed(&verified, "verifying")?;
        theirs.compare(model.path(), &[])?;
        println!("{how}: {} resources, root {}", ours.resources.len(), ours.root);
        for (what, change) in CHANGES {
            refused_by_both(official, how, &home, (what, change), (&theirs, &our_bundle))?;
        }
    }
    Ok(())
}

/// What the official tool does with a model and a signature.
#[derive(Clone, Copy)]
enum Act {
    Sign,
    Verify,
}

fn by_theirs(
    official: &Official<'_>,
    how: &str,
    home: &TempDir,
    act: Act,
    (model, signature): (&Path, &Path),
) -> Result<Output> {
    let (verb, file, option) = match act {
        Act::Sign => ("sign", "private.pem", "--private_key"),
        Act::Verify => ("verify", "public.pem", "--public_key"),
    };
    let key = home.path().join(file);
    let size = SHARD_BYTES.to_string();
    match how {
        "shards" => {
            official.script(&format!("{verb}-shards"), &[model, &key, signature, Path::new(&size)])
        }
        _ => official.program(
            "model_signing",
            &[model, Path::new(option), &key, Path::new("--signature"), signature],
            &[verb, "key"],
        ),
    }
}

/// Ours refuses by the official bundle, the official tool by ours.
fn refused_by_both(
    official: &Official<'_>,
    how: &str,
    home: &TempDir,
    (what, change): (&str, Change),
    (theirs, our_bundle): (&SignedModel, &Path),
) -> Result<()> {
    let model = tempfile::tempdir()?;
    write_model(model.path())?;
    change(model.path())?;
    let Err(refusal) = theirs.compare(model.path(), &[]) else {
        bail!("{how}: ours accepts a {what}");
    };
    let output = by_theirs(official, how, home, Act::Verify, (model.path(), our_bundle))?;
    ensure!(!output.status.success(), "{how}: the official tool accepts a {what}");
    let words = said(&output);
    ensure!(words.contains("mismatch"), "{how}: refused for another reason:\n{words}");
    println!("{how}: {what} refused by both: {refusal}");
    Ok(())
}

fn croissant(official: &Official<'_>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let files: Vec<DescribedFile> = FILES.into_iter().map(described).collect();
    let mut contribution = contribution();
    for (what, licence, parents) in [
        ("licensed, derived", "CC-BY-4.0", contribution.parents.clone()),
        ("bare", "unknown", vec![]),
    ] {
        contribution.licence = licence.into();
        contribution.parents = parents;
        let manifest = Digest::of_content(what.as_bytes());
        let description =
            Description { contribution: &contribution, manifest, text: None, files: &files };
        let document = description.encode()?;
        let path = home.path().join("croissant.json");
        fs::write(&path, &document)?;
        let output = official.program("mlcroissant", &[&path], &["validate", "--jsonld"])?;
        succeed(&output, "mlcroissant validate")?;
        let words = said(&output);
        ensure!(words.contains("Done"), "mlcroissant says nothing of having finished:\n{words}");
        for line in words.lines().filter(|line| !line.trim().is_empty()) {
            println!("croissant, {what}: mlcroissant: {line}");
        }
        succeed(&official.script("canonical", &[&path])?, "canonical form")?;
        let read = CroissantDataset::parse(document.as_bytes())?;
        ensure!(read.manifest == Some(manifest), "croissant, {what}: the manifest is lost");
        ensure!(read.files.len() == files.len(), "croissant, {what}: files are lost");
    }
    Ok(())
}

/// A command of the program, with what it says in JSON; the status is for the caller.
fn program<A: AsRef<OsStr>>(
    tally: &Tally,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Output> {
    Ok(tally.command().args(arguments).arg("--json").output()?)
}

/// What a command of the program says, which must succeed.
fn told<A: AsRef<OsStr>>(
    tally: &Tally,
    what: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Value> {
    let output = program(tally, arguments)?;
    succeed(&output, what)?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{what} said no JSON"))
}

/// `tally model sign` for the official tool, and its bundle for `tally contribute adapter`.
fn program_signs(official: &Official<'_>, tally: &Tally) -> Result<()> {
    let home = tempfile::tempdir()?;
    let at = |name: &str| home.path().join(name);
    succeed(&official.script("keys", &[home.path()])?, "making keys")?;
    let model = tempfile::tempdir()?;
    write_model(model.path())?;
    let [ours, theirs] = ["ours.sig", "theirs.sig"].map(at);
    let (private, public) = (at("private.pem"), at("public.pem"));
    let folder = model.path().as_os_str();
    let arguments =
        [OsStr::new("model"), OsStr::new("sign"), folder, OsStr::new("--key"), private.as_os_str()];
    let out = [OsStr::new("--out"), ours.as_os_str()];
    let signed = told(tally, "tally model sign", arguments.into_iter().chain(out))?;
    let verified = by_theirs(official, "files", &home, Act::Verify, (model.path(), &ours))?;
    succeed(&verified, "verifying what `tally model sign` made")?;
    let by_them = by_theirs(official, "files", &home, Act::Sign, (model.path(), &theirs))?;
    succeed(&by_them, "signing")?;
    let contribute = |folder: &Path| {
        let words = ["contribute", "adapter"].map(OsStr::new).into_iter();
        let words = words.chain([folder.as_os_str()]);
        let words = words.chain(["--name", "Signed by the official tool"].map(OsStr::new));
        let bundle = [OsStr::new("--signed-by"), theirs.as_os_str()];
        let key = [OsStr::new("--key"), public.as_os_str()];
        words.chain(bundle).chain(key).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let made = told(tally, "tally contribute adapter", contribute(model.path()))?;
    for (what, root) in [("subject", &made["subject"]), ("root", &made["signed_by"]["root"])] {
        ensure!(*root == signed["root"], "program: {what} {root}, signed {}", signed["root"]);
    }
    println!("program: {} files signed and contributed, root {}", signed["files"], signed["root"]);
    for (what, change) in CHANGES {
        let other = tempfile::tempdir()?;
        write_model(other.path())?;
        change(other.path())?;
        let refused = program(tally, contribute(other.path()))?;
        ensure!(refused.status.code() == Some(2), "program: `contribute` accepts a {what}");
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(complaint.contains("is not what"), "program: refused otherwise:\n{complaint}");
        println!("program: {what} refused: {}", complaint.trim());
        let output = by_theirs(official, "files", &home, Act::Verify, (other.path(), &ours))?;
        ensure!(!output.status.success(), "the official tool accepts a {what}");
    }
    Ok(())
}

/// What `mlcroissant` describes, contributed; and what is registered, described for `mlcroissant`.
fn program_describes(official: &Official<'_>, tally: &Tally) -> Result<()> {
    let home = tempfile::tempdir()?;
    let at = |name: &str| home.path().join(name);
    let texts = at("texts");
    fs::create_dir_all(texts.join("part b"))?;
    fs::write(texts.join("a.txt"), "A lock keeps others out of a table.")?;
    fs::write(texts.join("part b/ü 1.md"), "A view is a query with a name.")?;
    let (theirs, ours) = (at("theirs.json"), at("ours.json"));
    succeed(&official.script("describe", &[&texts, &theirs])?, "describing by mlcroissant")?;
    let words = ["contribute", "dataset"].map(OsStr::new).into_iter().chain([texts.as_os_str()]);
    let described = [OsStr::new("--croissant"), theirs.as_os_str()];
    let made = told(tally, "tally contribute dataset", words.chain(described))?;
    ensure!(made["croissant"]["files"] == 2, "program: files are lost: {made}");
    ensure!(made["licence"] == "CC-BY-4.0", "program: another licence: {made}");
    let manifest = made["manifest"].as_str().context("no manifest")?;
    let words = ["registry", "export", manifest, "--croissant"].map(OsStr::new).into_iter();
    told(tally, "tally registry export", words.chain([ours.as_os_str()]))?;
    let output = official.program("mlcroissant", &[&ours], &["validate", "--jsonld"])?;
    succeed(&output, "mlcroissant validate")?;
    ensure!(said(&output).contains("Done"), "mlcroissant did not finish:\n{}", said(&output));
    succeed(&official.script("canonical", &[&ours])?, "canonical form")?;
    fs::rename(&ours, texts.join("croissant.json"))?;
    succeed(
        &official.script("digests", &[&texts.join("croissant.json")])?,
        "files of our document",
    )?;
    println!("program: mlcroissant's document contributed as {manifest}, and ours loaded by it");
    Ok(())
}

fn described((name, size): (&str, usize)) -> DescribedFile {
    let bytes = vec![0; size];
    let size_bytes = bytes.len().try_into().unwrap_or(u64::MAX);
    DescribedFile { name: name.into(), sha256: Digest::of_content(&bytes), size_bytes, url: None }
}

fn contribution() -> Contribution {
    let parent = |relation, byte, share_bps| Parent {
        relation,
        manifest: Digest::from_bytes([byte; 32]),
        share_bps,
    };
    Contribution {
        contributor: [0x3b; 32],
        kind: ContributionKind::Dataset,
        name: "Manual pages".into(),
        licence: "unknown".into(),
        subject: Digest::from_bytes([1; 32]),
        extent: Extent { count: 6, size_bytes: 2_504_124 },
        time_ms: 1_795_219_200_000,
        parents: vec![parent(Relation::DerivedFrom, 2, 2500), parent(Relation::TrainedOn, 3, 0)],
        version: Some("6.9.0".into()),
        source: Some("https://example.org/pages".into()),
        payee: None,
    }
}
