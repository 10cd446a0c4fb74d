//! Licences: SPDX expressions, or the word `unknown`.
//!
//! A licence is kept in one spelling: identifiers as the SPDX list writes them, operators in capitals,
//! one space between words. Whether the licence holds, and what it permits, is nobody's business here.
//! Source: SPDX specification 2.3, annex D; the list is that of the crate `spdx`.

use core::fmt;

use spdx::ParseMode;
use spdx::error::Reason;
use spdx::identifiers::{EXCEPTIONS, LICENSES};
use spdx::lexer::{Lexer, Token};
use thiserror::Error;

use tally_core::contribution::NAME_BYTES_MAX;

/// What stands in place of a licence that nobody stated.
pub const UNKNOWN: &str = "unknown";
/// Most bytes of a licence, which a manifest limits.
pub const LICENCE_BYTES_MAX: usize = 128;
const _: () = assert!(LICENCE_BYTES_MAX as u64 == NAME_BYTES_MAX);

/// Identifiers that SPDX has replaced, such as `GPL-2.0+`, are what they were.
const MODE: ParseMode =
    ParseMode { allow_deprecated: true, allow_postfix_plus_on_gpl: true, ..ParseMode::STRICT };

/// An SPDX expression in its one spelling, or `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Licence(String);

/// Why a text is no licence.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LicenceError {
    /// Nothing is there.
    #[error("licence is empty, expected an SPDX expression or `unknown`")]
    Empty,
    /// It does not fit a manifest.
    #[error("licence has {found} bytes, limit {limit}", limit = LICENCE_BYTES_MAX)]
    TooLong {
        /// The length found, in bytes.
        found: usize,
    },
    /// It is no SPDX expression.
    #[error("licence is no SPDX expression at byte {position}, `{found}`: {reason}{}", Hint(.meant))]
    Expression {
        /// Where the fault begins, in bytes.
        position: usize,
        /// What stands there.
        found: String,
        /// What is wrong with it.
        reason: Reason,
        /// The identifier that is most like it.
        meant: Option<&'static str>,
    },
}

struct Hint<'a>(&'a Option<&'static str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

impl Licence {
    /// The licence that nobody stated.
    #[must_use]
    pub fn unknown() -> Self {
        Self(UNKNOWN.into())
    }

    /// Reads an SPDX expression, or `unknown`.
    ///
    /// Identifiers may have any case; `and`, `or` and `with` may be small. `LicenseRef-` names are legal.
    ///
    /// # Errors
    /// If the text is empty, longer than [`LICENCE_BYTES_MAX`], or no SPDX expression.
    pub fn parse(text: &str) -> Result<Self, LicenceError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LicenceError::Empty);
        }
        if text.len() > LICENCE_BYTES_MAX {
            return Err(LicenceError::TooLong { found: text.len() });
        }
        if text == UNKNOWN {
            return Ok(Self::unknown());
        }
        let text = in_the_lists_case(text);
        spdx::Expression::parse_mode(&text, MODE).map_err(|error| explain(&text, error))?;
        let spelled = spell(&text).map_err(|error| explain(&text, error))?;
        match spelled.len() {
            found if found > LICENCE_BYTES_MAX => Err(LicenceError::TooLong { found }),
            _ => Ok(Self(spelled)),
        }
    }

    /// The licence that has exactly this identifier in the SPDX list, whatever its case.
    #[must_use]
    pub fn of_identifier(identifier: &str) -> Option<Self> {
        let known = LICENSES.iter().find(|known| known.name.eq_ignore_ascii_case(identifier))?;
        Some(Self(known.name.into()))
    }

    /// Whether nobody stated it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0 == UNKNOWN
    }

    /// The licence's one spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its text can be read, if it is one identifier of the SPDX list.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        spdx::license_id(&self.0)
            .filter(|id| id.name == self.0)
            .map(|id| format!("https://spdx.org/licenses/{}", id.name))
    }
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text with every known identifier in the list's case, so that every byte keeps its place.
fn in_the_lists_case(text: &str) -> String {
    let is_border = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '+');
    text.split_inclusive(is_border)
        .map(|piece| {
            let word = piece.trim_end_matches(is_border);
            let border = piece.get(word.len()..).unwrap_or_default();
            format!("{}{border}", known_name(word).unwrap_or(word))
        })
        .collect()
}

fn known_name(word: &str) -> Option<&'static str> {
    let names = LICENSES.iter().map(|known| known.name);
    let names = names.chain(EXCEPTIONS.iter().map(|known| known.name));
    names.into_iter().find(|name| name.eq_ignore_ascii_case(word))
}

/// The tokens with one space between them, none within parentheses or before `+`.
fn spell(text: &str) -> Result<String, spdx::ParseError> {
    let mut spelled = String::new();
    for token in Lexer::new_mode(text, MODE) {
        let token = token?.token;
        let is_tight = matches!(token, Token::Plus | Token::CloseParen);
        if !is_tight && !spelled.is_empty() && !spelled.ends_with('(') {
            spelled.push(' ');
        }
        spelled.push_str(&word(&token));
    }
    Ok(spelled)
}

fn word(token: &Token<'_>) -> String {
    let reference = |document: &Option<&str>, what: &str, name: &str| match document {
        Some(document) => format!("DocumentRef-{document}:{what}-{name}"),
        None => format!("{what}-{name}"),
    };
    match token {
        Token::Spdx(id) => id.name.into(),
        Token::Exception(id) => id.name.into(),
        Token::LicenseRef { doc_ref, lic_ref } => reference(doc_ref, "LicenseRef", lic_ref),
        Token::AdditionRef { doc_ref, add_ref } => reference(doc_ref, "AdditionRef", add_ref),
        Token::Unknown(text) => (*text).into(),
        Token::Plus => "+".into(),
        Token::OpenParen => "(".into(),
        Token::CloseParen => ")".into(),
        Token::With => "WITH".into(),
        Token::And => "AND".into(),
        Token::Or => "OR".into(),
    }
}

fn explain(text: &str, error: spdx::ParseError) -> LicenceError {
    let found = text.get(error.span.clone()).unwrap_or_default().to_owned();
    let is_name = matches!(
        error.reason,
        Reason::UnknownLicense | Reason::UnknownException | Reason::UnknownTerm
    );
    let meant = if is_name { nearest(&found) } else { None };
    LicenceError::Expression { position: error.span.start, found, reason: error.reason, meant }
}

/// The identifier that somebody may have meant: by a common other name, or by few slips of the pen.
fn nearest(word: &str) -> Option<&'static str> {
    let by_name = spdx::imprecise_license_id(word).filter(|(_, size)| *size == word.len());
    if let Some((id, _)) = by_name {
        return Some(id.name);
    }
    let word = word.to_ascii_lowercase();
    let slips_max = (word.len() / 4).min(3);
    let names =
        || LICENSES.iter().map(|known| known.name).chain(EXCEPTIONS.iter().map(|known| known.name));
    let begins = |name: &&str| {
        let rest = name.to_ascii_lowercase();
        rest.strip_prefix(&word).is_some_and(|rest| rest.starts_with(['.', '-']))
    };
    if let Some(name) = names().find(begins) {
        return Some(name);
    }
    names()
        .map(|name| (slips(&word, &name.to_ascii_lowercase()), name))
        .min()
        .filter(|(slips, _)| *slips <= slips_max)
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes, of texts of at most 128 bytes.
fn slips(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, a) in from.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let above = *cell;
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_expression_becomes_the_same() {
        for (text, expected) in [
            ("MIT", "MIT"),
            ("mit", "MIT"),
            (" apache-2.0 ", "Apache-2.0"),
            ("MIT or  apache-2.0", "MIT OR Apache-2.0"),
            ("( mit OR Apache-2.0 )\tand CC0-1.0", "(MIT OR Apache-2.0) AND CC0-1.0"),
            ("apache-2.0 with llvm-exception", "Apache-2.0 WITH LLVM-exception"),
            ("GPL-2.0", "GPL-2.0"),
            ("EUPL-1.1+", "EUPL-1.1+"),
            ("LicenseRef-Debian-manpages", "LicenseRef-Debian-manpages"),
            ("DocumentRef-a.b:LicenseRef-c", "DocumentRef-a.b:LicenseRef-c"),
            ("unknown", "unknown"),
        ] {
            let licence = Licence::parse(text).unwrap();
            assert_eq!(licence.as_str(), expected, "{text}");
            assert_eq!(Licence::parse(expected), Ok(licence));
        }
    }

    #[test]
    fn every_identifier_of_the_list_is_a_licence_in_any_case() {
        let mut count = 0;
        for known in LICENSES {
            if known.name == "NOASSERTION" {
                continue;
            }
            let small = known.name.to_ascii_lowercase();
            assert_eq!(Licence::of_identifier(&small).unwrap().as_str(), known.name);
            let parsed = Licence::parse(&small);
            assert_eq!(parsed.unwrap().as_str(), known.name);
            count += 1;
        }
        assert!(count > 600, "{count}");
    }

    #[test]
    fn a_fault_is_named_with_its_place_and_what_was_meant() {
        let fault = |text: &str| match Licence::parse(text) {
            Err(LicenceError::Expression { position, found, meant, .. }) => {
                (position, found, meant)
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(fault("Apache2"), (0, "Apache2".into(), Some("Apache-2.0")));
        assert_eq!(fault("MIT OR Apachi-2.0"), (7, "Apachi-2.0".into(), Some("Apache-2.0")));
        assert_eq!(fault("CC-BY-4"), (0, "CC-BY-4".into(), Some("CC-BY-4.0")));
        assert_eq!(
            fault("all-rights-reserved-by-me"),
            (0, "all-rights-reserved-by-me".into(), None)
        );
        assert_eq!(fault("MIT Apache-2.0").0, 4);
        assert_eq!(fault("(MIT").0, 0);
        assert_eq!(fault("MIT)").0, 3);
        assert_eq!(fault("MIT OR").2, None);
        assert_eq!(fault("MIT, ISC").2, None);
        assert_eq!(fault("mit or unknown").0, 7);
        assert_eq!(fault("MIT ü").2, None);
        let message = Licence::parse("Apache2").unwrap_err().to_string();
        assert!(message.ends_with("did you mean Apache-2.0?"), "{message}");
    }

    #[test]
    fn empty_and_long_texts_are_refused() {
        for empty in ["", " ", "\n"] {
            assert_eq!(Licence::parse(empty), Err(LicenceError::Empty));
        }
        let at_limit = format!("LicenseRef-{}", "a".repeat(LICENCE_BYTES_MAX - 11));
        assert_eq!(Licence::parse(&at_limit).unwrap().as_str(), at_limit);
        let found = LICENCE_BYTES_MAX + 1;
        assert_eq!(Licence::parse(&format!("{at_limit}a")), Err(LicenceError::TooLong { found }));
    }

    #[test]
    fn only_single_identifiers_have_a_page() {
        let url = |text: &str| Licence::parse(text).unwrap().url();
        assert_eq!(url("mit").as_deref(), Some("https://spdx.org/licenses/MIT"));
        for text in ["MIT OR ISC", "unknown", "LicenseRef-x", "EUPL-1.1+"] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn slips_are_counted() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(slips(from, to), expected, "{from} {to}");
        }
    }
}
