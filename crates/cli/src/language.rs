//! A model's own language: its tokenizer and chat template, as they stand in the model file.

use anyhow::{Context as _, Result, bail};
use tally_core::computation::TokenId;
use tally_engine::{
    Model,
    template::{ChatTemplate, Message, Role},
    tokenizer::{Detokeniser, Tokenizer},
};

use crate::request::Turn;

/// Tokenizer and template of one model.
pub(crate) struct Language {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    stop_tokens: Vec<TokenId>,
}

impl Language {
    /// Reads them from a model.
    pub(crate) fn of(model: &Model) -> Result<Self> {
        let tokenizer = Tokenizer::parse(model.tokenizer()).context("the model's tokenizer")?;
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
            source => {
                let parsed = ChatTemplate::parse(source, begin, end);
                Some(parsed.context("the model's chat template")?)
            }
        };
        let mut stop_tokens = configuration.end_tokens.clone();
        stop_tokens.sort_unstable();
        stop_tokens.dedup();
        Ok(Self { tokenizer, template, stop_tokens })
    }

    /// The effective input of a conversation.
    pub(crate) fn encode_chat(&self, messages: &[Turn]) -> Result<Vec<TokenId>> {
        let template = self.template.as_ref().context("the model has no chat template")?;
        let messages: Vec<Message> = messages
            .iter()
            .map(|turn| Ok(Message { role: role(&turn.role)?, content: turn.content.clone() }))
            .collect::<Result<_>>()?;
        Ok(self.tokenizer.encode_pieces(&template.render(&messages, true)?)?)
    }

    /// The text of output tokens.
    pub(crate) fn decode(&self, tokens: &[TokenId]) -> Result<String> {
        Ok(self.tokenizer.decode(tokens)?)
    }

    /// The tokens that end an answer, in increasing order.
    pub(crate) fn stop_tokens(&self) -> Vec<TokenId> {
        self.stop_tokens.clone()
    }

    /// Text of output tokens as they come.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream { tokenizer: &self.tokenizer, detokeniser: Detokeniser::default() }
    }
}

/// The text of an output that is still growing.
pub(crate) struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    detokeniser: Detokeniser,
}

impl Stream<'_> {
    /// Adds a token; returns the text that is now final.
    pub(crate) fn push(&mut self, token: TokenId) -> Result<String> {
        Ok(self.detokeniser.push(self.tokenizer, token)?)
    }

    /// The text of what was still incomplete.
    pub(crate) fn finish(self) -> String {
        self.detokeniser.finish()
    }
}

fn role(name: &str) -> Result<Role> {
    let all = [Role::System, Role::User, Role::Assistant, Role::Tool];
    match all.into_iter().find(|role| role.name() == name) {
        Some(role) => Ok(role),
        None => bail!("`{name}` is no role: expected system, user, assistant or tool"),
    }
}
