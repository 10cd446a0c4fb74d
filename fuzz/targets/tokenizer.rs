//! `tokenizer.json`: no bytes make its parser panic, what is accepted encodes and decodes a short
//! text, and no one allocation is larger than twice the file and a constant for tables.
//!
//! Long texts are no matter of this target: which stages may run on them is a list, whose every
//! entry the engine's own tests run on the longest text.
#![no_main]

mod allocator;

use libfuzzer_sys::fuzz_target;
use tally_engine::tokenizer::{Detokeniser, Piece, Tokenizer};

/// Tables of texts, ids and merges, of which there are at most 2^20 each, 64 bytes each.
const EXTRA: usize = 1 << 26;

fuzz_target!(|data: &[u8]| {
    allocator::limit(2 * data.len() + EXTRA);
    let Ok(tokenizer) = Tokenizer::parse(data) else { return };
    let text = "a ab\u{e9} 12\n<s>";
    let _ = tokenizer.encode_sentence(text, 4);
    let pieces = [Piece::Template(text.to_owned()), Piece::Content(text.to_owned())];
    let Ok(tokens) = tokenizer.encode_pieces(&pieces) else { return };
    let Ok(whole) = tokenizer.decode(&tokens) else { return };
    let (mut stream, mut detokeniser) = (String::new(), Detokeniser::default());
    for token in tokens {
        stream += &detokeniser.push(&tokenizer, token).expect("it was decoded");
    }
    assert_eq!(stream + &detokeniser.finish(), whole);
});
