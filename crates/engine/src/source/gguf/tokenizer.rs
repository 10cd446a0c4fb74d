//! From a GGUF file's tokens to the `tokenizer.json` that means the same.
//!
//! Two models are read: `gpt2`, byte-level BPE with its merges and one of the known ways to cut
//! text into words, and `llama`, `SentencePiece`'s BPE, whose merges follow from its scores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::error::GgufError;
use super::keys::{Keys, refused};
use super::tokenizer_parts::{GPT_2, PreTokenizer};
use crate::source::config::{Architecture, SourceConfig};
use crate::source::error::shown;
use crate::source::text::SourceText;

/// Most characters of a token that is merged of others; the longest published has 128.
const PIECE_CHARS_MAX: usize = 256;
/// What a tokenizer may take beyond the size of its file, in bytes.
const TOKENIZER_BYTES_EXTRA: usize = 1 << 20;
/// Least bytes of `tokenizer.json` that hold for each merge.
const MERGE_BYTES_MIN: usize = 16;
/// Control tokens that end an answer, whatever the file says of them.
const END_TEXTS: [&str; 3] = ["<|eot_id|>", "<|im_end|>", "<|end|>"];

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// How the tokens are put together.
enum Model<'a> {
    /// Pairs of texts, and how text is cut into words.
    Merges(Vec<&'a str>, &'static PreTokenizer),
    /// A number for each token that grows with its score, and whether a space is put before text.
    Scores(Vec<u32>, bool),
}

/// The tokens of a file.
pub(super) struct Tokens<'a> {
    texts: Vec<&'a str>,
    uses: Vec<Use>,
    model: Model<'a>,
    begin: Option<u32>,
    end: Option<u32>,
    adds_begin: bool,
    end_tokens: Vec<u32>,
    unknown: Option<u32>,
    chat_template: Option<&'a str>,
}

impl<'a> Tokens<'a> {
    pub(super) fn parse(keys: &mut Keys<'a>, config: &SourceConfig) -> Result<Self, GgufError> {
        let key = "tokenizer.ggml.model";
        let model = keys.text(key)?.ok_or_else(|| missing(key, "gpt2 or llama"))?;
        let tokens = texts(keys, "tokens", config.vocabulary_size as usize)?;
        let tokens = tokens.ok_or_else(|| missing("tokenizer.ggml.tokens", "a list of texts"))?;
        refuse_repeated(&tokens)?;
        let uses = uses(keys, tokens.len())?;
        let pre = keys.text("tokenizer.ggml.pre")?;
        let scores = scores(keys, tokens.len())?;
        let add_prefix = keys.switch("tokenizer.ggml.add_space_prefix")?;
        let model = match model {
            "gpt2" => {
                let merges = texts(keys, "merges", usize::MAX)?;
                let merges = merges.ok_or_else(|| missing("tokenizer.ggml.merges", "a list"))?;
                merges
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, merge)| refuse_uncut(index, merge))?;
                Model::Merges(merges, PreTokenizer::find(pre)?)
            }
            "llama" => {
                let scores = scores.ok_or_else(|| missing("tokenizer.ggml.scores", "a list"))?;
                refuse_equal(&scores, &uses)?;
                Model::Scores(scores, add_prefix.unwrap_or(true))
            }
            other => return Err(refused(key, other, "gpt2 or llama")),
        };
        let last = u32::try_from(tokens.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let mut token =
            |name: &str| keys.whole(&format!("tokenizer.ggml.{name}_token_id"), 0, last);
        let (begin, end, unknown) = (token("bos")?, token("eos")?, token("unknown")?);
        let ends = [end, token("eot")?, token("eom")?];
        let named = (0..)
            .zip(&tokens)
            .zip(&uses)
            .filter(|((_, text), used)| **used == Use::Control && END_TEXTS.contains(text));
        let mut end_tokens: Vec<u32> = named.map(|((token, _), _)| token).collect();
        end_tokens.extend(ends.into_iter().flatten());
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let adds_begin = keys.switch("tokenizer.ggml.add_bos_token")?;
        let by_default = match &model {
            Model::Merges(_, pre) => pre.adds_begin,
            Model::Scores(..) => true,
        };
        Ok(Self {
            texts: tokens,
            uses,
            model,
            begin,
            end,
            adds_begin: adds_begin.unwrap_or(by_default),
            end_tokens,
            unknown,
            chat_template: keys.text("tokenizer.chat_template")?,
        })
    }

    pub(super) fn begin_token(&self) -> Option<u32> {
        self.begin.filter(|_| self.adds_begin)
    }

    pub(super) fn end_tokens(&self) -> Vec<u32> {
        self.end_tokens.clone()
    }

    pub(super) fn into_text(self) -> SourceText {
        let text = |token: Option<u32>| {
            let text = token.and_then(|token| self.texts.get(token as usize));
            text.map(|text| (*text).to_owned())
        };
        SourceText {
            chat_template: self.chat_template.map(str::to_owned),
            begin_token: text(self.begin),
            end_token: text(self.end),
        }
    }

    /// The bytes of `tokenizer.json`, not many more than those of the file.
    pub(super) fn encode(
        &self,
        architecture: Architecture,
        file_len: usize,
    ) -> Result<Vec<u8>, GgufError> {
        let limit = file_len.saturating_add(TOKENIZER_BYTES_EXTRA);
        let mut out = Bounded { bytes: vec![], limit };
        let merges: &mut dyn Iterator<Item = (&str, &str)> = match &self.model {
            Model::Merges(merges, _) => &mut merges.iter().filter_map(|merge| cut_merge(merge)),
            Model::Scores(scores, _) => {
                let merges = self.merges(scores, limit / MERGE_BYTES_MIN)?;
                &mut merges.into_iter().filter_map(|merge| merge.cut(&self.texts))
            }
        };
        let written = self.write(&mut out, architecture, merges);
        written.map_err(|_| GgufError::TokenizerSize { what: "bytes", limit })?;
        Ok(out.bytes)
    }

    fn write(
        &self,
        out: &mut Bounded,
        architecture: Architecture,
        merges: &mut dyn Iterator<Item = (&str, &str)>,
    ) -> io::Result<()> {
        let added = (0_u32..)
            .zip(&self.texts)
            .zip(&self.uses)
            .filter(|(_, used)| matches!(used, Use::Control | Use::Unknown | Use::UserDefined));
        let is_pieces = matches!(self.model, Model::Scores(..));
        let strips = architecture == Architecture::Phi3 && is_pieces;
        write!(out, r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#)?;
        for (index, ((id, text), used)) in added.enumerate() {
            let content = serde_json::to_string(text)?;
            let special = *used != Use::UserDefined;
            // Phi-3 was trained without the white space behind its tokens of roles.
            let rstrip = strips && special && !["<unk>", "<s>", "<|endoftext|>"].contains(text);
            write!(
                out,
                r#"{}{{"id":{id},"content":{content},"single_word":false,"lstrip":false,"rstrip":{rstrip},"normalized":false,"special":{special}}}"#,
                if index == 0 { "" } else { "," }
            )?;
        }
        write!(out, r#"],"post_processor":null,{},"#, self.stages())?;
        let unknown = self.unknown.and_then(|token| self.texts.get(token as usize));
        let unknown = serde_json::to_string(&unknown.filter(|_| is_pieces))?;
        let ignores = matches!(&self.model, Model::Merges(_, pre) if pre.ignores_merges);
        write!(
            out,
            r#""model":{{"type":"BPE","dropout":null,"unk_token":{unknown},"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":{is_pieces},"byte_fallback":{is_pieces},"ignore_merges":{ignores},"vocab":{{"#
        )?;
        for (index, text) in self.texts.iter().enumerate() {
            out.write_all(if index == 0 { b"" } else { b"," })?;
            serde_json::to_writer(&mut *out, text)?;
            write!(out, ":{index}")?;
        }
        out.write_all(br#"},"merges":["#)?;
        for (index, pair) in merges.enumerate() {
            out.write_all(if index == 0 { b"" } else { b"," })?;
            serde_json::to_writer(&mut *out, &pair)?;
        }
        out.write_all(b"]}}")
    }

    /// Normaliser, pre-tokenizer and decoder.
    fn stages(&self) -> String {
        match &self.model {
            Model::Merges(_, pre) => format!(
                r#""normalizer":{},"pre_tokenizer":{},"decoder":{GPT_2}"#,
                pre.normaliser, pre.words
            ),
            Model::Scores(_, adds_space) => {
                // Even before a text that begins with a space itself.
                let (prepend, strip) = match adds_space {
                    true => (
                        r#"{"type":"Prepend","prepend":"▁"},"#,
                        r#",{"type":"Strip","content":" ","start":1,"stop":0}"#,
                    ),
                    false => ("", ""),
                };
                format!(
                    r#""normalizer":{{"type":"Sequence","normalizers":[{prepend}{{"type":"Replace","pattern":{{"String":" "}},"content":"▁"}}]}},"pre_tokenizer":null,"decoder":{{"type":"Sequence","decoders":[{{"type":"Replace","pattern":{{"String":"▁"}},"content":" "}},{{"type":"ByteFallback"}},{{"type":"Fuse"}}{strip}]}}"#
                )
            }
        }
    }

    /// Every way to put a token together of two others, the highest score first.
    ///
    /// Among equal scores the order is that in which `transformers` converts such vocabularies:
    /// the longer left part first, then the longer right part, then the lower id.
    fn merges(&self, scores: &[u32], limit: usize) -> Result<Vec<Merge>, GgufError> {
        let ids: BTreeMap<&str, u32> = self.texts.iter().copied().zip(0..).collect();
        let mut merges = vec![];
        for ((id, text), used) in (0_u32..).zip(&self.texts).zip(&self.uses) {
            // A control token is never put together of text.
            if *used != Use::Normal {
                continue;
            }
            let chars = text.chars().count();
            if chars > PIECE_CHARS_MAX {
                let (list, index) = ("tokens", id as usize);
                let (found, expected) = (shown(text), "at most 256 characters");
                return Err(GgufError::Token { list, index, found, expected });
            }
            let score = scores.get(id as usize).copied().unwrap_or_default();
            for (left, (start, _)) in text.char_indices().enumerate().skip(1) {
                let (first, second) = text.split_at(start);
                if ids.contains_key(first) && ids.contains_key(second) {
                    let len = |chars| u16::try_from(chars).unwrap_or(u16::MAX);
                    merges.push(Merge { score, left: len(left), right: len(chars - left), id });
                }
            }
            if merges.len() > limit {
                return Err(GgufError::TokenizerSize { what: "merges", limit });
            }
        }
        merges.sort_unstable_by(|a, b| {
            let key = |merge: &Merge| (merge.score, merge.left, merge.right);
            key(b).cmp(&key(a)).then(a.id.cmp(&b.id))
        });
        Ok(merges)
    }
}

/// A token and how many characters of it are the left of its parts.
struct Merge {
    score: u32,
    left: u16,
    right: u16,
    id: u32,
}

impl Merge {
    fn cut<'a>(&self, texts: &[&'a str]) -> Option<(&'a str, &'a str)> {
        let text = texts.get(self.id as usize)?;
        let (start, _) = text.char_indices().nth(self.left.into())?;
        Some(text.split_at(start))
    }
}

/// Cuts "left right" at the first space behind its first character.
fn cut_merge(merge: &str) -> Option<(&str, &str)> {
    let (start, _) = merge.char_indices().skip(1).find(|(_, each)| *each == ' ')?;
    Some((&merge[..start], &merge[start + 1..]))
}

fn refuse_uncut(index: usize, merge: &str) -> Result<(), GgufError> {
    let (list, expected) = ("merges", "two texts with a space between");
    let refused = || GgufError::Token { list, index, found: shown(merge), expected };
    cut_merge(merge).map(drop).ok_or_else(refused)
}

/// Output of at most so many bytes.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn missing(key: &str, expected: &'static str) -> GgufError {
    GgufError::KeyMissing { key: key.to_owned(), expected }
}

/// A list of texts with at most `limit` entries.
fn texts<'a>(
    keys: &mut Keys<'a>,
    list: &'static str,
    limit: usize,
) -> Result<Option<Vec<&'a str>>, GgufError> {
    let key = format!("tokenizer.ggml.{list}");
    let Some(found) = keys.list(&key)? else { return Ok(None) };
    if found.count > limit {
        let found = found.count;
        return Err(GgufError::TokenCount { list, expected: limit, found });
    }
    let texts = found.texts().ok_or_else(|| refused(&key, "a list of numbers", "texts"))?;
    // Each text takes at least eight bytes of the file, and sixteen here.
    let mut all = Vec::with_capacity(found.count);
    all.extend(texts);
    Ok(Some(all))
}

/// The uses of tokens; all normal where the file does not say.
fn uses(keys: &mut Keys<'_>, count: usize) -> Result<Vec<Use>, GgufError> {
    let list = "token_type";
    let Some(words) = words(keys, list, count, false)? else { return Ok(vec![Use::Normal; count]) };
    let parse = |(index, word): (usize, u32)| match word {
        1 => Ok(Use::Normal),
        2 => Ok(Use::Unknown),
        3 => Ok(Use::Control),
        4 => Ok(Use::UserDefined),
        5 => Ok(Use::Unused),
        6 => Ok(Use::Byte),
        other => {
            let (found, expected) = (other.to_string(), "1 to 6");
            Err(GgufError::Token { list, index, found, expected })
        }
    };
    words.enumerate().map(parse).collect()
}

/// For each token a number that grows with its score.
fn scores(keys: &mut Keys<'_>, count: usize) -> Result<Option<Vec<u32>>, GgufError> {
    let list = "scores";
    let Some(words) = words(keys, list, count, true)? else { return Ok(None) };
    let parse = |(index, bits): (usize, u32)| {
        // Zero has two forms.
        let bits = if bits == 1 << 31 { 0 } else { bits };
        if bits & 0x7fff_ffff > 0x7f80_0000 {
            let (found, expected) = ("not a number".to_owned(), "a number");
            return Err(GgufError::Token { list, index, found, expected });
        }
        Ok(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
    };
    words.enumerate().map(parse).collect::<Result<_, _>>().map(Some)
}

fn words<'a>(
    keys: &mut Keys<'a>,
    list: &'static str,
    expected: usize,
    floats: bool,
) -> Result<Option<impl Iterator<Item = u32> + use<'a>>, GgufError> {
    let key = format!("tokenizer.ggml.{list}");
    let Some(found) = keys.list(&key)? else { return Ok(None) };
    if found.count != expected {
        return Err(GgufError::TokenCount { list, expected, found: found.count });
    }
    let kind = if floats { "floats of 32 bits" } else { "numbers of 32 bits" };
    found.words(floats).map(Some).ok_or_else(|| refused(&key, "a list of another type", kind))
}

fn refuse_repeated(texts: &[&str]) -> Result<(), GgufError> {
    let mut seen = BTreeSet::new();
    match texts.iter().position(|text| !seen.insert(*text)) {
        Some(index) => Err(GgufError::Token {
            list: "tokens",
            index,
            found: shown(texts[index]),
            expected: "a text that no other token has",
        }),
        None => Ok(()),
    }
}

/// Refuses scores that say nothing: converters write them where they did not find any.
fn refuse_equal(scores: &[u32], uses: &[Use]) -> Result<(), GgufError> {
    let mut normal =
        scores.iter().zip(uses).filter(|(_, used)| **used == Use::Normal).map(|(score, _)| score);
    let first = normal.next();
    let is_told = first.is_none_or(|first| normal.clone().any(|score| score != first));
    if is_told || normal.next().is_none() {
        return Ok(());
    }
    Err(refused("tokenizer.ggml.scores", "the same for all tokens", "scores that differ"))
}
