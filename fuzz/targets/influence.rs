//! Files of vectors and measurements: what is accepted has one encoding, and scores of any gradient
//! within the limits are given or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_attribution::influence::{Accuracy, Influence, Vector};

fuzz_target!(|data: &[u8]| {
    if let Ok(influence) = Influence::parse(data) {
        assert_eq!(influence.encode(), data);
        let gradient = vec![-(1 << 30); influence.vocabulary() as usize];
        if let Ok(scores) = influence.scores(&gradient) {
            assert_eq!(scores.len(), influence.families().len());
        }
    }
    // It may be refused; it must not panic.
    let _ = Accuracy::parse(data);
    let gradient: Vec<i64> = data
        .chunks_exact(8)
        .map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte)))
        .collect();
    let counts: Vec<u64> = gradient.iter().map(|number| number.unsigned_abs() % 1_000).collect();
    let _ = Vector::new(&gradient, &counts);
});
