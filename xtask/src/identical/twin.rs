//! The same tasks for every kernel, thread count and chunking, and for the twin in Python.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tally_engine::generate::generate;
use tally_engine::{Engine, EngineError, Kernels, Model};

use crate::arithmetic;

/// The program that runs the second implementation.
pub(super) const PYTHON: &str = "python3";
/// From token by token to the whole text.
const CHUNK_LENS: &[usize] = &[1, 7, 64];

/// A model file and what is to be computed with it.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) tasks: Vec<Value>,
    /// How texts are cut; the twin takes a decoder's token by token.
    pub(super) chunk_lens: &'static [usize],
}

impl Job {
    /// The model of a file: logits and an output of a decoder, vectors of an encoder.
    pub(super) fn of_model(name: String, path: PathBuf) -> Result<Self> {
        let model = Model::open(&path)?;
        let configuration = model.configuration();
        let text = |len: u32, seed: u32| -> Vec<u32> {
            (0..len).map(|i| (i * i * 13 + i * 5 + seed) % configuration.vocabulary).collect()
        };
        let mut tasks = vec![json!({ "kind": "root" })];
        if configuration.pooling.is_some() {
            let len = configuration.context.min(41);
            let texts = [text(1, 3), text(2, 70), text(len, 9)];
            tasks.extend(texts.map(|tokens| json!({ "kind": "embed", "tokens": tokens })));
        } else {
            tasks.push(
                json!({ "kind": "logits", "tokens": text(configuration.context.min(60), 3) }),
            );
            // A context that ends the output, where it is short enough.
            let input = text(configuration.context.min(44) - 12, 11);
            tasks.push(json!({
                "kind": "generate", "input": input, "seed": "07".repeat(32), "max_tokens": 16,
                "temperature": 900_000, "top_k": 50, "top_p": 900_000, "stop_tokens": [],
                "choice": 2
            }));
        }
        Ok(Self { name, path, tasks, chunk_lens: CHUNK_LENS })
    }
}

/// What the twin in that folder answers to each task of each job.
pub(super) fn ask(twin: &Path, jobs: &[Job]) -> Result<Vec<Vec<Value>>> {
    let models: Vec<Value> =
        jobs.iter().map(|job| json!({ "model": job.path, "tasks": job.tasks })).collect();
    let mut command = Command::new(PYTHON);
    command.arg(twin.join("run.py")).arg("answer");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| {
        format!("cannot start {PYTHON}, which computes the arithmetic a second time")
    })?;
    let mut input = child.stdin.take().context("the twin has an input")?;
    input.write_all(json!({ "models": models }).to_string().as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the twin ended with {}\n{said}", output.status);
    let mut answers: BTreeMap<String, Vec<Vec<Value>>> = serde_json::from_slice(&output.stdout)?;
    answers.remove("answers").context("the twin gave no answers")
}

/// Compares a job in every way with what the twin answered; the number of ways.
pub(super) fn compare(job: &Job, expected: &[Value]) -> Result<usize> {
    ensure!(expected.len() == job.tasks.len(), "{}: answers are missing", job.name);
    let model = Arc::new(Model::open(&job.path)?);
    let mut ways = 0;
    for kernels in Kernels::available() {
        for threads in [1, 2] {
            let engine = Engine::new(Arc::clone(&model), kernels, threads)?;
            for &chunk_len in job.chunk_lens {
                for (task, expected) in job.tasks.iter().zip(expected) {
                    let found = answer(&engine, task, chunk_len)?;
                    if let Some(difference) = difference(&found, expected) {
                        bail!(
                            "{}: {} with {}, {threads} threads, chunks of {chunk_len}: {difference}",
                            job.name,
                            task["kind"],
                            kernels.name()
                        );
                    }
                }
                ways += 1;
            }
        }
    }
    Ok(ways)
}

/// What the engine answers to a task, in the twin's words.
fn answer(engine: &Engine, task: &Value, chunk_len: usize) -> Result<Value> {
    let found = match task["kind"].as_str() {
        Some("root") => Ok(json!({ "root": engine.model().root().to_string() })),
        Some("logits") => {
            let tokens: Vec<u32> = serde_json::from_value(task["tokens"].clone())?;
            let mut all: Vec<Vec<i32>> = vec![];
            let mut on_logits = |_, logits: &[i32]| all.push(logits.to_vec());
            let result = engine.logits_of(&tokens, chunk_len, &mut on_logits);
            result.map(|()| json!({ "logits": all }))
        }
        Some("embed") => {
            let tokens: Vec<u32> = serde_json::from_value(task["tokens"].clone())?;
            // In company, which must not matter.
            let company = &tokens[..tokens.len().min(chunk_len)];
            let found = engine.embed(&[company, &tokens, company]);
            found.map(|found| json!({ "values": found[1].values }))
        }
        Some("generate") => {
            let mut request = arithmetic::request_of(task)?;
            request.chunk_len = chunk_len;
            match generate(engine, &request, &mut |_| ControlFlow::Continue(())) {
                Err(error) => Err(error),
                Ok(found) => {
                    let finish = arithmetic::finish_name(found.finish)?;
                    Ok(json!({ "output": found.output, "finish": finish }))
                }
            }
        }
        other => bail!("there is no task {other:?}"),
    };
    match found {
        Ok(found) => Ok(found),
        Err(EngineError::Bound { layer, operation, bound, .. }) => {
            let operation = operation.to_string();
            Ok(json!({ "refused": { "layer": layer, "operation": operation, "bound": bound } }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where two answers differ first.
fn difference(found: &Value, expected: &Value) -> Option<String> {
    if found == expected {
        return None;
    }
    let lists = |name: &str| {
        let of = |value: &Value| value.get(name).and_then(Value::as_array).cloned();
        Some((of(found)?, of(expected)?))
    };
    for name in ["logits", "values", "output"] {
        let Some((found, expected)) = lists(name) else { continue };
        let pairs = found.iter().zip(&expected);
        let index = pairs.take_while(|(one, other)| one == other).count();
        return Some(match (found.get(index), expected.get(index)) {
            (Some(Value::Array(one)), Some(Value::Array(other))) => {
                let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
                let (one, other) = (one.get(at), other.get(at));
                format!("{name}[{index}][{at}] is {one:?}, the twin has {other:?}")
            }
            (one, other) => format!("{name}[{index}] is {one:?}, the twin has {other:?}"),
        });
    }
    Some(format!("it is {found}, the twin has {expected}"))
}
