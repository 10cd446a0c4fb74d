//! Computes a stated inference again and compares: equal tokens or the first that differs.
//!
//! A token is a function of the logits, the seed and its position, and the logits are a function
//! of the tokens before. So the stated output is fed back in chunks, and each of its tokens is
//! compared with the one drawn: the same answer as generating anew, at the speed of a prompt. What a
//! grammar allows is computed again too, token by token.

use thiserror::Error;

use tally_core::Digest;
use tally_core::computation::{Computation, FinishReason};
use tally_core::philox::SamplerKey;

use crate::error::EngineError;
use crate::generate::{CHUNK_LEN, appraise, end_of, position};
use crate::language::{Language, LanguageError};
use crate::sampler::{self, SamplerScratch};
use crate::session::{Engine, Span, Wanted};
use crate::steering::Steering;

#[cfg(test)]
mod tests;

/// Why a stated inference is not what this engine computes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayMismatch {
    /// Another arithmetic.
    #[error("the computation is in arithmetic {found}, this engine computes {expected}")]
    Arithmetic {
        /// This engine's arithmetic.
        expected: &'static str,
        /// The computation's.
        found: String,
    },
    /// Another model.
    #[error("the computation is of model {found}, the model at hand is {expected}")]
    ModelRoot {
        /// Root of the model at hand.
        expected: Digest,
        /// Root that the computation states.
        found: Digest,
    },
    /// An output without tokens: there is nothing to compute again.
    #[error("the output has no tokens")]
    EmptyOutput,
    /// More output tokens than parameters and context allow.
    #[error("the output has {found} tokens, parameters and context allow {limit}")]
    Length {
        /// The most that is possible.
        limit: u64,
        /// How many are stated.
        found: u64,
    },
    /// Output goes on after a stop token.
    #[error("output token {index} is the stop token {token}, yet the output goes on")]
    AfterStop {
        /// Index in the output.
        index: u32,
        /// The stop token.
        token: u32,
    },
    /// Output goes on after a stop string.
    #[error("output token {index} completes a stop string, yet the output goes on")]
    AfterStopString {
        /// Index in the output.
        index: u32,
    },
    /// The first token that differs.
    #[error("output token {index} is {found}, the computation yields {expected}")]
    Token {
        /// Index in the output.
        index: u32,
        /// The token computed.
        expected: u32,
        /// The token stated.
        found: u32,
    },
    /// All tokens are equal and yet the output ends for another reason.
    #[error("the output ends by {expected}, the computation states {found}")]
    Finish {
        /// The reason that follows from the output; `cancelled` where none does.
        expected: FinishReason,
        /// The reason stated.
        found: FinishReason,
    },
    /// The engine refused the stated input or parameters.
    #[error("the computation cannot be carried out: {0}")]
    Engine(#[from] EngineError),
}

/// Computes `computation` again; `on_progress` gets the tokens computed and their total.
///
/// `language` is that of the engine's model; stop strings and grammars are read by it.
///
/// That a client went away cannot be computed: `cancelled` is accepted where nothing else ends the
/// output.
///
/// # Errors
/// The first difference, in the order of [`ReplayMismatch`]'s variants for what needs no model.
pub fn replay(
    engine: &Engine,
    language: &Language,
    computation: &Computation,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<(), ReplayMismatch> {
    appraise_statement(engine, language, computation)?;
    let Computation { input, output, parameters, controls, seed, .. } = computation;
    let mut steering = Steering::new(language, controls).map_err(EngineError::from)?;
    let configuration = engine.model().configuration();
    let key = SamplerKey::from_seed(seed);
    let text: Vec<u32> = input.iter().chain(output).copied().collect();
    // The last token's logits decide nothing, and the first ones' only what the input says.
    let fed = &text[..text.len() - 1];
    let (mut sequence, mut logits) = (engine.sequence(), vec![]);
    let mut scratch = SamplerScratch::default();
    let (prompt, rest) = fed.split_at(input.len() - 1);
    for tokens in prompt.chunks(CHUNK_LEN) {
        let span = Span { sequence: &mut sequence, tokens, wanted: Wanted::Nothing };
        engine.extend(&mut [span], &mut logits)?;
        on_progress(sequence.len(), fed.len());
    }
    for tokens in rest.chunks(CHUNK_LEN) {
        let first = sequence.len() + 1;
        let span = Span { sequence: &mut sequence, tokens, wanted: Wanted::All };
        engine.extend(&mut [span], &mut logits)?;
        for (at, logits) in (first..).zip(&logits) {
            let bits = configuration.logit_bits;
            let own = steering.adjustments(controls).map_err(EngineError::from)?;
            let place = position(at);
            let drawn = sampler::sample(logits, bits, parameters, &own, key, place, &mut scratch);
            let expected = drawn.map_err(EngineError::from)?;
            if expected != text[at] {
                let index = position(at - input.len());
                return Err(ReplayMismatch::Token { index, expected, found: text[at] });
            }
            steering.accept(expected).map_err(EngineError::from)?;
        }
        on_progress(sequence.len(), fed.len());
    }
    Ok(())
}

/// Everything that can be compared without computing.
fn appraise_statement(
    engine: &Engine,
    language: &Language,
    computation: &Computation,
) -> Result<(), ReplayMismatch> {
    if computation.arithmetic != crate::ARITHMETIC {
        let found = computation.arithmetic.clone();
        return Err(ReplayMismatch::Arithmetic { expected: crate::ARITHMETIC, found });
    }
    let (expected, found) = (engine.model().root(), computation.model_root);
    if found != expected {
        return Err(ReplayMismatch::ModelRoot { expected, found });
    }
    let Computation { input, output, parameters, .. } = computation;
    appraise(engine, input, parameters)?;
    if output.is_empty() {
        return Err(ReplayMismatch::EmptyOutput);
    }
    let context = engine.model().context_len();
    let room = u64::from(context) - input.len() as u64;
    let (limit, found) = (room.min(parameters.max_tokens.into()), output.len() as u64);
    if found > limit {
        return Err(ReplayMismatch::Length { limit, found });
    }
    let inner = &output[..output.len() - 1];
    if let Some(at) = inner.iter().position(|token| parameters.stop_tokens.contains(token)) {
        return Err(ReplayMismatch::AfterStop { index: position(at), token: inner[at] });
    }
    let stopped_at = stopped_at(language, computation).map_err(EngineError::from)?;
    if let Some(at) = stopped_at.filter(|at| at + 1 < output.len()) {
        return Err(ReplayMismatch::AfterStopString { index: position(at) });
    }
    let end = match end_of(parameters, input.len(), output, context) {
        Some(FinishReason::Stop) => Some(FinishReason::Stop),
        _ if stopped_at.is_some() => Some(FinishReason::StopString),
        end => end,
    };
    let (expected, found) = (end.unwrap_or(FinishReason::Cancelled), computation.finish);
    if found != expected {
        return Err(ReplayMismatch::Finish { expected, found });
    }
    Ok(())
}

/// The index of the first output token after which the output contains a stop string.
fn stopped_at(
    language: &Language,
    computation: &Computation,
) -> Result<Option<usize>, LanguageError> {
    let stops = &computation.controls.stop;
    if stops.is_empty() {
        return Ok(None);
    }
    let mut stream = language.stream(stops);
    for (at, token) in computation.output.iter().enumerate() {
        if stream.push(*token)?.is_stopped {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
