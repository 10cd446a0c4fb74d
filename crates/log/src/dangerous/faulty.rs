//! A storage in which one chosen step fails.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::storage::{Lock, Storage, StoredFile};

/// How the chosen step fails. Every one returns an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Without having taken effect.
    Without,
    /// After having taken effect.
    With,
    /// A write takes effect in its first half alone; other steps do not.
    Torn,
}

/// A storage whose steps are counted, and of which one fails once.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    taken: AtomicU64,
    fails_at: u64,
    fault: Fault,
}

impl Faulty {
    /// Fails at the step with this 0-based number, and never if there are not so many.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, fails_at: u64, fault: Fault) -> Self {
        let plan = Plan { taken: AtomicU64::new(0), fails_at, fault };
        Self { inner, plan: Arc::new(plan) }
    }

    /// Another storage whose steps are counted together with this one's.
    #[must_use]
    pub fn beside(&self, inner: Arc<dyn Storage>) -> Self {
        Self { inner, plan: Arc::clone(&self.plan) }
    }

    /// How many steps have been taken.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.plan.taken.load(Ordering::SeqCst)
    }

    /// Whether the step has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.steps_taken() > self.plan.fails_at
    }
}

impl Plan {
    fn fault(&self) -> Option<Fault> {
        let step = self.taken.fetch_add(1, Ordering::SeqCst);
        (step == self.fails_at).then_some(self.fault)
    }

    fn take<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.fault() {
            None => act(),
            Some(Fault::With) => {
                act()?;
                Err(injected())
            }
            Some(Fault::Without | Fault::Torn) => Err(injected()),
        }
    }
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Storage for Faulty {
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let file = self.plan.take(|| self.inner.open(path))?;
        Ok(file.map(|inner| {
            Arc::new(FaultyFile { inner, plan: Arc::clone(&self.plan) }) as Arc<dyn StoredFile>
        }))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StoredFile>> {
        let inner = self.plan.take(|| self.inner.create(path))?;
        Ok(Arc::new(FaultyFile { inner, plan: Arc::clone(&self.plan) }))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.plan.take(|| self.inner.create_folder(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.take(|| self.inner.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.plan.take(|| self.inner.remove(path))
    }

    fn list(&self, folder: &str) -> io::Result<Option<Vec<String>>> {
        self.plan.take(|| self.inner.list(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.plan.take(|| self.inner.sync_folder(folder))
    }

    fn lock(&self, path: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.plan.take(|| self.inner.lock(path))
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn StoredFile>,
    plan: Arc<Plan>,
}

impl StoredFile for FaultyFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.plan.take(|| self.inner.size_bytes())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.plan.take(|| self.inner.read_at(offset, out))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.plan.fault() {
            None => self.inner.write_at(offset, bytes),
            Some(Fault::Without) => Err(injected()),
            Some(Fault::With) => self.inner.write_at(offset, bytes).and_then(|()| Err(injected())),
            Some(Fault::Torn) => {
                let (first, _) = bytes.split_at(bytes.len() / 2);
                self.inner.write_at(offset, first).and_then(|()| Err(injected()))
            }
        }
    }

    fn set_size(&self, size_bytes: u64) -> io::Result<()> {
        self.plan.take(|| self.inner.set_size(size_bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.take(|| self.inner.sync())
    }
}
