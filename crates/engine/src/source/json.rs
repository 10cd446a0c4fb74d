//! A JSON object as the raw texts of its fields, so that numbers keep their digits.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decimal::Decimal;
use super::error::{SourceError, shown};

/// The fields of one object of one file; a name that occurs twice is refused.
pub(super) struct Fields {
    file: String,
    fields: BTreeMap<String, Box<RawValue>>,
}

impl Fields {
    /// Parses a whole file.
    pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Self, SourceError> {
        let text = parse_utf8(file, bytes)?;
        let distinct: Distinct = serde_json::from_str(text).map_err(|error| SourceError::Json {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self { file: file.to_owned(), fields: distinct.0 })
    }

    /// Takes a field that is an object; `None` when it is absent or null.
    pub(super) fn object(&mut self, field: &'static str) -> Result<Option<Self>, SourceError> {
        let distinct: Option<Distinct> = self.optional(field, "an object with distinct names")?;
        Ok(distinct.map(|distinct| Self { file: self.file.clone(), fields: distinct.0 }))
    }

    /// Takes a field by type; `None` when it is absent or null.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, SourceError> {
        let Some(raw) = self.fields.remove(field) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|_| self.wrong(field, expected, raw.get()))
    }

    /// Takes true or false; false when it is absent or null.
    pub(super) fn switch(&mut self, field: &'static str) -> Result<bool, SourceError> {
        Ok(self.optional(field, "true or false")?.unwrap_or_default())
    }

    /// Whether a field is there, be it null.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Takes a field that means nothing here.
    pub(super) fn ignore(&mut self, field: &str) {
        self.fields.remove(field);
    }

    /// The file that the object stands in.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// All fields as texts.
    pub(super) fn into_texts(self) -> Result<BTreeMap<String, String>, SourceError> {
        let file = &self.file;
        let text = |(name, raw): (String, Box<RawValue>)| {
            serde_json::from_str(raw.get()).map(|text| (name, text)).map_err(|_| {
                SourceError::FieldType {
                    file: file.clone(),
                    field: "a name",
                    expected: "a text",
                    found: shown(raw.get()),
                }
            })
        };
        self.fields.into_iter().map(text).collect()
    }

    /// Takes an integer in a range; `None` when it is absent or null.
    pub(super) fn integer(
        &mut self,
        field: &'static str,
        minimum: u32,
        maximum: u32,
    ) -> Result<Option<u32>, SourceError> {
        let Some(found) = self.optional::<u64>(field, "a whole number")? else { return Ok(None) };
        let in_range = u32::try_from(found).ok().filter(|each| (minimum..=maximum).contains(each));
        in_range.map(Some).ok_or_else(|| SourceError::FieldRange {
            file: self.file.clone(),
            field,
            found,
            minimum: minimum.into(),
            maximum: maximum.into(),
        })
    }

    /// Takes a decimal number; `None` when it is absent or null.
    pub(super) fn decimal(&mut self, field: &'static str) -> Result<Option<Decimal>, SourceError> {
        let Some(raw) = self.fields.remove(field).filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        let expected = "a decimal number that is not negative, of at most 19 digits";
        let decimal = Decimal::parse(raw.get());
        decimal.map(Some).ok_or_else(|| self.wrong(field, expected, raw.get()))
    }

    /// A required field that was not found.
    pub(super) fn missing(&self, field: &'static str) -> SourceError {
        SourceError::FieldMissing { file: self.file.clone(), field }
    }

    /// Refuses a field unless it is absent, null, or one of the JSON texts `supported`.
    pub(super) fn refuse_unless(
        &mut self,
        field: &'static str,
        texts: &[&str],
        supported: &'static str,
    ) -> Result<(), SourceError> {
        match self.fields.remove(field) {
            Some(raw) if raw.get() != "null" && !texts.contains(&raw.get()) => {
                Err(SourceError::Feature {
                    file: self.file.clone(),
                    field,
                    found: shown(raw.get()),
                    supported,
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses the first field that was not taken unless it is null, in `ignored`, or false and
    /// in `off`, which names what is not computed here.
    pub(super) fn refuse_rest(&self, ignored: &[&str], off: &[&str]) -> Result<(), SourceError> {
        let says_something = |field: &str, raw: &RawValue| match raw.get() {
            "null" => false,
            "false" => !off.contains(&field),
            _ => true,
        };
        let unknown = self
            .fields
            .iter()
            .find(|(field, raw)| !ignored.contains(&field.as_str()) && says_something(field, raw));
        match unknown {
            Some((field, raw)) => Err(SourceError::FieldUnknown {
                file: self.file.clone(),
                field: shown(field),
                found: shown(raw.get()),
            }),
            None => Ok(()),
        }
    }

    fn wrong(&self, field: &'static str, expected: &'static str, found: &str) -> SourceError {
        SourceError::FieldType { file: self.file.clone(), field, expected, found: shown(found) }
    }
}

/// The bytes of a file as text.
pub(super) fn parse_utf8<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, SourceError> {
    std::str::from_utf8(bytes).map_err(|error| SourceError::NotUtf8 {
        file: file.to_owned(),
        offset: error.valid_up_to(),
    })
}

struct Distinct(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DistinctVisitor)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Distinct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with distinct names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Distinct(fields))
    }
}
