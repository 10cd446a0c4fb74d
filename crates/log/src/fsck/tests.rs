//! Every kind of damage has its own finding, and nothing else is found.

use std::{fs, path::Path};

use tally_core::{
    checkpoint::Checkpoint, cosignature::Timestamp, ed25519::SigningKey, note::KeyName,
};
use tempfile::TempDir;

use super::*;
use crate::{
    Cosigner, Log, NamedKey, Posix,
    log::tests::{entries, entry, log_key, storage},
};

const COUNT: u64 = 600;

fn cosigner_key() -> NamedKey {
    NamedKey::new(KeyName::parse("cosigner.example").unwrap(), SigningKey::from_seed(&[2; 32]))
}

/// A published, cosigned log of 600 entries in two batches, closed.
fn fixture() -> TempDir {
    let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let other = TempDir::new().unwrap();
    let mut log = Log::create(storage(&folder), log_key()).unwrap();
    let mut cosigner =
        Cosigner::create(Arc::new(Posix::new(other.path())), cosigner_key()).unwrap();
    cosigner.trust(log_key().log_verifier()).unwrap();
    log.append(&entries(0..300)).unwrap();
    log.append(&entries(300..COUNT)).unwrap();
    log.cosign(&mut cosigner, Timestamp::new(9).unwrap()).unwrap();
    log.publish().unwrap();
    folder
}

fn expected() -> Expected {
    Expected {
        log: log_key().log_verifier(),
        cosigners: vec![cosigner_key().cosigner_verifier()],
        seen: vec![],
    }
}

fn report(folder: &TempDir, expected: &Expected) -> Report {
    fsck(&storage(folder), expected, &mut |_| ()).unwrap()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The findings after one file was changed.
fn after(path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<Finding> {
    let folder = fixture();
    edit(&folder.path().join(path), change);
    report(&folder, &expected()).findings
}

fn only(findings: &[Finding], path: &str) -> (u64, Damage) {
    let [finding] = findings else { panic!("{findings:?}") };
    assert_eq!(finding.path, path);
    assert!(finding.to_string().starts_with(path));
    (finding.offset, finding.damage.clone())
}

#[test]
fn a_sound_log_has_no_finding_and_reports_all_that_was_verified() {
    let folder = fixture();
    let mut steps = vec![];
    let report = fsck(&storage(&folder), &expected(), &mut |step| steps.push(step)).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_sound());
    assert_eq!(report.size.get(), COUNT);
    assert_eq!(report.checkpoint_count, 3);
    assert_eq!(report.cosignature_count, 1);
    assert_eq!(report.indexed_count, COUNT);
    // Levels 0 and entries: two full and one partial each; level 1: one partial.
    assert_eq!(report.tile_count, 7);
    assert_eq!(steps.len(), 3);
    assert_eq!(steps[2].done_bytes, steps[2].total_bytes);
}

#[test]
fn fsck_changes_no_file() {
    let folder = fixture();
    let files = ["segment", "index.redb", "public/checkpoint"];
    let before = files.map(|path| fs::read(folder.path().join(path)).unwrap());
    report(&folder, &expected());
    assert_eq!(files.map(|path| fs::read(folder.path().join(path)).unwrap()), before);
}

#[test]
fn a_log_in_use_is_not_examined() {
    let folder = fixture();
    let _log = Log::open(storage(&folder), log_key(), &[]).unwrap();
    let refused = fsck(&storage(&folder), &expected(), &mut |_| ());
    assert!(matches!(refused, Err(LogError::Locked { .. })));
}

#[test]
fn any_flipped_byte_of_the_segment_is_found() {
    let folder = fixture();
    let path = folder.path().join("segment");
    let whole = fs::read(&path).unwrap();
    let places =
        (0..400).chain((400..whole.len()).step_by(997)).chain(whole.len() - 300..whole.len());
    for place in places {
        edit(&path, |bytes| bytes[place] ^= 0x10);
        let report = report(&folder, &expected());
        assert!(!report.findings.is_empty(), "byte {place}");
        assert!(!report.is_sound(), "byte {place}: {:?}", report.findings);
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_damaged_frame_before_a_checkpoint_is_no_torn_tail() {
    let findings = after("segment", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let (_, damage) = only(&findings, SEGMENT);
    assert!(matches!(damage, Damage::FrameBeforeCheckpoint { .. }), "{damage:?}");
}

#[test]
fn a_torn_or_unsigned_tail_is_residue_and_the_next_opening_clears_it() {
    let folder = fixture();
    let path = folder.path().join("segment");
    let signed_len = {
        let mut log = Log::open(storage(&folder), log_key(), &[]).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        log.append(&entries(COUNT..COUNT + 2)).unwrap();
        before + 48 + 2 * 54
    };
    // Cut inside the last checkpoint frame: two durable entries that nobody has signed.
    edit(&path, |bytes| bytes.truncate(usize::try_from(signed_len).unwrap() + 50));
    let damaged = report(&folder, &expected());
    assert!(damaged.is_sound());
    let damage: Vec<Damage> = damaged.findings.into_iter().map(|finding| finding.damage).collect();
    assert_eq!(damage, [Damage::TornTail { count: 50 }, Damage::UnsignedTail { count: 2 }]);
    let log = Log::open(storage(&folder), log_key(), &[]).unwrap();
    assert_eq!(log.size().get(), COUNT + 2);
    assert_eq!(log.checkpoint().checkpoint().size().get(), COUNT + 2);
    drop(log);
    assert_eq!(report(&folder, &expected()).findings, []);
}

#[test]
fn an_empty_or_foreign_segment_is_found() {
    let findings = after("segment", Vec::clear);
    assert_eq!(only(&findings, SEGMENT), (0, Damage::Header));
    let folder = fixture();
    let foreign = NamedKey::new(KeyName::parse("log.example/x").unwrap(), log_key().key);
    let foreign = Expected { log: foreign.log_verifier(), ..expected() };
    let findings = report(&folder, &foreign).findings;
    assert!(matches!(
        findings.iter().map(|finding| &finding.damage).collect::<Vec<_>>()[..],
        [Damage::Checkpoint(_), Damage::Origin { .. }]
    ));
}

#[test]
fn damaged_missing_and_short_tiles_are_found_with_their_place() {
    for path in ["public/tile/0/000", "public/tile/0/002.p/88", "public/tile/1/000.p/2"] {
        let findings = after(path, |bytes| bytes[33] ^= 1);
        assert_eq!(only(&findings, path), (33, Damage::TileContent { element: 1 }));
        let findings = after(path, |bytes| bytes.truncate(63));
        assert!(matches!(only(&findings, path), (63, Damage::Tile(_))));
        let findings = after(path, |bytes| bytes.push(0));
        assert!(matches!(only(&findings, path).1, Damage::Tile(_)));
    }
    for path in ["public/tile/entries/001", "public/tile/entries/002.p/88"] {
        let findings = after(path, |bytes| bytes[56 + 40] ^= 1);
        assert_eq!(only(&findings, path), (96, Damage::TileContent { element: 1 }));
        let findings = after(path, |bytes| bytes[1] ^= 1);
        assert!(matches!(only(&findings, path), (1, Damage::Tile(_))));
        let folder = fixture();
        fs::remove_file(folder.path().join(path)).unwrap();
        let findings = report(&folder, &expected()).findings;
        assert!(matches!(only(&findings, path), (0, Damage::TileMissing { .. })));
    }
}

#[test]
fn a_missing_unreadable_or_unsigned_published_checkpoint_is_found() {
    let folder = fixture();
    fs::remove_file(folder.path().join(CHECKPOINT)).unwrap();
    let findings = report(&folder, &expected()).findings;
    assert_eq!(only(&findings, CHECKPOINT), (0, Damage::CheckpointMissing));
    for change in [Vec::clear as fn(&mut Vec<u8>), |bytes| bytes[0] ^= 1, |bytes| bytes[20] ^= 1] {
        let findings = after(CHECKPOINT, change);
        assert!(matches!(only(&findings, CHECKPOINT), (0, Damage::Checkpoint(_))));
    }
}

#[test]
fn checkpoints_that_the_log_never_made_are_found_wherever_they_were_seen() {
    let folder = fixture();
    let key = log_key();
    let sign = |size: u64, root: Digest| {
        let size = TreeSize::new(size).unwrap();
        let checkpoint = Checkpoint::new(Origin::from(&key.name), size, root);
        SignedCheckpoint::sign(checkpoint, &key.name, &key.key).unwrap()
    };
    let root = Digest::of_content(b"another tree");
    for size in [300, COUNT, COUNT + 1] {
        let seen = Expected { seen: vec![sign(size, root)], ..expected() };
        let damage = only(&report(&folder, &seen).findings, SEGMENT).1;
        let size = TreeSize::new(size).unwrap();
        assert_eq!(damage, Damage::CheckpointUnknown { size, root });
    }
    fs::write(folder.path().join(CHECKPOINT), sign(COUNT, root).encode()).unwrap();
    let damage = only(&report(&folder, &expected()).findings, CHECKPOINT).1;
    assert!(matches!(damage, Damage::CheckpointUnknown { .. }));
}

#[test]
fn a_damaged_cosignature_is_found_and_an_absent_one_is_only_not_counted() {
    let folder = fixture();
    let path = folder.path().join(CHECKPOINT);
    let mut signed = SignedCheckpoint::parse(&fs::read(&path).unwrap()).unwrap();
    let mut line = signed.note().signatures()[1].clone();
    line.bytes[20] ^= 1;
    signed = SignedCheckpoint::sign(signed.checkpoint().clone(), &log_key().name, &log_key().key)
        .unwrap();
    fs::write(&path, signed.encode()).unwrap();
    let alone = report(&folder, &expected());
    assert_eq!((alone.findings, alone.cosignature_count), (vec![], 0));
    signed.push(line).unwrap();
    fs::write(&path, signed.encode()).unwrap();
    let damage = only(&report(&folder, &expected()).findings, CHECKPOINT).1;
    assert!(matches!(damage, Damage::Cosignature(_)));
}

/// The findings after `change` took the place of the index's content.
fn with_index(change: impl FnOnce(&mut Index)) -> Vec<Finding> {
    let folder = fixture();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    let mut index = Index::open(storage(&folder).as_ref()).unwrap();
    change(&mut index);
    index.commit().unwrap();
    drop(index);
    report(&folder, &expected()).findings
}

#[test]
fn an_index_that_says_something_else_is_found() {
    let other = Digest::of_content(b"no entry");
    let findings = with_index(|index| {
        index.push(LeafIndex(0), other);
        index.push(LeafIndex(1), entry(1).digest);
    });
    let damage: Vec<Damage> = findings.into_iter().map(|finding| finding.damage).collect();
    let missing =
        Damage::IndexEntry { digest: entry(0).digest, expected: LeafIndex(0), found: None };
    assert_eq!(damage, [missing, Damage::IndexLength { size: 2, expected: 1, found: 2 }]);

    // The digest of entry 1 is said to stand at 0 already.
    let findings = with_index(|index| {
        index.push(LeafIndex(0), entry(1).digest);
        index.push(LeafIndex(1), entry(0).digest);
    });
    assert!(findings.len() >= 2, "{findings:?}");
    assert!(findings.iter().any(|finding| matches!(
        finding.damage,
        Damage::IndexEntry { found: Some(LeafIndex(1)), expected: LeafIndex(0), .. }
    )));

    let findings = with_index(|index| {
        for number in 0..=COUNT {
            index.push(LeafIndex(number), entry(number).digest);
        }
    });
    let ahead = Damage::IndexAhead { size: COUNT, found: COUNT + 1 };
    assert_eq!(only(&findings, INDEX), (0, ahead));
}

#[test]
fn an_unreadable_index_is_found_and_an_absent_one_is_built_again() {
    let findings = after(INDEX, |bytes| bytes.iter_mut().for_each(|byte| *byte = 0xa5));
    assert_eq!(only(&findings, INDEX), (0, Damage::IndexUnreadable));
    let folder = fixture();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    let report = report(&folder, &expected());
    assert_eq!((report.findings, report.indexed_count), (vec![], 0));
}
