//! The bytes of a model in memory, where kernels read them and the model root was computed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::ModelError;
use crate::kernel::pages;

/// Alignment of every part: one cache line, one vector register.
pub(crate) const ALIGNMENT: usize = 64;
/// Largest model file: 64 GiB.
const FILE_BYTES_MAX: u64 = 1 << 36;

/// Immutable bytes aligned to [`ALIGNMENT`], either owned or of the program itself.
///
/// A file is read into memory and not mapped: a mapping could change after its digest was taken.
#[derive(Debug)]
pub(super) enum Storage {
    Owned { buffer: Vec<u8>, start: usize, len: usize },
    Embedded(&'static [u8]),
}

impl Storage {
    pub(super) fn copy_of(bytes: &[u8]) -> Self {
        let mut storage = Self::zeroed(bytes.len());
        storage.owned_mut().copy_from_slice(bytes);
        storage
    }

    /// Takes bytes of the program as they are if they are aligned, else a copy.
    pub(super) fn embedded(bytes: &'static [u8]) -> Self {
        if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
            return Self::Embedded(bytes);
        }
        Self::copy_of(bytes)
    }

    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |error: std::io::Error| ModelError::Read { kind: error.kind() };
        let mut file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?.len();
        let too_large = ModelError::TooLarge { found, limit: FILE_BYTES_MAX };
        if found > FILE_BYTES_MAX {
            return Err(too_large);
        }
        let mut storage = Self::zeroed(usize::try_from(found).map_err(|_| too_large)?);
        file.read_exact(storage.owned_mut()).map_err(unreadable)?;
        Ok(storage)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned { buffer, start, len } => &buffer[*start..*start + *len],
            Self::Embedded(bytes) => bytes,
        }
    }

    fn zeroed(len: usize) -> Self {
        let mut buffer = vec![0; len + ALIGNMENT];
        pages::prefer_large(&mut buffer);
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        Self::Owned { buffer, start, len }
    }

    fn owned_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Owned { buffer, start, len } => &mut buffer[*start..*start + *len],
            Self::Embedded(_) => &mut [],
        }
    }
}
