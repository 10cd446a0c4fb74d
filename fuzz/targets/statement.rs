//! The signed statement's payload and header: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::Cbor;
use tally_core::receipt::{ProtectedHeader, Statement};

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.encode(), data);
    }
    if let Ok(header) = ProtectedHeader::parse(data) {
        assert_eq!(header.encode(), data);
    }
});
