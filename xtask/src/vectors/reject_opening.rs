//! Reject vectors of openings, and of what the caller knows.

use tally_core::commitment::{Field, OutputChain};
use tally_core::computation::{FinishReason, TokenId, tokens_to_bytes};

use super::scenario::{NONCE, OUTPUT, REQUEST, RESPONSE, STOP, Scenario, digest, opening, secret};
use super::{Vector, accept, reject};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = openings();
    vectors.extend(outputs());
    vectors.extend(expectations());
    vectors
}

/// Openings that do not match, and values that they may not have.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
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
        edited(
            "request-altered",
            "the opened request differs in its last byte",
            Field::Request,
            &flip_last,
        ),
        edited(
            "request-shortened",
            "the opened request lacks its last byte",
            Field::Request,
            &|v| {
                v.pop();
            },
        ),
        edited(
            "response-altered",
            "the opened response differs in its last byte",
            Field::Response,
            &flip_last,
        ),
        edited("response-emptied", "the opened response is empty", Field::Response, &Vec::clear),
        edited(
            "input-altered",
            "the opened input differs in its last token",
            Field::Input,
            &flip_last,
        ),
        edited("seed-altered", "the opened seed differs in its last byte", Field::Seed, &flip_last),
        reject(
            "opening-of-another-field",
            &["R-33"],
            "receipt/opening",
            "the opening of the response stands where that of the request belongs",
            &swapped,
        ),
        reject(
            "salt-of-another-field",
            &["R-33"],
            "receipt/opening",
            "the salt is another field's",
            &other_salt,
        ),
        reject(
            "input-not-tokens",
            &["R-34"],
            "receipt/opened-tokens",
            "the issuer committed to an input that is a text",
            &committed(Field::Input, b"\x65hello"),
        ),
        reject(
            "input-not-shortest",
            &["R-34"],
            "receipt/opened-tokens",
            "the issuer committed to token ids that are not in their shortest form",
            &committed(Field::Input, &[0x84, 0x18, 0x01, 0x11, 0x12, 0x05]),
        ),
        reject(
            "seed-of-31-bytes",
            &["R-36"],
            "receipt/seed-length",
            "the issuer committed to a seed of 31 bytes",
            &committed(Field::Seed, &[7; 31]),
        ),
        reject(
            "input-count",
            &["R-37"],
            "receipt/input-count",
            "the input is said to have five tokens and has four",
            &local.clone().with_answer(|a| a.computation.input_count = 5),
        ),
        reject(
            "seed-not-derived",
            &["R-39"],
            "receipt/derived-seed",
            "the seed is said to be derived and is the issuer's",
            &committed(Field::Seed, &[7; 32]),
        ),
    ]
}

/// Opened outputs.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn outputs() -> Vec<Vector> {
    let local = Scenario::local();
    let opened = |tokens: &[u8]| {
        local.clone().with(|s| {
            s.openings.insert(Field::Output, opening(Field::Output, tokens));
        })
    };
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
    let passed = |reason: FinishReason| {
        stated(&[9, STOP, 300, STOP], 4).with_answer(|a| a.computation.finish = reason)
    };
    vec![
        reject(
            "output-altered",
            &["R-35"],
            "receipt/output-chain",
            "one output token is another",
            &opened(&tokens_to_bytes(&[9, 301, 2])),
        ),
        reject(
            "output-cut",
            &["R-35"],
            "receipt/output-chain",
            "the last output token is missing",
            &opened(&tokens_to_bytes(&OUTPUT[..2])),
        ),
        reject(
            "output-extended",
            &["R-35"],
            "receipt/output-chain",
            "there is one output token more",
            &opened(&tokens_to_bytes(&[9, 300, 2, 2])),
        ),
        reject(
            "output-reordered",
            &["R-35"],
            "receipt/output-chain",
            "two output tokens have changed places",
            &opened(&tokens_to_bytes(&[300, 9, 2])),
        ),
        reject(
            "output-of-another-salt",
            &["R-35"],
            "receipt/output-chain",
            "the salt of the output is another field's",
            &other_salt,
        ),
        reject(
            "output-not-tokens",
            &["R-34"],
            "receipt/opened-tokens",
            "the opened output is a text",
            &opened(b"\x65hello"),
        ),
        reject(
            "output-count",
            &["R-38"],
            "receipt/output-count",
            "the output is said to have four tokens and has three",
            &stated(OUTPUT, 4),
        ),
        reject(
            "stop-token-not-last",
            &["R-40"],
            "receipt/stop-not-last",
            "the output is said to have stopped, and its last token is no stop token",
            &stated(&[9, 300, 3], 3),
        ),
        reject(
            "stop-token-passed",
            &["R-41"],
            "receipt/stop-passed",
            "the output goes on after a stop token",
            &passed(FinishReason::Stop),
        ),
        reject(
            "stop-token-passed-at-length",
            &["R-41"],
            "receipt/stop-passed",
            "the output goes on after a stop token until its greatest length",
            &passed(FinishReason::Length),
        ),
    ]
}

/// What the caller knows and the receipt is not about.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn expectations() -> Vec<Vector> {
    let local = Scenario::local();
    let knows = |scenario: &Scenario, field: &'static str, value: &[u8]| {
        scenario.clone().with(|s| {
            s.expected.insert(field, value.to_vec());
        })
    };
    let signed_only = Scenario::signed_only();
    let completion = accept::completion();
    vec![
        reject(
            "nonce-not-the-clients",
            &["R-60"],
            "expected/nonce",
            "the client sent another nonce",
            &knows(&local, "nonce", b"nonce of 16 bytf"),
        ),
        reject(
            "nonce-shortened",
            &["R-60"],
            "expected/nonce",
            "the client's nonce is the beginning of the statement's",
            &knows(&local, "nonce", b"nonce of"),
        ),
        reject(
            "nonce-missing",
            &["R-61"],
            "expected/nonce-missing",
            "the client sent a nonce, and the statement holds none",
            &knows(&completion, "nonce", NONCE),
        ),
        reject(
            "request-not-the-clients",
            &["R-62"],
            "expected/request",
            "the client sent another request",
            &knows(&local, "request", b"{}"),
        ),
        reject(
            "response-not-the-clients",
            &["R-63"],
            "expected/response",
            "the client got another response",
            &knows(&local, "response", b"Hello!"),
        ),
        reject(
            "request-not-opened",
            &["R-64"],
            "expected/not-opened",
            "the client has the request, and the receipt does not open it",
            &knows(&signed_only, "request", REQUEST),
        ),
        reject(
            "response-not-opened",
            &["R-64"],
            "expected/not-opened",
            "the client has the response, and the receipt does not open it",
            &knows(&signed_only, "response", RESPONSE),
        ),
        reject(
            "response-of-refusal",
            &["R-65"],
            "expected/response-of-refusal",
            "the client got a response, and the receipt is for a refusal",
            &knows(&Scenario::refusal(), "response", RESPONSE),
        ),
        reject(
            "another-receipt",
            &["R-22", "R-66"],
            "expected/receipt-digest",
            "the caller names another receipt",
            &knows(&signed_only, "receipt_digest", digest("another").as_bytes()),
        ),
    ]
}
