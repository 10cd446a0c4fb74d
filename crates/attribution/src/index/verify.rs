//! Verifying an opened index: that it is the one index of its text.

use tally_core::Digest;
use tally_core::trace::{Document, Least, Node, SEPARATOR, Tree, document_digest};

use super::build::{array_leaves, chunk_hashes};
use super::file::Section;
use super::{Index, IndexError, Progress, array, levels};

/// Thousandths of the whole that are done when the array is verified.
const ARRAY_DONE: u32 = 600;
const TEXT_DONE: u32 = 700;

impl Index {
    /// Verifies that the array is the suffix array of the text, that the documents are those of the
    /// text, and that all hashes and minima are those of what lies below: given the documents, there
    /// is no other index and no other root.
    ///
    /// It reads everything, in some seconds for 100 MB, and takes less than one byte of memory for
    /// each of the text.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, progress: Progress<'_>) -> Result<(), IndexError> {
        array::verify(self.texts(), self.entries(), &mut |done| {
            progress(done * ARRAY_DONE / 1_000)
        })?;
        progress(ARRAY_DONE);
        verify_texts(self)?;
        progress(TEXT_DONE);
        let shard = self.shard();
        let hash = |section, at| Index::hash_at(self.section(section), at);
        verify_tree(
            Tree::Documents,
            self.documents().map(|document| document.hash()).collect(),
            &shard.documents_root,
            |at| hash(Section::DocumentHashes, at),
        )?;
        verify_tree(Tree::Text, chunk_hashes(self.texts()).collect(), &shard.text_root, |at| {
            hash(Section::ChunkHashes, at)
        })?;
        let minima = self.numbers(Section::Minima);
        verify_tree(
            Tree::Array,
            array_leaves(self.entries()).collect(),
            &shard.array_root,
            |at| {
                Some(Least {
                    entry: u32::from_le(*minima.get(at)?),
                    hash: hash(Section::LeafHashes, at)?,
                })
            },
        )?;
        progress(1_000);
        Ok(())
    }

    /// The hash at a place of a section of hashes.
    pub(super) fn hash_at(section: &[u8], at: usize) -> Option<Digest> {
        let (hashes, _) = section.as_chunks::<{ Digest::SIZE_BYTES }>();
        hashes.get(at).map(|hash| Digest::from_bytes(*hash))
    }
}

/// The documents divide the text, their names are text and their contributions exist.
pub(super) fn documents_in_order(index: &Index) -> Result<(), IndexError> {
    let count = u32::try_from(index.shard.contributions.len()).unwrap_or(u32::MAX);
    let mut expected = 0_u64;
    for (at, Document { start, size_bytes, contribution, .. }) in (0_u32..).zip(index.documents()) {
        if u64::from(start) != expected {
            return Err(IndexError::DocumentPlace { document: at, expected, found: start.into() });
        }
        if contribution >= count {
            return Err(IndexError::Contribution { document: at, found: contribution, count });
        }
        if index.name(at).is_none() {
            return Err(IndexError::Name { document: at });
        }
        expected += u64::from(size_bytes) + 1;
    }
    let found = u64::from(index.shard.text_bytes);
    if expected != found {
        let document = index.shard.document_count;
        return Err(IndexError::DocumentPlace { document, expected, found });
    }
    let last = index.shard.document_count.saturating_sub(1);
    let names_end = index.record(last).map(|record| record.name_end as usize);
    if names_end != Some(index.section(Section::Names).len()) {
        return Err(IndexError::Name { document: last });
    }
    Ok(())
}

/// Every document is UTF-8, has its digest and is ended.
fn verify_texts(index: &Index) -> Result<(), IndexError> {
    for (at, document) in (0_u32..).zip(index.documents()) {
        let text = index.text(at).unwrap_or_default();
        if let Err(error) = std::str::from_utf8(text) {
            return Err(IndexError::NotUtf8 { document: at, at: error.valid_up_to() });
        }
        let computed = document_digest(text);
        if computed != document.digest {
            let expected = document.digest;
            return Err(IndexError::DocumentDigest { document: at, expected, computed });
        }
        let end = document.start as usize + document.size_bytes as usize;
        if index.texts().get(end) != Some(&SEPARATOR) {
            return Err(IndexError::NotEnded { document: at });
        }
    }
    Ok(())
}

/// All stored nodes of a tree are those above its leaves, and its root is the one committed to.
fn verify_tree<N: Node + PartialEq>(
    tree: Tree,
    leaves: Vec<N>,
    expected: &Digest,
    stored: impl Fn(usize) -> Option<N>,
) -> Result<(), IndexError> {
    let count = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
    let nodes = levels::grow(leaves);
    let is_wrong = |at: &usize| stored(*at).as_ref() != Some(&nodes[*at]);
    if let Some(at) = (0..nodes.len()).find(is_wrong) {
        let (level, index) = levels::level_of(count, at);
        return Err(IndexError::Node { tree, level, index });
    }
    let computed = super::build::root(&nodes, count).hash();
    if computed != *expected {
        return Err(IndexError::Root { tree, expected: *expected, computed });
    }
    Ok(())
}
