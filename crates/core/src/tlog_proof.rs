//! Self-contained inclusion proofs (c2sp.org/tlog-proof): index, hashes, signed checkpoint.

use alloc::{format, string::String, vec::Vec};

use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::{
    Digest,
    checkpoint::{CheckpointError, SignedCheckpoint, encode_hash, parse_decimal, parse_hash},
    note::NOTE_SIZE_BYTES_MAX,
    tree::{self, LeafIndex, PROOF_LEN_MAX, TreeError},
};

#[cfg(test)]
mod tests;

/// First line of the format.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Most bytes of extra data.
pub const EXTRA_SIZE_BYTES_MAX: usize = 4_096;

/// Largest proof that is read: header, extra data, 64 hashes, and a note.
pub const TLOG_PROOF_SIZE_BYTES_MAX: usize = 10_240 + NOTE_SIZE_BYTES_MAX;

/// Why bytes are not a proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// The proof is above the size limit.
    #[error("proof has {found} bytes, the limit is {TLOG_PROOF_SIZE_BYTES_MAX}")]
    Size {
        /// Its size.
        found: usize,
    },
    /// The proof is not UTF-8.
    #[error("proof is not UTF-8 from byte {offset} on")]
    Utf8 {
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// The first line is another.
    #[error("first line is not {HEADER}")]
    Header,
    /// The extra data is empty, too long, or not canonical base64.
    #[error("extra data is no canonical base64 of 1 to {EXTRA_SIZE_BYTES_MAX} bytes")]
    Extra,
    /// The index line is absent or not a canonical decimal.
    #[error("index line is absent or holds no canonical decimal")]
    Index,
    /// A line among the hashes is not the canonical base64 of 32 bytes.
    #[error("hash line {line} is not the canonical base64 of 32 bytes")]
    Hash {
        /// 0-based number among the hash lines.
        line: usize,
    },
    /// Too many hashes.
    #[error("proof has more than {PROOF_LEN_MAX} hashes")]
    HashCount,
    /// No empty line ends the hashes.
    #[error("no empty line before the checkpoint")]
    NoBlankLine,
    /// The checkpoint has another form.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A proof that some entry stands at an index of a checkpointed tree.
///
/// Nothing of it is verified by parsing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque and authenticated by nothing; never empty if present.
    pub extra: Option<Vec<u8>>,
    /// Where the entry stands.
    pub index: LeafIndex,
    /// The inclusion proof, from the leaf's sibling upwards; at most [`PROOF_LEN_MAX`].
    pub hashes: Vec<Digest>,
    /// The checkpoint with its signatures and cosignatures.
    pub checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Parses a proof.
    ///
    /// # Errors
    /// The first deviation from the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_SIZE_BYTES_MAX {
            return Err(TlogProofError::Size { found: bytes.len() });
        }
        let text = core::str::from_utf8(bytes)
            .map_err(|error| TlogProofError::Utf8 { offset: error.valid_up_to() })?;
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(TlogProofError::Header)?;
        let (extra, rest) = parse_extra(rest)?;
        let (index, rest) = rest
            .strip_prefix("index ")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or(TlogProofError::Index)?;
        let index = LeafIndex(parse_decimal(index).ok_or(TlogProofError::Index)?);
        let (hashes, checkpoint) = parse_hashes(rest)?;
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// The bytes that [`TlogProof::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", Base64::encode_string(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&encode_hash(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.encode());
        text
    }

    /// Verifies that `entry` stands at the index in the tree that the checkpoint states.
    ///
    /// Whether the checkpoint's signatures suffice is not looked at.
    ///
    /// # Errors
    /// If the index is outside the tree, or the hashes lead to another root.
    pub fn verify_inclusion(&self, entry: &[u8]) -> Result<(), TreeError> {
        let checkpoint = self.checkpoint.checkpoint();
        tree::verify_inclusion(
            &tree::leaf_hash(entry),
            self.index,
            checkpoint.size(),
            &self.hashes,
            checkpoint.root(),
        )
    }
}

fn parse_extra(text: &str) -> Result<(Option<Vec<u8>>, &str), TlogProofError> {
    let Some(rest) = text.strip_prefix("extra ") else { return Ok((None, text)) };
    let (extra, rest) = rest.split_once('\n').ok_or(TlogProofError::Extra)?;
    let extra = Base64::decode_vec(extra).map_err(|_| TlogProofError::Extra)?;
    if extra.is_empty() || extra.len() > EXTRA_SIZE_BYTES_MAX {
        return Err(TlogProofError::Extra);
    }
    Ok((Some(extra), rest))
}

/// Reads hash lines up to the empty line; what follows it is the checkpoint.
fn parse_hashes(text: &str) -> Result<(Vec<Digest>, &str), TlogProofError> {
    let mut hashes = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(TlogProofError::NoBlankLine)?;
        rest = after;
        if line.is_empty() {
            return Ok((hashes, rest));
        }
        if hashes.len() >= PROOF_LEN_MAX {
            return Err(TlogProofError::HashCount);
        }
        let hash = parse_hash(line).ok_or(TlogProofError::Hash { line: hashes.len() })?;
        hashes.push(hash);
    }
}
