//! `cargo xtask identical`: one prompt, one model, and the same bytes however it is computed.
//!
//! For one prompt and fixed seed, nonce, id and time, the map `computation` and the whole statement
//! are computed with every kernel, 1 and 2 threads, the prompt in one chunk or in pieces of 7, alone,
//! batched with seven others, or amid others that come, go and begin alike, in a debug and in a
//! release build. All must be equal byte for byte, and each must replay.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tally_core::Digest;
use tally_core::cbor::Cbor as _;
use tally_core::commitment::ReceiptSecret;
use tally_core::computation::{Controls, Micro, SamplingParameters, SignedMicro};
use tally_core::receipt::{Kind, Preparation, SeedSource};
use tally_engine::generate::{GenerateRequest, Generated, generate, generate_batch};
use tally_engine::replay::replay;
use tally_engine::{ARITHMETIC, Engine, Kernels, Language, Model, Task};
use tally_issuer::{Admission, Draft, Prepared};

use crate::repo::{Repo, stdout};

mod arrivals;
mod shapes;
#[cfg(test)]
mod tests;
mod twin;

/// The default model.
pub(crate) const MODEL: &str = "models/default/default.tally";
/// The second implementation.
const TWIN: &str = "vectors/arithmetic/twin";
const PROMPT_LEN: u32 = 90;
const OUTPUT_LEN: u32 = 48;
const SEED: [u8; 32] = [42; 32];
const WAYS_OF_SAMPLING: [(&str, u32); 2] = [("greedy", 0), ("sampled", 800_000)];

/// A way to compute a request.
type Generate = fn(&Engine, &GenerateRequest) -> Result<Generated>;

const COMPANIES: [(&str, Generate); 3] =
    [("alone", alone), ("batched-with-7", batched), ("amid-arrivals", arrivals::generate)];

/// Compares both build profiles, each of which compares everything else.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut by_sampling: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for profile in ["dev", "release"] {
        let mut command = repo.command(env!("CARGO"));
        command.args(["run", "--quiet", "--package", "xtask", "--profile", profile]);
        let lines = stdout(command.args(["--", "identical", "--this-build"]))?;
        for line in lines.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().context("a line of the child has too few words");
            let (sampling, digest, way) = (word()?, word()?, word()?);
            let way = format!("{profile} {way}");
            let (expected, ways) = by_sampling
                .entry(sampling.to_owned())
                .or_insert_with(|| (digest.to_owned(), Vec::new()));
            ensure!(expected == digest, "{sampling}: {way} yields {digest}, expected {expected}");
            ways.push(way);
        }
    }
    ensure!(by_sampling.len() == WAYS_OF_SAMPLING.len(), "a way of sampling is missing");
    for (sampling, (digest, ways)) in by_sampling {
        println!("{sampling}: computation {digest}, equal in {} ways:", ways.len());
        ways.iter().for_each(|way| println!("  {way}"));
    }
    with_twin(repo)
}

/// Compares with the second implementation.
fn with_twin(repo: &Repo) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut jobs = vec![default_model(repo)?];
    jobs.extend(shapes::jobs(repo.root(), folder.path())?);
    let answers = twin::ask(&repo.root().join(TWIN), &jobs)?;
    for (job, answers) in jobs.iter().zip(&answers) {
        let ways = twin::compare(job, answers)?;
        println!("{}: {} tasks, the twin and {ways} ways are equal", job.name, job.tasks.len());
    }
    ensure!(answers.len() == jobs.len(), "the twin answered {} of {}", answers.len(), jobs.len());
    Ok(())
}

/// The request of the ways above, for the twin.
fn default_model(repo: &Repo) -> Result<twin::Job> {
    let path = repo.root().join(MODEL);
    let model = Arc::new(Model::open(&path)?);
    let engine = Engine::new(model, Kernels::PORTABLE, 1)?;
    let mut tasks = vec![serde_json::json!({ "kind": "root" })];
    for (_, temperature) in WAYS_OF_SAMPLING {
        let GenerateRequest { input, parameters, .. } = request(&engine, 1, temperature, 0);
        tasks.push(serde_json::json!({
            "kind": "generate", "input": input, "seed": "2a".repeat(SEED.len()),
            "max_tokens": parameters.max_tokens, "temperature": temperature, "top_k": 0,
            "top_p": parameters.top_p.millionths(), "stop_tokens": [], "choice": 0,
        }));
    }
    // The ways above have other chunks.
    Ok(twin::Job { name: "default".to_owned(), path, tasks, chunk_lens: &[64] })
}

/// Computes every way of this build and prints one line for each.
pub(crate) fn run_this_build(repo: &Repo) -> Result<()> {
    let model = Arc::new(Model::open(&repo.root().join(MODEL))?);
    for kernels in Kernels::available() {
        for threads in [1, 2] {
            let engine = Engine::new(Arc::clone(&model), kernels, threads)?;
            for chunk_len in [7, PROMPT_LEN as usize] {
                for (company, generate) in COMPANIES {
                    for (sampling, temperature) in WAYS_OF_SAMPLING {
                        let digest = one_way(&engine, chunk_len, generate, temperature)?;
                        let name = kernels.name();
                        println!(
                            "{sampling} {digest} {name},{threads}-threads,chunks-of-{chunk_len},{company}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

fn one_way(
    engine: &Engine,
    chunk_len: usize,
    generate: Generate,
    temperature: u32,
) -> Result<Digest> {
    let request = request(engine, chunk_len, temperature, 0);
    let generated = generate(engine, &request)?;
    let draft = draft(engine, &request, &generated)?;
    let language = Language::of(engine.model())?;
    replay(engine, &language, &draft.computation(generated.finish), &mut |_, _| ())?;
    let (statement, _) = draft.finish(generated.finish, b"response", None)?;
    let answer = statement.outcome.answer().context("the request was refused")?;
    let mut bytes = answer.computation.encode();
    bytes.extend(statement.encode());
    Ok(Digest::of_content(&bytes))
}

/// The request and no other.
fn alone(engine: &Engine, request: &GenerateRequest) -> Result<Generated> {
    Ok(generate(engine, request, &mut |_| ControlFlow::Continue(()))?)
}

/// The request in the middle of seven others of other lengths and seeds.
fn batched(engine: &Engine, request: &GenerateRequest) -> Result<Generated> {
    const PLACE: usize = 3;
    let mut requests: Vec<GenerateRequest> = (1..8_u32)
        .map(|other| {
            let mut request = self::request(engine, 11, 1_000_000, other);
            request.input.truncate((PROMPT_LEN / other) as usize);
            request
        })
        .collect();
    requests.insert(PLACE, request.clone());
    let tasks = requests.into_iter().map(Task::new).collect();
    let mut outcomes = generate_batch(engine, tasks, &mut |_, _| ControlFlow::Continue(()));
    Ok(outcomes.swap_remove(PLACE)?)
}

fn request(engine: &Engine, chunk_len: usize, temperature: u32, other: u32) -> GenerateRequest {
    let vocabulary = engine.model().configuration().vocabulary;
    let token = |index: u32| (index * index * 7 + index * 131 + other * 977) % (vocabulary - 5) + 5;
    let mut seed = SEED;
    seed[0] ^= u8::try_from(other).unwrap_or(u8::MAX);
    GenerateRequest {
        input: (0..PROMPT_LEN).map(token).collect(),
        parameters: SamplingParameters {
            max_tokens: OUTPUT_LEN,
            temperature: Micro::from_millionths(temperature),
            top_k: 0,
            top_p: Micro::from_millionths(950_000),
            stop_tokens: vec![],
            choice: 0,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        seed,
        controls: Controls::default(),
        logprobs: None,
        chunk_len,
    }
}

fn draft(engine: &Engine, request: &GenerateRequest, generated: &Generated) -> Result<Draft> {
    let admission = Admission {
        id: [1; 16],
        secret: ReceiptSecret::from_bytes([2; 32]),
        time_ms: 1_790_000_000_000,
        nonce: Some(vec![3; 16]),
        kind: Kind::Completion,
        body: b"request".to_vec(),
        software: "tally/identical".into(),
    };
    let tokenizer = Digest::of_content(engine.model().tokenizer());
    let prepared = Prepared {
        arithmetic: ARITHMETIC.into(),
        model_root: engine.model().root(),
        input: request.input.clone(),
        parameters: request.parameters.clone(),
        controls: Controls::default(),
        seed: request.seed,
        seed_source: SeedSource::Client,
        preparation: Preparation { tokenizer, template: None, adjustments: vec![] },
    };
    let mut draft = Draft::new(admission, prepared)?;
    for token in &generated.output {
        draft.append(*token);
    }
    Ok(draft)
}
