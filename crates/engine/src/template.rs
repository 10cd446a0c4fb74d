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
//! refused at rendering: no answer is better than an injected one.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error as JinjaError, ErrorKind, State, context};
use thiserror::Error;

use crate::tokenizer::Piece;

mod methods;
#[cfg(test)]
mod tests;

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
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said: any text.
    pub content: String,
}

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
    /// Messages beyond the limits or that the template refuses, and every fault of the template.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<Piece>, TemplateError> {
        if !(1..=MESSAGES_MAX).contains(&messages.len()) {
            return Err(TemplateError::Messages { found: messages.len() });
        }
        let size: usize = messages.iter().map(|message| message.content.len()).sum();
        if size > RENDERED_BYTES_MAX {
            return Err(TemplateError::ChatTooLarge);
        }
        let marks = self.marks(messages)?;
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let chat: Vec<Value> = messages.iter().map(|each| marked_message(each, marks)).collect();
        let context = context! {
            messages => chat,
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

    /// The first pair of noncharacters that occurs in neither template nor messages.
    fn marks(&self, messages: &[Message]) -> Result<[char; 2], TemplateError> {
        let is_free = |pair: &&[char; 2]| {
            let texts = messages.iter().map(|message| message.content.as_str());
            let texts = texts.chain([&*self.source, &*self.begin_token, &*self.end_token]);
            texts.into_iter().all(|text| !text.contains(&pair[..]))
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

fn marked_message(message: &Message, [open, close]: [char; 2]) -> Value {
    let content = message.content.as_str();
    let core = content.trim();
    let marked = if core.is_empty() {
        content.to_owned()
    } else {
        let start = content.len() - content.trim_start().len();
        let (before, after) = (&content[..start], &content[start + core.len()..]);
        format!("{before}{open}{core}{close}{after}")
    };
    context! { role => message.role.name(), content => marked }
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
