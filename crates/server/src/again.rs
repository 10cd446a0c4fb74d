//! What surrounds the integers of an answer, derived again: its input from the request, its response
//! from the tokens. Whoever replays a receipt compares both with what the receipt opens.

use std::sync::Arc;

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

mod members;
mod several;
#[cfg(test)]
mod tests;

use members::Members;

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

    /// What a response has to do with the output tokens: it may be their text alone, or an answer of
    /// this API.
    ///
    /// `logprobs` are those of the output tokens, if the request wants any.
    ///
    /// # Errors
    /// A token that the model does not have.
    pub fn compare_response(
        &self,
        response: &[u8],
        statement: &Statement,
        computation: &Computation,
        logprobs: &[TokenLogprobs],
    ) -> Result<ResponseMatch, AgainError> {
        let stops = &computation.controls.stop;
        let text = self.language.decode_until(&computation.output, stops)?;
        if response == text.as_bytes() {
            return Ok(ResponseMatch::Whole);
        }
        let count = self.planned.tasks.len();
        // The whole answer has the id of its first choice's receipt.
        let id = if self.choice == 0 { Some(statement.id) } else { id_of(response) };
        let Some(id) = id else { return Ok(ResponseMatch::Differs) };
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
        if count == 1 {
            return Ok(match made == response {
                true => ResponseMatch::Whole,
                false => ResponseMatch::Differs,
            });
        }
        let is_own = match self.asked.stream {
            None => several::is_body(response, &made, self.choice, count),
            Some(_) => several::are_events(response, &made, self.choice, count),
        };
        Ok(match is_own {
            Some(true) => ResponseMatch::OwnChoice,
            _ => ResponseMatch::Differs,
        })
    }
}

/// What a response has to do with a receipt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMatch {
    /// It is what the output tokens say, and nothing else.
    Whole,
    /// It is an answer with several choices; what it says of the receipt's own is what the output
    /// tokens say, and what it says of the others their receipts tell.
    OwnChoice,
    /// It says something else.
    Differs,
}

/// The receipt id in the id of an answer, or of the first event of a stream.
fn id_of(response: &[u8]) -> Option<[u8; 16]> {
    let first = std::str::from_utf8(response.split(|byte| *byte == b'\n').next()?).ok()?;
    let id: String = serde_json::from_str(Members::parse(first)?.get("id")?).ok()?;
    hex::decode(id.split_once('-')?.1).ok()?.try_into().ok()
}
