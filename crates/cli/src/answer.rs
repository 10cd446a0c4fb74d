//! From a chat request to an answer with its receipt: the one path that `ask` and `demo` share.

use std::{ops::ControlFlow, time::Instant};

use anyhow::{Result, bail};
use tally_core::{
    Digest,
    commitment::ReceiptSecret,
    computation::{FinishReason, SamplingParameters, TokenId},
    receipt::{Kind, Preparation},
};
use tally_engine::{
    ARITHMETIC, Engine, EngineError,
    generate::{CHUNK_LEN, GenerateRequest, generate},
};
use tally_issuer::{Admission, Draft, Issued, Node, Prepared, choose_seed, refuse};

use crate::{
    context::now_ms,
    home::random,
    language::Language,
    request::{ChatRequest, Turn},
};

/// Name and version that a statement carries.
const SOFTWARE: &str = concat!("tally/", env!("CARGO_PKG_VERSION"));

/// An answer, its receipt, and how fast it came.
pub(crate) struct Answered {
    pub(crate) issued: Issued,
    pub(crate) text: String,
    pub(crate) finish: FinishReason,
    pub(crate) output_count: usize,
    /// From the first output token to the last, in seconds times 10⁶.
    pub(crate) decode_micros: u128,
}

impl Answered {
    /// Output tokens a second after the first one; `None` if there are too few to say.
    pub(crate) fn tokens_per_second(&self) -> Option<u128> {
        let count = u128::try_from(self.output_count.checked_sub(1)?).ok()?;
        (count * 1_000_000).checked_div(self.decode_micros)
    }
}

/// Answers a request, giving text to `on_text` as soon as it is final.
///
/// A request that cannot be answered gets a receipt of its refusal, and an error.
pub(crate) fn answer(
    node: &Node,
    engine: &Engine,
    language: &Language,
    request: &ChatRequest,
    nonce: Option<Vec<u8>>,
    on_text: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Answered> {
    let admission = admit(request, nonce)?;
    let input = language.encode_chat(&request.messages)?;
    let limit = engine.model().context_len() as usize;
    if input.len() >= limit {
        let (statement, openings) = refuse(admission, "context/length")?;
        let issued = node.issue(&statement, openings, now_ms()? / 1000)?;
        bail!(
            "the question has {} tokens with its template, the model's context has {limit}\n\nhint: ask something shorter; the refusal has receipt {}",
            input.len(),
            issued.digest
        );
    }
    let prepared = prepare(engine, language, request, admission.nonce.as_deref(), input)?;
    let task = GenerateRequest {
        input: prepared.input.clone(),
        parameters: prepared.parameters.clone(),
        seed: prepared.seed,
        chunk_len: CHUNK_LEN,
    };
    let mut draft = Draft::new(admission, prepared)?;
    let mut stream = language.stream();
    let (mut text, mut failure, mut first) = (String::new(), None, None);
    let generated = generate(engine, &task, &mut |token| {
        first.get_or_insert_with(Instant::now);
        draft.append(token);
        let written = stream.push(token).and_then(|piece| {
            text.push_str(&piece);
            on_text(&piece)
        });
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    let decode_micros = first.map_or(0, |first| first.elapsed().as_micros());
    let generated = match generated {
        Ok(generated) => generated,
        Err(error) => return Err(refuse_midway(node, draft, error)?),
    };
    let rest = stream.finish();
    text.push_str(&rest);
    on_text(&rest)?;
    let (statement, openings) = draft.finish(generated.finish, text.as_bytes())?;
    let issued = node.issue(&statement, openings, now_ms()? / 1000)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let output_count = generated.output.len();
    Ok(Answered { issued, text, finish: generated.finish, output_count, decode_micros })
}

/// Issues the receipt of a refusal by the arithmetic and returns the error to show.
fn refuse_midway(node: &Node, draft: Draft, error: EngineError) -> Result<anyhow::Error> {
    let (statement, openings) = draft.refuse("arithmetic/refused")?;
    let issued = node.issue(&statement, openings, now_ms()? / 1000)?;
    let shown = format!("the answer was refused; the refusal has receipt {}", issued.digest);
    Ok(anyhow::Error::from(error).context(shown))
}

fn admit(request: &ChatRequest, nonce: Option<Vec<u8>>) -> Result<Admission> {
    let (mut id, mut secret) = ([0; 16], [0; 32]);
    random(&mut id)?;
    random(&mut secret)?;
    Ok(Admission {
        id,
        secret: ReceiptSecret::from_bytes(secret),
        time_ms: now_ms()?,
        nonce,
        kind: Kind::Chat,
        body: request.encode(),
        software: SOFTWARE.into(),
    })
}

fn prepare(
    engine: &Engine,
    language: &Language,
    request: &ChatRequest,
    nonce: Option<&[u8]>,
    input: Vec<TokenId>,
) -> Result<Prepared> {
    let mut issuer_seed = [0; 32];
    random(&mut issuer_seed)?;
    let (seed, seed_source) = choose_seed(request.seed.map(seed_of), nonce, &input, issuer_seed);
    let model = engine.model();
    Ok(Prepared {
        arithmetic: ARITHMETIC.into(),
        model_root: model.root(),
        parameters: SamplingParameters {
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_k: request.top_k,
            top_p: request.top_p,
            stop_tokens: language.stop_tokens(),
            choice: 0,
        },
        input,
        seed,
        seed_source,
        preparation: Preparation {
            tokenizer: Digest::of_content(model.tokenizer()),
            template: Some(Digest::of_content(model.template().as_bytes())),
            adjustments: vec![],
        },
    })
}

/// The 32 bytes of a client's seed: the number, big-endian, after zeros.
pub(crate) fn seed_of(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&seed.to_be_bytes());
    bytes
}

/// The conversation of a single question.
pub(crate) fn conversation(system: Option<&str>, question: &str) -> Vec<Turn> {
    let turn = |role: &str, content: &str| Turn { role: role.into(), content: content.into() };
    system.map(|text| turn("system", text)).into_iter().chain([turn("user", question)]).collect()
}
