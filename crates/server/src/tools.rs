//! Functions that a model may call: what it is told of them, and how its calls are read.
//!
//! The form is the one that most open models are trained on: `<tool_call>`, a JSON object with
//! `name` and `arguments`, `</tool_call>`. A forced call is drawn under a grammar of that form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tally_core::computation::{Grammar, GrammarKind};
use tally_engine::grammar::GRAMMAR_ENGINE;

use crate::api::{
    chat::{ChatRequest, Function, ToolChoice, ToolMode},
    error::ApiError,
    response::{AnswerCall, AnswerFunction},
};

#[cfg(test)]
mod tests;

/// Most functions.
pub const TOOLS_MAX: usize = 128;
/// Most bytes of a function's name.
const NAME_BYTES_MAX: usize = 64;
const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// The functions that a model may call in an answer.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The tools as the model's template gets them: JSON texts.
    pub tools: Vec<String>,
    grammar: Option<Grammar>,
}

impl Calls {
    /// What a request says of functions; `None` if the model is to call none.
    ///
    /// # Errors
    /// Names that are not legal or stand twice, a choice of what is not there, and wishes that
    /// cannot be met.
    pub fn of(request: &ChatRequest) -> Result<Option<Self>, ApiError> {
        let tools = request.tools.as_deref().unwrap_or_default();
        let choice = request.tool_choice.as_ref();
        if tools.is_empty() {
            return match (choice, request.parallel_tool_calls) {
                (None | Some(ToolChoice::Mode(ToolMode::None | ToolMode::Auto)), None) => Ok(None),
                (None, Some(_)) => Err(ApiError::invalid(
                    "parallel_tool_calls",
                    "`parallel_tool_calls` needs `tools`",
                )),
                _ => Err(ApiError::invalid("tool_choice", "`tool_choice` needs `tools`")),
            };
        }
        if tools.len() > TOOLS_MAX {
            let text = format!("`tools` has {} functions, at most {TOOLS_MAX}", tools.len());
            return Err(ApiError::invalid("tools", text));
        }
        let mut by_name = BTreeMap::new();
        for (index, tool) in tools.iter().enumerate() {
            let name = tool.function.name.as_str();
            require_name(name, &format!("tools[{index}].function.name"))?;
            if by_name.insert(name, &tool.function).is_some() {
                let place = format!("tools[{index}].function.name");
                let text = format!("two functions have the name `{name}`");
                return Err(ApiError::invalid(place, text));
            }
        }
        let forced: Vec<&Function> = match choice {
            Some(ToolChoice::Mode(ToolMode::None)) => return Ok(None),
            None | Some(ToolChoice::Mode(ToolMode::Auto)) => vec![],
            Some(ToolChoice::Mode(ToolMode::Required)) => {
                tools.iter().map(|tool| &tool.function).collect()
            }
            Some(ToolChoice::Named(wanted)) => match by_name.get(wanted.function.name.as_str()) {
                Some(function) => vec![*function],
                None => {
                    let text = format!("`tools` has no function `{}`", wanted.function.name);
                    return Err(ApiError::invalid("tool_choice.function.name", text));
                }
            },
        };
        if forced.is_empty() && request.parallel_tool_calls == Some(false) {
            let text = "`parallel_tool_calls` `false` goes with a forced `tool_choice` alone";
            return Err(ApiError::unsupported("parallel_tool_calls", text));
        }
        let strict = tools.iter().position(|tool| tool.function.strict == Some(true));
        if let (Some(index), []) = (strict, forced.as_slice()) {
            let text = "arguments have their schema where `tool_choice` forces the call: force it, or leave `strict` out";
            return Err(ApiError::unsupported(format!("tools[{index}].function.strict"), text));
        }
        let grammar = match forced.as_slice() {
            [] => None,
            forced => Some(call_grammar(forced)?),
        };
        let tools = tools.iter().map(|tool| shown(&tool.function)).collect();
        Ok(Some(Self { tools, grammar }))
    }

    /// The grammar of a forced call.
    #[must_use]
    pub fn grammar(&self) -> Option<Grammar> {
        self.grammar.clone()
    }
}

/// A grammar of the JSON of a schema.
#[must_use]
pub fn schema_grammar(schema: &str) -> Grammar {
    let (engine, text) = (GRAMMAR_ENGINE.to_owned(), compact(schema));
    Grammar { engine, kind: GrammarKind::JsonSchema, text }
}

/// A schema whose JSON has no white space to choose: small models would pad without end.
fn compact(schema: &str) -> String {
    const COMPACT: &str = r#""x-guidance":{"whitespace_flexible":false}"#;
    match schema.trim_start().strip_prefix('{') {
        Some(rest) if schema.contains("\"x-guidance\"") => format!("{{{rest}"),
        Some(rest) if rest.trim_start().starts_with('}') => format!("{{{COMPACT}{rest}"),
        Some(rest) => format!("{{{COMPACT},{rest}"),
        None => schema.to_owned(),
    }
}

/// Whether a schema refers to one: within a call's it would mean another place.
fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let is_reference =
                |name: &String| ["$ref", "$dynamicRef", "$recursiveRef"].contains(&name.as_str());
            let is_one = |(name, value): (&String, &Value)| {
                (is_reference(name) && value.is_string()) || has_reference(value)
            };
            members.iter().any(is_one)
        }
        Value::Array(items) => items.iter().any(has_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// One call of one of these functions, and nothing else.
fn call_grammar(functions: &[&Function]) -> Result<Grammar, ApiError> {
    let mut alternatives = vec![];
    for (index, function) in functions.iter().enumerate() {
        let schema = match &function.parameters {
            None => json!({ "type": "object" }),
            Some(schema) => serde_json::from_str(schema.get())
                .map_err(|error| ApiError::invalid("tools", error.to_string()))?,
        };
        if has_reference(&schema) {
            let place = format!("tools[{index}].function.parameters");
            let text = "references within the schema of a forced call are not supported";
            return Err(ApiError::unsupported(place, text));
        }
        alternatives.push(format!(
            r#"{{"type":"object","properties":{{"name":{{"const":{}}},"arguments":{}}},"required":["name","arguments"],"additionalProperties":false}}"#,
            json!(function.name),
            function.parameters.as_ref().map_or(r#"{"type":"object"}"#, |schema| schema.get()),
        ));
    }
    let schema = match alternatives.as_slice() {
        [one] => one.clone(),
        many => format!(r#"{{"anyOf":[{}]}}"#, many.join(",")),
    };
    let text =
        format!("start: \"{OPEN}\\n\" call \"\\n{CLOSE}\"\ncall: %json {}\n", compact(&schema));
    Ok(Grammar { engine: GRAMMAR_ENGINE.to_owned(), kind: GrammarKind::Lark, text })
}

/// A tool as templates get it.
fn shown(function: &Function) -> String {
    let description = function.description.as_ref();
    let description = description.map(|text| format!(r#","description":{}"#, json!(text)));
    let parameters = function.parameters.as_ref();
    let parameters = parameters.map(|schema| format!(r#","parameters":{}"#, schema.get()));
    format!(
        r#"{{"type":"function","function":{{"name":{}{}{}}}}}"#,
        json!(function.name),
        description.unwrap_or_default(),
        parameters.unwrap_or_default(),
    )
}

fn require_name(name: &str, place: &str) -> Result<(), ApiError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_legal) {
        return Ok(());
    }
    let text =
        format!("`{name}` is no name: expected 1 to {NAME_BYTES_MAX} letters, digits, `_` or `-`");
    Err(ApiError::invalid(place, text))
}

/// Reads calls out of an answer's text as it comes.
///
/// Text that is no call, or that only looks like one, passes unchanged.
#[derive(Clone, Debug, Default)]
pub struct CallReader {
    pending: String,
    is_inside: bool,
    count: u32,
    /// Whether the white space that models write between calls is still to be dropped.
    is_behind_call: bool,
}

/// What an answer's text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Text.
    Text(String),
    /// A call.
    Call(AnswerCall),
}

/// A call as the model writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
}

impl CallReader {
    /// Adds text; yields what is now final. `id` is the receipt's, from which calls have theirs.
    pub fn push(&mut self, text: &str, id: &str) -> Vec<Said> {
        self.pending.push_str(text);
        let mut said = vec![];
        loop {
            let mark = if self.is_inside { CLOSE } else { OPEN };
            let Some(at) = self.pending.find(mark) else { break };
            let rest = self.pending.split_off(at + mark.len());
            let before = std::mem::replace(&mut self.pending, rest);
            let before = &before[..at];
            if self.is_inside {
                said.push(self.call(before, id));
            } else {
                self.say(before, &mut said);
            }
            self.is_inside = !self.is_inside;
        }
        if !self.is_inside {
            let keep = begun_len(&self.pending, OPEN);
            let keep = keep.max(self.white_len());
            let rest = self.pending.split_off(self.pending.len() - keep);
            let before = std::mem::replace(&mut self.pending, rest);
            self.say(&before, &mut said);
        }
        said
    }

    /// What was still open.
    pub fn finish(&mut self) -> Vec<Said> {
        let mut said = vec![];
        let rest = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.is_inside) {
            said.push(Said::Text(format!("{OPEN}{rest}")));
        } else {
            self.say(&rest, &mut said);
        }
        said
    }

    /// Whether there were calls.
    #[must_use]
    pub const fn has_calls(&self) -> bool {
        self.count > 0
    }

    /// How much of the end is white space behind a call, of which nobody knows yet what follows.
    fn white_len(&self) -> usize {
        let is_white = self.is_behind_call && self.pending.trim().is_empty();
        if is_white { self.pending.len() } else { 0 }
    }

    fn say(&mut self, text: &str, said: &mut Vec<Said>) {
        if text.is_empty() || (self.is_behind_call && text.trim().is_empty()) {
            return;
        }
        self.is_behind_call = false;
        said.push(Said::Text(text.to_owned()));
    }

    fn call(&mut self, text: &str, id: &str) -> Said {
        let Ok(written) = serde_json::from_str::<Written>(text) else {
            return Said::Text(format!("{OPEN}{text}{CLOSE}"));
        };
        let index = self.count;
        self.count += 1;
        self.is_behind_call = true;
        let arguments =
            written.arguments.map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned());
        Said::Call(AnswerCall {
            index: Some(index),
            id: format!("call_{id}_{index}"),
            r#type: "function",
            function: AnswerFunction { name: written.name, arguments },
        })
    }
}

/// How many bytes at the end of `text` may be the beginning of `mark`.
fn begun_len(text: &str, mark: &str) -> usize {
    let most = mark.len().min(text.len());
    (1..=most).rev().find(|len| text.ends_with(&mark[..*len])).unwrap_or(0)
}
