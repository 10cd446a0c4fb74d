//! The tlog-proof format: round trips, neighbours, limits.

use alloc::vec;

use super::*;
use crate::{
    checkpoint::{Checkpoint, Origin},
    ed25519::SigningKey,
    note::KeyName,
    tree::{TreeSize, leaf_hash, root},
};

const ENTRIES: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];

fn fixture() -> TlogProof {
    let leaves: Vec<Digest> = ENTRIES.iter().map(|entry| leaf_hash(entry)).collect();
    let name = KeyName::parse("log.example").unwrap();
    let size = TreeSize::new(5).unwrap();
    let checkpoint = Checkpoint::new(Origin::from(&name), size, root(&leaves));
    let key = SigningKey::from_seed(&[1; 32]);
    TlogProof {
        extra: None,
        index: LeafIndex(4),
        hashes: vec![root(&leaves[..4])],
        checkpoint: SignedCheckpoint::sign(checkpoint, &name, &key).unwrap(),
    }
}

fn parse(text: &str) -> Result<TlogProof, TlogProofError> {
    TlogProof::parse(text.as_bytes())
}

#[test]
fn a_proof_round_trips_with_and_without_extra() {
    for extra in [None, Some(vec![0]), Some(vec![7; EXTRA_SIZE_BYTES_MAX])] {
        let proof = TlogProof { extra, ..fixture() };
        let text = proof.encode();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\n"));
        assert_eq!(parse(&text), Ok(proof));
    }
    assert!(fixture().encode().contains("\nindex 4\n"));
}

#[test]
fn a_proof_of_the_only_leaf_has_no_hash() {
    let name = KeyName::parse("log.example").unwrap();
    let leaf = leaf_hash(b"only");
    let checkpoint = Checkpoint::new(Origin::from(&name), TreeSize::new(1).unwrap(), leaf);
    let key = SigningKey::from_seed(&[1; 32]);
    let checkpoint = SignedCheckpoint::sign(checkpoint, &name, &key).unwrap();
    let proof = TlogProof { extra: None, index: LeafIndex(0), hashes: vec![], checkpoint };
    assert!(proof.encode().starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n1\n"));
    assert_eq!(parse(&proof.encode()).as_ref(), Ok(&proof));
    assert_eq!(proof.verify_inclusion(b"only"), Ok(()));
}

#[test]
fn inclusion_holds_for_the_entry_at_the_index_alone() {
    let proof = fixture();
    for entry in ENTRIES {
        assert_eq!(proof.verify_inclusion(entry).is_ok(), entry == b"e");
    }
    for index in 0..7 {
        let moved = TlogProof { index: LeafIndex(index), ..fixture() };
        assert_eq!(moved.verify_inclusion(b"e").is_ok(), index == 4);
    }
}

#[test]
fn every_truncation_is_refused() {
    let text = TlogProof { extra: Some(vec![1, 2, 3]), ..fixture() }.encode();
    for len in 0..text.len() {
        assert!(TlogProof::parse(&text.as_bytes()[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn whatever_one_changed_bit_leaves_readable_encodes_to_the_same_bytes() {
    let text = TlogProof { extra: Some(vec![1, 2, 3]), ..fixture() }.encode();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(parsed) = TlogProof::parse(&bytes) {
                assert_eq!(parsed.encode().as_bytes(), bytes, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn malformed_proofs_have_their_own_errors() {
    let text = fixture().encode();
    let hash = encode_hash(&fixture().hashes[0]);
    assert_eq!(parse(&text.replace("@v1", "@v2")), Err(TlogProofError::Header));
    assert_eq!(parse(&text.replace("@v1\n", "@v1\r\n")), Err(TlogProofError::Header));
    for index in ["", "04", "+4", "4 ", "18446744073709551616"] {
        let bad = text.replace("index 4", &format!("index {index}"));
        assert_eq!(parse(&bad), Err(TlogProofError::Index), "{index}");
    }
    assert_eq!(parse(&text.replace("index 4\n", "")), Err(TlogProofError::Index));
    for extra in ["", "AA", "AB==", "A A="] {
        let bad = text.replace("index 4", &format!("extra {extra}\nindex 4"));
        assert_eq!(parse(&bad), Err(TlogProofError::Extra), "{extra}");
    }
    let twice = text.replace("index 4", "extra AA==\nextra AA==\nindex 4");
    assert_eq!(parse(&twice), Err(TlogProofError::Index));
    let bad = text.replace(&hash, &format!("{hash} "));
    assert_eq!(parse(&bad), Err(TlogProofError::Hash { line: 0 }));
    let unended = text.split("\n\n").next().unwrap();
    assert_eq!(parse(unended), Err(TlogProofError::NoBlankLine));
    assert_eq!(TlogProof::parse(&[0xff]), Err(TlogProofError::Utf8 { offset: 0 }));
    assert!(matches!(parse(&format!("{text}\n")), Err(TlogProofError::Checkpoint(_))));
}

#[test]
fn limits_hold_at_their_edges() {
    let hash = fixture().hashes[0];
    let at = TlogProof { hashes: vec![hash; PROOF_LEN_MAX], ..fixture() };
    assert_eq!(parse(&at.encode()), Ok(at));
    let above = TlogProof { hashes: vec![hash; PROOF_LEN_MAX + 1], ..fixture() };
    assert_eq!(parse(&above.encode()), Err(TlogProofError::HashCount));
    let above = TlogProof { extra: Some(vec![0; EXTRA_SIZE_BYTES_MAX + 1]), ..fixture() };
    assert_eq!(parse(&above.encode()), Err(TlogProofError::Extra));
    assert_eq!(TLOG_PROOF_SIZE_BYTES_MAX, 272_384);
    let found = TLOG_PROOF_SIZE_BYTES_MAX + 1;
    assert_eq!(TlogProof::parse(&vec![b'a'; found]), Err(TlogProofError::Size { found }));
    assert_eq!(
        TlogProof::parse(&vec![b'a'; TLOG_PROOF_SIZE_BYTES_MAX]),
        Err(TlogProofError::Header)
    );
}
