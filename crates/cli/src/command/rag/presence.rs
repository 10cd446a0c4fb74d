//! Whether the documents that a section names as context stand in the request at all.

use std::ops::Range;

use anyhow::Result;
use serde_json::Value;
use tally_attribution::{index::Index, retrieval::Passages};
use tally_core::{
    Digest,
    attribution::{Context, Section},
    cbor::Cbor as _,
    commitment::Field,
};
use tally_verifier::Receipt;

use super::{super::replay::Report, files, read};
use crate::{contributions, home::Home};

/// Notes of a replayed receipt whether its context's documents are in its request, as far as their
/// texts are in this home.
pub(in crate::command) fn note_context(
    report: &mut Report,
    receipt: &Receipt,
    home: Option<&Home>,
) -> Result<()> {
    let Some(opening) = receipt.openings.get(&Field::Attribution) else { return Ok(()) };
    let context = Section::parse(&opening.value)?.context;
    if context.is_empty() {
        return Ok(());
    }
    let count = context.len();
    let Some(request) = receipt.openings.get(&Field::Request) else {
        report.not_compared.push(format!("not opened: the {count} passages of context"));
        return Ok(());
    };
    compare(&context, &said_in(&request.value), &Texts::of(home)?, report);
    Ok(())
}

fn compare(context: &[Context], said: &[String], texts: &Texts, report: &mut Report) {
    let (count, mut same, mut absent) = (context.len(), 0_usize, 0_usize);
    let mut taken = vec![];
    for it in context {
        match texts.find(&it.document).map(|text| stands(text, it, said, &mut taken)) {
            Some(true) => same += 1,
            Some(false) => {
                let (document, start, end) = (it.document, it.start, it.end);
                report.differs.push(format!(
                    "not so: bytes {start} to {end} of document {document}, which is paid as context, stand in the request"
                ));
            }
            None => absent += 1,
        }
    }
    if same > 0 {
        let text = format!(
            "{same} of {count} passages paid as context stand in the request, byte for byte"
        );
        report.same.push(text);
    }
    if absent > 0 {
        report.not_compared.push(format!(
            "{absent} of {count} passages paid as context: their documents are not in this home"
        ));
    }
}

/// Whether a passage stands in a message where no other one does, and takes that place.
///
/// So what was said once is not paid twice, though two documents have the same words.
fn stands(
    text: &[u8],
    context: &Context,
    said: &[String],
    taken: &mut Vec<(usize, Range<usize>)>,
) -> bool {
    let passage = text.get(context.start as usize..context.end as usize);
    let passage = passage.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(passage) = passage.filter(|passage| !passage.is_empty()) else { return false };
    for (number, message) in said.iter().enumerate() {
        let mut from = 0;
        while let Some(at) = message.get(from..).and_then(|rest| rest.find(passage)) {
            let found = from + at..from + at + passage.len();
            let is_common = |(of, it): &&(usize, Range<usize>)| {
                *of == number && it.start < found.end && found.start < it.end
            };
            match taken.iter().find(is_common) {
                // Its end is the end of a character, and behind where this search began.
                Some((_, other)) => from = other.end,
                None => {
                    taken.push((number, found));
                    return true;
                }
            }
        }
    }
    false
}

/// What each message or prompt of a request says.
fn said_in(request: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(request).unwrap_or_default();
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let messages = messages.filter_map(|message| message.get("content"));
    messages.chain(body.get("prompt")).map(joined).collect()
}

/// A text, or the texts of its parts.
fn joined(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| part.get("text").unwrap_or(part).as_str().map(str::to_owned);
            parts.iter().filter_map(text).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// The texts that a home has: of registered datasets, and of its passages.
struct Texts {
    indices: Vec<Index>,
    passages: Vec<Passages>,
}

impl Texts {
    fn of(home: Option<&Home>) -> Result<Self> {
        let Some(home) = home else { return Ok(Self { indices: vec![], passages: vec![] }) };
        let passages = files(home)?.iter().map(|(_, path)| read(path)).collect::<Result<_>>()?;
        Ok(Self { indices: contributions::indices(home)?, passages })
    }

    /// The text with this digest, which is computed anew.
    fn find(&self, digest: &Digest) -> Option<&[u8]> {
        let passages = self.passages.iter().find_map(|all| all.document(digest));
        let kept = passages.map(|document| document.text.as_bytes());
        kept.or_else(|| {
            let texts = self.indices.iter().find_map(|index| {
                let at = index.documents().position(|document| document.digest == *digest)?;
                index.text(u32::try_from(at).ok()?)
            });
            texts.filter(|text| Digest::of_content(text) == *digest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "First words. Second words.";

    fn texts() -> Texts {
        let mut passages = Passages::new(Digest::of_content(b"encoder"), "ra-1", 1).unwrap();
        passages.add_document("a", TEXT, None).unwrap();
        Texts { indices: vec![], passages: vec![passages] }
    }

    fn context(text: &str, start: u32, end: u32) -> Context {
        Context { contribution: 0, document: Digest::of_content(text.as_bytes()), start, end }
    }

    fn compared(context: &[Context], request: &str) -> (usize, usize, usize) {
        let mut report = Report::default();
        compare(context, &said_in(request.as_bytes()), &texts(), &mut report);
        (report.same.len(), report.differs.len(), report.not_compared.len())
    }

    #[test]
    fn a_passage_that_is_paid_and_was_not_asked_with_differs() {
        let chat = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Sec"},{"type":"text","text":"ond words."}]}]}"#;
        assert_eq!(compared(&[context(TEXT, 13, 26)], chat), (1, 0, 0));
        assert_eq!(compared(&[context(TEXT, 12, 26)], chat), (0, 1, 0), "one byte more");
        assert_eq!(compared(&[context(TEXT, 0, 12)], chat), (0, 1, 0));
        assert_eq!(compared(&[context(TEXT, 13, 27)], chat), (0, 1, 0), "beyond the document");
        assert_eq!(compared(&[context("other", 0, 5)], chat), (0, 0, 1));
        let all = [context(TEXT, 13, 26), context(TEXT, 0, 12), context("other", 0, 5)];
        assert_eq!(compared(&all, chat), (1, 1, 1));
    }

    #[test]
    fn passages_are_found_in_every_form_of_request() {
        let passage = [context(TEXT, 0, 12)];
        for request in [
            r#"{"messages":[{"role":"user","content":"so: First words."}]}"#,
            r#"{"prompt":"First words. And"}"#,
            r#"{"prompt":["x","First words."]}"#,
        ] {
            assert_eq!(compared(&passage, request), (1, 0, 0), "{request}");
        }
        for request in ["", "{}", r#"{"prompt":[1,2]}"#, r#"{"user":"First words."}"#] {
            assert_eq!(compared(&passage, request), (0, 1, 0), "{request}");
        }
    }

    #[test]
    fn what_was_said_once_is_found_once() {
        let said = ["A lock. A lock and a key.".to_owned()];
        let document = Digest::of_content(b"a text");
        let part = |start, end| Context { contribution: 0, document, start, end };
        let mut taken = vec![];
        let mut stands = |text: &str, part| stands(text.as_bytes(), &part, &said, &mut taken);
        assert!(stands("A lock", part(0, 6)));
        assert!(stands("So: A lock", part(4, 10)));
        assert!(!stands("A lock", part(0, 6)), "it is said twice and no third time");
        assert!(!stands("lock", part(0, 4)), "inside what is taken");
        assert!(stands(" and a key.", part(0, 11)));
        assert!(!stands("A lock", part(6, 6)) && !stands("A lock", part(5, 7)));
    }
}
