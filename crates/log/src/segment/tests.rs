//! Whole frames that say something wrong: each is named, with its place.

use tally_core::{
    checkpoint::{Checkpoint, Origin},
    tree::{LeafIndex, NodeId},
};
use tempfile::TempDir;

use super::*;
use crate::{
    NamedKey, Posix,
    log::tests::{entry, log_key},
};

#[derive(Default)]
struct Nobody;

impl Observer for Nobody {
    fn leaf(&mut self, _leaf: Leaf<'_>) -> Result<(), LogError> {
        Ok(())
    }

    fn node(&mut self, _id: NodeId, _hash: Digest) {}

    fn checkpoint(&mut self, _signed: &SignedCheckpoint, _end: u64, _file_size: u64) {}
}

fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

fn root(count: u64) -> Digest {
    let leaf = |number: u64| tally_core::tree::leaf_hash(&entry(number).encode());
    tally_core::tree::root(&(0..count).map(leaf).collect::<Vec<_>>())
}

fn sign(key: &NamedKey, at: u64, root: Digest) -> Vec<u8> {
    let checkpoint = Checkpoint::new(Origin::from(&key.name), size(at), root);
    SignedCheckpoint::sign(checkpoint, &key.name, &key.key).unwrap().encode().into_bytes()
}

/// A segment made of these frames: what its replay says.
fn replayed(frames: &[(Kind, u64, Vec<u8>)], tail: &[u8]) -> Result<Replayed, LogError> {
    let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let mut bytes = Vec::new();
    for (kind, at, payload) in frames {
        bytes.extend(frame(bytes.len() as u64, *kind, size(*at), payload).unwrap());
    }
    bytes.extend_from_slice(tail);
    std::fs::write(folder.path().join(SEGMENT), bytes).unwrap();
    let segment = Segment::open(&Posix::new(folder.path())).unwrap();
    replay(segment.file(), &log_key().log_verifier(), Signatures::Every, &mut Nobody)
}

fn header() -> (Kind, u64, Vec<u8>) {
    (Kind::Header, 0, log_key().log_verifier().encode().into_bytes())
}

fn checkpoint(at: u64) -> (Kind, u64, Vec<u8>) {
    (Kind::Checkpoint, at, sign(&log_key(), at, root(at)))
}

fn batch(range: core::ops::Range<u64>) -> (Kind, u64, Vec<u8>) {
    let end = range.end;
    (Kind::Entries, end, range.flat_map(|number| entry(number).encode()).collect())
}

fn damage(frames: &[(Kind, u64, Vec<u8>)]) -> Damage {
    match replayed(frames, &[]) {
        Err(LogError::Damaged { path, offset, damage }) => {
            assert_eq!(path, SEGMENT);
            let last = frames.len() - 1;
            let before: usize =
                frames[..last].iter().map(|(_, _, payload)| 48 + payload.len()).sum();
            assert_eq!(offset, before as u64, "the last frame is to blame");
            damage
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_has_48_bytes_before_its_payload() {
    let bytes = frame(7, Kind::Entries, size(0x0102), b"payload").unwrap();
    assert_eq!(&bytes[..16], b"TLYe\0\0\0\x07\0\0\0\0\0\0\x01\x02");
    let mut hashed = b"tally/frame/v1\0\0\0\0\0\0\0\0\x07".to_vec();
    hashed.extend_from_slice(&bytes[..16]);
    hashed.extend_from_slice(b"payload");
    assert_eq!(&bytes[16..48], Digest::of_content(&hashed).as_bytes());
    assert_eq!(&bytes[48..], b"payload");
}

#[test]
fn a_segment_replays_to_its_tree() {
    let frames = [header(), checkpoint(0), batch(0..3), checkpoint(3), batch(3..4), checkpoint(4)];
    let replayed = replayed(&frames, &[]).unwrap();
    assert_eq!(replayed.frontier.size(), size(4));
    assert_eq!(replayed.frontier.root(), root(4));
    assert!(!replayed.is_unsigned());
    let sizes: Vec<u64> = frames.iter().map(|(_, _, payload)| 48 + payload.len() as u64).collect();
    assert_eq!(replayed.end, sizes.iter().sum::<u64>());
    assert_eq!(replayed.uncertain_from, sizes[..4].iter().sum::<u64>());
}

#[test]
fn frames_out_of_order_are_damage() {
    for frames in [
        vec![checkpoint(0)],
        vec![batch(0..1)],
        vec![header(), header()],
        vec![header(), batch(0..1)],
        vec![header(), checkpoint(0), checkpoint(0)],
        vec![header(), checkpoint(0), header()],
        vec![header(), checkpoint(0), batch(0..1), batch(1..2)],
    ] {
        assert_eq!(damage(&frames), Damage::FrameKind, "{frames:?}");
    }
}

#[test]
fn entry_frames_with_odd_payloads_or_sizes_are_damage() {
    let after = |frame| damage(&[header(), checkpoint(0), frame]);
    assert_eq!(after((Kind::Entries, 0, vec![])), Damage::FramePayload { found: 0 });
    let (_, _, mut bytes) = batch(0..2);
    bytes.pop();
    assert_eq!(after((Kind::Entries, 2, bytes)), Damage::FramePayload { found: 107 });
    let (_, _, bytes) = batch(0..2);
    for stated in [0, 1, 3] {
        let found = after((Kind::Entries, stated, bytes.clone()));
        assert_eq!(found, Damage::FrameSize { stated, computed: 2 });
    }
    let mut bad = bytes;
    bad[54] ^= 1;
    let found = after((Kind::Entries, 2, bad));
    assert!(matches!(found, Damage::Entry { index: LeafIndex(1), .. }), "{found:?}");
}

#[test]
fn checkpoint_frames_that_do_not_fit_the_entries_are_damage() {
    let after = |frame| damage(&[header(), checkpoint(0), batch(0..2), frame]);
    let wrong_size = (Kind::Checkpoint, 2, sign(&log_key(), 3, root(2)));
    assert_eq!(after(wrong_size), Damage::FrameSize { stated: 3, computed: 2 });
    let wrong_root = (Kind::Checkpoint, 2, sign(&log_key(), 2, root(3)));
    let found = after(wrong_root);
    assert_eq!(found, Damage::Root { size: size(2), stated: root(3), computed: root(2) });
    let stranger = NamedKey::new(log_key().name, crate::log::tests::key("x", 9).key);
    let wrong_key = (Kind::Checkpoint, 2, sign(&stranger, 2, root(2)));
    assert!(matches!(after(wrong_key), Damage::Checkpoint(_)));
    let garbage = (Kind::Checkpoint, 2, b"garbage".to_vec());
    assert!(matches!(after(garbage), Damage::Checkpoint(_)));
}

#[test]
fn headers_of_others_or_of_nobody_are_damage() {
    let stranger = crate::log::tests::key("log.example/other", 1).log_verifier();
    let found = damage(&[(Kind::Header, 0, stranger.encode().into_bytes())]);
    assert!(matches!(found, Damage::Origin { .. }));
    assert_eq!(damage(&[(Kind::Header, 0, b"nobody".to_vec())]), Damage::Header);
    let alone = replayed(&[header()], &[]);
    assert!(matches!(alone, Err(LogError::Damaged { damage: Damage::Header, .. })));
}

#[test]
fn any_torn_tail_is_cut_where_the_last_whole_frame_ends() {
    let frames = [header(), checkpoint(0), batch(0..3), checkpoint(3)];
    let end: u64 = frames.iter().map(|(_, _, payload)| 48 + payload.len() as u64).sum();
    let (_, _, payload) = batch(3..5);
    let next = frame(end, Kind::Entries, size(5), &payload).unwrap();
    for len in 0..=next.len() {
        let replayed = replayed(&frames, &next[..len]).unwrap();
        let whole = len == next.len();
        assert_eq!(replayed.end, if whole { end + len as u64 } else { end }, "{len} bytes");
        assert_eq!(replayed.frontier.size(), size(if whole { 5 } else { 3 }));
        assert_eq!(replayed.is_unsigned(), whole);
    }
    for tail in [&[0; 5000][..], b"TLYc", b"TLYcTLYcTLYcTLYcTLYcTLYcTLYcTLYc"] {
        assert_eq!(replayed(&frames, tail).unwrap().end, end);
    }
    // A frame that was whole at another place is whole nowhere else.
    let moved = frame(end + 1, Kind::Checkpoint, size(3), &checkpoint(3).2).unwrap();
    assert_eq!(replayed(&frames, &moved).unwrap().end, end);
}

#[test]
fn a_checkpoint_behind_a_gap_of_any_length_shows_damage() {
    let frames = [header(), checkpoint(0)];
    let end: u64 = frames.iter().map(|(_, _, payload)| 48 + payload.len() as u64).sum();
    // The gaps put the magic across the borders of the reader's window.
    let window: usize = 1024 * 1024;
    for gap in [1, 2, 3, 4, 100, window - 4, window - 3, window - 2, window - 1, window, window + 1]
    {
        let mut tail = vec![b'T'; gap];
        let start = end + gap as u64;
        tail.extend(frame(start, Kind::Checkpoint, size(3), &checkpoint(3).2).unwrap());
        let found = replayed(&frames, &tail);
        assert!(
            matches!(
                found,
                Err(LogError::Damaged {
                    offset,
                    damage: Damage::FrameBeforeCheckpoint { checkpoint_offset },
                    ..
                }) if offset == end && checkpoint_offset == start
            ),
            "gap {gap}: {found:?}"
        );
    }
}
