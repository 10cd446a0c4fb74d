//! What the issuer streams, the verifier accepts event by event; what somebody changed, it refuses
//! before anyone has seen it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::ReceiptSecret,
    computation::{Controls, FinishReason, Micro, SamplingParameters, SignedMicro},
    ed25519::SigningKey,
    receipt::{Kind, Preparation, SeedSource},
};
use tally_issuer::{Admission, Draft, IssuerError, Node, NodeKeys, Prepared, StreamSigner};
use tally_log::Posix;
use tally_verifier::{
    Expected, ExpectedStream, Policy, Receipt, Rejection, StreamEnd, StreamVerifier, UnixTime,
    Verified, policy::HomePolicy, verify,
};

const TIME_MS: u64 = 1_790_000_000_000;
const NOW: UnixTime = UnixTime::from_ms(TIME_MS + 1);
const NONCE: &[u8] = b"client nonce";
const BODY: &[u8] = br#"{"stream":true}"#;

/// Payload, choice and tokens of each event.
const EVENTS: [(&[u8], u32, &[u32]); 5] = [
    (b"{\"role\"}", 0, &[]),
    (b"{\"a\"}", 0, &[42]),
    (b"{\"b\"}", 1, &[43, 44]),
    (b"{\"c\"}", 0, &[0]),
    (b"{\"usage\"}", 0, &[]),
];

fn keys() -> NodeKeys {
    let [receipt, log, cosigner] = [1, 2, 3].map(|byte| SigningKey::from_seed(&[byte; 32]));
    NodeKeys { receipt, log, cosigner }
}

fn admission(id: u8) -> Admission {
    Admission {
        id: [id; 16],
        secret: ReceiptSecret::from_bytes([id; 32]),
        time_ms: TIME_MS,
        nonce: Some(NONCE.to_vec()),
        kind: Kind::Chat,
        body: BODY.to_vec(),
        software: "tally/test".into(),
    }
}

fn prepared(choice: u32) -> Prepared {
    let digest = Digest::of_content(b"tokenizer");
    Prepared {
        arithmetic: "ra-1-draft.2".into(),
        model_root: digest,
        input: vec![1, 2],
        parameters: SamplingParameters {
            max_tokens: 8,
            temperature: Micro::ZERO,
            top_k: 0,
            top_p: Micro::ONE,
            stop_tokens: vec![],
            choice,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        controls: Controls::default(),
        seed: [4; 32],
        seed_source: SeedSource::Issuer,
        preparation: Preparation { tokenizer: digest, template: Some(digest), adjustments: vec![] },
    }
}

fn policy() -> Policy {
    let keys = keys();
    let (log, cosigner) = keys.verifiers().unwrap();
    let text = HomePolicy {
        issuer_name: "this node",
        issuer_key: &keys.receipt.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[Digest::of_content(b"tokenizer")],
        arithmetics: &["ra-1-draft.2"],
    };
    Policy::parse(&text.encode()).unwrap()
}

fn node(folder: &std::path::Path) -> Node {
    let storage = |name| Arc::new(Posix::create(folder.join(name)).unwrap());
    Node::open(storage("log"), storage("cosigner"), &keys()).unwrap()
}

/// A stream of two choices as it goes over the wire, and its receipts.
struct Streamed {
    signer: StreamSigner,
    signatures: Vec<[u8; 64]>,
    receipts: Vec<Verified<Receipt>>,
}

fn streamed() -> Streamed {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path());
    let admissions = [admission(1), admission(2)];
    let mut signer = node.stream(&[&admissions[0], &admissions[1]], &prepared(0)).unwrap();
    let mut drafts = admissions
        .into_iter()
        .zip(0..)
        .map(|(admission, choice)| Draft::new(admission, prepared(choice)).unwrap())
        .collect::<Vec<_>>();
    let (mut signatures, mut response) = (vec![], vec![]);
    for (payload, choice, tokens) in EVENTS {
        signatures.push(signer.sign(payload, choice, tokens));
        tokens.iter().for_each(|token| {
            drafts[choice as usize].append(*token);
        });
        response.extend_from_slice(payload);
        response.push(b'\n');
    }
    let receipts = drafts.into_iter().map(|draft| {
        let (statement, openings) = draft.finish(FinishReason::Cancelled, &response, None).unwrap();
        let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();
        let expected = Expected { nonce: Some(NONCE), request: Some(BODY), ..Expected::NOTHING };
        verify(&issued.bundle.encode(), &policy(), &expected, NOW).unwrap()
    });
    let receipts = receipts.collect();
    Streamed { signer, signatures, receipts }
}

impl Streamed {
    fn start(&self) -> Result<StreamVerifier, Rejection> {
        let salt = *self.signer.salt();
        let expected = ExpectedStream { nonce: Some(NONCE), request: BODY, salt };
        StreamVerifier::start(self.signer.head(), &policy(), &expected, NOW)
    }

    /// The verifier after the first `count` events.
    fn after(&self, count: usize) -> StreamVerifier {
        let mut verifier = self.start().unwrap();
        for ((payload, choice, tokens), signature) in
            EVENTS.iter().zip(&self.signatures).take(count)
        {
            verifier.event(payload, *choice, tokens, signature).unwrap();
        }
        verifier
    }

    fn finish(&self, verifier: &StreamVerifier) -> Result<StreamEnd, Rejection> {
        verifier.finish(&self.receipts.iter().collect::<Vec<_>>())
    }
}

fn code<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("accepted", |rejection| rejection.code())
}

#[test]
fn a_stream_of_two_choices_is_verified_event_by_event_and_with_its_receipts() {
    let streamed = streamed();
    let verifier = streamed.after(EVENTS.len());
    assert_eq!(verifier.issuer(), "this node");
    assert_eq!(verifier.head().ids, [[1; 16], [2; 16]]);
    assert_eq!(streamed.finish(&verifier), Ok(StreamEnd::Answered));
}

#[test]
fn every_change_of_an_event_is_refused_and_leaves_the_stream_as_it_was() {
    let streamed = streamed();
    let (payload, choice, tokens) = EVENTS[2];
    let signature = &streamed.signatures[2];
    let mut verifier = streamed.after(2);
    let mut flipped = *signature;
    flipped[40] ^= 1;
    for (payload, choice, tokens, signature) in [
        (&b"{\"B\"}"[..], choice, tokens, signature),
        (b"{\"b\"} ", choice, tokens, signature),
        (payload, 0, tokens, signature),
        (payload, choice, &[43, 45][..], signature),
        (payload, choice, &[43][..], signature),
        (payload, choice, tokens, &flipped),
        (payload, choice, tokens, &streamed.signatures[1]),
        // An event again, and one that comes too early.
        (EVENTS[1].0, EVENTS[1].1, EVENTS[1].2, &streamed.signatures[1]),
        (EVENTS[3].0, EVENTS[3].1, EVENTS[3].2, &streamed.signatures[3]),
    ] {
        assert_eq!(code(verifier.event(payload, choice, tokens, signature)), "stream/event");
    }
    assert_eq!(code(verifier.event(payload, 2, tokens, signature)), "stream/choice");
    assert_eq!(verifier.event(payload, choice, tokens, signature), Ok(()));
}

#[test]
fn a_stream_cut_short_at_any_event_is_refused() {
    let streamed = streamed();
    for count in 0..EVENTS.len() {
        let code = code(streamed.finish(&streamed.after(count)));
        assert!(["stream/output", "stream/response"].contains(&code), "{count}: {code}");
    }
}

#[test]
fn a_head_for_another_nonce_request_policy_or_time_is_refused() {
    let streamed = streamed();
    let salt = *streamed.signer.salt();
    let legal = ExpectedStream { nonce: Some(NONCE), request: BODY, salt };
    let start = |expected: &ExpectedStream<'_>, policy: &Policy, now| {
        code(StreamVerifier::start(streamed.signer.head(), policy, expected, now))
    };
    let other = ExpectedStream { nonce: Some(b"another nonce"), ..legal };
    assert_eq!(start(&other, &policy(), NOW), "stream/nonce");
    let other = ExpectedStream { request: b"{}", ..legal };
    assert_eq!(start(&other, &policy(), NOW), "stream/request");
    assert_eq!(start(&legal, &policy(), UnixTime::from_ms(TIME_MS - 3_600_000)), "policy/future");
    let unknown = ExpectedStream { nonce: None, ..legal };
    assert_eq!(start(&unknown, &policy(), NOW), "accepted");
}

#[test]
fn receipts_of_another_order_or_count_are_refused() {
    let streamed = streamed();
    let verifier = streamed.after(EVENTS.len());
    let [first, second] = &streamed.receipts[..] else { panic!("two choices") };
    assert_eq!(code(verifier.finish(&[first])), "stream/receipt-count");
    assert_eq!(code(verifier.finish(&[second, first])), "stream/receipt");
}

#[test]
fn a_refusal_in_the_end_is_told_from_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path());
    let admission = admission(1);
    let mut signer = node.stream(&[&admission], &prepared(0)).unwrap();
    let signature = signer.sign(b"{}", 0, &[7]);
    let draft = Draft::new(admission, prepared(0)).unwrap();
    let (statement, openings) = draft.refuse("arithmetic/refused").unwrap();
    let issued = node.issue(&statement, openings, TIME_MS / 1000).unwrap();
    let receipt = verify(&issued.bundle.encode(), &policy(), &Expected::NOTHING, NOW).unwrap();
    let expected = ExpectedStream { nonce: None, request: BODY, salt: *signer.salt() };
    let mut verifier = StreamVerifier::start(signer.head(), &policy(), &expected, NOW).unwrap();
    verifier.event(b"{}", 0, &[7], &signature).unwrap();
    let refused = StreamEnd::Refused { choice: 0, code: "arithmetic/refused".into() };
    assert_eq!(verifier.finish(&[&receipt]), Ok(refused));
}

#[test]
fn a_stream_has_1_to_128_choices_and_its_signer_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path());
    let admission = admission(1);
    assert!(matches!(node.stream(&[], &prepared(0)), Err(IssuerError::NoChoice)));
    let refused = node.stream(&[&admission; 129], &prepared(0));
    assert!(matches!(refused, Err(IssuerError::Limit { what: "stream", .. })));
    let signer = node.stream(&[&admission; 128], &prepared(0)).unwrap();
    assert!(!format!("{signer:?}").contains("key"));
}
