//! The request body: an OpenAI-shaped chat request as JSON, written once and parsed on replay.
//!
//! The receipt commits to these bytes, so that whoever holds them can derive the effective input
//! again. Numbers that matter are decimals in the text and never become floats.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tally_core::computation::Micro;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Who speaks: `system`, `user` or `assistant`.
    pub(crate) role: String,
    /// What is said.
    pub(crate) content: String,
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
}

impl ChatRequest {
    /// The body's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let quote = |text: &str| Value::from(text).to_string();
        let messages: Vec<String> = self
            .messages
            .iter()
            .map(|turn| {
                format!(r#"{{"role":{},"content":{}}}"#, quote(&turn.role), quote(&turn.content))
            })
            .collect();
        let seed = self.seed.map(|seed| format!(r#","seed":{seed}"#)).unwrap_or_default();
        format!(
            r#"{{"model":{},"messages":[{}],"max_tokens":{},"temperature":{},"top_p":{},"top_k":{}{seed}}}"#,
            quote(&self.model),
            messages.join(","),
            self.max_tokens,
            self.temperature,
            self.top_p,
            self.top_k,
        )
        .into_bytes()
    }

    /// The conversation in a body: all that the effective input depends on.
    pub(crate) fn parse_messages(body: &[u8]) -> Result<Vec<Turn>> {
        let body: Value = serde_json::from_slice(body).context("request is not JSON")?;
        let messages = body.get("messages").and_then(Value::as_array);
        let messages = messages.context("request has no array `messages`")?;
        let text_of = |message: &Value, name: &str| -> Result<String> {
            let text = message.get(name).and_then(Value::as_str);
            Ok(text.with_context(|| format!("message has no text `{name}`"))?.to_owned())
        };
        messages
            .iter()
            .map(|message| {
                Ok(Turn { role: text_of(message, "role")?, content: text_of(message, "content")? })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_and_its_messages_come_back() {
        let turn = Turn { role: "user".into(), content: "quote \" and\nnewline \u{1f600}".into() };
        let request = ChatRequest {
            model: "default".into(),
            messages: vec![turn.clone()],
            max_tokens: 5,
            temperature: Micro::from_millionths(700_000),
            top_p: Micro::ONE,
            top_k: 0,
            seed: Some(u64::MAX),
        };
        let body = request.encode();
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["temperature"].to_string(), "0.7");
        assert_eq!(json["seed"], u64::MAX);
        assert_eq!(ChatRequest::parse_messages(&body).unwrap(), [turn]);
    }

    #[test]
    fn a_body_without_messages_is_refused() {
        for body in [&b"{}"[..], b"[]", b"", br#"{"messages":[{"role":"user"}]}"#] {
            assert!(ChatRequest::parse_messages(body).is_err());
        }
    }
}
