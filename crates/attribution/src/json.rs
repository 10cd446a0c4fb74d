//! JSON as the formats of others need it: bounded reading with the path of a fault, canonical writing.
//!
//! Written JSON is that of RFC 8785 for texts, whole numbers, truth values, lists and objects with ASCII
//! names; nothing here writes anything else.

use core::marker::PhantomData;
use core::ops::Deref;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// Why a text is not the JSON that was expected.
#[derive(Debug, Error)]
#[error("at `{path}`: {error}")]
pub struct JsonError {
    /// Where in the value, such as `distribution[3].sha256`; `.` is the whole.
    pub path: String,
    /// What is wrong there, with line and column.
    pub error: serde_json::Error,
}

/// Reads one JSON value and nothing after it; nesting is limited by `serde_json` to 128.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|fault| JsonError { path: fault.path().to_string(), error: fault.into_inner() })?;
    let whole = |error| JsonError { path: ".".into(), error };
    deserializer.end().map_err(whole)?;
    Ok(value)
}

/// A list of at most `MAX` elements; reading stops at the first one more.
#[derive(Debug)]
pub(crate) struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> IntoIterator for Bounded<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T, const MAX: usize> From<Vec<T>> for Bounded<T, MAX> {
    fn from(mut elements: Vec<T>) -> Self {
        elements.truncate(MAX);
        Self(elements)
    }
}

/// Reads the elements of a list up to the limit.
pub(crate) fn elements<'de, T, A, const MAX: usize>(
    mut list: A,
) -> Result<Bounded<T, MAX>, A::Error>
where
    T: Deserialize<'de>,
    A: SeqAccess<'de>,
{
    let mut elements = Vec::new();
    while let Some(element) = list.next_element()? {
        if elements.len() == MAX {
            return Err(serde::de::Error::custom(format_args!(
                "list has more than {MAX} elements"
            )));
        }
        elements.push(element);
    }
    Ok(Bounded(elements))
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                elements(list)
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A value that has exactly one canonical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Text(String),
    Number(u32),
    Truth(bool),
    List(Vec<Json>),
    Map(BTreeMap<&'static str, Json>),
}

impl Json {
    /// An object of these members; a later one of the same name replaces an earlier one.
    pub(crate) fn map<const N: usize>(members: [(&'static str, Self); N]) -> Self {
        Self::Map(members.into())
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The canonical text, RFC 8785.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Truth(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::List(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    element.write(out);
                }
                out.push(']');
            }
            // Names are ASCII, so the order of bytes is that of UTF-16 code units.
            Self::Map(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_that_of_rfc_8785() {
        // The texts of section 3.2.2's example, and every control character.
        let text = Json::text("\u{20ac}$\u{f}\nA'\u{42}\"\\\\\"/");
        assert_eq!(text.encode(), r#""€$\u000f\nA'B\"\\\\\"/""#);
        for code in 0..=0x7f_u8 {
            let text = char::from(code).to_string();
            let written = Json::text(text.clone()).encode();
            assert_eq!(written, serde_json::to_string(&text).unwrap());
        }
        let value = Json::map([
            ("b", Json::List(vec![Json::Number(0), Json::Number(u32::MAX), Json::List(vec![])])),
            ("a", Json::map([])),
            ("B", Json::Truth(false)),
        ]);
        assert_eq!(value.encode(), r#"{"B":false,"a":{},"b":[0,4294967295,[]]}"#);
    }

    #[test]
    fn a_list_ends_at_its_limit() {
        assert_eq!(parse::<Bounded<u8, 2>>(b"[]").unwrap().len(), 0);
        assert_eq!(*parse::<Bounded<u8, 2>>(b" [1, 2] ").unwrap(), [1, 2]);
        let fault = parse::<Bounded<u8, 2>>(b"[1,2,3]").unwrap_err();
        assert!(fault.to_string().contains("list has more than 2 elements"), "{fault}");
    }

    #[test]
    fn a_fault_has_its_path() {
        let fault = parse::<BTreeMap<String, Vec<u8>>>(br#"{"a":[1],"b":[1,"x"]}"#).unwrap_err();
        assert_eq!(fault.path, "b[1]");
        assert_eq!(parse::<Vec<u8>>(b"[1] 2").unwrap_err().path, ".");
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(parse::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}
