//! `cargo xtask perplexity`: the default model in exact integers beside its float checkpoint.
//!
//! Both read the same windows of held-out text. The float side is `tally-reference`, straight from
//! the checkpoint; the exact side is the engine.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tally_engine::source::Source;
use tally_engine::tokenizer::Tokenizer;
use tally_engine::{Engine, Kernels, Model};
use tally_reference::{Comparison, Reference, exact_logits, float_logits};

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

    let reference = Reference::new(&Source::read(&repo.root().join(CHECKPOINT))?)?;
    let mut sums = Comparison::default();
    for text in tokens.chunks_exact(window) {
        let mut float = Vec::with_capacity(window);
        reference.logits(text, &mut |_, logits| float.push(float_logits(logits)))?;
        engine.logits_of(text, CHUNK_LEN, &mut |index, logits| {
            let next = text.get(index + 1).copied();
            sums.add(&float[index], &exact_logits(logits, logit_bits), next);
        })?;
        eprint!("\r{} of {} tokens", sums.positions, tokens.len());
    }
    eprintln!();
    let difference = sums.growth_percent();
    println!("{count} windows of {window} tokens of {HELD_OUT}");
    println!("perplexity, float (binary32):   {:.4}", sums.float_perplexity());
    println!("perplexity, exact ({}): {:.4}", tally_engine::ARITHMETIC, sums.exact_perplexity());
    println!("difference: {difference:+.4} % (allowed: ±{DIFFERENCE_PERCENT_MAX} %)");
    println!("divergence: mean {:.6}, max {:.6}", sums.divergence_mean(), sums.divergence_max);
    println!("same likeliest token: {:.3} % of positions", sums.agreement() * 100.0);
    ensure!(difference.abs() <= DIFFERENCE_PERCENT_MAX, "the difference is above what is allowed");
    Ok(())
}
