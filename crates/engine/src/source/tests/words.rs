//! A BERT whose two descriptions of its words disagree is refused.

use crate::source::error::SourceError;
use crate::source::words::refuse_contradiction;

/// What the comparison says of a normaliser and of `tokenizer_config.json`, in words.
fn compared(normaliser: &str, config: Option<&str>) -> Result<(), String> {
    let tokenizer = format!(r#"{{"version": "1.0", "normalizer": {normaliser}, "model": {{}}}}"#);
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
