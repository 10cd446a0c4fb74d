//! Files as memory: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "mapping a file is unsafe: others may change it meanwhile")]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps a file that is never changed in place.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // SAFETY: an index file is written under a temporary name, renamed when it is whole and never
        // written to again; whoever replaces one renames another over it, which leaves this mapping
        // as it is. Whoever truncates it in place ends the process with a signal.
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
