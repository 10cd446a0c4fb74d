//! Names of what is signed: a file's path, or a part of a file.

use std::fmt;

use super::{ModelSigningError, PATH_BYTES_MAX};

/// The name of a model that is one file.
const WHOLE: &str = ".";

/// A file below the model's folder, or a part of one; in the order in which the root is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName {
    /// The parts of the path; none where the model is one file.
    path: Vec<String>,
    /// First byte and byte after the last, where files are hashed in shards.
    range: Option<(u64, u64)>,
}

impl ResourceName {
    pub(super) const fn new(path: Vec<String>, range: Option<(u64, u64)>) -> Self {
        Self { path, range }
    }

    /// The path, parts divided by `/`.
    #[must_use]
    pub fn path(&self) -> String {
        joined(&self.path)
    }

    /// First byte and byte after the last, where files are hashed in shards.
    #[must_use]
    pub const fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// Whether both are of one file.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Reads the name of a file.
    pub(super) fn parse_file(text: &str) -> Result<Self, ModelSigningError> {
        Ok(Self::new(parse_path(text)?, None))
    }

    /// Reads `path:start:end`; no path of a shard has a colon.
    pub(super) fn parse_shard(text: &str) -> Result<Self, ModelSigningError> {
        let refused = || ModelSigningError::Name { name: text.into() };
        let mut parts = text.split(':');
        let (Some(path), Some(start), Some(end), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        let number = |digits: &str| {
            let number: u64 = digits.parse().ok()?;
            (number.to_string() == digits).then_some(number)
        };
        match (number(start), number(end)) {
            (Some(start), Some(end)) if start < end => {
                Ok(Self::new(parse_path(path)?, Some((start, end))))
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())?;
        self.range.map_or(Ok(()), |(start, end)| write!(f, ":{start}:{end}"))
    }
}

/// The parts of a relative path in its one form; `.` has none.
pub(super) fn parse_path(text: &str) -> Result<Vec<String>, ModelSigningError> {
    if text == WHOLE {
        return Ok(Vec::new());
    }
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    match text.len() <= PATH_BYTES_MAX && text.split('/').all(is_part) {
        true => Ok(text.split('/').map(ToOwned::to_owned).collect()),
        false => Err(ModelSigningError::Name { name: text.chars().take(100).collect() }),
    }
}

pub(super) fn joined(parts: &[String]) -> String {
    if parts.is_empty() { WHOLE.into() } else { parts.join("/") }
}
