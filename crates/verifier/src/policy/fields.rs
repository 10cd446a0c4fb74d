//! Reading the fields of a TOML table, each fault with its line and its path.
//!
//! Only the shape is read here; what a value means is the parser's business.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::PolicyError;

/// A value with the place that it stands at.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
    pub(super) field: String,
}

impl<T> Located<T> {
    pub(super) fn with<U>(self, value: U) -> Located<U> {
        Located { value, line: self.line, field: self.field }
    }
}

/// 1-based line of a byte offset.
pub(super) fn line_of(source: &str, offset: usize) -> usize {
    let before = source.as_bytes().get(..offset).unwrap_or(source.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}

/// The fields of one table.
#[derive(Clone, Debug)]
pub(super) struct Fields<'t> {
    source: &'t str,
    path: String,
    line: usize,
    table: &'t DeTable<'t>,
}

impl<'t> Fields<'t> {
    /// The fields of the whole document.
    pub(super) const fn of_document(source: &'t str, table: &'t DeTable<'t>) -> Self {
        Self { source, path: String::new(), line: 1, table }
    }

    /// 1-based line of the table.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The field's name with the names of the tables around it.
    pub(super) fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.into() } else { format!("{}.{field}", self.path) }
    }

    /// Refuses every field that is not one of `known`; those of `later` by another error.
    pub(super) fn only(&self, known: &[&str], later: &[&str]) -> Result<(), PolicyError> {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            let (line, field) = (line_of(self.source, key.span().start), self.path(name));
            if later.contains(&name) {
                return Err(PolicyError::Unsupported { line, field });
            }
            if !known.contains(&name) {
                return Err(PolicyError::UnknownField { line, field });
            }
        }
        Ok(())
    }

    /// The error that says that `field` is missing.
    pub(super) fn missing(&self, field: &str) -> PolicyError {
        PolicyError::MissingField { line: self.line, field: self.path(field) }
    }

    /// The field as it stands, if it is there.
    pub(super) fn value(&self, field: &str) -> Option<Located<&'t DeValue<'t>>> {
        let value = self.table.get(field)?;
        Some(Located {
            value: value.get_ref(),
            line: line_of(self.source, value.span().start),
            field: self.path(field),
        })
    }

    /// A text.
    pub(super) fn text(&self, field: &str) -> Result<Option<Located<&'t str>>, PolicyError> {
        self.value(field).map(text).transpose()
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, field: &str) -> Result<Located<&'t str>, PolicyError> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    /// A truth value.
    pub(super) fn truth(&self, field: &str) -> Result<Option<bool>, PolicyError> {
        let Some(found) = self.value(field) else { return Ok(None) };
        found.value.as_bool().map(Some).ok_or_else(|| wrong_type(&found, "a truth value"))
    }

    /// A non-negative integer.
    pub(super) fn uint(&self, field: &str) -> Result<Option<Located<u64>>, PolicyError> {
        let Some(found) = self.value(field) else { return Ok(None) };
        let number = found
            .value
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        let number = number.ok_or_else(|| wrong_type(&found, "an integer from 0 on"))?;
        Ok(Some(found.with(number)))
    }

    /// A list of texts; empty if it is not there.
    pub(super) fn texts(
        &self,
        field: &str,
        limit: usize,
    ) -> Result<Vec<Located<&'t str>>, PolicyError> {
        self.items(field, limit)?.into_iter().map(text).collect()
    }

    /// A list of tables, `[[field]]`; empty if it is not there.
    pub(super) fn tables(&self, field: &str, limit: usize) -> Result<Vec<Self>, PolicyError> {
        let table = |found: Located<&'t DeValue<'t>>| match found.value.as_table() {
            Some(table) => {
                Ok(Self { source: self.source, path: found.field, line: found.line, table })
            }
            None => Err(wrong_type(&found, "a table")),
        };
        self.items(field, limit)?.into_iter().map(table).collect()
    }

    fn items(
        &self,
        field: &str,
        limit: usize,
    ) -> Result<Vec<Located<&'t DeValue<'t>>>, PolicyError> {
        let Some(list) = self.value(field) else { return Ok(Vec::new()) };
        let Some(items) = list.value.as_array() else { return Err(wrong_type(&list, "a list")) };
        if items.len() > limit {
            let (line, field, found) = (list.line, list.field, items.len());
            return Err(PolicyError::Count { line, field, limit, found });
        }
        let located = |(index, item): (usize, &'t Spanned<DeValue<'t>>)| Located {
            value: item.get_ref(),
            line: line_of(self.source, item.span().start),
            field: format!("{}[{index}]", list.field),
        };
        Ok(items.iter().enumerate().map(located).collect())
    }
}

fn text<'t>(found: Located<&'t DeValue<'t>>) -> Result<Located<&'t str>, PolicyError> {
    match found.value.as_str() {
        Some(text) => Ok(found.with(text)),
        None => Err(wrong_type(&found, "a text")),
    }
}

/// The error that says that a value has another type.
pub(super) fn wrong_type(found: &Located<&DeValue<'_>>, expected: &'static str) -> PolicyError {
    PolicyError::Type {
        line: found.line,
        field: found.field.to_string(),
        expected,
        found: found.value.type_str(),
    }
}
