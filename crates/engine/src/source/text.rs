//! What `tokenizer_config.json` and `chat_template.jinja` say about chats.

use serde::Deserialize;

use super::error::SourceError;
use super::json::{Fields, parse_utf8};

const FILE: &str = "tokenizer_config.json";

/// The chat template and the texts that it may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceText {
    /// The template, if the folder has one.
    pub chat_template: Option<String>,
    /// Text of the token that begins a text.
    pub begin_token: Option<String>,
    /// Text of the token that ends a text.
    pub end_token: Option<String>,
}

impl SourceText {
    /// Parses the two files, of which `chat_template.jinja` overrules the other's template.
    ///
    /// # Errors
    /// A file that is not UTF-8 or JSON, or a field of another type.
    pub fn parse(config: Option<&[u8]>, template: Option<Vec<u8>>) -> Result<Self, SourceError> {
        let mut text = match config {
            Some(config) => Self::parse_config(config)?,
            None => Self::default(),
        };
        if let Some(bytes) = template {
            text.chat_template = Some(parse_utf8("chat_template.jinja", &bytes)?.to_owned());
        }
        Ok(text)
    }

    fn parse_config(bytes: &[u8]) -> Result<Self, SourceError> {
        let mut fields = Fields::parse(FILE, bytes)?;
        let expected = "a text, or a list of named templates";
        let template = fields.optional::<Template>("chat_template", expected)?;
        let mut token = |field| {
            let found = fields.optional::<Token>(field, "a text, or an object with content");
            found.map(|found| {
                found.map(|found| match found {
                    Token::Plain(content) | Token::Described { content } => content,
                })
            })
        };
        Ok(Self {
            begin_token: token("bos_token")?,
            end_token: token("eos_token")?,
            chat_template: match template {
                None => None,
                Some(Template::One(template)) => Some(template),
                Some(Template::Several(named)) => {
                    named.into_iter().find(|each| each.name == "default").map(|each| each.template)
                }
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Template {
    One(String),
    Several(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Described { content: String },
}
