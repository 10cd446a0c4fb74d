//! Integers as the vectors write them: runs as text `value*count`, large ones as text.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Fewest equal integers that are written as a run.
const RUN_MIN: usize = 4;
/// Beyond this magnitude some readers of JSON lose bits.
const PLAIN_MAX: u64 = 1 << 53;

/// A list as the vectors write it.
pub(super) fn packed<T: Copy + Into<i128>>(values: &[T]) -> Value {
    let values: Vec<i128> = values.iter().map(|value| (*value).into()).collect();
    let mut found = vec![];
    for run in values.chunk_by(|a, b| a == b) {
        if run.len() >= RUN_MIN {
            found.push(json!(format!("{}*{}", run[0], run.len())));
        } else {
            found.extend(run.iter().map(|value| one(*value)));
        }
    }
    Value::Array(found)
}

/// One integer as the vectors write it.
pub(super) fn one(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if small.unsigned_abs() <= PLAIN_MAX => json!(small),
        _ => json!(value.to_string()),
    }
}

/// An input of an operation.
#[derive(Clone, Copy)]
pub(super) struct Given<'a>(pub(super) &'a Value);

impl<'a> Given<'a> {
    /// The field of that name.
    pub(super) fn field(self, name: &str) -> Result<&'a Value> {
        self.0.get(name).with_context(|| format!("there is no field {name}"))
    }

    /// Whether there is a field of that name.
    pub(super) fn has(self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// An integer.
    pub(super) fn integer<T: TryFrom<i128>>(self, name: &str) -> Result<T> {
        read(self.field(name)?).with_context(|| format!("field {name}"))
    }

    /// A text.
    pub(super) fn text(self, name: &str) -> Result<&'a str> {
        self.field(name)?.as_str().with_context(|| format!("field {name} is no text"))
    }

    /// A truth value.
    pub(super) fn truth(self, name: &str) -> Result<bool> {
        self.field(name)?.as_bool().with_context(|| format!("field {name} is no truth value"))
    }

    /// A list of integers.
    pub(super) fn list<T: TryFrom<i128> + Clone>(self, name: &str) -> Result<Vec<T>> {
        unpacked(self.field(name)?).with_context(|| format!("field {name}"))
    }

    /// A list of lists of integers.
    pub(super) fn lists<T: TryFrom<i128> + Clone>(self, name: &str) -> Result<Vec<Vec<T>>> {
        let lists = self.field(name)?.as_array().context("a list of lists")?;
        lists.iter().map(unpacked).collect()
    }
}

/// The integers of a list with runs.
fn unpacked<T: TryFrom<i128> + Clone>(value: &Value) -> Result<Vec<T>> {
    let mut found = vec![];
    for item in value.as_array().context("a list of integers")? {
        match item.as_str().and_then(|text| text.split_once('*')) {
            None => found.push(read(item)?),
            Some((value, count)) => {
                let count: u32 = count.parse()?;
                found.resize(found.len() + count as usize, narrow(value.parse()?)?);
            }
        }
    }
    Ok(found)
}

fn read<T: TryFrom<i128>>(value: &Value) -> Result<T> {
    match value {
        Value::String(text) => narrow(text.parse()?),
        value => narrow(value.as_i64().context("an integer")?.into()),
    }
}

fn narrow<T: TryFrom<i128>>(number: i128) -> Result<T> {
    T::try_from(number).ok().with_context(|| format!("{number} is out of range"))
}
