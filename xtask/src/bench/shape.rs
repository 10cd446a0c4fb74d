//! Random Llamas of known shapes, on this engine and on llama.cpp in turn.
//!
//! Both read the same weights: a script writes a checkpoint and the GGUF files of it. Every round
//! measures both, so that what else the machine does falls on both; medians are printed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tally_engine::model::WeightKind;
use tally_engine::{Engine, Kernels, Model, Span, Wanted, import};

use super::llama::{self, Llama};
use super::machine;
use crate::process::idle_ticks;
use crate::repo::Repo;

/// Tokens of a prompt that are computed in one pass.
const PREFILL: u32 = 512;
/// Tokens that are generated one after the other, behind a prompt of [`PROMPT`].
const DECODE: u32 = 64;
const PROMPT: u32 = 16;
/// How long a child's threads may spin before they sleep.
const PAUSE: Duration = Duration::from_millis(30);
/// Text with which the residual stream's fraction bits are chosen.
const CALIBRATION: &str = "Only the shape of these weights matters, not what they say.";

/// What is measured and with what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only shapes whose name contains this
    #[arg(long, default_value = "")]
    shape: String,
    /// Only this kind of weights; both by default
    #[arg(long)]
    weights: Option<Weights>,
    /// Rounds; medians are over these
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder of a virtual environment with llama-cpp-python and gguf; built there if absent
    #[arg(long)]
    environment: Option<PathBuf>,
    /// Only this act: prefill or decode
    #[arg(long, default_value = "")]
    act: String,
    /// Measure this engine alone
    #[arg(long)]
    alone: bool,
    /// Kernels of this engine; the fastest of the machine by default
    #[arg(long)]
    kernels: Option<String>,
}

/// How weights are stored, here and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// int8 rows beside Q8_0
    Int8,
    /// int4 groups beside Q4_0
    Int4,
}

impl Weights {
    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Int8 => ["int8", "q8_0"],
            Self::Int4 => ["int4", "q4_0"],
        }
    }

    const fn kind(self) -> WeightKind {
        match self {
            Self::Int8 => WeightKind::Int8,
            Self::Int4 => WeightKind::Int4,
        }
    }
}

struct Shape {
    name: &'static str,
    /// Whether the head is the embedding.
    tied: &'static str,
    /// width, hidden, layers, heads, key heads, vocabulary
    numbers: [u32; 6],
}

const SHAPES: [Shape; 2] = [
    Shape { name: "110M", tied: "tied", numbers: [768, 2048, 12, 12, 12, 32_000] },
    Shape { name: "1.1B", tied: "untied", numbers: [2048, 5632, 22, 32, 4, 32_000] },
];

pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let folder = repo.root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let environment = options.environment.clone().unwrap_or_else(|| folder.join("venv"));
    let python = llama::python(&environment)?;
    let kernels = match &options.kernels {
        Some(name) => Kernels::named(name)?,
        None => Kernels::detect(),
    };
    for threads in [1, 2] {
        println!(
            "machine, {threads} threads: read {:.1} GB/s, byte products {:.0} Gop/s ({})",
            machine::read_rate(threads),
            machine::byte_rate(kernels, threads),
            kernels.name(),
        );
    }
    let scripts = repo.root().join("xtask/bench");
    println!("\n| shape | weights | what | threads | ours | llama.cpp | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&options.shape)) {
        let folder = folder.join(shape.name);
        for weights in [Weights::Int8, Weights::Int4] {
            if options.weights.is_some_and(|only| only != weights) {
                continue;
            }
            let [ours, theirs] = weights.names();
            let model = model(&folder, &python, &scripts, shape, weights)?;
            let gguf = folder.join(format!("{theirs}.gguf"));
            let mut child = match options.alone {
                true => None,
                false => Some(Llama::start(&python, &scripts.join("llama.py"), &gguf)?),
            };
            if let Some(child) = &child {
                eprint!("llama.cpp: {}", child.system);
            }
            let label = format!("{} | {ours} / {theirs}", shape.name);
            compare(&model, kernels, child.as_mut(), options, &label)?;
        }
    }
    Ok(())
}

/// The model file of a shape, made where it is not there.
fn model(
    folder: &Path,
    python: &Path,
    scripts: &Path,
    shape: &Shape,
    weights: Weights,
) -> Result<Arc<Model>> {
    if !folder.join("q8_0.gguf").exists() {
        let numbers = shape.numbers.map(|number| number.to_string());
        let script = scripts.join("shape.py");
        llama::run(Command::new(python).arg(script).arg(folder).arg(shape.tied).args(numbers))?;
    }
    let path = folder.join(format!("{}.tally", weights.names()[0]));
    // A file of an earlier draft is made anew.
    if Model::open(&path).is_err() {
        let options = import::Options {
            weights: Some(weights.kind()),
            calibration_text: CALIBRATION,
            context: None,
        };
        let bytes = import::convert(&folder.join("checkpoint"), &options, &mut |_| {})?;
        import::write_model(&path, &bytes)?;
    }
    Ok(Arc::new(Model::open(&path)?))
}

fn compare(
    model: &Arc<Model>,
    kernels: Kernels,
    mut child: Option<&mut Llama>,
    options: &Options,
    label: &str,
) -> Result<()> {
    let acts = [("prefill", PREFILL), ("decode", DECODE)];
    for (act, count) in acts.into_iter().filter(|(act, _)| act.contains(&options.act)) {
        for threads in [1, 2] {
            let engine = Engine::new(Arc::clone(model), kernels, threads)?;
            let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
            // The first round warms both and is not counted.
            for round in 0..=options.rounds {
                thread::sleep(PAUSE);
                let mine = measure(&engine, act, count)?.as_secs_f64();
                thread::sleep(PAUSE);
                let other = match &mut child {
                    Some(child) => child.measure(act, count, threads)?.as_secs_f64(),
                    None => f64::NAN,
                };
                if round > 0 {
                    ours.push(f64::from(count) / mine);
                    theirs.push(f64::from(count) / other);
                    ratios.push(other / mine);
                }
            }
            if act == "decode" && threads == 2 {
                eprintln!("idle engine: {} ms of processor time a second", 10 * idle_ticks()?);
            }
            println!(
                "| {label} | {act} {count} | {threads} | {:.1} tokens/s | {:.1} tokens/s | {:.2} |",
                median(ours),
                median(theirs),
                median(ratios),
            );
        }
    }
    Ok(())
}

fn measure(engine: &Engine, act: &str, count: u32) -> Result<Duration> {
    let vocabulary = engine.model().configuration().vocabulary;
    let prompt = if act == "prefill" { count } else { PROMPT };
    let tokens: Vec<u32> = (0..prompt).map(|index| (index * 131 + 7) % vocabulary).collect();
    let (mut sequence, mut logits) = (engine.sequence(), vec![]);
    let mut started = Instant::now();
    let span = Span { sequence: &mut sequence, tokens: &tokens, wanted: Wanted::Last };
    engine.extend(&mut [span], &mut logits)?;
    if act == "decode" {
        started = Instant::now();
        for _ in 0..count {
            let next = (0_u32..).zip(&logits[0]).step_by(97).max_by_key(|(_, logit)| **logit);
            let next = next.context("no logits")?.0;
            let span = Span { sequence: &mut sequence, tokens: &[next], wanted: Wanted::Last };
            engine.extend(&mut [span], &mut logits)?;
        }
    }
    Ok(started.elapsed())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
