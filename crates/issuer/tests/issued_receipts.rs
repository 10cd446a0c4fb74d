//! What the issuer makes, the verifier accepts; what was not finished leaves no receipt.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::{Field, OutputChain, ReceiptSecret},
    computation::{Controls, FinishReason, Micro, SamplingParameters, SignedMicro, derived_seed},
    ed25519::SigningKey,
    receipt::{Kind, Preparation, SeedSource},
};
use tally_issuer::{
    Admission, Draft, IssuerError, Node, NodeKeys, Prepared, PreparedEmbedding, choose_seed, embed,
    refuse,
};
use tally_log::Posix;
use tally_verifier::{Expected, Policy, UnixTime, policy::HomePolicy, verify};

const TIME_MS: u64 = 1_790_000_000_000;

fn keys() -> NodeKeys {
    NodeKeys {
        receipt: SigningKey::from_seed(&[1; 32]),
        log: SigningKey::from_seed(&[2; 32]),
        cosigner: SigningKey::from_seed(&[3; 32]),
    }
}

fn model_root() -> Digest {
    Digest::from_bytes([5; 32])
}

fn admission(id: u8) -> Admission {
    Admission {
        id: [id; 16],
        secret: ReceiptSecret::from_bytes([id; 32]),
        time_ms: TIME_MS,
        nonce: Some(b"client nonce".to_vec()),
        kind: Kind::Chat,
        body: br#"{"messages":[]}"#.to_vec(),
        software: "tally/test".into(),
    }
}

fn prepared() -> Prepared {
    let input = vec![1, 3, 700, 0, 4];
    let (seed, seed_source) = choose_seed(None, Some(b"client nonce"), &input, [0; 32]);
    let parameters = SamplingParameters {
        max_tokens: 8,
        temperature: Micro::ZERO,
        top_k: 0,
        top_p: Micro::ONE,
        stop_tokens: vec![0],
        choice: 0,
        presence_penalty: SignedMicro::ZERO,
        frequency_penalty: SignedMicro::ZERO,
    };
    let digest = Digest::of_content(b"tokenizer");
    Prepared {
        arithmetic: "ra-1-draft.1".into(),
        model_root: model_root(),
        input,
        parameters,
        controls: Controls::default(),
        seed,
        seed_source,
        preparation: Preparation { tokenizer: digest, template: Some(digest), adjustments: vec![] },
    }
}

fn policy(keys: &NodeKeys) -> Policy {
    let (log, cosigner) = keys.verifiers().unwrap();
    let text = HomePolicy {
        issuer_name: "this node",
        issuer_key: &keys.receipt.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[model_root()],
        arithmetics: &["ra-1-draft.1"],
    };
    Policy::parse(&text.encode()).unwrap()
}

fn open(folder: &std::path::Path, keys: &NodeKeys) -> Result<Node, IssuerError> {
    let log = Posix::create(folder.join("log")).unwrap();
    let cosigner = Posix::create(folder.join("cosigner")).unwrap();
    Node::open(Arc::new(log), Arc::new(cosigner), keys)
}

#[test]
fn an_issued_answer_satisfies_the_home_policy_with_all_that_the_client_knows() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let mut draft = Draft::new(admission(1), prepared()).unwrap();
    let links: Vec<Digest> = [42, 43, 0].map(|token| draft.append(token)).into();
    let (statement, openings) = draft.finish(FinishReason::Stop, b"two words", None).unwrap();
    let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();

    let expected = Expected {
        nonce: Some(b"client nonce"),
        request: Some(br#"{"messages":[]}"#),
        response: Some(b"two words"),
        receipt_digest: Some(issued.digest),
    };
    let now = UnixTime::from_ms(TIME_MS);
    let verified = verify(&issued.bundle.encode(), &policy(&keys()), &expected, now).unwrap();
    let codes: Vec<String> = verified.established().iter().map(|e| e.code()).collect();
    for code in ["signed", "self-cosigned", "seed", "opened/output", "expected/response"] {
        assert!(codes.iter().any(|found| found == code), "{code} is not among {codes:?}");
    }
    assert!(!codes.iter().any(|code| code == "logged"), "a node's own cosigner is no quorum");

    let computation = verified.get().computation().unwrap();
    assert_eq!(computation.output, [42, 43, 0]);
    assert_eq!(computation.seed, derived_seed(b"client nonce", &computation.input));
    // A client that has the salt verifies a stream token by token.
    let salt = issued.bundle.openings[&Field::Output].salt;
    assert_eq!(links[1], OutputChain::of(&salt, &[42, 43]).link());
}

#[test]
fn controls_are_committed_to_opened_and_part_of_the_computation() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let controls = Controls { stop: vec!["two".into()], ..Controls::default() };
    let prepared = Prepared { controls: controls.clone(), ..prepared() };
    let mut draft = Draft::new(admission(1), prepared).unwrap();
    draft.append(42);
    assert_eq!(draft.computation(FinishReason::StopString).controls, controls);
    let (statement, openings) = draft.finish(FinishReason::StopString, b"", None).unwrap();
    let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();
    let now = UnixTime::from_ms(TIME_MS);
    let expected = Expected { nonce: Some(b"client nonce"), ..Expected::NOTHING };
    let verified = verify(&issued.bundle.encode(), &policy(&keys()), &expected, now).unwrap();
    assert!(verified.established().iter().any(|e| e.code() == "opened/controls"));
    assert_eq!(verified.get().computation().unwrap().controls, controls);

    // Without their opening nobody can repeat the computation.
    let mut hidden = issued.bundle;
    hidden.openings.remove(&Field::Controls);
    let verified = verify(&hidden.encode(), &policy(&keys()), &expected, now).unwrap();
    assert!(verified.get().computation().is_none());
}

#[test]
fn controls_that_no_verifier_could_read_are_refused_before_anything_is_computed() {
    let empty = Controls { stop: vec![String::new()], ..Controls::default() };
    let twice = Controls { bias: vec![(1, SignedMicro::ZERO); 2], ..Controls::default() };
    for controls in [empty, twice] {
        let prepared = Prepared { controls, ..prepared() };
        let refused = Draft::new(admission(1), prepared);
        assert!(matches!(refused, Err(IssuerError::Controls(_))), "{refused:?}");
    }
}

fn prepared_embedding() -> PreparedEmbedding {
    let Prepared { arithmetic, model_root, preparation, .. } = prepared();
    let preparation = Preparation { template: None, ..preparation };
    PreparedEmbedding { arithmetic, model_root, inputs: vec![vec![1, 2], vec![3]], preparation }
}

#[test]
fn issued_embeddings_satisfy_the_home_policy_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let admission = Admission { kind: Kind::Embedding, ..admission(1) };
    let vectors = [vec![1, -2], vec![i32::MIN, i32::MAX]];
    let (statement, openings) =
        embed(admission, prepared_embedding(), &vectors, b"[vectors]", None).unwrap();
    let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();
    let expected = Expected {
        nonce: Some(b"client nonce"),
        request: Some(br#"{"messages":[]}"#),
        response: Some(b"[vectors]"),
        receipt_digest: Some(issued.digest),
    };
    let now = UnixTime::from_ms(TIME_MS);
    let verified = verify(&issued.bundle.encode(), &policy(&keys()), &expected, now).unwrap();
    assert!(verified.get().computation().is_none());
    let embedding = verified.get().embedding().unwrap();
    assert_eq!(embedding.inputs, [vec![1, 2], vec![3]]);
    assert_eq!(embedding.vectors, vectors);
}

#[test]
fn embeddings_that_no_verifier_could_read_are_refused() {
    let refused = |vectors: &[Vec<i32>]| {
        let admission = Admission { kind: Kind::Embedding, ..admission(1) };
        embed(admission, prepared_embedding(), vectors, b"", None).unwrap_err()
    };
    assert!(matches!(refused(&[vec![1]]), IssuerError::Vectors { expected: 2, found: 1 }));
    assert!(matches!(refused(&[vec![1], vec![]]), IssuerError::Embedding(_)));
    assert!(matches!(refused(&[vec![1], vec![1, 2]]), IssuerError::Embedding(_)));
    let wide = vec![i32::MIN; 1 << 16];
    let prepared = PreparedEmbedding { inputs: vec![vec![1]; 32], ..prepared_embedding() };
    let admission = Admission { kind: Kind::Embedding, ..admission(1) };
    let refused = embed(admission, prepared, &vec![wide; 32], b"", None).unwrap_err();
    assert!(matches!(refused, IssuerError::Limit { what: "output", unit: "bytes", .. }));
}

#[test]
fn a_refused_request_has_a_receipt_too() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let (statement, openings) = refuse(admission(2), "context/length").unwrap();
    let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();
    let now = UnixTime::from_ms(TIME_MS);
    let policy = policy(&keys());
    let verdict = verify(&issued.bundle.encode(), &policy, &Expected::NOTHING, now);
    let receipt = verdict.unwrap();
    assert_eq!(receipt.get().statement.outcome.refusal().unwrap().code, "context/length");
    assert!(receipt.get().computation().is_none());
}

#[test]
fn receipts_of_many_threads_have_distinct_entries_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let issue = |id: u8| {
        let (statement, openings) = refuse(admission(id), "test/refused").unwrap();
        node.issue(&statement, openings, TIME_MS / 1000).unwrap()
    };
    let mut issued: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|id| scope.spawn(move || issue(id))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    issued.sort_by_key(|receipt| receipt.log_index);
    assert!(issued.iter().map(|receipt| receipt.log_index).eq(0..16));
    drop(node);
    let node = open(folder.path(), &keys()).unwrap();
    for receipt in &issued {
        let found = node.sequencer().with_log(|log| log.lookup(&receipt.digest)).unwrap();
        assert_eq!(found.map(|index| index.0), Some(receipt.log_index));
    }
}

#[test]
fn a_log_that_vanished_beside_its_cosigner_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), &keys()).unwrap();
    let (statement, openings) = refuse(admission(1), "test/refused").unwrap();
    node.issue(&statement, openings, TIME_MS / 1000).unwrap();
    drop(node);
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    assert!(matches!(open(folder.path(), &keys()), Err(IssuerError::Log(_))));
}

#[test]
fn the_seed_is_the_clients_else_derived_else_the_issuers() {
    let (own, issuer) = ([1; 32], [2; 32]);
    assert_eq!(choose_seed(Some(own), Some(b"n"), &[1], issuer), (own, SeedSource::Client));
    let derived = (derived_seed(b"n", &[1]), SeedSource::Derived);
    assert_eq!(choose_seed(None, Some(b"n"), &[1], issuer), derived);
    assert_eq!(choose_seed(None, None, &[1], issuer), (issuer, SeedSource::Issuer));
}

#[test]
fn what_does_not_fit_the_wire_format_is_refused_before_anything_is_signed() {
    for length in [0, 7, 65] {
        let short = Admission { nonce: Some(vec![0; length]), ..admission(1) };
        assert!(
            matches!(refuse(short, "x/y"), Err(IssuerError::Nonce { found }) if found == length)
        );
    }
    let large = Admission { body: vec![0; (8 << 20) + 1], ..admission(1) };
    assert!(matches!(Draft::new(large, prepared()), Err(IssuerError::Limit { .. })));
    let largest = Admission { body: vec![0; 8 << 20], ..admission(1) };
    assert!(Draft::new(largest, prepared()).is_ok());
}
