//! `tally receipt show`: what was asked and answered, as far as the receipt opens it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tally_core::commitment::Field;
use tally_server::view::time_text;
use tally_verifier::{Receipt, open};

use super::Verdict;
use crate::{
    args,
    context::Context,
    output::{Colour, Output},
    receipts,
};

pub(super) fn run(args: &args::Show, context: &Context) -> Result<Verdict> {
    let path = receipts::find(&args.receipt, context)?;
    let bytes = receipts::read(&path)?;
    let opened = open(&bytes).with_context(|| format!("{} cannot be shown", path.display()))?;
    let receipt = opened.receipt();
    let output = context.output;
    if let Some(field) = args.field {
        let opening = receipt.openings.get(&field);
        let opening = opening.with_context(|| {
            format!("the receipt does not open its {field}\n\nhint: it opens {}", list(receipt))
        })?;
        output.bytes(&opening.value)?;
        return Ok(Verdict::Satisfied);
    }
    let text = |field: Field| {
        receipt.openings.get(&field).map(|opening| String::from_utf8_lossy(&opening.value))
    };
    let (asked, answered) = (text(Field::Request), text(Field::Response));
    output.json(&json!({
        "receipt_digest": receipt.digest.to_string(),
        "time": time_text(receipt.statement.time_ms),
        "request": asked,
        "response": answered,
        "opened": receipt.openings.keys().map(ToString::to_string).collect::<Vec<_>>(),
    }))?;
    output.line(&output.paint(Colour::Bold, &format!("Receipt {}", receipt.digest)))?;
    let time = time_text(receipt.statement.time_ms);
    output.line(&format!("{time} by the issuer's clock; opens {}", list(receipt)))?;
    let has_words = asked.is_some() || answered.is_some();
    let closed = |tokens: Field| match receipt.openings.contains_key(&tokens) {
        true => format!("(closed as words, open as the model's token ids: --field {tokens})"),
        false => "(the receipt keeps this closed)".to_owned(),
    };
    let asked = asked.map_or_else(|| closed(Field::Input), |body| request_text(&body));
    part(output, "Asked", &asked)?;
    match receipt.statement.outcome.refusal() {
        Some(refusal) => {
            part(output, "Not answered", &format!("the node refused: {}", refusal.code))?;
        }
        None => {
            let answered =
                answered.map_or_else(|| closed(Field::Output), |body| response_text(&body));
            part(output, "Answered", &answered)?;
        }
    }
    output.line("")?;
    output.line(match has_words {
        true => "These are the words that the receipt commits to; who vouches for it, `tally verify` tells",
        false => "Whoever has the words can compare them: `tally verify --request FILE --response FILE`",
    })?;
    Ok(Verdict::Satisfied)
}

fn list(receipt: &Receipt) -> String {
    let names: Vec<_> = receipt.openings.keys().map(ToString::to_string).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn part(output: Output, title: &str, text: &str) -> Result<()> {
    output.line("")?;
    output.line(&output.paint(Colour::Bold, title))?;
    for line in text.lines() {
        output.piece(&format!("  {line}\n"))?;
    }
    Ok(())
}

/// The words of a request; what is no request of the API is shown as it is.
fn request_text(body: &str) -> String {
    let Ok(parsed) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let words = match (parsed.get("messages"), parsed.get("prompt"), parsed.get("input")) {
        (Some(Value::Array(messages)), _, _) => messages.iter().map(message_text).collect(),
        (_, Some(words), _) | (_, _, Some(words)) => texts(words),
        _ => vec![],
    };
    if words.is_empty() { body.to_owned() } else { words.join("\n") }
}

fn message_text(message: &Value) -> String {
    let role = message.get("role").and_then(Value::as_str).unwrap_or("?");
    let content = message.get("content").map(texts).unwrap_or_default().join("\n");
    let calls = message.get("tool_calls").map(Value::to_string).unwrap_or_default();
    format!("{role}: {content}{calls}")
}

/// The words of an answer: of a whole one, or put together from the events of a stream.
fn response_text(body: &str) -> String {
    let documents: Option<Vec<Value>> = body
        .lines()
        .filter(|line| *line != "[DONE]")
        .map(|line| serde_json::from_str(line).ok())
        .collect();
    let documents = match (serde_json::from_str::<Value>(body), documents) {
        (Ok(whole), _) => vec![whole],
        (Err(_), Some(events)) => events,
        (Err(_), None) => return body.to_owned(),
    };
    let mut choices: Vec<String> = vec![];
    for choice in documents.iter().filter_map(|it| it.get("choices")?.as_array()).flatten() {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let Ok(index) = usize::try_from(index.min(CHOICES_SHOWN)) else { continue };
        choices.resize(choices.len().max(index + 1), String::new());
        choices[index].push_str(&choice_text(choice));
    }
    match choices.as_slice() {
        [] => body.to_owned(),
        [only] => only.clone(),
        several => several
            .iter()
            .enumerate()
            .map(|(index, text)| format!("[{index}] {text}"))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// Most choices that an answer can have.
const CHOICES_SHOWN: u64 = 127;

fn choice_text(choice: &Value) -> String {
    let said = choice.get("message").or_else(|| choice.get("delta"));
    let content = match said {
        Some(said) => said.get("content"),
        None => choice.get("text"),
    };
    let calls = said.and_then(|said| said.get("tool_calls")).map(Value::to_string);
    format!("{}{}", content.and_then(Value::as_str).unwrap_or_default(), calls.unwrap_or_default())
}

/// The texts in a value: a string, a list of them, or a list of content parts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(part) => part.get("text").map(texts).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_requests_are_found() {
        let chat = r#"{"messages":[{"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"What is a lock?"}]}]}"#;
        assert_eq!(request_text(chat), "system: Be brief.\nuser: What is a lock?");
        assert_eq!(request_text(r#"{"prompt":"A lock is"}"#), "A lock is");
        assert_eq!(request_text(r#"{"input":["a","b"]}"#), "a\nb");
        assert_eq!(request_text("not JSON"), "not JSON");
    }

    #[test]
    fn the_words_of_answers_are_found_whole_and_in_events() {
        let whole = r#"{"choices":[{"index":0,"message":{"content":"A lock."}}]}"#;
        assert_eq!(response_text(whole), "A lock.");
        let events = "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A \"}}]}\n{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lock.\"}}]}\n[DONE]\n";
        assert_eq!(response_text(events), "A lock.");
        let two = r#"{"choices":[{"index":1,"text":"b"},{"index":0,"text":"a"}]}"#;
        assert_eq!(response_text(two), "[0] a\n[1] b");
        assert_eq!(response_text("plain words"), "plain words");
    }
}
