//! A stream's head: what is accepted has one encoding, and verifying it never panics.
//!
//! No mutation finds a signature, so what parses is judged again after it has been signed here.
//! The rest of the input is an event, which nobody has signed and which is never accepted.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::{Cbor, Decoder};
use tally_core::commitment::Salt;
use tally_core::ed25519::SigningKey;
use tally_core::note::{KeyName, SignatureType, VerifierKey};
use tally_core::receipt::{SignedStatement, key_id};
use tally_core::stream::{StreamHead, StreamTranscript};
use tally_verifier::policy::HomePolicy;
use tally_verifier::{ExpectedStream, Policy, StreamVerifier, UnixTime};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]));

const NOW: UnixTime = UnixTime::from_ms(1_790_000_000_000);
const REQUEST: &[u8] = b"{}";
const SALT: Salt = Salt::from_bytes([1; 32]);

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let name = KeyName::parse("fuzz.example/log").expect("a legal name");
    let public = |seed| SigningKey::from_seed(&[seed; 32]).public_key();
    let log = VerifierKey::new(name.clone(), SignatureType::Ed25519, public(8));
    let cosigner = VerifierKey::new(name, SignatureType::CosignatureV1, public(9));
    let text = HomePolicy {
        issuer_name: "fuzz",
        issuer_key: &KEY.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[],
        arithmetics: &[],
    }
    .encode()
    .replace("models = [\n]", "models = \"any\"")
    .replace("arithmetics = []", "arithmetics = \"any\"");
    Policy::parse(&text).expect("the fuzzer's own policy is legal")
});

fuzz_target!(|data: &[u8]| {
    let _ = start(data);
    let mut decoder = Decoder::new(data);
    let Ok(head) = StreamHead::decode_from(&mut decoder) else { return };
    let (encoded, rest) = data.split_at(decoder.offset());
    assert_eq!(head.encode(), encoded);
    // The request is the fuzzer's own, so that the head is one for it.
    let head = StreamHead { request: SALT.commit(REQUEST), ..head };
    let protected = head.header(key_id(KEY.public_key().as_bytes())).encode();
    let payload = head.encode();
    let signature = *KEY.sign(&SignedStatement::to_be_signed(&protected, &payload)).as_bytes();
    let bytes = SignedStatement { protected, payload, signature }.encode();
    let Some(mut verifier) = start(&bytes) else { return };
    let transcript = StreamTranscript::start(&bytes);
    let signature = *KEY.sign(&transcript.append(rest, 0, &[7]).signed_bytes()).as_bytes();
    assert!(verifier.event(rest, 0, &[8], &signature).is_err());
    assert!(verifier.event(rest, 0, &[7], &signature).is_ok());
    assert!(verifier.event(rest, 0, &[7], &signature).is_err());
    assert!(verifier.finish(&[]).is_err());
});

/// Starts twice, and compares the outcomes.
fn start(head: &[u8]) -> Option<StreamVerifier> {
    let expected = ExpectedStream { nonce: None, request: REQUEST, salt: SALT };
    let [one, other] = [(); 2].map(|()| StreamVerifier::start(head, &POLICY, &expected, NOW));
    assert_eq!(one.as_ref().err(), other.as_ref().err());
    one.ok()
}
