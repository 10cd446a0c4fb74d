//! What `tokenizer.json` says about itself: its kind, the bytes of its tokens, what is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::tokenizer::Tokenizer as Inner;

use tally_core::computation::TokenId;

use super::{TokenizerError, VOCABULARY_MAX};

/// The character that stands for a space in `SentencePiece`'s vocabularies.
const SPACE: char = '\u{2581}';
/// What begins a token of `WordPiece` that continues a word.
const CONTINUING: &str = "##";

/// How a tokenizer writes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BPE over bytes, written as printable characters.
    ByteLevel,
    /// BPE over characters with "▁" for a space, and bytes for characters it lacks.
    SentencePiece,
    /// Words and parts of words, for encoders: the text of tokens is not exact.
    WordPiece,
}

/// The parts of `tokenizer.json` that can make it unusable here.
#[derive(Deserialize)]
pub(super) struct Described {
    #[serde(default)]
    added_tokens: Vec<DescribedToken>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: DescribedModel,
}

#[derive(Deserialize)]
struct DescribedToken {
    id: TokenId,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct DescribedModel {
    r#type: Option<String>,
    dropout: Option<serde_json::Number>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

impl Described {
    /// The tokenizer's kind, unless it has a feature that is refused.
    pub(super) fn kind(&self) -> Result<Kind, TokenizerError> {
        if let Some(dropout) = &self.model.dropout {
            return refuse("model.dropout", dropout.to_string(), "null");
        }
        let is_word = |token: &&DescribedToken| token.special && token.single_word;
        if let Some(token) = self.added_tokens.iter().find(is_word) {
            return refuse("added_tokens", token.content.clone(), "no single_word");
        }
        let kind = self.decoder_kind()?;
        let model = self.model.r#type.as_deref();
        match kind {
            Kind::ByteLevel | Kind::SentencePiece => {
                if let Some(found) = model.filter(|found| *found != "BPE") {
                    return refuse("model.type", found.to_owned(), "BPE beside this decoder");
                }
            }
            Kind::WordPiece => {
                if model != Some("WordPiece") {
                    return refuse("model.type", format!("{model:?}"), "WordPiece");
                }
                let prefix = self.model.continuing_subword_prefix.as_deref();
                if prefix.is_some_and(|prefix| prefix != CONTINUING) {
                    let field = "model.continuing_subword_prefix";
                    return refuse(field, format!("{prefix:?}"), CONTINUING);
                }
            }
        }
        if kind == Kind::SentencePiece {
            self.refuse_pieces()?;
        }
        Ok(kind)
    }

    fn decoder_kind(&self) -> Result<Kind, TokenizerError> {
        let supported = "ByteLevel, WordPiece, Metaspace or SentencePiece's sequence";
        let Some(decoder) = &self.decoder else {
            return refuse("decoder", "null".to_owned(), supported);
        };
        match decoder.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => Ok(Kind::ByteLevel),
            Some("WordPiece") => Ok(Kind::WordPiece),
            Some("Metaspace") if is_metaspace(decoder) => Ok(Kind::SentencePiece),
            Some("Sequence") if is_of_sentence_piece(decoder) => Ok(Kind::SentencePiece),
            _ => refuse("decoder", shortened(decoder), supported),
        }
    }

    /// Refuses what would make a `SentencePiece` vocabulary's texts inexact.
    fn refuse_pieces(&self) -> Result<(), TokenizerError> {
        let model = &self.model;
        for (field, found) in [
            ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
            ("model.end_of_word_suffix", &model.end_of_word_suffix),
        ] {
            if let Some(found) = found.as_ref().filter(|found| !found.is_empty()) {
                return refuse(field, found.clone(), "null");
            }
        }
        match &self.pre_tokenizer {
            None | Some(Value::Null) => Ok(()),
            Some(found) if is_metaspace(found) => Ok(()),
            Some(found) => refuse("pre_tokenizer", shortened(found), "Metaspace with ▁, or null"),
        }
    }

    pub(super) fn unknown_token(&self) -> Option<&str> {
        self.model.unk_token.as_deref()
    }

    /// The control tokens that take white space before or after them.
    pub(super) fn strips(&self) -> BTreeMap<TokenId, (bool, bool)> {
        let strips = self.added_tokens.iter().filter(|token| token.special);
        let strips = strips.filter(|token| token.lstrip || token.rstrip);
        strips.map(|token| (token.id, (token.lstrip, token.rstrip))).collect()
    }

    /// The tokens before and after a sentence, which only an encoder's tokenizer needs.
    pub(super) fn around(&self, kind: Kind) -> Result<[Vec<TokenId>; 2], TokenizerError> {
        if kind != Kind::WordPiece {
            return Ok([vec![], vec![]]);
        }
        let found = self.post_processor.as_ref().unwrap_or(&Value::Null);
        let around = match found.get("type").and_then(Value::as_str) {
            None if found.is_null() => Some([vec![], vec![]]),
            Some("TemplateProcessing") => around_of_template(found),
            Some("BertProcessing") => {
                let token = |name| Some(vec![token_id(found.get(name)?.get(1)?)?]);
                token("cls").zip(token("sep")).map(|(before, after)| [before, after])
            }
            _ => None,
        };
        let supported = "TemplateProcessing with one sequence of type 0, or BertProcessing";
        let Some(around) = around else {
            return refuse("post_processor", shortened(found), supported);
        };
        Ok(around)
    }

    /// The bytes of every token, by id.
    pub(super) fn token_bytes(
        &self,
        inner: &Inner,
        kind: Kind,
    ) -> Result<Vec<Option<Box<[u8]>>>, TokenizerError> {
        let vocabulary: BTreeMap<TokenId, String> =
            inner.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
        let highest = vocabulary.last_key_value().map(|(id, _)| *id);
        let size = match highest {
            Some(id) if id < VOCABULARY_MAX => id as usize + 1,
            _ => return Err(TokenizerError::Vocabulary { found: format!("{highest:?}") }),
        };
        let alphabet = byte_alphabet();
        let mut bytes = vec![None; size];
        for (id, text) in &vocabulary {
            bytes[*id as usize] = match kind {
                Kind::ByteLevel => text.chars().map(|char| alphabet.get(&char).copied()).collect(),
                Kind::SentencePiece => Some(self.piece_bytes(text)),
                Kind::WordPiece => Some(match text.strip_prefix(CONTINUING) {
                    Some(rest) => rest.as_bytes().into(),
                    None => format!(" {text}").into_bytes().into(),
                }),
            };
        }
        // The library numbers added tokens anew where it likes: only what was stated is taken.
        for DescribedToken { id, content, special, .. } in &self.added_tokens {
            let found = vocabulary.get(id).filter(|found| *found == content);
            if found.is_none() || inner.token_to_id(content) != Some(*id) {
                let found = vocabulary.get(id).cloned().unwrap_or_default();
                let (content, expected) = (content.clone(), *id);
                return Err(TokenizerError::AddedToken { content, expected, found });
            }
            let own = if *special { &[] } else { content.as_bytes() };
            bytes[*id as usize] = Some(own.into());
        }
        Ok(bytes)
    }

    /// A piece with its spaces, or the byte that it stands for.
    fn piece_bytes(&self, text: &str) -> Box<[u8]> {
        let byte = self.model.byte_fallback.then(|| parse_byte(text)).flatten();
        match byte {
            Some(byte) => Box::new([byte]),
            None => text.replace(SPACE, " ").into_bytes().into(),
        }
    }
}

fn refuse<T>(
    field: &'static str,
    found: String,
    supported: &'static str,
) -> Result<T, TokenizerError> {
    Err(TokenizerError::Feature { field, found, supported })
}

/// The byte of "<0xHH>".
fn parse_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn is_metaspace(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("Metaspace")
        && value.get("replacement").and_then(Value::as_str) == Some("\u{2581}")
}

/// Whether a sequence of decoders writes spaces for "▁" and bytes for their tokens, and no more
/// than take a text's first space away.
fn is_of_sentence_piece(decoder: &Value) -> bool {
    let steps = [
        json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
    ];
    let found = decoder.get("decoders").and_then(Value::as_array);
    found.is_some_and(|found| found[..] == steps[..] || found[..] == steps[..3])
}

/// The tokens of a template before and after its one sequence.
fn around_of_template(template: &Value) -> Option<[Vec<TokenId>; 2]> {
    let tokens = template.get("special_tokens")?;
    let mut around = [vec![], vec![]];
    let mut is_after = false;
    for piece in template.get("single")?.as_array()? {
        if let Some(token) = piece.get("SpecialToken") {
            let ids = tokens.get(token.get("id")?.as_str()?)?.get("ids")?.as_array()?;
            let [before, after] = &mut around;
            let side = if is_after { after } else { before };
            for id in ids {
                side.push(token_id(id)?);
            }
            continue;
        }
        let sequence = piece.get("Sequence")?;
        let is_known = sequence.get("id")? == "A" && sequence.get("type_id")? == 0;
        if is_after || !is_known {
            return None;
        }
        is_after = true;
    }
    is_after.then_some(around)
}

fn token_id(value: &Value) -> Option<TokenId> {
    value.as_u64().and_then(|id| TokenId::try_from(id).ok()).filter(|id| *id < VOCABULARY_MAX)
}

/// A description, short enough for an error.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(120).collect()
}

/// The characters by which byte-level vocabularies write bytes: printable Latin-1 for itself, the
/// other bytes in order from U+0100.
fn byte_alphabet() -> BTreeMap<char, u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_printable(byte));
    let others = ('\u{100}'..).zip(others);
    (0..=u8::MAX).filter(is_printable).map(|byte| (char::from(byte), byte)).chain(others).collect()
}
