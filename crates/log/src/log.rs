//! One log: its single writer, from an entry to a proof.

use std::sync::Arc;

use tally_core::{
    Digest,
    checkpoint::{Checkpoint, Origin, SignedCheckpoint},
    cosignature::Timestamp,
    entry::{ENTRY_SIZE_BYTES, Entry},
    tlog_proof::TlogProof,
    tree::{self, Frontier, LeafIndex, NodeId, TreeError, TreeSize, leaf_hash},
};

use crate::{
    Cosigner, NamedKey, Storage,
    error::{Damage, LogError},
    index::Index,
    publish::{self, CHECKPOINT, Publisher},
    rows::{NodeReader, Rows, read_entry},
    segment::{BATCH_LEN_MAX, Leaf, Observer, Segment, Signatures, replay},
    storage::{self, Lock},
};

#[cfg(test)]
pub(crate) mod tests;

/// Path of the log's lock.
pub(crate) const LOCK: &str = "lock";

/// Entries that are durable and covered by a signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the first of them stands; the others follow it.
    pub first: LeafIndex,
    /// How many they are.
    pub count: u64,
    /// A checkpoint that covers them, signed by the log alone.
    pub checkpoint: SignedCheckpoint,
}

/// A log, open for its one writer.
///
/// After an error of [`Log::append`] or [`Log::publish`] what is durable is unknown: the log refuses
/// to write until it is opened again. What was acknowledged before is safe.
#[derive(Debug)]
pub struct Log {
    storage: Arc<dyn Storage>,
    key: NamedKey,
    origin: Origin,
    segment: Segment,
    frontier: Frontier,
    rows: Rows,
    index: Index,
    publisher: Publisher,
    /// The newest checkpoint, signed by the log.
    signed: SignedCheckpoint,
    /// The newest checkpoint that a cosigner has cosigned too.
    cosigned: Option<SignedCheckpoint>,
    published: TreeSize,
    poisoned: bool,
    _lock: Box<dyn Lock>,
}

impl Log {
    /// Makes an empty log whose origin is the key's name; its checkpoint of size 0 is published.
    ///
    /// # Errors
    /// If there is a log already, another process holds it, or the storage refuses.
    pub fn create(storage: Arc<dyn Storage>, key: NamedKey) -> Result<Self, LogError> {
        let lock = storage::lock(storage.as_ref(), LOCK)?;
        if storage::read(storage.as_ref(), crate::segment::SEGMENT)?.is_some() {
            return Err(LogError::Exists { path: crate::segment::SEGMENT });
        }
        // A published checkpoint without its segment is a log that lost its entries.
        let published = publish::read_checkpoint(storage.as_ref())?;
        if published.is_some_and(|signed| signed.checkpoint().size() != TreeSize::ZERO) {
            return Err(LogError::Exists { path: CHECKPOINT });
        }
        let empty = sign(&key, &Frontier::new())?;
        Publisher::create_root(storage.as_ref())?;
        publish::put_checkpoint(storage.as_ref(), &empty)?;
        Segment::create(storage.as_ref(), &key.log_verifier(), &empty)?;
        Self::open_locked(storage, key, &[], lock)
    }

    /// Opens a log and recovers from whatever crash there was.
    ///
    /// `seen` are checkpoints of this log that others hold, such as [`Cosigner::newest`]: a log that
    /// was restored from a backup would sign a second tree of the same size, so it is not opened
    /// unless it extends all of them. The published checkpoint is always among them. A writer that
    /// has a cosigner and does not pass what it last signed gives this protection away.
    ///
    /// # Errors
    /// If there is no log, another process holds it, something is damaged that cannot be the torn
    /// end of a crash, or somebody has seen more than the log holds. Nothing has been changed then.
    pub fn open(
        storage: Arc<dyn Storage>,
        key: NamedKey,
        seen: &[SignedCheckpoint],
    ) -> Result<Self, LogError> {
        let lock = storage::lock(storage.as_ref(), LOCK)?;
        Self::open_locked(storage, key, seen, lock)
    }

    fn open_locked(
        storage: Arc<dyn Storage>,
        key: NamedKey,
        seen: &[SignedCheckpoint],
        lock: Box<dyn Lock>,
    ) -> Result<Self, LogError> {
        let mut segment = Segment::open(storage.as_ref())?;
        let verifier = key.log_verifier();
        let published = publish::read_checkpoint(storage.as_ref())?
            .ok_or_else(|| LogError::damaged(CHECKPOINT, 0, Damage::CheckpointMissing))?;
        let origin = Origin::from(&key.name);
        published
            .verify(&origin, &verifier)
            .map_err(|error| LogError::damaged(CHECKPOINT, 0, error.into()))?;
        let published_size = published.checkpoint().size();
        let mut opening = Opening {
            rows: Rows::default(),
            index: Index::open(storage.as_ref())?,
            published: published_size,
        };
        let replayed = replay(segment.file(), &verifier, Signatures::Last, &mut opening)?;
        let mut log = Self {
            storage,
            origin,
            rows: opening.rows,
            index: opening.index,
            publisher: Publisher::default(),
            signed: replayed.last.clone(),
            cosigned: None,
            published: published_size,
            poisoned: false,
            frontier: replayed.frontier.clone(),
            segment,
            key,
            _lock: lock,
        };
        for checkpoint in seen {
            log.expect_extension(checkpoint)?;
        }
        log.expect_extension(&published)?;
        if log.index.covered() > log.size().get() {
            let (size, found) = (log.size().get(), log.index.covered());
            return Err(LogError::damaged(
                crate::index::INDEX,
                0,
                Damage::IndexAhead { size, found },
            ));
        }
        segment = log.segment;
        segment.recover(&replayed)?;
        log.segment = segment;
        if replayed.is_unsigned() {
            log.sign_frontier()?;
        }
        if published.note().signatures().len() > 1 {
            log.cosigned = Some(published);
        }
        Ok(log)
    }

    /// Appends a batch: durable and covered by a signed checkpoint when it returns.
    ///
    /// The same digest may be appended more than once; a lookup yields the first.
    ///
    /// # Errors
    /// If the batch is empty or too long, or the storage refuses; then nothing is acknowledged, and
    /// the entries may or may not be in the log when it is opened again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Appended, LogError> {
        self.expect_writable()?;
        if entries.is_empty() {
            return Err(LogError::EmptyBatch);
        }
        if entries.len() > BATCH_LEN_MAX {
            return Err(LogError::BatchLen { found: entries.len(), limit: BATCH_LEN_MAX });
        }
        let (first, count) = (LeafIndex(self.size().get()), entries.len() as u64);
        let size = first.0.checked_add(count).and_then(TreeSize::new);
        let size = size.ok_or(LogError::Full { size: self.size() })?;
        self.poisoned = true;
        self.segment.append_entries(entries, size)?;
        for entry in entries {
            self.grow(entry);
        }
        self.sign_frontier()?;
        self.poisoned = false;
        Ok(Appended { first, count, checkpoint: self.signed.clone() })
    }

    /// Publishes the newest cosigned checkpoint, or the newest signed one if none was ever cosigned:
    /// first all tiles that it implies, then the checkpoint itself; then the index is brought up.
    ///
    /// # Errors
    /// If the storage refuses.
    pub fn publish(&mut self) -> Result<(), LogError> {
        self.expect_writable()?;
        let checkpoint = self.newest().clone();
        let (old, new) = (self.published, checkpoint.checkpoint().size());
        self.poisoned = true;
        let storage = Arc::clone(&self.storage);
        self.publisher.put_tiles(storage.as_ref(), &self.rows, old, new)?;
        publish::put_checkpoint(storage.as_ref(), &checkpoint)?;
        self.published = new;
        self.rows.forget(new);
        self.publisher.remove_partial_tiles(storage.as_ref(), old, new)?;
        self.index.commit()?;
        self.poisoned = false;
        Ok(())
    }

    /// Has a cosigner cosign the newest checkpoint.
    ///
    /// # Errors
    /// If the cosigner has seen a larger or another tree, was itself rolled back, or refuses.
    pub fn cosign(
        &mut self,
        cosigner: &mut Cosigner,
        now: Timestamp,
    ) -> Result<&SignedCheckpoint, LogError> {
        self.expect_writable()?;
        let known = cosigner.newest(&self.origin)?;
        if let Some(known) = &known {
            self.expect_extension(known).inspect_err(|_| self.poisoned = true)?;
        }
        let old = known.map_or(TreeSize::ZERO, |known| known.checkpoint().size());
        self.expect_not_rolled_back(cosigner, old)?;
        let proof = self.prove_consistency(old, self.signed.checkpoint().size())?;
        let line = cosigner
            .cosign(old, &self.signed, &proof, now)
            .map_err(|error| LogError::Cosign(Box::new(error)))?;
        let mut cosigned = self.signed.clone();
        cosigned.push(line)?;
        Ok(self.cosigned.insert(cosigned))
    }

    /// The newest checkpoint, signed by the log alone.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// The newest checkpoint that has been cosigned since, or was when the log was opened.
    #[must_use]
    pub const fn checkpoint_cosigned(&self) -> Option<&SignedCheckpoint> {
        self.cosigned.as_ref()
    }

    /// Size of the published tree.
    #[must_use]
    pub const fn published_size(&self) -> TreeSize {
        self.published
    }

    /// The log's name.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many entries the log has.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// How many entries stand in memory because their tiles are not published, or not full.
    #[must_use]
    pub fn unpublished_count(&self) -> usize {
        self.rows.entry_count()
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// If there is none, or its bundle is missing or damaged.
    pub fn read(&self, index: LeafIndex) -> Result<Entry, LogError> {
        if index.0 >= self.size().get() {
            return Err(TreeError::LeafOutOfTree { index, size: self.size() }.into());
        }
        read_entry(&self.rows, self.storage.as_ref(), index)
    }

    /// Where the first entry with this digest stands.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn lookup(&self, digest: &Digest) -> Result<Option<LeafIndex>, LogError> {
        self.index.lookup(digest)
    }

    /// A self-contained proof that the entry at `index` is in the log: against the newest cosigned
    /// checkpoint if that covers it, else against the newest signed one.
    ///
    /// The proof is verified before it is handed out.
    ///
    /// # Errors
    /// If there is no such entry, or a tile or bundle that the proof needs is missing or damaged.
    pub fn prove(&self, index: LeafIndex) -> Result<TlogProof, LogError> {
        let covers = |signed: &&SignedCheckpoint| index.0 < signed.checkpoint().size().get();
        let checkpoint = self.cosigned.as_ref().filter(covers).unwrap_or(&self.signed);
        let size = checkpoint.checkpoint().size();
        let hashes = tree::prove_inclusion(&self.nodes(), index, size)??;
        let proof = TlogProof { extra: None, index, hashes, checkpoint: checkpoint.clone() };
        proof.verify_inclusion(&self.read(index)?.encode())?;
        Ok(proof)
    }

    /// The text of [`Log::prove`] in the tlog-proof format.
    ///
    /// # Errors
    /// As [`Log::prove`].
    pub fn proof_bundle(&self, index: LeafIndex) -> Result<String, LogError> {
        Ok(self.prove(index)?.encode())
    }

    /// The proof that the tree of size `old` is a prefix of the tree of size `new`.
    ///
    /// # Errors
    /// If the sizes are out of order or above the log's, or a tile is missing.
    pub fn prove_consistency(&self, old: TreeSize, new: TreeSize) -> Result<Vec<Digest>, LogError> {
        if new > self.size() {
            return Err(TreeError::SizeOrder { old: new, new: self.size() }.into());
        }
        Ok(tree::prove_consistency(&self.nodes(), old, new)??)
    }

    /// The root of the tree when it had `size` entries.
    ///
    /// # Errors
    /// If the log is smaller, or a tile is missing.
    pub fn root_at(&self, size: TreeSize) -> Result<Digest, LogError> {
        if size > self.size() {
            return Err(TreeError::SizeOrder { old: size, new: self.size() }.into());
        }
        tree::range_root(&self.nodes(), 0, size.get())
    }

    fn nodes(&self) -> NodeReader<'_> {
        NodeReader::new(&self.rows, self.storage.as_ref())
    }

    fn newest(&self) -> &SignedCheckpoint {
        self.cosigned.as_ref().unwrap_or(&self.signed)
    }

    fn grow(&mut self, entry: &Entry) {
        let bytes = entry.encode();
        self.index.push(LeafIndex(self.size().get()), entry.digest);
        self.rows.push_entry(bytes);
        let rows = &mut self.rows;
        self.frontier.push_with(leaf_hash(&bytes), |id, hash| rows.push_node(id, hash));
    }

    /// Signs the tree as it is; its entries are durable. The checkpoint is durable afterwards.
    fn sign_frontier(&mut self) -> Result<(), LogError> {
        let signed = sign(&self.key, &self.frontier)?;
        self.segment.append_checkpoint(&signed)?;
        self.signed = signed;
        Ok(())
    }

    const fn expect_writable(&self) -> Result<(), LogError> {
        if self.poisoned { Err(LogError::Poisoned) } else { Ok(()) }
    }

    /// Fails unless the log extends the tree that somebody has seen.
    fn expect_extension(&self, seen: &SignedCheckpoint) -> Result<(), LogError> {
        seen.verify(&self.origin, &self.key.log_verifier())?;
        let seen = seen.checkpoint();
        if seen.size() > self.size() {
            return Err(LogError::RolledBack { size: self.size(), seen: seen.size() });
        }
        let root = self.root_at(seen.size())?;
        if root != *seen.root() {
            return Err(LogError::Forked { size: seen.size(), root, seen: *seen.root() });
        }
        Ok(())
    }

    /// Fails if a cosignature by this cosigner is known that its own state does not cover.
    fn expect_not_rolled_back(&self, cosigner: &Cosigner, size: TreeSize) -> Result<(), LogError> {
        let Some(cosigned) = &self.cosigned else { return Ok(()) };
        let seen = cosigned.checkpoint().size();
        let key = cosigner.verifier();
        let by_it = tally_core::cosignature::verify(cosigned.note(), &key).is_ok();
        if by_it && seen > size {
            return Err(LogError::CosignerRolledBack { size, seen });
        }
        Ok(())
    }
}

fn sign(key: &NamedKey, frontier: &Frontier) -> Result<SignedCheckpoint, LogError> {
    let checkpoint = Checkpoint::new(Origin::from(&key.name), frontier.size(), frontier.root());
    Ok(SignedCheckpoint::sign(checkpoint, &key.name, &key.key)?)
}

/// Collects what is not published or not indexed while the segment is replayed.
struct Opening {
    rows: Rows,
    index: Index,
    published: TreeSize,
}

impl Observer for Opening {
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), LogError> {
        let bytes: &[u8; ENTRY_SIZE_BYTES] = leaf.bytes;
        self.rows.push_entry(*bytes);
        self.index.push(leaf.index, leaf.entry.digest);
        Ok(())
    }

    fn node(&mut self, id: NodeId, hash: Digest) {
        self.rows.push_node(id, hash);
    }

    fn checkpoint(&mut self, signed: &SignedCheckpoint, _end: u64, _file_size: u64) {
        self.rows.forget(signed.checkpoint().size().min(self.published));
    }
}
