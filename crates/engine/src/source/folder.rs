//! Files of a folder, read whole under limits and remembered with their digests.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tally_core::Digest;

use super::SourceFile;
use super::error::{SourceError, shown};

/// Most characters of a name that a file of the folder gives to another.
const NAME_CHARS_MAX: usize = 128;

/// A folder and what was read of it.
pub(super) struct Folder<'a> {
    path: &'a Path,
    files: Vec<SourceFile>,
}

impl<'a> Folder<'a> {
    pub(super) const fn new(path: &'a Path) -> Self {
        Self { path, files: vec![] }
    }

    /// The content of a regular file of at most `limit` bytes; `None` if there is none.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let bytes = read_file(&self.path.join(name), name, limit)?;
        if let Some(bytes) = &bytes {
            self.files.push(described(name, bytes));
        }
        Ok(bytes)
    }

    /// The content of a file that must be there.
    pub(super) fn require(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
        self.read(name, limit)?.ok_or_else(|| not_found(name))
    }

    /// The files that were read, in order of name.
    pub(super) fn into_files(mut self) -> Vec<SourceFile> {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        self.files
    }
}

/// A name that `list` gives, if it is that of a file or folder beside it and of nothing else.
pub(super) fn plain_name<'a>(list: &str, name: &'a str) -> Result<&'a str, SourceError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(is_plain);
    let refused = || SourceError::Name { file: list.to_owned(), found: shown(name) };
    is_name.then_some(name).ok_or_else(refused)
}

pub(super) fn not_found(name: &str) -> SourceError {
    SourceError::Read { file: name.to_owned(), kind: io::ErrorKind::NotFound }
}

pub(super) fn described(name: &str, bytes: &[u8]) -> SourceFile {
    let size_bytes = bytes.len() as u64;
    SourceFile { name: name.to_owned(), size_bytes, digest: Digest::of_content(bytes) }
}

/// The content of a regular file of at most `limit` bytes, called `name` in errors.
pub(super) fn read_file(
    path: &Path,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, SourceError> {
    let failed = |error: io::Error| SourceError::Read { file: name.to_owned(), kind: error.kind() };
    let too_large = |found| SourceError::TooLarge { file: name.to_owned(), limit, found };
    // Asked before opening, since opening a pipe would wait for its writer.
    let size = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => {
            return Err(SourceError::NotAFile { file: name.to_owned() });
        }
        Ok(found) if found.len() > limit => return Err(too_large(found.len())),
        Ok(found) => found.len(),
    };
    let file = File::open(path).map_err(failed)?;
    // Room for the whole file at once, so that none is left over from growing.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = bytes.len() as u64;
    if found > limit { Err(too_large(found)) } else { Ok(Some(bytes)) }
}
