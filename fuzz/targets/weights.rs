//! `model.safetensors`: every row of every tensor of an accepted file can be read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tally_engine::source::weights::expected_tensors;
use tally_engine::source::{SourceConfig, Weights};

/// The smallest shape, so that whole files are in the fuzzer's reach.
static CONFIG: LazyLock<SourceConfig> = LazyLock::new(|| {
    SourceConfig::parse(include_bytes!("../seeds/config/smallest.json")).expect("a legal shape")
});

fuzz_target!(|data: &[u8]| {
    let Ok(weights) = Weights::parse(data.to_vec(), &CONFIG) else { return };
    for (name, _) in expected_tensors(&CONFIG) {
        let tensor = weights.tensor(&name).expect("every expected tensor is there");
        for index in 0..tensor.row_count() {
            assert_eq!(tensor.row(index).count(), tensor.column_count());
        }
    }
});
