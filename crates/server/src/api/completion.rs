//! A plain completion, embeddings and the tokenizer as they are asked for.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    chat::{ResponseFormat, StreamOptions},
    parse::{Biases, Decimal, OneOrMany},
};

/// Body of `POST /v1/completions`. Every other field is refused by name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// Name of a model, or the 64 hexadecimal digits of its root.
    pub model: String,
    /// A text or token ids, or a list of them: up to 128.
    pub prompt: Prompt,
    /// Most tokens of each answer. Default 16.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    /// As in a chat.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<Decimal>,
    /// As in a chat.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<Decimal>,
    /// As in a chat.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// As in a chat.
    #[serde(default)]
    pub seed: Option<u64>,
    /// As in a chat.
    #[serde(default)]
    pub stop: Option<OneOrMany<String>>,
    /// How many answers to each prompt, 1 to 128 in all. Default 1.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of a stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// How many of the likeliest tokens come with each token's log-probability, 0 to 5.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 5)]
    pub logprobs: Option<u8>,
    /// As in a chat.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<Decimal>,
    /// As in a chat.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<Decimal>,
    /// As in a chat.
    #[serde(default)]
    pub logit_bias: Option<Biases>,
    /// As in a chat.
    #[serde(default)]
    pub response_format: Option<ResponseFormat>,
    /// As in a chat.
    #[serde(default)]
    pub user: Option<String>,
}

/// What is to be completed, or embedded.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// One of the prompts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnePrompt {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// All prompts, in order.
    #[must_use]
    pub fn all(&self) -> Vec<OnePrompt> {
        match self {
            Self::Text(text) => vec![OnePrompt::Text(text.clone())],
            Self::Texts(texts) => texts.iter().cloned().map(OnePrompt::Text).collect(),
            Self::Tokens(tokens) => vec![OnePrompt::Tokens(tokens.clone())],
            Self::TokenLists(lists) => lists.iter().cloned().map(OnePrompt::Tokens).collect(),
        }
    }
}

/// Body of `POST /v1/embeddings`. Every other field is refused by name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingRequest {
    /// Name of a sentence encoder, or its root.
    pub model: String,
    /// A text or token ids, or a list of them: up to 256.
    pub input: Prompt,
    /// How the numbers are written. Default `float`.
    #[serde(default)]
    pub encoding_format: Option<EncodingFormat>,
    /// Only the width that the model has.
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// As in a chat.
    #[serde(default)]
    pub user: Option<String>,
}

/// How the numbers of a vector are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// Decimal numbers.
    #[default]
    Float,
    /// Base64 of 32-bit floats, little-endian.
    Base64,
}

/// Body of `POST /tokenize`: a text, or the messages of a chat.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizeRequest {
    /// Name of a model, or its root.
    pub model: String,
    /// A text.
    #[serde(default)]
    pub prompt: Option<String>,
    /// A chat, rendered by the model's template.
    #[serde(default)]
    pub messages: Option<Vec<super::chat::ChatMessage>>,
}

/// Body of `POST /detokenize`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DetokenizeRequest {
    /// Name of a model, or its root.
    pub model: String,
    /// Token ids.
    pub tokens: Vec<u32>,
}
