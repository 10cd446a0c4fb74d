//! A chat before it is rendered: messages, the tools on offer and the calls that were made of them.
//!
//! Tools and the arguments of calls are JSON, which templates take apart and write anew. So their
//! texts cannot be marked as contents are; whoever renders a chat refuses those that would be
//! control tokens ([`Chat::texts`]).

use minijinja::value::Value;
use serde_json::Value as Json;

use super::{MESSAGES_MAX, RENDERED_BYTES_MAX, TemplateError};

/// Most tools of a chat.
pub const TOOLS_MAX: usize = 128;
/// Most calls of tools in one message.
pub const TOOL_CALLS_MAX: usize = 128;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::System, Self::User, Self::Assistant, Self::Tool];

    /// The role's name, as templates know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said: any text.
    pub content: String,
    /// The tools that the model called.
    pub tool_calls: Vec<ToolCall>,
    /// The call that this message answers.
    pub tool_call_id: Option<String>,
    /// The name of who speaks, or of the tool that answers.
    pub name: Option<String>,
}

impl Message {
    /// A message that calls no tool and answers none.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let (content, tool_calls) = (content.into(), vec![]);
        Self { role, content, tool_calls, tool_call_id: None, name: None }
    }
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What an answer names the call by.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// What a chat's rendering depends on beside its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatOptions {
    /// The tools on offer: each a JSON object, as text.
    pub tools: Vec<String>,
}

/// A chat whose JSON has been parsed.
#[derive(Debug)]
pub(crate) struct Chat<'a> {
    pub(super) messages: Vec<(&'a Message, Vec<Json>)>,
    pub(super) tools: Vec<Json>,
}

impl<'a> Chat<'a> {
    pub(crate) fn parse(
        messages: &'a [Message],
        options: &ChatOptions,
    ) -> Result<Self, TemplateError> {
        if !(1..=MESSAGES_MAX).contains(&messages.len()) {
            return Err(TemplateError::Messages { found: messages.len() });
        }
        if options.tools.len() > TOOLS_MAX {
            return Err(TemplateError::Tools { found: options.tools.len() });
        }
        let of_message = |message: &Message| {
            let calls = message.tool_calls.iter();
            let calls = calls.map(|call| call.id.len() + call.name.len() + call.arguments.len());
            let names = [&message.tool_call_id, &message.name].into_iter().flatten();
            message.content.len() + calls.sum::<usize>() + names.map(String::len).sum::<usize>()
        };
        let tools: usize = options.tools.iter().map(String::len).sum();
        if tools + messages.iter().map(of_message).sum::<usize>() > RENDERED_BYTES_MAX {
            return Err(TemplateError::ChatTooLarge);
        }
        let tools = options.tools.iter().enumerate();
        let tools = tools.map(|(index, text)| {
            parse_object(text).map_err(|reason| TemplateError::Tool { index, reason })
        });
        let messages = messages.iter().map(|message| Ok((message, parse_calls(message)?)));
        Ok(Self {
            tools: tools.collect::<Result<_, _>>()?,
            messages: messages.collect::<Result<_, TemplateError>>()?,
        })
    }

    /// Every text that a template may write without its being content.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut texts = vec![];
        for tool in &self.tools {
            push_texts(tool, &mut texts);
        }
        for (message, calls) in &self.messages {
            for call in calls {
                push_texts(call, &mut texts);
            }
            let names = [&message.tool_call_id, &message.name].into_iter().flatten();
            texts.extend(names.map(String::as_str));
        }
        texts
    }

    /// The tools as templates expect them: none at all where there is none.
    pub(super) fn tools_value(&self) -> Value {
        if self.tools.is_empty() {
            Value::from(())
        } else {
            self.tools.iter().map(value_of).collect()
        }
    }

    pub(super) fn has_tool_calls(&self) -> bool {
        self.messages.iter().any(|(_, calls)| !calls.is_empty())
    }
}

/// A message as templates expect it, its content marked.
pub(super) fn message_value(message: &Message, calls: &[Json], marks: [char; 2]) -> Value {
    let mut fields = vec![
        ("role", Value::from(message.role.name())),
        ("content", Value::from(marked(&message.content, marks))),
    ];
    if !calls.is_empty() {
        fields.push(("tool_calls", calls.iter().map(value_of).collect()));
    }
    for (name, text) in [("tool_call_id", &message.tool_call_id), ("name", &message.name)] {
        fields.extend(text.as_deref().map(|text| (name, Value::from(text))));
    }
    Value::from_pairs(fields)
}

fn marked(content: &str, [open, close]: [char; 2]) -> String {
    let core = content.trim();
    if core.is_empty() {
        return content.to_owned();
    }
    let start = content.len() - content.trim_start().len();
    let (before, after) = (&content[..start], &content[start + core.len()..]);
    format!("{before}{open}{core}{close}{after}")
}

/// The calls of a message in the shape of the API, their arguments as objects.
fn parse_calls(message: &Message) -> Result<Vec<Json>, TemplateError> {
    let found = message.tool_calls.len();
    if found > TOOL_CALLS_MAX {
        return Err(TemplateError::ToolCalls { found });
    }
    let calls = message.tool_calls.iter().map(|call| {
        let arguments = parse_object(&call.arguments)
            .map_err(|reason| TemplateError::Arguments { tool: call.name.clone(), reason })?;
        Ok(serde_json::json!({
            "type": "function", "id": call.id,
            "function": { "name": call.name, "arguments": arguments },
        }))
    });
    calls.collect()
}

/// A JSON object, or why a text is none.
fn parse_object(text: &str) -> Result<Json, String> {
    match serde_json::from_str(text) {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err("it is another kind of value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// JSON as a template's value, its fields in their order.
pub(super) fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(is_true) => Value::from(*is_true),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => number.as_f64().map_or(Value::UNDEFINED, Value::from),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value_of).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, each)| (name.as_str(), value_of(each))))
        }
    }
}

fn push_texts<'a>(json: &'a Json, texts: &mut Vec<&'a str>) {
    match json {
        Json::String(text) => texts.push(text),
        Json::Array(items) => items.iter().for_each(|item| push_texts(item, texts)),
        Json::Object(fields) => {
            for (name, value) in fields {
                texts.push(name);
                push_texts(value, texts);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
