//! From what is asked for to what is computed: the effective input and every parameter.
//!
//! A function of the request, the model and the node's stated limit, so that a replay can derive
//! the same again. What the node adds is declared as an adjustment.

use std::fmt;

use tally_core::{
    Digest,
    computation::{SamplingParameters, TokenId},
    receipt::{Adjustment, Preparation},
};
use tally_engine::{
    Language, Model,
    language::LanguageError,
    template::{ChatOptions, Message, Role, ToolCall},
};

use crate::api::{
    asked::{Asked, Form},
    chat::{ChatMessage, ChatRole},
    completion::OnePrompt,
    error::ApiError,
};

/// What a node declares that limits an answer whose request names no limit.
pub const LIMITED: &str = "max_tokens, this node's limit";

/// What is computed for a request.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One for each choice, in order.
    pub tasks: Vec<PlannedTask>,
    /// How the inputs came from the request.
    pub preparation: Preparation,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
}

/// What is computed for one choice.
#[derive(Clone, Debug)]
pub struct PlannedTask {
    /// The effective input.
    pub input: Vec<TokenId>,
    /// How tokens are drawn.
    pub parameters: SamplingParameters,
}

/// Why an admitted request has no answer: what its client is told, and the receipt's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code in the refusal receipt.
    pub code: &'static str,
    /// What the client is told.
    pub error: ApiError,
}

impl Refused {
    /// A refusal that is the request's fault.
    #[must_use]
    pub fn invalid(code: &'static str, param: &str, message: String) -> Self {
        Self { code, error: ApiError { code, ..ApiError::invalid(param, message) } }
    }
}

/// Plans a request. `output_tokens_max` is the node's own limit on an answer.
///
/// # Errors
/// What the template refuses, a text that cannot be encoded, and an input that fills the context.
pub fn plan(
    asked: &Asked,
    model: &Model,
    language: &Language,
    output_tokens_max: u32,
) -> Result<Plan, Refused> {
    if model.configuration().pooling.is_some() {
        let text = format!("`{}` is a sentence encoder: it makes embeddings alone", asked.model);
        return Err(Refused::invalid("model/encoder", "model", text));
    }
    let mut adjustments = vec![];
    let (inputs, template) = match &asked.form {
        Form::Chat { messages, calls } => {
            let tools = calls.as_ref().map(|calls| calls.tools.clone()).unwrap_or_default();
            let messages = messages_of(messages)?;
            let input = language
                .encode_chat(&messages, &ChatOptions { tools })
                .map_err(|error| refused_language(&error, "messages"))?;
            (vec![input], Some(Digest::of_content(model.template().as_bytes())))
        }
        Form::Completion { prompts } => {
            let begin = model.configuration().begin_token;
            if begin.is_some() {
                adjustments.push(added("the model's begin token, before each text"));
            }
            let inputs = prompts.iter().map(|prompt| encode(prompt, model, language));
            (inputs.collect::<Result<_, _>>()?, None)
        }
    };
    let context = model.context_len();
    let mut tasks = vec![];
    let mut is_limited = false;
    for input in &inputs {
        let room = room_for(input, context, &asked.form)?;
        let max_tokens = match asked.sampling.max_tokens {
            Some(wanted) if wanted > output_tokens_max => {
                let text = format!("`max_tokens` is {wanted}, this node gives {output_tokens_max}");
                return Err(Refused::invalid("limit/max-tokens", "max_tokens", text));
            }
            Some(wanted) => wanted,
            None => {
                is_limited |= room > output_tokens_max;
                room.min(output_tokens_max)
            }
        };
        for _ in 0..asked.per_prompt {
            let choice = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
            let parameters = parameters(asked, language, max_tokens, choice);
            tasks.push(PlannedTask { input: input.clone(), parameters });
        }
    }
    if is_limited {
        adjustments.push(added(LIMITED));
    }
    let tokenizer = Digest::of_content(model.tokenizer());
    let prompt_tokens = inputs.iter().map(|input| input.len() as u64).sum();
    Ok(Plan { tasks, preparation: Preparation { tokenizer, template, adjustments }, prompt_tokens })
}

/// The sampling parameters of one choice.
fn parameters(
    asked: &Asked,
    language: &Language,
    max_tokens: u32,
    choice: u32,
) -> SamplingParameters {
    let sampling = &asked.sampling;
    SamplingParameters {
        max_tokens,
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        stop_tokens: language.stop_tokens().to_vec(),
        choice,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
    }
}

/// Tokens that may still follow an input.
fn room_for(input: &[TokenId], context: u32, form: &Form) -> Result<u32, Refused> {
    let name = match form {
        Form::Chat { .. } => "messages",
        Form::Completion { .. } => "prompt",
    };
    let found = u32::try_from(input.len()).unwrap_or(u32::MAX);
    if found == 0 {
        let text = format!("`{name}` yields no token");
        return Err(Refused::invalid("input/empty", name, text));
    }
    match context.checked_sub(found) {
        Some(room) if room > 0 => Ok(room),
        _ => {
            let text = format!("`{name}` has {found} tokens, the model's context has {context}");
            Err(Refused::invalid("context/length", name, text))
        }
    }
}

fn encode(prompt: &OnePrompt, model: &Model, language: &Language) -> Result<Vec<TokenId>, Refused> {
    match prompt {
        OnePrompt::Text(text) => {
            language.encode_prompt(text).map_err(|error| refused_language(&error, "prompt"))
        }
        OnePrompt::Tokens(tokens) => {
            let count = model.configuration().vocabulary;
            match tokens.iter().find(|token| **token >= count) {
                None => Ok(tokens.clone()),
                Some(token) => {
                    let text = format!("token id {token} is not below {count}");
                    Err(Refused::invalid("input/token", "prompt", text))
                }
            }
        }
    }
}

/// The messages as the template gets them.
///
/// # Errors
/// Fields that a message of its role does not have.
pub fn messages_of(messages: &[ChatMessage]) -> Result<Vec<Message>, Refused> {
    messages.iter().enumerate().map(|(index, message)| message_of(index, message)).collect()
}

fn message_of(index: usize, message: &ChatMessage) -> Result<Message, Refused> {
    let refused = |field: &str, text: &str| {
        let place = format!("messages[{index}].{field}");
        Err(Refused::invalid("messages/form", &place, format!("`{place}`: {text}")))
    };
    let role = match message.role {
        ChatRole::System | ChatRole::Developer => Role::System,
        ChatRole::User => Role::User,
        ChatRole::Assistant => Role::Assistant,
        ChatRole::Tool => Role::Tool,
    };
    let calls = message.tool_calls.as_deref().unwrap_or_default();
    if role != Role::Assistant && message.tool_calls.is_some() {
        return refused("tool_calls", "only an assistant calls functions");
    }
    if role != Role::Tool && message.tool_call_id.is_some() {
        return refused("tool_call_id", "only a tool's message answers a call");
    }
    if role != Role::Tool && message.name.is_some() {
        return refused("name", "only a tool's message has a name");
    }
    if message.content.is_none() && calls.is_empty() {
        return refused("content", "it is missing");
    }
    let calls = calls.iter().map(|call| ToolCall {
        id: call.id.clone(),
        name: call.function.name.clone(),
        arguments: call.function.arguments.clone(),
    });
    Ok(Message {
        role,
        content: message.content.as_ref().map(|content| content.text()).unwrap_or_default(),
        tool_calls: calls.collect(),
        tool_call_id: message.tool_call_id.clone(),
        name: message.name.clone(),
    })
}

/// A refusal of controls, laid at the door of what asked for them.
pub fn refused_controls(error: &dyn fmt::Display, asked: &Asked) -> Refused {
    let name = match &asked.form {
        Form::Chat { calls: Some(_), .. } => "tools",
        _ => "response_format",
    };
    Refused::invalid("grammar/refused", name, format!("`{name}`: {error}"))
}

/// A refusal of tokenizer or template, laid at the door of a parameter.
pub fn refused_language(error: &LanguageError, param: &str) -> Refused {
    Refused::invalid("input/refused", param, format!("`{param}`: {error}"))
}

/// The 32 bytes of a client's seed: the number, big-endian, after zeros.
#[must_use]
pub fn seed_of(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&seed.to_be_bytes());
    bytes
}

fn added(what: &str) -> Adjustment {
    Adjustment::Added(what.to_owned())
}
