//! `cargo xtask perplexity`: the default model in exact integers beside its float checkpoint.
//!
//! Both read the same windows of held-out text. The float side computes in binary64 from the
//! checkpoint; the exact side is the engine. Floats stand here and nowhere in the product.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tally_engine::tokenizer::Tokenizer;
use tally_engine::{Engine, Kernels, Model};

use crate::float;
use crate::identical::MODEL;
use crate::repo::Repo;

const CHECKPOINT: &str = "models/default/checkpoint";
const HELD_OUT: &str = "models/default/heldout.txt";
/// The demand: exact arithmetic may differ from float by this much, in percent.
const DIFFERENCE_PERCENT_MAX: f64 = 0.1;
const CHUNK_LEN: usize = 64;

/// Prints both perplexities and fails if they differ by more than is demanded.
pub(crate) fn run(repo: &Repo, windows_max: usize) -> Result<()> {
    let model = Arc::new(Model::open(&repo.root().join(MODEL))?);
    let tokenizer = Tokenizer::parse(model.tokenizer())?;
    let tokens = tokenizer.encode(&repo.text(HELD_OUT)?)?;
    let window = model.context_len() as usize;
    let count = (tokens.len() / window).min(windows_max);
    ensure!(count > 0, "{HELD_OUT} is shorter than one window of {window} tokens");
    let tokens = &tokens[..count * window];
    let logit_bits = model.configuration().logit_bits;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = Engine::new(model, Kernels::detect(), threads)?;

    let mut exact = Vec::with_capacity(tokens.len());
    for text in tokens.chunks_exact(window) {
        engine.logits_of(text, CHUNK_LEN, &mut |index, logits| {
            if let Some(next) = text.get(index + 1) {
                exact.push(surprise(logits, logit_bits, *next));
            }
        })?;
        eprint!("\rexact: {} of {} tokens", exact.len(), tokens.len());
    }
    eprintln!();
    let float = float::nll(&repo.root().join(CHECKPOINT), tokens, window, &mut |done, total| {
        eprint!("\rfloat: {done} of {total} tokens");
    })?;
    eprintln!();
    ensure!(exact.len() == float.len(), "{} exact, {} float", exact.len(), float.len());
    let (exact, float) = (perplexity(&exact), perplexity(&float));
    let difference = (exact / float - 1.0) * 100.0;
    println!("{count} windows of {window} tokens of {HELD_OUT}");
    println!("perplexity, float (binary64):   {float:.4}");
    println!("perplexity, exact ({}): {exact:.4}", tally_engine::ARITHMETIC);
    println!("difference: {difference:+.4} % (allowed: ±{DIFFERENCE_PERCENT_MAX} %)");
    ensure!(difference.abs() <= DIFFERENCE_PERCENT_MAX, "the difference is above what is allowed");
    Ok(())
}

/// −ln of the probability that integer logits give a token.
fn surprise(logits: &[i32], fraction_bits: u32, token: u32) -> f64 {
    let unit = f64::from(1_u32 << fraction_bits);
    let value = |logit: i32| f64::from(logit) / unit;
    let largest = value(logits.iter().copied().max().unwrap_or_default());
    let sum: f64 = logits.iter().map(|logit| (value(*logit) - largest).exp()).sum();
    let own = logits.get(token as usize).copied().context("token");
    own.map_or(f64::INFINITY, |logit| largest + sum.ln() - value(logit))
}

fn perplexity(surprises: &[f64]) -> f64 {
    let count = u32::try_from(surprises.len()).map_or(f64::INFINITY, f64::from);
    (surprises.iter().sum::<f64>() / count).exp()
}
