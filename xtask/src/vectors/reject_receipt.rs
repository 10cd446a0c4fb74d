//! Reject vectors of `spec/receipt.md` but for its chapter on evidence.

use tally_core::cbor::Cbor as _;
use tally_core::commitment::{Field, OutputChain};
use tally_core::computation::{FinishReason, Micro, TokenId, tokens_to_bytes};
use tally_core::receipt::{
    Adjustment, Answer, PROFILE, Price, ProtectedHeader, SeedSource, key_id,
};

use super::raw::{
    bundle, flip, pair, recount, replace, second_form, with_envelope, with_header, with_payload,
};
use super::scenario::{
    ISSUER_KEY, MADE_MS, NONCE, OUTPUT, REQUEST, RESPONSE, STOP, Scenario, digest, key, opening,
    secret,
};
use super::{Vector, accept, reject, reject_bytes};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = forms();
    vectors.extend(values());
    vectors.extend(keys());
    vectors.extend(envelope());
    vectors.extend(flipped_fields());
    vectors.extend(contradictions());
    vectors.extend(openings());
    vectors.extend(outputs());
    vectors.extend(expectations());
    vectors
}

/// Bytes that are not deterministic CBOR.
fn forms() -> Vec<Vector> {
    let local = Scenario::local();
    let bytes = local.bundle_bytes();
    let raw = |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let statement = |edit: &dyn Fn(&[u8]) -> Vec<u8>| with_payload(&local, edit);
    let reversed: Vec<_> = local.openings.iter().rev().collect();
    let envelope = local.signed().encode();
    let evidence = local.bundle().evidence;
    let array = &[0x03, 0x81, 0xa3];
    vec![
        raw("trailing-byte", &["R-5"], "receipt/trailing-bytes", "one byte follows", [&bytes[..], &[0]].concat()),
        raw("trailing-byte-in-statement", &["R-5"], "receipt/trailing-bytes", "one byte follows the statement inside its envelope", statement(&|b| [b, &[0]].concat())),
        raw("truncated", &["R-7"], "receipt/truncated", "the last byte is missing", bytes[..bytes.len() - 1].to_vec()),
        raw("empty", &["R-7"], "receipt/truncated", "there is no byte at all", vec![]),
        raw("long-version", &["R-2"], "receipt/not-shortest", "the version 1 is written in two bytes", replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0x18, 1, 2])),
        raw("long-length", &["R-2"], "receipt/not-shortest", "the length of the receipt id is written in two bytes", statement(&|b| replace(b, &[7, 0x50, 0xa1], &[7, 0x58, 16, 0xa1]))),
        raw("long-key", &["R-2"], "receipt/not-shortest", "the key of the receipt id is written in two bytes", statement(&|b| replace(b, &[7, 0x50, 0xa1], &[0x18, 7, 0x50, 0xa1]))),
        raw("openings-out-of-order", &["R-3"], "receipt/key-order", "the openings stand in reverse order", bundle(&envelope, &evidence, &reversed)),
        raw("claim-out-of-order", &["R-3"], "receipt/key-order", "a claim of the registry follows the private ones", statement(&|b| recount(b, 1, &pair(7, |e| { e.bytes(&[0xa1; 16]); })))),
        raw("duplicate-claim", &["R-4"], "receipt/duplicate-key", "the software stands there twice", statement(&|b| recount(b, 1, &pair(-70_006, |e| { e.text("tally/0.2.0"); })))),
        raw("float", &["R-6"], "receipt/form", "the version is a floating-point number", replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0xf9, 0x3c, 0, 2])),
        raw("indefinite-length", &["R-6"], "receipt/form", "the evidence is an array of indefinite length", replace(&bytes, array, &[0x03, 0x9f, 0xa3])),
        raw("deep-nesting", &["R-8"], "receipt/type", "ten thousand arrays in each other stand where the software belongs", statement(&|b| replace(b, b"\x6btally/0.1.0", &[0x81; 10_000]))),
        raw("text-for-number", &["R-8"], "receipt/type", "the version is a text", replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0x61, b'1', 2])),
        raw("null-for-opening", &["R-8"], "receipt/type", "the evidence is null", replace(&bytes, array, &[0x03, 0xf6, 0xa3])),
        raw("not-utf-8", &["R-11"], "receipt/utf8", "the software is not UTF-8", statement(&|b| replace(b, b"tally/0.1.0", b"tally/0.1.\xff"))),
        raw("not-a-receipt", &["R-14"], "receipt/tag", "the tag in front is another", replace(&bytes, b"TALY", b"TALZ")),
        raw("not-cose-sign1", &["R-14"], "receipt/tag", "the envelope is a COSE_Mac0 by its tag", with_envelope(&local, |b| [&[0xd1], &b[1..]].concat())),
    ]
}

/// Values beyond their limits, and values without meaning.
fn values() -> Vec<Vector> {
    let local = Scenario::local();
    let bytes = local.bundle_bytes();
    let raw = |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let answer = |name, clause, code, what, edit: &dyn Fn(&mut Answer)| {
        reject(name, clause, code, what, &local.clone().with_answer(edit))
    };
    let statement = |from: &[u8], to: &[u8]| with_payload(&local, |b| replace(b, from, to));
    let nonce = |length: usize| local.clone().with(|s| s.statement.nonce = Some(vec![7; length]));
    vec![
        raw("size-bomb", &["R-10"], "receipt/limit", "four billion pieces of evidence are announced", replace(&bytes, &[0x03, 0x81, 0xa3], &[0x03, 0x9a, 0xff, 0xff, 0xff, 0xff, 0xa3])),
        raw("length-bomb", &["R-10"], "receipt/limit", "an opened value of 2^63 bytes is announced", replace(&bytes, &[0x45, b'H', b'e', b'l', b'l', b'o'], &[0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        raw("length-within-limit-but-absent", &["R-7"], "receipt/truncated", "an opened value of 4 MiB is announced and not there", replace(&bytes, &[0x45, b'H', b'e', b'l', b'l', b'o'], &[0x5a, 0, 0x40, 0, 0])),
        reject("long-software", &["R-10"], "receipt/limit", "the software has 129 bytes", &local.clone().with(|s| s.statement.software = "x".repeat(129))),
        answer("too-many-adjustments", &["R-10"], "receipt/limit", "33 adjustments", &|a| a.preparation.adjustments = vec![Adjustment::Added("x".into()); 33]),
        answer("temperature-above-limit", &["R-10"], "receipt/limit", "the temperature is 100.000001", &|a| a.computation.parameters.temperature = Micro::from_millionths(100_000_001)),
        answer("too-many-stop-tokens", &["R-10"], "receipt/limit", "65 stop tokens", &|a| a.computation.parameters.stop_tokens = (0..65).collect()),
        raw("payload-above-limit", &["R-10"], "receipt/limit", "the statement has 16,385 bytes", with_payload(&local, |b| [b, &vec![0; 16_385 - b.len()]].concat())),
        reject("short-nonce", &["R-25"], "receipt/length", "the nonce has 7 bytes", &nonce(7)),
        reject("long-nonce", &["R-25"], "receipt/limit", "the nonce has 65 bytes", &nonce(65)),
        raw("short-signature", &["R-9"], "receipt/length", "the signature has 63 bytes", with_envelope(&local, |b| {
            let (start, end) = (b.len() - 66, b.len() - 1);
            [&b[..start], &[0x58, 63], &b[start + 2..end]].concat()
        })),
        raw("short-digest", &["R-9"], "receipt/length", "the request's commitment has 31 bytes", {
            let commitment = *local.statement.request.as_bytes();
            statement(&[&[0x58, 32], &commitment[..]].concat(), &[&[0x58, 31], &commitment[..31]].concat())
        }),
        raw("unknown-version", &["R-15"], "receipt/unknown-value", "the bundle's version is 2", replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 2, 2])),
        raw("unknown-profile", &["R-15"], "receipt/unknown-value", "the profile is `tally:receipt:2`", statement(PROFILE.as_bytes(), b"tally:receipt:2")),
        raw("unknown-kind", &["R-15"], "receipt/unknown-value", "the kind is 99", statement(&pair(-70_001, |e| { e.uint(1); }), &pair(-70_001, |e| { e.uint(99); }))),
        raw("unknown-finish-reason", &["R-15"], "receipt/unknown-value", "the finish reason is 4", {
            let tail = [&[0x08, 0x03, 0x09][..], &[0x01, 0x02, 0xa3]].concat();
            statement(&tail, &[0x08, 0x03, 0x09, 0x04, 0x02, 0xa3])
        }),
    ]
}

/// Keys that are not in the closed maps, and keys that are missing.
fn keys() -> Vec<Vector> {
    let local = Scenario::local();
    let raw = |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let refusal = pair(-70_005, |e| { e.map(1).key(1).text("x/y"); });
    let software = pair(-70_006, |e| { e.text("tally/0.1.0"); });
    let id = pair(7, |e| { e.bytes(&[0xa1; 16]); });
    let answer = pair(-70_004, |e| { e.raw(&local.statement.outcome.as_ref().map(Answer::encode).unwrap_or_default()); });
    vec![
        raw("unknown-claim", &["R-12"], "receipt/unknown-claim", "a claim -70011 that this version does not have", with_payload(&local, |b| recount(b, 1, &pair(-70_011, |e| { e.uint(0); })))),
        raw("missing-claim", &["R-13"], "receipt/missing-claim", "there is no receipt id", with_payload(&local, |b| replace(&recount(b, -1, &[]), &id, &[]))),
        raw("critical-header", &["R-23"], "receipt/unknown-claim", "the header lists a critical label", with_header(&local, |b| {
            let critical = pair(2, |e| { e.array(1).int(-70_000); });
            replace(&recount(b, 1, &[]), &[0x01, 0x32], &[&[0x01, 0x32], &critical[..]].concat())
        })),
        raw("header-label-too-many", &["R-23"], "receipt/unknown-claim", "the header has a label 33, a certificate chain", with_header(&local, |b| recount(b, 1, &pair(33, |e| { e.bytes(b"x"); })))),
        raw("unprotected-header", &["R-20"], "receipt/unknown-claim", "the unprotected header holds a key id", with_envelope(&local, |b| {
            let protected = local.header().encode();
            let empty = [&protected[..], &[0xa0]].concat();
            replace(b, &empty, &[&protected[..], &[0xa1], &pair(4, |e| { e.bytes(b"x"); })].concat())
        })),
        raw("answer-and-refusal", &["R-24"], "receipt/unknown-claim", "the statement holds an answer and a refusal", with_payload(&local, |b| replace(&recount(b, 1, &[]), &software, &[refusal, software.clone()].concat()))),
        raw("neither-answer-nor-refusal", &["R-24"], "receipt/missing-claim", "the statement holds neither an answer nor a refusal", with_payload(&local, |b| replace(&recount(b, -1, &[]), &answer, &[]))),
    ]
}

/// Header and signature.
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
        header("algorithm-eddsa", &["R-16"], "receipt/algorithm", "the algorithm is -8, EdDSA over any curve", &|h| h.algorithm = -8),
        header("algorithm-none", &["R-16"], "receipt/algorithm", "the algorithm is 0, which is reserved", &|h| h.algorithm = 0),
        header("content-type", &["R-17"], "receipt/content-type", "the payload is said to be JSON", &|h| h.content_type = "application/json".into()),
        header("issuer-name", &["R-18"], "receipt/issuer-name", "the header names the issuer by another key", &|h| h.issuer = format!("tally:key:{}", key_id(key(2).public_key().as_bytes()))),
        header("subject", &["R-19"], "receipt/subject", "the header is about another receipt id", &|h| h.subject = format!("tally:receipt:{}", "a2".repeat(16))),
        reject("signed-by-another-key", &["R-21"], "receipt/signature", "another key signed than the header names", &other),
        reject("key-not-in-policy", &["P-25"], "policy/issuer", "the policy has no issuer with the key", &unknown),
        signature("signature-of-zeros", "the signature is zeros", &|_| [0; 64]),
        signature("signature-r-flipped", "one bit of R is flipped", &|s| { let mut s = s; s[0] ^= 1; s }),
        signature("signature-s-flipped", "one bit of S is flipped", &|s| { let mut s = s; s[32] ^= 1; s }),
        signature("signature-second-form", "S is larger by the order of the group", &second_form),
        {
            let mut edited = local.signed();
            edited.signature = local.clone().with(|s| s.statement.id = [0xa2; 16]).signed().signature;
            let bytes = local.bundle_of(edited).encode();
            reject_bytes("signature-of-another-receipt", &["R-21"], "receipt/signature", "the signature is that of another receipt by the same key", &local, bytes)
        },
    ]
}

/// One bit flipped in each claim, after signing.
fn flipped_fields() -> Vec<Vector> {
    let plain = Scenario::local();
    let full = accept::completion();
    let Ok(answer) = full.statement.outcome.clone() else { return vec![] };
    let computation = &answer.computation;
    let bytes = |digest: tally_core::Digest| digest.as_bytes().to_vec();
    let fields: Vec<(&'static str, &Scenario, Vec<u8>)> = vec![
        ("flipped-nonce", &plain, NONCE.to_vec()),
        ("flipped-template", &plain, bytes(digest("template"))),
        ("flipped-time", &full, pair(-70_002, |e| { e.uint(MADE_MS); })),
        ("flipped-kind", &full, pair(-70_001, |e| { e.uint(2); })),
        ("flipped-request", &full, bytes(full.statement.request)),
        ("flipped-arithmetic", &full, computation.arithmetic.clone().into_bytes()),
        ("flipped-model-root", &full, bytes(computation.model_root)),
        ("flipped-input", &full, bytes(computation.input)),
        ("flipped-parameters", &full, computation.parameters.encode()),
        ("flipped-seed", &full, bytes(computation.seed)),
        ("flipped-output", &full, bytes(computation.output)),
        ("flipped-output-count", &full, [&computation.output.as_bytes()[..], &[0x08, 0x03]].concat()),
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
    fields.into_iter().map(vector).collect()
}

/// Claims that contradict each other, signed.
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
        answer(&local, "chat-without-template", &["R-26"], "receipt/template", "a chat names no template", &|a| a.preparation.template = None),
        answer(&completion, "completion-with-template", &["R-26"], "receipt/template", "a completion names a template", &|a| a.preparation.template = Some(digest("template"))),
        answer(&local, "stop-tokens-reversed", &["R-27"], "receipt/stop-order", "the stop tokens stand in reverse order", &|a| a.computation.parameters.stop_tokens.reverse()),
        answer(&local, "stop-token-twice", &["R-27"], "receipt/stop-order", "a stop token stands there twice", &|a| a.computation.parameters.stop_tokens = vec![STOP, STOP]),
        answer(&local, "stop-without-stop-token", &["R-28"], "receipt/stop-without-token", "the output stopped, and there is no stop token", &|a| a.computation.parameters.stop_tokens.clear()),
        answer(&local, "stop-without-output", &["R-28"], "receipt/stop-without-token", "the output stopped, and there is no output", &|a| {
            a.computation.output = OutputChain::of(&secret().salt(Field::Output), &[]).link();
            a.computation.output_count = 0;
        }),
        reject("response-of-refusal-opened", &["R-29"], "receipt/opening-without-claim", "a refusal comes with an opened response", &refusal(Field::Response)),
        reject("output-of-refusal-opened", &["R-29"], "receipt/opening-without-claim", "a refusal comes with an opened output", &refusal(Field::Output)),
        answer(&local, "output-above-max-tokens", &["R-30"], "receipt/output-above-max", "three output tokens where two were asked for", &|a| a.computation.parameters.max_tokens = 2),
        answer(&completion, "derived-seed-without-nonce", &["R-31"], "receipt/seed-without-nonce", "the seed is said to be derived, and there is no nonce", &|a| a.seed_source = SeedSource::Derived),
    ]
}

/// Openings that do not match, and values that they may not have.
fn openings() -> Vec<Vector> {
    let local = Scenario::local();
    let edited = |name, what, field: Field, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut scenario = local.clone();
        scenario.openings.entry(field).and_modify(|opening| edit(&mut opening.value));
        reject(name, &["R-33"], "receipt/opening", what, &scenario)
    };
    let flip_last = |value: &mut Vec<u8>| value.iter_mut().last().into_iter().for_each(|b| *b ^= 1);
    let swapped = local.clone().with(|s| {
        s.openings.insert(Field::Request, opening(Field::Response, RESPONSE));
    });
    let other_salt = local.clone().with(|s| {
        let salt = secret().salt(Field::Response);
        s.openings.entry(Field::Request).and_modify(|opening| opening.salt = salt);
    });
    let committed = |field: Field, value: &[u8]| {
        let mut scenario = local.clone().with_answer(|a| match field {
            Field::Input => a.computation.input = secret().salt(field).commit(value),
            _ => a.computation.seed = secret().salt(field).commit(value),
        });
        scenario.openings.insert(field, opening(field, value));
        scenario
    };
    vec![
        edited("request-altered", "the opened request differs in its last byte", Field::Request, &flip_last),
        edited("request-shortened", "the opened request lacks its last byte", Field::Request, &|v| { v.pop(); }),
        edited("response-altered", "the opened response differs in its last byte", Field::Response, &flip_last),
        edited("response-emptied", "the opened response is empty", Field::Response, &Vec::clear),
        edited("input-altered", "the opened input differs in its last token", Field::Input, &flip_last),
        edited("seed-altered", "the opened seed differs in its last byte", Field::Seed, &flip_last),
        reject("opening-of-another-field", &["R-33"], "receipt/opening", "the opening of the response stands where that of the request belongs", &swapped),
        reject("salt-of-another-field", &["R-33"], "receipt/opening", "the salt is another field's", &other_salt),
        reject("input-not-tokens", &["R-34"], "receipt/opened-tokens", "the issuer committed to an input that is a text", &committed(Field::Input, b"\x65hello")),
        reject("input-not-shortest", &["R-34"], "receipt/opened-tokens", "the issuer committed to token ids that are not in their shortest form", &committed(Field::Input, &[0x84, 0x18, 0x01, 0x11, 0x12, 0x05])),
        reject("seed-of-31-bytes", &["R-36"], "receipt/seed-length", "the issuer committed to a seed of 31 bytes", &committed(Field::Seed, &[7; 31])),
        reject("input-count", &["R-37"], "receipt/input-count", "the input is said to have five tokens and has four", &local.clone().with_answer(|a| a.computation.input_count = 5)),
        reject("seed-not-derived", &["R-39"], "receipt/derived-seed", "the seed is said to be derived and is the issuer's", &committed(Field::Seed, &[7; 32])),
    ]
}

/// Opened outputs.
fn outputs() -> Vec<Vector> {
    let local = Scenario::local();
    let opened = |tokens: &[u8]| local.clone().with(|s| {
        s.openings.insert(Field::Output, opening(Field::Output, tokens));
    });
    let stated = |tokens: &[TokenId], count: u32| {
        let chain = OutputChain::of(&secret().salt(Field::Output), tokens).link();
        opened(&tokens_to_bytes(tokens)).with_answer(|a| {
            a.computation.output = chain;
            a.computation.output_count = count;
        })
    };
    let other_salt = local.clone().with(|s| {
        let salt = secret().salt(Field::Input);
        s.openings.entry(Field::Output).and_modify(|opening| opening.salt = salt);
    });
    let passed = |reason: FinishReason| stated(&[9, STOP, 300, STOP], 4).with_answer(|a| a.computation.finish = reason);
    vec![
        reject("output-altered", &["R-35"], "receipt/output-chain", "one output token is another", &opened(&tokens_to_bytes(&[9, 301, 2]))),
        reject("output-cut", &["R-35"], "receipt/output-chain", "the last output token is missing", &opened(&tokens_to_bytes(&OUTPUT[..2]))),
        reject("output-extended", &["R-35"], "receipt/output-chain", "there is one output token more", &opened(&tokens_to_bytes(&[9, 300, 2, 2]))),
        reject("output-reordered", &["R-35"], "receipt/output-chain", "two output tokens have changed places", &opened(&tokens_to_bytes(&[300, 9, 2]))),
        reject("output-of-another-salt", &["R-35"], "receipt/output-chain", "the salt of the output is another field's", &other_salt),
        reject("output-not-tokens", &["R-34"], "receipt/opened-tokens", "the opened output is a text", &opened(b"\x65hello")),
        reject("output-count", &["R-38"], "receipt/output-count", "the output is said to have four tokens and has three", &stated(OUTPUT, 4)),
        reject("stop-token-not-last", &["R-40"], "receipt/stop-not-last", "the output is said to have stopped, and its last token is no stop token", &stated(&[9, 300, 3], 3)),
        reject("stop-token-passed", &["R-41"], "receipt/stop-passed", "the output goes on after a stop token", &passed(FinishReason::Stop)),
        reject("stop-token-passed-at-length", &["R-41"], "receipt/stop-passed", "the output goes on after a stop token until its greatest length", &passed(FinishReason::Length)),
    ]
}

/// What the caller knows and the receipt is not about.
fn expectations() -> Vec<Vector> {
    let local = Scenario::local();
    let knows = |scenario: &Scenario, field: &'static str, value: &[u8]| {
        scenario.clone().with(|s| {
            s.expected.insert(field, value.to_vec());
        })
    };
    let signed_only = Scenario::signed_only();
    let completion = accept::completion();
    assert_eq!(local.signer.public_key(), key(ISSUER_KEY).public_key());
    vec![
        reject("nonce-not-the-clients", &["R-60"], "expected/nonce", "the client sent another nonce", &knows(&local, "nonce", b"nonce of 16 bytf")),
        reject("nonce-shortened", &["R-60"], "expected/nonce", "the client's nonce is the beginning of the statement's", &knows(&local, "nonce", b"nonce of")),
        reject("nonce-missing", &["R-61"], "expected/nonce-missing", "the client sent a nonce, and the statement holds none", &knows(&completion, "nonce", NONCE)),
        reject("request-not-the-clients", &["R-62"], "expected/request", "the client sent another request", &knows(&local, "request", b"{}")),
        reject("response-not-the-clients", &["R-63"], "expected/response", "the client got another response", &knows(&local, "response", b"Hello!")),
        reject("request-not-opened", &["R-64"], "expected/not-opened", "the client has the request, and the receipt does not open it", &knows(&signed_only, "request", REQUEST)),
        reject("response-not-opened", &["R-64"], "expected/not-opened", "the client has the response, and the receipt does not open it", &knows(&signed_only, "response", RESPONSE)),
        reject("response-of-refusal", &["R-65"], "expected/response-of-refusal", "the client got a response, and the receipt is for a refusal", &knows(&Scenario::refusal(), "response", RESPONSE)),
        reject("another-receipt", &["R-22", "R-66"], "expected/receipt-digest", "the caller names another receipt", &knows(&signed_only, "receipt_digest", digest("another").as_bytes())),
    ]
}
