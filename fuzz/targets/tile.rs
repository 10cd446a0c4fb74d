//! Tile paths, hash tiles and entry bundles: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::tile::{Tile, encode_hashes, parse_entries, parse_hashes, push_entry};

fuzz_target!(|data: &[u8]| {
    if let Some(tile) = str::from_utf8(data).ok().and_then(|text| Tile::parse(text).ok()) {
        assert_eq!(tile.to_string().as_bytes(), data);
    }
    let Some(([low, high], body)) = data.split_first_chunk::<2>() else { return };
    let width = u16::from_be_bytes([*high, *low]);
    if let Ok(hashes) = parse_hashes(body, width) {
        assert_eq!(encode_hashes(&hashes), body);
    }
    if let Ok(entries) = parse_entries(body, width) {
        let mut bundle = Vec::new();
        for entry in entries {
            push_entry(&mut bundle, entry).expect("an entry that was read can be written");
        }
        assert_eq!(bundle, body);
    }
});
