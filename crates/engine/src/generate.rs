//! From a request to its output tokens, alone or batched with others.
//!
//! The token at position t of the text is drawn from the logits after t tokens with the counter t,
//! counted from the text's beginning: a function of (logits, seed, t, choice) alone, so nothing
//! here can change an output. A stop token that is drawn is the output's last token.

use std::ops::ControlFlow;

use tally_core::computation::{FinishReason, SamplingParameters, TOKENS_MAX};
use tally_core::philox::SamplerKey;

use crate::error::EngineError;
use crate::sampler::{self, Adjustments, SamplerScratch};
use crate::session::{Engine, Sequence};

#[cfg(test)]
pub(crate) mod tests;

/// Chunk length that suits most machines.
pub const CHUNK_LEN: usize = 64;

/// What is to be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateRequest {
    /// The effective input; at least one token.
    pub input: Vec<u32>,
    /// How tokens are drawn and when the output ends.
    pub parameters: SamplingParameters,
    /// The sampler's seed.
    pub seed: [u8; 32],
    /// Tokens of the input that are computed in one pass; it cannot change the output.
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
/// An empty or too long input, parameters out of range, a token outside the vocabulary, or a value
/// beyond a bound of the arithmetic.
pub fn generate(
    engine: &Engine,
    request: &GenerateRequest,
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<Generated, EngineError> {
    let requests = std::slice::from_ref(request);
    let mut outcomes = generate_batch(engine, requests, &mut |_, token| on_token(token));
    outcomes.pop().unwrap_or(Err(EngineError::EmptyInput))
}

/// Generates many outputs, one step of all in each pass; outcome n is that of request n alone.
///
/// `on_token` gets the request's index with each token; to break ends that request only.
pub fn generate_batch(
    engine: &Engine,
    requests: &[GenerateRequest],
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Vec<Result<Generated, EngineError>> {
    let mut scratch = SamplerScratch::default();
    let mut logits = vec![];
    let mut tasks: Vec<Task<'_>> = requests
        .iter()
        .enumerate()
        .map(|(index, request)| Task::new(engine, index, request))
        .collect();
    for task in &mut tasks {
        task.begin(engine, &mut logits, &mut scratch, on_token);
    }
    loop {
        let mut active: Vec<&mut Task<'_>> =
            tasks.iter_mut().filter(|task| task.end.is_none()).collect();
        if active.is_empty() {
            break;
        }
        step(engine, &mut active, &mut logits, &mut scratch, on_token);
    }
    tasks.into_iter().map(Task::into_outcome).collect()
}

/// One step of several tasks in one pass; a refusal in it is laid at the door of its task.
fn step(
    engine: &Engine,
    tasks: &mut [&mut Task<'_>],
    logits: &mut Vec<Vec<i32>>,
    scratch: &mut SamplerScratch,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) {
    let tokens: Vec<u32> = tasks.iter().map(|task| task.last_token()).collect();
    let mut sequences: Vec<&mut Sequence> =
        tasks.iter_mut().map(|task| &mut task.sequence).collect();
    match engine.step(&mut sequences, &tokens, logits) {
        Ok(()) => {
            for (task, logits) in tasks.iter_mut().zip(logits.iter()) {
                task.draw(engine, logits, scratch, on_token);
            }
        }
        Err(error) => match tasks {
            [task] => task.end = Some(Err(error)),
            tasks => {
                for task in tasks {
                    step(engine, &mut [task], logits, scratch, on_token);
                }
            }
        },
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

/// One request on its way.
struct Task<'a> {
    index: usize,
    request: &'a GenerateRequest,
    key: SamplerKey,
    sequence: Sequence,
    output: Vec<u32>,
    end: Option<Result<FinishReason, EngineError>>,
}

impl<'a> Task<'a> {
    fn new(engine: &Engine, index: usize, request: &'a GenerateRequest) -> Self {
        let key = SamplerKey::from_seed(&request.seed);
        Self { index, request, key, sequence: engine.sequence(), output: vec![], end: None }
    }

    /// Computes the input and draws the first token.
    fn begin(
        &mut self,
        engine: &Engine,
        logits: &mut Vec<Vec<i32>>,
        scratch: &mut SamplerScratch,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) {
        let GenerateRequest { input, parameters, chunk_len, .. } = self.request;
        let begun = appraise(engine, input, parameters)
            .and_then(|()| engine.prefill(&mut self.sequence, input, *chunk_len, logits));
        match (begun, logits.first()) {
            (Ok(()), Some(logits)) => self.draw(engine, logits, scratch, on_token),
            (Ok(()), None) => self.end = Some(Err(EngineError::EmptyInput)),
            (Err(error), _) => self.end = Some(Err(error)),
        }
    }

    fn draw(
        &mut self,
        engine: &Engine,
        logits: &[i32],
        scratch: &mut SamplerScratch,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) {
        let parameters = &self.request.parameters;
        let configuration = engine.model().configuration();
        let position = position(self.request.input.len() + self.output.len());
        let bits = configuration.logit_bits;
        match sampler::sample(
            logits,
            bits,
            parameters,
            &Adjustments::NONE,
            self.key,
            position,
            scratch,
        ) {
            Err(error) => self.end = Some(Err(error.into())),
            Ok(token) => {
                self.output.push(token);
                let flow = on_token(self.index, token);
                let input_len = self.request.input.len();
                let end = end_of(parameters, input_len, &self.output, configuration.context);
                let end = end.or(flow.is_break().then_some(FinishReason::Cancelled));
                self.end = end.map(Ok);
            }
        }
    }

    fn last_token(&self) -> u32 {
        self.output.last().copied().unwrap_or_default()
    }

    fn into_outcome(self) -> Result<Generated, EngineError> {
        // A task leaves the loop only with an end.
        let finish = self.end.unwrap_or(Ok(FinishReason::Cancelled))?;
        Ok(Generated { output: self.output, finish })
    }
}

/// A position within a context, whose limit is far below 2^32.
pub(crate) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
