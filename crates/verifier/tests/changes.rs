//! A receipt with anything changed never satisfies a policy, and nothing makes the verifier panic.
#![expect(clippy::unwrap_used, reason = "what a test cannot read ends the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use tally_core::commitment::Salt;
use tally_core::receipt::BUNDLE_BYTES_MAX;
use tally_verifier::{
    Expected, ExpectedStream, Policy, Rejection, StreamVerifier, UnixTime, open, verify,
};

struct Sample {
    receipt: Vec<u8>,
    policy: Policy,
    now: UnixTime,
}

impl Sample {
    fn read(name: &str) -> Self {
        let folder = folder().join(name);
        let text = |file| fs::read_to_string(folder.join(file)).unwrap();
        Self {
            receipt: fs::read(folder.join("receipt.cbor")).unwrap(),
            policy: Policy::parse(&text("policy.toml")).unwrap(),
            now: UnixTime::from_ms(text("now").trim_end().parse().unwrap()),
        }
    }

    fn verify(&self, receipt: &[u8]) -> Result<(), Rejection> {
        verify(receipt, &self.policy, &Expected::NOTHING, self.now).map(drop)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/receipt/accept")
}

/// Signed, opened, and in a log: cosigned by the operator's own cosigner, and by a quorum.
const NAMES: [&str; 2] = ["001-local", "003-logged"];

static SAMPLES: LazyLock<Vec<Sample>> =
    LazyLock::new(|| NAMES.iter().map(|name| Sample::read(name)).collect());

#[test]
fn a_receipt_with_any_byte_changed_is_rejected() {
    for sample in SAMPLES.iter() {
        sample.verify(&sample.receipt).unwrap();
        let mut receipt = sample.receipt.clone();
        for place in 0..receipt.len() {
            let original = receipt[place];
            let every: Vec<u8> = (1..=255).collect();
            let is_sampled = place < 16 || place % 17 == 0;
            let masks = if is_sampled { &every } else { &vec![0x01, 0x20, 0x80, 0xff] };
            for mask in masks {
                receipt[place] = original ^ mask;
                assert!(sample.verify(&receipt).is_err(), "byte {place} with mask {mask:#04x}");
            }
            receipt[place] = original;
        }
    }
}

#[test]
fn a_receipt_with_any_byte_taken_out_doubled_or_put_in_is_rejected() {
    let sample = &SAMPLES[0];
    for place in 0..sample.receipt.len() {
        let (before, after) = sample.receipt.split_at(place);
        for changed in [
            [before, &after[1..]].concat(),
            [before, &after[..1], after].concat(),
            [before, &[0], after].concat(),
            before.to_vec(),
        ] {
            assert!(sample.verify(&changed).is_err(), "byte {place}");
        }
    }
}

#[test]
fn a_stream_head_with_any_byte_changed_taken_out_or_put_in_is_rejected() {
    let sample = Sample::read("020-stream");
    let stream = fs::read(folder().join("020-stream/stream.json")).unwrap();
    let stream: serde_json::Value = serde_json::from_slice(&stream).unwrap();
    let bytes = |name: &str| hex::decode(stream[name].as_str().unwrap()).unwrap();
    let request = fs::read(folder().join("020-stream/request")).unwrap();
    let salt = Salt::from_bytes(bytes("salt").try_into().unwrap());
    let expected = ExpectedStream { nonce: None, request: &request, salt };
    let start = |head: &[u8]| StreamVerifier::start(head, &sample.policy, &expected, sample.now);
    let head = bytes("head");
    start(&head).unwrap();
    for place in 0..head.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = head.clone();
            changed[place] ^= mask;
            assert!(start(&changed).is_err(), "byte {place} with mask {mask:#04x}");
        }
        let (before, after) = head.split_at(place);
        assert!(start(before).is_err(), "cut at byte {place}");
        assert!(start(&[before, &after[1..]].concat()).is_err(), "byte {place} taken out");
        assert!(start(&[before, &[0], after].concat()).is_err(), "a byte put in at {place}");
    }
}

#[test]
fn a_receipt_of_64_mib_is_read_and_one_byte_more_is_not() {
    let sample = &SAMPLES[0];
    let limit = usize::try_from(BUNDLE_BYTES_MAX).unwrap();
    let mut bytes = vec![0; limit + 1];
    bytes[..sample.receipt.len()].copy_from_slice(&sample.receipt);
    let found = BUNDLE_BYTES_MAX + 1;
    let expected = Rejection::Size { limit: BUNDLE_BYTES_MAX, found };
    assert_eq!(sample.verify(&bytes), Err(expected.clone()));
    assert_eq!(expected.code(), "receipt/limit");
    assert!(expected.is_unreadable());
    assert_eq!(sample.verify(&bytes[..limit]).unwrap_err().code(), "receipt/trailing-bytes");
}

#[test]
fn opening_alone_asks_for_openings_and_for_no_signature() {
    let sample = &SAMPLES[0];
    let opened = open(&sample.receipt).unwrap();
    let computation = opened.receipt().computation().unwrap();
    assert_eq!(computation.input, [1, 17, 4_000, 5]);
    assert_eq!(computation.output, [9, 300, 2]);
    assert_eq!(computation.arithmetic, "ra-1-draft.1");
    // The last byte is in the opened output.
    let mut changed = sample.receipt.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(open(&changed).unwrap_err().code(), "receipt/output-chain");
    let refusal = Sample::read("005-refusal");
    assert_eq!(open(&refusal.receipt).unwrap().receipt().computation(), None);
    let signed_only = Sample::read("002-signed-only");
    assert_eq!(open(&signed_only.receipt).unwrap().receipt().computation(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_changes_are_rejected_and_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.2),
    ) {
        let sample = &SAMPLES[1];
        let mut receipt = sample.receipt.clone();
        for (place, byte) in edits {
            let place = place.index(receipt.len());
            receipt[place] = byte;
        }
        if is_cut {
            receipt.truncate(cut.index(receipt.len()));
        }
        let is_same = receipt == sample.receipt;
        prop_assert_eq!(sample.verify(&receipt).is_ok(), is_same);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SAMPLES[0].verify(&bytes).is_err());
    }

    #[test]
    fn random_policies_never_panic(
        place in any::<prop::sample::Index>(),
        text in "[ -~\n]{0,12}",
    ) {
        let policy = fs::read_to_string(folder().join("004-nested-quorum/policy.toml")).unwrap();
        let place = place.index(policy.len());
        let _ = Policy::parse(&format!("{}{text}{}", &policy[..place], &policy[place..]));
    }
}
