//! Notes against the vectors of golang.org/x/mod and against the `signed_note` crate.

use alloc::{string::ToString, vec};
use std::boxed::Box;

use super::*;

const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5nABiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

fn note(signatures: &str) -> String {
    format!("{TEXT}\n{signatures}")
}

fn parse(text: &str) -> Result<Note, NoteError> {
    Note::parse(text.as_bytes())
}

#[test]
fn signature_types_are_shown_as_their_byte() {
    assert_eq!(SignatureType::Ed25519.to_string(), "0x01");
    assert_eq!(SignatureType::CosignatureV1.to_string(), "0x04");
}

#[test]
fn the_vectors_of_the_go_implementation_hold() {
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    assert_eq!(key.encode(), PETER_KEY);
    let parsed = parse(&note(&format!("{PETER}{ENOCH}"))).unwrap();
    assert_eq!(parsed.text(), TEXT);
    assert_eq!(parsed.signatures().len(), 2);
    assert_eq!(parsed.verify(&key), Ok(()));
    assert_eq!(parsed.encode(), note(&format!("{PETER}{ENOCH}")));
    // The seed of PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz.
    let seed = hex::decode("810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173");
    let secret = SigningKey::from_seed(&seed.unwrap().try_into().unwrap());
    let mut mine = Note::new(TEXT).unwrap();
    mine.sign(&KeyName::parse("PeterNeumann").unwrap(), &secret).unwrap();
    assert_eq!(mine.encode(), note(PETER));
}

#[test]
fn the_key_of_the_go_checksum_database_parses() {
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let key = VerifierKey::parse(text).unwrap();
    assert_eq!(key.id().to_string(), "033de0ae");
    assert_eq!(key.encode(), text);
}

#[test]
fn our_notes_are_read_by_signed_note_and_the_reverse() {
    for seed in 0..8 {
        let name = KeyName::parse(&format!("log.example/{seed}")).unwrap();
        let secret = SigningKey::from_seed(&[seed; 32]);
        let key = VerifierKey::new(name.clone(), SignatureType::Ed25519, secret.public_key());
        let mut mine = Note::new("ed è subito sera.\n\nsecond paragraph\n").unwrap();
        mine.sign(&name, &secret).unwrap();
        let theirs = signed_note::Note::from_bytes(mine.encode().as_bytes()).unwrap();
        let verifier = signed_note::StandardVerifier::new(&key.encode()).unwrap();
        let list = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        assert_eq!(theirs.verify(&list).unwrap().0.len(), 1);
        let again = Note::parse(&theirs.to_bytes()).unwrap();
        assert_eq!(again, mine);
        assert_eq!(again.verify(&key), Ok(()));
    }
}

#[test]
fn whatever_one_flipped_bit_leaves_readable_is_refused_or_read_alike_by_signed_note() {
    let original = note(PETER);
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    for at in 0..original.len() {
        for bit in 0..8 {
            let mut bytes = original.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let theirs = signed_note::Note::from_bytes(&bytes);
            if let Ok(mine) = Note::parse(&bytes) {
                assert!(mine.verify(&key).is_err(), "byte {at} bit {bit}");
                assert_eq!(mine.encode().as_bytes(), bytes, "one form only");
                assert_eq!(theirs.unwrap().text(), mine.text().as_bytes());
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let original = note(PETER);
    for len in 0..original.len() {
        assert!(Note::parse(&original.as_bytes()[..len]).is_err(), "{len} bytes");
    }
    assert_eq!(parse(&format!("{original}\n")), Err(NoteError::NoSignature));
    assert_eq!(parse(&format!("{original}x")), Err(NoteError::End));
}

#[test]
fn malformed_notes_have_their_own_errors() {
    assert_eq!(Note::parse(&[0xff]), Err(NoteError::Utf8 { offset: 0 }));
    for found in [0, 9, 13, 31] {
        let text = format!("a{}\n\n{PETER}", char::from(found));
        assert_eq!(parse(&text), Err(NoteError::ControlCharacter { offset: 1, found }));
    }
    assert_eq!(parse(&format!("{TEXT}{PETER}")), Err(NoteError::NoBlankLine));
    assert_eq!(parse(&format!("{TEXT}\n")), Err(NoteError::NoSignature));
    let line = |text: &str| parse(&note(&format!("{PETER}{text}\n")));
    for bad in ["- a AAAAAAA=", "—  a AAAAAAA=", "— a", "—a AAAAAAA=", "x"] {
        assert!(
            matches!(line(bad), Err(NoteError::SignatureLine { line: 1 } | NoteError::KeyName)),
            "{bad}"
        );
    }
    for bad in ["— a+b AAAAAAA=", "— a\u{a0}b AAAAAAA=", "—  AAAAAAA="] {
        assert_eq!(line(bad), Err(NoteError::KeyName), "{bad}");
    }
    // Too short, unpadded, non-zero trailing bits, a space inside, the URL alphabet.
    for bad in ["AAAAAA==", "AAAAAAA", "AAAAAAB=", "AAA AAAA=", "AAAAAA_=", "", "AAAAAAA= "] {
        assert_eq!(
            line(&format!("— a {bad}")),
            Err(NoteError::SignatureBase64 { line: 1 }),
            "{bad}"
        );
    }
    assert!(line("— a AAAAAAA=").is_ok());
}

#[test]
fn limits_hold_at_their_edges() {
    let line = |i: usize| format!("— key{i} AAAAAAA=\n");
    let lines: String = (0..SIGNATURE_COUNT_MAX).map(line).collect();
    let full = parse(&note(&lines)).unwrap();
    assert_eq!(full.signatures().len(), SIGNATURE_COUNT_MAX);
    let more = format!("{lines}{}", line(SIGNATURE_COUNT_MAX));
    assert_eq!(parse(&note(&more)), Err(NoteError::SignatureCount));
    let mut full = full;
    let extra = NoteSignature::parse_lines(PETER).unwrap().remove(0);
    assert_eq!(full.push(extra), Err(NoteError::SignatureCount));

    let sized = |total: usize| {
        let text = "a".repeat(total - PETER.len() - 2);
        format!("{text}\n\n{PETER}")
    };
    assert!(parse(&sized(NOTE_SIZE_BYTES_MAX)).is_ok());
    let found = NOTE_SIZE_BYTES_MAX + 1;
    assert_eq!(parse(&sized(found)), Err(NoteError::Size { found }));

    assert!(KeyName::parse(&"k".repeat(KEY_NAME_SIZE_BYTES_MAX)).is_ok());
    for bad in ["", " ", "a b", "a+b", "a\nb", "a\tb", "\u{2003}", "a\0"] {
        assert_eq!(KeyName::parse(bad), Err(NoteError::KeyName), "{bad:?}");
    }
    assert_eq!(KeyName::parse(&"k".repeat(KEY_NAME_SIZE_BYTES_MAX + 1)), Err(NoteError::KeyName));
}

#[test]
fn a_known_key_must_have_signed_exactly_once() {
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    let id = key.id();
    let alone = parse(&note(ENOCH)).unwrap();
    assert_eq!(alone.verify(&key), Err(NoteError::Unsigned { key_id: id }));
    let twice = parse(&note(&format!("{PETER}{ENOCH}{PETER}"))).unwrap();
    assert_eq!(twice.verify(&key), Err(NoteError::SignedTwice { key_id: id }));
    let unknown_twice = parse(&note(&format!("{ENOCH}{PETER}{ENOCH}"))).unwrap();
    assert_eq!(unknown_twice.verify(&key), Ok(()));
    let mut once = parse(&note(PETER)).unwrap();
    let again = NoteSignature::parse_lines(PETER).unwrap().remove(0);
    assert_eq!(once.push(again), Err(NoteError::SignedTwice { key_id: id }));
}

#[test]
fn malformed_verifier_keys_are_refused() {
    assert!(matches!(
        VerifierKey::parse(&PETER_KEY.replace("c74f20a3", "c74f20a4")),
        Err(NoteError::VerifierKeyId { .. })
    ));
    for bad in [
        "",
        "a",
        "a+b",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann++74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWAA==",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(VerifierKey::parse(bad).is_err(), "{bad}");
    }
}
