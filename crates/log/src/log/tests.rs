//! The log from outside: appends, proofs, publication, recovery, refusal to fork.

use std::sync::Arc;

use tally_core::{
    cosignature,
    ed25519::SigningKey,
    entry::{EntryKind, HourBucket},
    note::KeyName,
    tile::{self, Tile},
    tree::verify_consistency,
};
use tempfile::TempDir;

use super::*;
use crate::{
    CosignError, Posix,
    fsck::{Expected, Report, fsck},
};

pub(crate) fn key(name: &str, seed: u8) -> NamedKey {
    NamedKey::new(KeyName::parse(name).unwrap(), SigningKey::from_seed(&[seed; 32]))
}

pub(crate) fn log_key() -> NamedKey {
    key("log.example/test", 1)
}

pub(crate) fn entry(number: u64) -> Entry {
    Entry {
        kind: EntryKind::RECEIPT,
        hour: HourBucket(7),
        digest: Digest::of_content(&number.to_be_bytes()),
    }
}

pub(crate) fn entries(range: core::ops::Range<u64>) -> Vec<Entry> {
    range.map(entry).collect()
}

pub(crate) fn storage(folder: &TempDir) -> Arc<dyn Storage> {
    Arc::new(Posix::new(folder.path()))
}

pub(crate) fn report(storage: &Arc<dyn Storage>) -> Report {
    let expected = Expected { log: log_key().log_verifier(), cosigners: vec![], seen: vec![] };
    fsck(storage, &expected, &mut |_| ()).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds).unwrap()
}

fn size(n: u64) -> TreeSize {
    TreeSize::new(n).unwrap()
}

fn created() -> (TempDir, Log) {
    let folder = TempDir::new().unwrap();
    let log = Log::create(storage(&folder), log_key()).unwrap();
    (folder, log)
}

fn reopened(folder: &TempDir, log: Log) -> Log {
    drop(log);
    Log::open(storage(folder), log_key(), &[]).unwrap()
}

fn oracle_root(count: u64) -> Digest {
    let leaves: Vec<Digest> = (0..count).map(|i| leaf_hash(&entry(i).encode())).collect();
    tree::root(&leaves)
}

#[test]
fn an_empty_log_has_a_published_checkpoint_of_size_0() {
    let (folder, log) = created();
    assert_eq!(log.size(), TreeSize::ZERO);
    assert_eq!(log.checkpoint().checkpoint().root(), &tree::empty_root());
    let published = std::fs::read(folder.path().join("public/checkpoint")).unwrap();
    assert_eq!(SignedCheckpoint::parse(&published).unwrap(), *log.checkpoint());
    assert!(log.prove(LeafIndex(0)).is_err());
    let log = reopened(&folder, log);
    assert_eq!(log.size(), TreeSize::ZERO);
}

#[test]
fn every_entry_is_proved_before_and_after_publication_and_reopening() {
    let (folder, mut log) = created();
    let mut count = 0;
    // Batches that end before, at and after the borders of tiles of both levels.
    for batch in [1, 2, 252, 1, 1, 255, 256, 257, 1_000] {
        let appended = log.append(&entries(count..count + batch)).unwrap();
        assert_eq!((appended.first, appended.count), (LeafIndex(count), batch));
        count += batch;
        assert_eq!(appended.checkpoint.checkpoint().size(), size(count));
        assert_eq!(appended.checkpoint.checkpoint().root(), &oracle_root(count));
        if batch % 2 == 0 {
            log.publish().unwrap();
        }
    }
    for round in 0..3 {
        for index in (0..count).step_by(37).chain([0, 255, 256, 257, 511, 512, count - 1]) {
            let text = log.proof_bundle(LeafIndex(index)).unwrap();
            let proof = TlogProof::parse(text.as_bytes()).unwrap();
            assert_eq!(proof.verify_inclusion(&entry(index).encode()), Ok(()));
            proof.checkpoint.verify(log.origin(), &log_key().log_verifier()).unwrap();
            assert_eq!(log.read(LeafIndex(index)).unwrap(), entry(index));
            assert_eq!(log.lookup(&entry(index).digest).unwrap(), Some(LeafIndex(index)));
        }
        assert_eq!(log.lookup(&entry(count).digest).unwrap(), None);
        assert!(log.read(LeafIndex(count)).is_err());
        match round {
            0 => log.publish().unwrap(),
            _ => log = reopened(&folder, log),
        }
    }
    drop(log);
    let report = report(&storage(&folder));
    assert_eq!((report.size, report.root), (size(count), Some(oracle_root(count))));
    assert_eq!(report.findings, []);
    assert_eq!(report.indexed_count, count);
    assert_eq!(report.checkpoint_count, 10);
}

#[test]
fn consistency_holds_between_any_two_sizes() {
    let (_folder, mut log) = created();
    log.append(&entries(0..300)).unwrap();
    log.publish().unwrap();
    log.append(&entries(300..600)).unwrap();
    for new in [0, 1, 255, 256, 257, 300, 512, 599, 600] {
        for old in [0, 1, 2, 255, 256, 257, 300, 511, 512, 600] {
            let proof = log.prove_consistency(size(old), size(new));
            if old > new {
                assert!(proof.is_err());
                continue;
            }
            let (old_root, new_root) =
                (log.root_at(size(old)).unwrap(), log.root_at(size(new)).unwrap());
            assert_eq!(new_root, oracle_root(new));
            let proof = proof.unwrap();
            verify_consistency(size(old), &old_root, size(new), &new_root, &proof).unwrap();
        }
    }
    assert!(log.prove_consistency(size(1), size(601)).is_err());
    assert!(log.root_at(size(601)).is_err());
}

#[test]
fn the_public_folder_is_readable_by_tlog_tiles() {
    use tlog_tiles::{HashReader as _, TileHashReader, TileReader};

    struct Folder(std::path::PathBuf);

    impl TileReader for Folder {
        fn height(&self) -> u8 {
            8
        }

        fn read_tiles(
            &self,
            tiles: &[tlog_tiles::Tile],
        ) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            let path =
                |tile: &tlog_tiles::Tile| self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
            Ok(tiles.iter().map(|tile| std::fs::read(path(tile)).unwrap()).collect())
        }

        fn save_tiles(&self, _tiles: &[tlog_tiles::Tile], _data: &[Vec<u8>]) {}
    }

    let (folder, mut log) = created();
    let mut count = 0;
    for batch in [5, 251, 300, 66_000] {
        while count < batch {
            let end = batch.min(count + 10_000);
            log.append(&entries(count..end)).unwrap();
            count = end;
        }
        log.publish().unwrap();
        let text = std::fs::read(folder.path().join("public/checkpoint")).unwrap();
        let signed = SignedCheckpoint::parse(&text).unwrap();
        assert_eq!(signed.checkpoint().size(), size(count));
        let root = tlog_tiles::Hash(*signed.checkpoint().root().as_bytes());
        let tiles = Folder(folder.path().join("public"));
        let reader = TileHashReader::new(count, root, &tiles);
        for index in [0, count / 2, count - 1] {
            let at = tlog_tiles::stored_hash_index(0, index);
            let hash = reader.read_hashes(&[at]).unwrap()[0];
            assert_eq!(&hash.0, leaf_hash(&entry(index).encode()).as_bytes());
            let proof = tlog_tiles::prove_record(count, index, &reader).unwrap();
            tlog_tiles::check_record(&proof, count, root, index, hash).unwrap();
        }
        let last = Tile::in_tree(tile::TileKind::Entries, (count - 1) / 256, size(count)).unwrap();
        let bundle = std::fs::read(folder.path().join("public").join(last.to_string())).unwrap();
        let parsed = tile::parse_entries(&bundle, last.width()).unwrap();
        assert_eq!(parsed.last().unwrap(), &entry(count - 1).encode());
    }
    assert!(!folder.path().join("public/tile/0/000.p").exists());
    assert!(folder.path().join("public/tile/0/000").exists());
}

#[test]
fn a_second_writer_is_refused() {
    let (folder, log) = created();
    let second = Log::open(storage(&folder), log_key(), &[]);
    assert!(matches!(second, Err(LogError::Locked { path: "lock" })));
    // Opening and closing the lock file elsewhere does not drop the lock, as fcntl's would.
    drop(std::fs::File::open(folder.path().join("lock")).unwrap());
    assert!(matches!(Log::open(storage(&folder), log_key(), &[]), Err(LogError::Locked { .. })));
    drop(log);
    assert!(Log::open(storage(&folder), log_key(), &[]).is_ok());
}

#[test]
fn a_log_is_made_once_and_opened_only_where_it_is() {
    let folder = TempDir::new().unwrap();
    let missing = Log::open(storage(&folder), log_key(), &[]);
    assert!(matches!(missing, Err(LogError::NoLog { path: "segment" })));
    let mut log = Log::create(storage(&folder), log_key()).unwrap();
    log.append(&entries(0..3)).unwrap();
    log.publish().unwrap();
    drop(log);
    let again = Log::create(storage(&folder), log_key());
    assert!(matches!(again, Err(LogError::Exists { path: "segment" })));
    // Without its segment, what is published shows that there was a log.
    std::fs::remove_file(folder.path().join("segment")).unwrap();
    let again = Log::create(storage(&folder), log_key());
    assert!(matches!(again, Err(LogError::Exists { path: "public/checkpoint" })));
}

#[test]
fn another_key_does_not_open_the_log() {
    let (folder, log) = created();
    drop(log);
    for other in [key("log.example/test", 2), key("log.example/other", 1)] {
        let opened = Log::open(storage(&folder), other, &[]);
        assert!(matches!(opened, Err(LogError::Damaged { .. })), "{opened:?}");
    }
}

#[test]
fn batches_have_1_to_65536_entries() {
    let (_folder, mut log) = created();
    assert!(matches!(log.append(&[]), Err(LogError::EmptyBatch)));
    let most = vec![entry(0); BATCH_LEN_MAX];
    assert_eq!(log.append(&most).unwrap().count, 65_536);
    let more = vec![entry(0); BATCH_LEN_MAX + 1];
    assert!(matches!(log.append(&more), Err(LogError::BatchLen { found: 65_537, limit: 65_536 })));
    assert_eq!(log.append(&[entry(1)]).unwrap().first, LeafIndex(65_536));
}

#[test]
fn a_digest_appended_twice_is_found_at_its_first_place() {
    let (folder, mut log) = created();
    log.append(&[entry(5), entry(6), entry(5)]).unwrap();
    assert_eq!(log.lookup(&entry(5).digest).unwrap(), Some(LeafIndex(0)));
    log.publish().unwrap();
    log.append(&[entry(5), entry(7)]).unwrap();
    log.publish().unwrap();
    assert_eq!(log.lookup(&entry(5).digest).unwrap(), Some(LeafIndex(0)));
    assert_eq!(log.lookup(&entry(7).digest).unwrap(), Some(LeafIndex(4)));
    drop(log);
    assert_eq!(report(&storage(&folder)).findings, []);
}

#[test]
fn digests_that_share_their_first_128_bits_are_told_apart() {
    let (_folder, mut log) = created();
    let twin = |last: u8| {
        let mut bytes = [9; 32];
        bytes[31] = last;
        Entry { digest: Digest::from_bytes(bytes), ..entry(0) }
    };
    log.append(&[twin(1), twin(2)]).unwrap();
    for _ in 0..2 {
        assert_eq!(log.lookup(&twin(1).digest).unwrap(), Some(LeafIndex(0)));
        assert_eq!(log.lookup(&twin(2).digest).unwrap(), Some(LeafIndex(1)));
        assert_eq!(log.lookup(&twin(3).digest).unwrap(), None);
        log.publish().unwrap();
    }
}

#[test]
fn a_lost_index_is_built_again() {
    let (folder, mut log) = created();
    log.append(&entries(0..10)).unwrap();
    log.publish().unwrap();
    drop(log);
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let mut log = Log::open(storage(&folder), log_key(), &[]).unwrap();
    assert_eq!(log.lookup(&entry(9).digest).unwrap(), Some(LeafIndex(9)));
    log.publish().unwrap();
    drop(log);
    assert_eq!(report(&storage(&folder)).findings, []);
}

fn cosigner(folder: &TempDir) -> Cosigner {
    let mut cosigner = match Cosigner::create(storage(folder), key("cosigner.example", 2)) {
        Err(LogError::Exists { .. }) => {
            Cosigner::open(storage(folder), key("cosigner.example", 2)).unwrap()
        }
        other => other.unwrap(),
    };
    cosigner.trust(log_key().log_verifier()).unwrap();
    cosigner
}

#[test]
fn proofs_are_against_the_cosigned_checkpoint_where_it_covers_the_entry() {
    let (folder, mut log) = created();
    let cosigner_folder = TempDir::new().unwrap();
    let mut cosigner = cosigner(&cosigner_folder);
    log.append(&entries(0..3)).unwrap();
    log.cosign(&mut cosigner, at(1_000)).unwrap();
    log.append(&entries(3..5)).unwrap();
    let verifier = cosigner.verifier();
    let covered = log.prove(LeafIndex(2)).unwrap();
    assert_eq!(cosignature::verify(covered.checkpoint.note(), &verifier), Ok(at(1_000)));
    let newer = log.prove(LeafIndex(3)).unwrap();
    assert!(cosignature::verify(newer.checkpoint.note(), &verifier).is_err());
    log.cosign(&mut cosigner, at(1_001)).unwrap();
    let newer = log.prove(LeafIndex(3)).unwrap();
    assert_eq!(cosignature::verify(newer.checkpoint.note(), &verifier), Ok(at(1_001)));
    log.publish().unwrap();
    let log = reopened(&folder, log);
    let proof = log.prove(LeafIndex(4)).unwrap();
    assert_eq!(cosignature::verify(proof.checkpoint.note(), &verifier), Ok(at(1_001)));
    assert_eq!(cosigner.newest(log.origin()).unwrap(), Some(proof.checkpoint));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

#[test]
fn a_log_restored_from_a_backup_does_not_sign() {
    let (folder, mut log) = created();
    let cosigner_folder = TempDir::new().unwrap();
    let mut cosigner = cosigner(&cosigner_folder);
    log.append(&entries(0..3)).unwrap();
    log.publish().unwrap();
    drop(log);
    let backup = TempDir::new().unwrap();
    copy(folder.path(), backup.path());

    let mut log = Log::open(storage(&folder), log_key(), &[]).unwrap();
    log.append(&entries(3..5)).unwrap();
    log.cosign(&mut cosigner, at(1)).unwrap();
    let seen = cosigner.newest(log.origin()).unwrap().unwrap();
    drop(log);

    let before = std::fs::read(backup.path().join("segment")).unwrap();
    let restored = Log::open(storage(&backup), log_key(), std::slice::from_ref(&seen));
    assert!(matches!(
        restored,
        Err(LogError::RolledBack { size: s, seen: n }) if s == size(3) && n == size(5)
    ));
    assert_eq!(std::fs::read(backup.path().join("segment")).unwrap(), before);

    // Opened without asking the cosigner it signs a fork, which the cosigner does not cosign.
    let mut forked = Log::open(storage(&backup), log_key(), &[]).unwrap();
    assert!(matches!(forked.cosign(&mut cosigner, at(2)), Err(LogError::RolledBack { .. })));
    drop(forked);
    let mut forked = Log::open(storage(&backup), log_key(), &[]).unwrap();
    forked.append(&entries(10..12)).unwrap();
    assert!(matches!(forked.cosign(&mut cosigner, at(2)), Err(LogError::Forked { .. })));
    assert!(matches!(forked.append(&entries(12..13)), Err(LogError::Poisoned)));
    drop(forked);
    let restored = Log::open(storage(&backup), log_key(), &[seen]);
    assert!(matches!(restored, Err(LogError::Forked { .. })));
}

#[test]
fn a_segment_shorter_than_what_is_published_is_not_opened() {
    let (folder, mut log) = created();
    log.append(&entries(0..3)).unwrap();
    let shorter = std::fs::read(folder.path().join("segment")).unwrap();
    log.append(&entries(3..5)).unwrap();
    log.publish().unwrap();
    drop(log);
    std::fs::write(folder.path().join("segment"), shorter).unwrap();
    let opened = Log::open(storage(&folder), log_key(), &[]);
    assert!(matches!(opened, Err(LogError::RolledBack { .. })), "{opened:?}");
}

#[test]
fn a_cosigner_restored_from_a_backup_is_noticed() {
    let (_folder, mut log) = created();
    let cosigner_folder = TempDir::new().unwrap();
    let mut newer = cosigner(&cosigner_folder);
    log.append(&entries(0..3)).unwrap();
    log.cosign(&mut newer, at(1)).unwrap();
    drop(newer);
    let backup = TempDir::new().unwrap();
    copy(cosigner_folder.path(), backup.path());
    let mut newer = cosigner(&cosigner_folder);
    log.append(&entries(3..5)).unwrap();
    log.cosign(&mut newer, at(2)).unwrap();
    let mut older = cosigner(&backup);
    assert!(matches!(
        log.cosign(&mut older, at(3)),
        Err(LogError::CosignerRolledBack { size: s, seen: n }) if s == size(3) && n == size(5)
    ));
}

#[test]
fn an_untrusted_log_is_not_cosigned() {
    let (_folder, mut log) = created();
    let folder = TempDir::new().unwrap();
    let mut stranger = Cosigner::create(storage(&folder), key("c.example", 3)).unwrap();
    let refused = log.cosign(&mut stranger, at(1)).unwrap_err();
    let LogError::Cosign(cause) = refused else { panic!("{refused}") };
    assert!(matches!(*cause, CosignError::UnknownOrigin { .. }));
}
