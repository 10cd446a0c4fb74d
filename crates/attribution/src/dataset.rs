//! Datasets: documents in an order, and the root that their manifest names.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use tally_core::{Digest, contribution::Extent, tag, trace, tree};
use thiserror::Error;

/// Name of the Croissant document in a dataset's folder, which describes the dataset and is no part of it.
pub const CROISSANT_NAME: &str = "croissant.json";

/// Why a folder is no dataset.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file or folder cannot be read.
    #[error("{path}: {cause}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file is no text.
    #[error("{path} is not UTF-8 text: byte {at} is none", path = .path.display())]
    Text {
        /// Which.
        path: PathBuf,
        /// The first byte that is not.
        at: usize,
    },
    /// A file's name is not UTF-8.
    #[error("{path} has a name that is not UTF-8", path = .path.display())]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// There are no documents.
    #[error("{path} holds no documents", path = .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The documents are too large together, or too many.
    #[error("the documents have more than {limit} {unit}")]
    Limit {
        /// What was counted.
        unit: &'static str,
        /// The limit.
        limit: u32,
    },
}

/// Documents in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name and text of each, names with `/` between folders.
    pub documents: Vec<(String, String)>,
}

impl Dataset {
    /// Reads a text file, or all of a folder, in the order of their names; links are not followed,
    /// and names that begin with a dot are left out, as is [`CROISSANT_NAME`] at the folder's top.
    ///
    /// # Errors
    /// What cannot be read or is no text, and more than an index can hold.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let mut files = vec![];
        list(path, path, &mut files)?;
        files.sort();
        let (mut documents, mut size) = (vec![], 0_u64);
        for (name, path) in files {
            let left = u64::from(trace::TEXT_BYTES_MAX).saturating_sub(size);
            let text = read_text(&path, left)?;
            size += text.len() as u64 + 1;
            documents.push((name, text));
            if documents.len() > trace::DOCUMENT_COUNT_MAX as usize {
                let limit = trace::DOCUMENT_COUNT_MAX;
                return Err(DatasetError::Limit { unit: "documents", limit });
            }
        }
        match documents.is_empty() {
            true => Err(DatasetError::Empty { path: path.into() }),
            false => Ok(Self { documents }),
        }
    }

    /// What a manifest names as its subject.
    #[must_use]
    pub fn root(&self) -> Digest {
        documents_root(self.documents.iter().map(|(_, text)| Digest::of_content(text.as_bytes())))
    }

    /// How much it is.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent {
            count: u32::try_from(self.documents.len()).unwrap_or(u32::MAX),
            size_bytes: self.documents.iter().map(|(_, text)| text.len() as u64).sum(),
        }
    }
}

/// The root over documents by SHA-256 of each: an RFC 6962 tree whose leaves are tag ‖ digest.
#[must_use]
pub fn documents_root(documents: impl IntoIterator<Item = Digest>) -> Digest {
    let tag = tag::DATASET_DOCUMENT.as_bytes();
    let leaf = |document: Digest| tree::leaf_hash(&[tag, document.as_bytes()].concat());
    let leaves: Vec<Digest> = documents.into_iter().map(leaf).collect();
    tree::root(&leaves)
}

/// Finds files with their names relative to the root.
fn list(root: &Path, path: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<(), DatasetError> {
    let failed = |cause| DatasetError::Read { path: path.into(), cause };
    if fs::metadata(path).map_err(failed)?.is_file() {
        let relative = path.strip_prefix(root).ok().filter(|it| !it.as_os_str().is_empty());
        let named = relative.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
        let name = named.to_str().ok_or_else(|| DatasetError::Name { path: path.into() })?;
        files.push((name.into(), path.into()));
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_description = path == root && entry.file_name() == CROISSANT_NAME;
        let kind = entry.file_type().map_err(failed)?;
        if !is_hidden && !is_description && (kind.is_file() || kind.is_dir()) {
            list(root, &entry.path(), files)?;
        }
    }
    Ok(())
}

fn read_text(path: &Path, limit: u64) -> Result<String, DatasetError> {
    let failed = |cause| DatasetError::Read { path: path.into(), cause };
    let mut bytes = vec![];
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 >= limit {
        return Err(DatasetError::Limit { unit: "bytes", limit: trace::TEXT_BYTES_MAX });
    }
    String::from_utf8(bytes).map_err(|error| DatasetError::Text {
        path: path.into(),
        at: error.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_stand_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).unwrap();
        for (name, text) in [("b/2", "two"), ("a", "one"), ("c", "three"), (".hidden", "no")] {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at(CROISSANT_NAME), "{}").unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let dataset = Dataset::read(folder.path()).unwrap();
        let names: Vec<&str> = dataset.documents.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b/2", "c"]);
        assert_eq!(dataset.extent(), Extent { count: 3, size_bytes: 11 });
        let digests = ["one", "two", "three"].map(|text| Digest::of_content(text.as_bytes()));
        assert_eq!(dataset.root(), documents_root(digests));
        assert_ne!(dataset.root(), documents_root([digests[1], digests[0], digests[2]]));
        let one = Dataset::read(&at("a")).unwrap();
        assert_eq!(one.documents, [("a".to_owned(), "one".to_owned())]);
        // By itself, or further below, it is a document as any other.
        assert_eq!(Dataset::read(&at(CROISSANT_NAME)).unwrap().documents.len(), 1);
        fs::write(at("b/croissant.json"), "{}").unwrap();
        assert_eq!(Dataset::read(folder.path()).unwrap().documents.len(), 4);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = Dataset::read(folder.path()).unwrap_err().to_string();
        assert!(empty.ends_with("holds no documents"), "{empty}");
        fs::write(folder.path().join("bad"), b"ok\xff").unwrap();
        let bad = Dataset::read(folder.path()).unwrap_err().to_string();
        assert!(bad.ends_with("bad is not UTF-8 text: byte 2 is none"), "{bad}");
        let missing = Dataset::read(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, DatasetError::Read { .. }));
    }
}
