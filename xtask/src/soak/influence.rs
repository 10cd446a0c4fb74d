//! `cargo xtask soak influence`: how well estimates of influence foretell what retraining shows.
//!
//! Small models are trained on random halves of the families. What a method's scores foretell of each
//! half is compared with the losses of its model on held-out texts: the linear datamodeling score
//! (LDS). Training is in floats, by `models/influence/retrain.py`, and can be broken off and taken up;
//! gradients and scores are the engine's integers, of the small model that learned from everything.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tally_attribution::influence::{Accuracy, Beside, Correlation, METHOD};
use tally_core::{Digest, philox};
use tally_engine::import::{Options, convert};
use tally_engine::model::WeightKind;
use tally_engine::{Language, Model};

use crate::influence::sample::Sample;
use crate::influence::{ACCURACY, gradients, gradients_of, influence, read_sample};
use crate::python;
use crate::repo::{Repo, run as run_command};

mod baselines;
mod lds;
mod plot;

use lds::{Measured, measure};

const REQUIREMENTS: &str = "models/default/requirements.txt";
const CALIBRATION: &str = "models/default/calibration.txt";
const TRAINER: &str = "models/influence/retrain.py";
const PLOT: &str = "models/influence/lds.svg";
/// The method was chosen by looking at this many halves, so they do not count.
const CHOOSING: usize = 15;

/// What `retrain.py` leaves of one model.
#[derive(Deserialize)]
struct Losses {
    families: Vec<usize>,
    losses: Vec<f64>,
}

/// Trains what is not trained yet, measures, and writes result and plot.
pub(crate) fn run(
    repo: &Repo,
    subsets: u32,
    threads: u32,
    python: Option<&Path>,
) -> Result<String> {
    let sample = read_sample(repo)?;
    let work = python::target(repo).join("influence");
    let halves = halves(sample.families.len(), CHOOSING + subsets as usize);
    write_work(&work, &sample, &halves)?;
    let python = match python {
        Some(python) => python.to_owned(),
        None => python::environment(repo, "default-model", REQUIREMENTS)?,
    };
    let mut trainer = repo.command(python.to_str().context("the path is not UTF-8")?);
    // Large allocations stay mapped: returning them after every step costs half of the time.
    trainer
        .envs([("MALLOC_MMAP_THRESHOLD_", "4294967296"), ("MALLOC_TRIM_THRESHOLD_", "8589934592")]);
    run_command(trainer.arg(TRAINER).arg(&work).args(["--threads", &threads.to_string()]))?;
    let losses = read_losses(&work, &halves)?;
    let calibration_text = &repo.text(CALIBRATION)?;
    let options = Options { weights: Some(WeightKind::Int8), calibration_text, context: None };
    let model = convert(&work.join("checkpoint"), &options, &mut |_| ())?;
    let model = Arc::new(Model::parse(&model)?);

    let own = scores(&model, &sample)?;
    let counted = CHOOSING + 1..;
    let (halves, losses) = (&halves[counted.clone()], &losses[counted]);
    let measured = measure(&own, halves, losses);
    let language = Language::of(&model)?;
    let others = [
        ("the same texts' words (tf-idf of tokens)", baselines::words(&sample)),
        ("owned bytes (32-byte windows)", baselines::owned(&sample, &language)?),
        ("random scores", baselines::random(&sample)),
    ];
    let beside = others.map(|(name, scores)| (name, measure(&scores, halves, losses)));
    let accuracy = Accuracy {
        method: METHOD.into(),
        measured_on: format!(
            "small models retrained on halves of {} families, not on the model that answered",
            sample.families.len()
        ),
        model: model.root().to_string(),
        sample: sample.digest().to_string(),
        families: u32::try_from(sample.families.len())?,
        subsets: u32::try_from(halves.len())?,
        queries: u32::try_from(sample.held_out.len())?,
        lds: measured.correlation(),
        beside: beside.iter().map(|(name, it)| beside_of(name, it)).collect(),
    };
    let text = serde_json::to_string_pretty(&accuracy)? + "\n";
    Accuracy::parse(text.as_bytes())?;
    fs::write(repo.root().join(ACCURACY), text)?;
    fs::write(repo.root().join(PLOT), plot::of(&measured, &beside, &accuracy))?;
    for Beside { name, lds } in &accuracy.beside {
        println!("LDS {lds}  {name}");
    }
    let spread = lds::spread(losses);
    println!("losses of a text differ by {spread:.4} nats (standard deviation over the halves)");
    Ok(format!("LDS {} of {METHOD}, {} held-out texts", accuracy.lds, accuracy.queries))
}

fn beside_of(name: &str, measured: &Measured) -> Beside {
    Beside { name: name.to_owned(), lds: measured.correlation() }
}

/// All families first, then random halves: those that come first by a hash.
fn halves(families: usize, count: usize) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..families).collect();
    let half = |number: u32| {
        let hash = |family: &usize| {
            let family = u32::try_from(*family).unwrap_or(u32::MAX).to_be_bytes();
            let text = [b"influence subset".as_slice(), &number.to_be_bytes(), &family].concat();
            *Digest::of_content(&text).as_bytes()
        };
        let mut order = all.clone();
        order.sort_by_key(hash);
        order.truncate(families / 2);
        order.sort_unstable();
        order
    };
    let numbers = 1..=u32::try_from(count).unwrap_or(u32::MAX);
    [all.clone()].into_iter().chain(numbers.map(half)).collect()
}

/// Files for `retrain.py`.
fn write_work(work: &Path, sample: &Sample, halves: &[Vec<usize>]) -> Result<()> {
    fs::create_dir_all(work)?;
    let windows = sample.families.iter().flat_map(|family| family.windows.concat());
    let short = |token: u32| Ok(u16::try_from(token)?.to_le_bytes());
    let bytes = windows.map(short).collect::<Result<Vec<_>>>()?.concat();
    fs::write(work.join("windows.u16"), bytes)?;
    fs::write(work.join("queries.json"), serde_json::to_vec(&sample.held_out)?)?;
    fs::write(work.join("subsets.json"), serde_json::to_vec(halves)?)?;
    Ok(())
}

/// (subsets, texts)
fn read_losses(work: &Path, halves: &[Vec<usize>]) -> Result<Vec<Vec<f64>>> {
    let one = |(number, half): (usize, &Vec<usize>)| {
        let path = work.join(format!("losses/{number:03}.json"));
        let found: Losses = serde_json::from_slice(&fs::read(&path)?)?;
        ensure!(found.families == *half, "{} is of other families", path.display());
        Ok(found.losses)
    };
    halves.iter().enumerate().map(one).collect()
}

/// (texts, families) the method's scores of held-out texts.
fn scores(model: &Arc<Model>, sample: &Sample) -> Result<Vec<Vec<f64>>> {
    let influence = influence(model, sample, &gradients(model, sample)?)?;
    let texts: Vec<&[Vec<u32>]> = sample.held_out.chunks(1).collect();
    let one = |gradient: &Vec<i64>| {
        #[expect(clippy::cast_precision_loss, reason = "only ranks of sums are compared")]
        let scores = influence.scores(gradient)?.iter().map(|score| *score as f64).collect();
        Ok(scores)
    };
    gradients_of(model, &texts)?.iter().map(one).collect()
}

/// Numbers that are drawn by their place.
fn word(stream: u32, index: usize) -> u32 {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    philox::block([index, stream, 0, 0], [20_261_121, 0])[0]
}

impl Measured {
    fn correlation(&self) -> Correlation {
        #[expect(clippy::cast_possible_truncation, reason = "a correlation is at most one")]
        let [mean, low, high] =
            [self.mean, self.low, self.high].map(|it| (it * 1e4).round() as i32);
        Correlation { mean, low, high }
    }
}
