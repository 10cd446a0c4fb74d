//! The segment: one append-only file of frames that is the log's only truth.
//!
//! A frame is 16 bytes of header, 32 bytes of checksum and a payload. The header holds the magic
//! `TLY`, a kind byte, the payload's size (u32) and the tree size after the frame (u64), big-endian.
//! The checksum is SHA-256 over a tag, the frame's own offset, header and payload, so a frame is
//! whole only where it was written. `spec/log.md` has the normative text.

use std::{io, sync::Arc};

use tally_core::{
    Digest,
    checkpoint::SignedCheckpoint,
    entry::{ENTRY_SIZE_BYTES, Entry},
    note::VerifierKey,
    tag,
    tree::TreeSize,
};

use crate::{
    error::{At, Damage, LogError, Operation},
    storage::{Storage, StoredFile, replace_durably},
};

mod read;
mod replay;
#[cfg(test)]
mod tests;

pub(crate) use replay::{Leaf, Observer, Replayed, Signatures, replay};

/// Path of the segment.
pub(crate) const SEGMENT: &str = "segment";

/// Most entries of one frame: what fits in memory several times over and syncs in one go.
pub(crate) const BATCH_LEN_MAX: usize = 65_536;

/// Largest payload: a full batch is 3.4 MiB, a note at most 256 KiB.
const PAYLOAD_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

const MAGIC: [u8; 3] = *b"TLY";
const HEADER_SIZE_BYTES: usize = 16;
const FRAME_OVERHEAD_BYTES: usize = HEADER_SIZE_BYTES + Digest::SIZE_BYTES;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The log's verifier key: whose segment this is. Stands once, first.
    Header,
    /// A batch of entries.
    Entries,
    /// A checkpoint over all entries before it, signed by the log.
    Checkpoint,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Header => b'h',
            Self::Entries => b'e',
            Self::Checkpoint => b'c',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'h' => Some(Self::Header),
            b'e' => Some(Self::Entries),
            b'c' => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

/// The bytes of the frame that stands at `offset`.
fn frame(offset: u64, kind: Kind, size: TreeSize, payload: &[u8]) -> io::Result<Vec<u8>> {
    let payload_size =
        u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = Vec::with_capacity(FRAME_OVERHEAD_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(kind.byte());
    bytes.extend_from_slice(&payload_size.to_be_bytes());
    bytes.extend_from_slice(&size.get().to_be_bytes());
    let check = checksum(offset, &bytes, payload);
    bytes.extend_from_slice(check.as_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

fn checksum(offset: u64, header: &[u8], payload: &[u8]) -> Digest {
    Digest::of_tagged(tag::FRAME, &[&offset.to_be_bytes(), header, payload])
}

/// The segment, open for appending at its end.
#[derive(Debug)]
pub(crate) struct Segment {
    file: Arc<dyn StoredFile>,
    end: u64,
}

impl Segment {
    /// Makes the segment of an empty log, durably: its header and the checkpoint of size 0.
    pub(crate) fn create(
        storage: &dyn Storage,
        key: &VerifierKey,
        empty: &SignedCheckpoint,
    ) -> Result<Self, LogError> {
        let header = frame(0, Kind::Header, TreeSize::ZERO, key.encode().as_bytes());
        let mut bytes = header.at(Operation::Write, SEGMENT)?;
        let offset = bytes.len() as u64;
        let note = empty.encode();
        let checkpoint = frame(offset, Kind::Checkpoint, TreeSize::ZERO, note.as_bytes());
        bytes.extend(checkpoint.at(Operation::Write, SEGMENT)?);
        replace_durably(storage, SEGMENT, &bytes)?;
        Self::open(storage)
    }

    /// Opens the segment; appending is right only after [`Segment::recover`].
    pub(crate) fn open(storage: &dyn Storage) -> Result<Self, LogError> {
        let file = storage.open(SEGMENT).at(Operation::Open, SEGMENT)?;
        let file = file.ok_or(LogError::NoLog { path: SEGMENT })?;
        let end = file.size_bytes().at(Operation::Read, SEGMENT)?;
        Ok(Self { file, end })
    }

    pub(crate) fn file(&self) -> &dyn StoredFile {
        self.file.as_ref()
    }

    /// Cuts a torn tail off and writes what follows the last checkpoint but one once more.
    ///
    /// After a failed sync the operating system may believe that pages are clean which never reached
    /// the disk; writing the same bytes again makes them dirty, so the next sync is a true one.
    pub(crate) fn recover(&mut self, replayed: &Replayed) -> Result<(), LogError> {
        if replayed.end < self.end {
            self.file.set_size(replayed.end).at(Operation::SetSize, SEGMENT)?;
            self.end = replayed.end;
        }
        let len = usize::try_from(self.end.saturating_sub(replayed.uncertain_from))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
            .at(Operation::Read, SEGMENT)?;
        let mut bytes = vec![0; len];
        self.file.read_at(replayed.uncertain_from, &mut bytes).at(Operation::Read, SEGMENT)?;
        self.file.write_at(replayed.uncertain_from, &bytes).at(Operation::Write, SEGMENT)?;
        self.file.sync().at(Operation::Sync, SEGMENT)
    }

    /// Appends a batch after which the tree has `size` leaves; durable when it returns.
    pub(crate) fn append_entries(
        &mut self,
        entries: &[Entry],
        size: TreeSize,
    ) -> Result<(), LogError> {
        let mut payload = Vec::with_capacity(entries.len() * ENTRY_SIZE_BYTES);
        for entry in entries {
            payload.extend_from_slice(&entry.encode());
        }
        self.append(Kind::Entries, size, &payload)
    }

    /// Appends the checkpoint over all entries so far; durable when it returns.
    pub(crate) fn append_checkpoint(&mut self, signed: &SignedCheckpoint) -> Result<(), LogError> {
        self.append(Kind::Checkpoint, signed.checkpoint().size(), signed.encode().as_bytes())
    }

    /// The compare-and-swap: appends only if the file is as this writer left it.
    fn append(&mut self, kind: Kind, size: TreeSize, payload: &[u8]) -> Result<(), LogError> {
        let found = self.file.size_bytes().at(Operation::Read, SEGMENT)?;
        if found != self.end {
            return Err(LogError::Conflict { expected: self.end, found });
        }
        let bytes = frame(self.end, kind, size, payload).at(Operation::Write, SEGMENT)?;
        self.file.write_at(self.end, &bytes).at(Operation::Write, SEGMENT)?;
        self.file.sync().at(Operation::Sync, SEGMENT)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

fn damaged(offset: u64, damage: impl Into<Damage>) -> LogError {
    LogError::damaged(SEGMENT, offset, damage.into())
}
