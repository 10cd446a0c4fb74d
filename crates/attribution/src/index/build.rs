//! Building an index: texts in, one file out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tally_core::Digest;
use tally_core::cbor::Cbor;
use tally_core::trace::{
    CHUNK_BYTES, CONTRIBUTION_COUNT_MAX, DOCUMENT_COUNT_MAX, Document, LEAF_ENTRIES, Least,
    SEPARATOR, Shard, TEXT_BYTES_MAX, chunk_hash, document_digest,
};

use super::file::{Layout, Record};
use super::{Index, IndexError, Progress, array, levels};

/// Most bytes of a document's name.
pub const NAME_BYTES_MAX: usize = 1 << 12;

/// Thousandths of the whole that are done when a step begins, as measured on 100 MB.
const SORTED: u32 = 700;
const VERIFIED: u32 = 850;
/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Documents in the order of their registration, on their way to an index.
///
/// It holds the texts in memory; building takes some 6 bytes more for each byte of text.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub(super) text: Vec<u8>,
    names: String,
    records: Vec<Record>,
    contributions: Vec<Digest>,
}

impl Builder {
    /// A shard without documents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the documents of the contribution whose manifest has this digest.
    ///
    /// # Errors
    /// [`IndexError::Limit`].
    pub fn contribution(&mut self, manifest: Digest) -> Result<(), IndexError> {
        let found = self.contributions.len() as u64 + 1;
        within("contributions", CONTRIBUTION_COUNT_MAX.into(), found)?;
        self.contributions.push(manifest);
        Ok(())
    }

    /// Bytes of text that the shard has so far.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a document of the last contribution.
    ///
    /// # Errors
    /// If there is no contribution, the text is not UTF-8, or a limit is reached; the builder is as
    /// it was.
    pub fn document(&mut self, name: &str, text: &[u8]) -> Result<(), IndexError> {
        let count = self.records.len() as u64;
        let document = u32::try_from(count).unwrap_or(u32::MAX);
        let contribution =
            u32::try_from(self.contributions.len()).unwrap_or(u32::MAX).checked_sub(1);
        let contribution = contribution.ok_or(IndexError::Missing { what: "a contribution" })?;
        if let Err(error) = std::str::from_utf8(text) {
            return Err(IndexError::NotUtf8 { document, at: error.valid_up_to() });
        }
        within("documents", DOCUMENT_COUNT_MAX.into(), count + 1)?;
        within("bytes of a name", NAME_BYTES_MAX as u64, name.len() as u64)?;
        within("bytes of names", u32::MAX.into(), (self.names.len() + name.len()) as u64)?;
        let text_bytes = self.text.len() as u64 + text.len() as u64 + 1;
        within("bytes of text", TEXT_BYTES_MAX.into(), text_bytes)?;
        self.names.push_str(name);
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let (start, size_bytes) = (number(self.text.len()), number(text.len()));
        let digest = document_digest(text);
        let document = Document { start, size_bytes, digest, contribution };
        self.records.push(Record { document, name_end: number(self.names.len()) });
        self.text.extend_from_slice(text);
        self.text.push(SEPARATOR);
        Ok(())
    }

    /// Builds the index, verifies its array and writes it to `path`, whole or not at all; then opens
    /// it.
    ///
    /// # Errors
    /// If there is no document, the array cannot be made, or the file cannot be written.
    pub fn build(self, path: &Path, progress: Progress<'_>) -> Result<Index, IndexError> {
        if self.records.is_empty() {
            return Err(IndexError::Missing { what: "a document" });
        }
        progress(0);
        let array: Vec<u32> = array::sort(&self.text)?.into_iter().map(u32::to_le).collect();
        let verifying = &mut |done: u32| progress(SORTED + done * (VERIFIED - SORTED) / 1_000);
        array::verify(&self.text, &array, verifying)?;
        progress(VERIFIED);
        self.write_with(path, &array)?;
        progress(1_000);
        Index::open(path)
    }

    /// Writes the index with this array, of little-endian entries, whatever it is.
    pub(super) fn write_with(&self, path: &Path, array: &[u32]) -> Result<(), IndexError> {
        let trees = Trees::of(self, array);
        self.write(path, array, &trees, &trees.shard(self))
    }

    fn write(
        &self,
        path: &Path,
        array: &[u32],
        trees: &Trees,
        shard: &Shard,
    ) -> Result<(), IndexError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let sizes = Layout::sizes(shard, self.names.len() as u64);
        let mut out = Sections {
            out: BufWriter::with_capacity(BUFFER_BYTES, file.as_file_mut()),
            written: 0,
        };
        out.append(&Layout::head(sizes))?;
        out.section(&shard.encode())?;
        out.list(&self.records, |record| record.encode())?;
        out.section(self.names.as_bytes())?;
        out.section(&self.text)?;
        out.section(bytemuck::cast_slice(array))?;
        out.list(&trees.leaves, |node| node.entry.to_le_bytes())?;
        out.list(&trees.leaves, |node| *node.hash.as_bytes())?;
        out.list(&trees.chunks, |hash| *hash.as_bytes())?;
        out.list(&trees.documents, |hash| *hash.as_bytes())?;
        out.out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The name is durable once the folder is.
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

fn within(what: &'static str, limit: u64, found: u64) -> Result<(), IndexError> {
    if found > limit {
        return Err(IndexError::Limit { what, limit, found });
    }
    Ok(())
}

/// The three trees below an index root, each with all complete subtrees.
pub(super) struct Trees {
    pub(super) chunks: Vec<Digest>,
    pub(super) leaves: Vec<Least>,
    pub(super) documents: Vec<Digest>,
}

impl Trees {
    fn of(builder: &Builder, array: &[u32]) -> Self {
        let documents = builder.records.iter().map(|record| record.document.hash());
        Self {
            chunks: levels::grow(chunk_hashes(&builder.text).collect()),
            leaves: levels::grow(array_leaves(array).collect()),
            documents: levels::grow(documents.collect()),
        }
    }

    fn shard(&self, builder: &Builder) -> Shard {
        let text_bytes = u32::try_from(builder.text.len()).unwrap_or(u32::MAX);
        let document_count = u32::try_from(builder.records.len()).unwrap_or(u32::MAX);
        let mut shard = Shard {
            text_bytes,
            document_count,
            documents_root: Digest::from_bytes([0; 32]),
            text_root: Digest::from_bytes([0; 32]),
            array_root: Digest::from_bytes([0; 32]),
            contributions: builder.contributions.clone(),
        };
        let (chunk_count, leaf_count) = (shard.chunk_count(), shard.leaf_count());
        shard.documents_root = root(&self.documents, document_count);
        shard.text_root = root(&self.chunks, chunk_count);
        shard.array_root = root(&self.leaves, leaf_count).hash;
        shard
    }
}

/// The root of a tree with `count` leaves from all its complete subtrees.
pub(super) fn root<N: tally_core::trace::Node>(nodes: &[N], count: u32) -> N {
    levels::over(0..count, |level, index| nodes[levels::place_of(count, level, index)].clone())
}

pub(super) fn chunk_hashes(text: &[u8]) -> impl Iterator<Item = Digest> {
    text.chunks(CHUNK_BYTES as usize).map(chunk_hash)
}

/// The leaves of the array tree; entries are little-endian.
pub(super) fn array_leaves(array: &[u32]) -> impl Iterator<Item = Least> {
    array.chunks(LEAF_ENTRIES as usize).map(|entries| Least::leaf(bytemuck::cast_slice(entries)))
}

/// Sections on their way into a file.
struct Sections<W: Write> {
    out: W,
    written: u64,
}

impl<W: Write> Sections<W> {
    fn section(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.begin()?;
        self.append(bytes)
    }

    fn list<T, const SIZE: usize>(
        &mut self,
        items: &[T],
        encode: impl Fn(&T) -> [u8; SIZE],
    ) -> Result<(), IndexError> {
        self.begin()?;
        items.iter().try_for_each(|item| self.append(&encode(item)))
    }

    fn begin(&mut self) -> Result<(), IndexError> {
        let padding = self.written.next_multiple_of(super::file::ALIGNMENT) - self.written;
        (0..padding).try_for_each(|_| self.append(&[0]))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
