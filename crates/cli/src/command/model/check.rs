//! `tally model check`: how near a model's exact arithmetic is to floats, on the owner's own text.
//!
//! With the source that the model was converted from, its float reference is computed beside it.
//! Floats are in what is measured and printed here, and in nothing that answers anybody.
#![expect(
    clippy::cast_precision_loss,
    reason = "counts and magnitudes are printed as ratios, not computed with"
)]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_engine::{
    Engine, Headroom, Model, model::WeightKind, source::Source, tokenizer::Tokenizer,
};
use tally_reference::{
    Comparison, Reference, cosine, divergence, exact_logits, float_logits, surprise,
};

use super::plot::{self, Heat};
use crate::{
    args,
    command::{Verdict, ask, read_limited},
    context::Context,
    models,
    output::{Colour, Output},
};

/// Longest text of which a part is measured.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Tokens that are computed as one text; a model's context may be shorter.
const WINDOW: usize = 256;
/// Tokens that the engine is given at a time.
const CHUNK: usize = 64;
/// Positions whose predictions are looked at after every layer.
const LENS_POSITIONS: usize = 64;

/// What a model must reach to be called near to its source.
struct Demand {
    growth_percent_max: f64,
    divergence_max: f64,
    agreement_min: f64,
}

/// Demands on a sentence encoder: the mean and the least cosine.
const COSINES_MIN: (f64, f64) = (0.9993, 0.9985);
/// The least ratio of a bound to the largest magnitude that was seen.
const HEADROOM_MIN: f64 = 2.0;

impl Demand {
    const fn on(weights: WeightKind) -> Self {
        match weights {
            WeightKind::Int8 | WeightKind::Int8Groups => {
                Self { growth_percent_max: 0.5, divergence_max: 0.001, agreement_min: 0.98 }
            }
            WeightKind::Int4 => {
                Self { growth_percent_max: 4.0, divergence_max: 0.05, agreement_min: 0.85 }
            }
        }
    }
}

pub(super) fn run(args: &args::Check, context: &Context) -> Result<Verdict> {
    let model = models::load(&context.open_home()?, &args.model)?;
    let bytes = read_limited(&args.text, TEXT_BYTES_MAX)?;
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{} is not UTF-8", args.text.display()))?;
    let reference = match &args.source {
        None => None,
        Some(path) => Some(reference(path, &model, context.output)?),
    };
    let engine = Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?;
    let check = Check { engine, reference, output: context.output };
    let is_encoder = check.engine.model().configuration().pooling.is_some();
    let (report, is_near) = match is_encoder {
        true => check.encoder(&text)?,
        false => check.decoder(&text, args)?,
    };
    context.output.json(&report)?;
    Ok(if is_near { Verdict::Satisfied } else { Verdict::NotSatisfied })
}

/// The float model of a source, which must be the one that the model was converted from.
fn reference(path: &Path, model: &Model, output: Output) -> Result<Reference> {
    let source = Source::read(path).with_context(|| format!("source {}", path.display()))?;
    for stated in &model.manifest().provenance.sources {
        let found = source.files.iter().find(|file| file.name == stated.name);
        ensure!(
            found.is_some_and(|found| found.digest == stated.digest),
            "{} of {} is not the file that the model was converted from, SHA-256 {}",
            stated.name,
            path.display(),
            stated.digest
        );
    }
    output.note("loading the source in floats");
    Ok(Reference::new(&source)?)
}

struct Check {
    engine: Engine,
    reference: Option<Reference>,
    output: Output,
}

impl Check {
    fn decoder(&self, text: &str, args: &args::Check) -> Result<(Value, bool)> {
        let model = Arc::clone(self.engine.model());
        let tokens = Tokenizer::parse(model.tokenizer())?.encode(text)?;
        let tokens = &tokens[..tokens.len().min(args.tokens as usize)];
        ensure!(
            tokens.len() >= 2,
            "{} has {} tokens, at least 2 are needed",
            args.text.display(),
            tokens.len()
        );
        let begin: Vec<u32> = model.configuration().begin_token.into_iter().collect();
        let window = WINDOW.min(model.context_len() as usize).saturating_sub(begin.len()).max(1);
        let (mut comparison, mut headroom) = (Comparison::default(), BTreeMap::new());
        let bar = self.output.bar("checking", tokens.len() as u64);
        for part in tokens.chunks(window) {
            let part = [&begin, part].concat();
            self.compare(&part, &mut comparison)?;
            merge(&mut headroom, self.engine.headroom(&part, CHUNK)?);
            bar.inc((part.len() - begin.len()) as u64);
        }
        bar.finish_and_clear();
        let heat = match &self.reference {
            Some(reference) => {
                let part = [&begin, &tokens[..tokens.len().min(window)]].concat();
                Some(self.heat(reference, &part)?)
            }
            None => None,
        };
        if let (Some(path), Some(heat)) = (&args.plot, &heat) {
            fs::write(path, plot::svg(heat))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        ensure!(
            args.plot.is_none() || heat.is_some(),
            "a plot compares with floats\n\nhint: say what the model was made from with `--source`"
        );
        self.report_decoder(&comparison, &headroom, heat.as_ref())
    }

    /// Adds every position of a text; without a reference only the exact side is known.
    fn compare(&self, tokens: &[u32], comparison: &mut Comparison) -> Result<()> {
        let bits = self.engine.model().configuration().logit_bits;
        let mut float: Vec<Vec<f32>> = vec![];
        if let Some(reference) = &self.reference {
            reference.logits(tokens, &mut |_, logits| float.push(logits.to_vec()))?;
        }
        self.engine.logits_of(tokens, CHUNK, &mut |index, logits| {
            let (exact, next) = (exact_logits(logits, bits), tokens.get(index + 1).copied());
            match float.get(index) {
                Some(float) => comparison.add(&float_logits(float), &exact, next),
                None => {
                    comparison.positions += 1;
                    if let Some(next) = next {
                        comparison.predictions += 1;
                        comparison.exact_surprise += surprise(&exact, next);
                    }
                }
            }
        })?;
        Ok(())
    }

    /// The divergence of what both would say after every layer.
    fn heat(&self, reference: &Reference, tokens: &[u32]) -> Result<Heat> {
        let configuration = self.engine.model().configuration();
        let step = tokens.len().div_ceil(LENS_POSITIONS);
        let positions: Vec<usize> = (0..tokens.len()).step_by(step).collect();
        let mut float = BTreeMap::new();
        reference.lens(tokens, &positions, &mut |layer, position, logits| {
            float.insert((layer, position), logits.to_vec());
        })?;
        let mut rows = vec![vec![]; configuration.layers as usize];
        self.engine.lens(tokens, &positions, &mut |layer, position, logits| {
            if let (Some(float), Some(row)) = (float.get(&(layer, position)), rows.get_mut(layer)) {
                let exact = exact_logits(logits, configuration.logit_bits);
                row.push(divergence(&float_logits(float), &exact).max(0.0));
            }
        })?;
        Ok(Heat { positions, rows })
    }

    fn report_decoder(
        &self,
        comparison: &Comparison,
        headroom: &BTreeMap<String, Headroom>,
        heat: Option<&Heat>,
    ) -> Result<(Value, bool)> {
        let output = self.output;
        let demand = Demand::on(self.engine.model().configuration().weights);
        let is_roomy = self.print_headroom(headroom)?;
        output.line(&format!("tokens                 {}", comparison.positions))?;
        output.line(&format!("perplexity, exact      {:.4}", comparison.exact_perplexity()))?;
        let mut report = json!({
            "tokens": comparison.positions,
            "perplexity_exact": comparison.exact_perplexity(),
            "headroom": listed(headroom),
        });
        let Some(heat) = heat else {
            output.line("perplexity, float      not computed: say what the model was made from with `--source`")?;
            report["near"] = json!(null);
            self.conclude(is_roomy, "every bound has room; distance from floats was not measured")?;
            return Ok((report, is_roomy));
        };
        let (growth, kl) = (comparison.growth_percent(), comparison.divergence_mean());
        let agreement = comparison.agreement();
        output.line(&format!("perplexity, float      {:.4}", comparison.float_perplexity()))?;
        let met = [
            growth <= demand.growth_percent_max,
            kl <= demand.divergence_max,
            agreement >= demand.agreement_min,
        ];
        let mark = |is_met: bool| match is_met {
            true => output.paint(Colour::Green, "✓"),
            false => output.paint(Colour::Red, "✗"),
        };
        output.line(&format!(
            "  {} difference         {growth:+.4} % (at most {} %)",
            mark(met[0]),
            demand.growth_percent_max
        ))?;
        output.line(&format!(
            "  {} divergence (KL)    {kl:.6} nats in the mean (at most {}), {:.6} at most",
            mark(met[1]),
            demand.divergence_max,
            comparison.divergence_max
        ))?;
        output.line(&format!(
            "  {} same first token   {:.2} % of the positions (at least {} %)",
            mark(met[2]),
            agreement * 100.0,
            demand.agreement_min * 100.0
        ))?;
        output.line("divergence of what would be said after each layer, mean over positions:")?;
        for (layer, row) in heat.rows.iter().enumerate() {
            let mean = row.iter().sum::<f64>() / row.len().max(1) as f64;
            output.line(&format!("  layer {layer:>3}  {mean:.2e}  {}", plot::stroke(mean)))?;
        }
        let is_near = is_roomy && met == [true; 3];
        for (key, value) in [
            ("perplexity_float", json!(comparison.float_perplexity())),
            ("growth_percent", json!(growth)),
            ("divergence_mean", json!(kl)),
            ("divergence_max", json!(comparison.divergence_max)),
            ("agreement", json!(agreement)),
            ("divergence_by_layer", json!(heat.rows)),
            ("near", json!(is_near)),
        ] {
            report[key] = value;
        }
        self.conclude(is_near, "exact arithmetic is near to the source on this text")?;
        Ok((report, is_near))
    }

    /// Every line of the text is one sentence.
    fn encoder(&self, text: &str) -> Result<(Value, bool)> {
        let model = Arc::clone(self.engine.model());
        let tokenizer = Tokenizer::parse(model.tokenizer())?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        ensure!(!lines.is_empty(), "the text has no line");
        let (mut cosines, mut headroom) = (vec![], BTreeMap::new());
        let bar = self.output.bar("checking", lines.len() as u64);
        for line in &lines {
            let tokens = tokenizer.encode_sentence(line, model.context_len() as usize)?;
            let exact = self.engine.embed(&[&tokens])?;
            merge(&mut headroom, self.engine.headroom(&tokens, CHUNK)?);
            if let (Some(reference), Some(exact)) = (&self.reference, exact.first()) {
                let float = float_logits(&reference.embed(&tokens)?);
                cosines.push(cosine(&float, &exact_logits(&exact.values, 0)));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let is_roomy = self.print_headroom(&headroom)?;
        let mut report =
            json!({"sentences": lines.len(), "headroom": listed(&headroom), "near": null});
        self.output.line(&format!("sentences              {}", lines.len()))?;
        if cosines.is_empty() {
            self.conclude(is_roomy, "every bound has room; distance from floats was not measured")?;
            return Ok((report, is_roomy));
        }
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        let (mean_min, least_min) = COSINES_MIN;
        self.output.line(&format!("cosine to float, mean  {mean:.6} (at least {mean_min})"))?;
        self.output.line(&format!("cosine to float, least {least:.6} (at least {least_min})"))?;
        let is_near = is_roomy && mean >= mean_min && least >= least_min;
        report["cosine_mean"] = json!(mean);
        report["cosine_min"] = json!(least);
        report["near"] = json!(is_near);
        self.conclude(is_near, "exact vectors are near to the source's on this text")?;
        Ok((report, is_near))
    }

    /// Prints how near each bound came; whether all have room.
    fn print_headroom(&self, headroom: &BTreeMap<String, Headroom>) -> Result<bool> {
        self.output.line(
            "bound                  largest magnitude   of at most          room   in layer",
        )?;
        for (name, Headroom { layer, bound, peak, .. }) in headroom {
            let room = *bound as f64 / (*peak).max(1) as f64;
            self.output
                .line(&format!("  {name:<20} {peak:>18} {bound:>12} {room:>12.1}× {layer:>10}"))?;
        }
        Ok(headroom.values().all(|each| each.bound as f64 >= HEADROOM_MIN * each.peak as f64))
    }

    fn conclude(&self, is_near: bool, finding: &str) -> Result<()> {
        let output = self.output;
        output.line("")?;
        match is_near {
            true => output.line(&output.paint(Colour::Green, &format!("Verdict: {finding}"))),
            false => output.line(&output.paint(
                Colour::Red,
                "Verdict: not near enough: see the lines above\n\nhint: `tally model import --weights int8-groups` loses least",
            )),
        }
    }
}

/// The largest magnitude of each operation over all windows.
fn merge(all: &mut BTreeMap<String, Headroom>, found: Vec<Headroom>) {
    for headroom in found {
        let place = all.entry(headroom.operation.to_string()).or_insert(headroom);
        if headroom.peak > place.peak {
            *place = headroom;
        }
    }
}

fn listed(headroom: &BTreeMap<String, Headroom>) -> Value {
    let each = headroom.iter().map(|(name, Headroom { layer, bound, peak, .. })| {
        json!({"operation": name, "layer": layer, "bound": bound, "peak": peak})
    });
    Value::Array(each.collect())
}
