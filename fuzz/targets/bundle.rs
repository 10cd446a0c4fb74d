//! Receipt bundles: what is accepted has one encoding, and so have the parts that it carries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::Cbor;
use tally_core::receipt::{Bundle, SignedStatement};

fuzz_target!(|data: &[u8]| {
    if let Ok(bundle) = Bundle::parse(data) {
        assert_eq!(bundle.encode(), data);
        let statement = bundle.statement.encode();
        assert_eq!(SignedStatement::parse(&statement), Ok(bundle.statement));
    }
});
