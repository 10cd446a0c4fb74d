//! GGUF files: every row of every tensor of an accepted file can be read, its tokenizer loads or is
//! refused, and nothing allocates more than twice the file.
#![no_main]

mod allocator;

use libfuzzer_sys::fuzz_target;
use tally_engine::source::gguf::Contents;
use tally_engine::source::tensors::demands;
use tally_engine::tokenizer::Tokenizer;

/// The synthesised tokenizer may exceed its file by 1 MiB, and a growing buffer has twice its size.
const EXTRA: usize = 1 << 22;

fuzz_target!(|data: &[u8]| {
    allocator::limit(2 * data.len() + EXTRA);
    let Ok(contents) = Contents::parse(data.to_vec()) else { return };
    let mut row = vec![];
    for (name, _) in demands(&contents.config) {
        let tensor = contents.weights.tensor(&name).expect("every demanded tensor is there");
        for index in 0..tensor.row_count() {
            let is_finite = tensor.read_row(index, &mut row).is_ok();
            assert!(!is_finite || row.len() == tensor.column_count());
        }
    }
    allocator::limit(usize::MAX);
    let _ = Tokenizer::parse(&contents.tokenizer);
});
