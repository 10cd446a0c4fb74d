//! From a chat request to an answer with its receipt: the one path that `ask` and `demo` share.

use std::{ops::ControlFlow, time::Instant};

use anyhow::{Result, anyhow};
use tally_attribution::{
    attributor::{Attributor, Retrieved},
    ledger::Owed,
};
use tally_core::{
    Digest,
    commitment::ReceiptSecret,
    computation::{Controls, FinishReason, TokenId},
    receipt::{Kind, Openings, Preparation, Statement},
};
use tally_engine::{
    ARITHMETIC, Engine, Language,
    generate::{CHUNK_LEN, GenerateRequest, generate},
    template::ChatOptions,
};
use tally_issuer::{Admission, Behind, Draft, Issued, Node, Prepared, choose_seed, refuse};
use tally_server::{issue::SOFTWARE, store::StatementStore};

use crate::{
    context::now_ms,
    home::{Home, random},
    request::{ChatRequest, Turn, messages_of},
};

/// An answer, its receipt, and how fast it came.
pub(crate) struct Answered {
    pub(crate) issued: Issued,
    pub(crate) text: String,
    pub(crate) finish: FinishReason,
    pub(crate) output_count: usize,
    /// From the first output token to the last.
    pub(crate) decode_micros: u128,
}

impl Answered {
    /// Output tokens a second after the first one; `None` if there are too few to say.
    pub(crate) fn tokens_per_second(&self) -> Option<u64> {
        let count = u128::try_from(self.output_count.checked_sub(1)?).ok()?;
        u64::try_from((count * 1_000_000).checked_div(self.decode_micros)?).ok()
    }
}

/// What became of an admitted request: it has a receipt in any case.
pub(crate) enum Outcome {
    /// An answer; it may have been cut off because nobody could take more of it.
    Answered(Answered),
    /// No answer, and why.
    Refused(Issued, anyhow::Error),
}

/// Who answers.
pub(crate) struct Answerer<'a> {
    pub(crate) home: &'a Home,
    pub(crate) node: &'a Node,
    pub(crate) engine: &'a Engine,
    pub(crate) language: &'a Language,
    pub(crate) attributor: &'a Attributor,
    /// Registered documents that the request holds.
    pub(crate) retrieved: &'a [Retrieved],
}

impl Answerer<'_> {
    /// Answers a request, giving text to `on_text` as soon as it is final; to break cancels.
    pub(crate) fn answer(
        &self,
        request: &ChatRequest,
        nonce: Option<Vec<u8>>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let admission = admit(request, nonce)?;
        let input =
            self.language.encode_chat(&messages_of(&request.messages)?, &ChatOptions::default())?;
        let limit = self.engine.model().context_len() as usize;
        if input.len() >= limit {
            let found = input.len();
            let error = anyhow!(
                "the question has {found} tokens with its template, the model's context has {limit}\n\nhint: ask something shorter"
            );
            let (statement, openings) = refuse(admission, "context/length")?;
            return Ok(Outcome::Refused(self.issue(&statement, openings)?, error));
        }
        let nonce = admission.nonce.as_deref();
        let prepared = prepare(self.engine, self.language, request, nonce, input)?;
        let task = GenerateRequest {
            input: prepared.input.clone(),
            parameters: prepared.parameters.clone(),
            seed: prepared.seed,
            controls: Controls::default(),
            logprobs: None,
            chunk_len: CHUNK_LEN,
        };
        self.generate(&task, Draft::new(admission, prepared)?, on_text)
    }

    fn generate(
        &self,
        task: &GenerateRequest,
        mut draft: Draft,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let mut stream = self.language.stream(&[]);
        let (mut text, mut first, mut failure) = (String::new(), None, None);
        let generated = generate(self.engine, task, &mut |token| {
            first.get_or_insert_with(Instant::now);
            draft.append(token);
            match stream.push(token) {
                Ok(piece) => {
                    text.push_str(&piece.text);
                    on_text(&piece.text)
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let decode_micros = first.map_or(0, |first| first.elapsed().as_micros());
        let generated = match (generated, failure) {
            (Ok(generated), None) => generated,
            (Ok(_), Some(error)) => return self.refuse_midway(draft, error.into()),
            (Err(error), _) => return self.refuse_midway(draft, error.into()),
        };
        let rest = stream.finish();
        text.push_str(&rest);
        if generated.finish != FinishReason::Cancelled {
            // The answer is whole: whether its last piece is seen changes nothing.
            let _ = on_text(&rest);
        }
        let behind = Behind {
            attributor: self.attributor,
            signer: &self.node.key_id(),
            output: &self.language.spell(&generated.output),
            context: self.retrieved,
        };
        let (statement, openings) =
            draft.finish(generated.finish, text.as_bytes(), Some(&behind))?;
        Ok(Outcome::Answered(Answered {
            issued: self.issue(&statement, openings)?,
            text,
            finish: generated.finish,
            output_count: generated.output.len(),
            decode_micros,
        }))
    }

    fn refuse_midway(&self, draft: Draft, error: anyhow::Error) -> Result<Outcome> {
        let (statement, openings) = draft.refuse("arithmetic/refused")?;
        Ok(Outcome::Refused(self.issue(&statement, openings)?, error))
    }

    fn issue(&self, statement: &Statement, openings: Openings) -> Result<Issued> {
        // What it owes is kept first: nobody is told of a receipt that the ledger could lose.
        let receipt = self.node.sign(statement).digest();
        if let Some(owed) = Owed::of(receipt, statement, &openings)? {
            StatementStore::open(&self.home.statements())?.owe(&owed)?;
        }
        let now_s = now_ms()? / 1000;
        let issued = self.node.issue(statement, openings, now_s)?;
        // What others read of the log has the entry too.
        self.node.publish(now_s)?;
        Ok(issued)
    }
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
    let (seed, seed_source) =
        choose_seed(request.seed.map(tally_server::plan::seed_of), nonce, &input, issuer_seed);
    let model = engine.model();
    Ok(Prepared {
        arithmetic: ARITHMETIC.into(),
        model_root: model.root(),
        parameters: request.parameters(language.stop_tokens().to_vec()),
        input,
        controls: Controls::default(),
        seed,
        seed_source,
        preparation: Preparation {
            tokenizer: Digest::of_content(model.tokenizer()),
            template: Some(Digest::of_content(model.template().as_bytes())),
            adjustments: vec![],
        },
    })
}

/// The conversation of a single question.
pub(crate) fn conversation(system: Option<&str>, question: &str) -> Vec<Turn> {
    let turn =
        |role: &str, content: &str| Turn { role: role.into(), content: vec![content.into()] };
    system.map(|text| turn("system", text)).into_iter().chain([turn("user", question)]).collect()
}
