//! Words that name nothing: one word has one meaning here, and these have none.

use crate::rust::{Kind, Name};

/// First words that a function may not have: `verify`, `appraise`, `parse` ... say which is meant.
const FUNCTION_WORDS: &[&str] = &["check", "validate", "process", "handle", "manage"];
/// Words that a type or module may not hold.
const TYPE_WORDS: &[&str] = &["manager", "service", "helper", "util", "info", "data"];
/// The vendors' own words, which we do not translate.
const VENDOR_NAMES: &[&str] = &["ReportData"];

/// Whether a name says something.
pub(super) fn is_allowed(name: &Name) -> bool {
    match name.kind {
        Kind::Function => {
            let first = name.text.split('_').next().unwrap_or_default();
            !FUNCTION_WORDS.contains(&first)
        }
        Kind::Type if VENDOR_NAMES.contains(&name.text.as_str()) => true,
        Kind::Type => words(&name.text).iter().all(|word| !is_empty_word(word)),
        Kind::Module => name.text.split('_').all(|word| !is_empty_word(word)),
    }
}

fn is_empty_word(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    TYPE_WORDS.contains(&singular) || TYPE_WORDS.contains(&lower.as_str())
}

/// `FileManager` as `File`, `Manager`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(kind: Kind, text: &str) -> bool {
        is_allowed(&Name { kind, text: text.to_owned(), line: 1 })
    }

    #[test]
    fn empty_words_are_refused_and_words_that_hold_them_are_not() {
        for text in ["check", "check_it", "validate_all", "process_x", "handle_x", "manage"] {
            assert!(!allowed(Kind::Function, text), "{text}");
        }
        for text in ["checkpoint", "checked_add", "checksum", "handles", "processor", "recheck"] {
            assert!(allowed(Kind::Function, text), "{text}");
        }
        for text in ["FileManager", "Util", "Utils", "HelperThing", "ModelInfo", "DataPart"] {
            assert!(!allowed(Kind::Type, text), "{text}");
        }
        for text in ["Database", "Informed", "ReportData", "Checkpoint", "Utility"] {
            assert!(allowed(Kind::Type, text), "{text}");
        }
        assert!(!allowed(Kind::Module, "util"));
        assert!(!allowed(Kind::Module, "test_helpers"));
        assert!(allowed(Kind::Module, "tests"));
    }
}
