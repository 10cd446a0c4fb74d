//! A storage that forgets whatever was not synced.
//!
//! A killed process loses nothing that it has written, because the operating system holds it; only a
//! power cut shows whether everything was synced that should be. Here unsynced bytes, sizes and
//! names stand in this process's memory alone: kill it, or call [`Unsynced::crash`], and the folder
//! holds exactly what was durable. It keeps whole files in memory, so it suits small logs.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Seed;
use crate::storage::{Lock, Posix, Storage, StoredFile, parent};

/// A folder of which only synced content and synced names reach the disk.
#[derive(Clone, Debug)]
pub struct Unsynced {
    state: Arc<Mutex<State>>,
    posix: Posix,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    files: BTreeMap<u64, File>,
    next_id: u64,
    /// Names as this process sees them.
    names: BTreeMap<String, Node>,
    /// Names as they are on the disk.
    durable: BTreeMap<String, Node>,
    has_crashed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(u64),
    Folder,
}

#[derive(Debug, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// What differs between the two, besides the size.
    dirty: Vec<Range<usize>>,
    /// Under which name the disk has it.
    durable_path: Option<String>,
}

impl Unsynced {
    /// Takes a folder that exists, with what it holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref().to_owned();
        let mut state = State {
            root: root.clone(),
            files: BTreeMap::new(),
            next_id: 0,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            has_crashed: false,
        };
        state.load("")?;
        state.names = state.durable.clone();
        Ok(Self { state: Arc::new(Mutex::new(state)), posix: Posix::new(root) })
    }

    /// Loses everything unsynced; every later use of the storage and its files fails.
    pub fn crash(&self) {
        locked(&self.state).has_crashed = true;
    }

    /// As [`Unsynced::crash`], but by chance some unsynced writes and names have reached the disk,
    /// some of the writes in part: what a real system may do.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn crash_in_part(&self, seed: &mut Seed) -> io::Result<()> {
        let mut state = locked(&self.state);
        state.has_crashed = true;
        let ids: Vec<u64> = state.files.keys().copied().collect();
        for id in ids {
            state.write_back_some(id, seed)?;
        }
        let paths: Vec<String> = state.names.keys().chain(state.durable.keys()).cloned().collect();
        for path in paths {
            if seed.below(2) == 0 && state.is_durable_folder(parent(&path)) {
                state.make_name_durable(&path)?;
            }
        }
        Ok(())
    }

    /// Forgets that a file's unsynced pages are unsynced: they can be read until a crash, but no later
    /// sync writes them. This is what some systems do after a sync that failed.
    pub fn forget_dirty_pages(&self, path: &str) {
        let mut state = locked(&self.state);
        if let Some(Node::File(id)) = state.names.get(path).copied()
            && let Some(file) = state.files.get_mut(&id)
        {
            file.dirty.clear();
        }
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = locked(&self.state);
        if state.has_crashed { Err(io::Error::other("storage has crashed")) } else { Ok(state) }
    }

    fn file(&self, id: u64) -> Arc<dyn StoredFile> {
        Arc::new(UnsyncedFile { storage: self.clone(), id })
    }
}

impl State {
    fn load(&mut self, folder: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.at(folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type()?.is_dir() {
                self.durable.insert(path.clone(), Node::Folder);
                self.load(&path)?;
            } else {
                let content = fs::read(entry.path())?;
                let file = File {
                    current: content.clone(),
                    durable: content,
                    durable_path: Some(path.clone()),
                    ..File::default()
                };
                let id = self.add(file);
                self.durable.insert(path, Node::File(id));
            }
        }
        Ok(())
    }

    fn add(&mut self, file: File) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.files.insert(id, file);
        id
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn file(&mut self, id: u64) -> io::Result<&mut File> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_durable_folder(&self, folder: &str) -> bool {
        folder.is_empty() || self.durable.get(folder) == Some(&Node::Folder)
    }

    /// Brings one file's ranges and its size to the disk.
    fn write_back(&mut self, id: u64, ranges: &[Range<usize>], size: usize) -> io::Result<()> {
        let root = self.root.clone();
        let file = self.file(id)?;
        file.durable.resize(size, 0);
        let on_disk = match &file.durable_path {
            Some(path) => Some(fs::OpenOptions::new().write(true).open(root.join(path))?),
            None => None,
        };
        if let Some(disk) = &on_disk {
            disk.set_len(size as u64)?;
        }
        for range in ranges {
            let range = range.start.min(size)..range.end.min(size);
            let Some(bytes) = file.current.get(range.clone()) else { continue };
            if let Some(target) = file.durable.get_mut(range.clone()) {
                target.copy_from_slice(bytes);
            }
            if let Some(disk) = &on_disk {
                disk.write_all_at(bytes, range.start as u64)?;
            }
        }
        Ok(())
    }

    fn write_back_all(&mut self, id: u64) -> io::Result<()> {
        let file = self.file(id)?;
        let ranges = core::mem::take(&mut file.dirty);
        let size = file.current.len();
        self.write_back(id, &ranges, size)
    }

    fn write_back_some(&mut self, id: u64, seed: &mut Seed) -> io::Result<()> {
        let file = self.file(id)?;
        let mut ranges = core::mem::take(&mut file.dirty);
        ranges.retain(|_| seed.below(2) == 0);
        for range in &mut ranges {
            if seed.below(2) == 0 {
                let len = seed.below((range.end - range.start) as u64 + 1);
                range.end = range.start + usize::try_from(len).unwrap_or(0);
            }
        }
        let reached = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let size = match seed.below(3) {
            0 => file.current.len(),
            1 => file.durable.len().min(file.current.len()),
            _ => file.durable.len().max(reached).min(file.current.len()),
        };
        self.write_back(id, &ranges, size)
    }

    /// Brings one name to the disk as this process sees it. A file gets its durable content.
    fn make_name_durable(&mut self, path: &str) -> io::Result<()> {
        let node = self.names.get(path).copied();
        if node == self.durable.get(path).copied() {
            return Ok(());
        }
        match node {
            Some(Node::Folder) => fs::create_dir(self.at(path))?,
            Some(Node::File(id)) => {
                let staged = self.at("unsynced.staged");
                let file = self.file(id)?;
                file.durable_path = Some(path.to_owned());
                fs::write(&staged, &file.durable)?;
                fs::rename(&staged, self.at(path))?;
            }
            None if self.durable.get(path) == Some(&Node::Folder) => {
                match fs::remove_dir(self.at(path)) {
                    // What stands in it was removed without a sync, so the folder stays as well.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
                    other => other?,
                }
            }
            None => fs::remove_file(self.at(path))?,
        }
        if let Some(Node::File(old)) = self.durable.get(path).copied()
            && let Ok(file) = self.file(old)
            && file.durable_path.as_deref() == Some(path)
            && node != Some(Node::File(old))
        {
            file.durable_path = None;
        }
        match node {
            Some(node) => self.durable.insert(path.to_owned(), node),
            None => self.durable.remove(path),
        };
        Ok(())
    }
}

impl Storage for Unsynced {
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        match self.state()?.names.get(path) {
            Some(Node::File(id)) => Ok(Some(self.file(*id))),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Ok(None),
        }
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.state()?;
        match state.names.get(path).copied() {
            Some(Node::File(id)) => {
                let file = state.file(id)?;
                file.current.clear();
                file.dirty.clear();
                Ok(self.file(id))
            }
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => {
                let folder = parent(path);
                if !folder.is_empty() && state.names.get(folder) != Some(&Node::Folder) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let id = state.add(File::default());
                state.names.insert(path.to_owned(), Node::File(id));
                Ok(self.file(id))
            }
        }
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state()?;
        let folder = parent(path);
        if !folder.is_empty() && state.names.get(folder) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.insert(path.to_owned(), Node::Folder);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state()?;
        let node = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.state()?.names.remove(path);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>> {
        let state = self.state()?;
        if !folder.is_empty() && state.names.get(folder) != Some(&Node::Folder) {
            return Ok(None);
        }
        let children = state.names.keys().filter(|path| parent(path) == folder);
        Ok(Some(children.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect()))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state()?;
        if !state.is_durable_folder(folder) {
            return Err(io::Error::other("folder is synced before its own name is durable"));
        }
        let is_child = |path: &&String| parent(path) == folder;
        let now: Vec<String> = state.names.keys().filter(is_child).cloned().collect();
        let gone: Vec<String> = state.durable.keys().filter(is_child).cloned().collect();
        for path in now.iter().chain(&gone) {
            state.make_name_durable(path)?;
        }
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Option<Box<dyn Lock>>> {
        drop(self.state()?);
        self.posix.lock(path)
    }
}

#[derive(Debug)]
struct UnsyncedFile {
    storage: Unsynced,
    id: u64,
}

impl StoredFile for UnsyncedFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.storage.state()?.file(self.id)?.current.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.storage.state()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        let bytes = state.file(self.id)?.current.get(start..end);
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.storage.state()?;
        let file = state.file(self.id)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if file.current.len() < end {
            file.current.resize(end, 0);
        }
        if let Some(target) = file.current.get_mut(start..end) {
            target.copy_from_slice(bytes);
        }
        file.dirty.push(start..end);
        Ok(())
    }

    fn set_size(&self, size_bytes: u64) -> io::Result<()> {
        let mut state = self.storage.state()?;
        let file = state.file(self.id)?;
        let size = usize::try_from(size_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let old = file.current.len();
        file.current.resize(size, 0);
        if size > old {
            file.dirty.push(old..size);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.state()?.write_back_all(self.id)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
