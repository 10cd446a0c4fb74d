//! The request body: an OpenAI-shaped chat request as JSON, written once; a replay
//! parses it as a node does.
//!
//! The receipt commits to these bytes, so that whoever holds them can derive the effective input
//! again. Numbers that matter are decimals in the text and never become floats.

use anyhow::{Result, bail};
use serde_json::Value;
use tally_core::computation::{Micro, SamplingParameters, SignedMicro, TokenId};
use tally_engine::template::{Message, Role};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Who speaks: `system`, `user` or `assistant`.
    pub(crate) role: String,
    /// What is said: a text, or several that are joined.
    pub(crate) content: Vec<String>,
}

/// What `tally ask` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<Turn>,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: Micro,
    pub(crate) top_p: Micro,
    pub(crate) top_k: u32,
    pub(crate) seed: Option<u64>,
    /// A label of the caller's own.
    pub(crate) user: Option<String>,
}

impl ChatRequest {
    /// The body's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let messages: Vec<String> = self
            .messages
            .iter()
            .map(|turn| {
                format!(r#"{{"role":{},"content":{}}}"#, quote(&turn.role), content(&turn.content))
            })
            .collect();
        let seed = self.seed.map(|seed| format!(r#","seed":{seed}"#)).unwrap_or_default();
        let user = self.user.as_deref().map(|user| format!(r#","user":{}"#, quote(user)));
        let user = user.unwrap_or_default();
        format!(
            r#"{{"model":{},"messages":[{}],"max_tokens":{},"temperature":{},"top_p":{},"top_k":{}{seed}{user}}}"#,
            quote(&self.model),
            messages.join(","),
            self.max_tokens,
            self.temperature,
            self.top_p,
            self.top_k,
        )
        .into_bytes()
    }

    /// The sampling parameters that it asks of a model with these stop tokens.
    pub(crate) fn parameters(&self, stop_tokens: Vec<TokenId>) -> SamplingParameters {
        SamplingParameters {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            stop_tokens,
            choice: 0,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        }
    }
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// One text as itself, several as parts.
fn content(texts: &[String]) -> String {
    match texts {
        [only] => quote(only),
        several => {
            let part = |text: &String| format!(r#"{{"type":"text","text":{}}}"#, quote(text));
            format!("[{}]", several.iter().map(part).collect::<Vec<_>>().join(","))
        }
    }
}

/// The messages that a chat template renders.
pub(crate) fn messages_of(turns: &[Turn]) -> Result<Vec<Message>> {
    let message = |turn: &Turn| match Role::parse(&turn.role) {
        Some(role) => Ok(Message::new(role, turn.content.concat())),
        None => {
            bail!("`{}` is no role: expected system, user, assistant or tool", turn.role)
        }
    };
    turns.iter().map(message).collect()
}

#[cfg(test)]
mod tests {
    use tally_server::api::{
        asked::{Asked, Form},
        chat::Content,
    };

    use super::*;

    #[test]
    fn a_request_is_json_and_its_messages_come_back() {
        let turn =
            Turn { role: "user".into(), content: vec!["quote \" and\nnewline \u{1f600}".into()] };
        let request = ChatRequest {
            model: "default".into(),
            messages: vec![turn.clone()],
            max_tokens: 5,
            temperature: Micro::from_millionths(700_000),
            top_p: Micro::ONE,
            top_k: 0,
            seed: Some(u64::MAX),
            user: None,
        };
        let body = request.encode();
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["temperature"].to_string(), "0.7");
        assert_eq!(json["seed"], u64::MAX);
        let asked = Asked::parse_chat(&body).unwrap();
        let Form::Chat { messages, calls: None } = asked.form else { panic!("no plain chat") };
        let content = messages[0].content.as_ref().map(Content::text);
        assert_eq!(content, Some(request.messages[0].content.concat()));
        assert_eq!((&asked.model, asked.seed), (&request.model, request.seed));
        assert_eq!(asked.sampling.temperature, request.temperature);
        assert_eq!(asked.sampling.top_p, request.top_p);
        assert_eq!(asked.sampling.top_k, request.top_k);
        assert_eq!(asked.sampling.max_tokens, Some(request.max_tokens));

        let content = vec!["a \"part\" ".into(), String::new(), "another".into()];
        let messages = vec![Turn { content, ..turn }];
        let parts = ChatRequest { messages, user: Some("a\"label".into()), ..request };
        let body = parts.encode();
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["user"], "a\"label");
        assert_eq!(json["messages"][0]["content"][2]["text"], "another");
        let Form::Chat { messages, .. } = Asked::parse_chat(&body).unwrap().form else {
            panic!("no chat")
        };
        let content = messages[0].content.as_ref().map(Content::text);
        assert_eq!(content.as_deref(), Some("a \"part\" another"));
    }
}
