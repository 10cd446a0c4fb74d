//! Checkpoints (c2sp.org/tlog-checkpoint): a note whose text states a log's size and root.
//!
//! Extension lines of other logs are kept, since cosignatures cover them; our log writes none.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::{
    Digest,
    ed25519::SigningKey,
    note::{KeyName, Note, NoteError, NoteSignature, VerifierKey},
    tree::TreeSize,
};

#[cfg(test)]
mod tests;

/// Longest origin, as in the ML-DSA-44 form of tlog-cosignature.
pub const ORIGIN_SIZE_BYTES_MAX: usize = 255;

/// Most extension lines of a checkpoint.
pub const EXTENSION_COUNT_MAX: usize = 16;

/// Longest extension line.
pub const EXTENSION_SIZE_BYTES_MAX: usize = 4_096;

/// Why a note's text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note itself has another form, or is not signed as it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The origin is empty, too long, or holds a control character.
    #[error("origin is empty, above {ORIGIN_SIZE_BYTES_MAX} bytes, or holds a control character")]
    Origin,
    /// The text has fewer than three lines or does not end in a newline.
    #[error("checkpoint has {found} whole lines, expected at least 3")]
    Lines {
        /// How many lines end in a newline.
        found: usize,
    },
    /// The size is not a decimal in its one form, or above 2⁶³ − 1.
    #[error("tree size is not a canonical decimal up to 2^63 - 1")]
    TreeSize,
    /// The root is not the canonical base64 of 32 bytes.
    #[error("root hash is not the canonical base64 of 32 bytes")]
    Root,
    /// An extension line is empty or too long.
    #[error("extension line {line} has {found} bytes, expected 1 to {EXTENSION_SIZE_BYTES_MAX}")]
    ExtensionLine {
        /// 0-based number among the extension lines.
        line: usize,
        /// Its size.
        found: usize,
    },
    /// Too many extension lines.
    #[error("checkpoint has {found} extension lines, the limit is {EXTENSION_COUNT_MAX}")]
    ExtensionCount {
        /// How many.
        found: usize,
    },
    /// The checkpoint is of another log.
    #[error("checkpoint is of origin {found}, expected {expected}")]
    OtherOrigin {
        /// The origin that was expected.
        expected: Origin,
        /// The checkpoint's origin.
        found: Origin,
    },
}

/// The unique name of a log: one non-empty line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// Takes an origin line, without its newline.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] if it is empty, too long, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let is_control = |byte: u8| byte < b' ';
        if text.is_empty() || text.len() > ORIGIN_SIZE_BYTES_MAX || text.bytes().any(is_control) {
            return Err(CheckpointError::Origin);
        }
        Ok(Self(text.into()))
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&KeyName> for Origin {
    /// Every key name is an origin; a log's own key carries its origin as name.
    fn from(name: &KeyName) -> Self {
        Self(name.as_str().into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a checkpoint states, without its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: Origin,
    size: TreeSize,
    root: Digest,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub const fn new(origin: Origin, size: TreeSize, root: Digest) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Parses a note text.
    ///
    /// # Errors
    /// The first deviation from the form.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines: Vec<&str> = match text.strip_suffix('\n') {
            Some(lines) => lines.split('\n').collect(),
            None => Vec::new(),
        };
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(CheckpointError::Lines { found: lines.len() });
        };
        if extensions.len() > EXTENSION_COUNT_MAX {
            return Err(CheckpointError::ExtensionCount { found: extensions.len() });
        }
        for (line, extension) in extensions.iter().enumerate() {
            if extension.is_empty() || extension.len() > EXTENSION_SIZE_BYTES_MAX {
                return Err(CheckpointError::ExtensionLine { line, found: extension.len() });
            }
        }
        let size = parse_decimal(size).and_then(TreeSize::new).ok_or(CheckpointError::TreeSize)?;
        Ok(Self {
            origin: Origin::parse(origin)?,
            size,
            root: parse_hash(root).ok_or(CheckpointError::Root)?,
            extensions: extensions.iter().map(|line| (*line).into()).collect(),
        })
    }

    /// The note text.
    #[must_use]
    pub fn encode(&self) -> String {
        let root = encode_hash(&self.root);
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The log's name.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The tree's root.
    #[must_use]
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// The extension lines, without newlines; opaque, and vouched for by nobody but the log.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// A checkpoint with its signature lines, none of them verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs a checkpoint with the log's key; the key's name is the origin where that is a key name.
    ///
    /// # Errors
    /// If the checkpoint's text cannot be a note.
    pub fn sign(
        checkpoint: Checkpoint,
        name: &KeyName,
        key: &SigningKey,
    ) -> Result<Self, CheckpointError> {
        let mut note = Note::new(&checkpoint.encode())?;
        note.sign(name, key)?;
        Ok(Self { checkpoint, note })
    }

    /// Parses a note whose text is a checkpoint.
    ///
    /// # Errors
    /// The first deviation from the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self { checkpoint: Checkpoint::parse(note.text())?, note })
    }

    /// The bytes that [`SignedCheckpoint::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.note.encode()
    }

    /// What it states.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note: text and signature lines.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Appends a signature line, such as a cosignature.
    ///
    /// # Errors
    /// If the key has signed already or there are too many lines.
    pub fn push(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.note.push(signature)
    }

    /// Verifies that it is a checkpoint of `origin`, signed by the log's `key`.
    ///
    /// # Errors
    /// If it is of another log, or the log's signature is absent, double or refused.
    pub fn verify(&self, origin: &Origin, key: &VerifierKey) -> Result<(), CheckpointError> {
        if self.checkpoint.origin != *origin {
            return Err(CheckpointError::OtherOrigin {
                expected: origin.clone(),
                found: self.checkpoint.origin.clone(),
            });
        }
        Ok(self.note.verify(key)?)
    }
}

/// Parses a decimal without leading zeros or sign.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// Parses the canonical base64 of 32 bytes.
pub(crate) fn parse_hash(text: &str) -> Option<Digest> {
    let mut bytes = [0_u8; 32];
    Digest::from_slice(Base64::decode(text, &mut bytes).ok()?)
}

/// The base64 of a hash.
pub(crate) fn encode_hash(hash: &Digest) -> String {
    Base64::encode_string(hash.as_bytes())
}
