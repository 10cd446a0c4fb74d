//! The whole verdict: it never panics, and the same arguments yield the same verdict twice.
//!
//! No mutation finds a signature, so what parses is judged again after it has been signed here,
//! with and without its evidence.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::Cbor;
use tally_core::ed25519::SigningKey;
use tally_core::note::{KeyName, SignatureType, VerifierKey};
use tally_core::receipt::{Bundle, ProtectedHeader, SignedStatement, Statement, key_id};
use tally_verifier::policy::HomePolicy;
use tally_verifier::{Expected, Policy, UnixTime, verify};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]));

const NOW: UnixTime = UnixTime::from_ms(1_800_000_000_000);

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
    .encode();
    // Any model and arithmetic, and no log demanded: the deeper parts are reached more often.
    let text = text
        .replace("models = [\n]", "models = \"any\"")
        .replace("arithmetics = []", "arithmetics = \"any\"")
        .replace(", \"self-cosigned\"", "");
    Policy::parse(&text).expect("the fuzzer's own policy is legal")
});

fuzz_target!(|data: &[u8]| {
    judge(data);
    let Ok(bundle) = Bundle::parse(data) else { return };
    let Ok(statement) = Statement::parse(&bundle.statement.payload) else { return };
    let signed = sign(bundle, &statement);
    judge(&signed.encode());
    judge(&Bundle { evidence: Vec::new(), ..signed }.encode());
});

/// Verifies twice, and compares the verdicts.
fn judge(receipt: &[u8]) {
    let expected = Expected { nonce: receipt.get(..8), ..Expected::NOTHING };
    for expected in [expected, Expected::NOTHING] {
        let verdicts = [(); 2].map(|()| verify(receipt, &POLICY, &expected, NOW));
        assert_eq!(format!("{:?}", verdicts[0]), format!("{:?}", verdicts[1]));
    }
}

/// The bundle with its statement signed by the fuzzer's key.
fn sign(bundle: Bundle, statement: &Statement) -> Bundle {
    let payload = bundle.statement.payload;
    let key_id = key_id(KEY.public_key().as_bytes());
    let protected = ProtectedHeader::new(key_id, &statement.id).encode();
    let signature = *KEY.sign(&SignedStatement::to_be_signed(&protected, &payload)).as_bytes();
    Bundle { statement: SignedStatement { protected, payload, signature }, ..bundle }
}
