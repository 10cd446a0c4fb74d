//! The signed feedback that a node keeps, and what of it the log does not have yet.
//!
//! A rating is written here, durably, before it is entered into the log and before anybody is told of
//! it; what a crash leaves between is entered at the next start. Of one rater there is one rating of a
//! receipt.

use std::fs::OpenOptions;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tally_core::Digest;
use tally_core::cbor::{Cbor as _, CborError};
use tally_core::feedback::{Feedback, Rating, Word as _};
use tally_core::receipt::SignedStatement;
use thiserror::Error;

/// Most raters of one receipt: whoever holds it can make as many names as it likes.
pub const RATERS_OF_RECEIPT_MAX: usize = 64;

/// Digest → signed bytes.
const SIGNED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("signed");
/// Receipt and rater → digest of the rating.
const RATED: TableDefinition<'_, (&[u8; 32], &[u8; 32]), &[u8; 32]> = TableDefinition::new("rated");
/// Digests of what the log does not have yet.
const WAITING: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("waiting");
/// Memory that the database may use for itself.
const CACHE_BYTES: usize = 16 << 20;

/// Why feedback is not kept or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeedbackStoreError {
    /// The database refuses.
    #[error("the store of feedback: {0}")]
    Database(#[from] redb::Error),
    /// What stands there is no signed statement.
    #[error("the store of feedback holds what was not signed: {0}")]
    Form(#[from] CborError),
    /// The rater has rated this receipt before, otherwise.
    #[error("its rater has rated receipt {receipt} already, otherwise: rating {known} stands")]
    Rated {
        /// The receipt.
        receipt: Digest,
        /// The rating that stands.
        known: Digest,
    },
    /// Too many have rated this receipt.
    #[error("{RATERS_OF_RECEIPT_MAX} raters have rated receipt {receipt}, which is the limit")]
    Raters {
        /// The receipt.
        receipt: Digest,
    },
}

/// What became of feedback that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept now, and waits for the log.
    New,
    /// The same bytes were kept before.
    Before,
}

/// The store. One process at a time has it open; its threads may use it at once.
#[derive(Debug)]
pub struct FeedbackStore {
    database: Database,
}

impl FeedbackStore {
    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// If the file cannot be used, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, FeedbackStoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // It holds the gold answers that no rater may know.
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(path).map_err(redb::Error::Io)?;
        let database = builder.create_file(file).map_err(redb::Error::from)?;
        let make = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(SIGNED)?;
            transaction.open_table(RATED)?;
            transaction.open_table(WAITING)?;
            transaction.commit()?;
            Ok(())
        };
        make()?;
        Ok(Self { database })
    }

    /// Keeps signed feedback, whose signature the caller has verified; durable when this returns.
    ///
    /// # Errors
    /// A second rating of a receipt by one rater, a receipt that has too many, a database that
    /// refuses; then nothing is kept.
    pub fn keep(
        &self,
        signed: &SignedStatement,
        feedback: &Feedback,
    ) -> Result<Kept, FeedbackStoreError> {
        let digest = signed.digest();
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut all = transaction.open_table(SIGNED).map_err(redb::Error::from)?;
            if all.get(digest.as_bytes()).map_err(redb::Error::from)?.is_some() {
                return Ok(Kept::Before);
            }
            if let Feedback::Rating(rating) = feedback {
                let (receipt, rater) = (rating.receipt, &rating.rater);
                let mut rated = transaction.open_table(RATED).map_err(redb::Error::from)?;
                let key = (receipt.as_bytes(), rater);
                let known = rated.get(key).map_err(redb::Error::from)?.map(|it| *it.value());
                if let Some(known) = known {
                    let known = Digest::from_bytes(known);
                    return Err(FeedbackStoreError::Rated { receipt, known });
                }
                let all_of = (receipt.as_bytes(), &[0; 32])..=(receipt.as_bytes(), &[0xff; 32]);
                let raters = rated.range(all_of).map_err(redb::Error::from)?;
                if raters.take(RATERS_OF_RECEIPT_MAX).count() == RATERS_OF_RECEIPT_MAX {
                    return Err(FeedbackStoreError::Raters { receipt });
                }
                rated.insert(key, digest.as_bytes()).map_err(redb::Error::from)?;
            }
            let bytes = signed.encode();
            all.insert(digest.as_bytes(), bytes.as_slice()).map_err(redb::Error::from)?;
            let mut waiting = transaction.open_table(WAITING).map_err(redb::Error::from)?;
            waiting.insert(digest.as_bytes(), ()).map_err(redb::Error::from)?;
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(Kept::New)
    }

    /// Keeps a rating that its rater signed; where the rater has said the same before, that one
    /// stands. Yields which stands, and whether it is new.
    ///
    /// # Errors
    /// As [`keep`](Self::keep), where the rater has said something else.
    pub fn keep_rating(
        &self,
        signed: &SignedStatement,
        rating: Rating,
    ) -> Result<(Digest, Rating, bool), FeedbackStoreError> {
        let (receipt, known) = match self.keep(signed, &Feedback::Rating(rating.clone())) {
            Ok(kept) => return Ok((signed.digest(), rating, kept == Kept::New)),
            Err(FeedbackStoreError::Rated { receipt, known }) => (receipt, known),
            Err(error) => return Err(error),
        };
        let before = self.get(&known)?.and_then(|signed| Rating::open(&signed).ok());
        match before.filter(|before| before.says_the_same(&rating)) {
            Some(before) => Ok((known, before, false)),
            None => Err(FeedbackStoreError::Rated { receipt, known }),
        }
    }

    /// Signed feedback by its digest.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<SignedStatement>, FeedbackStoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let all = read.open_table(SIGNED).map_err(redb::Error::from)?;
        let found = all.get(digest.as_bytes()).map_err(redb::Error::from)?;
        Ok(found.map(|bytes| SignedStatement::parse(bytes.value())).transpose()?)
    }

    /// Hands on everything that is kept, in the order of the digests.
    ///
    /// # Errors
    /// If the database cannot be read, and what `visit` fails with.
    pub fn each<E: From<FeedbackStoreError>>(
        &self,
        visit: &mut dyn FnMut(Digest, SignedStatement) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: redb::Error| FeedbackStoreError::from(error);
        let read = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let all = read.open_table(SIGNED).map_err(|error| failed(error.into()))?;
        for row in all.iter().map_err(|error| failed(error.into()))? {
            let (digest, bytes) = row.map_err(|error| failed(error.into()))?;
            let signed = SignedStatement::parse(bytes.value()).map_err(FeedbackStoreError::from)?;
            visit(Digest::from_bytes(*digest.value()), signed)?;
        }
        Ok(())
    }

    /// What the log does not have yet as far as is known here, `len_max` at most.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waiting(&self, len_max: usize) -> Result<Vec<Digest>, FeedbackStoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let waiting = read.open_table(WAITING).map_err(redb::Error::from)?;
        let rows = waiting.iter().map_err(redb::Error::from)?.take(len_max);
        let digest = |row: Result<(redb::AccessGuard<'_, &[u8; 32]>, _), redb::StorageError>| {
            Ok(Digest::from_bytes(*row.map_err(redb::Error::from)?.0.value()))
        };
        rows.map(digest).collect()
    }

    /// Takes note that the log has it; what does not wait is no fault.
    ///
    /// # Errors
    /// If the database cannot write.
    pub fn entered(&self, digest: &Digest) -> Result<(), FeedbackStoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(WAITING)?.remove(digest.as_bytes())?;
            transaction.commit()?;
            Ok(())
        };
        Ok(write()?)
    }
}
