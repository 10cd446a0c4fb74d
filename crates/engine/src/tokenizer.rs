//! Text to token ids and back, by the tokenizer of the model.
//!
//! A token that controls the model (`<|end|>`, say) is matched only in what the chat template
//! itself wrote, never in content: what a user types stays text, byte for byte. Content and the
//! template's own text between two control tokens are encoded as one run, so that chats without
//! such texts get the same ids as everywhere else.
//!
//! Decoding is of bytes: each token has its own, their concatenation is the text, and a
//! [`Detokeniser`] gives it out as soon as it is whole characters. Control tokens have no text.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use tokenizers::tokenizer::Tokenizer as Inner;

use tally_core::computation::TokenId;

#[cfg(test)]
mod tests;

/// Most bytes of one text to encode.
pub const TEXT_BYTES_MAX: usize = 1 << 24;
/// Most tokens of a vocabulary.
pub const VOCABULARY_MAX: u32 = 1 << 20;
/// Most bytes of `tokenizer.json`.
pub const TOKENIZER_BYTES_MAX: usize = 1 << 26;

/// Why a tokenizer is not taken, or a text or token not converted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.json` is longer than is read.
    #[error("tokenizer.json has {found} bytes, the limit is {TOKENIZER_BYTES_MAX}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// `tokenizer.json` cannot be parsed.
    #[error("tokenizer.json is refused: {reason}")]
    Parse {
        /// The reason that the tokenizer's library gives.
        reason: String,
    },
    /// A feature of the tokenizer that is not supported here.
    #[error("tokenizer.json has {field} = {found}, expected {supported}")]
    Feature {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// No tokens, or more than [`VOCABULARY_MAX`].
    #[error("tokenizer.json has {found} as its highest token id, expected 0 to {}", VOCABULARY_MAX - 1)]
    Vocabulary {
        /// The highest id; `None` is shown for an empty vocabulary.
        found: String,
    },
    /// An added token does not have the id that is stated for it, or shares it with another.
    #[error(
        "added token {content} is stated to have id {expected}, which the vocabulary gives to {found}"
    )]
    AddedToken {
        /// The token's text.
        content: String,
        /// The id that is stated.
        expected: TokenId,
        /// The text that has this id.
        found: String,
    },
    /// A text is longer than is encoded.
    #[error("the text has {found} bytes, the limit is {TEXT_BYTES_MAX}")]
    TextTooLong {
        /// Its size in bytes.
        found: usize,
    },
    /// The tokenizer cannot encode a text.
    #[error("the text cannot be encoded: {reason}")]
    Encode {
        /// The reason that the tokenizer's library gives.
        reason: String,
    },
    /// The tokenizer made a control token of content.
    #[error("content was encoded as control token {token}")]
    ControlInContent {
        /// The token.
        token: TokenId,
    },
    /// A token id that the tokenizer does not have.
    #[error("token id {found} has no text in this tokenizer")]
    Token {
        /// The id.
        found: TokenId,
    },
}

/// A part of a rendered chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What the template wrote: control tokens are matched in it.
    Template(String),
    /// What came from a message: it is text alone.
    Content(String),
}

impl Piece {
    /// The piece's text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Template(text) | Self::Content(text) => text,
        }
    }
}

/// A tokenizer, ready to encode and decode.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// Texts of the control tokens, with their ids.
    control: BTreeMap<String, TokenId>,
    /// Bytes of every token by id: none for a control token.
    bytes: Vec<Option<Box<[u8]>>>,
}

impl Tokenizer {
    /// Parses `tokenizer.json`.
    ///
    /// # Errors
    /// A file that is too long or unreadable, an empty vocabulary or one with an id beyond the
    /// limit, or a feature by which ids would depend on chance (dropout), or texts on their
    /// surroundings (control tokens that swallow white space, a decoder that is not byte-level).
    pub fn parse(json: &[u8]) -> Result<Self, TokenizerError> {
        if json.len() > TOKENIZER_BYTES_MAX {
            return Err(TokenizerError::TooLarge { found: json.len() });
        }
        let described: Described = serde_json::from_slice(json)
            .map_err(|error| TokenizerError::Parse { reason: error.to_string() })?;
        described.refuse_features()?;
        let mut inner = Inner::from_bytes(json)
            .map_err(|error| TokenizerError::Parse { reason: error.to_string() })?;
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Parse { reason: error.to_string() })?
            .with_padding(None)
            .set_encode_special_tokens(true);
        let control: BTreeMap<_, _> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (token.content, id))
            .collect();
        let bytes = token_bytes(&inner, &described.added_tokens)?;
        Ok(Self { inner, control, bytes })
    }

    /// One more than the highest token id.
    #[must_use]
    pub fn vocabulary_size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// The control tokens, by text.
    #[must_use]
    pub const fn control_tokens(&self) -> &BTreeMap<String, TokenId> {
        &self.control
    }

    /// The ids of a text in which nothing is a control token and to which none is added.
    ///
    /// # Errors
    /// A text that is too long or that the tokenizer cannot encode.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenizerError::TextTooLong { found: text.len() });
        }
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|error| TokenizerError::Encode { reason: error.to_string() })?;
        let ids = encoding.get_ids();
        let is_control = |id: &&TokenId| self.control.values().any(|control| control == *id);
        match ids.iter().find(is_control) {
            Some(token) => Err(TokenizerError::ControlInContent { token: *token }),
            None => Ok(ids.to_vec()),
        }
    }

    /// The ids of a rendered chat: control tokens where the template wrote them, text elsewhere.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the whole chat's length.
    pub fn encode_pieces(&self, pieces: &[Piece]) -> Result<Vec<TokenId>, TokenizerError> {
        let size = pieces.iter().map(|piece| piece.text().len()).sum();
        if size > TEXT_BYTES_MAX {
            return Err(TokenizerError::TextTooLong { found: size });
        }
        let mut ids = Vec::new();
        let mut run = String::new();
        for piece in pieces {
            let mut rest = match piece {
                Piece::Content(text) => {
                    run.push_str(text);
                    continue;
                }
                Piece::Template(text) => text.as_str(),
            };
            while let Some((before, token, after)) = self.split_at_control(rest) {
                run.push_str(before);
                ids.extend(self.encode(&std::mem::take(&mut run))?);
                ids.push(token);
                rest = after;
            }
            run.push_str(rest);
        }
        ids.extend(self.encode(&run)?);
        Ok(ids)
    }

    /// The bytes of a token, none of them for a control token; `None` for an id that does not
    /// exist.
    #[must_use]
    pub fn token_bytes(&self, token: TokenId) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(token).ok()?)?.as_deref()
    }

    /// The text of tokens; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// A token id that does not exist.
    pub fn decode(&self, tokens: &[TokenId]) -> Result<String, TokenizerError> {
        let mut bytes = Vec::new();
        for token in tokens {
            bytes.extend_from_slice(self.known_bytes(*token)?);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn known_bytes(&self, token: TokenId) -> Result<&[u8], TokenizerError> {
        self.token_bytes(token).ok_or(TokenizerError::Token { found: token })
    }

    /// The first control token in a text, the longest of those that begin there.
    fn split_at_control<'a>(&self, text: &'a str) -> Option<(&'a str, TokenId, &'a str)> {
        let found = self.control.iter().filter(|(control, _)| !control.is_empty());
        let found =
            found.filter_map(|(control, id)| Some((text.find(control.as_str())?, control, id)));
        let first = found.min_by_key(|(start, control, _)| (*start, usize::MAX - control.len()));
        first.map(|(start, control, id)| (&text[..start], *id, &text[start + control.len()..]))
    }
}

/// Gives out the text of tokens as they come, never a part of a character.
///
/// The texts that [`Detokeniser::push`] and [`Detokeniser::finish`] return concatenate to what
/// [`Tokenizer::decode`] makes of all tokens.
#[derive(Clone, Debug, Default)]
pub struct Detokeniser {
    /// At most three bytes: the start of a character.
    pending: Vec<u8>,
}

impl Detokeniser {
    /// Adds a token and returns the text that is now final.
    ///
    /// # Errors
    /// A token id that does not exist; nothing is added then.
    pub fn push(
        &mut self,
        tokenizer: &Tokenizer,
        token: TokenId,
    ) -> Result<String, TokenizerError> {
        self.pending.extend_from_slice(tokenizer.known_bytes(token)?);
        let whole = self.pending.len() - incomplete_len(&self.pending);
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending = rest;
        Ok(text)
    }

    /// The text of what was still incomplete.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end may yet become a character.
fn incomplete_len(mut bytes: &[u8]) -> usize {
    while let Err(error) = std::str::from_utf8(bytes) {
        let rest = &bytes[error.valid_up_to()..];
        match error.error_len() {
            None => return rest.len(),
            Some(wrong) => bytes = &rest[wrong..],
        }
    }
    0
}

/// The parts of `tokenizer.json` that can make it unusable here.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    added_tokens: Vec<DescribedToken>,
    decoder: Option<Typed>,
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
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct DescribedModel {
    dropout: Option<serde_json::Number>,
}

impl Described {
    fn refuse_features(&self) -> Result<(), TokenizerError> {
        let refuse =
            |field, found, supported| Err(TokenizerError::Feature { field, found, supported });
        if let Some(dropout) = &self.model.dropout {
            return refuse("model.dropout", dropout.to_string(), "null");
        }
        match &self.decoder {
            Some(decoder) if decoder.r#type == "ByteLevel" => {}
            Some(decoder) => return refuse("decoder.type", decoder.r#type.clone(), "ByteLevel"),
            None => return refuse("decoder", "null".to_owned(), "ByteLevel"),
        }
        let strips = |token: &&DescribedToken| {
            token.special && (token.single_word || token.lstrip || token.rstrip)
        };
        match self.added_tokens.iter().find(strips) {
            Some(token) => {
                refuse("added_tokens", token.content.clone(), "no lstrip, rstrip or single_word")
            }
            None => Ok(()),
        }
    }
}

/// The bytes of every token of a byte-level tokenizer, by id.
fn token_bytes(
    inner: &Inner,
    added_tokens: &[DescribedToken],
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
        bytes[*id as usize] =
            text.chars().map(|char| alphabet.get(&char).copied()).collect::<Option<Box<[u8]>>>();
    }
    // The library numbers added tokens anew where it likes: only what was stated is taken.
    for DescribedToken { id, content, special, .. } in added_tokens {
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

/// The characters by which byte-level vocabularies write bytes: printable Latin-1 for itself, the
/// other bytes in order from U+0100.
fn byte_alphabet() -> BTreeMap<char, u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_printable(byte));
    let others = ('\u{100}'..).zip(others);
    (0..=u8::MAX).filter(is_printable).map(|byte| (char::from(byte), byte)).chain(others).collect()
}
