//! `cargo xtask bench`: measurements, printed as rows for `docs/benchmarks.md`.
//!
//! Nothing here passes or fails. Run it from a release build on a quiet machine:
//! `cargo run --release -p xtask -- bench`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use tally_core::computation::{Controls, Micro, SamplingParameters, SignedMicro};
use tally_core::ed25519::SigningKey;
use tally_core::note::KeyName;
use tally_engine::generate::{GenerateRequest, generate, generate_batch};
use tally_engine::{Engine, Kernels, Model, Task};
use tally_log::{Log, NamedKey, Posix, bench as log_bench};
use tally_verifier::{Expected, Policy, UnixTime, verify};

use crate::identical::MODEL;
use crate::repo::Repo;

mod attribution;
mod batch;
mod llama;
mod machine;
mod receipts;
mod shape;

/// The accept vector that is timed: inclusion proof, one cosignature, all openings.
const VECTOR: &str = "vectors/receipt/accept/001-local";
const VERIFICATIONS: usize = 2_000;

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Bench {
    /// One verification of a receipt with inclusion proof and one cosignature
    Verify,
    /// Decoding and prefill of the default model
    Model,
    /// Decoding and prefill of random Llamas beside llama.cpp, both in turn
    Engine(shape::Options),
    /// Tokens a second of many tasks at a time
    Batch(batch::Options),
    /// What receipts cost a node: the same answers with and without them
    Receipts(receipts::Options),
    /// Durable appends
    Log,
    /// The index over 100 MB of manual pages beside infini-gram
    Attribution(attribution::Options),
}

/// Runs one measurement, or all that need nothing but this repository.
pub(crate) fn run(repo: &Repo, which: Option<Bench>) -> Result<()> {
    let which = match which {
        Some(Bench::Engine(options)) => return shape::run(repo, &options),
        Some(Bench::Batch(options)) => return batch::run(repo, &options),
        Some(Bench::Receipts(options)) => return receipts::run(repo, &options),
        Some(Bench::Attribution(options)) => return attribution::run(repo, &options),
        which => which,
    };
    println!("| what | measured |\n|---|---|");
    match which {
        Some(Bench::Verify) => bench_verify(repo),
        Some(Bench::Model) => bench_model(repo),
        Some(Bench::Log) => bench_log(),
        Some(Bench::Engine(_) | Bench::Batch(_) | Bench::Receipts(_) | Bench::Attribution(_))
        | None => {
            bench_verify(repo)?;
            bench_model(repo)?;
            bench_log()
        }
    }
}

fn bench_verify(repo: &Repo) -> Result<()> {
    let file = |name: &str| repo.root().join(VECTOR).join(name);
    let receipt = std::fs::read(file("receipt.cbor")).context(VECTOR)?;
    let policy = Policy::parse(&std::fs::read_to_string(file("policy.toml"))?)?;
    let now = UnixTime::from_ms(std::fs::read_to_string(file("now"))?.trim().parse()?);
    let mut micros = Vec::with_capacity(VERIFICATIONS);
    for _ in 0..VERIFICATIONS {
        let started = Instant::now();
        let verified = verify(&receipt, &policy, &Expected::NOTHING, now);
        micros.push(started.elapsed().as_micros());
        verified.context(VECTOR)?;
    }
    micros.sort_unstable();
    let (median, high) = (micros[VERIFICATIONS / 2], micros[VERIFICATIONS * 99 / 100]);
    println!("| verify a receipt of {} bytes | median {median} µs, p99 {high} µs |", receipt.len());
    Ok(())
}

fn bench_model(repo: &Repo) -> Result<()> {
    let model = Arc::new(Model::open(&repo.root().join(MODEL))?);
    for kernels in Kernels::available() {
        for threads in [1, 2] {
            let engine = Engine::new(Arc::clone(&model), kernels, threads)?;
            let setting = format!("{} kernels, {threads} threads", kernels.name());
            let prefill = request(&engine, 448, 1);
            let started = Instant::now();
            generate(&engine, &prefill, &mut |_| ControlFlow::Continue(()))?;
            let rate = per_second(448, started.elapsed().as_micros());
            println!("| prefill of 448 tokens, {setting} | {rate} tokens/s |");
            for batch in [1_u32, 4, 16] {
                let request = request(&engine, 16, 256);
                let started = Instant::now();
                let tasks = (0..batch).map(|_| Task::new(request.clone())).collect();
                for outcome in generate_batch(&engine, tasks, &mut |_, _| ControlFlow::Continue(()))
                {
                    outcome?;
                }
                let rate = per_second(256 * u128::from(batch), started.elapsed().as_micros());
                println!("| decode, {batch} at once, {setting} | {rate} tokens/s |");
            }
        }
    }
    Ok(())
}

fn bench_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (batch_count, batch_len) in [(200, 1), (200, 64), (50, 4_096)] {
        let mut log = new_log(&folder.path().join(format!("batches-of-{batch_len}")))?;
        let [appended, _] = log_bench::batches(&mut log, batch_count, batch_len)?;
        let rate = appended.per_second();
        println!("| durable appends, one writer, batches of {batch_len} | {rate} entries/s |");
    }
    for thread_count in [1, 64] {
        let log = new_log(&folder.path().join(format!("threads-{thread_count}")))?;
        let entry_count = 100 * thread_count as u64;
        let rate = log_bench::threads(log, None, thread_count, entry_count)?.per_second();
        println!("| durable appends, {thread_count} callers of the sequencer | {rate} entries/s |");
    }
    Ok(())
}

fn new_log(folder: &Path) -> Result<Log> {
    let key = NamedKey::new(KeyName::parse("bench")?, SigningKey::from_seed(&[1; 32]));
    Ok(Log::create(Arc::new(Posix::create(folder)?), key)?)
}

fn request(engine: &Engine, input_len: u32, max_tokens: u32) -> GenerateRequest {
    let vocabulary = engine.model().configuration().vocabulary;
    GenerateRequest {
        input: (0..input_len).map(|index| (index * 131 + 7) % vocabulary).collect(),
        parameters: SamplingParameters {
            max_tokens,
            temperature: Micro::from_millionths(800_000),
            top_k: 0,
            top_p: Micro::ONE,
            stop_tokens: vec![],
            choice: 0,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        seed: [7; 32],
        controls: Controls::default(),
        logprobs: None,
        chunk_len: 64,
    }
}

fn per_second(count: u128, micros: u128) -> u128 {
    (count * 1_000_000).checked_div(micros).unwrap_or_default()
}
