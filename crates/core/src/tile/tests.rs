//! Tile paths and bytes against the specification's examples and `tlog_tiles`.

use alloc::vec;

use super::*;

fn tile(kind: TileKind, index: u64, width: u16) -> Tile {
    Tile::new(kind, index, width).unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        (TileKind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067"),
        (TileKind::Hashes(0), 1_234, 5, "tile/0/x001/234.p/5"),
        (TileKind::Hashes(7), 0, 255, "tile/7/000.p/255"),
        (TileKind::Hashes(1), 999, 256, "tile/1/999"),
        (TileKind::Hashes(1), 1_000, 1, "tile/1/x001/000.p/1"),
        (TileKind::Entries, 0, 1, "tile/entries/000.p/1"),
        (TileKind::Entries, 1_000_000, 256, "tile/entries/x001/x000/000"),
        (TileKind::Entries, u64::MAX, 256, "tile/entries/x018/x446/x744/x073/x709/x551/615"),
    ];
    for (kind, index, width, path) in cases {
        assert_eq!(tile(kind, index, width).to_string(), path);
        assert_eq!(Tile::parse(path), Ok(tile(kind, index, width)));
        assert_eq!(tile(kind, index, width).index(), index);
    }
}

#[test]
fn paths_agree_with_tlog_tiles() {
    for level in 0..=TILE_LEVEL_MAX {
        for index in [0, 1, 9, 10, 99, 999, 1_000, 999_999, 1_000_000, 123_456_789] {
            for width in [1, 2, 99, 255, 256] {
                let theirs = tlog_tiles::Tile::new(8, level, index, u32::from(width), false);
                let mine = tile(TileKind::Hashes(level), index, width);
                assert_eq!(theirs.path().replacen("tile/8/", "tile/", 1), mine.to_string());
            }
        }
    }
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    let bad = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "/tile/0/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000/",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/5/",
        "tile/0/000.P/5",
        "tile/0/../000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/0a0",
        "tile/0/+00",
    ];
    for path in bad {
        assert!(Tile::parse(path).is_err(), "{path}");
    }
    let level = Tile::new(TileKind::Hashes(8), 0, 1);
    assert_eq!(level, Err(TileError::Level { found: 8 }));
    for found in [0, 257] {
        assert_eq!(Tile::new(TileKind::Entries, 0, found), Err(TileError::Width { found }));
    }
}

#[test]
fn the_tiles_of_a_tree_are_those_of_the_specification() {
    let at = |kind, index, size| Tile::in_tree(kind, index, TreeSize::new(size).unwrap());
    let level = TileKind::Hashes;
    assert_eq!(at(level(0), 272, 70_000), Some(tile(level(0), 272, 256)));
    assert_eq!(at(level(0), 273, 70_000), Some(tile(level(0), 273, 112)));
    assert_eq!(at(level(0), 274, 70_000), None);
    assert_eq!(at(level(1), 0, 70_000), Some(tile(level(1), 0, 256)));
    assert_eq!(at(level(1), 1, 70_000), Some(tile(level(1), 1, 17)));
    assert_eq!(at(level(2), 0, 70_000), Some(tile(level(2), 0, 1)));
    assert_eq!(at(level(3), 0, 70_000), None);
    assert_eq!(at(level(0), 0, 256), Some(tile(level(0), 0, 256)));
    assert_eq!(at(level(1), 0, 256), Some(tile(level(1), 0, 1)));
    assert_eq!(at(level(0), 1, 256), None);
    assert_eq!(at(level(0), 0, 0), None);
    assert_eq!(at(TileKind::Entries, 0, 255), Some(tile(TileKind::Entries, 0, 255)));
    let top = Tile::in_tree(level(7), 0, TreeSize::MAX).unwrap();
    assert_eq!(top.width(), 127);
}

#[test]
fn hash_tiles_round_trip_and_refuse_other_sizes() {
    let hashes: Vec<Digest> = (0..=255).map(|i| Digest::of_content(&[i])).collect();
    for width in [1_u16, 2, 255, 256] {
        let bytes = encode_hashes(&hashes[..usize::from(width)]);
        assert_eq!(parse_hashes(&bytes, width).unwrap(), hashes[..usize::from(width)]);
        assert!(parse_hashes(&bytes[1..], width).is_err());
        assert!(parse_hashes(&bytes, width + 1).is_err());
    }
}

#[test]
fn entry_bundles_round_trip_and_refuse_neighbours() {
    let entries = [vec![], vec![1], vec![2; 300], vec![3; ENTRY_SIZE_BYTES_MAX]];
    let mut bundle = vec![];
    for entry in &entries {
        push_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(parse_entries(&bundle, 4).unwrap(), entries);
    assert_eq!(parse_entries(&bundle, 3), Err(TileError::EntryCount { expected: 3, found: 4 }));
    assert_eq!(parse_entries(&bundle, 5), Err(TileError::EntryCount { expected: 5, found: 4 }));
    let short = &bundle[..bundle.len() - 1];
    assert_eq!(parse_entries(short, 4), Err(TileError::Truncated { entry: 3 }));
    bundle.push(0);
    assert_eq!(parse_entries(&bundle, 5), Err(TileError::Truncated { entry: 4 }));
    let found = ENTRY_SIZE_BYTES_MAX + 1;
    assert_eq!(push_entry(&mut bundle, &vec![0; found]), Err(TileError::EntrySize { found }));
}
