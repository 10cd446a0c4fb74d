//! Reading frames, and telling a torn tail from damage.

use tally_core::Digest;

use super::{
    FRAME_OVERHEAD_BYTES, HEADER_SIZE_BYTES, Kind, MAGIC, PAYLOAD_SIZE_BYTES_MAX, SEGMENT,
    checksum, damaged,
};
use crate::{
    error::{At, Damage, LogError, Operation},
    storage::StoredFile,
};

/// Bytes read ahead: large enough that small frames cost no system call each.
const WINDOW_SIZE_BYTES: usize = 1024 * 1024;

/// A whole frame, with what its header says.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) offset: u64,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn end(&self) -> u64 {
        self.offset + (FRAME_OVERHEAD_BYTES + self.payload.len()) as u64
    }
}

/// Reads a file's frames one after another through a window.
#[derive(Debug)]
pub(super) struct FrameReader<'a> {
    file: &'a dyn StoredFile,
    file_size: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(file: &'a dyn StoredFile) -> Result<Self, LogError> {
        let file_size = file.size_bytes().at(Operation::Read, SEGMENT)?;
        Ok(Self { file, file_size, window: Vec::new(), window_start: 0 })
    }

    pub(super) const fn file_size(&self) -> u64 {
        self.file_size
    }

    /// The whole frame at `offset`; `None` if no whole frame stands there.
    pub(super) fn frame_at(&mut self, offset: u64) -> Result<Option<Frame<'_>>, LogError> {
        let Some(head) = self.bytes(offset, FRAME_OVERHEAD_BYTES)? else { return Ok(None) };
        let Some((kind, payload_size, size)) = parse_header(head) else { return Ok(None) };
        let Some(bytes) = self.bytes(offset, FRAME_OVERHEAD_BYTES + payload_size)? else {
            return Ok(None);
        };
        let (header, rest) = bytes.split_at(HEADER_SIZE_BYTES);
        let (check, payload) = rest.split_at(Digest::SIZE_BYTES);
        if checksum(offset, header, payload).as_bytes() != check {
            return Ok(None);
        }
        Ok(Some(Frame { offset, kind, size, payload }))
    }

    /// Fails if a whole checkpoint frame stands anywhere after `offset`, where no whole frame
    /// stands: a checkpoint is written only when all before it is durable, so this is no torn tail.
    pub(super) fn expect_torn_tail(&mut self, offset: u64) -> Result<(), LogError> {
        let magic = [MAGIC[0], MAGIC[1], MAGIC[2], Kind::Checkpoint.byte()];
        let mut at = offset;
        while let Some(start) = self.find(at, &magic)? {
            let whole = self.frame_at(start)?.is_some_and(|frame| frame.kind == Kind::Checkpoint);
            if whole {
                return Err(damaged(
                    offset,
                    Damage::FrameBeforeCheckpoint { checkpoint_offset: start },
                ));
            }
            at = start + 1;
        }
        Ok(())
    }

    /// Where `pattern` next stands, from `offset` on.
    fn find(&mut self, offset: u64, pattern: &[u8]) -> Result<Option<u64>, LogError> {
        let mut at = offset;
        while at < self.file_size {
            let left = usize::try_from(self.file_size - at).unwrap_or(usize::MAX);
            let len = left.min(WINDOW_SIZE_BYTES);
            let Some(bytes) = self.bytes(at, len)? else { return Ok(None) };
            if let Some(place) = bytes.windows(pattern.len()).position(|part| part == pattern) {
                return Ok(Some(at + place as u64));
            }
            if len == left {
                return Ok(None);
            }
            at += (len - pattern.len() + 1) as u64;
        }
        Ok(None)
    }

    /// `len` bytes from `offset` on; `None` if the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>, LogError> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.file_size) {
            return Ok(None);
        }
        let in_window = offset
            .checked_sub(self.window_start)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start.checked_add(len).is_some_and(|end| end <= self.window.len()));
        let start = match in_window {
            Some(start) => start,
            None => {
                let left = usize::try_from(self.file_size - offset).unwrap_or(usize::MAX);
                self.window.resize(len.max(WINDOW_SIZE_BYTES).min(left), 0);
                self.window_start = offset;
                self.file.read_at(offset, &mut self.window).at(Operation::Read, SEGMENT)?;
                0
            }
        };
        Ok(self.window.get(start..start + len))
    }
}

/// Kind, payload size and tree size of a header; `None` if it is none.
fn parse_header(head: &[u8]) -> Option<(Kind, usize, u64)> {
    let (magic, rest) = head.split_first_chunk::<3>()?;
    let (kind, rest) = rest.split_first()?;
    let (payload_size, rest) = rest.split_first_chunk::<4>()?;
    let (size, _) = rest.split_first_chunk::<8>()?;
    let payload_size = usize::try_from(u32::from_be_bytes(*payload_size)).ok()?;
    if *magic != MAGIC || payload_size > PAYLOAD_SIZE_BYTES_MAX {
        return None;
    }
    Some((Kind::from_byte(*kind)?, payload_size, u64::from_be_bytes(*size)))
}
