//! The outbox of the ledger: what receipts owe and no book has taken in yet.
//!
//! It stands in the file of the statements, so that a statement and what it owes are written at
//! once. A book takes an entry in by its receipt's place in the log, and only then removes it.

use std::ops::Bound;

use redb::{ReadableDatabase as _, TableDefinition, WriteTransaction};
use tally_attribution::ledger::Owed;
use tally_core::{Digest, cbor::Cbor as _};

use super::{StatementStore, StoreError};

/// Receipt digest → what it owes.
const OWED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("owed");

/// Makes the table where there is none.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(OWED)?;
    Ok(())
}

/// Adds what receipts owe to a transaction that is not committed yet.
pub(super) fn write<'o>(
    transaction: &WriteTransaction,
    all: impl IntoIterator<Item = &'o Owed>,
) -> Result<(), redb::Error> {
    let mut table = None;
    for owed in all {
        // Most receipts of many nodes are free: the table is not touched for those.
        let table = match &mut table {
            Some(table) => table,
            None => table.insert(transaction.open_table(OWED)?),
        };
        table.insert(owed.receipt().as_bytes(), owed.encode().as_slice())?;
    }
    Ok(())
}

impl StatementStore {
    /// Keeps what a receipt owes whose statement is not kept here; durable when this returns.
    ///
    /// # Errors
    /// If the database cannot write it.
    pub fn owe(&self, owed: &Owed) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        write(&transaction, [owed])?;
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// What receipts owe whose digests come after `after`, in the digests' order, `len_max` at most.
    ///
    /// # Errors
    /// If the database cannot be read, or holds something else.
    pub fn owed(&self, after: Option<&Digest>, len_max: usize) -> Result<Vec<Owed>, StoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(OWED).map_err(redb::Error::from)?;
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let rows = table.range::<&[u8; 32]>((from, Bound::Unbounded)).map_err(redb::Error::from)?;
        let mut found = vec![];
        for row in rows.take(len_max) {
            let (_, owed) = row.map_err(redb::Error::from)?;
            found.push(Owed::parse(owed.value()).map_err(StoreError::Owed)?);
        }
        Ok(found)
    }

    /// Removes what a book has taken in; what is not there is no fault.
    ///
    /// # Errors
    /// If the database cannot write; then nothing is removed.
    pub fn remove_owed(&self, receipts: &[Digest]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut table = transaction.open_table(OWED).map_err(redb::Error::from)?;
            for receipt in receipts {
                table.remove(receipt.as_bytes()).map_err(redb::Error::from)?;
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}
