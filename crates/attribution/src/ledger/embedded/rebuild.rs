//! Making all tables again from the journal, and comparing two books.

use std::ops::ControlFlow;
use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTable as _};
use tally_core::{Digest, Hasher};

use super::tables::{
    ACCOUNTS, CLAIMS, EARNINGS, ENTRIES, EPOCHS, IDS, LOGGED, META, PAYOUTS, PENDING, RECEIPTS,
};
use super::{EmbeddedBook, LedgerError, require_head};
use crate::ledger::Book as _;
use crate::ledger::event::Event;

/// Most events that one transaction of a rebuild holds: many, since the names of transfers are random
/// and every transaction writes most pages of their table again.
const GROUP_LEN_MAX: usize = 50_000;

impl EmbeddedBook {
    /// Makes a book in a new file from this one's journal alone, verifying the chain on the way.
    ///
    /// # Errors
    /// A journal that was changed, or a file that exists and holds events.
    pub fn rebuild(&self, path: &Path) -> Result<Self, LedgerError> {
        let book = Self::over(path, &self.asset)?;
        let mut group: Vec<Event> = vec![];
        let found = book.head()?;
        if found.count > 0 {
            return Err(LedgerError::Gap { expected: 0, found: found.count });
        }
        let head = self.each_event(|_, event| {
            group.push(event.clone());
            if group.len() == GROUP_LEN_MAX {
                book.append_all(&std::mem::take(&mut group))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        book.append_all(&group)?;
        require_head(&book.head()?, &head)?;
        Ok(book)
    }

    fn append_all(&self, events: &[Event]) -> Result<(), LedgerError> {
        self.write(|tables| events.iter().try_for_each(|event| tables.append(event)))
    }

    /// SHA-256 over every row of every table but the journal: what the journal must yield again.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn state_digest(&self) -> Result<Digest, LedgerError> {
        let read = self.database.begin_read()?;
        let mut hasher = Hasher::plain();
        let mut row = |parts: &[&[u8]]| parts.iter().for_each(|part| hasher.update(part));
        macro_rules! table {
            ($table:expr, |$key:ident, $value:ident| $parts:expr) => {
                row(&[stringify!($table).as_bytes()]);
                for pair in read.open_table($table)?.iter()? {
                    let (key, value) = pair?;
                    let ($key, $value) = (key.value(), value.value());
                    row(&$parts);
                }
            };
        }
        table!(ACCOUNTS, |key, value| [key, value]);
        table!(RECEIPTS, |key, value| [key, &value.to_be_bytes()]);
        table!(LOGGED, |key, value| [&key.to_be_bytes(), &value.to_be_bytes()]);
        table!(IDS, |key, value| [key, &value.to_be_bytes()]);
        table!(PENDING, |key, value| [
            &key.to_be_bytes(),
            &value.0.to_be_bytes(),
            &value.1.to_be_bytes()
        ]);
        table!(ENTRIES, |key, value| [
            &key.to_be_bytes(),
            &value.0.to_be_bytes(),
            &value.1.to_be_bytes(),
            value.2
        ]);
        table!(EPOCHS, |key, value| [&key.to_be_bytes(), &value.to_be_bytes()]);
        table!(EARNINGS, |key, value| [key.0, &key.1.to_be_bytes(), value]);
        table!(CLAIMS, |key, value| [key.0, &key.1.to_be_bytes(), value]);
        table!(PAYOUTS, |key, value| [&key.to_be_bytes(), &value.to_be_bytes()]);
        table!(META, |key, value| [key.as_bytes(), &value.to_be_bytes()]);
        Ok(hasher.finish())
    }
}
