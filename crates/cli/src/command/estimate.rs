//! `tally estimate`: which of the texts that a model learned from are estimated to have made an answer
//! likelier, with the measured accuracy of the estimate beside it.
//!
//! The answer is computed again, so that the scores are of what the model computes and of nothing
//! that a receipt merely says. They are integers, the same on every machine. No money follows from them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::{
    influence::{Accuracy, Correlation, Influence, METHOD},
    registry::open_manifest,
};
use tally_core::{Digest, computation::Computation};
use tally_engine::{Engine, Language, Model, replay::replay};
use tally_verifier::{Receipt, open};

use super::{Verdict, ask, replay as replaying, verify};
use crate::{
    args,
    context::Context,
    models,
    output::{Output, quoted},
    receipts, rehearsal,
};

/// Families of a contribution that are shown without `--all`.
const SHOWN: usize = 3;
const NO_CAUSE: &str = "estimated: no statement of cause, and no money follows from it";

/// What is estimated of one answer.
struct Estimates {
    receipt: Digest,
    influence: Influence,
    accuracy: Accuracy,
    token_count: usize,
    contributions: Vec<Contributed>,
}

/// A contribution with its families, the highest score first.
struct Contributed {
    manifest: Digest,
    name: String,
    score: i128,
    /// Places among the families, with their scores.
    families: Vec<(usize, i64)>,
}

pub(crate) fn run(args: &args::Estimate, context: &Context) -> Result<Verdict> {
    let bytes = receipts::read(&receipts::find(&args.receipt, context)?)?;
    let opened = match open(&bytes) {
        Ok(opened) => opened,
        Err(rejection) => return verify::tell_rejection(&rejection, context.output),
    };
    let receipt = opened.receipt();
    replaying::require_arithmetic(receipt)?;
    ensure!(
        receipt.embedding().is_none(),
        "the receipt is of vectors of texts, which have no tokens to estimate anything of"
    );
    let computation = receipt.computation().context("the receipt does not open input, seed and output, so nothing can be computed again\n\nhint: ask its holder for the receipt with its openings")?;
    let (influence, accuracy) = models::default_influence()?;
    ensure!(
        computation.model_root == influence.model,
        "there are no vectors of influence for model {}: this release has them of its default model alone, {}",
        computation.model_root,
        influence.model
    );
    let model = models::load_default()?;
    let Some(gradient) = gradient_of(&model, receipt, &computation, context)? else {
        return Ok(Verdict::NotSatisfied);
    };
    let contributions = grouped(&influence, &influence.scores(&gradient)?)?;
    let (receipt, token_count) = (receipt.digest, computation.output.len());
    let estimates = Estimates { receipt, influence, accuracy, token_count, contributions };
    context.output.json(&view(&estimates))?;
    show(&estimates, args.all, context.output)?;
    Ok(Verdict::Satisfied)
}

/// Computes the answer again, and the gradient of its loss; nothing if it is another answer.
fn gradient_of(
    model: &Arc<Model>,
    receipt: &Receipt,
    computation: &Computation,
    context: &Context,
) -> Result<Option<Vec<i64>>> {
    if let Some(grammar) = &computation.controls.grammar {
        rehearsal::rehearse(grammar).context("the receipt's grammar cannot be followed")?;
    }
    let language = Language::of(model)?;
    let kernels = ask::kernels(&context.kernels)?;
    let engine = Engine::new(Arc::clone(model), kernels, context.threads)?;
    let bar = context.output.bar("replaying", 1);
    let replayed = replay(&engine, &language, computation, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    if let Err(mismatch) = replayed {
        let (digest, output) = (receipt.digest.to_string(), context.output);
        let differs = mismatch.to_string();
        output.json(&json!({ "receipt_digest": digest, "differs": differs }))?;
        output.line(&format!("Nothing is estimated: {}", quoted(&differs)))?;
        return Ok(None);
    }
    let text: Vec<u32> = computation.input.iter().chain(&computation.output).copied().collect();
    Ok(Some(engine.bias_gradient(&text, computation.input.len())?))
}

/// Families below their contributions, the highest scores first.
fn grouped(influence: &Influence, scores: &[i64]) -> Result<Vec<Contributed>> {
    let mut names = BTreeMap::new();
    for signed in models::default_registry()? {
        names.insert(signed.digest(), open_manifest(&signed)?.name);
    }
    let mut found: BTreeMap<Digest, Vec<(usize, i64)>> = BTreeMap::new();
    for ((place, family), score) in influence.families().iter().enumerate().zip(scores) {
        found.entry(family.contribution).or_default().push((place, *score));
    }
    let contributed = |(manifest, mut families): (Digest, Vec<(usize, i64)>)| {
        let name = names.get(&manifest).cloned();
        let name = name.with_context(|| format!("contribution {manifest} is not registered"))?;
        families.sort_by_key(|(place, score)| (-i128::from(*score), *place));
        let score = families.iter().map(|(_, score)| i128::from(*score)).sum();
        Ok(Contributed { manifest, name, score, families })
    };
    let mut all: Vec<Contributed> = found.into_iter().map(contributed).collect::<Result<_>>()?;
    all.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
    Ok(all)
}

fn show(estimates: &Estimates, is_whole: bool, output: Output) -> Result<()> {
    let Estimates { influence, accuracy, contributions, .. } = estimates;
    let Accuracy { lds, subsets, queries, measured_on, .. } = accuracy;
    output.line(&format!("Estimated influence on {} tokens", estimates.token_count))?;
    output.line(&format!("  method   {METHOD}, computed again here in integers"))?;
    output.line(&format!(
        "  vectors  {} families, root {}",
        accuracy.families,
        influence.root()
    ))?;
    output.line(&format!("  LDS      {lds}: {subsets} {measured_on}; {queries} held-out texts"))?;
    for it in &accuracy.beside {
        output.line(&format!("           {}  by {}", it.lds, quoted(&it.name)))?;
    }
    output.line("")?;
    for it in contributions {
        line(output, 0, it.score, *lds, &it.name)?;
        let shown = if is_whole { it.families.len() } else { SHOWN };
        for (place, score) in it.families.iter().take(shown) {
            let name = &influence.families()[*place].name;
            line(output, 2, i128::from(*score), *lds, name)?;
        }
        let rest = it.families.len().saturating_sub(shown);
        if rest > 0 {
            output.line(&format!("  … and {rest} families more (`--all`)"))?;
        }
    }
    output.line("")?;
    output.line("Above zero: learning these texts is estimated to have made the answer likelier; below zero, less likely")?;
    output.line(&format!("All of it is {NO_CAUSE}"))
}

fn line(output: Output, indent: usize, score: i128, lds: Correlation, name: &str) -> Result<()> {
    let score = decimal(score);
    output.line(&format!("{:indent$}{score:>12}  estimated, LDS {lds}  {}", "", quoted(name)))
}

/// Millionths as a decimal with its sign.
fn decimal(millionths: i128) -> String {
    let (sign, magnitude) = (if millionths < 0 { "-" } else { "+" }, millionths.unsigned_abs());
    format!("{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000)
}

fn view(estimates: &Estimates) -> Value {
    let Estimates { influence, accuracy, contributions, .. } = estimates;
    let lds = |it: Correlation| json!({ "mean": decimal_of(it.mean), "low": decimal_of(it.low), "high": decimal_of(it.high) });
    let families = |contributed: &Contributed| {
        let families = contributed.families.iter().map(|(place, score)| {
            let family = &influence.families()[*place];
            json!({
                "label": "estimated",
                "score": decimal((*score).into()),
                "lds": lds(accuracy.lds),
                "name": family.name,
                "documents": family.document_count,
                "documents_root": family.documents.to_string(),
            })
        });
        families.collect::<Vec<_>>()
    };
    let contributions = contributions.iter().map(|it| {
        json!({
            "label": "estimated",
            "score": decimal(it.score),
            "lds": lds(accuracy.lds),
            "manifest": it.manifest.to_string(),
            "name": it.name,
            "families": families(it),
        })
    });
    let beside = accuracy.beside.iter().map(|it| json!({ "name": it.name, "lds": lds(it.lds) }));
    json!({
        "receipt_digest": estimates.receipt.to_string(),
        "label": "estimated",
        "method": METHOD,
        "model": influence.model.to_string(),
        "influence_root": influence.root().to_string(),
        "tokens": estimates.token_count,
        "accuracy": {
            "lds": lds(accuracy.lds),
            "measured_on": accuracy.measured_on,
            "subsets": accuracy.subsets,
            "held_out_texts": accuracy.queries,
            "beside": beside.collect::<Vec<_>>(),
        },
        "estimates": contributions.collect::<Vec<_>>(),
        "meaning": NO_CAUSE,
    })
}

/// Ten-thousandths as a decimal.
fn decimal_of(number: i32) -> String {
    let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}
