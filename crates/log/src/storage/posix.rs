//! A folder of the operating system, with `pwrite`, `fdatasync`, `fsync` of folders and `flock`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use super::{Lock, Storage, StoredFile};

/// Threads that sync several files at once: a disk with a queue serves them together.
const SYNC_THREAD_COUNT: usize = 16;

/// A log or cosigner in a folder of the file system.
#[derive(Clone, Debug)]
pub struct Posix {
    root: PathBuf,
}

impl Posix {
    /// Takes a folder that exists.
    #[must_use]
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().into() }
    }

    /// Takes a folder, making it and its parents durably if they are not there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn create(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref();
        let missing: Vec<&Path> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(root)?;
        for folder in missing.into_iter().rev() {
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self::new(root))
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

/// `None` for what does not exist, and for nothing else.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Storage for Posix {
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let file = existing(OpenOptions::new().read(true).write(true).open(self.at(path)))?;
        Ok(file.map(|file| Arc::new(PosixFile(file)) as Arc<dyn StoredFile>))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(true).open(self.at(path))?;
        Ok(Arc::new(PosixFile(file)))
    }

    fn sync_files(&self, files: &[Arc<dyn StoredFile>]) -> io::Result<()> {
        let share = files.len().div_ceil(SYNC_THREAD_COUNT).max(1);
        thread::scope(|scope| {
            let sync = |files: &[Arc<dyn StoredFile>]| files.iter().try_for_each(|f| f.sync());
            let shares: Vec<_> =
                files.chunks(share).map(|files| scope.spawn(move || sync(files))).collect();
            shares.into_iter().try_for_each(|share| {
                share.join().unwrap_or_else(|_| Err(io::Error::other("a syncing thread panicked")))
            })
        })
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(&path),
            other => other,
        };
        existing(removed).map(|_| ())
    }

    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>> {
        let Some(entries) = existing(fs::read_dir(self.at(folder)))? else { return Ok(None) };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Some(names))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.at(folder))?.sync_all()
    }

    fn lock(&self, path: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(self.at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(PosixLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The operating system lets go of a `flock` when the last handle of this open file is closed.
#[derive(Debug)]
struct PosixLock(#[expect(dead_code, reason = "held for its lock alone")] File);

impl Lock for PosixLock {}

#[derive(Debug)]
struct PosixFile(File);

impl StoredFile for PosixFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_size(&self, size_bytes: u64) -> io::Result<()> {
        self.0.set_len(size_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
