//! How many tokens a second a batch draws in all, with more and more tasks at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use tally_engine::{Batch, BatchLimits, Engine, Kernels, Model, Task, TaskEvent, TaskId};

use crate::identical::MODEL;
use crate::repo::Repo;

/// Tokens that each task draws while it is timed.
const OUTPUT: u32 = 128;
/// Input of each task, which no two have in common.
const INPUT: u32 = 16;

/// What is measured and with what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Model file; the default model if absent
    #[arg(long)]
    model: Option<PathBuf>,
    /// Rounds; medians are over these
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only this many tasks at a time
    #[arg(long)]
    tasks: Option<u32>,
    /// Only this many threads
    #[arg(long)]
    threads: Option<usize>,
}

pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let path = options.model.clone().unwrap_or_else(|| repo.root().join(MODEL));
    let model = Arc::new(Model::open(&path)?);
    println!("| tasks at a time | threads | drawn in all | a pass |\n|---|---|---|---|");
    for threads in [1, 2].into_iter().filter(|it| options.threads.is_none_or(|only| only == *it)) {
        let engine = Engine::new(Arc::clone(&model), Kernels::detect(), threads)?;
        for tasks in [1, 4, 16].into_iter().filter(|it| options.tasks.is_none_or(|o| o == *it)) {
            let mut times = vec![];
            for _ in 0..options.rounds {
                times.push(measure(&engine, tasks)?);
            }
            times.sort_unstable();
            let time = times.get(times.len() / 2).copied().unwrap_or_default().as_micros();
            let rate = super::per_second(u128::from((OUTPUT - 1) * tasks), time);
            let pass = time / u128::from(OUTPUT - 1);
            println!("| {tasks} | {threads} | {rate} tokens/s | {pass} µs |");
        }
    }
    Ok(())
}

/// From the first token of each to the last.
fn measure(engine: &Engine, tasks: u32) -> Result<Duration> {
    let limits = BatchLimits {
        pass_tokens_max: 512,
        sequences_max: 16,
        cache_bytes_max: u64::MAX,
        waiting_max: 0,
    };
    let mut batch = Batch::new(engine, limits)?;
    for index in 0..tasks {
        let mut request = super::request(engine, INPUT, OUTPUT);
        request.input.iter_mut().for_each(|token| *token += index + 1);
        request.parameters.choice = index;
        batch.admit(TaskId(index.into()), Task::new(request))?;
    }
    batch.step(&mut |_, _| ());
    let started = Instant::now();
    let mut drawn = tasks;
    while !batch.is_idle() {
        batch.step(&mut |_, event| drawn += u32::from(matches!(event, TaskEvent::Token { .. })));
    }
    ensure!(drawn == tasks * OUTPUT, "{drawn} tokens were drawn");
    Ok(started.elapsed())
}
