//! Everything that can go wrong with a log, by cause.

use std::{fmt, io};

use tally_core::{
    Digest,
    checkpoint::{CheckpointError, Origin},
    entry::EntryError,
    note::{KeyId, NoteError},
    tile::TileError,
    tree::{LeafIndex, TreeError, TreeSize},
};
use thiserror::Error;

/// What was attempted on a path when the operating system said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file that exists.
    Open,
    /// Making a file.
    Create,
    /// Making a folder.
    CreateFolder,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Setting a file's size.
    SetSize,
    /// Making content durable.
    Sync,
    /// Making a folder's entries durable.
    SyncFolder,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Listing a folder.
    List,
    /// Locking.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::CreateFolder => "create folder",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetSize => "set size of",
            Self::Sync => "sync",
            Self::SyncFolder => "sync folder",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Lock => "lock",
        })
    }
}

/// Why stored bytes are not what the log wrote.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// A frame is unreadable although a later checkpoint proves that it was durable.
    #[error("frame is damaged, and a checkpoint stands after it at byte {checkpoint_offset}")]
    FrameBeforeCheckpoint {
        /// Where that later checkpoint stands.
        checkpoint_offset: u64,
    },
    /// The file does not begin with a readable header frame.
    #[error("segment header is damaged")]
    Header,
    /// The segment is of another log.
    #[error("segment is of origin {found}, expected {expected}")]
    Origin {
        /// The origin of the key.
        expected: Origin,
        /// The origin in the header.
        found: Origin,
    },
    /// A whole frame stands where its kind cannot stand.
    #[error("frame is of a kind that cannot stand here")]
    FrameKind,
    /// A whole frame states another tree size than the frames before it yield.
    #[error("frame states tree size {stated}, the entries before it yield {computed}")]
    FrameSize {
        /// What the frame states.
        stated: u64,
        /// What the entries yield.
        computed: u64,
    },
    /// A whole frame's payload is not whole entries.
    #[error("frame payload of {found} bytes is not a whole number of entries")]
    FramePayload {
        /// Its size.
        found: usize,
    },
    /// An entry in a whole frame is not an entry.
    #[error("entry {index}: {cause}")]
    Entry {
        /// Where it stands in the log.
        index: LeafIndex,
        /// Why.
        cause: EntryError,
    },
    /// A checkpoint is unreadable, of another log, or not signed by the log's key.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint states another root than the entries yield.
    #[error("checkpoint of size {size} states root {stated}, the entries yield {computed}")]
    Root {
        /// Its size.
        size: TreeSize,
        /// What it states.
        stated: Digest,
        /// What the entries yield.
        computed: Digest,
    },
    /// A tile or bundle has another form.
    #[error("tile: {0}")]
    Tile(#[from] TileError),
    /// A tile or bundle holds other bytes than the entries yield.
    #[error("tile differs from what the entries yield at its element {element}")]
    TileContent {
        /// 0-based place of the first differing hash or entry.
        element: usize,
    },
    /// A tile that the published checkpoint implies is missing.
    #[error("tile is missing, and the published checkpoint of size {size} implies it")]
    TileMissing {
        /// Size of the published checkpoint.
        size: TreeSize,
    },
    /// A tile cannot be read.
    #[error("tile cannot be read")]
    TileUnreadable,
    /// The published checkpoint is missing.
    #[error("published checkpoint is missing")]
    CheckpointMissing,
    /// The index says that a digest stands elsewhere, or not at all.
    #[error("index says {found:?} for digest {digest}, which stands at {expected}")]
    IndexEntry {
        /// The digest.
        digest: Digest,
        /// Where it stands first.
        expected: LeafIndex,
        /// What the index says.
        found: Option<LeafIndex>,
    },
    /// The index covers more or other digests than there are.
    #[error("index holds {found} digests for its {size} entries, expected {expected}")]
    IndexLength {
        /// How many entries it covers.
        size: u64,
        /// How many distinct digests these have.
        expected: u64,
        /// How many the index holds.
        found: u64,
    },
    /// The index covers entries that the log does not have.
    #[error("index covers {found} entries, the log has {size}")]
    IndexAhead {
        /// The log's size.
        size: u64,
        /// What the index covers.
        found: u64,
    },
    /// A cosignature by a known cosigner is refused.
    #[error("cosignature: {0}")]
    Cosignature(NoteError),
    /// The published checkpoint, or one that somebody has seen, is none that the log made.
    #[error("checkpoint of size {size} and root {root} is none of the segment's")]
    CheckpointUnknown {
        /// Its size.
        size: TreeSize,
        /// Its root.
        root: Digest,
    },
    /// Bytes follow the last whole frame: the torn end of a crash, cut off at the next opening.
    #[error("{count} bytes follow the last whole frame, as after a crash")]
    TornTail {
        /// How many.
        count: u64,
    },
    /// Entries follow the last checkpoint: the end of a crash, signed at the next opening.
    #[error("{count} entries follow the last checkpoint, as after a crash")]
    UnsignedTail {
        /// How many.
        count: u64,
    },
    /// The index cannot be opened.
    #[error("index cannot be opened")]
    IndexUnreadable,
}

/// Why an act on a log failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused an operation.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: Operation,
        /// On what, relative to the storage's root.
        path: String,
        /// Its reason.
        source: io::Error,
    },
    /// Another process holds the log or cosigner.
    #[error("{path} is held by another process")]
    Locked {
        /// The lock's path.
        path: &'static str,
    },
    /// There is no log here.
    #[error("there is no log here: {path} is missing")]
    NoLog {
        /// What is missing.
        path: &'static str,
    },
    /// There is a log here already.
    #[error("there is a log here already: {path} exists")]
    Exists {
        /// What exists.
        path: &'static str,
    },
    /// Stored bytes are not what the log wrote; nothing was repaired.
    #[error("{path} is damaged at byte {offset}: {damage}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Somebody has seen a larger tree of this log: it was restored from a backup.
    #[error("log has {size} entries, but {seen} have been seen: it was rolled back")]
    RolledBack {
        /// The log's size.
        size: TreeSize,
        /// The largest size that somebody has seen.
        seen: TreeSize,
    },
    /// Somebody has seen another tree of this size: the log has been forked.
    #[error("log had root {root} at size {size}, but {seen} has been seen: it was forked")]
    Forked {
        /// The size of what was seen.
        size: TreeSize,
        /// The log's own root at that size.
        root: Digest,
        /// The root that was seen.
        seen: Digest,
    },
    /// The cosigner's state is older than a cosignature that it has given.
    #[error("cosigner last signed size {size}, but its cosignature of size {seen} is published")]
    CosignerRolledBack {
        /// What the cosigner says.
        size: TreeSize,
        /// What it has cosigned.
        seen: TreeSize,
    },
    /// The segment is not as long as this writer left it: somebody else has written.
    #[error("segment has {found} bytes, this writer left {expected}")]
    Conflict {
        /// Where this writer's last frame ended.
        expected: u64,
        /// The size found.
        found: u64,
    },
    /// An earlier write failed, so what is durable is unknown until the log is opened again.
    #[error("an earlier write failed: open the log again")]
    Poisoned,
    /// The batch is empty.
    #[error("batch has no entry")]
    EmptyBatch,
    /// The batch is above its limit.
    #[error("batch has {found} entries, the limit is {limit}")]
    BatchLen {
        /// How many.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The tree cannot grow further.
    #[error("log is full at {size} entries")]
    Full {
        /// Its size.
        size: TreeSize,
    },
    /// A key's name cannot be found in a checkpoint's signatures.
    #[error("checkpoint has no signature by key id {key_id}")]
    Unsigned {
        /// The key's identifier.
        key_id: KeyId,
    },
    /// An argument is outside the tree, or a proof made from stored nodes does not hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A checkpoint or note cannot be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A note cannot be made.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The index cannot be read or written; it can be rebuilt from the segment.
    #[error("index: {source}\n\nhint: remove `{path}` and open the log again")]
    Index {
        /// The index's file.
        path: &'static str,
        /// The reason.
        source: Box<redb::Error>,
    },
    /// The cosigner refused.
    #[error(transparent)]
    Cosign(#[from] Box<crate::CosignError>),
}

impl LogError {
    pub(crate) fn damaged(path: impl Into<String>, offset: u64, damage: Damage) -> Self {
        Self::Damaged { path: path.into(), offset, damage }
    }
}

/// Names path and operation of an operating system's refusal.
pub(crate) trait At<T> {
    fn at(self, operation: Operation, path: &str) -> Result<T, LogError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: Operation, path: &str) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io { operation, path: path.into(), source })
    }
}
