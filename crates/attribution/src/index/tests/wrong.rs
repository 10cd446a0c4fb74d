//! Arrays that are none, trees that are not theirs, and what refutes them.

use super::*;

/// An index of these documents with another array than theirs, all hashes made of it.
fn with_array(texts: &[Vec<u8>], change: impl FnOnce(&mut Vec<u32>)) -> Index {
    let folder = Folder::new();
    let builder = builder_of(texts);
    let mut array = array::sort(&builder.text).unwrap();
    change(&mut array);
    builder.write_with(&folder.path(), &array).unwrap();
    Index::open(&folder.path()).unwrap()
}

fn texts() -> Vec<Vec<u8>> {
    vec![Draw(4, 0).text(900, 2), Draw(5, 0).text(900, 3), b"banana".to_vec()]
}

#[test]
fn every_wrong_array_is_found_and_refuted() {
    let right = Folder::new().build(&texts());
    assert!(refute(&right).is_none());
    let size = right.entries().len();
    let mut draw = Draw(7, 7);
    for round in 0..400 {
        let (at, other) = (draw.below(size), draw.below(size));
        let wrong = with_array(&texts(), |array| match round % 5 {
            0 => array.swap(at, (at + 1) % size),
            1 => array.swap(at, other),
            2 => array[at] = array[other],
            3 => array[at] = u32::try_from(size + other).unwrap(),
            _ => array[at..].rotate_left(1),
        });
        let is_right = wrong.entries() == right.entries();
        let found = array::verify(wrong.texts(), wrong.entries(), &mut |_| ());
        assert_eq!(found.is_ok(), is_right, "round {round}, {at} and {other}");
        let Some(refutation) = refute(&wrong) else {
            assert!(is_right);
            continue;
        };
        assert_eq!(refutation.verify(&wrong.root()), Ok(()), "round {round}");
        assert!(refutation.verify(&right.root()).is_err());
        let error = wrong.verify(&mut |_| ()).unwrap_err();
        assert!(matches!(error, IndexError::Array(_)), "{error}");
    }
}

#[test]
fn an_array_that_nobody_verified_may_answer_wrongly_and_never_panics() {
    let mut draw = Draw(8, 8);
    let output = [&texts()[0][..200], b"banana", &texts()[1][300..500]].concat();
    for _ in 0..50 {
        let wrong = with_array(&texts(), |array| {
            for entry in array.iter_mut() {
                if draw.below(3) == 0 {
                    *entry = u32::try_from(draw.below(4_000)).unwrap();
                }
            }
        });
        for window in [1, 8, 32] {
            let _ = Ownership::of(&output, window, &Shards(std::slice::from_ref(&wrong)));
            let _ = prove(std::slice::from_ref(&wrong), &output, window);
        }
        let _ = wrong.longest(b"banana");
    }
}

#[test]
fn a_wrong_array_is_named_at_the_first_place_that_contradicts() {
    let fault = |text: &[u8], array: &[u32]| array::verify(text, array, &mut |_| ()).unwrap_err();
    // The suffixes of `banana` begin at 5, 3, 1, 0, 4, 2 in their order.
    assert_eq!(array::verify(b"banana", &[5, 3, 1, 0, 4, 2], &mut |_| ()), Ok(()));
    assert_eq!(array::verify(b"", &[], &mut |_| ()), Ok(()));
    assert_eq!(fault(b"banana", &[5, 3]), ArrayFault::Length { expected: 6, found: 2 });
    let order = ArrayFault::Order { place: 0, expected: 5, found: 3 };
    assert_eq!(fault(b"banana", &[3, 5, 1, 0, 4, 2]), order);
    let order = ArrayFault::Order { place: 3, expected: 0, found: 6 };
    assert_eq!(fault(b"banana", &[5, 3, 1, 6, 4, 2]), order);
    assert_eq!(fault(b"ab", &[5, 1]), ArrayFault::Outside { place: 0, found: 5, size: 2 });
    let order = ArrayFault::Order { place: 4, expected: 4, found: 0 };
    assert_eq!(fault(b"banana", &[5, 3, 1, 4, 0, 2]), order);
    // The whole text twice.
    assert!(matches!(fault(b"aa", &[0, 0]), ArrayFault::Order { .. }));
    assert!(matches!(fault(b"ab", &[0, 0]), ArrayFault::Order { .. }));
}

#[test]
fn every_array_of_a_short_text_but_one_is_wrong() {
    let mut right = 0;
    for text in [&b"abaab"[..], b"aaaaa", b"babab", b"edcba", b"\xff\x00\xff\x00a"] {
        for number in 0..6_u32.pow(5) {
            let array: Vec<u32> = (0..5).map(|at| number / 6_u32.pow(at) % 6).collect();
            let mut sorted: Vec<u32> = (0..5).collect();
            sorted.sort_by_key(|at| &text[*at as usize..]);
            let found = array::verify(text, &array, &mut |_| ());
            assert_eq!(found.is_ok(), array == sorted, "{array:?}");
            right += u32::from(found.is_ok());
        }
    }
    assert_eq!(right, 5);
}

#[test]
fn every_byte_of_the_sections_is_verified() {
    let folder = Folder::new();
    let index = folder.build(&[
        b"a few words".to_vec(),
        Draw(1, 1).text(900, 3),
        b"some more words".to_vec(),
    ]);
    let file = std::fs::read(folder.path()).unwrap();
    let names = index.range(file::Section::Names);
    let records = index.range(file::Section::Documents);
    // The end of a name stands in a record, and does not enter the root either.
    let is_name = |at: usize| {
        names.contains(&at)
            || (records.contains(&at)
                && (12..16).contains(&((at - records.start) % file::DOCUMENT_BYTES)))
    };
    for section in file::SECTIONS {
        let range = index.range(section);
        for at in range.clone().step_by(if range.len() > 2_000 { 5 } else { 1 }) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let other = Folder::new();
            std::fs::write(other.path(), changed).unwrap();
            let found = Index::open(&other.path()).and_then(|index| {
                index.verify(&mut |_| ())?;
                Ok(index.root())
            });
            match found {
                Err(_) => {}
                Ok(_) if is_name(at) => {}
                Ok(root) => assert_ne!(root, index.root(), "byte {at} of {section:?}"),
            }
        }
    }
}

#[test]
fn a_flipped_byte_of_what_a_proof_shows_is_never_accepted() {
    let mut draw = Draw(2, 2);
    let texts: Vec<Vec<u8>> = (0..4).map(|_| draw.text(1_500, 3)).collect();
    let output = [&texts[2][..50], b"zz", &texts[1][..60]].concat();
    let shards = vec![Folder::new().build(&texts)];
    let case = Case { texts: Plain(vec![texts]), shards, output, window: 12, draw };
    let traced = prove(&case.shards, &case.output, case.window).unwrap();
    verified(&case, &traced, &traced.proof).unwrap();
    let bytes = traced.proof.encode();
    let mut others = 0;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok(proof) = TraceProof::parse(&flipped) else { continue };
        // An item may become another true one that shows the same; nothing that is shown changes.
        if verified(&case, &traced, &proof).is_ok() {
            assert_eq!(proof.shards[0].excerpt, traced.proof.shards[0].excerpt, "byte {at}");
            others += 1;
        }
    }
    assert!(others < 20, "{others}");
}
