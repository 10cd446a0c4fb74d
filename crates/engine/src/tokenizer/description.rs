//! What `tokenizer.json` says about itself: its kind, the bytes of its tokens, what is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokenizers::models::{ModelWrapper, bpe::BPE, wordpiece::WordPiece};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::tokenizer::{AddedToken as Added, Tokenizer as Inner};

use tally_core::computation::TokenId;

use super::counts::{AddedToken, AddedTokens, Merges, Vocabulary};
use super::stages::{json, refuse_normaliser, refuse_pre_tokenizer, refused};
use super::{TokenizerError, VOCABULARY_MAX};

/// The character that stands for a space in `SentencePiece`'s vocabularies.
pub(super) const SPACE: char = '\u{2581}';
/// What begins a token of `WordPiece` that continues a word.
const CONTINUING: &str = "##";
/// Most characters of a word that is put together of parts; published vocabularies say 100.
const WORD_CHARS_MAX: usize = 128;

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

/// `tokenizer.json`, of which stages and model are parsed once they are known to be short or of
/// few parts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described<'a> {
    version: Option<String>,
    #[serde(default, rename = "truncation")]
    _truncation: IgnoredAny,
    #[serde(default, rename = "padding")]
    _padding: IgnoredAny,
    #[serde(default)]
    added_tokens: AddedTokens,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    decoder: Option<&'a RawValue>,
    #[serde(borrow, rename = "model")]
    model_json: &'a RawValue,
    #[serde(skip)]
    model: DescribedModel,
}

/// The type of a model of any kind.
#[derive(Deserialize)]
struct ModelType {
    r#type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedModel {
    r#type: Option<String>,
    dropout: Option<serde_json::Number>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: Option<bool>,
    #[serde(rename = "ignore_merges")]
    _ignore_merges: Option<bool>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    #[serde(rename = "vocab")]
    _vocabulary: Option<Vocabulary>,
    #[serde(rename = "merges")]
    _merges: Option<Merges>,
}

impl<'a> Described<'a> {
    /// Parses the file, whose long lists are counted.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TokenizerError> {
        let mut described: Self =
            serde_json::from_slice(bytes).map_err(|error| unparsed(&error))?;
        if let Some(found) = described.version.as_ref().filter(|version| *version != "1.0") {
            return refuse("version", found.clone(), "1.0");
        }
        let model = described.model_json.get();
        let ModelType { r#type: found } =
            serde_json::from_str(model).map_err(|error| unparsed(&error))?;
        if let Some(found) = found.filter(|found| !["BPE", "WordPiece"].contains(&found.as_str())) {
            return refuse("model.type", found, "BPE or WordPiece");
        }
        described.model = serde_json::from_str(model).map_err(|error| unparsed(&error))?;
        Ok(described)
    }

    /// The tokenizer's kind, unless it has a feature that is refused.
    pub(super) fn kind(&self) -> Result<Kind, TokenizerError> {
        if let Some(dropout) = &self.model.dropout {
            return refuse("model.dropout", dropout.to_string(), "null");
        }
        self.added_tokens.0.iter().try_for_each(refuse_added)?;
        refuse_normaliser(self.normalizer)?;
        let is_of_bytes = refuse_pre_tokenizer(self.pre_tokenizer)?;
        let kind = self.decoder_kind()?;
        let model = self.model.r#type.as_deref();
        match kind {
            Kind::ByteLevel | Kind::SentencePiece => {
                if let Some(found) = model.filter(|found| *found != "BPE") {
                    return refuse("model.type", found.to_owned(), "BPE beside this decoder");
                }
                self.refuse_affixes()?;
            }
            Kind::WordPiece => self.refuse_words(model)?,
        }
        if kind == Kind::SentencePiece {
            self.refuse_cuts()?;
        }
        // What a vocabulary of bytes lacks would vanish from the text, and the other way about.
        if is_of_bytes != (kind == Kind::ByteLevel) {
            let found = self.pre_tokenizer.map_or("null", RawValue::get);
            return Err(refused("pre_tokenizer", found, "ByteLevel just where the decoder is"));
        }
        Ok(kind)
    }

    /// The library's tokenizer: nothing of truncation, padding, decoder and post-processor gets
    /// there, of which it needs none to encode.
    pub(super) fn inner(&self, kind: Kind) -> Result<Inner, TokenizerError> {
        let model = self.model_json.get();
        let model: ModelWrapper = match kind {
            Kind::ByteLevel | Kind::SentencePiece => {
                serde_json::from_str::<BPE>(model).map_err(|error| unparsed(&error))?.into()
            }
            Kind::WordPiece => {
                serde_json::from_str::<WordPiece>(model).map_err(|error| unparsed(&error))?.into()
            }
        };
        let normaliser: Option<NormalizerWrapper> = stage("normalizer", self.normalizer)?;
        let cutter: Option<PreTokenizerWrapper> = stage("pre_tokenizer", self.pre_tokenizer)?;
        let added = self.added_tokens.0.iter().map(|token| Added {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: token.normalized,
            special: token.special,
        });
        let added: Vec<_> = added.collect();
        let mut inner = Inner::new(model);
        inner.with_normalizer(normaliser).with_pre_tokenizer(cutter);
        inner.add_tokens(&added);
        inner.set_encode_special_tokens(true);
        Ok(inner)
    }

    fn decoder_kind(&self) -> Result<Kind, TokenizerError> {
        let supported = "ByteLevel, WordPiece, Metaspace or SentencePiece's sequence";
        let Some(decoder) = stage::<Value>("decoder", self.decoder)? else {
            return refuse("decoder", "null".to_owned(), supported);
        };
        match decoder.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => Ok(Kind::ByteLevel),
            Some("WordPiece") => Ok(Kind::WordPiece),
            Some("Metaspace") if is_metaspace(&decoder) => Ok(Kind::SentencePiece),
            Some("Sequence") if is_of_sentence_piece(&decoder) => Ok(Kind::SentencePiece),
            _ => refuse("decoder", shortened(&decoder), supported),
        }
    }

    /// Refuses what would make the texts of merged tokens inexact.
    fn refuse_affixes(&self) -> Result<(), TokenizerError> {
        let model = &self.model;
        for (field, found) in [
            ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
            ("model.end_of_word_suffix", &model.end_of_word_suffix),
        ] {
            if let Some(found) = found.as_ref().filter(|found| !found.is_empty()) {
                return refuse(field, found.chars().take(120).collect(), "null");
            }
        }
        Ok(())
    }

    /// Refuses words of no known `WordPiece`, and so long that their parts are sought for ages.
    fn refuse_words(&self, found: Option<&str>) -> Result<(), TokenizerError> {
        if found != Some("WordPiece") {
            return refuse("model.type", format!("{found:?}"), "WordPiece");
        }
        let prefix = self.model.continuing_subword_prefix.as_deref();
        if let Some(prefix) = prefix.filter(|prefix| *prefix != CONTINUING) {
            let found = prefix.chars().take(120).collect();
            return refuse("model.continuing_subword_prefix", found, CONTINUING);
        }
        let chars = self.model.max_input_chars_per_word.unwrap_or(0);
        if chars > WORD_CHARS_MAX {
            let field = "model.max_input_chars_per_word";
            return refuse(field, chars.to_string(), "at most 128");
        }
        Ok(())
    }

    /// Refuses cuts by which pieces would begin elsewhere than at spaces.
    fn refuse_cuts(&self) -> Result<(), TokenizerError> {
        let field = "pre_tokenizer";
        let Some(text) = json(field, self.pre_tokenizer)? else { return Ok(()) };
        let found: Value = serde_json::from_str(text).map_err(|error| unparsed(&error))?;
        if is_metaspace(&found) {
            return Ok(());
        }
        Err(refused(field, text, "Metaspace with ▁, or null"))
    }

    pub(super) fn unknown_token(&self) -> Option<&str> {
        self.model.unk_token.as_deref()
    }

    /// The control tokens that take white space before or after them.
    pub(super) fn strips(&self) -> BTreeMap<TokenId, (bool, bool)> {
        let strips = self.added_tokens.0.iter().filter(|token| token.special);
        let strips = strips.filter(|token| token.lstrip || token.rstrip);
        strips.map(|token| (token.id, (token.lstrip, token.rstrip))).collect()
    }

    /// The tokens before and after a sentence, which only an encoder's tokenizer needs.
    pub(super) fn around(&self, kind: Kind) -> Result<[Vec<TokenId>; 2], TokenizerError> {
        if kind != Kind::WordPiece {
            return Ok([vec![], vec![]]);
        }
        let found: Option<Value> = stage("post_processor", self.post_processor)?;
        let found = &found.unwrap_or(Value::Null);
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
        let mut vocabulary: BTreeMap<TokenId, String> = BTreeMap::new();
        for (text, id) in inner.get_vocab(true) {
            if vocabulary.insert(id, text).is_some() {
                return Err(TokenizerError::Repeated { found: id });
            }
        }
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
        for AddedToken { id, content, special, .. } in &self.added_tokens.0 {
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

fn unparsed(error: &serde_json::Error) -> TokenizerError {
    TokenizerError::Parse { reason: error.to_string() }
}

/// A stage, parsed if it is short.
fn stage<T: serde::de::DeserializeOwned>(
    field: &'static str,
    stage: Option<&RawValue>,
) -> Result<Option<T>, TokenizerError> {
    json(field, stage)?
        .map(|json| serde_json::from_str(json).map_err(|error| unparsed(&error)))
        .transpose()
}

/// Refuses added tokens whose place would depend on what stands around them otherwise than by
/// white space that no other token has.
fn refuse_added(token: &AddedToken) -> Result<(), TokenizerError> {
    let content = || token.content.clone();
    if token.special && token.single_word {
        return refuse("added_tokens", content(), "no single_word");
    }
    let strips = token.single_word || token.lstrip || token.rstrip;
    let has_space = token.content.contains(char::is_whitespace);
    if !token.special && strips && (token.normalized || has_space) {
        return refuse("added_tokens", content(), "no white space in what takes it");
    }
    Ok(())
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
