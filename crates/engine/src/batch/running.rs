//! One task on its way: its text, what of it is computed, and what comes next.

use tally_core::computation::{FinishReason, TokenId};
use tally_core::philox::SamplerKey;

use super::{Task, TaskId};
use crate::error::EngineError;
use crate::generate::{self, GenerateRequest, position};
use crate::sampler::logprobs::logprobs;
use crate::sampler::{self, SamplerScratch, TokenLogprobs};
use crate::session::{Engine, Sequence, Span, Wanted};

/// A task that was admitted.
#[derive(Debug)]
pub(super) struct Running {
    task: Task,
    key: SamplerKey,
    /// The input, and the output so far.
    pub(super) text: Vec<TokenId>,
    input_len: usize,
    pub(super) stage: Stage,
    /// Keys and values of the text's beginning.
    pub(super) sequence: Sequence,
    /// Tokens that the sequence has room for once the task has begun.
    pub(super) capacity: usize,
    /// Memory of as many.
    pub(super) reserved_bytes: u64,
    /// Tokens that the present pass computes.
    pub(super) turn: usize,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has had no turn.
    New,
    /// Another task is about to compute what both begin with. A task waits once at most.
    Waits {
        /// The other task.
        leader: TaskId,
        /// How many tokens both begin with.
        len: usize,
    },
    /// It has a sequence.
    Begun,
}

/// A token that was drawn.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) token: TokenId,
    pub(super) logprobs: Option<TokenLogprobs>,
    /// Why the output ends with it, if it does.
    pub(super) end: Option<FinishReason>,
}

/// Tokens of the longest text that a request can come to, without the last, which is not computed.
pub(super) fn len_max(engine: &Engine, request: &GenerateRequest) -> usize {
    let context = engine.model().context_len() as usize;
    let output = usize::try_from(request.parameters.max_tokens).unwrap_or(usize::MAX);
    request.input.len().saturating_add(output).min(context).saturating_sub(1)
}

impl Running {
    pub(super) fn new(engine: &Engine, mut task: Task, reserved_bytes: u64) -> Self {
        let capacity = len_max(engine, &task.request);
        let text = std::mem::take(&mut task.request.input);
        Self {
            key: SamplerKey::from_seed(&task.request.seed),
            input_len: text.len(),
            text,
            task,
            stage: Stage::New,
            sequence: engine.sequence(),
            capacity,
            reserved_bytes,
            turn: 0,
        }
    }

    pub(super) const fn scope(&self) -> u64 {
        self.task.prefix_scope
    }

    pub(super) const fn chunk_len(&self) -> usize {
        self.task.request.chunk_len
    }

    /// What may be taken from others: the input's last token is computed for its logits.
    pub(super) fn reusable(&self) -> &[TokenId] {
        &self.text[..self.input_len - 1]
    }

    /// Tokens of the input that are not computed.
    pub(super) const fn input_left(&self) -> usize {
        self.input_len.saturating_sub(self.sequence.len())
    }

    /// Whether a token was drawn.
    pub(super) const fn is_decoding(&self) -> bool {
        self.text.len() > self.input_len
    }

    /// Whether all of the text is computed, so that the next token can be drawn.
    pub(super) const fn is_to_draw(&self) -> bool {
        self.sequence.len() == self.text.len()
    }

    /// Tokens that others' text begins with as this one's, as far as this one's is computed.
    pub(super) fn common_len(&self, other: &[TokenId]) -> usize {
        common_len(&self.text[..self.sequence.len()], other)
    }

    /// The same once the input is computed; none unless it is being computed.
    pub(super) fn common_len_to_come(&self, other: &[TokenId]) -> usize {
        match self.stage {
            Stage::Begun => common_len(&self.text[..self.input_len], other),
            Stage::New | Stage::Waits { .. } => 0,
        }
    }

    /// What the present pass computes of it.
    pub(super) fn span(&mut self) -> Span<'_> {
        let start = self.sequence.len();
        let tokens = &self.text[start..start + self.turn];
        let is_end = start + self.turn == self.text.len();
        let wanted = if is_end { Wanted::Last } else { Wanted::Nothing };
        Span { sequence: &mut self.sequence, tokens, wanted }
    }

    /// Draws the next token.
    pub(super) fn draw(
        &mut self,
        engine: &Engine,
        logits: &[i32],
        scratch: &mut SamplerScratch,
    ) -> Result<Drawn, EngineError> {
        let bits = engine.model().configuration().logit_bits;
        let at = position(self.text.len());
        let Task { request, steering, stops, .. } = &mut self.task;
        let GenerateRequest { parameters, controls, .. } = request;
        let own = steering.adjustments(controls)?;
        let token = sampler::sample(logits, bits, parameters, &own, self.key, at, scratch)?;
        let logprobs = request.logprobs.map(|count| logprobs(logits, bits, token, count));
        let logprobs = logprobs.transpose()?;
        steering.accept(token)?;
        let is_stopped = match stops {
            Some(stops) => stops.push(token)?.is_stopped,
            None => false,
        };
        self.text.push(token);
        let output = &self.text[self.input_len..];
        let context = engine.model().context_len();
        let end = match generate::end_of(parameters, self.input_len, output, context) {
            Some(FinishReason::Stop) => Some(FinishReason::Stop),
            _ if is_stopped => Some(FinishReason::StopString),
            end => end,
        };
        Ok(Drawn { token, logprobs, end })
    }

    /// Scope, sequence and text.
    pub(super) fn into_parts(self) -> (u64, Sequence, Vec<TokenId>) {
        (self.task.prefix_scope, self.sequence, self.text)
    }
}

/// How many tokens two texts begin with in common.
pub(super) fn common_len(one: &[TokenId], other: &[TokenId]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
