//! A file whose changes stay in memory, so that looking at an index repairs nothing on the disk.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::{At, LogError, Operation},
    index::INDEX,
    storage::StoredFile,
};

const PAGE_SIZE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Overlay {
    inner: Arc<dyn StoredFile>,
    inner_size: u64,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    size: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(inner: Arc<dyn StoredFile>) -> Result<Self, LogError> {
        let size = inner.size_bytes().at(Operation::Read, INDEX)?;
        let changed = Mutex::new(Changed { size, pages: BTreeMap::new() });
        Ok(Self { inner, inner_size: size, changed })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page as the file below has it, zeros behind its end.
    fn below(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE_SIZE_BYTES];
        let start = page * PAGE_SIZE_BYTES as u64;
        let left = usize::try_from(self.inner_size.saturating_sub(start)).unwrap_or(usize::MAX);
        if let Some(out) = bytes.get_mut(..left.min(PAGE_SIZE_BYTES)) {
            self.inner.read_at(start, out)?;
        }
        Ok(bytes)
    }
}

/// The pages that hold `len` bytes from `offset` on: number, start within the page, length.
fn pieces(offset: u64, len: usize) -> Vec<(u64, usize, usize)> {
    let mut pieces = Vec::new();
    let (mut offset, mut len) = (offset, len);
    while len > 0 {
        let start = usize::try_from(offset % PAGE_SIZE_BYTES as u64).unwrap_or(0);
        let here = len.min(PAGE_SIZE_BYTES - start);
        pieces.push((offset / PAGE_SIZE_BYTES as u64, start, here));
        offset += here as u64;
        len -= here;
    }
    pieces
}

impl StoredFile for Overlay {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.changed().size)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > changed.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (page, start, len) in pieces(offset, rest.len()) {
            let bytes = match changed.pages.get(&page) {
                Some(bytes) => bytes.clone(),
                None => self.below(page)?,
            };
            let (target, after) = rest.split_at_mut(len);
            target.copy_from_slice(bytes.get(start..start + len).unwrap_or_default());
            rest = after;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut changed = self.changed();
        let mut rest = bytes;
        for (page, start, len) in pieces(offset, bytes.len()) {
            let mut content = match changed.pages.remove(&page) {
                Some(content) => content,
                None => self.below(page)?,
            };
            let (source, after) = rest.split_at(len);
            if let Some(target) = content.get_mut(start..start + len) {
                target.copy_from_slice(source);
            }
            changed.pages.insert(page, content);
            rest = after;
        }
        changed.size = changed.size.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn set_size(&self, size_bytes: u64) -> io::Result<()> {
        self.changed().size = size_bytes;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
