//! `cargo xtask default-influence`: the vectors of the families that the default model learned from.
//!
//! A family is documents of one collection that stand beside each other by name; some windows of its
//! text stand for it in `influence.sample`. From those and the model the vectors follow, in integers,
//! so whoever doubts them computes them again: `--compare` is that gate. `--corpus` makes the sample
//! itself again, from the text that `models/default/prepare.py` wrote.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use tally_attribution::influence::{Accuracy, Family, Influence, METHOD, Vector};
use tally_engine::{Engine, Kernels, Model};

use crate::identical::MODEL;
use crate::repo::Repo;

mod making;
pub(crate) mod sample;

use sample::Sample;

const SAMPLE: &str = "models/default/influence.sample";
const VECTORS: &str = "models/default/influence.cbor";
/// What the measurement came to; `soak influence` writes it.
pub(crate) const ACCURACY: &str = "models/influence/lds.json";

/// Writes sample and vectors, or compares them with those that are there.
pub(crate) fn run(repo: &Repo, corpus: Option<&Path>, is_comparison: bool) -> Result<()> {
    let model = Arc::new(Model::open(&repo.root().join(MODEL))?);
    if let Some(corpus) = corpus {
        let made = making::sample(repo, corpus, &model)?.encode();
        hold(repo, SAMPLE, &made, is_comparison)?;
    }
    let sample = read_sample(repo)?;
    making::require_registered(repo, &sample)?;
    let gradients = gradients(&model, &sample)?;
    let influence = influence(&model, &sample, &gradients)?;
    hold(repo, VECTORS, &influence.encode(), is_comparison)?;
    println!("method {METHOD}, root {}", influence.root());
    if is_comparison {
        let accuracy = Accuracy::parse(&std::fs::read(repo.root().join(ACCURACY))?)?;
        let (found, expected) = (&accuracy.sample, sample.digest().to_string());
        ensure!(*found == expected, "{ACCURACY} is of sample {found}, {SAMPLE} is {expected}");
        println!("{ACCURACY}: LDS {}, {}", accuracy.lds, accuracy.measured_on);
    }
    Ok(())
}

/// The committed sample.
pub(crate) fn read_sample(repo: &Repo) -> Result<Sample> {
    Sample::parse(&std::fs::read(repo.root().join(SAMPLE)).context(SAMPLE)?).context(SAMPLE)
}

/// The gradient of each family's windows, added up.
pub(crate) fn gradients(model: &Arc<Model>, sample: &Sample) -> Result<Vec<Vec<i64>>> {
    let texts: Vec<&[Vec<u32>]> = sample.families.iter().map(|it| it.windows.as_slice()).collect();
    gradients_of(model, &texts)
}

/// The gradient of each group of texts, added up; groups are shared among the cores.
pub(crate) fn gradients_of(model: &Arc<Model>, groups: &[&[Vec<u32>]]) -> Result<Vec<Vec<i64>>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts = groups.chunks(groups.len().div_ceil(threads).max(1));
    let found: Result<Vec<Vec<Vec<i64>>>> = thread::scope(|scope| {
        let running = parts.map(|part| scope.spawn(|| part_of(model, part)));
        let running: Vec<_> = running.collect();
        let end = |it: thread::ScopedJoinHandle<'_, _>| {
            it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().map(end).collect()
    });
    Ok(found?.concat())
}

fn part_of(model: &Arc<Model>, groups: &[&[Vec<u32>]]) -> Result<Vec<Vec<i64>>> {
    let engine = Engine::new(Arc::clone(model), Kernels::detect(), 1)?;
    let sum = |texts: &&[Vec<u32>]| -> Result<Vec<i64>> {
        let mut sum = vec![0_i64; model.configuration().vocabulary as usize];
        for text in *texts {
            for (sum, number) in sum.iter_mut().zip(engine.bias_gradient(text, 1)?) {
                *sum += number;
            }
        }
        Ok(sum)
    };
    groups.iter().map(sum).collect()
}

/// The vectors that follow from gradients.
pub(crate) fn influence(
    model: &Model,
    sample: &Sample,
    gradients: &[Vec<i64>],
) -> Result<Influence> {
    let vocabulary = model.configuration().vocabulary;
    let counts = sample.counts(vocabulary as usize);
    let families = sample.families.iter().zip(gradients).map(|(it, gradient)| {
        Ok(Family {
            contribution: it.contribution,
            name: it.name.clone(),
            documents: it.documents,
            document_count: it.document_count,
            size_bytes: it.size_bytes,
            token_count: it.token_count()?,
            vector: Vector::new(gradient, &counts)?,
        })
    });
    let families = families.collect::<Result<_>>()?;
    Ok(Influence::new(model.root(), sample.digest(), vocabulary, families)?)
}

/// Writes a file, or compares it with the one that is there.
fn hold(repo: &Repo, path: &str, bytes: &[u8], is_comparison: bool) -> Result<()> {
    if is_comparison {
        let committed = std::fs::read(repo.root().join(path)).with_context(|| path.to_owned())?;
        ensure!(committed == bytes, "{path} is not what model and texts yield");
        println!("{path}: {} bytes, equal to what model and texts yield", bytes.len());
    } else {
        std::fs::write(repo.root().join(path), bytes).with_context(|| path.to_owned())?;
        println!("{path}: {} bytes", bytes.len());
    }
    Ok(())
}
