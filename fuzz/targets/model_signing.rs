//! Model Signing bundles and the statements in them: no bytes make the parsers panic, and the root of an
//! accepted statement is over as many digests as it has names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tally_attribution::model_signing::{
    RESOURCES_MAX, VerifyingKey, dangerous_parse_unsigned, verify,
};

static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let pem = include_str!("../../crates/attribution/tests/fixtures/model_signing/public.pem");
    VerifyingKey::from_pem(pem).expect("it is a key")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(model) = verify(data, &KEY) {
        assert_eq!(model.key_id, KEY.id());
    }
    let Ok(model) = dangerous_parse_unsigned(data, &KEY) else { return };
    assert!(model.resources.len() <= RESOURCES_MAX);
    for name in model.resources.keys() {
        let path = name.path();
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."));
    }
});
