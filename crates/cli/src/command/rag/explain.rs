//! `tally rag explain`: how likely the very same answer is without each of its documents.
//!
//! The output's tokens are fed again behind prompts that lack some documents, and their
//! log-probabilities (`spec/arithmetic.md`, A-41) are summed in whole millionths. Nothing is drawn.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::removal::{Fraction, PARTS_MAX, SHAPLEY_PARTS_MAX, Subset, Values, subsets};
use tally_core::{
    Digest,
    attribution::Label,
    commitment::Field,
    computation::{Computation, TokenId},
};
use tally_engine::{
    Engine, Language, Sequence, Span, Wanted, generate::CHUNK_LEN, sampler::logprobs::logprobs,
};
use tally_verifier::open;

use super::{
    super::{ask, replay, verify},
    Verdict,
};
use crate::{
    args,
    context::Context,
    output::{Colour, Output, quoted},
    rag::{FORM, Prompt},
    receipts,
};

/// Millionths in one.
const MILLION: u128 = 1_000_000;

/// What was found of one answer.
struct Explained {
    receipt: Digest,
    prompt: Prompt,
    documents: Vec<Digest>,
    values: Values,
}

pub(super) fn run(args: &args::RagExplain, context: &Context) -> Result<Verdict> {
    let bytes = receipts::read(&receipts::find(&args.receipt, context)?)?;
    let opened = match open(&bytes) {
        Ok(opened) => opened,
        Err(rejection) => return verify::tell_rejection(&rejection, context.output),
    };
    let receipt = opened.receipt();
    replay::require_arithmetic(receipt)?;
    let closed = "the receipt does not open request, input, seed and output, so nothing can be computed again\n\nhint: ask its holder for the receipt with its openings";
    let computation = receipt.computation().context(closed)?;
    let request = receipt.openings.get(&Field::Request).context(closed)?;
    let prompt = Prompt::parse(&request.value)?;
    let model = replay::model_of(args.model.as_deref(), computation.model_root, context)?;
    let (expected, found) = (computation.model_root, model.root());
    ensure!(expected == found, "the receipt is of model {expected}, the model at hand is {found}");
    let language = Language::of(&model)?;
    let engine = Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?;
    if prompt.tokens(&language)? != computation.input {
        let text = "the receipt's input is not what its passages yield in this form of prompt";
        context.output.json(&json!({ "explained": false, "reason": text }))?;
        context.output.line(text)?;
        return Ok(Verdict::NotSatisfied);
    }
    let (documents, values) = value(&prompt, &computation, &engine, &language, context.output)?;
    let explained = Explained { receipt: receipt.digest, prompt, documents, values };
    context.output.json(&explained.view(&computation))?;
    explained.show(&computation, context.output)?;
    Ok(Verdict::Satisfied)
}

/// Values every set of documents that is needed.
fn value(
    prompt: &Prompt,
    computation: &Computation,
    engine: &Engine,
    language: &Language,
    output: Output,
) -> Result<(Vec<Digest>, Values)> {
    ensure!(!computation.output.is_empty(), "the output has no tokens");
    let documents = prompt.documents();
    let parts = u32::try_from(documents.len())?;
    ensure!(parts <= PARTS_MAX, "{parts} documents, at most {PARTS_MAX} are compared");
    let bar = output.bar("explaining", subsets(parts).len() as u64);
    let mut likelihood = Likelihood::new(engine);
    let values = Values::of(parts, &mut |subset: Subset| {
        let is_there = |document: &Digest| {
            let part = documents.iter().position(|it| it == document);
            part.and_then(|part| u32::try_from(part).ok()).is_some_and(|it| subset.contains(it))
        };
        let input = prompt.only(&|passage| is_there(&passage.document)).tokens(language)?;
        bar.inc(1);
        likelihood.of(&input, &computation.output)
    })?;
    bar.finish_and_clear();
    Ok((documents, values))
}

/// The log-probability of outputs behind inputs, with what was computed for the input before.
struct Likelihood<'a> {
    engine: &'a Engine,
    sequence: Sequence,
    fed: Vec<TokenId>,
    logits: Vec<Vec<i32>>,
}

impl<'a> Likelihood<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, sequence: engine.sequence(), fed: vec![], logits: vec![] }
    }

    /// The sum of the log-probabilities of all output tokens behind an input, in millionths.
    fn of(&mut self, input: &[TokenId], output: &[TokenId]) -> Result<i64> {
        // The last token's logits decide nothing, and the first ones' only what the input says.
        let text = [input, &output[..output.len() - 1]].concat();
        let told = input.len().checked_sub(1).context("the input has no tokens")?;
        let same = text.iter().zip(&self.fed).take_while(|(a, b)| a == b).count().min(told);
        self.sequence.truncate(same);
        self.fed.truncate(same);
        for tokens in text[same..told].chunks(CHUNK_LEN) {
            self.feed(tokens, Wanted::Nothing)?;
        }
        let (mut sum, mut drawn) = (0_i64, output);
        for tokens in text[told..].chunks(CHUNK_LEN) {
            self.feed(tokens, Wanted::All)?;
            let bits = self.engine.model().configuration().logit_bits;
            let (now, later) = drawn.split_at(tokens.len());
            for (logits, token) in self.logits.iter().zip(now) {
                let found = logprobs(logits, bits, *token, 0)?.log_probability.millionths();
                sum = sum.checked_add(found).context("the log-probability is out of range")?;
            }
            drawn = later;
        }
        Ok(sum)
    }

    fn feed(&mut self, tokens: &[TokenId], wanted: Wanted) -> Result<()> {
        let span = Span { sequence: &mut self.sequence, tokens, wanted };
        self.engine.extend(&mut [span], &mut self.logits)?;
        self.fed.extend(tokens);
        Ok(())
    }
}

impl Explained {
    fn view(&self, computation: &Computation) -> Value {
        let shapley = self.values.shapley();
        let shares = |at: usize| {
            let share = shapley.as_ref()?.get(at)?;
            Some(json!({
                "numerator": share.numerator.to_string(),
                "denominator": share.denominator.to_string(),
            }))
        };
        let all = self.documents.iter().zip(self.values.leave_one_out()).enumerate();
        let documents = all.map(|(at, (document, without))| {
            json!({
                "document": document.to_string(),
                "name": self.name(document),
                "passages": self.numbers(document),
                "leave_one_out": without.to_string(),
                "shapley": shares(at),
            })
        });
        json!({
            "explained": true,
            "label": Label::Interventional.to_string(),
            "receipt_digest": self.receipt.to_string(),
            "model": computation.model_root.to_string(),
            "arithmetic": computation.arithmetic,
            "form": FORM,
            "seed": hex::encode(computation.seed),
            "output_tokens": computation.output.len(),
            "unit": "millionths of a nat",
            "whole": self.values.whole().to_string(),
            "none": self.values.none().to_string(),
            "documents": documents.collect::<Vec<_>>(),
        })
    }

    fn show(&self, computation: &Computation, output: Output) -> Result<()> {
        let label = output.paint(Colour::Bold, &Label::Interventional.to_string());
        output.line(&format!("How likely these {} output tokens are without a document ({label}, log-probability in nats)", computation.output.len()))?;
        output.line("")?;
        let shapley = self.values.shapley();
        let all = self.documents.iter().zip(self.values.leave_one_out()).enumerate();
        for (at, (document, without)) in all {
            let numbers = self.numbers(document).into_iter().map(|it| format!("[{it}]"));
            let numbers = numbers.collect::<String>();
            output.line(&format!(
                "{numbers} {} ({})",
                quoted(self.name(document)),
                &document.to_string()[..16]
            ))?;
            output.line(&format!("  leaving it out takes {:>14}", signed(without)))?;
            if let Some(share) = shapley.as_ref().and_then(|all| all.get(at)) {
                let Fraction { numerator, denominator } = share;
                output.line(&format!(
                    "  its Shapley value    {:>14}   = {numerator}/{denominator} millionths",
                    signed(share.rounded())
                ))?;
            }
        }
        output.line("")?;
        let (whole, none) = (i128::from(self.values.whole()), i128::from(self.values.none()));
        output.line(&format!("with all documents     {:>14}", signed(whole)))?;
        output.line(&format!("with none              {:>14}", signed(none)))?;
        output.line(&match shapley {
            Some(_) => format!(
                "the Shapley values sum to the difference, {}, exactly",
                signed(whole - none)
            ),
            None => format!("more than {SHAPLEY_PARTS_MAX} documents: no Shapley values, since each more doubles the work"),
        })?;
        output.line("")?;
        output.line(&format!(
            "This holds of this output under this model ({}), this form of prompt ({FORM}) and this seed.\nAnother seed draws another output. It says what removing texts changes, not that they are right or who wrote them.",
            &computation.model_root.to_string()[..16]
        ))
    }

    /// The name of a document that the prompt quotes.
    fn name(&self, document: &Digest) -> &str {
        let quoted = self.prompt.passages.iter().find(|passage| passage.document == *document);
        quoted.map_or("", |passage| &passage.name)
    }

    /// The numbers of a document's passages in the prompt.
    fn numbers(&self, document: &Digest) -> Vec<u32> {
        let all = (1..).zip(&self.prompt.passages);
        all.filter(|(_, passage)| passage.document == *document).map(|(number, _)| number).collect()
    }
}

/// Millionths with their sign and all six places.
fn signed(millionths: i128) -> String {
    let sign = if millionths < 0 { '-' } else { '+' };
    let magnitude = millionths.unsigned_abs();
    format!("{sign}{}.{:06}", magnitude / MILLION, magnitude % MILLION)
}

#[cfg(test)]
mod tests;
