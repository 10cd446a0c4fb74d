//! `config.json` and `tokenizer_config.json` of a folder to import: no bytes make them panic.
#![no_main]

mod allocator;

use libfuzzer_sys::fuzz_target;
use tally_engine::source::safetensors::parse_index;
use tally_engine::source::{Decimal, SourceConfig, SourceText};

/// What parsers and errors allocate for anything at all.
const EXTRA: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    allocator::limit(2 * data.len() + EXTRA);
    let _ = parse_index(data);
    if let Ok(config) = SourceConfig::parse(data) {
        assert_eq!(SourceConfig::parse(data), Ok(config));
    }
    let _ = SourceText::parse(Some(data), None);
    let _ = SourceText::parse(None, Some(data.to_vec()));
    if let Ok(text) = str::from_utf8(data) {
        let _ = Decimal::parse(text).map(Decimal::fixed);
    }
});
