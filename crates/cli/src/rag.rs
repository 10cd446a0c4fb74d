//! The one form in which passages stand in a prompt, so that whoever holds the request can take it apart.
//!
//! The request has one message of the user, whose content has a part for the instruction, one for
//! each passage and one for the question; its `user` says which document and bytes each passage is.
//! A prompt with fewer passages is what would have been asked had they not been found: the others
//! are numbered anew. `docs/rag.md` shows the form.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tally_core::{Digest, computation::TokenId};
use tally_engine::{Language, template::ChatOptions};

use crate::request::{Turn, messages_of};

/// Name of the form.
pub(crate) const FORM: &str = "tally-rag/1";
/// Most passages of a prompt: `--top` allows no more.
const PASSAGES_MAX: usize = 64;

const INSTRUCTION: &str = "Answer the question from these passages.\n\n";
const QUESTION: &str = "Question: ";

/// A question with the passages that it is to be answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) passages: Vec<Quoted>,
    pub(crate) question: String,
}

/// A passage as it stands in a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    /// SHA-256 of the whole document.
    pub(crate) document: Digest,
    /// Its first byte within the document.
    pub(crate) start: u32,
    /// The byte after its last.
    pub(crate) end: u32,
    /// The document's name, on one line.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// As much of a request as this form is about.
#[derive(Deserialize)]
struct Body {
    messages: Vec<Said>,
    user: String,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: String,
}

impl Prompt {
    /// Takes a request apart.
    pub(crate) fn parse(request: &[u8]) -> Result<Self> {
        let other = "the request is not in the form that `tally rag ask` gives it";
        let body: Body = serde_json::from_slice(request).context(other)?;
        let mut words = body.user.split(' ');
        ensure!(words.next() == Some(FORM), "{other}");
        let [Said { role, content }] = body.messages.as_slice() else { anyhow::bail!("{other}") };
        let parts: Vec<&str> = content.iter().map(|part| part.text.as_str()).collect();
        let [_, passages @ .., question] = parts.as_slice() else { anyhow::bail!("{other}") };
        ensure!(passages.len() <= PASSAGES_MAX, "more than {PASSAGES_MAX} passages in a prompt");
        let quoted = passages.iter().map(|part| Quoted::parse(part, words.next()?));
        let quoted = quoted.collect::<Option<_>>().context(other)?;
        let question = question.strip_prefix(QUESTION).context(other)?.to_owned();
        let prompt = Self { passages: quoted, question };
        // One prompt, one form: what is left out above shows here.
        let is_whole = prompt.parts() == parts && prompt.label() == body.user && role == "user";
        ensure!(is_whole, "{other}");
        Ok(prompt)
    }

    /// The conversation that is asked.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        vec![Turn { role: "user".into(), content: self.parts() }]
    }

    /// What the request says of its passages in `user`.
    pub(crate) fn label(&self) -> String {
        let places = self.passages.iter().map(|it| format!(" {}", it.place()));
        format!("{FORM}{}", places.collect::<String>())
    }

    /// The prompt had only these passages been found.
    pub(crate) fn only(&self, is_there: &dyn Fn(&Quoted) -> bool) -> Self {
        let passages = self.passages.iter().filter(|passage| is_there(passage)).cloned();
        Self { passages: passages.collect(), question: self.question.clone() }
    }

    /// Its tokens in a model's template.
    pub(crate) fn tokens(&self, language: &Language) -> Result<Vec<TokenId>> {
        Ok(language.encode_chat(&messages_of(&self.turns())?, &ChatOptions::default())?)
    }

    /// The documents in the order in which they first stand there.
    pub(crate) fn documents(&self) -> Vec<Digest> {
        let mut found: Vec<Digest> = vec![];
        for passage in &self.passages {
            if !found.contains(&passage.document) {
                found.push(passage.document);
            }
        }
        found
    }

    fn parts(&self) -> Vec<String> {
        let passages = (1..)
            .zip(&self.passages)
            .map(|(number, it): (u32, &Quoted)| format!("[{number}] {}\n{}\n\n", it.name, it.text));
        let question = format!("{QUESTION}{}", self.question);
        [INSTRUCTION.to_owned()].into_iter().chain(passages).chain([question]).collect()
    }
}

impl Quoted {
    /// Document and bytes as the label has them.
    fn place(&self) -> String {
        format!("{}:{}-{}", self.document, self.start, self.end)
    }

    fn parse(part: &str, place: &str) -> Option<Self> {
        let (document, bytes) = place.split_once(':')?;
        let (start, end) = bytes.split_once('-')?;
        let (head, text) = part.strip_suffix("\n\n")?.split_once('\n')?;
        let name = head.split_once("] ")?.1;
        Some(Self {
            document: Digest::parse_hex(document)?,
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }
}

/// A document's name on one line.
pub(crate) fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use tally_core::computation::Micro;

    use super::*;
    use crate::request::ChatRequest;

    fn quoted(name: &str, text: &str) -> Quoted {
        let document = Digest::of_content(text.as_bytes());
        let end = u32::try_from(text.len()).unwrap();
        Quoted { document, start: 0, end, name: name.into(), text: text.into() }
    }

    fn prompt() -> Prompt {
        let passages =
            vec![quoted("a] b.txt", "First.\n\n[2] x\n"), quoted("é", "\n"), quoted("", "Third.")];
        Prompt { passages, question: "Question: why?\n\n".into() }
    }

    fn body(prompt: &Prompt) -> Vec<u8> {
        let request = ChatRequest {
            model: "default".into(),
            messages: prompt.turns(),
            max_tokens: 5,
            temperature: Micro::ONE,
            top_p: Micro::ONE,
            top_k: 0,
            seed: None,
            user: Some(prompt.label()),
        };
        request.encode()
    }

    #[test]
    fn a_prompt_comes_back_from_its_request_whatever_its_texts_say() {
        let prompt = prompt();
        assert_eq!(Prompt::parse(&body(&prompt)).unwrap(), prompt);
        let empty = prompt.only(&|_| false);
        assert_eq!(Prompt::parse(&body(&empty)).unwrap(), empty);
        assert_eq!(empty.parts(), [INSTRUCTION, "Question: Question: why?\n\n"]);
    }

    #[test]
    fn what_remains_is_numbered_anew() {
        let prompt = prompt();
        let rest = prompt.only(&|it| it.name != "é");
        assert_eq!(rest.parts()[2], "[2] \nThird.\n\n");
        assert_eq!(rest.passages, [prompt.passages[0].clone(), prompt.passages[2].clone()]);
        assert_eq!(prompt.documents().len(), 3);
    }

    #[test]
    fn a_request_of_another_form_is_refused() {
        let text = String::from_utf8(body(&prompt())).unwrap();
        for (from, to) in [
            ("tally-rag/1", "tally-rag/2"),
            ("[1] a", "[2] a"),
            ("\"user\",\"content\"", "\"system\",\"content\""),
            ("from these", "from those"),
            (":0-6\"", ":0-06\""),
            (":0-6\"", ":0-6 \""),
            ("{\"type\":\"text\",\"text\":\"[3] \\nThird.\\n\\n\"},", ""),
            ("Third.\\n\\n", "Third.\\n"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let changed = text.replacen(from, to, 1);
            assert!(Prompt::parse(changed.as_bytes()).is_err(), "{from} → {to}");
        }
        let plain = br#"{"messages":[{"role":"user","content":"x"}]}"#;
        assert!(Prompt::parse(plain).is_err());
        assert!(Prompt::parse(b"x").is_err());
    }

    #[test]
    fn a_name_stands_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}c"), "a b c");
    }
}
