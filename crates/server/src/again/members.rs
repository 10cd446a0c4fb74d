//! JSON taken apart without losing a byte: members in their order, none twice, nothing between them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object, each with its value's own text.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object that is written as this program writes one: no white space, no member twice.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let members: Self = serde_json::from_str(text).ok()?;
        (members.text() == text).then_some(members)
    }

    /// The text of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.get())
    }

    /// The elements of a member that is an array.
    pub(super) fn elements(&self, name: &str) -> Option<Vec<&'a str>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.get(name)?).ok()?;
        let texts: Vec<&str> = elements.iter().map(|element| element.get()).collect();
        (format!("[{}]", texts.join(",")) == self.get(name)?).then_some(texts)
    }

    /// Whether two objects have the same members in the same order, and the same texts for all but
    /// `others`.
    pub(super) fn is_same_but(&self, other: &Members<'_>, others: &[&str]) -> bool {
        let is_same = |((a, x), (b, y)): (&(String, &RawValue), &(String, &RawValue))| {
            a == b && (others.contains(&a.as_str()) || x.get() == y.get())
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }

    fn text(&self) -> String {
        let member = |(name, value): &(String, &RawValue)| {
            format!("{}:{}", serde_json::Value::from(name.as_str()), value.get())
        };
        format!("{{{}}}", self.0.iter().map(member).collect::<Vec<_>>().join(","))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = vec![];
                while let Some((name, value)) = map.next_entry()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_program_writes_is_taken_apart() {
        let members = Members::parse(r#"{"a":[1,{"b":-0.500000}],"c":"é\n"}"#).unwrap();
        assert_eq!(members.elements("a").unwrap(), ["1", "{\"b\":-0.500000}"]);
        assert_eq!(members.get("c"), Some("\"é\\n\""));
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a": 1}"#,
            r#" {"a":1}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1}x"#,
            "[1]",
            "",
        ] {
            assert!(Members::parse(text).is_none(), "{text}");
        }
        let spaced = Members::parse(r#"{"a":[1, 2]}"#).unwrap();
        assert!(spaced.elements("a").is_none());
    }

    #[test]
    fn members_are_compared_by_order_and_text() {
        let of = |text: &'static str| Members::parse(text).unwrap();
        let one = of(r#"{"a":1,"b":2}"#);
        assert!(one.is_same_but(&of(r#"{"a":1,"b":3}"#), &["b"]));
        assert!(!one.is_same_but(&of(r#"{"a":1,"b":3}"#), &["a"]));
        assert!(!one.is_same_but(&of(r#"{"b":2,"a":1}"#), &["a", "b"]));
        assert!(!one.is_same_but(&of(r#"{"a":1}"#), &["a", "b"]));
        assert!(!one.is_same_but(&of(r#"{"a":1,"b":2,"c":3}"#), &["a", "b", "c"]));
    }
}
