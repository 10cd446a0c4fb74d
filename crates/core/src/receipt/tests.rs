//! Bundles round-trip, an independent COSE library reads them, and no neighbour parses as equal.

use alloc::collections::BTreeMap;
use std::string::ToString as _;
use std::vec;
use std::vec::Vec;

use coset::{CborSerializable as _, TaggedCborSerializable as _};

use super::*;
use crate::Digest;
use crate::cbor::{Cbor as _, CborError};
use crate::commitment::{Field, Opening, Salt};
use crate::computation::{FinishReason, Micro, SamplingParameters, SignedMicro};

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
        outcome: Outcome::Answer(Answer {
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
                    presence_penalty: SignedMicro::ZERO,
                    frequency_penalty: SignedMicro::ZERO,
                },
                seed: digest(6),
                output: digest(7),
                output_count: 8,
                finish: FinishReason::Stop,
                controls: None,
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
        outcome: Outcome::Refusal(Refusal { code: "context/length".into() }),
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
fn the_limits_are_those_of_the_specification() {
    assert_eq!(SIGNED_STATEMENT_BYTES_MAX, 17_024);
    assert_eq!((HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX), (512, 16_384));
    assert_eq!((EVIDENCE_COUNT_MAX, EVIDENCE_BYTES_MAX), (64, 1_048_576));
    assert_eq!((OPENING_BYTES_MAX, BUNDLE_BYTES_MAX), (8_388_608, 67_108_864));
}

#[test]
fn kinds_are_shown_in_words() {
    assert_eq!(EvidenceKind::Inclusion.to_string(), "log inclusion");
    assert_eq!(EvidenceKind::Unknown(77).to_string(), "unknown kind 77");
    let kinds = [Kind::Chat, Kind::Completion, Kind::Embedding];
    assert_eq!(kinds.map(|kind| kind.to_string()), ["chat", "completion", "embedding"]);
}

#[test]
fn evidence_at_its_limit_is_read_and_one_byte_more_is_rejected() {
    for (size, is_legal) in [(EVIDENCE_BYTES_MAX, true), (EVIDENCE_BYTES_MAX + 1, false)] {
        let value = vec![0; usize::try_from(size).unwrap()];
        let evidence = vec![Evidence::new(EvidenceKind::Inclusion, value)];
        let bytes = Bundle { evidence, ..bundle() }.encode();
        assert_eq!(Bundle::parse(&bytes).is_ok(), is_legal, "{size}");
    }
}

#[test]
fn labels_and_codes_never_change() {
    let answer = |seed_source, adjustments| {
        let mut answer = statement().outcome.answer().unwrap().clone();
        answer.seed_source = seed_source;
        answer.preparation.adjustments = adjustments;
        Outcome::Answer(answer)
    };
    let adjustments = vec![
        Adjustment::Added("a".into()),
        Adjustment::Dropped("b".into()),
        Adjustment::Rewrote("c".into()),
    ];
    let variants = [
        statement(),
        Statement { kind: Kind::Completion, ..statement() },
        Statement { outcome: Outcome::Refusal(Refusal { code: "a/b".into() }), ..statement() },
        Statement { outcome: answer(SeedSource::Client, adjustments), ..statement() },
        Statement { outcome: answer(SeedSource::Issuer, vec![]), ..statement() },
    ];
    let all: Vec<u8> = variants.iter().flat_map(|variant| variant.encode()).collect();
    for variant in variants {
        assert_eq!(Statement::parse(&variant.encode()), Ok(variant));
    }
    assert_eq!(
        Digest::of_content(&all).to_string(),
        "3f96a6184374fa0a800d1f275b18022000f395c86548b4e02d42225cf22f8194"
    );
}

fn embedding() -> Statement {
    let Some(answer) = statement().outcome.answer().cloned() else { return statement() };
    let claims = EmbeddingClaims {
        arithmetic: "ra-1-draft.1".into(),
        model_root: digest(4),
        input: digest(5),
        input_count: 9,
        output: digest(7),
        vector_count: 2,
    };
    let outcome = Outcome::Embedding(EmbeddingAnswer {
        computation: claims,
        preparation: Preparation { template: None, ..answer.preparation },
        response: digest(10),
    });
    Statement { kind: Kind::Embedding, outcome, ..statement() }
}

#[test]
fn embeddings_controls_and_penalties_round_trip_under_their_own_labels() {
    let mut controlled = statement().outcome.answer().unwrap().clone();
    controlled.computation.controls = Some(digest(14));
    controlled.computation.finish = FinishReason::StopString;
    controlled.computation.parameters.presence_penalty = SignedMicro::from_millionths(-1);
    controlled.computation.parameters.frequency_penalty = SignedMicro::from_millionths(2_000_000);
    let controlled = Statement { outcome: Outcome::Answer(controlled), ..statement() };
    let all: Vec<u8> =
        [embedding(), controlled.clone()].iter().flat_map(Statement::encode).collect();
    for statement in [embedding(), controlled] {
        assert_eq!(Statement::parse(&statement.encode()), Ok(statement));
    }
    assert_eq!(
        Digest::of_content(&all).to_string(),
        "1e0582081ba3c3ff47f5ff0c12f838a41b877731aabdab05a5639b3a9d317da4"
    );
}

#[test]
fn a_statement_has_exactly_one_outcome() {
    let bytes = embedding().encode();
    let label = [0x3a, 0, 1, 0x11, 0x7a];
    let tail = bytes.windows(5).position(|window| window == label).unwrap();
    let mut both = statement().encode();
    both[0] += 1;
    both.extend_from_slice(&bytes[tail..]);
    let expected = CborError::UnknownKey { map: "statement", key: -70_011 };
    assert_eq!(Statement::parse(&both), Err(expected));
    let mut neither = bytes[..tail].to_vec();
    neither[0] -= 1;
    let expected = CborError::MissingKey { map: "statement", key: -70_004 };
    assert_eq!(Statement::parse(&neither), Err(expected));
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

#[test]
fn openings_of_their_own_are_the_bundles_bytes() {
    let bundle = bundle();
    let alone = openings_to_bytes(&bundle.openings);
    assert!(bundle.encode().ends_with(&alone));
    assert_eq!(openings_from_bytes(&alone), Ok(bundle.openings));
    let longer = [alone.as_slice(), &[0]].concat();
    assert_eq!(openings_from_bytes(&longer), Err(CborError::Trailing { count: 1 }));
}
