//! The request amid others that come at any time, are cancelled, and begin as it does.
//!
//! It comes three times: into an empty batch, while its first self is on its way, and once both have
//! ended, so that its input is computed, shared and found. Its three outputs must be equal.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tally_core::computation::{FinishReason, Micro, TokenId};
use tally_engine::generate::{GenerateRequest, Generated};
use tally_engine::{Batch, BatchLimits, Engine, EngineError, Task, TaskEvent, TaskId};

/// Where the request stands among the others.
const PLACES: [u64; 3] = [4, 9, 30];
/// How many tasks come before the last time.
const OTHERS: u64 = 24;
/// Limits that make tasks wait, inputs take turns and prefixes give way.
const PASS_TOKENS: usize = 37;
const SEQUENCES: usize = 6;
/// Whole texts of the request that fit in memory.
const TEXTS: u64 = 9;

/// The output of the request, whichever of the three.
pub(super) fn generate(engine: &Engine, request: &GenerateRequest) -> Result<Generated> {
    let len = request.input.len() + request.parameters.max_tokens as usize;
    let limits = BatchLimits {
        pass_tokens_max: PASS_TOKENS,
        sequences_max: SEQUENCES,
        cache_bytes_max: TEXTS * engine.sequence_bytes(len),
        waiting_max: usize::MAX,
    };
    let mut batch = Batch::new(engine, limits)?;
    let mut seen = Seen::default();
    let mut random = Random(u64::from(request.parameters.temperature.millionths()) + 1);
    for id in 0..OTHERS {
        let request = match PLACES.contains(&id) {
            true => request.clone(),
            false => other(request, &mut random),
        };
        batch.admit(TaskId(id), Task::new(request))?;
        for _ in 0..random.below(12) {
            batch.step(&mut |id, event| seen.note(id, event));
        }
        let cancelled = random.below(3 * id + 1);
        if !PLACES.contains(&cancelled) {
            batch.cancel(TaskId(cancelled), &mut |id, event| seen.note(id, event));
        }
    }
    let [_, _, last] = PLACES;
    while !batch.is_idle() || !seen.ends.contains_key(&TaskId(last)) {
        if batch.is_idle() {
            batch.admit(TaskId(last), Task::new(request.clone()))?;
        }
        batch.step(&mut |id, event| seen.note(id, event));
    }
    let [one, shared, found] = PLACES.map(|id| seen.generated(TaskId(id)));
    let (one, shared, found) = (one?, shared?, found?);
    ensure!(one == shared && one == found, "a request that comes again has another output");
    let counts = batch.counts();
    ensure!(counts.cached_tokens > 0 && counts.cancelled > 0, "nothing was shared or cancelled");
    Ok(one)
}

/// A request that begins as another does, for a while.
fn other(request: &GenerateRequest, random: &mut Random) -> GenerateRequest {
    let mut other = request.clone();
    let input_len = other.input.len() as u64;
    let common = usize::try_from(random.below(input_len)).unwrap_or(0);
    for token in &mut other.input[common..] {
        *token = token.saturating_sub(1);
    }
    other.input.truncate(common + 1 + usize::try_from(random.below(40)).unwrap_or(0));
    other.parameters.temperature = Micro::ONE;
    other.parameters.max_tokens = 1 + u32::try_from(random.below(60)).unwrap_or(0);
    other.seed[1] ^= 0x55;
    other
}

/// What happened to each task.
#[derive(Default)]
struct Seen {
    outputs: BTreeMap<TaskId, Vec<TokenId>>,
    ends: BTreeMap<TaskId, Result<FinishReason, EngineError>>,
}

impl Seen {
    fn note(&mut self, id: TaskId, event: TaskEvent) {
        match event {
            TaskEvent::Begin { .. } => {}
            TaskEvent::Token { token, .. } => self.outputs.entry(id).or_default().push(token),
            TaskEvent::End(end) => drop(self.ends.insert(id, end)),
        }
    }

    fn generated(&self, id: TaskId) -> Result<Generated> {
        let finish = self.ends.get(&id).context("a task has no end")?.clone()?;
        Ok(Generated { output: self.outputs.get(&id).cloned().unwrap_or_default(), finish })
    }
}

/// The same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit.max(1)
    }
}
