//! Text to token ids and back, by the tokenizer of the model.
//!
//! A token that controls the model (`<|end|>`, say) is matched only in what the chat template
//! itself wrote, never in content: what a user types stays text, byte for byte. Content and the
//! template's own text between two control tokens are encoded as one run, so that chats without
//! such texts get the same ids as everywhere else.
//!
//! Decoding is of bytes: each token has its own, their concatenation is the text, and a
//! [`Detokeniser`] gives it out as soon as it is whole characters. Control tokens have no text.
//!
//! Three kinds are read ([`Kind`]): byte-level BPE and `SentencePiece`'s BPE, whose bytes are exact,
//! and `WordPiece`, which only encodes. `SentencePiece` puts a space before a text, and that space
//! is a byte of its first token: what was encoded comes back with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use thiserror::Error;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::tokenizer::{
    Model as _, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
    Tokenizer as Inner,
};

use tally_core::computation::TokenId;

mod counts;
mod description;
mod stages;
#[cfg(test)]
mod tests;

pub use description::Kind;

use description::Described;

/// Most bytes of one text to encode, for which some 1.3 GiB of memory are needed at worst: every
/// word and every token of it is kept until the end.
pub const TEXT_BYTES_MAX: usize = 1 << 22;
/// Most bytes of a text as the tokenizer normalises it, where "▁" counts as the space that it is.
pub const NORMALISED_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;
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
    /// A stage is described at greater length than any known one.
    #[error("tokenizer.json has a {field} of {found} bytes, the limit is {limit}")]
    StageTooLarge {
        /// The stage.
        field: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Two texts of the vocabulary share an id.
    #[error("token id {found} has more than one text in tokenizer.json")]
    Repeated {
        /// The id.
        found: TokenId,
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
    /// A text has become longer than is encoded.
    #[error("the text normalised has {found} bytes, the limit is {NORMALISED_BYTES_MAX}")]
    NormalisedTooLong {
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
    kind: Kind,
    inner: Inner,
    /// What encodes text behind a control token, where only a text's beginning gets a space.
    behind: Option<Box<Inner>>,
    /// Texts of the control tokens, with their ids.
    control: BTreeMap<String, TokenId>,
    /// Their ids.
    control_ids: BTreeSet<TokenId>,
    /// Control tokens that take the template's white space around them: (before, after).
    strips: BTreeMap<TokenId, (bool, bool)>,
    /// Tokens that stand before and after an encoder's sentence.
    around: [Vec<TokenId>; 2],
    /// The token of what the vocabulary lacks.
    unknown: Option<TokenId>,
    /// Bytes of every token by id: none for a control token.
    bytes: Vec<Option<Box<[u8]>>>,
}

impl Tokenizer {
    /// Parses `tokenizer.json`.
    ///
    /// # Errors
    /// A file that is too long or unreadable, an empty vocabulary or one with an id beyond the
    /// limit, or a feature by which ids would depend on chance (dropout), or texts on their
    /// surroundings (control tokens that are whole words, a decoder of no known [`Kind`]).
    pub fn parse(json: &[u8]) -> Result<Self, TokenizerError> {
        if json.len() > TOKENIZER_BYTES_MAX {
            return Err(TokenizerError::TooLarge { found: json.len() });
        }
        let described = Described::parse(json)?;
        let kind = described.kind()?;
        let inner = described.inner(kind)?;
        let control: BTreeMap<_, _> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special && !token.content.is_empty())
            .map(|(id, token)| (token.content, id))
            .collect();
        let bytes = described.token_bytes(&inner, kind)?;
        let unknown = described.unknown_token().and_then(|text| inner.token_to_id(text));
        let strips = described.strips();
        let behind = behind(&inner).map(Box::new);
        let around = described.around(kind)?;
        let control_ids = control.values().copied().collect();
        Ok(Self { kind, inner, behind, control, control_ids, strips, around, unknown, bytes })
    }

    /// How the tokenizer writes text.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
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
        self.encode_with(&self.inner, text, usize::MAX)
    }

    /// The ids of a sentence for an encoder, with the tokens that the tokenizer puts around it
    /// and at most `len_max` of them in all: what does not fit between them is left out.
    ///
    /// Nothing in the text is a control token, but what the vocabulary lacks becomes its unknown
    /// token. The lengths that `tokenizer.json` states itself, for batches, do not matter here.
    ///
    /// # Errors
    /// A text that is too long or that the tokenizer cannot encode.
    pub fn encode_sentence(
        &self,
        text: &str,
        len_max: usize,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let [before, after] = &self.around;
        let len_max = len_max.saturating_sub(before.len() + after.len());
        let ids = self.encode_with(&self.inner, text, len_max)?;
        Ok([before.as_slice(), &ids, after].concat())
    }

    /// The first ids of a text, at most `len_max` of them.
    ///
    /// The library's steps one by one, so that it stops where enough was made and never holds
    /// more than the words and the ids.
    fn encode_with(
        &self,
        inner: &Inner,
        text: &str,
        len_max: usize,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenizerError::TextTooLong { found: text.len() });
        }
        let refused =
            |error: tokenizers::Error| TokenizerError::Encode { reason: error.to_string() };
        let added = inner.get_added_vocabulary();
        let mut words = added.extract_and_normalize(inner.get_normalizer(), text);
        let found = normalised_len(&words);
        if found > NORMALISED_BYTES_MAX {
            return Err(TokenizerError::NormalisedTooLong { found });
        }
        if let Some(cutter) = inner.get_pre_tokenizer() {
            cutter.pre_tokenize(&mut words).map_err(refused)?;
        }
        let mut ids = vec![];
        for (word, _, whole) in words.get_splits(OffsetReferential::Original, OffsetType::None) {
            if ids.len() >= len_max {
                break;
            }
            match whole {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => {
                    let tokens = inner.get_model().tokenize(word).map_err(refused)?;
                    ids.extend(tokens.into_iter().map(|token| token.id));
                }
            }
        }
        ids.truncate(len_max);
        // What an encoder's vocabulary lacks becomes a control token.
        let unknown = self.unknown.filter(|_| self.kind == Kind::WordPiece);
        let is_refused = |id: &&TokenId| self.control_ids.contains(*id) && Some(**id) != unknown;
        match ids.iter().find(is_refused) {
            Some(token) => Err(TokenizerError::ControlInContent { token: *token }),
            None => Ok(ids),
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
        let mut run = Run::default();
        for piece in pieces {
            let mut rest = match piece {
                Piece::Content(text) => {
                    run.push_content(text);
                    continue;
                }
                Piece::Template(text) => text.as_str(),
            };
            while let Some((before, token, after)) = self.split_at_control(rest) {
                let (strips_before, strips_after) =
                    self.strips.get(&token).copied().unwrap_or_default();
                run.push_template(before);
                ids.extend(self.encode_run(&run.take(strips_before, strips_after))?);
                ids.push(token);
                rest = after;
            }
            run.push_template(rest);
        }
        ids.extend(self.encode_run(&run.take(false, false))?);
        Ok(ids)
    }

    /// The ids of text between control tokens; it begins the whole text if none stands before.
    fn encode_run(
        &self,
        (text, is_first): &(String, bool),
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let inner = self.behind.as_deref().filter(|_| !is_first).unwrap_or(&self.inner);
        self.encode_with(inner, text, usize::MAX)
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
        let mut places = text.char_indices().map(|(start, _)| start);
        places.find_map(|start| {
            let (before, rest) = text.split_at(start);
            let (len, token) = self.control_at_start(rest)?;
            Some((before, token, &rest[len..]))
        })
    }

    /// The longest control token with which a text begins, and its length in bytes.
    fn control_at_start(&self, text: &str) -> Option<(usize, TokenId)> {
        let mut below = text;
        loop {
            // All that `text` begins with is at most `below`, and this is the greatest of those.
            let (control, token) = self.control.range::<str, _>(up_to(below)).next_back()?;
            if text.starts_with(control.as_str()) {
                return Some((control.len(), *token));
            }
            // What is shorter and begins `text` begins also what lies between the two.
            let same = text.bytes().zip(control.bytes()).take_while(|(a, b)| a == b).count();
            below = &text[..text.floor_char_boundary(same)];
        }
    }
}

/// All texts that sort before this one, and itself.
fn up_to(text: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Unbounded, Bound::Included(text))
}

/// Text of a chat since the last control token.
#[derive(Default)]
struct Run {
    text: String,
    /// Bytes up to the end of the last content, which no control token may strip.
    content_end: usize,
    /// Whether the last control token takes the white space that the template writes next.
    strips_start: bool,
    /// Whether a control token stands before.
    is_behind: bool,
}

impl Run {
    fn push_content(&mut self, text: &str) {
        self.text.push_str(text);
        self.content_end = self.text.len();
    }

    fn push_template(&mut self, text: &str) {
        let is_start = self.strips_start && self.text.is_empty();
        self.text.push_str(if is_start { text.trim_start() } else { text });
    }

    /// Ends the run at a control token; yields its text and whether it was the first.
    fn take(&mut self, strips_before: bool, strips_after: bool) -> (String, bool) {
        let mut run = std::mem::take(self);
        if strips_before {
            let end = run.text.trim_end().len().max(run.content_end);
            run.text.truncate(end);
        }
        *self = Self { strips_start: strips_after, is_behind: true, ..Self::default() };
        (run.text, !run.is_behind)
    }
}

/// Bytes of a text as it was normalised, where what stands for a space counts as one.
fn normalised_len(parts: &PreTokenizedString) -> usize {
    let parts = parts.get_splits(OffsetReferential::Original, OffsetType::None);
    let len = |(part, ..): (&str, _, _)| part.len() - 2 * part.matches(description::SPACE).count();
    parts.into_iter().map(len).sum()
}

/// The same tokenizer without the space that it puts before a text's beginning, if it does.
fn behind(inner: &Inner) -> Option<Inner> {
    let Some(PreTokenizerWrapper::Metaspace(metaspace)) = inner.get_pre_tokenizer() else {
        return None;
    };
    if metaspace.get_prepend_scheme() != PrependScheme::First {
        return None;
    }
    let mut metaspace = metaspace.clone();
    metaspace.set_prepend_scheme(PrependScheme::Never);
    let mut inner = inner.clone();
    inner.with_pre_tokenizer(Some(metaspace));
    Some(inner)
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
pub(crate) fn incomplete_len(mut bytes: &[u8]) -> usize {
    while let Err(error) = std::str::from_utf8(bytes) {
        let rest = &bytes[error.valid_up_to()..];
        match error.error_len() {
            None => return rest.len(),
            Some(wrong) => bytes = &rest[wrong..],
        }
    }
    0
}
