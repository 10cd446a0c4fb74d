//! Reject vectors of the signed statement: header, signature, claims that contradict each other.

use tally_core::cbor::Cbor as _;
use tally_core::commitment::{Field, OutputChain};
use tally_core::receipt::{Answer, Price, ProtectedHeader, SeedSource, key_id};

use super::raw::{flip, pair, replace, second_form};
use super::scenario::{MADE_MS, NONCE, RESPONSE, STOP, Scenario, digest, key, opening, secret};
use super::{Vector, accept, reject, reject_bytes};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = envelope();
    vectors.extend(flipped_fields());
    vectors.extend(contradictions());
    vectors
}

/// Header and signature.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn envelope() -> Vec<Vector> {
    let local = Scenario::local();
    let header = |name, clause, code, what, edit: &dyn Fn(&mut ProtectedHeader)| {
        let mut header = local.header();
        edit(&mut header);
        reject(name, clause, code, what, &Scenario { header: Some(header), ..local.clone() })
    };
    let signature = |name, what, edit: &dyn Fn([u8; 64]) -> [u8; 64]| {
        let mut signed = local.signed();
        signed.signature = edit(signed.signature);
        let bytes = local.bundle_of(signed).encode();
        reject_bytes(name, &["R-21"], "receipt/signature", what, &local, bytes)
    };
    let other = Scenario { signer: key(2), header: Some(local.header()), ..local.clone() };
    let unknown = Scenario { signer: key(2), ..local.clone() };
    vec![
        header(
            "algorithm-eddsa",
            &["R-16"],
            "receipt/algorithm",
            "the algorithm is -8, EdDSA over any curve",
            &|h| h.algorithm = -8,
        ),
        header(
            "algorithm-none",
            &["R-16"],
            "receipt/algorithm",
            "the algorithm is 0, which is reserved",
            &|h| h.algorithm = 0,
        ),
        header(
            "content-type",
            &["R-17"],
            "receipt/content-type",
            "the payload is said to be JSON",
            &|h| h.content_type = "application/json".into(),
        ),
        header(
            "issuer-name",
            &["R-18"],
            "receipt/issuer-name",
            "the header names the issuer by another key",
            &|h| h.issuer = format!("tally:key:{}", key_id(key(2).public_key().as_bytes())),
        ),
        header(
            "subject",
            &["R-19"],
            "receipt/subject",
            "the header is about another receipt id",
            &|h| h.subject = format!("tally:receipt:{}", "a2".repeat(16)),
        ),
        reject(
            "signed-by-another-key",
            &["R-21"],
            "receipt/signature",
            "another key signed than the header names",
            &other,
        ),
        reject(
            "key-not-in-policy",
            &["P-25"],
            "policy/issuer",
            "the policy has no issuer with the key",
            &unknown,
        ),
        signature("signature-of-zeros", "the signature is zeros", &|_| [0; 64]),
        signature("signature-r-flipped", "one bit of R is flipped", &|s| {
            let mut s = s;
            s[0] ^= 1;
            s
        }),
        signature("signature-s-flipped", "one bit of S is flipped", &|s| {
            let mut s = s;
            s[32] ^= 1;
            s
        }),
        signature("signature-second-form", "S is larger by the order of the group", &second_form),
        {
            let mut edited = local.signed();
            edited.signature =
                local.clone().with(|s| s.statement.id = [0xa2; 16]).signed().signature;
            let bytes = local.bundle_of(edited).encode();
            reject_bytes(
                "signature-of-another-receipt",
                &["R-21"],
                "receipt/signature",
                "the signature is that of another receipt by the same key",
                &local,
                bytes,
            )
        },
    ]
}

/// One bit flipped in each claim, after signing.
fn flipped_fields() -> Vec<Vector> {
    let plain = Scenario::local();
    let full = accept::completion();
    let Some(answer) = full.statement.outcome.answer().cloned() else { return vec![] };
    let computation = &answer.computation;
    let bytes = |digest: tally_core::Digest| digest.as_bytes().to_vec();
    let fields: Vec<(&'static str, &Scenario, Vec<u8>)> = vec![
        ("flipped-nonce", &plain, NONCE.to_vec()),
        ("flipped-template", &plain, bytes(digest("template"))),
        (
            "flipped-time",
            &full,
            pair(-70_002, |e| {
                e.uint(MADE_MS);
            }),
        ),
        ("flipped-request", &full, bytes(full.statement.request)),
        ("flipped-arithmetic", &full, computation.arithmetic.clone().into_bytes()),
        ("flipped-model-root", &full, bytes(computation.model_root)),
        ("flipped-input", &full, bytes(computation.input)),
        ("flipped-parameters", &full, computation.parameters.encode()),
        ("flipped-seed", &full, bytes(computation.seed)),
        ("flipped-output", &full, bytes(computation.output)),
        (
            "flipped-output-count",
            &full,
            [&computation.output.as_bytes()[..], &[0x08, 0x03]].concat(),
        ),
        ("flipped-tokenizer", &full, bytes(answer.preparation.tokenizer)),
        ("flipped-adjustment", &full, b"line ends".to_vec()),
        ("flipped-seed-source", &full, [&b"line ends"[..], &[0x03, 0x03]].concat()),
        ("flipped-response", &full, bytes(answer.response)),
        ("flipped-software", &full, b"tally/0.1.0".to_vec()),
        ("flipped-price", &full, Price { asset: "USD".into(), amount: 1_000 }.asset.into_bytes()),
        ("flipped-attribution", &full, bytes(digest("attribution"))),
        ("flipped-trace-root", &full, bytes(digest("trace"))),
        ("flipped-keyset", &full, bytes(digest("keyset"))),
    ];
    let vector = |(name, scenario, field): (&'static str, &Scenario, Vec<u8>)| {
        let mut signed = scenario.signed();
        signed.payload = flip(&signed.payload, &field);
        let what = format!("{} in the statement after signing", name.replace('-', " "));
        let bytes = scenario.bundle_of(signed).encode();
        reject_bytes(name, &["R-21"], "receipt/signature", &what, scenario, bytes)
    };
    let mut vectors: Vec<_> = fields.into_iter().map(vector).collect();
    let kind = |code| {
        pair(-70_001, |e| {
            e.uint(code);
        })
    };
    let mut signed = full.signed();
    signed.payload = replace(&signed.payload, &kind(2), &kind(1));
    let bytes = full.bundle_of(signed).encode();
    let what = "a completion was made a chat in the statement after signing";
    vectors.push(reject_bytes("altered-kind", &["R-21"], "receipt/signature", what, &full, bytes));
    vectors
}

/// Claims that contradict each other, signed.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn contradictions() -> Vec<Vector> {
    let local = Scenario::local();
    let completion = accept::completion();
    let answer = |scenario: &Scenario, name, clause, code, what, edit: &dyn Fn(&mut Answer)| {
        reject(name, clause, code, what, &scenario.clone().with_answer(edit))
    };
    let refusal = |field: Field| {
        let opened = |s: &mut Scenario| {
            s.openings.insert(field, opening(field, RESPONSE));
        };
        Scenario::refusal().with(opened)
    };
    vec![
        answer(
            &local,
            "chat-without-template",
            &["R-26"],
            "receipt/template",
            "a chat names no template",
            &|a| a.preparation.template = None,
        ),
        answer(
            &completion,
            "completion-with-template",
            &["R-26"],
            "receipt/template",
            "a completion names a template",
            &|a| a.preparation.template = Some(digest("template")),
        ),
        answer(
            &local,
            "stop-tokens-reversed",
            &["R-27"],
            "receipt/stop-order",
            "the stop tokens stand in reverse order",
            &|a| a.computation.parameters.stop_tokens.reverse(),
        ),
        answer(
            &local,
            "stop-token-twice",
            &["R-27"],
            "receipt/stop-order",
            "a stop token stands there twice",
            &|a| a.computation.parameters.stop_tokens = vec![STOP, STOP],
        ),
        answer(
            &local,
            "stop-without-stop-token",
            &["R-28"],
            "receipt/stop-without-token",
            "the output stopped, and there is no stop token",
            &|a| a.computation.parameters.stop_tokens.clear(),
        ),
        answer(
            &local,
            "stop-without-output",
            &["R-28"],
            "receipt/stop-without-token",
            "the output stopped, and there is no output",
            &|a| {
                a.computation.output = OutputChain::of(&secret().salt(Field::Output), &[]).link();
                a.computation.output_count = 0;
            },
        ),
        reject(
            "response-of-refusal-opened",
            &["R-29"],
            "receipt/opening-without-claim",
            "a refusal comes with an opened response",
            &refusal(Field::Response),
        ),
        reject(
            "output-of-refusal-opened",
            &["R-29"],
            "receipt/opening-without-claim",
            "a refusal comes with an opened output",
            &refusal(Field::Output),
        ),
        answer(
            &local,
            "output-above-max-tokens",
            &["R-30"],
            "receipt/output-above-max",
            "three output tokens where two were asked for",
            &|a| a.computation.parameters.max_tokens = 2,
        ),
        answer(
            &completion,
            "derived-seed-without-nonce",
            &["R-31"],
            "receipt/seed-without-nonce",
            "the seed is said to be derived, and there is no nonce",
            &|a| a.seed_source = SeedSource::Derived,
        ),
    ]
}
