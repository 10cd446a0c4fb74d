//! From a request to its output tokens, alone or batched with others.
//!
//! The token at position t of the text is drawn from the logits after t tokens with the counter t,
//! counted from the text's beginning: a function of (logits, seed, t, choice) alone, so nothing
//! here can change an output. A stop token that is drawn is the output's last token.

use std::ops::ControlFlow;

use tally_core::computation::{Controls, FinishReason, SamplingParameters, TOKENS_MAX};

use crate::batch::{Batch, BatchLimits, Task, TaskEvent, TaskId};
use crate::error::EngineError;
use crate::session::{Engine, PASS_TOKENS_MAX};

#[cfg(test)]
pub(crate) mod tests;

/// Chunk length that suits most machines.
pub const CHUNK_LEN: usize = 64;
/// Most tasks that [`generate_batch`] has running at a time; further ones wait.
const SEQUENCES_MAX: usize = 256;
/// Least room for inputs in a pass of [`generate_batch`].
const PASS_TOKENS: usize = 512;

/// What is to be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateRequest {
    /// The effective input; at least one token.
    pub input: Vec<u32>,
    /// How tokens are drawn and when the output ends.
    pub parameters: SamplingParameters,
    /// The sampler's seed.
    pub seed: [u8; 32],
    /// What else steers the output.
    pub controls: Controls,
    /// How many of the likeliest tokens are given with each token drawn and its log-probability.
    pub logprobs: Option<u8>,
    /// Most tokens of the input that are computed in one pass; it cannot change the output.
    pub chunk_len: usize,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The tokens drawn, a stop token included.
    pub output: Vec<u32>,
    /// Why the output ended.
    pub finish: FinishReason,
}

/// Generates one output and gives each token to `on_token` as soon as it is drawn.
///
/// # Errors
/// An empty or too long input, parameters out of range, a token outside the vocabulary, controls
/// that need a [`Task`] with the model's language, or a value beyond a bound of the arithmetic.
pub fn generate(
    engine: &Engine,
    request: &GenerateRequest,
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<Generated, EngineError> {
    generate_task(engine, Task::new(request.clone()), on_token)
}

/// Generates the output of one task and gives each token to `on_token` as soon as it is drawn.
///
/// # Errors
/// As [`generate`], and a grammar that cannot go on.
pub fn generate_task(
    engine: &Engine,
    task: Task,
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<Generated, EngineError> {
    let mut outcomes = generate_batch(engine, vec![task], &mut |_, token| on_token(token));
    outcomes.pop().unwrap_or(Err(EngineError::EmptyInput))
}

/// Generates many outputs in one batch; outcome n is that of task n alone.
///
/// `on_token` gets the task's index with each token; to break ends that task only.
pub fn generate_batch(
    engine: &Engine,
    tasks: Vec<Task>,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Vec<Result<Generated, EngineError>> {
    let batch = match Batch::new(engine, limits_of(&tasks)) {
        Ok(batch) => batch,
        Err(error) => return tasks.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut outcomes: Vec<Outcome> = tasks.iter().map(|_| Outcome::default()).collect();
    run(batch, tasks, &mut outcomes, on_token);
    let finished = outcomes.into_iter().map(|Outcome { output, end }| {
        // A batch is idle only once each task has ended.
        let finish = end.unwrap_or(Ok(FinishReason::Cancelled))?;
        Ok(Generated { output, finish })
    });
    finished.collect()
}

/// What became of a task so far.
#[derive(Debug, Default)]
struct Outcome {
    output: Vec<u32>,
    end: Option<Result<FinishReason, EngineError>>,
}

/// Every task at once, with as long chunks as each asks for.
fn limits_of(tasks: &[Task]) -> BatchLimits {
    let sequences_max = tasks.len().clamp(1, SEQUENCES_MAX);
    let chunk_len = tasks.iter().map(|task| task.request().chunk_len).max().unwrap_or_default();
    let pass_tokens_max = chunk_len.max(PASS_TOKENS).saturating_add(sequences_max);
    BatchLimits {
        pass_tokens_max: pass_tokens_max.min(PASS_TOKENS_MAX),
        sequences_max,
        cache_bytes_max: u64::MAX,
        waiting_max: tasks.len(),
    }
}

/// Admits all tasks in order and goes on until each has ended.
fn run(
    mut batch: Batch<&Engine>,
    tasks: Vec<Task>,
    outcomes: &mut [Outcome],
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) {
    for (index, (task, outcome)) in tasks.into_iter().zip(&mut *outcomes).enumerate() {
        let admitted = batch.admit(TaskId(index as u64), task);
        outcome.end = admitted.err().map(Err);
    }
    let mut broken = vec![];
    while !batch.is_idle() {
        let on_event = &mut |id: TaskId, event| {
            let index = usize::try_from(id.0).unwrap_or(usize::MAX);
            let Some(outcome) = outcomes.get_mut(index) else { return };
            match event {
                TaskEvent::Begin { .. } => {}
                TaskEvent::Token { token, .. } => {
                    outcome.output.push(token);
                    if on_token(index, token).is_break() {
                        broken.push(id);
                    }
                }
                TaskEvent::End(end) => outcome.end = Some(end),
            }
        };
        batch.step(on_event);
        for id in std::mem::take(&mut broken) {
            batch.cancel(id, &mut |id, event| {
                let index = usize::try_from(id.0).unwrap_or(usize::MAX);
                if let (Some(outcome), TaskEvent::End(end)) = (outcomes.get_mut(index), event) {
                    outcome.end = Some(end);
                }
            });
        }
    }
}

/// When an output is over, if neither side has gone away: a function of what was drawn.
pub(crate) fn end_of(
    parameters: &SamplingParameters,
    input_len: usize,
    output: &[u32],
    context: u32,
) -> Option<FinishReason> {
    let is_stop = output.last().is_some_and(|token| parameters.stop_tokens.contains(token));
    if is_stop {
        return Some(FinishReason::Stop);
    }
    let is_full = output.len() as u64 >= u64::from(parameters.max_tokens)
        || (input_len + output.len()) as u64 >= u64::from(context);
    is_full.then_some(FinishReason::Length)
}

/// Refuses what could not yield a single token.
pub(crate) fn appraise(
    engine: &Engine,
    input: &[u32],
    parameters: &SamplingParameters,
) -> Result<(), EngineError> {
    let (found, limit) = (input.len() as u64 + 1, engine.model().context_len());
    if input.is_empty() {
        return Err(EngineError::EmptyInput);
    }
    if found > u64::from(limit) {
        return Err(EngineError::Context { found, limit });
    }
    let (what, found) = ("max tokens", u64::from(parameters.max_tokens));
    if !(1..=TOKENS_MAX).contains(&found) {
        return Err(EngineError::Parameter { what, found, minimum: 1, maximum: TOKENS_MAX });
    }
    Ok(())
}

/// A position within a context, whose limit is far below 2^32.
pub(crate) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
