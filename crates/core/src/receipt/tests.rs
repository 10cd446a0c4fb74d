//! Bundles round-trip, an independent COSE library reads them, and no neighbour parses as equal.

use alloc::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use coset::{CborSerializable as _, TaggedCborSerializable as _};

use super::*;
use crate::Digest;
use crate::cbor::{Cbor as _, CborError};
use crate::commitment::{Field, Opening, Salt};
use crate::computation::{FinishReason, Micro, SamplingParameters};

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn statement() -> Statement {
    Statement {
        id: [1; 16],
        nonce: Some(vec![2; 16]),
        kind: Kind::Chat,
        time_ms: 1_790_000_000_000,
        request: digest(3),
        outcome: Ok(Answer {
            computation: ComputationClaims {
                arithmetic: "ra-1-draft.1".into(),
                model_root: digest(4),
                input: digest(5),
                input_count: 9,
                parameters: SamplingParameters {
                    max_tokens: 64,
                    temperature: Micro::ONE,
                    top_k: 0,
                    top_p: Micro::ONE,
                    stop_tokens: vec![0],
                    choice: 0,
                },
                seed: digest(6),
                output: digest(7),
                output_count: 8,
                finish: FinishReason::Stop,
            },
            preparation: Preparation {
                tokenizer: digest(8),
                template: Some(digest(9)),
                adjustments: vec![Adjustment::Dropped("the oldest message".into())],
            },
            seed_source: SeedSource::Derived,
            response: digest(10),
        }),
        software: "tally/0.1.0".into(),
        price: Some(Price { asset: "USD".into(), amount: 1 }),
        attribution: Some(digest(11)),
        trace_root: Some(digest(12)),
        keyset: Some(digest(13)),
    }
}

fn bundle() -> Bundle {
    let header = ProtectedHeader::new(key_id(&[0; 32]), &[1; 16]);
    let statement = SignedStatement {
        protected: header.encode(),
        payload: statement().encode(),
        signature: [9; 64],
    };
    let opening = Opening { salt: Salt::from_bytes([4; 32]), value: b"hello".to_vec() };
    Bundle {
        statement,
        evidence: vec![
            Evidence::new(EvidenceKind::Inclusion, b"proof".to_vec()),
            Evidence { kind: EvidenceKind::Unknown(77), digest: digest(1), value: None },
        ],
        openings: BTreeMap::from([(Field::Response, opening)]),
    }
}

#[test]
fn statements_with_and_without_their_optional_claims_round_trip() {
    let full = statement();
    let bare = Statement {
        nonce: None,
        outcome: Err(Refusal { code: "context/length".into() }),
        price: None,
        attribution: None,
        trace_root: None,
        keyset: None,
        ..full.clone()
    };
    for statement in [full, bare] {
        assert_eq!(Statement::parse(&statement.encode()), Ok(statement.clone()));
        let oracle: ciborium::Value = ciborium::from_reader(statement.encode().as_slice()).unwrap();
        let mut again = vec![];
        ciborium::into_writer(&oracle, &mut again).unwrap();
        assert_eq!(again, statement.encode(), "not the canonical encoding");
    }
}

#[test]
fn a_nonce_of_7_or_65_bytes_is_rejected() {
    for (length, is_legal) in [(7, false), (8, true), (64, true), (65, false)] {
        let statement = Statement { nonce: Some(vec![0; length]), ..statement() };
        assert_eq!(Statement::parse(&statement.encode()).is_ok(), is_legal, "{length}");
    }
}

#[test]
fn another_profile_is_rejected() {
    let mut bytes = statement().encode();
    let start = bytes.windows(PROFILE.len()).position(|w| w == PROFILE.as_bytes()).unwrap();
    bytes[start + PROFILE.len() - 1] = b'2';
    assert!(matches!(Statement::parse(&bytes), Err(CborError::Value { what: "profile", .. })));
}

#[test]
fn an_independent_cose_library_reads_the_envelope_and_signs_the_same_bytes() {
    let signed = bundle().statement;
    let sign1 = coset::CoseSign1::from_tagged_slice(&signed.encode()).unwrap();
    assert_eq!(sign1.payload.as_deref(), Some(signed.payload.as_slice()));
    assert_eq!(sign1.signature, signed.signature);
    assert!(sign1.unprotected.is_empty());
    assert_eq!(
        sign1.tbs_data(&[]),
        SignedStatement::to_be_signed(&signed.protected, &signed.payload)
    );
    let header = coset::Header::from_slice(&signed.protected).unwrap();
    assert_eq!(header.key_id, key_id(&[0; 32]).as_bytes());
}

#[test]
fn bundles_round_trip_and_every_truncation_is_rejected() {
    let bytes = bundle().encode();
    assert_eq!(&bytes[1..5], b"TALY");
    assert_eq!(Bundle::parse(&bytes), Ok(bundle()));
    for length in 0..bytes.len() {
        assert!(Bundle::parse(&bytes[..length]).is_err(), "{length}");
    }
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert_eq!(Bundle::parse(&longer), Err(CborError::Trailing { count: 1 }));
}

#[test]
fn whatever_parses_after_a_flipped_bit_encodes_to_the_flipped_bytes() {
    let bytes = bundle().encode();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1 << bit;
            if let Ok(parsed) = Bundle::parse(&flipped) {
                assert_ne!(parsed, bundle());
                assert_eq!(parsed.encode(), flipped);
            }
        }
    }
}
