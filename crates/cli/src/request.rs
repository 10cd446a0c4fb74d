//! The request body: an OpenAI-shaped chat request as JSON, written once and parsed on replay.
//!
//! The receipt commits to these bytes, so that whoever holds them can derive the effective input
//! again. Numbers that matter are decimals in the text and never become floats.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tally_core::computation::{Micro, SamplingParameters, SignedMicro, TokenId};
use tally_engine::template::{Message, Role};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// Parses a body down to what a computation follows from.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let body: Body<'_> = serde_json::from_slice(body).context("request is no chat request")?;
        let decimal = |name: &str, raw: &RawValue| {
            let expected =
                || format!("`{name}` is {raw}, expected a decimal of at most six places");
            Micro::parse(raw.get()).with_context(expected)
        };
        Ok(Self {
            model: body.model,
            messages: body.messages,
            max_tokens: body.max_tokens,
            temperature: decimal("temperature", body.temperature)?,
            top_p: decimal("top_p", body.top_p)?,
            top_k: body.top_k,
            seed: body.seed,
        })
    }
}

/// The messages that a chat template renders.
pub(crate) fn messages_of(turns: &[Turn]) -> Result<Vec<Message>> {
    let message = |turn: &Turn| match Role::parse(&turn.role) {
        Some(role) => Ok(Message::new(role, turn.content.as_str())),
        None => {
            bail!("`{}` is no role: expected system, user, assistant or tool", turn.role)
        }
    };
    turns.iter().map(message).collect()
}

/// The body as JSON has it. Unknown fields are refused: they might have asked for something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    model: String,
    messages: Vec<Turn>,
    max_tokens: u32,
    #[serde(borrow)]
    temperature: &'a RawValue,
    #[serde(borrow)]
    top_p: &'a RawValue,
    top_k: u32,
    seed: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_and_its_messages_come_back() {
        let turn = Turn { role: "user".into(), content: "quote \" and\nnewline \u{1f600}".into() };
        let request = ChatRequest {
            model: "default".into(),
            messages: vec![turn],
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
        assert_eq!(ChatRequest::parse(&body).unwrap(), request);
    }

    #[test]
    fn a_body_that_lacks_or_adds_a_field_is_refused() {
        let good =
            r#"{"model":"m","messages":[],"max_tokens":1,"temperature":0.7,"top_p":1,"top_k":0}"#;
        assert!(ChatRequest::parse(good.as_bytes()).is_ok());
        let bad = [
            good.replace("0.7", "7e-1"),
            good.replace("0.7", "\"0.7\""),
            good.replace(r#""top_k":0"#, r#""top_k":0,"stop":["x"]"#),
            good.replace(r#""messages":[],"#, ""),
            good.replace("[]", r#"[{"role":"user"}]"#),
        ];
        for body in bad.iter().map(String::as_str).chain(["", "[]", "{}"]) {
            assert!(ChatRequest::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
