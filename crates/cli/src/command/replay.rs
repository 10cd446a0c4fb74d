//! `tally replay`: the answer computed again from the receipt's openings, compared bit for bit.
//!
//! Beside the integers it derives again what surrounds them: the effective input from the opened
//! request, and the response from the output tokens.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use tally_core::{
    Digest,
    attribution::Section,
    cbor::{Cbor as _, CborError},
    commitment::Field,
    computation::{Computation, EmbeddingComputation, SamplingParameters},
};
use tally_engine::{
    Embedding, Engine, Language, Model,
    batch::{Batch, BatchLimits, Task, TaskEvent, TaskId, TokenLogprobs},
    generate::{CHUNK_LEN, GenerateRequest},
    replay::replay,
};
use tally_server::{
    again::{Again, ResponseMatch},
    api::{completion::EmbeddingRequest, parse::parse},
    http::embed,
};
use tally_verifier::{Receipt, open};

use super::{Verdict, ask, rag, verify};
use crate::{
    args,
    context::Context,
    models,
    output::{Colour, quoted},
    receipts, rehearsal,
};

/// What a replay found, thing by thing.
#[derive(Default)]
pub(super) struct Report {
    pub(super) same: Vec<String>,
    pub(super) differs: Vec<String>,
    pub(super) not_compared: Vec<String>,
}

impl Report {
    /// Notes whether something is so; `None` if the receipt does not open what that takes.
    fn note(&mut self, name: &str, found: Option<Result<bool>>) {
        match found {
            Some(Ok(true)) => self.same.push(name.to_owned()),
            Some(Ok(false)) => self.differs.push(format!("not so: {name}")),
            Some(Err(error)) => self.differs.push(format!("not so: {name}: {error:#}")),
            None => self.not_compared.push(format!("not opened: {name}")),
        }
    }
}

pub(crate) fn run(args: &args::Replay, context: &Context) -> Result<Verdict> {
    let bytes = receipts::read(&receipts::find(&args.receipt, context)?)?;
    let opened = match open(&bytes) {
        Ok(opened) => opened,
        Err(rejection) => return verify::tell_rejection(&rejection, context.output),
    };
    let receipt = opened.receipt();
    require_arithmetic(receipt)?;
    let closed = "the receipt does not open input, seed and output, so nothing can be computed again\n\nhint: ask its holder for the receipt with its openings";
    let load = |root: Digest| model_of(args.model.as_deref(), root, context);
    let engine_of = |model: Arc<Model>| -> Result<Engine> {
        Ok(Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?)
    };
    let bar = context.output.bar("replaying", 1);
    let report = if let Some(computation) = receipt.embedding() {
        let engine = engine_of(load(computation.model_root)?)?;
        let language = Language::of(engine.model())?;
        compare_vectors(receipt, &computation, &engine, &language)
    } else {
        let computation = receipt.computation().context(closed)?;
        if let Some(grammar) = &computation.controls.grammar {
            rehearsal::rehearse(grammar).context("the receipt's grammar cannot be followed")?;
        }
        let model = load(computation.model_root)?;
        let language = Arc::new(Language::of(&model)?);
        let engine = engine_of(model)?;
        compare(receipt, &computation, &engine, &language, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })
    };
    bar.finish_and_clear();
    let mut report = report;
    rag::note_context(&mut report, receipt, context.existing_home().ok().as_ref())?;
    let is_same = report.differs.is_empty();
    let output = context.output;
    output.json(&json!({
        "replayed": is_same,
        "receipt_digest": receipt.digest.to_string(),
        "same": report.same,
        "differs": report.differs,
        "not_compared": report.not_compared,
    }))?;
    for text in &report.same {
        output.line(&format!("  {} {text}", output.paint(Colour::Green, "✓")))?;
    }
    for text in &report.differs {
        output.line(&format!("  {} {}", output.paint(Colour::Red, "✗"), quoted(text)))?;
    }
    for text in &report.not_compared {
        output.line(&format!("  {} {text}", output.paint(Colour::Yellow, "–")))?;
    }
    output.line(match is_same {
        true if report.not_compared.is_empty() => {
            "Replayed: everything is bit for bit the same, and nobody's word was needed for this\nThe signature was not looked at: who issued the receipt, and whether a log has it, `tally verify` tells"
        }
        true => {
            "Replayed in part: the output tokens are bit for bit the same; the rest was not compared\nThe signature was not looked at: who issued the receipt, and whether a log has it, `tally verify` tells"
        }
        false => "Not replayed: the receipt states something else than the computation yields",
    })?;
    Ok(if is_same { Verdict::Satisfied } else { Verdict::NotSatisfied })
}

/// The model of a file or name, or the known one with a root.
pub(super) fn model_of(
    given: Option<&Path>,
    root: Digest,
    context: &Context,
) -> Result<Arc<Model>> {
    match given {
        Some(path) if path.exists() => models::load_file(path),
        Some(name) => models::load(&context.existing_home()?, &name.to_string_lossy()),
        None => models::load_by_root(context.existing_home().ok().as_ref(), root),
    }
}

/// That there is an answer, in the arithmetic that this program computes in.
pub(super) fn require_arithmetic(receipt: &Receipt) -> Result<()> {
    let outcome = &receipt.statement.outcome;
    if let Some(refusal) = outcome.refusal() {
        anyhow::bail!(
            "there is no answer to compute again: the node refused ({})",
            quoted(&refusal.code)
        );
    }
    let stated = outcome.answer().map(|answer| &answer.computation.arithmetic);
    let stated = stated.or_else(|| outcome.embedding().map(|made| &made.computation.arithmetic));
    anyhow::ensure!(
        stated.is_none_or(|stated| stated == tally_engine::ARITHMETIC),
        "the receipt is of arithmetic `{}`, this release computes in `{}`\n\nhint: replay it with a release that has that arithmetic",
        quoted(stated.map_or("", |stated| stated)),
        tally_engine::ARITHMETIC
    );
    Ok(())
}

/// Computes again and compares.
pub(super) fn compare(
    receipt: &Receipt,
    computation: &Computation,
    engine: &Engine,
    language: &Arc<Language>,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Report {
    let mut report = Report::default();
    let opened =
        |field: Field| receipt.openings.get(&field).map(|opening| opening.value.as_slice());
    let replayed = replay(engine, language, computation, on_progress);
    let count = computation.output.len();
    report.note(
        &format!("the {count} output tokens are what model, input, parameters and seed yield"),
        Some(replayed.map(|()| true).map_err(anyhow::Error::from)),
    );
    let statement = &receipt.statement;
    let request = opened(Field::Request);
    let again = request.map(|request| {
        let language = Arc::clone(language);
        Again::plan(statement.kind, request, engine.model(), language, computation)
    });
    let derived = |act: &dyn Fn(&Again) -> bool| {
        again.as_ref().map(|again| match again {
            Ok(again) => Ok(act(again)),
            Err(error) => Err(anyhow!("{error}")),
        })
    };
    if let Some(answer) = statement.outcome.answer() {
        let preparation = &answer.preparation;
        let model = engine.model();
        let template = Digest::of_content(model.template().as_bytes());
        let is_known = preparation.tokenizer == Digest::of_content(model.tokenizer())
            && preparation.template.is_none_or(|stated| stated == template);
        report.note("tokenizer and template are the model's", Some(Ok(is_known)));
        report.note(
            "what the node added to the request is declared, and nothing else",
            derived(&|again| again.is_declared(answer, computation)),
        );
    }
    report.note(
        "the input tokens are what template and tokenizer make of the request",
        derived(&|again| again.is_input(computation)),
    );
    report.note(
        "sampling parameters, controls and seed are what the request asked for",
        derived(&|again| again.is_asked_for(computation)),
    );
    let response =
        opened(Field::Response).zip(again.as_ref().and_then(|again| again.as_ref().ok()));
    let compared = response.map(|(response, again)| {
        let logprobs = match again.logprobs() {
            None => vec![],
            Some(count) => logprobs_of(engine, language, computation, count)?,
        };
        Ok(again.compare_response(response, statement, computation, &logprobs)?)
    });
    note_response(&mut report, compared, computation.parameters.choice);
    note_traced(&mut report, receipt, &language.spell(&computation.output));
    report
}

/// Compares the text that was traced with what was computed again.
fn note_traced(report: &mut Report, receipt: &Receipt, spelt: &[u8]) {
    if receipt.statement.attribution.is_none() {
        return;
    }
    let section = receipt.openings.get(&Field::Attribution);
    let section = section.map(|opening| Section::parse(&opening.value));
    let is_same = |section: Result<Section, CborError>| Ok(section?.output == spelt);
    report.note("the text that was traced is what the output tokens say", section.map(is_same));
}

fn note_response(report: &mut Report, compared: Option<Result<ResponseMatch>>, choice: u32) {
    const NAME: &str = "the response is what the output tokens say";
    if !matches!(compared, Some(Ok(ResponseMatch::OwnChoice))) {
        let is_whole = |found| found == ResponseMatch::Whole;
        return report.note(NAME, compared.map(|found| found.map(is_whole)));
    }
    report.note(
        &format!("answer {choice} of the response is what the output tokens say"),
        Some(Ok(true)),
    );
    let others = "other receipts tell of it: the response's other answers, and its totals";
    report.not_compared.push(others.into());
}

/// The log-probabilities of the output's tokens, which a response may show.
fn logprobs_of(
    engine: &Engine,
    language: &Language,
    computation: &Computation,
    count: u8,
) -> Result<Vec<TokenLogprobs>> {
    let request = GenerateRequest {
        input: computation.input.clone(),
        parameters: SamplingParameters {
            max_tokens: u32::try_from(computation.output.len())?,
            ..computation.parameters.clone()
        },
        controls: computation.controls.clone(),
        seed: computation.seed,
        chunk_len: CHUNK_LEN,
        logprobs: Some(count),
    };
    let task = Task::with_language(request, language)?;
    let limits = BatchLimits {
        pass_tokens_max: CHUNK_LEN,
        sequences_max: 1,
        cache_bytes_max: u64::MAX,
        waiting_max: 0,
    };
    let mut batch = Batch::new(engine, limits)?;
    batch.admit(TaskId(0), task)?;
    let mut found = vec![];
    while !batch.is_idle() {
        batch.step(&mut |_, event| {
            if let TaskEvent::Token { logprobs, .. } = event {
                found.extend(logprobs);
            }
        });
    }
    Ok(found)
}

/// Computes vectors again and compares.
fn compare_vectors(
    receipt: &Receipt,
    computation: &EmbeddingComputation,
    engine: &Engine,
    language: &Language,
) -> Report {
    let mut report = Report::default();
    let texts = computation.inputs.iter();
    let made: Result<Vec<Embedding>> = texts
        .map(|text| engine.embed(&[text.as_slice()])?.pop().context("the engine made no vector"))
        .collect();
    let name = format!("the {} vectors are what model and inputs yield", computation.vectors.len());
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            report.note(&name, Some(Err(error)));
            return report;
        }
    };
    let is_same = made.iter().map(|each| &each.values).eq(&computation.vectors);
    report.note(&name, Some(Ok(is_same && computation.arithmetic == tally_engine::ARITHMETIC)));
    let opened = |field: Field| receipt.openings.get(&field).map(|found| found.value.as_slice());
    let request = opened(Field::Request).map(parse::<EmbeddingRequest>);
    let request =
        || request.as_ref().map(|it| it.as_ref().map_err(|error| anyhow!("{}", error.message)));
    report.note(
        "the input tokens are what the tokenizer makes of the request",
        request().map(|request| {
            let inputs = embed::inputs_of(request?, engine.model(), language);
            Ok(inputs.map_err(|text| anyhow!(text))? == computation.inputs)
        }),
    );
    report.note(
        "the response is what the vectors say",
        request().zip(opened(Field::Response)).map(|(request, response)| {
            Ok(embed::body(request?, &computation.inputs, &made) == response)
        }),
    );
    note_traced(&mut report, receipt, &[]);
    report
}
