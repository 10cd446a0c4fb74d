//! Vectors of streams: a head, its events, and the receipts that come at the end.
//!
//! Beside the files of other vectors there is `stream.json`: the head, the salt of the request's
//! commitment, every event with payload, choice, tokens and signature, and the receipts' files.

use serde_json::{Value, json};
use tally_core::cbor::Cbor as _;
use tally_core::commitment::{Field, OutputChain};
use tally_core::computation::{TokenId, tokens_to_bytes};
use tally_core::ed25519::SigningKey;
use tally_core::receipt::{Kind, ProtectedHeader, SignedStatement, key_id};
use tally_core::stream::{StreamHead, StreamTranscript};

use super::accept::accept;
use super::scenario::{ISSUER_KEY, REQUEST, Scenario, digest, key, opening, secret};
use super::{Stream, Vector, Verdict, hex};

const ACCEPTED_AS: &str = "020-stream";
const EVENTS: [(&str, u32, &[TokenId]); 4] = [
    (r#"{"choices":[{"index":0,"delta":{"role":"assistant"}}]}"#, 0, &[]),
    (r#"{"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#, 0, &[9]),
    (r#"{"choices":[{"index":0,"delta":{"content":"lo"}}]}"#, 0, &[300, 2]),
    (r#"{"choices":[],"usage":{"completion_tokens":3}}"#, 0, &[]),
];

pub(super) fn accepted() -> Vec<Vector> {
    vec![
        Plan::one().accepted(
            "stream",
            &["R-79", "R-84", "R-89"],
            "a stream of one choice: every event is signed in its place, and the receipt is its own",
        ),
        Plan::two().accepted(
            "stream-of-two-choices",
            &["R-85", "R-88"],
            "a stream of two choices, whose events alternate",
        ),
        Plan::refused().accepted(
            "stream-refused",
            &["R-85"],
            "a stream that ended in a refusal: its receipt is the refusal's",
        ),
    ]
}

/// An event before it is signed.
#[derive(Clone)]
struct Event {
    payload: String,
    choice: u32,
    tokens: Vec<TokenId>,
}

/// What a stream is made of, and what is changed after it was signed.
#[derive(Clone)]
struct Plan {
    receipts: Vec<Scenario>,
    head: StreamHead,
    header: Option<ProtectedHeader>,
    signer: SigningKey,
    events: Vec<Event>,
    /// Changes the head's bytes after signing.
    damage: fn(Vec<u8>) -> Vec<u8>,
    /// Changes what goes over the wire.
    tamper: fn(&mut Stream),
}

impl Plan {
    fn one() -> Self {
        let events = EVENTS.map(|(payload, choice, tokens)| Event {
            payload: payload.into(),
            choice,
            tokens: tokens.to_vec(),
        });
        Self::of(vec![Scenario::local()], events.to_vec())
    }

    /// The second choice has the first one's output in other events.
    fn two() -> Self {
        let second = Scenario::local().with(|s| s.statement.id = [0xa2; 16]);
        let mut events = vec![];
        for (payload, _, tokens) in EVENTS {
            for choice in 0..2 {
                let payload = payload.replace("\"index\":0", &format!("\"index\":{choice}"));
                events.push(Event { payload, choice, tokens: tokens.to_vec() });
            }
        }
        let plan = Self::of(vec![Scenario::local(), second], events);
        Self { receipts: named(plan.receipts, "021-stream-of-two-choices"), ..plan }
    }

    fn refused() -> Self {
        let plan = Self::one();
        Self { receipts: named(vec![Scenario::refusal()], "022-stream-refused"), ..plan }
    }

    fn of(receipts: Vec<Scenario>, events: Vec<Event>) -> Self {
        let head = StreamHead {
            ids: receipts.iter().map(|receipt| receipt.statement.id).collect(),
            nonce: receipts[0].statement.nonce.clone(),
            kind: receipts[0].statement.kind,
            time_ms: receipts[0].statement.time_ms,
            request: receipts[0].statement.request,
            arithmetic: super::scenario::ARITHMETIC.into(),
            model_root: digest("model"),
        };
        let response: String =
            events.iter().flat_map(|event| [event.payload.as_str(), "\n"]).collect();
        let receipts = receipts.into_iter().map(|s| with_response(s, response.as_bytes()));
        Self {
            receipts: named(receipts.collect(), ACCEPTED_AS),
            head,
            header: None,
            signer: key(ISSUER_KEY),
            events,
            damage: |head| head,
            tamper: |_| (),
        }
    }

    fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    fn with_receipt(self, edit: impl FnOnce(Scenario) -> Scenario) -> Self {
        self.with(|plan| plan.receipts[0] = edit(plan.receipts[0].clone()))
    }

    /// Signs everything.
    fn stream(&self) -> Stream {
        let demanded = self.head.header(key_id(self.signer.public_key().as_bytes()));
        let protected = self.header.clone().unwrap_or(demanded).encode();
        let payload = self.head.encode();
        let message = SignedStatement::to_be_signed(&protected, &payload);
        let signature = *self.signer.sign(&message).as_bytes();
        let head = SignedStatement { protected, payload, signature }.encode();
        let head = (self.damage)(head);
        let mut transcript = StreamTranscript::start(&head);
        let events = self.events.iter().map(|event| {
            let Event { payload, choice, tokens } = event;
            transcript = transcript.append(payload.as_bytes(), *choice, tokens);
            let signature = hex(key(ISSUER_KEY).sign(&transcript.signed_bytes()).as_bytes());
            json!({ "payload": payload, "choice": choice, "tokens": tokens, "signature": signature })
        });
        let events = events.collect();
        let more = self.receipts.iter().skip(1).map(Scenario::bundle_bytes).collect();
        let salt = hex(secret().salt(Field::Request).as_bytes());
        let mut stream = Stream { head: hex(&head), salt, events, more };
        (self.tamper)(&mut stream);
        stream
    }

    fn accepted(&self, name: &'static str, clauses: &'static [&'static str], what: &str) -> Vector {
        let mut vector = accept(name, clauses, what, &self.receipts[0]);
        vector.inputs.stream = Some(self.stream());
        vector
    }

    fn rejected(
        &self,
        name: &'static str,
        clauses: &'static [&'static str],
        code: &'static str,
        what: &str,
    ) -> Vector {
        let scenario = &self.receipts[0];
        let mut inputs = scenario.inputs(scenario.bundle_bytes());
        inputs.stream = Some(self.stream());
        let verdict = Verdict::Reject { code, differs_from: scenario.accepted_as };
        Vector { name, clauses, what: what.to_owned(), inputs, verdict }
    }
}

fn named(receipts: Vec<Scenario>, accepted_as: &'static str) -> Vec<Scenario> {
    receipts.into_iter().map(|receipt| Scenario { accepted_as, ..receipt }).collect()
}

/// The scenario with another response, which the stream gives and the caller need not.
fn with_response(scenario: Scenario, response: &[u8]) -> Scenario {
    let field = Field::Response;
    scenario.with_answer(|answer| answer.response = secret().salt(field).commit(response)).with(
        |s| {
            s.openings.insert(field, opening(field, response));
            s.expected.remove("response");
        },
    )
}

fn edit(stream: &mut Stream, event: usize, name: &str, value: Value) {
    stream.events[event][name] = value;
}

pub(super) fn rejected() -> Vec<Vector> {
    let mut vectors = heads();
    vectors.extend(appraised());
    vectors.extend(events());
    vectors.extend(ends());
    vectors
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn heads() -> Vec<Vector> {
    let one = Plan::one;
    let form = |name, what, plan: Plan| plan.rejected(name, &["R-77"], "stream/form", what);
    let header = |name, what, edit: &dyn Fn(&mut ProtectedHeader)| {
        let plan = one().with(|plan| {
            let mut header = plan.head.header(key_id(plan.signer.public_key().as_bytes()));
            edit(&mut header);
            plan.header = Some(header);
        });
        plan.rejected(name, &["R-78"], "stream/header", what)
    };
    let trailing = |head: Vec<u8>| [head, vec![0]].concat();
    let flipped = |mut head: Vec<u8>| {
        if let Some(last) = head.last_mut() {
            *last ^= 1;
        }
        head
    };
    let other_request = br#"{"messages":[{"role":"user","content":"Say goodbye"}]}"#;
    vec![
        form(
            "stream-head-trailing-byte",
            "one byte follows the stream's head",
            one().with(|plan| plan.damage = trailing),
        ),
        form(
            "stream-without-choice",
            "the head names no receipt",
            one().with(|plan| plan.head.ids.clear()),
        ),
        form(
            "stream-of-129-choices",
            "the head names 129 receipts",
            one().with(|plan| plan.head.ids = vec![[0xa1; 16]; 129]),
        ),
        form(
            "stream-of-embeddings",
            "the head is of an embedding",
            one().with(|plan| plan.head.kind = Kind::Embedding),
        ),
        form(
            "stream-nonce-short",
            "the head's nonce has 7 bytes",
            one().with(|plan| plan.head.nonce = Some(vec![7; 7])),
        ),
        header("stream-algorithm", "the head's algorithm is EdDSA", &|h| h.algorithm = -8),
        header("stream-content-type", "the head has a statement's content type", &|h| {
            h.content_type = "application/tally-statement+cbor".into();
        }),
        header("stream-issuer-name", "the head names another issuer than its key", &|h| {
            h.issuer = h.issuer.replace("key:a", "key:b");
        }),
        header("stream-subject", "the head is about another stream", &|h| {
            h.subject = h.subject.replace("stream:a", "stream:b");
        }),
        one().with(|plan| plan.header = Some(plan.receipts[0].header())).rejected(
            "statement-header-on-a-stream",
            &["R-78"],
            "stream/header",
            "the head has the header of its receipt's statement",
        ),
        one().with(|plan| plan.damage = flipped).rejected(
            "stream-signature-flipped",
            &["R-79"],
            "stream/signature",
            "one bit of the head's signature is flipped",
        ),
        one().with(|plan| plan.signer = key(2)).rejected(
            "stream-of-another-issuer",
            &["R-79"],
            "policy/issuer",
            "the head is signed by a key that the policy does not name",
        ),
        one()
            .with(|plan| {
                plan.header =
                    Some(plan.head.header(key_id(key(ISSUER_KEY).public_key().as_bytes())));
                plan.signer = key(2);
            })
            .rejected(
                "stream-signed-by-another-key",
                &["R-79"],
                "stream/signature",
                "the head names the issuer's key and is signed by another",
            ),
        one().with(|plan| plan.head.nonce = Some(b"another nonce".to_vec())).rejected(
            "stream-of-another-nonce",
            &["R-80"],
            "stream/nonce",
            "the head holds another nonce: the answer may be an old one",
        ),
        one().with(|plan| plan.head.nonce = None).rejected(
            "stream-without-nonce",
            &["R-80"],
            "stream/nonce",
            "the head holds no nonce, and the client sent one",
        ),
        one()
            .with(|plan| {
                let salt = secret().salt(Field::Request);
                plan.head.request = salt.commit(other_request);
            })
            .rejected(
                "stream-of-another-request",
                &["R-81"],
                "stream/request",
                "the head is for another request",
            ),
        one()
            .with(|plan| {
                plan.tamper = |stream| stream.salt = "00".repeat(32);
            })
            .rejected(
                "stream-of-another-salt",
                &["R-81"],
                "stream/request",
                "the salt that came with the head is another",
            ),
    ]
}

/// What the policy says of a head.
fn appraised() -> Vec<Vector> {
    let with_policy = |name, code, what, from: &str, to: &str| {
        let plan = Plan::one().with_receipt(|s| s.with_policy(from, to));
        plan.rejected(name, &["R-82"], code, what)
    };
    let late = |plan: &mut Plan| plan.head.time_ms += 3_600_000;
    vec![
        Plan::one().with(|plan| plan.head.model_root = digest("another model")).rejected(
            "stream-of-another-model",
            &["R-82"],
            "policy/model",
            "the head names a model that the policy does not list",
        ),
        Plan::one().with(|plan| plan.head.arithmetic = "ra-9".into()).rejected(
            "stream-in-another-arithmetic",
            &["R-82"],
            "policy/arithmetic",
            "the head names an arithmetic that the policy does not list",
        ),
        Plan::one().with(late).rejected(
            "stream-in-the-future",
            &["R-82"],
            "policy/future",
            "the head is dated an hour ahead",
        ),
        with_policy(
            "stream-too-old",
            "policy/age",
            "the head is a minute old, and the policy allows 59 seconds",
            "\nrequired",
            "\nage_max_s = 59\nrequired",
        ),
        with_policy(
            "stream-of-an-expired-key",
            "policy/key-expired",
            "the key was accepted until the head's own time",
            "\n[[log]]",
            "valid_until = 2026-09-21T14:13:20Z\n\n[[log]]",
        ),
        with_policy(
            "stream-of-a-revoked-key",
            "policy/key-revoked-unlogged",
            "the key is revoked later, and no log can show yet that the head is older",
            "\n[[log]]",
            "revoked_from = 2026-09-21T15:00:00Z\n\n[[log]]",
        ),
    ]
}

fn events() -> Vec<Vector> {
    let one = Plan::one;
    let changed = |name, what, tamper: fn(&mut Stream)| {
        let plan = one().with(|plan| plan.tamper = tamper);
        plan.rejected(name, &["R-84"], "stream/event", what)
    };
    vec![
        one().with(|plan| plan.events[1].choice = 1).rejected(
            "stream-event-of-no-choice",
            &["R-83"],
            "stream/choice",
            "an event is of a second choice, and the head names one receipt",
        ),
        changed("stream-payload-altered", "the payload of an event was altered", |stream| {
            edit(stream, 2, "payload", json!(EVENTS[2].0.replace("lo", "p!")));
        }),
        changed("stream-token-altered", "a token of an event was altered", |stream| {
            edit(stream, 1, "tokens", json!([10]));
        }),
        changed("stream-token-dropped", "a token of an event was dropped", |stream| {
            edit(stream, 2, "tokens", json!([300]));
        }),
        changed("stream-event-dropped", "an event was left out", |stream| {
            stream.events.remove(1);
        }),
        changed("stream-event-twice", "an event came twice", |stream| {
            let event = stream.events[1].clone();
            stream.events.insert(2, event);
        }),
        changed("stream-events-swapped", "two events changed places", |stream| {
            stream.events.swap(1, 2);
        }),
        changed("stream-event-unsigned", "the signature of an event is zeros", |stream| {
            edit(stream, 3, "signature", json!("00".repeat(64)));
        }),
        changed("stream-of-another-head", "the events are another stream's", |stream| {
            let other = Plan::one().with(|plan| plan.head.time_ms += 1);
            stream.events = other.stream().events;
        }),
        Plan::two()
            .with(|plan| plan.tamper = |stream| edit(stream, 2, "choice", json!(1)))
            .rejected(
                "stream-choice-altered",
                &["R-84"],
                "stream/event",
                "an event was given to the other choice",
            ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn ends() -> Vec<Vector> {
    let one = Plan::one;
    let statement = |name, what, edit: &dyn Fn(&mut Scenario)| {
        let plan = one().with_receipt(|s| s.with(edit));
        plan.rejected(name, &["R-87"], "stream/statement", what)
    };
    let hidden = |name, field: Field, what| {
        let plan = one().with_receipt(|s| {
            s.with(|s| {
                s.openings.remove(&field);
            })
        });
        plan.rejected(name, &["R-88"], "expected/not-opened", what)
    };
    let other_output: &[TokenId] = &[9, 301, 2];
    let other_output = |s: Scenario| {
        let field = Field::Output;
        let chain = OutputChain::of(&secret().salt(field), other_output).link();
        s.with_answer(|answer| answer.computation.output = chain).with(|s| {
            s.openings.insert(field, opening(field, &tokens_to_bytes(other_output)));
        })
    };
    let other_request = |s: &mut Scenario| {
        let other = tally_core::commitment::ReceiptSecret::from_bytes([0x5f; 32]);
        let (field, salt) = (Field::Request, other.salt(Field::Request));
        s.statement.request = salt.commit(REQUEST);
        s.openings.entry(field).and_modify(|opening| opening.salt = salt);
    };
    let second_issuer = |s: &mut Scenario| {
        s.signer = key(2);
        let other = hex(key(2).public_key().as_bytes());
        let issuer = format!("\n[[issuer]]\nname = \"other\"\npublic_key = \"{other}\"\n\n[[log]]");
        s.policy = s.policy.replacen("\n[[log]]", &issuer, 1);
    };
    vec![
        Plan::two().with(|plan| plan.tamper = |stream| stream.more.clear()).rejected(
            "stream-receipt-missing",
            &["R-85"],
            "stream/receipt-count",
            "two choices were streamed, and one receipt came",
        ),
        one().with_receipt(|s| s.with(|s| s.statement.id = [0xa3; 16])).rejected(
            "stream-of-another-receipt",
            &["R-86"],
            "stream/receipt",
            "the receipt is that of another answer to the same request",
        ),
        statement(
            "stream-receipt-of-another-key",
            "the receipt is another issuer's",
            &second_issuer,
        ),
        statement("stream-receipt-of-another-kind", "the receipt is of a completion", &|s| {
            s.statement.kind = Kind::Completion;
            *s = s.clone().with_answer(|answer| answer.preparation.template = None);
        }),
        statement(
            "stream-receipt-of-another-commitment",
            "the receipt commits to the request under another salt than the head",
            &other_request,
        ),
        one()
            .with(|plan| plan.head.nonce = None)
            .with_receipt(|s| {
                s.with(|s| {
                    s.expected.remove("nonce");
                })
            })
            .rejected(
                "stream-receipt-of-another-nonce",
                &["R-87"],
                "stream/statement",
                "the receipt holds a nonce and the head none, and the client gave none to compare",
            ),
        any_model(|plan| plan.head.model_root = digest("another model")).rejected(
            "stream-receipt-of-another-model",
            &["R-87"],
            "stream/statement",
            "the receipt names another model than the head did",
        ),
        any_model(|plan| plan.head.arithmetic = "ra-9".into()).rejected(
            "stream-receipt-of-another-arithmetic",
            &["R-87"],
            "stream/statement",
            "the receipt names another arithmetic than the head did",
        ),
        hidden("stream-output-not-opened", Field::Output, "the receipt does not open its output"),
        hidden(
            "stream-response-not-opened",
            Field::Response,
            "the receipt does not open its response",
        ),
        one().with_receipt(other_output).rejected(
            "stream-output-of-another-answer",
            &["R-88"],
            "stream/output",
            "one of the receipt's output tokens is not the one that was streamed",
        ),
        one()
            .with(|plan| {
                plan.tamper = |stream| {
                    stream.events.pop();
                };
            })
            .rejected(
                "stream-cut-short",
                &["R-89"],
                "stream/response",
                "the last event did not come, and no token is missing",
            ),
        one().with(|plan| plan.tamper = |stream| stream.events.truncate(2)).rejected(
            "stream-cut-amid-the-tokens",
            &["R-88"],
            "stream/output",
            "the stream ended before the output did",
        ),
        one()
            .with(|plan| {
                let event = Event { payload: "{}".into(), choice: 0, tokens: vec![] };
                plan.events.push(event);
            })
            .rejected(
                "stream-with-an-event-too-many",
                &["R-89"],
                "stream/response",
                "the issuer streamed an event more than the receipt's response holds",
            ),
    ]
}

/// A stream under a policy that accepts any model and arithmetic.
fn any_model(edit: impl FnOnce(&mut Plan)) -> Plan {
    let model = format!("models = [\n  \"{}\",\n]", digest("model"));
    Plan::one().with(edit).with_receipt(|s| {
        s.with_policy(&model, "models = \"any\"").with_policy("[\"ra-1-draft.1\"]", "\"any\"")
    })
}

/// The file that says what went over the wire.
pub(super) fn to_json(stream: &Stream) -> Value {
    let more = (1..=stream.more.len()).map(receipt_file);
    let receipts: Vec<String> = std::iter::once("receipt.cbor".into()).chain(more).collect();
    json!({
        "head": stream.head,
        "salt": stream.salt,
        "events": stream.events,
        "receipts": receipts,
    })
}

/// The file of the receipt of a choice after the first.
pub(super) fn receipt_file(choice: usize) -> String {
    format!("receipt-{choice}.cbor")
}
