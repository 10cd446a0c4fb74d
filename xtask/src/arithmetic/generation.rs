//! Whole outputs of the default model: prompt, parameters, seed, and the tokens that follow.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_core::computation::{Controls, FinishReason, Micro, SamplingParameters, SignedMicro};
use tally_engine::generate::{GenerateRequest, generate};
use tally_engine::{Engine, Kernels, Model};

use super::integers::Given;
use crate::identical::MODEL;
use crate::repo::Repo;

/// Tokens of the input; any would do.
const INPUT_LEN: u32 = 24;
const OUTPUT_LEN: u32 = 32;
const SEED: &str = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a";
const CLAUSES: &[&str] = &[
    "A-9", "A-10", "A-11", "A-12", "A-13", "A-17", "A-18", "A-19", "A-20", "A-21", "A-22", "A-23",
    "A-24", "A-25", "A-26", "A-28", "A-29", "A-30", "A-31", "A-32",
];

/// The text of `generation.json`.
pub(super) fn file(repo: &Repo) -> Result<String> {
    let model = Arc::new(Model::open(&repo.root().join(MODEL))?);
    let engine = Engine::new(Arc::clone(&model), Kernels::PORTABLE, 1)?;
    let (greedy, sampled) = (given(&engine, 0), given(&engine, 800_000));
    let mut cases = vec![];
    let mut add = |what: &str, given: Value| -> Result<Vec<u32>> {
        let request = request_of(&given)?;
        let generated = generate(&engine, &request, &mut |_| ControlFlow::Continue(()))?;
        let finish = finish_name(generated.finish)?;
        let root = model.root().to_string();
        let out = json!({ "root": root, "output": generated.output, "finish": finish });
        cases.push(json!({ "what": what, "in": given, "out": out }));
        Ok(generated.output)
    };
    add("the likeliest token each time", greedy)?;
    let output = add("drawn at temperature 0.8 with top-p 0.95", sampled.clone())?;
    let mut stopped = sampled.clone();
    stopped["stop_tokens"] = json!([output[9]]);
    add("the same with its tenth token as a stop token", stopped)?;
    let mut another = sampled;
    another["choice"] = json!(1);
    another["top_k"] = json!(40);
    another["max_tokens"] = json!(8);
    add("another choice of the same seed, with top-k 40", another)?;
    let what = "Whole outputs of the default model, token for token.";
    Ok(super::text(super::GENERATION, CLAUSES, what, &cases))
}

fn given(engine: &Engine, temperature: u32) -> Value {
    let vocabulary = engine.model().configuration().vocabulary;
    let input: Vec<u32> = (0..INPUT_LEN).map(|i| (i * i * 31 + i * 7 + 5) % vocabulary).collect();
    json!({
        "model": MODEL, "input": input, "seed": SEED, "max_tokens": OUTPUT_LEN,
        "temperature": temperature, "top_k": 0, "top_p": 950_000, "stop_tokens": [], "choice": 0,
    })
}

/// The request that a vector, or a task for the twin, states.
pub(crate) fn request_of(given: &Value) -> Result<GenerateRequest> {
    let given = Given(given);
    let seed = bytes(given.text("seed")?)?;
    Ok(GenerateRequest {
        input: given.list("input")?,
        parameters: SamplingParameters {
            max_tokens: given.integer("max_tokens")?,
            temperature: Micro::from_millionths(given.integer("temperature")?),
            top_k: given.integer("top_k")?,
            top_p: Micro::from_millionths(given.integer("top_p")?),
            stop_tokens: given.list("stop_tokens")?,
            choice: given.integer("choice")?,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        seed: seed.try_into().ok().context("a seed has 32 bytes")?,
        controls: Controls::default(),
        logprobs: None,
        chunk_len: 64,
    })
}

/// How the vectors call the end of an output.
pub(crate) fn finish_name(finish: FinishReason) -> Result<&'static str> {
    ensure!(finish != FinishReason::Cancelled, "nobody went away");
    Ok(if finish == FinishReason::Stop { "stop" } else { "length" })
}

/// The bytes that hexadecimal digits write.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    bytes.collect()
}
