//! What a request asks for, once its fields are in range: the same for chats and completions.
//!
//! A function of the body alone, so that whoever replays a receipt arrives at the same.

use tally_core::computation::{Controls, Grammar, Micro, SignedMicro, TEMPERATURE_MAX};

use super::{
    chat::{ChatMessage, ChatRequest, FormatType, ResponseFormat, StreamOptions},
    completion::{CompletionRequest, OnePrompt},
    error::ApiError,
    parse::{Biases, Decimal, OneOrMany, parse},
};
use crate::tools::{self, Calls};

/// Most answers to one request.
pub const CHOICES_MAX: u32 = 128;
/// Most texts that end an output.
pub const STOPS_MAX: usize = 16;
/// Most bytes of one of them.
pub const STOP_BYTES_MAX: usize = 256;
/// Most biases.
pub const BIASES_MAX: usize = 1024;
/// Most alternatives to each token of a chat.
pub const TOP_LOGPROBS_MAX: u8 = 20;
/// Most alternatives to each token of a completion.
pub const COMPLETION_LOGPROBS_MAX: u8 = 5;
/// Tokens of a completion that says nothing of them, as everywhere in this API.
const COMPLETION_TOKENS: u32 = 16;
/// Largest penalty: 2.000000.
const PENALTY_MAX: Micro = Micro::from_millionths(2_000_000);
/// Largest bias: 100.000000.
const BIAS_MAX: Micro = Micro::from_millionths(100_000_000);

/// A request for tokens.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The model as it is called.
    pub model: String,
    /// What is to be continued.
    pub form: Form,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Stop strings, biases and grammar.
    pub controls: Controls,
    /// The client's seed.
    pub seed: Option<u64>,
    /// How many answers to each prompt.
    pub per_prompt: u32,
    /// How many alternatives come with each token's log-probability, if it is wanted.
    pub logprobs: Option<u8>,
    /// Whether, and how, the answer is streamed.
    pub stream: Option<StreamForm>,
}

/// What is to be continued.
#[derive(Clone, Debug)]
pub enum Form {
    /// A conversation.
    Chat {
        /// The messages.
        messages: Vec<ChatMessage>,
        /// The functions that the model may call.
        calls: Option<Calls>,
    },
    /// Texts.
    Completion {
        /// The prompts; at least one.
        prompts: Vec<OnePrompt>,
    },
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Most tokens of an answer; what the context leaves if nothing is said.
    pub max_tokens: Option<u32>,
    /// Temperature.
    pub temperature: Micro,
    /// Top-p.
    pub top_p: Micro,
    /// Top-k.
    pub top_k: u32,
    /// Presence penalty.
    pub presence_penalty: SignedMicro,
    /// Frequency penalty.
    pub frequency_penalty: SignedMicro,
}

/// How an answer is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamForm {
    /// Whether a last event says how many tokens there were.
    pub includes_usage: bool,
}

impl Asked {
    /// Parses the body of a chat completion.
    ///
    /// # Errors
    /// A field that is unknown, missing, of another type or out of range: each by its name.
    pub fn parse_chat(body: &[u8]) -> Result<Self, ApiError> {
        let request: ChatRequest = parse(body)?;
        let max_tokens = match (request.max_tokens, request.max_completion_tokens) {
            (Some(_), Some(_)) => {
                let text = "`max_tokens` and `max_completion_tokens` are the same: give one";
                return Err(ApiError::invalid("max_tokens", text));
            }
            (older, newer) => older.or(newer),
        };
        let grammar = grammar_of(request.response_format.as_ref())?;
        let wants_form = grammar.is_some();
        let calls = Calls::of(&request)?;
        if wants_form && calls.is_some() {
            let text = "`response_format` goes with `tool_choice` `none` alone";
            return Err(ApiError::unsupported("response_format", text));
        }
        let grammar = match &calls {
            Some(calls) => calls.grammar(),
            None => grammar,
        };
        let logprobs = match (request.logprobs.unwrap_or_default(), request.top_logprobs) {
            (false, None | Some(0)) => None,
            (false, Some(_)) => {
                let text = "`top_logprobs` needs `logprobs`";
                return Err(ApiError::invalid("top_logprobs", text));
            }
            (true, top) => Some(count_of("top_logprobs", top.unwrap_or(0), TOP_LOGPROBS_MAX)?),
        };
        Ok(Self {
            sampling: Sampling {
                max_tokens: tokens_of(max_tokens)?,
                temperature: temperature_of(request.temperature)?,
                top_p: top_p_of(request.top_p)?,
                top_k: request.top_k.unwrap_or_default(),
                presence_penalty: penalty_of("presence_penalty", request.presence_penalty)?,
                frequency_penalty: penalty_of("frequency_penalty", request.frequency_penalty)?,
            },
            controls: Controls {
                stop: stops_of(request.stop.as_ref())?,
                bias: biases_of(request.logit_bias)?,
                grammar,
            },
            seed: request.seed,
            per_prompt: choices_of(request.n)?,
            logprobs,
            stream: stream_of(request.stream, request.stream_options)?,
            model: request.model,
            form: Form::Chat { messages: request.messages, calls },
        })
    }

    /// Parses the body of a plain completion.
    ///
    /// # Errors
    /// As [`parse_chat`](Self::parse_chat).
    pub fn parse_completion(body: &[u8]) -> Result<Self, ApiError> {
        let request: CompletionRequest = parse(body)?;
        let per_prompt = choices_of(request.n)?;
        let prompts = request.prompt.all();
        let choices = u32::try_from(prompts.len()).unwrap_or(u32::MAX).saturating_mul(per_prompt);
        if !(1..=CHOICES_MAX).contains(&choices) {
            let text = format!("{choices} answers are asked for, expected 1 to {CHOICES_MAX}");
            return Err(ApiError::invalid("prompt", text));
        }
        let top = |top| count_of("logprobs", top, COMPLETION_LOGPROBS_MAX);
        Ok(Self {
            sampling: Sampling {
                max_tokens: tokens_of(Some(request.max_tokens.unwrap_or(COMPLETION_TOKENS)))?,
                temperature: temperature_of(request.temperature)?,
                top_p: top_p_of(request.top_p)?,
                top_k: request.top_k.unwrap_or_default(),
                presence_penalty: penalty_of("presence_penalty", request.presence_penalty)?,
                frequency_penalty: penalty_of("frequency_penalty", request.frequency_penalty)?,
            },
            controls: Controls {
                stop: stops_of(request.stop.as_ref())?,
                bias: biases_of(request.logit_bias)?,
                grammar: grammar_of(request.response_format.as_ref())?,
            },
            seed: request.seed,
            per_prompt,
            logprobs: request.logprobs.map(top).transpose()?,
            stream: stream_of(request.stream, request.stream_options)?,
            model: request.model,
            form: Form::Completion { prompts },
        })
    }

    /// How many answers there are to all prompts.
    #[must_use]
    pub fn choices(&self) -> u32 {
        let prompts = match &self.form {
            Form::Chat { .. } => 1,
            Form::Completion { prompts } => u32::try_from(prompts.len()).unwrap_or(CHOICES_MAX),
        };
        prompts * self.per_prompt
    }
}

fn tokens_of(found: Option<u32>) -> Result<Option<u32>, ApiError> {
    let maximum = tally_core::computation::TOKENS_MAX;
    match found {
        Some(found) if !(1..=maximum).contains(&u64::from(found)) => {
            let text = format!("`max_tokens` is {found}, expected 1 to {maximum}");
            Err(ApiError::invalid("max_tokens", text))
        }
        found => Ok(found),
    }
}

fn temperature_of(found: Option<Decimal>) -> Result<Micro, ApiError> {
    found.map_or(Ok(Micro::ONE), |found| found.up_to("temperature", TEMPERATURE_MAX))
}

fn top_p_of(found: Option<Decimal>) -> Result<Micro, ApiError> {
    found.map_or(Ok(Micro::ONE), |found| found.up_to("top_p", Micro::ONE))
}

fn penalty_of(name: &'static str, found: Option<Decimal>) -> Result<SignedMicro, ApiError> {
    found.map_or(Ok(SignedMicro::ZERO), |found| found.within(name, PENALTY_MAX))
}

fn count_of(name: &'static str, found: u8, maximum: u8) -> Result<u8, ApiError> {
    if found <= maximum {
        return Ok(found);
    }
    Err(ApiError::invalid(name, format!("`{name}` is {found}, expected 0 to {maximum}")))
}

fn choices_of(found: Option<u32>) -> Result<u32, ApiError> {
    let found = found.unwrap_or(1);
    if (1..=CHOICES_MAX).contains(&found) {
        return Ok(found);
    }
    Err(ApiError::invalid("n", format!("`n` is {found}, expected 1 to {CHOICES_MAX}")))
}

fn stops_of(found: Option<&OneOrMany<String>>) -> Result<Vec<String>, ApiError> {
    let stops = found.map(OneOrMany::to_vec).unwrap_or_default();
    if stops.len() > STOPS_MAX {
        let text = format!("`stop` has {} texts, expected at most {STOPS_MAX}", stops.len());
        return Err(ApiError::invalid("stop", text));
    }
    for (index, stop) in stops.iter().enumerate() {
        if !(1..=STOP_BYTES_MAX).contains(&stop.len()) {
            let size = stop.len();
            let text = format!("`stop[{index}]` has {size} bytes, expected 1 to {STOP_BYTES_MAX}");
            return Err(ApiError::invalid(format!("stop[{index}]"), text));
        }
    }
    Ok(stops)
}

fn biases_of(found: Option<Biases>) -> Result<Vec<(u32, SignedMicro)>, ApiError> {
    let Biases(pairs) = found.unwrap_or_default();
    if pairs.len() > BIASES_MAX {
        let text =
            format!("`logit_bias` has {} tokens, expected at most {BIASES_MAX}", pairs.len());
        return Err(ApiError::invalid("logit_bias", text));
    }
    let name = |token: u32| format!("logit_bias.{token}");
    pairs
        .into_iter()
        .map(|(token, bias)| Ok((token, bias.within(&name(token), BIAS_MAX)?)))
        .collect()
}

fn stream_of(
    stream: Option<bool>,
    options: Option<StreamOptions>,
) -> Result<Option<StreamForm>, ApiError> {
    match (stream.unwrap_or_default(), options) {
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(ApiError::invalid("stream_options", "`stream_options` needs `stream`"))
        }
        (true, options) => {
            let includes_usage = options.unwrap_or_default().include_usage.unwrap_or_default();
            Ok(Some(StreamForm { includes_usage }))
        }
    }
}

fn grammar_of(format: Option<&ResponseFormat>) -> Result<Option<Grammar>, ApiError> {
    let Some(format) = format else { return Ok(None) };
    match (format.r#type, &format.json_schema) {
        (FormatType::Text, None) => Ok(None),
        (FormatType::JsonObject, None) => Ok(Some(tools::schema_grammar(r#"{"type":"object"}"#))),
        (FormatType::JsonSchema, Some(wanted)) if wanted.strict == Some(false) => {
            let text = "an answer always has the schema here: leave `strict` out or say `true`";
            Err(ApiError::unsupported("response_format.json_schema.strict", text))
        }
        (FormatType::JsonSchema, Some(wanted)) => {
            Ok(Some(tools::schema_grammar(wanted.schema.get())))
        }
        (FormatType::JsonSchema, None) => {
            let name = "response_format.json_schema";
            Err(ApiError::invalid(name, format!("`{name}` is missing")))
        }
        (FormatType::Text | FormatType::JsonObject, Some(_)) => {
            let name = "response_format.json_schema";
            Err(ApiError::invalid(name, "only the type `json_schema` has a schema"))
        }
    }
}
