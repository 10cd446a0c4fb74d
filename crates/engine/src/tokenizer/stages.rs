//! The stages of `tokenizer.json` that rewrite text and cut it into words.
//!
//! They come from whoever published the model and run on the texts of others, so that only stages
//! of known families are taken, with their very expressions: none of them takes more than linear
//! time, and none makes of a text much more than it was. What is not listed here is refused.

use std::mem::discriminant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::TokenizerError;

/// Most bytes of the JSON of one stage; the longest published has some two thousand.
const STAGE_BYTES_MAX: usize = 1 << 16;
/// Most steps of a stage; the longest published has five.
const STEPS_MAX: usize = 8;
/// What stands for a space in the vocabularies of `SentencePiece`.
const SPACE: &str = "\u{2581}";

/// Expressions of which every text consists: Llama 3 and Phi-4, Qwen 2 and 3, Mistral since Nemo,
/// and Phi-4 mini.
pub(super) const WHOLE: [&str; 4] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// Expressions that leave out parts of a text: those of GGUF files that name no way to cut.
pub(super) const PARTS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// What a text goes through before it is cut; the compatibility forms, by which a character may
/// become eighteen, are of no known family.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
#[expect(clippy::upper_case_acronyms, reason = "the names of the format")]
enum Normaliser {
    BertNormalizer {
        #[serde(rename = "clean_text")]
        _clean_text: bool,
        #[serde(rename = "handle_chinese_chars")]
        _handle_chinese_chars: bool,
        #[serde(rename = "strip_accents")]
        _strip_accents: Option<bool>,
        #[serde(rename = "lowercase")]
        _lowercase: bool,
    },
    NFC,
    NFD,
    Lowercase,
    StripAccents,
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Sequence {
        normalizers: Vec<Self>,
    },
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

/// What cuts a text into words.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Cutter {
    BertPreTokenizer,
    Whitespace,
    Digits {
        #[serde(rename = "individual_digits")]
        _individual_digits: bool,
    },
    Split {
        pattern: Pattern,
        behavior: String,
        invert: bool,
    },
    ByteLevel {
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: bool,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(rename = "use_regex")]
        _use_regex: Option<bool>,
    },
    Metaspace {
        replacement: String,
        #[serde(rename = "prepend_scheme")]
        _prepend_scheme: Option<String>,
        #[serde(rename = "split")]
        _split: Option<bool>,
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: Option<bool>,
        #[serde(rename = "str_rep")]
        _str_rep: Option<String>,
    },
    Sequence {
        pretokenizers: Vec<Self>,
    },
}

/// Refuses a normaliser that no known family has.
pub(super) fn refuse_normaliser(stage: Option<&RawValue>) -> Result<(), TokenizerError> {
    let field = "normalizer";
    let Some(json) = json(field, stage)? else { return Ok(()) };
    let supported = "BertNormalizer, NFC, NFD, Lowercase, StripAccents, Prepend of ▁, \
                     Replace of a space by ▁, or a sequence that has each of these once";
    let is_known = match serde_json::from_str(json) {
        Ok(Normaliser::Sequence { normalizers }) => {
            let is_new =
                |(index, step)| !normalizers[..index].iter().any(|each| is_same(each, step));
            normalizers.len() <= STEPS_MAX
                && normalizers.iter().all(is_known_normaliser)
                && normalizers.iter().enumerate().all(is_new)
        }
        Ok(step) => is_known_normaliser(&step),
        Err(_) => false,
    };
    if is_known { Ok(()) } else { Err(refused(field, json, supported)) }
}

fn is_same(a: &Normaliser, b: &Normaliser) -> bool {
    discriminant(a) == discriminant(b)
}

fn is_known_normaliser(step: &Normaliser) -> bool {
    match step {
        Normaliser::Prepend { prepend } => prepend == SPACE,
        Normaliser::Replace { pattern: Pattern::String(pattern), content } => {
            pattern == " " && content == SPACE
        }
        Normaliser::Replace { pattern: Pattern::Regex(_), .. } | Normaliser::Sequence { .. } => {
            false
        }
        _ => true,
    }
}

/// Refuses a pre-tokenizer that no known family has; says whether it makes bytes of the text.
pub(super) fn refuse_pre_tokenizer(stage: Option<&RawValue>) -> Result<bool, TokenizerError> {
    let field = "pre_tokenizer";
    let Some(json) = json(field, stage)? else { return Ok(false) };
    let supported = "ByteLevel, Metaspace with ▁, Digits, BertPreTokenizer, Whitespace, Split by \
                     the expression of a known family, or a sequence that only at its end has \
                     ByteLevel or Metaspace";
    let steps = match serde_json::from_str(json) {
        Ok(Cutter::Sequence { pretokenizers }) => pretokenizers,
        Ok(step) => vec![step],
        Err(_) => return Err(refused(field, json, supported)),
    };
    let last = steps.len().saturating_sub(1);
    let rewrites =
        |step: &Cutter| matches!(step, Cutter::ByteLevel { .. } | Cutter::Metaspace { .. });
    let is_known = steps.len() <= STEPS_MAX
        && steps.iter().all(is_known_cutter)
        && !steps.iter().take(last).any(rewrites);
    if !is_known {
        return Err(refused(field, json, supported));
    }
    Ok(matches!(steps.last(), Some(Cutter::ByteLevel { .. })))
}

fn is_known_cutter(step: &Cutter) -> bool {
    match step {
        Cutter::Split { pattern: Pattern::Regex(pattern), behavior, invert } => {
            let is_whole = WHOLE.contains(&pattern.as_str());
            match (behavior.as_str(), invert) {
                ("Isolated", false) => is_whole || PARTS.contains(&pattern.as_str()),
                // What lies between is taken away, of which there is nothing.
                ("Removed", true) => is_whole,
                _ => false,
            }
        }
        Cutter::Metaspace { replacement, .. } => replacement == SPACE,
        Cutter::Split { pattern: Pattern::String(_), .. } | Cutter::Sequence { .. } => false,
        _ => true,
    }
}

/// The text of a stage, unless it is null or longer than any.
pub(super) fn json<'a>(
    field: &'static str,
    stage: Option<&'a RawValue>,
) -> Result<Option<&'a str>, TokenizerError> {
    let Some(json) = stage.map(RawValue::get).filter(|json| *json != "null") else {
        return Ok(None);
    };
    let (found, limit) = (json.len(), STAGE_BYTES_MAX);
    if found > limit {
        return Err(TokenizerError::StageTooLarge { field, found, limit });
    }
    Ok(Some(json))
}

/// The refusal of a stage as it stands in the file, shortened.
pub(super) fn refused(field: &'static str, json: &str, supported: &'static str) -> TokenizerError {
    let found = json.split_whitespace().flat_map(str::chars).take(120).collect();
    TokenizerError::Feature { field, found, supported }
}
