//! From frames to a tree: the one reading of the segment that opening and `fsck` share.

use tally_core::{
    Digest,
    checkpoint::{Origin, SignedCheckpoint},
    entry::{ENTRY_SIZE_BYTES, Entry},
    note::VerifierKey,
    tree::{Frontier, LeafIndex, NodeId, leaf_hash},
};

use super::{
    Kind, damaged,
    read::{Frame, FrameReader},
};
use crate::{
    error::{Damage, LogError},
    storage::StoredFile,
};

/// Which checkpoints' signatures are verified while replaying; roots always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    /// The last one's, which covers all entries.
    Last,
    /// Every one's.
    Every,
}

/// One entry while replaying.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) index: LeafIndex,
    pub(crate) entry: &'a Entry,
    pub(crate) bytes: &'a [u8; ENTRY_SIZE_BYTES],
}

/// Who wants to know what the segment holds.
pub(crate) trait Observer {
    /// An entry; its nodes follow.
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), LogError>;
    /// A subtree that the entry completes.
    fn node(&mut self, id: NodeId, hash: Digest);
    /// A checkpoint over all entries so far, which ends at byte `end` of `file_size`.
    fn checkpoint(&mut self, signed: &SignedCheckpoint, end: u64, file_size: u64);
}

/// What the segment holds.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The tree over all whole frames.
    pub(crate) frontier: Frontier,
    /// The last checkpoint.
    pub(crate) last: SignedCheckpoint,
    /// Where the last whole frame ends; what follows is torn.
    pub(crate) end: u64,
    /// Size of the file.
    pub(crate) file_size: u64,
    /// What follows may not have been synced: the end of the last checkpoint but one.
    pub(crate) uncertain_from: u64,
}

impl Replayed {
    /// Whether entries follow the last checkpoint.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.frontier.size() != self.last.checkpoint().size()
    }
}

/// Replays a segment of the log with this key.
///
/// # Errors
/// If something is damaged that cannot be a torn tail, or the observer refuses.
pub(crate) fn replay(
    file: &dyn StoredFile,
    key: &VerifierKey,
    signatures: Signatures,
    observer: &mut dyn Observer,
) -> Result<Replayed, LogError> {
    let mut reader = FrameReader::new(file)?;
    let file_size = reader.file_size();
    let mut state = State::new(key, signatures);
    let mut offset = 0;
    while let Some(frame) = reader.frame_at(offset)? {
        state.step(&frame, file_size, observer)?;
        offset = frame.end();
    }
    if offset < file_size {
        reader.expect_torn_tail(offset)?;
    }
    state.finish(offset, file_size)
}

struct State<'a> {
    key: &'a VerifierKey,
    origin: Origin,
    signatures: Signatures,
    frontier: Frontier,
    previous: Option<Kind>,
    /// The last checkpoint and where its frame begins.
    last: Option<(SignedCheckpoint, u64)>,
    last_end: u64,
    uncertain_from: u64,
}

impl<'a> State<'a> {
    fn new(key: &'a VerifierKey, signatures: Signatures) -> Self {
        Self {
            key,
            origin: Origin::from(key.name()),
            signatures,
            frontier: Frontier::new(),
            previous: None,
            last: None,
            last_end: 0,
            uncertain_from: 0,
        }
    }

    fn step(
        &mut self,
        frame: &Frame<'_>,
        file_size: u64,
        observer: &mut dyn Observer,
    ) -> Result<(), LogError> {
        match (self.previous, frame.kind) {
            (None, Kind::Header) => self.header(frame)?,
            (Some(Kind::Checkpoint), Kind::Entries) => self.entries(frame, observer)?,
            (Some(Kind::Header | Kind::Entries), Kind::Checkpoint) => {
                self.checkpoint(frame, file_size, observer)?;
            }
            _ => return Err(damaged(frame.offset, Damage::FrameKind)),
        }
        self.previous = Some(frame.kind);
        Ok(())
    }

    fn header(&self, frame: &Frame<'_>) -> Result<(), LogError> {
        let text = core::str::from_utf8(frame.payload).ok();
        let found = text.and_then(|text| VerifierKey::parse(text).ok());
        let found = found.ok_or_else(|| damaged(frame.offset, Damage::Header))?;
        if found != *self.key {
            let found = Origin::from(found.name());
            let expected = self.origin.clone();
            return Err(damaged(frame.offset, Damage::Origin { expected, found }));
        }
        Ok(())
    }

    fn entries(&mut self, frame: &Frame<'_>, observer: &mut dyn Observer) -> Result<(), LogError> {
        let (entries, rest) = frame.payload.as_chunks::<ENTRY_SIZE_BYTES>();
        if entries.is_empty() || !rest.is_empty() {
            let found = frame.payload.len();
            return Err(damaged(frame.offset, Damage::FramePayload { found }));
        }
        for bytes in entries {
            let index = LeafIndex(self.frontier.size().get());
            let entry = Entry::parse(bytes)
                .map_err(|cause| damaged(frame.offset, Damage::Entry { index, cause }))?;
            observer.leaf(Leaf { index, entry: &entry, bytes })?;
            self.frontier.push_with(leaf_hash(bytes), |id, hash| observer.node(id, hash));
        }
        self.same_size(frame)
    }

    fn checkpoint(
        &mut self,
        frame: &Frame<'_>,
        file_size: u64,
        observer: &mut dyn Observer,
    ) -> Result<(), LogError> {
        self.same_size(frame)?;
        let signed =
            SignedCheckpoint::parse(frame.payload).map_err(|error| damaged(frame.offset, error))?;
        let (size, stated) = (signed.checkpoint().size(), *signed.checkpoint().root());
        if size != self.frontier.size() {
            let (stated, computed) = (size.get(), self.frontier.size().get());
            return Err(damaged(frame.offset, Damage::FrameSize { stated, computed }));
        }
        let computed = self.frontier.root();
        if stated != computed {
            return Err(damaged(frame.offset, Damage::Root { size, stated, computed }));
        }
        if self.signatures == Signatures::Every {
            self.verify(&signed, frame.offset)?;
        }
        observer.checkpoint(&signed, frame.end(), file_size);
        self.uncertain_from = self.last_end;
        self.last_end = frame.end();
        self.last = Some((signed, frame.offset));
        Ok(())
    }

    fn verify(&self, signed: &SignedCheckpoint, offset: u64) -> Result<(), LogError> {
        signed.verify(&self.origin, self.key).map_err(|error| damaged(offset, error))
    }

    fn same_size(&self, frame: &Frame<'_>) -> Result<(), LogError> {
        let computed = self.frontier.size().get();
        if frame.size != computed {
            let damage = Damage::FrameSize { stated: frame.size, computed };
            return Err(damaged(frame.offset, damage));
        }
        Ok(())
    }

    /// A segment is made with its header and first checkpoint at once, so both must be there.
    fn finish(self, end: u64, file_size: u64) -> Result<Replayed, LogError> {
        let Some((last, offset)) = &self.last else {
            return Err(damaged(end, Damage::Header));
        };
        self.verify(last, *offset)?;
        Ok(Replayed {
            last: last.clone(),
            frontier: self.frontier,
            end,
            file_size,
            uncertain_from: self.uncertain_from,
        })
    }
}
