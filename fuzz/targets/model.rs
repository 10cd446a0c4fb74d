//! Model files: what is accepted has one root, and its parts lie inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_engine::Model;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::parse(data) else { return };
    for part in &model.manifest().parts {
        assert!(model.part(&part.name).is_some_and(|bytes| bytes.len() <= data.len()));
    }
    let again = Model::parse(data).expect("the same bytes");
    assert_eq!(again.root(), model.root());
});
