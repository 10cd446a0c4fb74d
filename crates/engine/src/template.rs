//! The model's chat template: from messages to the pieces that the tokenizer encodes.
//!
//! Templates are programs of strangers, run by `minijinja` without files, clock or environment
//! and under limits on size, recursion and steps. `strftime_now` is refused: a date would have to
//! be a field of the request, since a rendering must be a function of the request alone. One thing
//! has no limit here: a template that doubles a text in a loop takes memory until steps run out, so
//! import templates only of models whose weights you would run.
//!
//! What a message says must never become a control token. So each content is rendered between two
//! marks (noncharacters that occur in neither template nor messages), and the rendered text is cut
//! at the marks into what the template wrote and what came from a message, of which only the first
//! is searched for control tokens. White space at the ends of a content stays outside the marks,
//! so that a template's `trim` still finds it. A template that tears a marked content apart is
//! refused at rendering: no answer is better than an injected one. Texts of tools are not content:
//! [`crate::language`] refuses those that contain a control token.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error as JinjaError, ErrorKind, State, context};
use thiserror::Error;

use crate::tokenizer::Piece;

mod chat;
mod json;
mod methods;
#[cfg(test)]
mod tests;

pub(crate) use chat::Chat;
pub use chat::{ChatOptions, Message, Role, TOOL_CALLS_MAX, TOOLS_MAX, ToolCall};

/// Most bytes of a template.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 18;
/// Most bytes of a rendered chat, and of all contents together.
pub const RENDERED_BYTES_MAX: usize = 1 << 24;
/// Most messages of a chat.
pub const MESSAGES_MAX: usize = 1 << 12;
/// Steps that a rendering may take, and more for each message.
const FUEL: u64 = 1 << 18;
const FUEL_PER_MESSAGE: u64 = 1 << 12;
/// Nesting of a rendering.
const RECURSION_MAX: usize = 64;
/// Noncharacters that may serve as marks, in pairs.
const MARKS: [char; 8] = [
    '\u{fdd0}', '\u{fdd1}', '\u{fdd2}', '\u{fdd3}', '\u{fdd4}', '\u{fdd5}', '\u{fdd6}', '\u{fdd7}',
];
const NAME: &str = "chat";

/// Why a template is not taken or a chat not rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is too long.
    #[error("the chat template has {found} bytes, the limit is {TEMPLATE_BYTES_MAX}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// The template has a fault of syntax.
    #[error("chat template, line {line}: {reason}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// The reason that the template engine gives.
        reason: String,
    },
    /// No messages, or more than [`MESSAGES_MAX`].
    #[error("{found} messages, expected 1 to {MESSAGES_MAX}")]
    Messages {
        /// How many there are.
        found: usize,
    },
    /// More than [`TOOLS_MAX`] tools.
    #[error("{found} tools, at most {TOOLS_MAX} are allowed")]
    Tools {
        /// How many there are.
        found: usize,
    },
    /// More than [`TOOL_CALLS_MAX`] calls of tools in one message.
    #[error("{found} calls of tools in one message, at most {TOOL_CALLS_MAX} are allowed")]
    ToolCalls {
        /// How many there are.
        found: usize,
    },
    /// A tool that is no JSON object.
    #[error("tool {index} is no JSON object: {reason}")]
    Tool {
        /// Index in the list.
        index: usize,
        /// The reason.
        reason: String,
    },
    /// The arguments of a call that are no JSON object.
    #[error("the arguments of a call of {tool} are no JSON object: {reason}")]
    Arguments {
        /// The tool's name.
        tool: String,
        /// The reason.
        reason: String,
    },
    /// Tools, or calls of them, for a template that knows none.
    #[error("the model's chat template knows no `{name}`")]
    Unknown {
        /// What it does not mention.
        name: &'static str,
    },
    /// The contents, or the rendered chat, are too long.
    #[error("the chat exceeds {RENDERED_BYTES_MAX} bytes")]
    ChatTooLarge,
    /// The template itself refuses these messages.
    #[error("the chat template refuses these messages: {reason}")]
    Raised {
        /// What it says.
        reason: String,
    },
    /// The template asks for the date.
    #[error("the chat template asks for the date, which is not part of the request")]
    Date,
    /// The template takes too many steps.
    #[error("the chat template takes more than {limit} steps")]
    Steps {
        /// The limit.
        limit: u64,
    },
    /// The template fails on these messages.
    #[error("chat template, line {line}: {reason}")]
    Render {
        /// Line of the fault, from 1; zero if unknown.
        line: usize,
        /// The reason that the template engine gives.
        reason: String,
    },
    /// The template takes a content apart, so that content and template cannot be told apart.
    #[error("the chat template takes the content of a message apart")]
    ContentTorn,
    /// The messages use every noncharacter that could mark a content.
    #[error("the messages contain all of the noncharacters U+FDD0 to U+FDD7")]
    Marks,
}

/// A chat template, parsed.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    begin_token: String,
    end_token: String,
}

impl ChatTemplate {
    /// Parses a template; `begin_token` and `end_token` are the texts that it knows as `bos_token`
    /// and `eos_token`, empty where the model has none.
    ///
    /// # Errors
    /// A template that is too long or has a fault of syntax.
    pub fn parse(source: &str, begin_token: &str, end_token: &str) -> Result<Self, TemplateError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLarge { found: source.len() });
        }
        let mut environment = Environment::new();
        environment.set_syntax(block_syntax()?);
        environment.set_recursion_limit(RECURSION_MAX);
        environment.set_unknown_method_callback(methods::call);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.remove_global("debug");
        environment.add_template_owned(NAME, source.to_owned()).map_err(|e| syntax_error(&e))?;
        let (source, begin_token) = (source.to_owned(), begin_token.to_owned());
        Ok(Self { environment, source, begin_token, end_token: end_token.to_owned() })
    }

    /// Renders a chat, with the start of the assistant's answer if asked for.
    ///
    /// # Errors
    /// Messages and tools beyond the limits or that the template refuses or does not know, and every
    /// fault of the template.
    pub fn render(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        add_generation_prompt: bool,
    ) -> Result<Vec<Piece>, TemplateError> {
        self.render_chat(&Chat::parse(messages, options)?, add_generation_prompt)
    }

    pub(crate) fn render_chat(
        &self,
        chat: &Chat<'_>,
        add_generation_prompt: bool,
    ) -> Result<Vec<Piece>, TemplateError> {
        let used = [("tools", !chat.tools.is_empty()), ("tool_calls", chat.has_tool_calls())];
        let is_unknown = |(name, is_used): &&(_, _)| *is_used && !self.source.contains(*name);
        if let Some((name, _)) = used.iter().find(is_unknown) {
            return Err(TemplateError::Unknown { name });
        }
        let marks = self.marks(chat)?;
        let fuel = FUEL + FUEL_PER_MESSAGE * (chat.messages.len() + chat.tools.len()) as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let messages = chat.messages.iter();
        let messages = messages.map(|(each, calls)| chat::message_value(each, calls, marks));
        let context = context! {
            messages => messages.collect::<Vec<Value>>(),
            tools => chat.tools_value(),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.begin_token.as_str(),
            eos_token => self.end_token.as_str(),
        };
        let mut output = Bounded(Vec::new());
        let rendered = environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(context, &mut output).map(drop));
        rendered.map_err(|error| render_error(&error, fuel))?;
        let text = String::from_utf8(output.0).map_err(|_| TemplateError::ContentTorn)?;
        split_at_marks(&text, marks)
    }

    /// The first pair of noncharacters that occurs in neither template nor chat.
    fn marks(&self, chat: &Chat<'_>) -> Result<[char; 2], TemplateError> {
        let own = chat.texts();
        let is_free = |pair: &&[char; 2]| {
            let texts = chat.messages.iter().map(|(message, _)| message.content.as_str());
            let texts = texts.chain([&*self.source, &*self.begin_token, &*self.end_token]);
            texts.chain(own.iter().copied()).all(|text| !text.contains(&pair[..]))
        };
        let (pairs, _) = MARKS.as_chunks::<2>();
        pairs.iter().find(is_free).copied().ok_or(TemplateError::Marks)
    }
}

/// As published templates expect it: a block's own line leaves no white space.
fn block_syntax() -> Result<SyntaxConfig, TemplateError> {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    syntax.build().map_err(|error| syntax_error(&error))
}

/// Cuts a rendered chat into pieces, none of them empty.
fn split_at_marks(text: &str, [open, close]: [char; 2]) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once(open) {
        let (content, after) = marked.split_once(close).ok_or(TemplateError::ContentTorn)?;
        if before.contains(close) || content.contains(open) {
            return Err(TemplateError::ContentTorn);
        }
        pieces.push(Piece::Template(before.to_owned()));
        pieces.push(Piece::Content(content.to_owned()));
        rest = after;
    }
    if rest.contains(close) {
        return Err(TemplateError::ContentTorn);
    }
    pieces.push(Piece::Template(rest.to_owned()));
    pieces.retain(|piece| !piece.text().is_empty());
    Ok(pieces)
}

/// Output of at most [`RENDERED_BYTES_MAX`] bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a template function refuses with, found again behind the template engine's own error.
#[derive(Clone, Debug, Error)]
enum Refusal {
    #[error("{0}")]
    Raised(String),
    #[error("no date")]
    Date,
}

fn raise_exception(reason: String) -> Result<Value, JinjaError> {
    let error = JinjaError::new(ErrorKind::InvalidOperation, "raise_exception");
    Err(error.with_source(Refusal::Raised(reason)))
}

fn strftime_now(_: &State, _: Value, _: Kwargs) -> Result<Value, JinjaError> {
    let error = JinjaError::new(ErrorKind::InvalidOperation, "strftime_now");
    Err(error.with_source(Refusal::Date))
}

fn syntax_error(error: &JinjaError) -> TemplateError {
    TemplateError::Syntax { line: error.line().unwrap_or_default(), reason: reason_of(error) }
}

fn render_error(error: &JinjaError, limit: u64) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        match found.downcast_ref::<Refusal>() {
            Some(Refusal::Raised(reason)) => {
                return TemplateError::Raised { reason: reason.clone() };
            }
            Some(Refusal::Date) => return TemplateError::Date,
            None => {}
        }
        let kind = found.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::FileTooLarge) {
            return TemplateError::ChatTooLarge;
        }
        let is_out_of_fuel = |error: &JinjaError| error.kind() == ErrorKind::OutOfFuel;
        if found.downcast_ref::<JinjaError>().is_some_and(is_out_of_fuel) {
            return TemplateError::Steps { limit };
        }
        cause = found.source();
    }
    TemplateError::Render { line: error.line().unwrap_or_default(), reason: reason_of(error) }
}

fn reason_of(error: &JinjaError) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
