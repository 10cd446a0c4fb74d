//! A log with its cosigner over storages that break, and what it has acknowledged.

use std::{path::Path, sync::Arc};

use tally_core::{
    Digest,
    checkpoint::SignedCheckpoint,
    cosignature::Timestamp,
    ed25519::SigningKey,
    entry::{Entry, EntryKind, HourBucket},
    note::KeyName,
    tree::LeafIndex,
};
use tally_log::{
    Cosigner, Log, LogError, NamedKey, Storage,
    dangerous::Unsynced,
    fsck::{Expected, fsck},
};
use tempfile::TempDir;

pub(crate) fn log_key() -> NamedKey {
    let name = KeyName::parse("log.example/faults").unwrap();
    NamedKey::new(name, SigningKey::from_seed(&[1; 32]))
}

pub(crate) fn cosigner_key() -> NamedKey {
    let name = KeyName::parse("cosigner.example/faults").unwrap();
    NamedKey::new(name, SigningKey::from_seed(&[2; 32]))
}

pub(crate) fn entry(number: u64) -> Entry {
    Entry {
        kind: EntryKind::RECEIPT,
        hour: HourBucket(1),
        digest: Digest::of_content(&number.to_be_bytes()),
    }
}

/// A folder in memory where the system has one: nothing here is to outlive the test.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Two folders and everything that was acknowledged over them.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) acknowledged: Vec<(LeafIndex, Entry)>,
    pub(crate) checkpoints: Vec<SignedCheckpoint>,
    pub(crate) next: u64,
}

/// The storages of one life of the process.
pub(crate) struct Disks {
    pub(crate) log: Unsynced,
    pub(crate) cosigner: Unsynced,
}

impl World {
    /// An empty log and a cosigner that trusts it, both durable.
    pub(crate) fn new() -> Self {
        let folder = folder();
        for name in ["log", "cosigner"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let world = Self { folder, acknowledged: vec![], checkpoints: vec![], next: 0 };
        let disks = world.disks();
        Log::create(Arc::new(disks.log), log_key()).unwrap();
        Cosigner::create(Arc::new(disks.cosigner), cosigner_key()).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn disks(&self) -> Disks {
        let open = |path: &Path| Unsynced::new(path).unwrap();
        Disks { log: open(&self.path("log")), cosigner: open(&self.path("cosigner")) }
    }

    /// Opens cosigner and log as a careful program does: the log is shown what the cosigner saw.
    pub(crate) fn open(
        log: &Arc<dyn Storage>,
        cosigner: &Arc<dyn Storage>,
    ) -> Result<(Log, Cosigner), LogError> {
        let key = log_key();
        let mut cosigner = Cosigner::open(Arc::clone(cosigner), cosigner_key())?;
        cosigner.trust(key.log_verifier())?;
        let seen = cosigner.newest(&(&key.name).into())?;
        let log = Log::open(Arc::clone(log), key, seen.as_slice())?;
        Ok((log, cosigner))
    }

    pub(crate) fn append(&mut self, log: &mut Log, count: u64) -> Result<(), LogError> {
        let entries: Vec<Entry> = (self.next..self.next + count).map(entry).collect();
        self.next += count;
        let appended = log.append(&entries)?;
        let places = (appended.first.0..).map(LeafIndex);
        self.acknowledged.extend(places.zip(entries));
        self.checkpoints.push(appended.checkpoint);
        Ok(())
    }

    pub(crate) fn cosign(
        &mut self,
        log: &mut Log,
        cosigner: &mut Cosigner,
    ) -> Result<(), LogError> {
        let now = Timestamp::new(self.next)?;
        self.checkpoints.push(log.cosign(cosigner, now)?.clone());
        Ok(())
    }

    /// Opens without faults: nothing acknowledged is missing, every signed checkpoint is still a
    /// prefix, the log works on, and `fsck` finds nothing.
    pub(crate) fn expect_sound(&mut self, disks: &Disks, context: &str) {
        let log_disk: Arc<dyn Storage> = Arc::new(disks.log.clone());
        let cosigner_disk: Arc<dyn Storage> = Arc::new(disks.cosigner.clone());
        let (mut log, mut cosigner) = Self::open(&log_disk, &cosigner_disk)
            .unwrap_or_else(|error| panic!("{context}: cannot open again: {error}"));
        for (index, entry) in &self.acknowledged {
            assert_eq!(log.read(*index).unwrap(), *entry, "{context}: entry {index}");
            assert_eq!(log.lookup(&entry.digest).unwrap(), Some(*index), "{context}");
        }
        for signed in &self.checkpoints {
            let checkpoint = signed.checkpoint();
            let root = log.root_at(checkpoint.size()).unwrap();
            assert_eq!(root, *checkpoint.root(), "{context}: size {}", checkpoint.size());
        }
        for (index, _) in self.acknowledged.iter().rev().take(3) {
            log.prove(*index).unwrap();
        }
        self.append(&mut log, 2).unwrap();
        self.cosign(&mut log, &mut cosigner).unwrap();
        log.publish().unwrap();
        let seen = cosigner.newest(log.origin()).unwrap().into_iter().collect();
        drop((log, cosigner));
        let expected = Expected {
            log: log_key().log_verifier(),
            cosigners: vec![cosigner_key().cosigner_verifier()],
            seen,
        };
        let report = fsck(&log_disk, &expected, &mut |_| ()).unwrap();
        assert_eq!(report.findings, [], "{context}");
        assert_eq!(report.cosignature_count, 1, "{context}");
    }
}
