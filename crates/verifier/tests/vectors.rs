//! Every vector of `vectors/receipt`: the exact code of each reject, the exact findings of each
//! accept.
#![expect(clippy::unwrap_used, reason = "what a test cannot read ends the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally_core::Digest;
use tally_core::commitment::Salt;
use tally_verifier::{
    Expected, ExpectedStream, Policy, Receipt, Rejection, StreamEnd, StreamVerifier, UnixTime,
    Verified, verify,
};

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
        match fs::read(self.folder.join("stream.json")) {
            Ok(stream) => {
                let stream = serde_json::from_slice(&stream).unwrap();
                self.verify_stream(&stream, &policy, &expected, now)
            }
            Err(_) => verify(&self.read("receipt.cbor"), &policy, &expected, now),
        }
    }

    /// Verifies head and events in their order, then the receipts, then both together.
    fn verify_stream(
        &self,
        stream: &Value,
        policy: &Policy,
        expected: &Expected<'_>,
        now: UnixTime,
    ) -> Result<Verified<Receipt>, Rejection> {
        let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
        let live = ExpectedStream {
            nonce: expected.nonce,
            request: expected.request.unwrap(),
            salt: Salt::from_bytes(bytes(&stream["salt"]).try_into().unwrap()),
        };
        let mut verifier = StreamVerifier::start(&bytes(&stream["head"]), policy, &live, now)?;
        for event in stream["events"].as_array().unwrap() {
            let payload = event["payload"].as_str().unwrap().as_bytes();
            let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
            let tokens: Vec<_> = event["tokens"].as_array().unwrap().iter().map(number).collect();
            let signature = bytes(&event["signature"]).try_into().unwrap();
            verifier.event(payload, number(&event["choice"]), &tokens, &signature)?;
        }
        let receipts: Vec<_> = strings(&stream["receipts"])
            .iter()
            .map(|file| verify(&self.read(file), policy, expected, now))
            .collect::<Result<_, _>>()?;
        let end = verifier.finish(&receipts.iter().collect::<Vec<_>>())?;
        assert_eq!(verifier.head().ids.len(), receipts.len(), "{}", self.name());
        assert_eq!(verifier.issuer(), "this node");
        let refusals = receipts.iter().filter_map(|r| r.get().statement.outcome.refusal());
        assert_eq!(end == StreamEnd::Answered, refusals.count() == 0, "{}", self.name());
        Ok(receipts.into_iter().next().unwrap())
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
            ("stream", kind) => kind == "form",
            ("policy", _) => matches!(rejection, Rejection::Policy(_)),
            _ => false,
        };
        assert_eq!(rejection.is_unreadable(), is_unreadable, "{code}");
    }
}

/// What the accept vector of this name says to people: established, claimed, not established.
fn told(name: &str) -> [Vec<String>; 3] {
    let vectors = Vector::all("accept");
    let verified = vectors.iter().find(|v| v.name() == name).unwrap().verify().unwrap();
    [
        verified.established().iter().map(ToString::to_string).collect(),
        verified.claims().iter().map(ToString::to_string).collect(),
        verified
            .not_established()
            .iter()
            .map(|g| format!("{}: {}", g.what(), g.reason()))
            .collect(),
    ]
}

const KEY: &str = "a3b83288341069acb689c7b75ca53a91ed99356e2a2005be12894f065f39a0ba";
const MODEL: &str = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4";

#[test]
fn a_verdict_says_what_was_established_and_by_what() {
    let [established, ..] = told("001-local");
    assert_eq!(
        established,
        [
            format!("signed: by issuer `this node` with key {KEY}"),
            "self-cosigned: entry 5 of 11 in log `log.example/one`, cosigned at \
             2026-09-21T14:13:21Z by `own` of the operator's own"
                .into(),
            "the sampling seed is the hash of nonce and input, chosen by no side".into(),
            "the opened request is the one that the statement commits to".into(),
            "the opened response is the one that the statement commits to".into(),
            "the opened input is the one that the statement commits to".into(),
            "the opened seed is the one that the statement commits to".into(),
            "the opened output is the one that the statement commits to".into(),
            "the statement holds your nonce".into(),
            "the receipt is for your request".into(),
            "the receipt is for the response you got".into(),
            format!("the model it names is accepted by the policy: {MODEL}"),
            "the arithmetic it names is accepted by the policy: ra-1-draft.1".into(),
        ]
    );
    assert_eq!(
        told("003-logged")[0][1],
        "logged: entry 5 of 11 in log `log.example/one` by 2026-09-21T14:13:40Z, cosigned by 3 of \
         4 (a, b, d), quorum 3 of 4 (a, b, c, d)"
    );
    // Of two proofs, the one with the earlier logged time, which is not the first in the bundle.
    assert!(told("007-completed-later")[0][1].contains("entry 5 of 11 in log"));
    assert!(told("016-two-proofs-of-one-time")[0][1].contains("entry 5 of 11 in log"));
    assert!(told("011-edges")[0].contains(&"the receipt is 0 milliseconds old".to_owned()));
    assert_eq!(
        told("012-any-model")[0][1],
        "included: entry 5 of 11 in log `log.example/one`; the log alone says so"
    );
    assert_eq!(told("014-receipt-digest")[0][1], "it is the receipt with the digest you named");
}

#[test]
fn a_verdict_lists_what_only_the_issuer_says() {
    let [_, claims, _] = told("009-completion");
    for claim in [
        "time: 2026-09-21T14:13:20Z",
        "kind: completion",
        "input tokens: 4",
        "finish: length",
        "top p: 0.95",
        "seed: the issuer's",
        "added: a token that begins every text",
        "dropped: the first 3 tokens",
        "rewrote: line ends",
        "price: 1000 · 10⁻⁹ USD",
    ] {
        assert!(claims.contains(&claim.to_owned()), "{claim}\n{}", claims.join("\n"));
    }
    assert!(
        ["attribution", "trace root", "keyset"]
            .iter()
            .all(|name| claims.iter().any(|claim| claim.starts_with(name)))
    );
    assert!(told("001-local")[1].contains(&"stop tokens: 0, 2".to_owned()));
    assert!(told("005-refusal")[1].contains(&"refused: context/length".to_owned()));
}

#[test]
fn penalties_controls_and_vectors_are_claimed_and_handed_to_a_replay() {
    let vectors = Vector::all("accept");
    let verified =
        |name: &str| vectors.iter().find(|v| v.name() == name).unwrap().verify().unwrap();
    let claims = &told("017-controls")[1];
    for claim in ["finish: stop-string", "presence penalty: 2", "frequency penalty: -0.5"] {
        assert!(claims.contains(&claim.to_owned()), "{claim}\n{}", claims.join("\n"));
    }
    assert!(!told("001-local")[1].iter().any(|claim| claim.contains("penalty")));
    let computation = verified("017-controls").get().computation().unwrap();
    assert_eq!(computation.controls.stop, ["\n\n"]);
    assert!(verified("001-local").get().computation().unwrap().controls.is_empty());
    assert!(verified("018-controls-hidden").get().computation().is_none());
    assert!(verified("001-local").get().embedding().is_none());

    let claims = &told("019-embedding")[1];
    for claim in ["kind: embedding", "input tokens: 4", "vectors: 2", "arithmetic: ra-1-draft.1"] {
        assert!(claims.contains(&claim.to_owned()), "{claim}\n{}", claims.join("\n"));
    }
    let verified = verified("019-embedding");
    assert!(verified.get().computation().is_none());
    let embedding = verified.get().embedding().unwrap();
    assert_eq!(embedding.inputs, [vec![1, 17, 4_000], vec![5]]);
    assert_eq!(embedding.vectors, [[16_777_216, 0, -1], [0, -16_777_216, 1]]);
}

#[test]
fn a_verdict_gives_a_reason_for_every_gap() {
    let vectors = Vector::all("accept");
    let mut reasons = BTreeSet::new();
    for vector in &vectors {
        for gap in vector.verify().unwrap().not_established() {
            assert!(!gap.what().is_empty() && gap.reason().len() > 15, "{gap:?}");
            reasons.insert(format!("{}: {}", gap.what(), gap.reason()));
        }
    }
    for reason in [
        "inclusion in log `log.example/two`: the policy does not name that log",
        "evidence of unknown kind 77: this release does not know that kind",
        "the input: the statement commits to it and the bundle does not open it",
        "that the model is one that you know: the policy accepts any",
        "that the receipt answers this very request: the statement holds no nonce",
    ] {
        assert!(reasons.contains(reason), "{reason}");
    }
    assert!(reasons.iter().any(|reason| reason.contains("holds only its digest")));
}

/// The rejection of the reject vector whose name ends so.
fn rejected(name: &str) -> Rejection {
    let vectors = Vector::all("reject");
    let vector = vectors.iter().find(|v| v.name().get(4..) == Some(name)).unwrap();
    vector.verify().unwrap_err()
}

#[test]
fn messages_hold_the_two_values_that_differ() {
    for (name, message) in [
        ("trailing-byte", "receipt cannot be read: 1 bytes follow the last item"),
        ("critical-header", "statement's header cannot be read: unknown key 2 in protected header"),
        ("unknown-claim", "statement cannot be read: unknown key -70012 in statement"),
        ("algorithm-eddsa", "statement is signed with algorithm -8, expected -19"),
        ("chat-without-template", "chat lacks a chat template, expected the opposite"),
        ("completion-with-template", "completion has a chat template, expected the opposite"),
        ("output-above-max-tokens", "output has 3 tokens, at most 2 were asked for"),
        ("evidence-twice", "evidence 1 (log inclusion) stands there already as evidence 0"),
        ("stop-token-passed", "output goes on after stop token 2 at place 1"),
        ("input-count", "opened input has 4 tokens, the statement says 5"),
        (
            "nonce-shortened",
            "statement holds nonce 6e6f6e6365206f662031362062797465, \
             the client sent 6e6f6e6365206f66",
        ),
        (
            "quorum-short-by-one",
            "checkpoint is cosigned by a, b, the quorum is 3 of 4 (a, b, c, d)",
        ),
        ("quorum-of-nobody", "checkpoint is cosigned by nobody, the quorum is 3 of 4 (a, b, c, d)"),
        (
            "quorum-with-own-cosigner",
            "checkpoint is cosigned by a, b, the quorum is 3 of 4 (a, b, c, d)",
        ),
        (
            "key-expired-at-statement",
            "key of `this node` is accepted until 2026-09-21T14:13:20Z, \
             the receipt is of 2026-09-21T14:13:20Z",
        ),
        ("older-than-allowed", "receipt is 1 millisecond old, the policy allows 0 milliseconds"),
        (
            "logged-too-late",
            "logged 20 seconds after the statement's time, the policy allows 19 seconds",
        ),
        (
            "stop-string-without-output",
            "output of 0 tokens is said to complete a stop string, and the statement commits to \
             controls, expected at least one token and a commitment",
        ),
        (
            "stop-string-without-controls",
            "output of 3 tokens is said to complete a stop string, and the statement commits to no \
             controls, expected at least one token and a commitment",
        ),
        ("answer-of-an-embedding", "embedding has output tokens for its outcome"),
        ("embedding-of-a-completion", "completion has vectors for its outcome"),
        ("embedding-text-missing", "opened input is of 1 texts, the statement says 2"),
        ("embedding-vector-missing", "opened output is of 1 texts, the statement says 2"),
        ("stream-event-of-no-choice", "event is of choice 1, and the stream head names 1"),
        (
            "stream-receipt-of-another-kind",
            "kind of the receipt of choice 0 is not that of the stream head",
        ),
        (
            "stream-cut-amid-the-tokens",
            "the 1 tokens that were streamed for choice 0 are not the receipt's output of 3",
        ),
        (
            "cosigned-in-the-future",
            "cosigned at 2026-09-21T14:19:21Z, and it is 2026-09-21T14:14:20Z now",
        ),
    ] {
        assert_eq!(rejected(name).to_string(), message);
    }
}

#[test]
fn hints_are_given_where_something_can_be_done() {
    for (name, hint) in [
        ("truncated", Some("the file may be damaged")),
        ("proof-not-a-proof", Some("the file may be damaged")),
        ("signature-of-zeros", Some("something in the statement was changed")),
        ("evidence-value", Some("something was changed after the receipt was made")),
        ("request-altered", Some("something was changed after the receipt was made")),
        ("output-cut", Some("something was changed after the receipt was made")),
        ("leaf-beyond-tree", Some("the proof may belong to another receipt")),
        ("proof-too-long", Some("the proof may belong to another receipt")),
        ("proof-of-another-leaf", Some("the proof may belong to another receipt")),
        ("evidence-stripped", Some("the receipt may be newer than its proof")),
        ("quorum-short-by-one", Some("the receipt may be newer than its proof")),
        ("not-cosigned", Some("the receipt may be newer than its proof")),
        ("key-not-in-policy", Some("add the issuer's key")),
        ("checkpoint-of-another-origin", Some("add the log")),
        ("key-revoked-and-not-logged", Some("whoever has a revoked key")),
        ("statement-in-the-future", Some("one of the clocks is wrong")),
        ("cosigned-in-the-future", Some("one of the clocks is wrong")),
        ("cosigned-before-statement", Some("one of the clocks is wrong")),
        ("request-not-opened", Some("use the bundle with its openings")),
        ("policy-logged-without-quorum", Some("a demand for `logged` needs")),
        ("stream-cut-short", Some("something between the issuer and you")),
        ("stream-token-altered", Some("something between the issuer and you")),
        ("stream-of-another-nonce", Some("the stream may be an old answer")),
        ("stream-of-another-request", Some("the stream may be an old answer")),
        ("stream-head-trailing-byte", None),
        ("policy-not-toml", None),
        ("algorithm-none", None),
    ] {
        let found = rejected(name).hint();
        match hint {
            Some(hint) => assert!(found.is_some_and(|found| found.starts_with(hint)), "{name}"),
            None => assert_eq!(found, None, "{name}"),
        }
    }
}

#[test]
fn keys_are_judged_at_the_logged_time_where_there_is_one() {
    let vectors = Vector::all("accept");
    let judged = |name: &str| {
        let verified = vectors.iter().find(|v| v.name() == name).unwrap().verify().unwrap();
        let (time, basis) = verified.judged_at();
        let trusted: Vec<_> = verified.assurances().map(|a| (a.code(), a.trusted())).collect();
        (format!("{time}, {basis}"), trusted)
    };
    let (logged, trusted) = judged("003-logged");
    assert_eq!(logged, "2026-09-21T14:13:40Z, the logged time");
    assert_eq!(
        trusted,
        [
            ("signed", "the issuer"),
            ("logged", "that too few of these cosigners lie to hide a second log")
        ]
    );
    let (local, trusted) = judged("001-local");
    assert_eq!(local, "2026-09-21T14:13:20Z, the statement's own time");
    assert_eq!(trusted[1], ("self-cosigned", "the operator, whose log and cosigner it is"));
    let (_, trusted) = judged("012-any-model");
    assert_eq!(trusted[1], ("included", "the log"));
}
