//! What `tokenizer_config.json` says about the words of a BERT, which must be what
//! `tokenizer.json` does.
//!
//! Where the two differ, `transformers` takes the former and its defaults, other programs the
//! latter: such a folder has no one meaning.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{SourceError, shown};
use super::json::Fields;

const CONFIG: &str = "tokenizer_config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Most bytes of a normaliser that is compared; each step of one has some hundred.
const NORMALISER_BYTES_MAX: usize = 1 << 16;
/// Classes that take `tokenizer.json` as it is.
const AS_IT_IS: [&str; 2] = ["PreTrainedTokenizerFast", "TokenizersBackend"];

/// Classes that make a BERT's tokenizer of the files' parts; so does a file that names none.
const OF_BERT: [&str; 2] = ["BertTokenizer", "BertTokenizerFast"];

#[derive(Deserialize)]
struct Words<'a> {
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
}

/// The normaliser of BERT in the format's own words.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Normaliser {
    BertNormalizer {
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: Option<bool>,
        lowercase: bool,
    },
}

/// Refuses the files of a BERT that disagree, or that say nothing where the defaults disagree.
pub(super) fn refuse_contradiction(
    tokenizer: &[u8],
    config: Option<&[u8]>,
) -> Result<(), SourceError> {
    let mut fields = Fields::parse(CONFIG, config.unwrap_or(b"{}"))?;
    let class = fields.optional::<String>("tokenizer_class", "a text")?;
    match class.as_deref() {
        Some(class) if AS_IT_IS.contains(&class) => return Ok(()),
        Some(class) if !OF_BERT.contains(&class) => {
            return Err(refused(CONFIG, "tokenizer_class", class, "BertTokenizer"));
        }
        _ => {}
    }
    require_frame(tokenizer)?;
    let Normaliser::BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase } =
        normaliser(tokenizer)?;
    if !clean_text {
        return Err(refused(TOKENIZER, "normalizer", "clean_text = false", "clean_text = true"));
    }
    let mut stated = |field| fields.optional::<bool>(field, "true, false or null");
    let lowers = stated("do_lower_case")?;
    let strips = stated("strip_accents")?;
    let cuts = stated("tokenize_chinese_chars")?;
    // Accents go with capitals where nothing is said of them.
    let strips_by_default = lowers.unwrap_or(true);
    for (field, stated, default, expected) in [
        ("do_lower_case", lowers, true, lowercase),
        ("strip_accents", strips, strips_by_default, strip_accents.unwrap_or(lowercase)),
        ("tokenize_chinese_chars", cuts, true, handle_chinese_chars),
    ] {
        if stated.unwrap_or(default) != expected {
            let found = match stated {
                Some(stated) => stated.to_string(),
                None => format!("nothing, which means {default}"),
            };
            let supported = if expected {
                "true, as in tokenizer.json,"
            } else {
                "false, as in tokenizer.json,"
            };
            return Err(refused(CONFIG, field, &found, supported));
        }
    }
    Ok(())
}

/// Refuses a tokenizer that puts nothing before or behind a sentence, as a BERT's own always does.
fn require_frame(tokenizer: &[u8]) -> Result<(), SourceError> {
    let json = words(tokenizer)?.post_processor.map_or("null", RawValue::get);
    let parsed: Option<serde_json::Value> =
        if json.len() > NORMALISER_BYTES_MAX { None } else { serde_json::from_str(json).ok() };
    let is_framed =
        parsed.is_some_and(|found| match found.get("single").and_then(|of| of.as_array()) {
            None => found.get("type").is_some_and(|kind| kind == "BertProcessing"),
            Some(pieces) => {
                let is_special = |piece: Option<&serde_json::Value>| {
                    piece.is_some_and(|piece| piece.get("SpecialToken").is_some())
                };
                is_special(pieces.first()) && is_special(pieces.last())
            }
        });
    if is_framed {
        return Ok(());
    }
    let supported = "one that puts tokens before and behind a sentence";
    Err(refused(TOKENIZER, "post_processor", json, supported))
}

fn words(tokenizer: &[u8]) -> Result<Words<'_>, SourceError> {
    serde_json::from_slice(tokenizer).map_err(|error| SourceError::Json {
        file: TOKENIZER.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

fn normaliser(tokenizer: &[u8]) -> Result<Normaliser, SourceError> {
    let json = words(tokenizer)?.normalizer.map_or("null", RawValue::get);
    let parsed =
        if json.len() > NORMALISER_BYTES_MAX { None } else { serde_json::from_str(json).ok() };
    parsed.ok_or_else(|| refused(TOKENIZER, "normalizer", json, "BertNormalizer"))
}

fn refused(file: &str, field: &'static str, found: &str, supported: &'static str) -> SourceError {
    SourceError::Feature { file: file.to_owned(), field, found: shown(found), supported }
}
