//! The index: from a statement's digest to the first entry that holds it.
//!
//! It is derived from the segment and may be removed at any time; the whole 256-bit digest is the
//! key. What is appended between two commits stands in memory.

use std::{collections::BTreeMap, io, sync::Arc};

use redb::{
    Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    StorageBackend, TableDefinition,
};
use tally_core::{Digest, tree::LeafIndex};

mod overlay;

use overlay::Overlay;

use crate::{
    error::{At, LogError, Operation},
    storage::{Storage, StoredFile},
};

/// Path of the index.
pub(crate) const INDEX: &str = "index.redb";

const STAGED: &str = "index.redb.new";
const DIGESTS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("digests");
const COVERED: TableDefinition<'_, (), u64> = TableDefinition::new("covered");

/// The database's cache: small, since a lookup touches few pages.
const CACHE_SIZE_BYTES: usize = 16 * 1024 * 1024;

/// The index with what it does not hold yet.
#[derive(Debug)]
pub(crate) struct Index {
    database: Database,
    /// How many entries, from the first on, are in the database.
    covered: u64,
    pending: BTreeMap<Digest, LeafIndex>,
    pending_end: u64,
}

impl Index {
    /// Opens the index, or makes an empty one if there is none.
    pub(crate) fn open(storage: &dyn Storage) -> Result<Self, LogError> {
        if let Some(file) = storage.open(INDEX).at(Operation::Open, INDEX)? {
            return Self::over(file);
        }
        let file = storage.create(STAGED).at(Operation::Create, STAGED)?;
        let index = Self::over(file)?;
        storage.rename(STAGED, INDEX).at(Operation::Rename, INDEX)?;
        storage.sync_folder("").at(Operation::SyncFolder, "")?;
        Ok(index)
    }

    /// Opens the index and leaves its file as it is; `None` if there is none.
    pub(crate) fn open_existing(storage: &dyn Storage) -> Result<Option<Self>, LogError> {
        let file = storage.open(INDEX).at(Operation::Open, INDEX)?;
        file.map(|file| Self::over(Arc::new(Overlay::new(file)?))).transpose()
    }

    fn over(file: Arc<dyn StoredFile>) -> Result<Self, LogError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_SIZE_BYTES);
        let database = builder.create_with_backend(Backend(file)).map_err(refused)?;
        let transaction = database.begin_write().map_err(refused)?;
        let covered = {
            transaction.open_table(DIGESTS).map_err(refused)?;
            let table = transaction.open_table(COVERED).map_err(refused)?;
            let covered = table.get(()).map_err(refused)?;
            covered.map_or(0, |covered| covered.value())
        };
        transaction.commit().map_err(refused)?;
        Ok(Self { database, covered, pending: BTreeMap::new(), pending_end: covered })
    }

    /// How many entries, from the first on, are in the database.
    pub(crate) const fn covered(&self) -> u64 {
        self.covered
    }

    /// Takes the entry after the last one taken; those that the database holds are passed over.
    pub(crate) fn push(&mut self, index: LeafIndex, digest: Digest) {
        if index.0 >= self.pending_end {
            self.pending.entry(digest).or_insert(index);
            self.pending_end = index.0 + 1;
        }
    }

    /// The first entry with this digest.
    pub(crate) fn lookup(&self, digest: &Digest) -> Result<Option<LeafIndex>, LogError> {
        match self.committed()?.lookup(digest)? {
            Some(index) => Ok(Some(index)),
            None => Ok(self.pending.get(digest).copied()),
        }
    }

    /// What is in the database now, for many lookups.
    pub(crate) fn committed(&self) -> Result<Committed, LogError> {
        let transaction = self.database.begin_read().map_err(refused)?;
        Ok(Committed(transaction.open_table(DIGESTS).map_err(refused)?))
    }

    /// Puts what is pending into the database.
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        if self.pending.is_empty() && self.covered == self.pending_end {
            return Ok(());
        }
        let transaction = self.database.begin_write().map_err(refused)?;
        {
            let mut table = transaction.open_table(DIGESTS).map_err(refused)?;
            for (digest, index) in &self.pending {
                let known = table.insert(digest.as_bytes(), index.0).map_err(refused)?;
                let known = known.map(|known| known.value());
                if let Some(first) = known {
                    table.insert(digest.as_bytes(), first).map_err(refused)?;
                }
            }
            let mut covered = transaction.open_table(COVERED).map_err(refused)?;
            covered.insert((), self.pending_end).map_err(refused)?;
        }
        transaction.commit().map_err(refused)?;
        self.covered = self.pending_end;
        self.pending.clear();
        Ok(())
    }
}

/// The database as it was at one commit.
pub(crate) struct Committed(ReadOnlyTable<&'static [u8; 32], u64>);

impl Committed {
    /// The first entry with this digest.
    pub(crate) fn lookup(&self, digest: &Digest) -> Result<Option<LeafIndex>, LogError> {
        let found = self.0.get(digest.as_bytes()).map_err(refused)?;
        Ok(found.map(|index| LeafIndex(index.value())))
    }

    /// How many digests there are.
    pub(crate) fn len(&self) -> Result<u64, LogError> {
        self.0.len().map_err(refused)
    }
}

fn refused(error: impl Into<redb::Error>) -> LogError {
    LogError::Index { path: INDEX, source: Box::new(error.into()) }
}

/// Lets the database write through the log's own storage, so that faults reach it too.
#[derive(Debug)]
struct Backend(Arc<dyn StoredFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size_bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
