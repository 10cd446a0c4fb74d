//! Checkpoints against the specification's examples and against `tlog_tiles`.

use alloc::string::ToString;

use super::*;
use crate::note::SignatureType;

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

fn text(origin: &str, size: &str, root: &str, rest: &str) -> String {
    format!("{origin}\n{size}\n{root}\n{rest}")
}

/// Both parsers decide alike, or ours is stricter for a stated reason.
fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
    let mine = Checkpoint::parse(text);
    let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
    if let Ok(mine) = &mine {
        let theirs = theirs.unwrap();
        assert_eq!(theirs.origin(), mine.origin().as_str());
        assert_eq!(theirs.size(), mine.size().get());
        assert_eq!(&theirs.hash().0, mine.root().as_bytes());
        assert_eq!(theirs.to_bytes(), text.as_bytes());
        assert_eq!(mine.encode(), text);
    }
    mine
}

#[test]
fn the_example_of_the_specification_parses_and_encodes_alike() {
    let note = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(signed.checkpoint().origin().as_str(), "example.com/behind-the-sofa");
    assert_eq!(signed.checkpoint().size().get(), 20_852_163);
    assert_eq!(signed.note().signatures().len(), 2);
    assert_eq!(signed.note().signatures()[1].bytes.len(), 72);
    assert_eq!(signed.encode(), note);
    assert_eq!(signed.checkpoint().encode(), signed.note().text());
}

#[test]
fn edge_sizes_parse_and_their_neighbours_are_refused() {
    for size in ["0", "1", "9", "10", "9223372036854775807"] {
        let checkpoint = parse(&text("o", size, ROOT, "")).unwrap();
        assert_eq!(checkpoint.size().to_string(), size);
    }
    let above = ["9223372036854775808", "18446744073709551615", "18446744073709551616"];
    let odd = ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "\u{661}", "1e3"];
    for size in above.into_iter().chain(odd) {
        let parsed = parse(&text("o", size, ROOT, ""));
        assert_eq!(parsed, Err(CheckpointError::TreeSize), "{size}");
    }
}

#[test]
fn roots_that_are_no_canonical_base64_of_32_bytes_are_refused() {
    let roots = [
        "",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=",
        "CsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2Jx",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= ",
    ];
    for root in roots {
        assert_eq!(parse(&text("o", "1", root, "")), Err(CheckpointError::Root), "{root}");
    }
}

#[test]
fn too_few_lines_and_a_missing_newline_are_refused() {
    for (bad, found) in [("", 0), ("\n", 1), ("o\n", 1), ("o\n1\n", 2)] {
        assert_eq!(parse(bad), Err(CheckpointError::Lines { found }), "{bad:?}");
    }
    let unended = format!("o\n1\n{ROOT}");
    assert_eq!(parse(&unended), Err(CheckpointError::Lines { found: 0 }));
}

#[test]
fn origins_have_one_to_255_bytes_and_no_control_character() {
    assert!(parse(&text(&"o".repeat(255), "1", ROOT, "")).is_ok());
    assert!(parse(&text("go.sum database tree", "1", ROOT, "")).is_ok());
    for bad in ["", "a\tb", "a\rb"] {
        assert_eq!(parse(&text(bad, "1", ROOT, "")), Err(CheckpointError::Origin), "{bad:?}");
    }
    let long = "o".repeat(256);
    assert_eq!(parse(&text(&long, "1", ROOT, "")), Err(CheckpointError::Origin));
}

#[test]
fn extension_lines_are_kept_and_limited() {
    let checkpoint = parse(&text("o", "1", ROOT, "first\nsecond line\n")).unwrap();
    assert_eq!(checkpoint.extensions(), ["first", "second line"]);
    let parsed = parse(&text("o", "1", ROOT, "\n"));
    assert_eq!(parsed, Err(CheckpointError::ExtensionLine { line: 0, found: 0 }));
    let parsed = parse(&text("o", "1", ROOT, "a\n\nb\n"));
    assert_eq!(parsed, Err(CheckpointError::ExtensionLine { line: 1, found: 0 }));
    assert!(parse(&text("o", "1", ROOT, &"x\n".repeat(EXTENSION_COUNT_MAX))).is_ok());
    let found = EXTENSION_COUNT_MAX + 1;
    let parsed = parse(&text("o", "1", ROOT, &"x\n".repeat(found)));
    assert_eq!(parsed, Err(CheckpointError::ExtensionCount { found }));
    let longest = "x".repeat(EXTENSION_SIZE_BYTES_MAX);
    assert!(parse(&text("o", "1", ROOT, &format!("{longest}\n"))).is_ok());
    let parsed = parse(&text("o", "1", ROOT, &format!("{longest}x\n")));
    let found = EXTENSION_SIZE_BYTES_MAX + 1;
    assert_eq!(parsed, Err(CheckpointError::ExtensionLine { line: 0, found }));
}

#[test]
fn a_checkpoint_verifies_under_its_own_origin_and_key_alone() {
    let name = KeyName::parse("log.example").unwrap();
    let key = SigningKey::from_seed(&[3; 32]);
    let verifier = VerifierKey::new(name.clone(), SignatureType::Ed25519, key.public_key());
    let checkpoint = Checkpoint::new(Origin::from(&name), TreeSize::ZERO, Digest::of_content(b""));
    let signed = SignedCheckpoint::sign(checkpoint, &name, &key).unwrap();
    let origin = Origin::from(&name);
    assert_eq!(signed.verify(&origin, &verifier), Ok(()));
    let other = Origin::parse("log.example2").unwrap();
    assert_eq!(
        signed.verify(&other, &verifier),
        Err(CheckpointError::OtherOrigin { expected: other, found: origin.clone() })
    );
    let stranger = SigningKey::from_seed(&[4; 32]).public_key();
    let stranger = VerifierKey::new(name, SignatureType::Ed25519, stranger);
    assert!(matches!(
        signed.verify(&origin, &stranger),
        Err(CheckpointError::Note(NoteError::Unsigned { .. }))
    ));
}

#[test]
fn no_changed_byte_of_a_signed_checkpoint_verifies() {
    let name = KeyName::parse("log.example").unwrap();
    let key = SigningKey::from_seed(&[3; 32]);
    let verifier = VerifierKey::new(name.clone(), SignatureType::Ed25519, key.public_key());
    let size = TreeSize::new(12).unwrap();
    let checkpoint = Checkpoint::new(Origin::from(&name), size, Digest::of_content(b""));
    let original = SignedCheckpoint::sign(checkpoint, &name, &key).unwrap().encode();
    for at in 0..original.len() {
        for bit in 0..8 {
            let mut bytes = original.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(parsed) = SignedCheckpoint::parse(&bytes) {
                assert!(parsed.verify(&Origin::from(&name), &verifier).is_err(), "byte {at}");
            }
        }
    }
}
