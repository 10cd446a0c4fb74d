//! `tally replay`: the answer computed again from the receipt's openings, compared bit for bit.
//!
//! Beside the integers it derives again what surrounds them: the effective input from the opened
//! request, and the response from the output tokens.

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use tally_core::{Digest, commitment::Field, computation::Computation, receipt::Kind};
use tally_engine::{Engine, Language, replay::replay, template::ChatOptions};
use tally_verifier::{Receipt, open};

use super::{Verdict, ask, read_receipt};
use crate::{
    answer::seed_of,
    args,
    context::Context,
    models,
    output::{Colour, quoted},
    request::{ChatRequest, messages_of},
};

/// What a replay found, thing by thing.
pub(super) struct Report {
    pub(super) same: Vec<String>,
    pub(super) differs: Vec<String>,
    pub(super) not_compared: Vec<String>,
}

pub(crate) fn run(args: &args::Replay, context: &Context) -> Result<Verdict> {
    let bytes = read_receipt(&args.receipt)?;
    let opened = open(&bytes).context("the receipt's openings cannot be used")?;
    let receipt = opened.receipt();
    let computation = receipt
        .computation()
        .context("the receipt does not open input, seed and output, so nothing can be computed again\n\nhint: ask its holder for the receipt with its openings")?;
    let model = match &args.model {
        Some(path) => models::load_file(path)?,
        None => {
            models::load_by_root(context.existing_home().ok().as_ref(), computation.model_root)?
        }
    };
    let language = Language::of(&model)?;
    let engine = Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?;
    let bar = context.output.bar("replaying", 1);
    let report = compare(receipt, &computation, &engine, &language, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
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
            "Replayed: everything is bit for bit the same, and nobody's word was needed for this\nWho issued the receipt, and whether a log has it, `tally verify` tells"
        }
        true => {
            "Replayed in part: the output tokens are bit for bit the same; what was not opened was not compared\nWho issued the receipt, and whether a log has it, `tally verify` tells"
        }
        false => "Not replayed: the receipt states something else than the computation yields",
    })?;
    Ok(if is_same { Verdict::Satisfied } else { Verdict::NotSatisfied })
}

/// Computes again and compares.
pub(super) fn compare(
    receipt: &Receipt,
    computation: &Computation,
    engine: &Engine,
    language: &Language,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Report {
    let mut report = Report { same: vec![], differs: vec![], not_compared: vec![] };
    let mut note = |name: &str, found: Option<Result<bool>>| match found {
        Some(Ok(true)) => report.same.push(name.to_owned()),
        Some(Ok(false)) => report.differs.push(format!("not so: {name}")),
        Some(Err(error)) => report.differs.push(format!("not so: {name}: {error:#}")),
        None => report.not_compared.push(format!("not opened: {name}")),
    };
    let opened =
        |field: Field| receipt.openings.get(&field).map(|opening| opening.value.as_slice());
    let replayed = replay(engine, language, computation, on_progress);
    let count = computation.output.len();
    note(
        &format!("the {count} output tokens are what model, input, parameters and seed yield"),
        Some(replayed.map(|()| true).map_err(anyhow::Error::from)),
    );
    let statement = &receipt.statement;
    if let Some(answer) = statement.outcome.answer() {
        let preparation = &answer.preparation;
        let model = engine.model();
        let template = Digest::of_content(model.template().as_bytes());
        let is_known = preparation.tokenizer == Digest::of_content(model.tokenizer())
            && preparation.template.is_none_or(|stated| stated == template)
            && preparation.adjustments.is_empty();
        note(
            "tokenizer and template are the model's, and the node adjusted nothing",
            Some(Ok(is_known)),
        );
    }
    let request = match statement.kind {
        Kind::Chat => opened(Field::Request).map(ChatRequest::parse),
        // What a completion's request looks like is not laid down yet.
        Kind::Completion | Kind::Embedding => None,
    };
    note(
        "the input tokens are what template and tokenizer make of the request",
        request.as_ref().map(|request| match request {
            Ok(request) => {
                let messages = messages_of(&request.messages)?;
                let input = language.encode_chat(&messages, &ChatOptions::default())?;
                Ok(input == computation.input)
            }
            Err(error) => Err(anyhow!("{error:#}")),
        }),
    );
    note(
        "model, sampling parameters and seed are what the request asked for",
        request.as_ref().map(|request| match request {
            Ok(request) => Ok(asked_for(request, computation, language)),
            Err(error) => Err(anyhow!("{error:#}")),
        }),
    );
    let response = opened(Field::Response);
    note(
        "the response is what the output tokens say",
        response.map(|text| Ok(decoded(language, computation)?.as_bytes() == text)),
    );
    report
}

/// Whether a computation is the one that a request asked for, so far as the request decides it.
fn asked_for(request: &ChatRequest, computation: &Computation, language: &Language) -> bool {
    computation.parameters == request.parameters(language.stop_tokens().to_vec())
        && computation.controls.is_empty()
        && request.model == computation.model_root.to_string()
        && request.seed.is_none_or(|seed| seed_of(seed) == computation.seed)
}

/// What is shown of an output: its text up to the first stop string.
fn decoded(language: &Language, computation: &Computation) -> Result<String> {
    Ok(language.decode_until(&computation.output, &computation.controls.stop)?)
}
