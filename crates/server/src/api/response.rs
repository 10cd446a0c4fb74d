//! The shapes of answers, as OpenAI's clients expect them.
//!
//! None of these holds a `tally` member: it is added to the finished bytes, which a receipt
//! commits to as they are here.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{PartialSchema, ToSchema};

/// The `tally` member of an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiptObject {
    /// The receipt id, 32 hexadecimal digits.
    pub id: String,
    /// The receipt without openings, base64url of its CBOR.
    pub receipt: String,
    /// The openings, base64url of their CBOR map: with them the receipt shows all it commits to.
    pub openings: String,
    /// The receipts of all choices, where there is more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub receipts: Vec<ReceiptObject>,
}

/// A natural logarithm in millionths, written as a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogProbability(pub i64);

impl Serialize for LogProbability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let text = format!("{sign}{whole}.{rest:06}");
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl ToSchema for LogProbability {}

impl PartialSchema for LogProbability {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        f64::schema()
    }
}

/// How many tokens there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

/// Body of a chat completion.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    /// `chatcmpl-` and the receipt id.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// The receipt's time, in seconds since 1970.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// Arithmetic id and the beginning of the model root.
    pub system_fingerprint: String,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// How many tokens there were.
    pub usage: Usage,
}

/// One answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChoice {
    /// Which one.
    pub index: u32,
    /// What the model says.
    pub message: AnswerMessage,
    /// Log-probabilities, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop`, `length` or `tool_calls`.
    pub finish_reason: &'static str,
}

/// What the model says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnswerMessage {
    /// `assistant`.
    pub role: &'static str,
    /// The text; `null` where there are only calls.
    pub content: Option<String>,
    /// Always `null`: a request that is refused is an error.
    pub refusal: Option<String>,
    /// Functions to call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerCall>,
}

/// A function to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AnswerCall {
    /// Which one, in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The call's id.
    pub id: String,
    /// `function`.
    pub r#type: &'static str,
    /// The function.
    pub function: AnswerFunction,
}

/// Name and arguments of a function to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AnswerFunction {
    /// Its name.
    pub name: String,
    /// Its arguments, JSON in a text.
    pub arguments: String,
}

/// Log-probabilities of a chat's answer.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// One for each token.
    pub content: Vec<TokenLogprob>,
}

/// A token with its log-probability before temperature, penalties and biases.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text; bytes that are not UTF-8 are shown as U+FFFD.
    pub token: String,
    /// Natural logarithm of the probability, to six places.
    #[schema(value_type = f64)]
    pub logprob: LogProbability,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens at this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<Vec<TopLogprob>>,
}

/// One of the likeliest tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of the probability, to six places.
    #[schema(value_type = f64)]
    pub logprob: LogProbability,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One event of a chat's stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    /// As in a chat completion.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// As in a chat completion.
    pub created: u64,
    /// As in a chat completion.
    pub model: String,
    /// As in a chat completion.
    pub system_fingerprint: String,
    /// What is new; empty in the event with the usage.
    pub choices: Vec<ChunkChoice>,
    /// How many tokens there were, in the last event if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What is new of one answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChunkChoice {
    /// Which answer.
    pub index: u32,
    /// What is new.
    pub delta: Delta,
    /// Log-probabilities of the new token, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<ChatLogprobs>,
    /// Why the answer ended, in its last event.
    pub finish_reason: Option<&'static str>,
}

/// A part of a message.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Delta {
    /// `assistant`, in the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More calls, each whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerCall>,
}

/// Body of a plain completion, and of each event of its stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Completion {
    /// `cmpl-` and the receipt id.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// The receipt's time, in seconds since 1970.
    pub created: u64,
    /// The model as it was asked for.
    pub model: String,
    /// Arithmetic id and the beginning of the model root.
    pub system_fingerprint: String,
    /// The answers, or what is new of them.
    pub choices: Vec<CompletionChoice>,
    /// How many tokens there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One completion.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CompletionChoice {
    /// Which one: those of the first prompt first.
    pub index: u32,
    /// The text, or what is new of it.
    pub text: String,
    /// Log-probabilities, where asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`; `null` before the end of a stream.
    pub finish_reason: Option<&'static str>,
}

/// Log-probabilities of a plain completion.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities.
    #[schema(value_type = Vec<f64>)]
    pub token_logprobs: Vec<LogProbability>,
    /// The likeliest tokens at each place.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, f64>>)]
    pub top_logprobs: Vec<std::collections::BTreeMap<String, LogProbability>>,
    /// Where each token begins in the text, in characters.
    pub text_offset: Vec<u64>,
}

/// Body of an answer with embeddings.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Embeddings {
    /// `list`.
    pub object: &'static str,
    /// One for each input.
    pub data: Vec<EmbeddingObject>,
    /// The model as it was asked for.
    pub model: String,
    /// How many tokens there were.
    pub usage: EmbeddingUsage,
}

/// How many tokens were embedded.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    /// Tokens of all inputs.
    pub prompt_tokens: u64,
    /// The same.
    pub total_tokens: u64,
}

/// One vector.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingObject {
    /// `embedding`.
    pub object: &'static str,
    /// Which input.
    pub index: u32,
    /// The vector.
    pub embedding: Vector,
}

/// A vector as numbers or as base64 of 32-bit floats, little-endian.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64.
    Base64(String),
}
