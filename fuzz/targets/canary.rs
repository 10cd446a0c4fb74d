//! Crashes on one word of eight bytes, so that a run can show that it follows coverage.
//!
//! Each letter stands behind its own branch: a fuzzer that sees branches finds the word letter by
//! letter in seconds, one that does not would need about 2⁶⁴ tries.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut count = 0;
    for (found, wanted) in data.iter().zip(b"receipts") {
        if std::hint::black_box(found) != wanted {
            break;
        }
        count += 1;
        depth(count);
    }
});

/// One branch for each letter found.
#[inline(never)]
fn depth(count: u32) {
    match count {
        1 => std::hint::black_box(11),
        2 => std::hint::black_box(22),
        3 => std::hint::black_box(33),
        4 => std::hint::black_box(44),
        5 => std::hint::black_box(55),
        6 => std::hint::black_box(66),
        7 => std::hint::black_box(77),
        8 => panic!("the canary fell"),
        _ => 0,
    };
}
