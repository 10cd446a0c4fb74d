//! Continuous batching: tasks come and go, and every pass computes a part of each.
//!
//! One call of [`Batch::step`] is one pass: first a token of every task that decodes, then chunks of
//! inputs in turn, up to a number of tokens. What was computed for an input is used again for others
//! that begin alike. None of it can change an output: a token's keys and values depend on the tokens
//! before it alone, and a drawn token on its logits, its seed and its position
//! (`spec/arithmetic.md`, KV cache and Sampling). It has no threads of its own and no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;

use tally_core::computation::{FinishReason, TokenId};

use crate::error::EngineError;
use crate::generate::{self, GenerateRequest};
use crate::language::Language;
use crate::sampler::SamplerScratch;
pub use crate::sampler::TokenLogprobs;
use crate::session::{Engine, PASS_TOKENS_MAX, Span, parameter};
use crate::steering::Steering;
use crate::stop::TextStream;

mod pool;
mod running;
#[cfg(test)]
mod tests;

use pool::PrefixPool;
use running::{Drawn, Running, Stage};

/// Tokens that another task must be about to compute for both before a task waits for it.
const WAIT_LEN_MIN: usize = 32;

/// Names a task; the caller's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// What bounds a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most tokens in one pass, at most [`PASS_TOKENS_MAX`]; bounds how long a pass takes.
    pub pass_tokens_max: usize,
    /// Most tasks at a time, at most `pass_tokens_max`: so each pass has room for some input.
    pub sequences_max: usize,
    /// Most bytes of keys and values, of running tasks and kept prefixes together.
    ///
    /// A task begins once what its longest output needs is reserved: none is ended for lack of
    /// memory. What a pass itself works on is not counted.
    pub cache_bytes_max: u64,
    /// Most tasks that wait until others have ended, beside those that are running.
    pub waiting_max: usize,
}

/// What a batch is to do.
#[derive(Debug)]
pub struct Task {
    request: GenerateRequest,
    prefix_scope: u64,
    steering: Steering,
    /// Finds stop strings, if there are any.
    stops: Option<TextStream>,
    has_language: bool,
}

impl Task {
    /// A task without stop strings and grammar, which may share prefixes with those of scope zero.
    #[must_use]
    pub fn new(request: GenerateRequest) -> Self {
        let steering = Steering::default();
        Self { request, prefix_scope: 0, steering, stops: None, has_language: false }
    }

    /// A task with any controls, in the language of its model.
    ///
    /// It compiles the grammar, if there is one, which may take a while: not in a loop of steps.
    ///
    /// # Errors
    /// A grammar that the language refuses.
    pub fn with_language(
        request: GenerateRequest,
        language: &Language,
    ) -> Result<Self, EngineError> {
        let steering = Steering::new(language, &request.controls)?;
        let stops = &request.controls.stop;
        let stops = (!stops.is_empty()).then(|| language.stream(stops));
        Ok(Self { steering, stops, has_language: true, ..Self::new(request) })
    }

    /// Shares prefixes with tasks of this scope only.
    ///
    /// How soon a first token comes tells whether another task's input began alike: callers that
    /// must not learn that of each other are kept in scopes of their own.
    #[must_use]
    pub fn in_scope(self, prefix_scope: u64) -> Self {
        Self { prefix_scope, ..self }
    }

    /// What is to be generated.
    #[must_use]
    pub const fn request(&self) -> &GenerateRequest {
        &self.request
    }
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent {
    /// Its turn has come; nothing of it was computed before.
    Begin {
        /// Tokens of its input that need not be computed again.
        cached_tokens: usize,
    },
    /// A token was drawn.
    Token {
        /// The token.
        token: TokenId,
        /// How likely it was, if that was asked for.
        logprobs: Option<TokenLogprobs>,
    },
    /// Its last event: why the output ended, or why there is none or no more of it.
    End(Result<FinishReason, EngineError>),
}

/// What a batch has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Passes over the model.
    pub passes: u64,
    /// Tokens of inputs that were computed.
    pub prompt_tokens: u64,
    /// Tokens of inputs that had been computed before.
    pub cached_tokens: u64,
    /// Tokens drawn.
    pub output_tokens: u64,
    /// Tasks admitted.
    pub admitted: u64,
    /// Tasks whose output ended by itself.
    pub finished: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Tasks that ended with an error.
    pub refused: u64,
}

/// Tasks in progress and prefixes kept for tasks to come.
#[derive(Debug)]
pub struct Batch<E = Arc<Engine>> {
    engine: E,
    limits: BatchLimits,
    /// In the order of their arrival: one that is large is not overtaken.
    waiting: VecDeque<(TaskId, Task)>,
    tasks: BTreeMap<TaskId, Running>,
    /// Tasks whose inputs are not computed yet; the first has the next turn.
    queue: VecDeque<TaskId>,
    pool: PrefixPool,
    counts: BatchCounts,
    logits: Vec<Vec<i32>>,
    scratch: SamplerScratch,
}

impl<E: Deref<Target = Engine>> Batch<E> {
    /// A batch without tasks.
    ///
    /// # Errors
    /// Limits of zero, above [`PASS_TOKENS_MAX`], or more sequences than a pass has tokens.
    pub fn new(engine: E, limits: BatchLimits) -> Result<Self, EngineError> {
        parameter("tokens of a pass", limits.pass_tokens_max, PASS_TOKENS_MAX)?;
        parameter("sequences of a batch", limits.sequences_max, limits.pass_tokens_max)?;
        Ok(Self {
            engine,
            limits,
            waiting: VecDeque::new(),
            tasks: BTreeMap::new(),
            queue: VecDeque::new(),
            pool: PrefixPool::default(),
            counts: BatchCounts::default(),
            logits: vec![],
            scratch: SamplerScratch::default(),
        })
    }

    /// Takes a task, which waits until there is memory for as long an output as it may have.
    ///
    /// # Errors
    /// As many waiting tasks as may be ([`EngineError::TasksBusy`]): later there is room again. For
    /// good: an input that is empty, too long or has tokens outside the vocabulary, parameters out
    /// of range, controls without the language they need, more memory than there is, an id in use.
    pub fn admit(&mut self, id: TaskId, task: Task) -> Result<(), EngineError> {
        let is_waiting = self.waiting.iter().any(|(waiting, _)| *waiting == id);
        if is_waiting || self.tasks.contains_key(&id) {
            return Err(EngineError::TaskRuns { id: id.0 });
        }
        self.appraise(&task)?;
        self.admit_waiting();
        if self.waiting.len() >= self.limits.waiting_max && !self.has_room(&task) {
            let limit = self.limits.sequences_max.saturating_add(self.limits.waiting_max);
            return Err(EngineError::TasksBusy { limit });
        }
        self.waiting.push_back((id, task));
        self.admit_waiting();
        self.counts.admitted += 1;
        Ok(())
    }

    /// Ends a task at once, if there still is such a task.
    pub fn cancel(&mut self, id: TaskId, on_event: &mut dyn FnMut(TaskId, TaskEvent)) {
        let waiting = self.waiting.iter().position(|(waiting, _)| *waiting == id);
        if waiting.is_some() || self.tasks.contains_key(&id) {
            waiting.map(|index| self.waiting.remove(index));
            self.end(id, Ok(FinishReason::Cancelled), on_event);
        }
    }

    /// Computes one pass, and gives what came of it to `on_event`; without tasks it does nothing.
    ///
    /// An error ends its own task and no other.
    pub fn step(&mut self, on_event: &mut dyn FnMut(TaskId, TaskEvent)) {
        self.admit_waiting();
        self.plan(on_event);
        let ids: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.turn > 0).map(|(id, _)| *id).collect();
        match (self.pass(None), ids.as_slice()) {
            (Ok(()), ids) => return self.draw(ids, on_event),
            (Err(error), [id]) => return self.end(*id, Err(error), on_event),
            (Err(_), _) => {}
        }
        // Somebody's part was refused and nothing was computed: each finds out for itself.
        for id in ids {
            match self.pass(Some(id)) {
                Ok(()) => self.draw(&[id], on_event),
                Err(error) => self.end(id, Err(error), on_event),
            }
        }
    }

    /// Whether no task is running and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.waiting.is_empty()
    }

    /// How many tasks are running.
    #[must_use]
    pub fn running_count(&self) -> usize {
        self.tasks.len()
    }

    /// How many tasks wait until others have ended.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of keys and values at present, of running tasks and kept prefixes together.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        self.running_bytes() + self.pool.bytes()
    }

    /// Forgets all prefixes that no running task needs.
    pub fn forget_prefixes(&mut self) {
        self.pool = PrefixPool::default();
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// What bounds it.
    #[must_use]
    pub const fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// The engine that computes.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Refuses what can never be computed here.
    fn appraise(&self, task: &Task) -> Result<(), EngineError> {
        let request = &task.request;
        let GenerateRequest { input, parameters, controls, chunk_len, .. } = request;
        let needs_language = controls.grammar.is_some() || !controls.stop.is_empty();
        if needs_language && !task.has_language {
            return Err(EngineError::NoLanguage);
        }
        generate::appraise(&self.engine, input, parameters)?;
        parameter("chunk length", *chunk_len, PASS_TOKENS_MAX)?;
        let count = self.engine.model().configuration().vocabulary;
        if let Some(found) = input.iter().copied().find(|token| *token >= count) {
            return Err(EngineError::Token { found, count });
        }
        let (needed, limit) = (self.bytes_needed(request), self.limits.cache_bytes_max);
        if needed > limit {
            return Err(EngineError::CacheLimit { needed, limit });
        }
        Ok(())
    }

    /// Starts those that wait, as far as there is room.
    fn admit_waiting(&mut self) {
        while self.waiting.front().is_some_and(|(_, task)| self.has_room(task)) {
            let Some((id, task)) = self.waiting.pop_front() else { break };
            let reserved_bytes = self.bytes_needed(&task.request);
            self.tasks.insert(id, Running::new(&self.engine, task, reserved_bytes));
            self.queue.push_back(id);
        }
    }

    /// Whether a task may run beside those that are running.
    fn has_room(&self, task: &Task) -> bool {
        let reserved: u64 = self.tasks.values().map(|running| running.reserved_bytes).sum();
        let free = self.limits.cache_bytes_max - reserved;
        self.tasks.len() < self.limits.sequences_max && self.bytes_needed(&task.request) <= free
    }

    /// The keys and values of a task's longest text: the last token drawn is never computed.
    fn bytes_needed(&self, request: &GenerateRequest) -> u64 {
        self.engine.sequence_bytes(running::len_max(&self.engine, request))
    }

    fn running_bytes(&self) -> u64 {
        let begun = self.tasks.values().filter(|running| running.stage == Stage::Begun);
        begun.map(|running| running.reserved_bytes).sum()
    }

    /// Says how many tokens of each task the next pass computes.
    fn plan(&mut self, on_event: &mut dyn FnMut(TaskId, TaskEvent)) {
        let mut room = self.limits.pass_tokens_max;
        for running in self.tasks.values_mut() {
            running.turn = usize::from(running.is_decoding());
            room -= running.turn;
        }
        for _ in 0..self.queue.len() {
            if room == 0 {
                break;
            }
            let Some(id) = self.queue.pop_front() else { break };
            if !self.begin(id, on_event) {
                self.queue.push_back(id);
                continue;
            }
            let Some(running) = self.tasks.get_mut(&id) else { continue };
            let left = running.input_left();
            running.turn = left.min(running.chunk_len()).min(room);
            room -= running.turn;
            if running.turn < left {
                self.queue.push_back(id);
            }
        }
    }

    /// Gives a task its sequence, with what others computed of its input; `false` while it waits.
    fn begin(&mut self, id: TaskId, on_event: &mut dyn FnMut(TaskId, TaskEvent)) -> bool {
        let Some(running) = self.tasks.get(&id) else { return true };
        match running.stage {
            Stage::Begun => return true,
            Stage::Waits { leader, len } if self.is_ahead(leader, len) => return false,
            Stage::Waits { .. } | Stage::New => {}
        }
        let (scope, wanted) = (running.scope(), running.reusable());
        let of_running = self.longest(scope, |other| other.common_len(wanted));
        let of_pool = self.pool.longest(scope, wanted);
        let running_len = of_running.map_or(0, |(common, _)| common);
        let cached_tokens = of_pool.as_ref().map_or(0, |hit| hit.common).max(running_len);
        if running.stage == Stage::New {
            let to_come = self.longest(scope, |other| other.common_len_to_come(wanted));
            let leader = to_come.filter(|(len, _)| *len >= cached_tokens + WAIT_LEN_MIN);
            if let Some((len, leader)) = leader {
                self.set_stage(id, Stage::Waits { leader, len });
                return false;
            }
        }
        let (capacity, needed) = (running.capacity, running.reserved_bytes);
        let budget = self.limits.cache_bytes_max - self.running_bytes() - needed;
        let of_pool = of_pool.filter(|hit| hit.common > running_len);
        let of_pool = of_pool.and_then(|hit| self.pool.fork(scope, &hit, capacity, budget));
        let sequence = of_pool.unwrap_or_else(|| {
            self.pool.evict(budget, None);
            // A task that has not begun has a sequence too, an empty one: its own is as good.
            let origin = of_running.and_then(|(_, other)| self.tasks.get(&other));
            origin.unwrap_or(running).sequence.fork_with_room(running_len, capacity)
        });
        self.counts.cached_tokens += cached_tokens as u64;
        if let Some(running) = self.tasks.get_mut(&id) {
            running.sequence = sequence;
        }
        self.set_stage(id, Stage::Begun);
        on_event(id, TaskEvent::Begin { cached_tokens });
        true
    }

    /// The task of a scope with the greatest length, and of several the first; none of length zero.
    fn longest(&self, scope: u64, len: impl Fn(&Running) -> usize) -> Option<(usize, TaskId)> {
        let others = self.tasks.iter().filter(|(_, other)| other.scope() == scope);
        let lens = others.map(|(id, other)| (len(other), *id)).filter(|(len, _)| *len > 0);
        lens.max_by_key(|(len, id)| (*len, Reverse(*id)))
    }

    /// Whether a task is still on its way to `len` tokens of its input.
    fn is_ahead(&self, leader: TaskId, len: usize) -> bool {
        self.tasks.get(&leader).is_some_and(|leader| leader.sequence.len() < len)
    }

    fn set_stage(&mut self, id: TaskId, stage: Stage) {
        if let Some(running) = self.tasks.get_mut(&id) {
            running.stage = stage;
        }
    }

    /// Computes the turns of all tasks or of one; the logits are those of the tasks that draw.
    fn pass(&mut self, only: Option<TaskId>) -> Result<(), EngineError> {
        let turns = self
            .tasks
            .iter_mut()
            .filter(|(id, running)| running.turn > 0 && only.is_none_or(|only| only == **id));
        let mut spans: Vec<Span<'_>> = turns.map(|(_, running)| running.span()).collect();
        if spans.is_empty() {
            return Ok(());
        }
        self.counts.passes += 1;
        self.engine.extend(&mut spans, &mut self.logits)
    }

    /// Notes that the turns of these tasks were computed; draws a token where logits were wanted.
    fn draw(&mut self, ids: &[TaskId], on_event: &mut dyn FnMut(TaskId, TaskEvent)) {
        let mut row = 0;
        for id in ids {
            let Some(running) = self.tasks.get_mut(id) else { continue };
            if !running.is_decoding() {
                self.counts.prompt_tokens += running.turn as u64;
            }
            running.turn = 0;
            if !running.is_to_draw() {
                continue;
            }
            let drawn = running.draw(&self.engine, &self.logits[row], &mut self.scratch);
            row += 1;
            match drawn {
                Err(error) => self.end(*id, Err(error), on_event),
                Ok(Drawn { token, logprobs, end }) => {
                    self.counts.output_tokens += 1;
                    on_event(*id, TaskEvent::Token { token, logprobs });
                    if let Some(finish) = end {
                        self.end(*id, Ok(finish), on_event);
                    }
                }
            }
        }
    }

    fn end(
        &mut self,
        id: TaskId,
        end: Result<FinishReason, EngineError>,
        on_event: &mut dyn FnMut(TaskId, TaskEvent),
    ) {
        self.queue.retain(|queued| *queued != id);
        let running = self.tasks.remove(&id);
        match &end {
            Ok(FinishReason::Cancelled) => self.counts.cancelled += 1,
            Ok(_) => self.counts.finished += 1,
            Err(_) => self.counts.refused += 1,
        }
        if let Some(running) = running.filter(|_| end.is_ok()) {
            self.keep(running);
        }
        on_event(id, TaskEvent::End(end));
    }

    /// Keeps what was computed for tasks that begin alike.
    fn keep(&mut self, running: Running) {
        let (scope, mut sequence, mut text) = running.into_parts();
        text.truncate(sequence.len());
        sequence.shrink();
        self.pool.insert(scope, &text, sequence);
        self.pool.evict(self.limits.cache_bytes_max - self.running_bytes(), None);
    }
}
