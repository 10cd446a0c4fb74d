//! The statements that this node has signed, by receipt id and by receipt digest.
//!
//! Kept so that whoever lost a receipt can fetch it again: a statement shows nothing of what was
//! said, and its inclusion proof is made anew from the log. Openings are never here. What a receipt
//! owes is kept beside its statement until the ledger's book takes it in.

use std::{
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use redb::{Database, ReadableDatabase as _, TableDefinition};
use tally_attribution::ledger::Owed;
use tally_core::{Digest, cbor::CborError};
use thiserror::Error;

mod owed;
#[cfg(test)]
mod tests;

/// Receipt id → signed statement.
const STATEMENTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("statements");
/// Receipt digest → receipt id.
const IDS: TableDefinition<'_, &[u8; 32], &[u8; 16]> = TableDefinition::new("ids");
/// Most statements of one transaction.
const GROUP_LEN_MAX: usize = 1024;
/// Memory that the database may use for itself.
const CACHE_BYTES: usize = 16 << 20;

/// Why a statement was not kept or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refuses.
    #[error("the store of statements: {0}")]
    Database(#[from] redb::Error),
    /// The write of somebody else's group failed.
    #[error("the store of statements could not write")]
    Write,
    /// What stands there as owed is something else.
    #[error("the store of statements holds what no receipt owes: {0}")]
    Owed(#[source] CborError),
}

/// A statement to keep.
#[derive(Clone, Debug)]
struct Kept {
    id: [u8; 16],
    digest: Digest,
    statement: Vec<u8>,
    owed: Option<Owed>,
}

/// The store. Many threads may write at once and share one sync of the disk.
#[derive(Debug)]
pub struct StatementStore {
    database: Database,
    queue: Mutex<Queue>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Kept>,
    /// How many statements were put into the queue, and how many of them were dealt with.
    queued: u64,
    settled: u64,
    is_led: bool,
    /// Ranges of those that could not be written.
    failed: Vec<std::ops::Range<u64>>,
}

impl StatementStore {
    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// If the file cannot be used, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(path).map_err(redb::Error::from)?;
        let transaction = database.begin_write().map_err(redb::Error::from)?;
        transaction.open_table(STATEMENTS).map_err(redb::Error::from)?;
        transaction.open_table(IDS).map_err(redb::Error::from)?;
        owed::create(&transaction)?;
        transaction.commit().map_err(redb::Error::from)?;
        Ok(Self { database, queue: Mutex::default(), turn: Condvar::new() })
    }

    /// Keeps a signed statement, and what it owes; both are on the disk when this returns.
    ///
    /// # Errors
    /// If the database cannot write them.
    pub fn put(
        &self,
        id: [u8; 16],
        digest: Digest,
        statement: Vec<u8>,
        owed: Option<Owed>,
    ) -> Result<(), StoreError> {
        let mut queue = self.locked();
        let ticket = queue.queued;
        queue.queued += 1;
        queue.waiting.push(Kept { id, digest, statement, owed });
        loop {
            if queue.settled > ticket {
                let is_failed = queue.failed.iter().any(|range| range.contains(&ticket));
                return if is_failed { Err(StoreError::Write) } else { Ok(()) };
            }
            if queue.is_led {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_led = true;
            let len = queue.waiting.len().min(GROUP_LEN_MAX);
            let group: Vec<Kept> = queue.waiting.drain(..len).collect();
            drop(queue);
            let written = self.write(&group);
            queue = self.locked();
            let range = queue.settled..queue.settled + len as u64;
            queue.settled = range.end;
            queue.is_led = false;
            if written.is_err() {
                queue.failed.push(range);
            }
            self.turn.notify_all();
        }
    }

    /// The signed statement of a receipt id.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn get(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(STATEMENTS).map_err(redb::Error::from)?;
        let found = table.get(id).map_err(redb::Error::from)?;
        Ok(found.map(|statement| statement.value().to_vec()))
    }

    /// The signed statement with a receipt digest.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn get_by_digest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(IDS).map_err(redb::Error::from)?;
        let id = table.get(digest.as_bytes()).map_err(redb::Error::from)?.map(|id| *id.value());
        drop(table);
        id.map_or(Ok(None), |id| self.get(&id))
    }

    fn write(&self, group: &[Kept]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut statements = transaction.open_table(STATEMENTS)?;
            let mut ids = transaction.open_table(IDS)?;
            for Kept { id, digest, statement, .. } in group {
                statements.insert(id, statement.as_slice())?;
                ids.insert(digest.as_bytes(), id)?;
            }
        }
        owed::write(&transaction, group.iter().filter_map(|kept| kept.owed.as_ref()))?;
        transaction.commit()?;
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
