//! A cosigner: vouches that a log only grew, for any number of logs that it trusts.
//!
//! It keeps the newest checkpoint that it cosigned for each origin, verifies that the next one
//! extends it, and makes that durable before it answers. It stands in a folder of its own, best on
//! another disk than the logs. The rules are those of c2sp.org/tlog-witness without its HTTP.

use std::{collections::BTreeMap, sync::Arc};

use tally_core::{
    Digest,
    checkpoint::{CheckpointError, Origin, SignedCheckpoint},
    cosignature::{self, Timestamp},
    note::{NoteSignature, VerifierKey},
    tree::{TreeError, TreeSize, verify_consistency},
};
use thiserror::Error;

use crate::{
    NamedKey, Storage,
    error::{At, Damage, LogError, Operation},
    storage::{self, Lock},
};

#[cfg(test)]
mod tests;

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const STATE: &str = "cosigned";

/// Why a cosigner does not cosign. The numbers are the HTTP status codes of tlog-witness.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CosignError {
    /// 404: the origin is not among those that it trusts.
    #[error("origin {origin} is not known to the cosigner")]
    UnknownOrigin {
        /// The origin.
        origin: Origin,
    },
    /// 403: the log's signature is absent or refused.
    #[error("checkpoint is not signed by its log: {0}")]
    Unsigned(CheckpointError),
    /// 400: the old size is above the checkpoint's.
    #[error("old size {old} is above the checkpoint's size {size}")]
    OldSize {
        /// The old size of the request.
        old: TreeSize,
        /// The checkpoint's size.
        size: TreeSize,
    },
    /// 409: the old size is not what it last cosigned; the answer carries that size.
    #[error("request is from size {old}, the cosigner last signed size {size}")]
    Conflict {
        /// The old size of the request.
        old: TreeSize,
        /// The size that it last cosigned.
        size: TreeSize,
    },
    /// 409: the size is what it last cosigned, but the root is another.
    #[error("checkpoint of size {size} has root {found}, the cosigner signed {signed}")]
    Fork {
        /// The size.
        size: TreeSize,
        /// The root that it signed.
        signed: Digest,
        /// The checkpoint's root.
        found: Digest,
    },
    /// 422: the consistency proof does not hold.
    #[error("consistency proof: {0}")]
    Proof(TreeError),
    /// An earlier write failed, so what it last signed is unknown until it is opened again.
    #[error("an earlier write failed: open the cosigner again")]
    Poisoned,
    /// The storage refused; it may have signed, and has not answered.
    #[error(transparent)]
    Storage(#[from] LogError),
}

/// A cosigner with its own key and its own folder.
#[derive(Debug)]
pub struct Cosigner {
    storage: Arc<dyn Storage>,
    key: NamedKey,
    logs: BTreeMap<Origin, VerifierKey>,
    newest: BTreeMap<Origin, SignedCheckpoint>,
    poisoned: bool,
    _lock: Box<dyn Lock>,
}

impl Cosigner {
    /// Makes a cosigner that has signed nothing yet.
    ///
    /// # Errors
    /// If there is one already, another process holds it, or the storage refuses.
    pub fn create(storage: Arc<dyn Storage>, key: NamedKey) -> Result<Self, LogError> {
        let lock = storage::lock(storage.as_ref(), LOCK)?;
        if storage::read(storage.as_ref(), IDENTITY)?.is_some() {
            return Err(LogError::Exists { path: IDENTITY });
        }
        storage.create_folder(STATE).at(Operation::CreateFolder, STATE)?;
        let identity = format!("{}\n", key.cosigner_verifier().encode());
        storage::replace_durably(storage.as_ref(), IDENTITY, identity.as_bytes())?;
        Ok(Self::new(storage, key, lock))
    }

    /// Opens a cosigner.
    ///
    /// # Errors
    /// If there is none, it has another key, or another process holds it.
    pub fn open(storage: Arc<dyn Storage>, key: NamedKey) -> Result<Self, LogError> {
        let lock = storage::lock(storage.as_ref(), LOCK)?;
        let identity = storage::read(storage.as_ref(), IDENTITY)?;
        let identity = identity.ok_or(LogError::NoLog { path: IDENTITY })?;
        if identity != format!("{}\n", key.cosigner_verifier().encode()).as_bytes() {
            return Err(LogError::damaged(IDENTITY, 0, Damage::Header));
        }
        Ok(Self::new(storage, key, lock))
    }

    fn new(storage: Arc<dyn Storage>, key: NamedKey, lock: Box<dyn Lock>) -> Self {
        let (logs, newest) = (BTreeMap::new(), BTreeMap::new());
        Self { storage, key, logs, newest, poisoned: false, _lock: lock }
    }

    /// What others need to verify its cosignatures.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.key.cosigner_verifier()
    }

    /// Trusts a log's key for the origin of the same name, and reads what it last cosigned there.
    ///
    /// # Errors
    /// If that state is unreadable or not its own.
    pub fn trust(&mut self, log: VerifierKey) -> Result<(), LogError> {
        let origin = Origin::from(log.name());
        let path = state_path(&origin);
        if let Some(bytes) = storage::read(self.storage.as_ref(), &path)? {
            let damaged = |damage| LogError::damaged(path.clone(), 0, damage);
            let newest = SignedCheckpoint::parse(&bytes).map_err(|error| damaged(error.into()))?;
            newest.verify(&origin, &log).map_err(|error| damaged(error.into()))?;
            cosignature::verify(newest.note(), &self.verifier())
                .map_err(|error| damaged(Damage::Cosignature(error)))?;
            self.newest.insert(origin.clone(), newest);
        }
        self.logs.insert(origin, log);
        Ok(())
    }

    /// The newest checkpoint that it cosigned for an origin, with its cosignature: what
    /// [`crate::Log::open`] wants to see.
    ///
    /// # Errors
    /// If the origin is not trusted, or an earlier write failed.
    pub fn newest(&self, origin: &Origin) -> Result<Option<SignedCheckpoint>, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        if !self.logs.contains_key(origin) {
            let origin = origin.clone();
            return Err(Box::new(CosignError::UnknownOrigin { origin }).into());
        }
        Ok(self.newest.get(origin).cloned())
    }

    /// Cosigns a checkpoint that extends, by `proof`, the one of size `old` that it last cosigned
    /// (0 if none). What it signed is durable before it returns.
    ///
    /// # Errors
    /// [`CosignError`], in the order of tlog-witness.
    pub fn cosign(
        &mut self,
        old: TreeSize,
        checkpoint: &SignedCheckpoint,
        proof: &[Digest],
        now: Timestamp,
    ) -> Result<NoteSignature, CosignError> {
        if self.poisoned {
            return Err(CosignError::Poisoned);
        }
        self.verify_extension(old, checkpoint, proof)?;
        let stated = checkpoint.checkpoint();
        let line = cosignature::cosign(stated, now, &self.key.name, &self.key.key);
        let mut newest = self.only_log_signature(checkpoint)?;
        newest.push(line.clone()).map_err(|error| CosignError::Storage(error.into()))?;
        self.poisoned = true;
        let path = state_path(stated.origin());
        storage::replace_durably(self.storage.as_ref(), &path, newest.encode().as_bytes())?;
        self.poisoned = false;
        self.newest.insert(stated.origin().clone(), newest);
        Ok(line)
    }

    fn verify_extension(
        &self,
        old: TreeSize,
        checkpoint: &SignedCheckpoint,
        proof: &[Digest],
    ) -> Result<(), CosignError> {
        let stated = checkpoint.checkpoint();
        let log = self.log(stated.origin())?;
        checkpoint.verify(stated.origin(), log).map_err(CosignError::Unsigned)?;
        if old > stated.size() {
            return Err(CosignError::OldSize { old, size: stated.size() });
        }
        let newest = self.newest.get(stated.origin()).map(SignedCheckpoint::checkpoint);
        let size = newest.map_or(TreeSize::ZERO, |newest| newest.size());
        if old != size {
            return Err(CosignError::Conflict { old, size });
        }
        let root = newest.map_or_else(tally_core::tree::empty_root, |newest| *newest.root());
        if old == stated.size() && root != *stated.root() {
            return Err(CosignError::Fork { size, signed: root, found: *stated.root() });
        }
        verify_consistency(old, &root, stated.size(), stated.root(), proof)
            .map_err(CosignError::Proof)
    }

    fn log(&self, origin: &Origin) -> Result<&VerifierKey, CosignError> {
        self.logs.get(origin).ok_or_else(|| CosignError::UnknownOrigin { origin: origin.clone() })
    }

    /// The checkpoint without signatures by others, which could fill the note up.
    fn only_log_signature(
        &self,
        checkpoint: &SignedCheckpoint,
    ) -> Result<SignedCheckpoint, CosignError> {
        let log = self.log(checkpoint.checkpoint().origin())?;
        let line = checkpoint
            .note()
            .line_by(log, log.kind())
            .map_err(|error| CosignError::Unsigned(error.into()))?;
        let text = checkpoint.note().text();
        let note = format!("{text}\n{}", line.encode());
        SignedCheckpoint::parse(note.as_bytes()).map_err(CosignError::Unsigned)
    }
}

/// One file per origin, named by the origin's whole digest.
fn state_path(origin: &Origin) -> String {
    format!("{STATE}/{}", Digest::of_content(origin.as_str().as_bytes()))
}
