//! `model.safetensors`: every row of every tensor of an accepted file can be read, and nothing
//! allocates more than twice the file.
#![no_main]

mod allocator;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tally_engine::source::tensors::demands;
use tally_engine::source::{SourceConfig, Weights};

/// The smallest shape, so that whole files are in the fuzzer's reach.
static CONFIG: LazyLock<SourceConfig> = LazyLock::new(|| {
    SourceConfig::parse(include_bytes!("../seeds/config/smallest.json")).expect("a legal shape")
});

/// The tables of the tensors that the configuration asks for, and of a header's.
const EXTRA: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let _ = &*CONFIG;
    allocator::limit(2 * data.len() + EXTRA);
    let Ok(weights) = Weights::parse(data.to_vec(), &CONFIG) else { return };
    for (name, _) in demands(&CONFIG) {
        let tensor = weights.tensor(&name).expect("every expected tensor is there");
        let mut row = vec![];
        for index in 0..tensor.row_count() {
            let is_finite = tensor.read_row(index, &mut row).is_ok();
            assert!(!is_finite || row.len() == tensor.column_count());
        }
    }
});
