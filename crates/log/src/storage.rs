//! What the log needs of a file system, as a contract that tests can break on purpose.
//!
//! Paths are relative to the storage's root, with `/` between parts. Nothing is durable before it is
//! synced: a file's bytes and size by [`StoredFile::sync`], its name by [`Storage::sync_folder`] of
//! the folder it stands in.

use std::{fmt, io, sync::Arc};

use crate::error::{At, LogError, Operation};

mod posix;

pub use posix::Posix;

/// A held exclusive lock; dropping it lets go.
pub trait Lock: Send + Sync + fmt::Debug {}

/// One open file. All methods may be called from several threads.
pub trait StoredFile: Send + Sync + fmt::Debug {
    /// The file's size in bytes, unsynced writes included.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on, unsynced writes included.
    ///
    /// # Errors
    /// If the file ends before, or the operating system refuses.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on, growing the file as needed. After an error any part
    /// may have been written.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file or fills it with zeros.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn set_size(&self, size_bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable, the size included. After an error it is unknown what
    /// is durable, and a second call proves nothing.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn sync(&self) -> io::Result<()>;
}

/// A folder tree. Of operations that change it, at most one writer makes use at a time.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing; `None` only if it does not exist.
    ///
    /// # Errors
    /// If the operating system refuses for any other reason.
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn StoredFile>>>;

    /// Makes an empty file, or empties the one that is there. Its name is not durable yet.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn create(&self, path: &str) -> io::Result<Arc<dyn StoredFile>>;

    /// Makes everything written to all of these files durable, as [`StoredFile::sync`] would one by
    /// one; an implementor may do it at once.
    ///
    /// # Errors
    /// If the operating system refuses for one of them.
    fn sync_files(&self, files: &[Arc<dyn StoredFile>]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync())
    }

    /// Makes one folder whose parent exists; does nothing if it is there. Not durable yet.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name in the same folder, replacing what has that name. Readers see the
    /// old or the new file, never a mixture. Not durable yet.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file or an empty folder; does nothing if it is not there. Not durable yet.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Names of all that stands in a folder, sorted; `None` only if it does not exist.
    ///
    /// # Errors
    /// If the operating system refuses for any other reason.
    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>>;

    /// Makes the names in a folder durable: those made, replaced and removed in it. The root is the
    /// empty path.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Takes an exclusive lock on a file, made if it is not there; `None` if another holds it. The
    /// lock belongs to the open file, so opening and closing the file elsewhere does not drop it.
    ///
    /// # Errors
    /// If the operating system refuses.
    fn lock(&self, path: &str) -> io::Result<Option<Box<dyn Lock>>>;
}

/// The folder in which `path` stands; the root is the empty path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Reads a whole file; `None` only if it does not exist.
pub(crate) fn read(storage: &dyn Storage, path: &str) -> Result<Option<Vec<u8>>, LogError> {
    let Some(file) = storage.open(path).at(Operation::Open, path)? else { return Ok(None) };
    let size = file.size_bytes().at(Operation::Read, path)?;
    let size = usize::try_from(size)
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
        .at(Operation::Read, path)?;
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes).at(Operation::Read, path)?;
    Ok(Some(bytes))
}

/// Writes a file under another name than its own, unsynced; [`unstage`] gives it its own.
pub(crate) fn stage(
    storage: &dyn Storage,
    path: &str,
    bytes: &[u8],
) -> Result<Arc<dyn StoredFile>, LogError> {
    let staged = staged(path);
    let file = storage.create(&staged).at(Operation::Create, &staged)?;
    file.write_at(0, bytes).at(Operation::Write, &staged)?;
    Ok(file)
}

/// Puts a staged and synced file in place of what was there; the name is durable only after
/// `sync_folder`.
pub(crate) fn unstage(storage: &dyn Storage, path: &str) -> Result<(), LogError> {
    storage.rename(&staged(path), path).at(Operation::Rename, path)
}

fn staged(path: &str) -> String {
    format!("{path}.new")
}

/// Puts a file in place of what was there: content and name are durable when it returns.
pub(crate) fn replace_durably(
    storage: &dyn Storage,
    path: &str,
    bytes: &[u8],
) -> Result<(), LogError> {
    let file = stage(storage, path, bytes)?;
    file.sync().at(Operation::Sync, path)?;
    unstage(storage, path)?;
    storage.sync_folder(parent(path)).at(Operation::SyncFolder, parent(path))
}

/// Takes the lock or says who holds it.
pub(crate) fn lock(storage: &dyn Storage, path: &'static str) -> Result<Box<dyn Lock>, LogError> {
    storage.lock(path).at(Operation::Lock, path)?.ok_or(LogError::Locked { path })
}
