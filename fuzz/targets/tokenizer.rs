//! `tokenizer.json`: no bytes make it panic, what is accepted encodes and decodes, and nothing
//! allocates more than twice the file and a constant for tables.
#![no_main]

mod allocator;

use libfuzzer_sys::fuzz_target;
use tally_engine::tokenizer::{Detokeniser, Piece, Tokenizer};

/// Bytes of each token are listed by id, of which there are at most 2^20, 16 bytes each.
const EXTRA: usize = 1 << 25;

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
