//! Files of passages: what is accepted is written back byte for byte, its passages are found; and any text is
//! cut into passages within their limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_attribution::retrieval::{Passages, cut};

fuzz_target!(|data: &[u8]| {
    if let Ok(passages) = Passages::parse(data) {
        assert_eq!(passages.encode(), data);
        let near = passages.nearest(&vec![1; passages.width()], 3).expect("it has the width");
        assert_eq!(near.len(), passages.passages().len().min(3));
        assert!(near.iter().all(|it| passages.passage(it.passage).is_some()));
    }
    let Some((limit, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let limit = usize::from(*limit).max(4);
    let mut last = 0;
    for range in cut(text, limit) {
        assert!(range.start >= last && (1..=limit).contains(&range.len()));
        assert!(text[last..range.start].trim().is_empty());
        last = range.end;
    }
    assert!(text[last..].trim().is_empty());
});
