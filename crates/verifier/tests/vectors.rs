//! Every vector of `vectors/receipt`: the exact code of each reject, the exact findings of each
//! accept.
#![expect(clippy::unwrap_used, reason = "what a test cannot read ends the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally_core::Digest;
use tally_verifier::{Expected, Policy, Receipt, Rejection, UnixTime, Verified, verify};

struct Vector {
    folder: PathBuf,
    case: Value,
}

impl Vector {
    fn all(kind: &str) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/receipt").join(kind);
        let mut folders: Vec<_> =
            fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        assert!(folders.len() > 10, "only {} vectors", folders.len());
        folders
            .into_iter()
            .map(|folder| {
                let case = fs::read(folder.join("case.json")).unwrap();
                Self { case: serde_json::from_slice(&case).unwrap(), folder }
            })
            .collect()
    }

    fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.join(file)).unwrap()
    }

    fn verify(&self) -> Result<Verified<Receipt>, Rejection> {
        let policy = Policy::parse(&String::from_utf8(self.read("policy.toml")).unwrap())?;
        let expected: Value = match fs::read(self.folder.join("expected.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => Value::Null,
        };
        let hex = |field| expected.get(field).map(|v| hex::decode(v.as_str().unwrap()).unwrap());
        let file = |field| expected.get(field).map(|v| self.read(v.as_str().unwrap()));
        let (nonce, request, response) = (hex("nonce"), file("request"), file("response"));
        let expected = Expected {
            nonce: nonce.as_deref(),
            request: request.as_deref(),
            response: response.as_deref(),
            receipt_digest: hex("receipt_digest").and_then(|bytes| Digest::from_slice(&bytes)),
        };
        let now = String::from_utf8(self.read("now")).unwrap();
        let now = UnixTime::from_ms(now.trim_end().parse().unwrap());
        verify(&self.read("receipt.cbor"), &policy, &expected, now)
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_accept_vector_establishes_exactly_what_it_states() {
    for vector in Vector::all("accept") {
        let name = vector.name();
        let verified = vector.verify().unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
        let established: Vec<_> = verified.established().iter().map(|e| e.code()).collect();
        let gaps: Vec<_> = verified.not_established().iter().map(|gap| gap.code()).collect();
        assert_eq!(established, strings(&vector.case["established"]), "{name}");
        assert_eq!(gaps, strings(&vector.case["not_established"]), "{name}");
        assert_eq!(established.iter().filter(|code| gaps.contains(code)).count(), 0, "{name}");
    }
}

#[test]
fn every_reject_vector_yields_exactly_its_code() {
    let mut wrong = vec![];
    for vector in Vector::all("reject") {
        let expected = vector.case["code"].as_str().unwrap();
        match vector.verify() {
            Ok(_) => wrong.push(format!("{}: accepted, expected {expected}", vector.name())),
            Err(found) if found.code() != expected => {
                wrong.push(format!(
                    "{}: {} ({found}), expected {expected}",
                    vector.name(),
                    found.code()
                ));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_is_yielded_by_a_vector_and_no_code_stands_twice() {
    let yielded: BTreeSet<_> = Vector::all("reject")
        .iter()
        .map(|vector| vector.case["code"].as_str().unwrap().to_owned())
        .collect();
    let codes: BTreeSet<_> = Rejection::CODES.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(codes.len(), Rejection::CODES.len());
    assert_eq!(yielded, codes);
}

#[test]
fn messages_are_one_line_in_lower_case_without_a_full_stop() {
    for vector in Vector::all("reject") {
        let Err(rejection) = vector.verify() else { continue };
        let message = rejection.to_string();
        let first = message.chars().next().unwrap();
        assert!(first.is_lowercase(), "{}: {message}", vector.name());
        assert!(!message.ends_with('.') && !message.contains('\n'), "{}: {message}", vector.name());
        assert!(message.len() < 400, "{}: {message}", vector.name());
        if let Some(hint) = rejection.hint() {
            assert!(!hint.ends_with('.') && !hint.contains("  "), "{hint}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_refused() {
    for vector in Vector::all("reject") {
        let Err(rejection) = vector.verify() else { continue };
        let code = rejection.code();
        let unreadable_receipt = [
            "truncated",
            "type",
            "not-shortest",
            "form",
            "key-order",
            "duplicate-key",
            "unknown-claim",
            "missing-claim",
            "limit",
            "length",
            "utf8",
            "trailing-bytes",
            "tag",
            "unknown-value",
        ];
        let is_unreadable = match code.split_once('/').unwrap() {
            ("receipt", kind) => unreadable_receipt.contains(&kind),
            ("log", kind) => kind == "proof-form",
            ("policy", _) => matches!(rejection, Rejection::Policy(_)),
            _ => false,
        };
        assert_eq!(rejection.is_unreadable(), is_unreadable, "{code}");
    }
}
