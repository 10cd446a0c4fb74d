//! What surrounds the integers of an answer, derived again: its input from the request, its response
//! from the tokens. Whoever replays a receipt compares both with what the receipt opens.

use std::sync::Arc;

use serde_json::Value;
use tally_core::{
    computation::Computation,
    receipt::{Adjustment, Answer, Kind, Statement},
};
use tally_engine::{Language, Model, batch::TokenLogprobs, language::LanguageError};
use thiserror::Error;

use crate::{
    api::{asked::Asked, error::ApiError},
    plan::{LIMITED, Refused, plan, seed_of},
    respond::{Frame, Responder},
};

#[cfg(test)]
mod tests;

/// Why nothing can be derived.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgainError {
    /// The request is none that this release understands.
    #[error("the request is refused: {}", .0.message)]
    Request(ApiError),
    /// The request has no such choice.
    #[error("the request has {choices} answers, the receipt is of answer {choice}")]
    Choice {
        /// The receipt's choice.
        choice: u32,
        /// How many answers the request asks for.
        choices: usize,
    },
    /// A token that the model does not have.
    #[error(transparent)]
    Language(#[from] LanguageError),
}

/// A request, understood anew.
#[derive(Debug)]
pub struct Again {
    asked: Arc<Asked>,
    language: Arc<Language>,
    planned: crate::plan::Plan,
    choice: u32,
}

impl Again {
    /// Plans the opened request of a chat or completion anew.
    ///
    /// # Errors
    /// A request that is refused, or that has no such choice as the receipt states.
    pub fn plan(
        kind: Kind,
        request: &[u8],
        model: &Model,
        language: Arc<Language>,
        computation: &Computation,
    ) -> Result<Self, AgainError> {
        let asked = match kind {
            Kind::Completion => Asked::parse_completion(request),
            _ => Asked::parse_chat(request),
        };
        let asked = asked.map_err(AgainError::Request)?;
        let planned = plan(&asked, model, &language, u32::MAX)
            .map_err(|Refused { error, .. }| AgainError::Request(error))?;
        let choice = computation.parameters.choice;
        if planned.tasks.len() <= choice as usize {
            return Err(AgainError::Choice { choice, choices: planned.tasks.len() });
        }
        Ok(Self { asked: Arc::new(asked), language, planned, choice })
    }

    /// How many alternatives the request wants with each token's log-probability.
    #[must_use]
    pub fn logprobs(&self) -> Option<u8> {
        self.asked.logprobs
    }

    /// Whether the input is what template and tokenizer make of the request.
    #[must_use]
    pub fn is_input(&self, computation: &Computation) -> bool {
        self.planned.tasks[self.choice as usize].input == computation.input
    }

    /// Whether parameters, controls and seed are what the request asks for, and a model that it
    /// names by its root is the one that computed.
    #[must_use]
    pub fn is_asked_for(&self, computation: &Computation) -> bool {
        let mut parameters = self.planned.tasks[self.choice as usize].parameters.clone();
        if self.asked.sampling.max_tokens.is_none() {
            // A node may have a limit of its own, which it then declares.
            let own = computation.parameters.max_tokens;
            parameters.max_tokens = parameters.max_tokens.min(own);
        }
        let named = tally_core::Digest::parse_hex(&self.asked.model);
        computation.parameters == parameters
            && computation.controls == self.asked.controls
            && named.is_none_or(|root| root == computation.model_root)
            && self.asked.seed.is_none_or(|seed| seed_of(seed) == computation.seed)
    }

    /// Whether the node declares what it added to the request, and nothing else.
    #[must_use]
    pub fn is_declared(&self, answer: &Answer, computation: &Computation) -> bool {
        let planned = &self.planned.tasks[self.choice as usize];
        let is_limited = self.asked.sampling.max_tokens.is_none()
            && computation.parameters.max_tokens < planned.parameters.max_tokens;
        let limited = is_limited.then(|| Adjustment::Added(LIMITED.to_owned()));
        let own = &self.planned.preparation.adjustments;
        let (mut expected, mut others) = (own.clone(), own.clone());
        expected.extend(limited);
        // With several prompts another choice may have been limited where this one was not.
        others.push(Adjustment::Added(LIMITED.to_owned()));
        let stated = &answer.preparation.adjustments;
        *stated == expected || (self.planned.tasks.len() > 1 && *stated == others)
    }

    /// Whether a response is what the output tokens make: the text alone, or an answer of this API.
    ///
    /// Of an answer with several choices, only the receipt's own is compared. `logprobs` are those of
    /// the output tokens, if the request wants any.
    ///
    /// # Errors
    /// A token that the model does not have.
    pub fn is_response(
        &self,
        response: &[u8],
        statement: &Statement,
        computation: &Computation,
        logprobs: &[TokenLogprobs],
    ) -> Result<bool, AgainError> {
        let stops = &computation.controls.stop;
        let text = self.language.decode_until(&computation.output, stops)?;
        if response == text.as_bytes() {
            return Ok(true);
        }
        let is_only = self.planned.tasks.len() == 1;
        let id = if is_only { Some(statement.id) } else { id_of(response) };
        let Some(id) = id else { return Ok(false) };
        let frame = Frame {
            id,
            time_ms: statement.time_ms,
            model_root: computation.model_root,
            prompt_tokens: self.planned.prompt_tokens,
        };
        let (asked, language) = (Arc::clone(&self.asked), Arc::clone(&self.language));
        let mut responder = Responder::new(asked, language, &frame);
        let mut lines = vec![];
        lines.extend(responder.open().into_iter().nth(self.choice as usize));
        for (index, token) in computation.output.iter().enumerate() {
            lines.push(responder.push(self.choice, *token, logprobs.get(index))?);
        }
        lines.push(responder.finish(self.choice, computation.finish));
        let made = match self.asked.stream {
            None => responder.body(),
            Some(_) => {
                lines.extend(responder.usage_event());
                lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
            }
        };
        if is_only {
            return Ok(made == response);
        }
        let own = |bytes: &[u8]| choices_of(bytes, self.choice);
        Ok(own(&made).is_some_and(|made| !made.is_empty() && Some(made) == own(response)))
    }
}

/// The receipt id in the id of an answer, or of the first event of a stream.
fn id_of(response: &[u8]) -> Option<[u8; 16]> {
    let first = response.split(|byte| *byte == b'\n').next()?;
    let value: Value = serde_json::from_slice(first).ok()?;
    let (_, id) = value.get("id")?.as_str()?.split_once('-')?;
    hex::decode(id).ok()?.try_into().ok()
}

/// What an answer, or the events of a stream, say of one choice.
fn choices_of(response: &[u8], choice: u32) -> Option<Vec<Value>> {
    let mut found = vec![];
    for line in response.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut value: Value = serde_json::from_slice(line).ok()?;
        let choices = value.get_mut("choices")?.as_array_mut()?;
        let own = |each: &Value| each.get("index").and_then(Value::as_u64) == Some(choice.into());
        found.extend(choices.drain(..).filter(own));
    }
    Some(found)
}
