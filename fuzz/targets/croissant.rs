//! Croissant documents: no bytes make the parser panic, and nothing is kept beyond its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_attribution::croissant::{CroissantDataset, FILES_MAX};
use tally_attribution::licence::Licence;

fuzz_target!(|data: &[u8]| {
    let Ok(dataset) = CroissantDataset::parse(data) else { return };
    assert!(!dataset.name.is_empty());
    assert!(dataset.files.len() + dataset.not_covered.len() <= FILES_MAX);
    // Whatever was stated, what is kept is in its one spelling.
    let licence = dataset.licence.licence;
    assert_eq!(Licence::parse(licence.as_str()), Ok(licence));
});
