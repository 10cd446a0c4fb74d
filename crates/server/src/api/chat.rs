//! A chat completion as it is asked for.

use serde::Deserialize;
use utoipa::ToSchema;

use super::parse::{Biases, Decimal, Json, OneOrMany};

/// Body of `POST /v1/chat/completions`. Every other field is refused by name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// Name of a model, or the 64 hexadecimal digits of its root.
    pub model: String,
    /// The conversation so far: 1 to 4,096 messages.
    #[schema(min_items = 1, max_items = 4096)]
    pub messages: Vec<ChatMessage>,
    /// Most tokens of each answer. Default: what the model's context leaves.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    /// The newer name of `max_tokens`.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_completion_tokens: Option<u32>,
    /// 0 is greedy; at most 100, at most six decimal places. Default 1.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<Decimal>,
    /// Draw only from the likeliest tokens of this total probability. Default 1.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<Decimal>,
    /// Draw only from this many likeliest tokens; 0, the default, is no such limit.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// The sampler's seed; without one it is derived from `Tally-Nonce`, or the server's choice.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Up to 16 texts of 1 to 256 bytes that end the output; they are not part of it.
    #[serde(default)]
    pub stop: Option<OneOrMany<String>>,
    /// How many answers, 1 to 128. Default 1.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of a stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Whether each token comes with its log-probability.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// How many of the likeliest tokens come with each, 0 to 20.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u8>,
    /// −2 to 2, subtracted from the logits of tokens that the output has.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<Decimal>,
    /// −2 to 2, subtracted once for each time that the output has a token.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<Decimal>,
    /// −100 to 100 added to the logits of tokens, by token id: up to 1,024 of them.
    #[serde(default)]
    pub logit_bias: Option<Biases>,
    /// The form that the answer must have.
    #[serde(default)]
    pub response_format: Option<ResponseFormat>,
    /// Functions that the model may call: up to 128.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tools: Option<Vec<Tool>>,
    /// `none`, `auto`, `required`, or one function.
    #[serde(default)]
    pub tool_choice: Option<ToolChoice>,
    /// Whether several functions may be called in one answer.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// A label of the caller's own: the receipt commits to it, and nothing else becomes of it.
    #[serde(default)]
    pub user: Option<String>,
}

/// One message.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: ChatRole,
    /// What is said: a text, or parts of type `text` that are joined. `null` with tool calls alone.
    #[serde(default)]
    pub content: Option<Content>,
    /// Functions that the model called, in an assistant's message.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a tool's message answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// Name of the function, in a tool's message.
    #[serde(default)]
    pub name: Option<String>,
    /// As this server gives it back: always `null`.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub refusal: Option<Nothing>,
}

/// A field that may only be `null`.
#[derive(Clone, Debug, Deserialize)]
pub enum Nothing {}

/// Who speaks. A developer is a system to every model here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// Instructions of the application.
    System,
    /// The newer name of `system`.
    Developer,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a function.
    Tool,
}

/// A message's content.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts, of which only texts are known.
    Parts(Vec<Part>),
}

/// One part of a content.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Part {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
}

impl Content {
    /// The text of all parts.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(|Part::Text { text }| text.as_str()).collect(),
        }
    }
}

/// Options of a stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// Whether a last event says how many tokens there were.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// The form of an answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseFormat {
    /// Which form.
    pub r#type: FormatType,
    /// The schema, with type `json_schema`.
    #[serde(default)]
    pub json_schema: Option<SchemaFormat>,
}

/// The forms that an answer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatType {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema,
}

/// A JSON schema that an answer must have.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaFormat {
    /// A name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The schema.
    pub schema: Json,
    /// Always so here: an answer that does not have the schema cannot be drawn.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// Something that the model may call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `function`.
    pub r#type: FunctionType,
    /// The function.
    pub function: Function,
}

/// The one type of tool.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionType {
    /// A function of the caller.
    Function,
}

/// A function of the caller.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// JSON schema of its arguments.
    #[serde(default)]
    pub parameters: Option<Json>,
    /// Where a call is forced, its arguments always have the schema; where not, `true` is refused.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// Whether, and which, functions are called.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ToolChoice {
    /// A mode.
    Mode(ToolMode),
    /// One function.
    Named(NamedTool),
}

/// Whether functions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolMode {
    /// The model is not told of them.
    None,
    /// As the model likes.
    Auto,
    /// At least one.
    Required,
}

/// The one function to call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedTool {
    /// `function`.
    pub r#type: FunctionType,
    /// Which one.
    pub function: FunctionName,
}

/// A function by name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionName {
    /// Its name.
    pub name: String,
}

/// A call that the model made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The call's id.
    pub id: String,
    /// `function`.
    pub r#type: FunctionType,
    /// What was called.
    pub function: CalledFunction,
}

/// A called function.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CalledFunction {
    /// Its name.
    pub name: String,
    /// Its arguments, JSON in a text.
    pub arguments: String,
}
