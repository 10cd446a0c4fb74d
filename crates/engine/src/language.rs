//! A model's own language: its tokenizer and chat template, as they stand in the model file, and the
//! constraints that a grammar puts on its outputs.

use std::sync::{Arc, OnceLock};

use thiserror::Error;

use tally_core::computation::{Grammar, TokenId};

use crate::grammar::{Constraint, GrammarEngine, GrammarError};
use crate::model::Model;
use crate::stop::TextStream;
use crate::template::{Chat, ChatOptions, ChatTemplate, Message, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

#[cfg(test)]
pub(crate) mod tests;

/// Why a model's language is not taken, or a text, chat or grammar not converted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LanguageError {
    /// The tokenizer, or a text for it, is refused.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template, or a chat for it, is refused.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The grammar is refused, or cannot go on.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// A chat for a model that has no template.
    #[error("the model has no chat template")]
    NoTemplate,
    /// A tool, or a call of one, contains the text of a control token.
    #[error("a tool contains the text of control token {token}: {control}")]
    ControlInTool {
        /// The control token.
        token: TokenId,
        /// Its text.
        control: String,
    },
}

/// Tokenizer and template of one model.
#[derive(Debug)]
pub struct Language {
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    begin_token: Option<TokenId>,
    stop_tokens: Vec<TokenId>,
    /// Made at the first grammar.
    grammars: OnceLock<Result<GrammarEngine, GrammarError>>,
}

impl Language {
    /// Reads them from a model.
    ///
    /// # Errors
    /// A tokenizer or a template that is refused.
    pub fn of(model: &Model) -> Result<Self, LanguageError> {
        let tokenizer = Tokenizer::parse(model.tokenizer())?;
        let configuration = model.configuration();
        let text_of = |wanted: Option<&TokenId>| {
            let control = tokenizer.control_tokens();
            let found = control.iter().find(|(_, token)| Some(*token) == wanted);
            found.map_or("", |(text, _)| text.as_str())
        };
        let begin = text_of(configuration.begin_token.as_ref());
        let end = text_of(configuration.end_tokens.first());
        let template = match model.template() {
            "" => None,
            source => Some(ChatTemplate::parse(source, begin, end)?),
        };
        let mut stop_tokens = configuration.end_tokens.clone();
        stop_tokens.sort_unstable();
        stop_tokens.dedup();
        let begin_token = configuration.begin_token;
        let (tokenizer, grammars) = (Arc::new(tokenizer), OnceLock::new());
        Ok(Self { tokenizer, template, begin_token, stop_tokens, grammars })
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether the model can be asked a chat.
    #[must_use]
    pub const fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The effective input of a conversation that the model is to answer.
    ///
    /// # Errors
    /// A model without a template, and a chat that template or tokenizer refuse. Texts of tools are
    /// refused where they contain the text of a control token: templates take them apart, so they
    /// cannot be kept as content.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Vec<TokenId>, LanguageError> {
        let template = self.template.as_ref().ok_or(LanguageError::NoTemplate)?;
        let chat = Chat::parse(messages, options)?;
        let control = self.tokenizer.control_tokens();
        for text in chat.texts() {
            let found = control.iter().find(|(each, _)| !each.is_empty() && text.contains(*each));
            if let Some((control, token)) = found {
                let (token, control) = (*token, control.clone());
                return Err(LanguageError::ControlInTool { token, control });
            }
        }
        Ok(self.tokenizer.encode_pieces(&template.render_chat(&chat, true)?)?)
    }

    /// The effective input of a text to be continued: behind the model's begin token, if it has one.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<TokenId>, LanguageError> {
        let begin = self.begin_token.into_iter();
        Ok(begin.chain(self.tokenizer.encode(text)?).collect())
    }

    /// The bytes that tokens spell, whether they are UTF-8 or not; control tokens spell none, nor do
    /// ids that do not exist.
    #[must_use]
    pub fn spell(&self, tokens: &[TokenId]) -> Vec<u8> {
        let bytes = |token: &TokenId| self.tokenizer.token_bytes(*token).unwrap_or_default();
        tokens.iter().flat_map(bytes).copied().collect()
    }

    /// The text of output tokens.
    ///
    /// # Errors
    /// A token id that does not exist.
    pub fn decode(&self, tokens: &[TokenId]) -> Result<String, LanguageError> {
        Ok(self.tokenizer.decode(tokens)?)
    }

    /// The text of output tokens up to where the first of `stops` begins.
    ///
    /// # Errors
    /// A token id that does not exist.
    pub fn decode_until(
        &self,
        tokens: &[TokenId],
        stops: &[String],
    ) -> Result<String, LanguageError> {
        let (mut stream, mut text) = (self.stream(stops), String::new());
        for token in tokens {
            text.push_str(&stream.push(*token)?.text);
        }
        text.push_str(&stream.finish());
        Ok(text)
    }

    /// The tokens that end an answer, in increasing order.
    #[must_use]
    pub fn stop_tokens(&self) -> &[TokenId] {
        &self.stop_tokens
    }

    /// Text of output tokens as they come, which ends where the first of `stops` begins.
    #[must_use]
    pub fn stream(&self, stops: &[String]) -> TextStream {
        TextStream::new(Arc::clone(&self.tokenizer), stops)
    }

    /// What a grammar demands of an output, from its first token on.
    ///
    /// # Errors
    /// A grammar of another engine, beyond the limits or that cannot be compiled; a model whose
    /// tokens have no exact text or that cannot end an answer.
    pub fn grammar(&self, grammar: &Grammar) -> Result<Constraint, LanguageError> {
        let engine =
            self.grammars.get_or_init(|| GrammarEngine::new(&self.tokenizer, &self.stop_tokens));
        match engine {
            Ok(engine) => Ok(engine.constraint(grammar)?),
            Err(error) => Err(error.clone().into()),
        }
    }
}
