//! `cargo xtask vectors`: the accept and reject vectors of the receipt, made from fixed keys.
//!
//! Every reject vector starts from the scenario of an accept vector and departs from it in the one
//! way that its `case.json` states. Keys, times and salts are fixed, so the bytes never change
//! unless the format does.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::repo::Repo;
use scenario::Scenario;

mod accept;
mod attribution;
mod extended;
mod raw;
mod reject_appraisal;
mod reject_form;
mod reject_log;
mod reject_opening;
mod reject_policy;
mod reject_receipt;
mod scenario;
mod stream;
#[cfg(test)]
mod tests;

const FOLDER: &str = "vectors/receipt";

/// Writes every vector; leaves alone what other generators have written.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let files = files();
    for (path, bytes) in &files {
        let path = repo.root().join(FOLDER).join(path);
        let folder = path.parent().context("a vector has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let folders = files.keys().filter(|path| path.ends_with("case.json")).count();
    println!("vectors: {folders} folders in {FOLDER}");
    Ok(())
}

/// One vector: a scenario, the bytes that it leads to, and what they are to show.
struct Vector {
    name: &'static str,
    clauses: &'static [&'static str],
    what: String,
    inputs: Inputs,
    verdict: Verdict,
}

/// The arguments of `verify`.
struct Inputs {
    receipt: Vec<u8>,
    policy: String,
    expected: BTreeMap<&'static str, Vec<u8>>,
    now_ms: u64,
    /// What was streamed before the receipt came.
    stream: Option<Stream>,
}

/// What goes over the wire before the receipts, and the receipts after the first.
struct Stream {
    head: String,
    salt: String,
    events: Vec<Value>,
    more: Vec<Vec<u8>>,
}

enum Verdict {
    Accept { established: Vec<String>, not_established: Vec<String> },
    Reject { code: &'static str, differs_from: &'static str },
}

/// Every file of every vector, by its path below the folder of the vectors.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut rejects = reject_form::vectors();
    rejects.extend(reject_receipt::vectors());
    rejects.extend(reject_opening::vectors());
    rejects.extend(reject_log::vectors());
    rejects.extend(reject_policy::vectors());
    rejects.extend(reject_appraisal::vectors());
    rejects.extend(extended::rejected());
    rejects.extend(stream::rejected());
    rejects.extend(attribution::rejected());
    let mut accepts = accept::vectors();
    accepts.extend(extended::accepted());
    accepts.extend(stream::accepted());
    accepts.extend(attribution::accepted());
    for (kind, vectors) in [("accept", accepts), ("reject", rejects)] {
        for (number, vector) in vectors.into_iter().enumerate() {
            let folder = format!("{kind}/{:03}-{}", number + 1, vector.name);
            write(&folder, &vector, &mut files);
        }
    }
    files
}

fn write(folder: &str, vector: &Vector, files: &mut BTreeMap<String, Vec<u8>>) {
    let mut put = |name: &str, bytes: Vec<u8>| files.insert(format!("{folder}/{name}"), bytes);
    let inputs = &vector.inputs;
    put("receipt.cbor", inputs.receipt.clone());
    put("policy.toml", inputs.policy.clone().into_bytes());
    put("now", format!("{}\n", inputs.now_ms).into_bytes());
    let mut expected = serde_json::Map::new();
    for (field, bytes) in &inputs.expected {
        let value = match *field {
            "nonce" | "receipt_digest" => hex(bytes),
            file => {
                put(file, bytes.clone());
                file.to_owned()
            }
        };
        expected.insert((*field).to_owned(), Value::String(value));
    }
    if !expected.is_empty() {
        expected.sort_keys();
        put("expected.json", pretty(&Value::Object(expected)));
    }
    if let Some(stream) = &inputs.stream {
        let mut stream_json = stream::to_json(stream);
        stream_json.sort_all_objects();
        put("stream.json", pretty(&stream_json));
        for (place, receipt) in stream.more.iter().enumerate() {
            put(&stream::receipt_file(place + 1), receipt.clone());
        }
    }
    let mut case = json!({ "clause": vector.clauses, "what": vector.what });
    match &vector.verdict {
        Verdict::Accept { established, not_established } => {
            case["established"] = json!(established);
            case["not_established"] = json!(not_established);
        }
        Verdict::Reject { code, differs_from } => {
            case["code"] = json!(code);
            case["differs_from"] = json!(format!("accept/{differs_from}"));
        }
    }
    case.sort_all_objects();
    put("case.json", pretty(&case));
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A reject vector that is made from a whole scenario.
fn reject(
    name: &'static str,
    clause: &'static [&'static str],
    code: &'static str,
    what: &str,
    scenario: &Scenario,
) -> Vector {
    reject_bytes(name, clause, code, what, scenario, scenario.bundle_bytes())
}

/// A reject vector with bytes that no scenario encodes to.
fn reject_bytes(
    name: &'static str,
    clauses: &'static [&'static str],
    code: &'static str,
    what: &str,
    scenario: &Scenario,
    receipt: Vec<u8>,
) -> Vector {
    Vector {
        name,
        clauses,
        what: what.to_owned(),
        inputs: scenario.inputs(receipt),
        verdict: Verdict::Reject { code, differs_from: scenario.accepted_as },
    }
}
