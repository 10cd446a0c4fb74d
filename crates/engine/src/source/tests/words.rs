//! A BERT whose two descriptions of its words disagree is refused.

use crate::source::error::SourceError;
use crate::source::words::refuse_contradiction;

/// Tokens before and behind a sentence.
const FRAME: &str = r#"{"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}"#;

/// What the comparison says of a normaliser and of `tokenizer_config.json`, in words.
fn compared(normaliser: &str, config: Option<&str>) -> Result<(), String> {
    framed(normaliser, FRAME, config)
}

/// What a tokenizer with this post-processor comes to.
fn framed(normaliser: &str, frame: &str, config: Option<&str>) -> Result<(), String> {
    let tokenizer = format!(
        r#"{{"version": "1.0", "normalizer": {normaliser}, "post_processor": {frame}, "model": {{}}}}"#
    );
    let refused = refuse_contradiction(tokenizer.as_bytes(), config.map(str::as_bytes));
    refused.map_err(|error: SourceError| error.to_string())
}

fn bert(cuts: bool, strips: &str, lowers: bool) -> String {
    format!(
        r#"{{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": {cuts},
        "strip_accents": {strips}, "lowercase": {lowers}}}"#
    )
}

#[test]
fn words_that_both_files_describe_alike_are_taken() {
    let cased = r#"{"do_lower_case": false}"#;
    for (normaliser, config) in [
        (bert(true, "null", true), None),
        (bert(true, "null", true), Some(r#"{"model_max_length": 512}"#)),
        (bert(true, "null", true), Some(r#"{"do_lower_case": true, "strip_accents": null}"#)),
        // What stripping means by default is written out on one side or the other.
        (bert(true, "true", true), Some(r#"{"do_lower_case": true}"#)),
        (bert(true, "null", true), Some(r#"{"strip_accents": true}"#)),
        (bert(true, "null", false), Some(cased)),
        (bert(true, "false", false), Some(cased)),
        (bert(false, "null", true), Some(r#"{"tokenize_chinese_chars": false}"#)),
        // Classes that read nothing but tokenizer.json.
        (bert(true, "null", false), Some(r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#)),
        ("null".to_owned(), Some(r#"{"tokenizer_class": "TokenizersBackend"}"#)),
    ] {
        assert_eq!(compared(&normaliser, config), Ok(()), "{normaliser} {config:?}");
    }
}

#[test]
fn words_that_the_files_describe_otherwise_are_refused_by_name() {
    let (lower, cased) = (bert(true, "null", true), bert(true, "null", false));
    let long = format!(r#"{{"type": "{}"}}"#, "x".repeat(1 << 16));
    for (normaliser, config, expected) in [
        (&lower, Some(r#"{"do_lower_case": false}"#), "do_lower_case = false"),
        (&lower, Some(r#"{"strip_accents": false}"#), "strip_accents = false"),
        (&lower, Some(r#"{"tokenize_chinese_chars": false}"#), "tokenize_chinese_chars = false"),
        (&lower, Some(r#"{"do_lower_case": 1}"#), "do_lower_case = 1"),
        // The defaults count where nothing is said.
        (&cased, Some("{}"), "do_lower_case = nothing, which means true"),
        (&cased, None, "do_lower_case = nothing, which means true"),
        (&bert(true, "false", true), None, "strip_accents = nothing, which means true"),
        (&bert(false, "null", true), None, "tokenize_chinese_chars = nothing, which means true"),
        (&lower.replacen("true", "false", 1), None, "clean_text = false"),
        (&r#"{"type": "NFC"}"#.to_owned(), None, "normalizer = "),
        (&"null".to_owned(), None, "normalizer = null"),
        (&long, None, "normalizer = "),
    ] {
        let refused = compared(normaliser, config).unwrap_err();
        assert!(refused.contains(expected), "{refused} for {normaliser:.99} {config:?}");
    }
}

#[test]
fn a_sentence_without_tokens_around_it_is_no_bert() {
    let lower = bert(true, "null", true);
    let piece = |name: &str| format!(r#"{{"SpecialToken": {{"id": "{name}", "type_id": 0}}}}"#);
    let sequence = r#"{"Sequence": {"id": "A", "type_id": 0}}"#;
    let template = |pieces: &[&str]| {
        format!(r#"{{"type": "TemplateProcessing", "single": [{}]}}"#, pieces.join(","))
    };
    let (before, after) = (piece("[CLS]"), piece("[SEP]"));
    assert_eq!(framed(&lower, &template(&[&before, sequence, &after]), None), Ok(()));
    for frame in [
        "null".to_owned(),
        template(&[sequence]),
        template(&[&before, sequence]),
        template(&[sequence, &after]),
        template(&[]),
        r#"{"type": "ByteLevel"}"#.to_owned(),
    ] {
        let refused = framed(&lower, &frame, None).unwrap_err();
        assert!(refused.contains("post_processor = "), "{refused} for {frame}");
    }
    let as_it_is = Some(r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#);
    assert_eq!(framed(&lower, "null", as_it_is), Ok(()));
}

#[test]
fn a_tokenizer_of_another_class_is_no_bert() {
    let lower = bert(true, "null", true);
    for class in ["BertTokenizer", "BertTokenizerFast"] {
        assert_eq!(compared(&lower, Some(&format!(r#"{{"tokenizer_class": "{class}"}}"#))), Ok(()));
    }
    for class in ["RobertaTokenizer", "MPNetTokenizerFast", ""] {
        let config = format!(r#"{{"tokenizer_class": "{class}"}}"#);
        let refused = compared(&lower, Some(&config)).unwrap_err();
        assert!(refused.contains("tokenizer_class = "), "{refused} for {class}");
    }
}
