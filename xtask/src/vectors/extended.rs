//! Vectors of controls, penalties and embeddings, accepted and rejected.

use tally_core::cbor::Cbor as _;
use tally_core::commitment::{Field, OutputChain};
use tally_core::computation::{
    Controls, FinishReason, Grammar, GrammarKind, SignedMicro, TokenId, inputs_to_bytes,
    tokens_to_bytes, vectors_to_bytes,
};
use tally_core::receipt::{
    Answer, EmbeddingAnswer, EmbeddingClaims, Kind, Outcome, Preparation, Statement,
};

use super::accept::accept;
use super::raw::{pair, recount, replace, with_payload};
use super::scenario::{ARITHMETIC, OUTPUT, RESPONSE, Scenario, digest, opening, secret};
use super::{Vector, reject, reject_bytes};

pub(super) fn accepted() -> Vec<Vector> {
    let hidden = controlled().with(|s| {
        s.openings.remove(&Field::Controls);
    });
    vec![
        accept(
            "controls",
            &["R-71", "R-72", "R-73"],
            "a stop string ended the output; biases, a grammar and both penalties steered it",
            &controlled(),
        ),
        accept(
            "controls-hidden",
            &["R-71"],
            "the controls are committed to and not opened",
            &Scenario { accepted_as: "018-controls-hidden", ..hidden },
        ),
        accept("embedding", &["R-70", "R-76"], "two texts and their vectors", &embedding()),
    ]
}

pub(super) fn rejected() -> Vec<Vector> {
    let mut vectors = controls();
    vectors.extend(embeddings());
    vectors
}

/// A stop string, two biases, a grammar and both penalties.
fn controlled() -> Scenario {
    let controls = Controls {
        stop: vec!["\n\n".into()],
        bias: vec![(7, SignedMicro::from_millionths(-100_000_000)), (300, SignedMicro::ZERO)],
        grammar: Some(Grammar {
            engine: "llguidance/1.9.1".into(),
            kind: GrammarKind::JsonSchema,
            text: r#"{"type":"object"}"#.into(),
        }),
    };
    let scenario = Scenario { accepted_as: "017-controls", ..Scenario::local() };
    with_controls(scenario, &controls.encode()).with_answer(|answer| {
        let parameters = &mut answer.computation.parameters;
        parameters.presence_penalty = SignedMicro::from_millionths(2_000_000);
        parameters.frequency_penalty = SignedMicro::from_millionths(-500_000);
        parameters.stop_tokens = vec![0];
        answer.computation.finish = FinishReason::StopString;
    })
}

/// The scenario with these bytes committed to as its controls, and opened.
fn with_controls(scenario: Scenario, bytes: &[u8]) -> Scenario {
    scenario
        .with(|s| {
            s.openings.insert(Field::Controls, opening(Field::Controls, bytes));
        })
        .with_answer(|answer| {
            let commitment = secret().salt(Field::Controls).commit(bytes);
            answer.computation.controls = Some(commitment);
        })
}

fn preparation() -> Preparation {
    Preparation { tokenizer: digest("tokenizer"), template: None, adjustments: vec![] }
}

const TEXTS: [&[TokenId]; 2] = [&[1, 17, 4_000], &[5]];
const VECTORS: [&[i32]; 2] = [&[16_777_216, 0, -1], &[0, -16_777_216, 1]];

fn texts() -> Vec<u8> {
    inputs_to_bytes(&TEXTS.map(<[_]>::to_vec))
}

/// Two texts of four tokens together, and two vectors of three numbers.
fn embedding() -> Scenario {
    let vectors = vectors_to_bytes(&VECTORS.map(<[_]>::to_vec));
    let local = Scenario::local();
    let commit = |field, value: &[u8]| secret().salt(field).commit(value);
    let outcome = Outcome::Embedding(EmbeddingAnswer {
        computation: EmbeddingClaims {
            arithmetic: ARITHMETIC.into(),
            model_root: digest("model"),
            input: commit(Field::Input, &texts()),
            input_count: 4,
            output: commit(Field::Output, &vectors),
            vector_count: 2,
        },
        preparation: preparation(),
        response: commit(Field::Response, RESPONSE),
    });
    let statement = Statement { kind: Kind::Embedding, outcome, ..local.statement.clone() };
    Scenario { accepted_as: "019-embedding", statement, ..local }.with(|s| {
        s.openings.remove(&Field::Seed);
        s.openings.insert(Field::Input, opening(Field::Input, &texts()));
        s.openings.insert(Field::Output, opening(Field::Output, &vectors));
    })
}

/// The embedding with one thing changed.
fn with_embedding(edit: impl FnOnce(&mut EmbeddingAnswer)) -> Scenario {
    embedding().with(|s| {
        if let Outcome::Embedding(embedding) = &mut s.statement.outcome {
            edit(embedding);
        }
    })
}

/// The embedding with other bytes committed to and opened.
fn with_opened(field: Field, value: &[u8]) -> Scenario {
    with_embedding(|e| match field {
        Field::Input => e.computation.input = secret().salt(field).commit(value),
        _ => e.computation.output = secret().salt(field).commit(value),
    })
    .with(|s| {
        s.openings.insert(field, opening(field, value));
    })
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn controls() -> Vec<Vector> {
    let full = controlled();
    let answer = |name, clause, code, what, edit: &dyn Fn(&mut Answer)| {
        reject(name, clause, code, what, &controlled().with_answer(edit))
    };
    let opened = |name, what, bytes: &[u8]| {
        let scenario = with_controls(controlled(), bytes);
        reject(name, &["R-72"], "receipt/opened-controls", what, &scenario)
    };
    let bias = |pairs: &[(TokenId, i32)]| Controls {
        stop: vec!["x".into()],
        bias: pairs.iter().map(|(t, b)| (*t, SignedMicro::from_millionths(*b))).collect(),
        grammar: None,
    };
    let grammar = pair(3, |e| {
        e.map(3).key(1).text("llguidance/1.9.1").key(2).uint(4).key(3).text("x");
    });
    let penalty = |name, clause, code, what, value: i64| {
        let penalty = |value| {
            pair(8, |e| {
                e.int(value);
            })
        };
        let bytes = with_payload(&full, |b| replace(b, &penalty(-500_000), &penalty(value)));
        reject_bytes(name, clause, code, what, &full, bytes)
    };
    let without_stop = Controls { stop: vec![], ..bias(&[(1, 1)]) };
    vec![
        penalty(
            "penalty-of-zero",
            &["R-69"],
            "receipt/unknown-value",
            "a penalty of zero is stated",
            0,
        ),
        penalty(
            "penalty-above-limit",
            &["R-10"],
            "receipt/limit",
            "the frequency penalty is 2.000001",
            2_000_001,
        ),
        penalty(
            "penalty-below-limit",
            &["R-10"],
            "receipt/limit",
            "the frequency penalty is -2.000001",
            -2_000_001,
        ),
        answer(
            "stop-string-without-controls",
            &["R-71"],
            "receipt/stop-string-without-controls",
            "the output completed a stop string, and there are no controls",
            &|a| a.computation.controls = None,
        ),
        answer(
            "stop-string-without-output",
            &["R-71"],
            "receipt/stop-string-without-controls",
            "the output completed a stop string, and there is no output",
            &|a| {
                a.computation.output = OutputChain::of(&secret().salt(Field::Output), &[]).link();
                a.computation.output_count = 0;
            },
        ),
        answer(
            "controls-not-committed",
            &["R-29"],
            "receipt/opening-without-claim",
            "controls are opened, and the statement commits to none",
            &|a| {
                a.computation.controls = None;
                a.computation.finish = FinishReason::Length;
            },
        ),
        reject(
            "controls-altered",
            &["R-33"],
            "receipt/opening",
            "the opened controls have another stop string",
            &controlled().with(|s| {
                let other = Controls { stop: vec!["\n".into()], ..Controls::default() };
                let opening = opening(Field::Controls, &other.encode());
                s.openings.insert(Field::Controls, opening);
            }),
        ),
        opened("controls-empty", "the issuer committed to controls that hold nothing", &[0xa0]),
        opened(
            "controls-stop-string-empty",
            "the issuer committed to an empty stop string",
            &[0xa1, 1, 0x81, 0x60],
        ),
        opened(
            "controls-seventeen-stop-strings",
            "the issuer committed to 17 stop strings",
            &Controls { stop: vec!["a".into(); 17], ..Controls::default() }.encode(),
        ),
        opened(
            "controls-biases-out-of-order",
            "the issuer committed to biases whose tokens decrease",
            &bias(&[(2, 1), (1, 1)]).encode(),
        ),
        opened(
            "controls-bias-twice",
            "the issuer committed to two biases of one token",
            &bias(&[(2, 1), (2, 1)]).encode(),
        ),
        opened(
            "controls-bias-above-limit",
            "the issuer committed to a bias of 100.000001",
            &bias(&[(2, 100_000_001)]).encode(),
        ),
        opened(
            "controls-unknown-grammar",
            "the issuer committed to a grammar in an unknown language",
            &[&[0xa1][..], &grammar].concat(),
        ),
        opened(
            "controls-trailing-byte",
            "the issuer committed to controls with one more byte",
            &recount(&bias(&[(1, 1)]).encode(), 0, &[0]),
        ),
        reject(
            "controls-without-stop-string",
            &["R-73"],
            "receipt/no-stop-string",
            "the output completed a stop string, and the controls hold biases alone",
            &with_controls(full.clone(), &without_stop.encode()),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn embeddings() -> Vec<Vector> {
    let whole = embedding();
    let kind = |kind| embedding().with(|s| s.statement.kind = kind);
    let Outcome::Embedding(outcome) = &whole.statement.outcome else { return vec![] };
    let outcome = pair(-70_011, |e| {
        e.raw(&outcome.encode());
    });
    let local = Scenario::local();
    let both = with_payload(&local, |b| recount(b, 1, &outcome));
    vec![
        reject_bytes(
            "answer-and-embedding",
            &["R-24"],
            "receipt/unknown-claim",
            "the statement holds an answer and an embedding",
            &local,
            both,
        ),
        reject(
            "embedding-of-a-completion",
            &["R-70"],
            "receipt/outcome-kind",
            "a completion has vectors for its outcome",
            &kind(Kind::Completion),
        ),
        reject(
            "answer-of-an-embedding",
            &["R-70"],
            "receipt/outcome-kind",
            "an embedding has output tokens for its outcome",
            &local.clone().with(|s| s.statement.kind = Kind::Embedding),
        ),
        reject(
            "embedding-with-template",
            &["R-26"],
            "receipt/template",
            "an embedding names a chat template",
            &with_embedding(|e| e.preparation.template = Some(digest("template"))),
        ),
        reject(
            "embedding-with-seed",
            &["R-29"],
            "receipt/opening-without-claim",
            "an embedding comes with an opened seed",
            &whole.clone().with(|s| {
                s.openings.insert(Field::Seed, opening(Field::Seed, &[7; 32]));
            }),
        ),
        reject(
            "embedding-response-altered",
            &["R-33"],
            "receipt/opening",
            "the opened response of an embedding is another",
            &whole.clone().with(|s| {
                s.openings.insert(Field::Response, opening(Field::Response, b"hello"));
            }),
        ),
        reject(
            "embedding-vector-altered",
            &["R-33"],
            "receipt/opening",
            "one number of an opened vector is another",
            &whole.clone().with(|s| {
                let other = vectors_to_bytes(&[vec![16_777_216, 0, -1], vec![0, -16_777_216, 2]]);
                s.openings.insert(Field::Output, opening(Field::Output, &other));
            }),
        ),
        reject(
            "embedding-text-altered",
            &["R-33"],
            "receipt/opening",
            "one token of an opened text is another",
            &whole.clone().with(|s| {
                let other = inputs_to_bytes(&[vec![1, 17, 4_000], vec![6]]);
                s.openings.insert(Field::Input, opening(Field::Input, &other));
            }),
        ),
        reject(
            "embedding-input-not-texts",
            &["R-74"],
            "receipt/opened-tokens",
            "the input of an embedding is one list of tokens",
            &with_opened(Field::Input, &tokens_to_bytes(OUTPUT)),
        ),
        reject(
            "embedding-empty-text",
            &["R-74"],
            "receipt/opened-tokens",
            "a text of an embedding has no token",
            &with_opened(Field::Input, &inputs_to_bytes(&[vec![1, 17, 4_000, 5], vec![]])),
        ),
        reject(
            "embedding-output-not-vectors",
            &["R-75"],
            "receipt/opened-vectors",
            "the output of an embedding is one list of numbers",
            &with_opened(Field::Output, &tokens_to_bytes(OUTPUT)),
        ),
        reject(
            "embedding-vectors-of-two-lengths",
            &["R-75"],
            "receipt/opened-vectors",
            "the second vector is shorter than the first",
            &with_opened(Field::Output, &vectors_to_bytes(&[vec![1, 2, 3], vec![1, 2]])),
        ),
        reject(
            "embedding-input-count",
            &["R-37"],
            "receipt/input-count",
            "the texts are said to have five tokens and have four",
            &with_embedding(|e| e.computation.input_count = 5),
        ),
        reject(
            "embedding-text-missing",
            &["R-76"],
            "receipt/vector-count",
            "one text of four tokens, where two texts are stated",
            &with_opened(Field::Input, &inputs_to_bytes(&[vec![1, 17, 4_000, 5]])),
        ),
        reject(
            "embedding-vector-missing",
            &["R-76"],
            "receipt/vector-count",
            "one vector, where two are stated",
            &with_opened(Field::Output, &vectors_to_bytes(&[vec![1, 2, 3]])),
        ),
        reject(
            "embedding-of-another-model",
            &["P-32"],
            "policy/model",
            "the embedding is by a model that the policy does not list",
            &with_embedding(|e| e.computation.model_root = digest("another model")),
        ),
        reject(
            "embedding-in-another-arithmetic",
            &["P-33"],
            "policy/arithmetic",
            "the embedding is in an arithmetic that the policy does not list",
            &with_embedding(|e| e.computation.arithmetic = "ra-9".into()),
        ),
    ]
}
