//! Opened controls, texts and vectors: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::Cbor;
use tally_core::computation::{
    Controls, SamplingParameters, inputs_from_bytes, inputs_to_bytes, vectors_from_bytes,
    vectors_to_bytes,
};
use tally_core::receipt::{openings_from_bytes, openings_to_bytes};

fuzz_target!(|data: &[u8]| {
    if let Ok(controls) = Controls::parse(data) {
        assert!(!controls.is_empty());
        assert_eq!(controls.encode(), data);
    }
    if let Ok(parameters) = SamplingParameters::parse(data) {
        assert_eq!(parameters.encode(), data);
    }
    if let Ok(inputs) = inputs_from_bytes(data) {
        assert_eq!(inputs_to_bytes(&inputs), data);
    }
    if let Ok(vectors) = vectors_from_bytes(data) {
        assert_eq!(vectors_to_bytes(&vectors), data);
    }
    if let Ok(openings) = openings_from_bytes(data) {
        assert_eq!(openings_to_bytes(&openings), data);
    }
});
