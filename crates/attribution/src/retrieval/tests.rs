//! Cutting, scoring and the file of passages.

use tally_core::philox::SamplerKey;

use super::*;

fn cut_texts(text: &str, bytes_max: usize) -> Vec<&str> {
    cut(text, bytes_max).into_iter().map(|range| &text[range]).collect()
}

#[test]
fn paragraphs_stay_whole_where_they_fit_and_small_ones_are_joined() {
    let text = "  one\ntwo\n\n\n three. \n \t\nfour\n";
    assert_eq!(cut_texts(text, 7), ["one\ntwo", "three.", "four"]);
    assert_eq!(cut_texts(text, 99), ["one\ntwo\n\n\n three. \n \t\nfour"]);
    assert_eq!(cut_texts("aa\n\nbb\n\ncc", 6), ["aa\n\nbb", "cc"]);
    for empty in ["", " ", "\n\n", " \n\t\r\n "] {
        assert!(cut(empty, 8).is_empty(), "{empty:?}");
    }
}

#[test]
fn a_long_paragraph_is_cut_behind_a_sentence_else_a_word_else_inside_one() {
    assert_eq!(cut_texts("One two. Three four five.", 12), ["One two.", "Three four", "five."]);
    assert_eq!(cut_texts("alpha beta gamma", 10), ["alpha beta", "gamma"]);
    assert_eq!(cut_texts("alpha beta gamma", 9), ["alpha", "beta", "gamma"]);
    assert_eq!(cut_texts("abcdefgh", 4), ["abcd", "efgh"]);
    assert_eq!(cut_texts("ééé", 5), ["éé", "é"], "characters stay whole");
    assert_eq!(cut_texts("𝕒𝕓", 0), ["𝕒", "𝕓"], "one character always fits");
}

#[test]
fn passages_hold_every_letter_once_and_none_is_too_long() {
    let alphabet = ["a", "bc", " ", "\n", "\n\n", ". ", "é", "!\u{a0}", "\u{2028}", "𝕒"];
    for seed in 0..200_u8 {
        let key = SamplerKey::from_seed(&[seed; 32]);
        let text: String =
            (0..120).map(|at| alphabet[key.word(at, 0, 0) as usize % alphabet.len()]).collect();
        for limit in [4, 5, 17, 64, 1000] {
            let ranges = cut(&text, limit);
            assert!(ranges.iter().all(|range| (1..=limit).contains(&range.len())), "{text:?}");
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            let held: String = ranges.iter().map(|range| letters(&text[range.clone()])).collect();
            assert_eq!(held, letters(&text));
            let is_trimmed =
                |range: &Range<usize>| text[range.clone()].trim() == &text[range.clone()];
            assert!(ranges.iter().all(is_trimmed));
        }
    }
}

const ONE: i32 = 1 << 24;

fn passages() -> Passages {
    let root = Digest::of_content(b"encoder");
    let mut all = Passages::new(root, "ra-1", 2).unwrap();
    assert_eq!(all.add_document("a", "first second", None), Ok(Some(0)));
    let dataset = Some(Digest::of_content(b"manifest"));
    assert_eq!(all.add_document("b", "third", dataset), Ok(Some(1)));
    assert_eq!(all.add_document("c", "third", None), Ok(None), "the text is there");
    for (passage, vector) in [
        (Passage { document: 0, start: 0, end: 5 }, [ONE, 0]),
        (Passage { document: 0, start: 6, end: 12 }, [0, -ONE]),
        (Passage { document: 1, start: 0, end: 5 }, [ONE, 0]),
    ] {
        all.add_passage(passage, &vector).unwrap();
    }
    all
}

#[test]
fn the_nearest_come_first_and_of_equals_the_one_that_was_added_first() {
    let all = passages();
    let order = |question: &[i32], count| -> Vec<(usize, i64)> {
        let near = all.nearest(question, count).unwrap();
        near.into_iter().map(|near| (near.passage, near.score)).collect()
    };
    let whole = 1_i64 << 48;
    assert_eq!(order(&[ONE, 0], 9), [(0, whole), (2, whole), (1, 0)]);
    assert_eq!(order(&[0, ONE], 9), [(0, 0), (2, 0), (1, -whole)]);
    assert_eq!(order(&[-1, -3], 1), [(1, 3 << 24)]);
    assert!(order(&[ONE, 0], 0).is_empty());
    assert_eq!(all.nearest(&[1], 1), Err(RetrievalError::Width { expected: 2, found: 1 }));
    let long = all.nearest(&[ONE + 1, 0], 1);
    assert_eq!(long, Err(RetrievalError::Component { found: ONE + 1 }));
    assert_eq!(all.passage(1).unwrap().2, "second");
}

#[test]
fn the_widest_vectors_of_the_largest_numbers_do_not_overflow() {
    let width = usize::try_from(WIDTH_MAX).unwrap();
    let mut all = Passages::new(Digest::of_content(b""), "ra-1", width).unwrap();
    all.add_document("a", "x", None).unwrap();
    let vector = vec![ONE; width];
    all.add_passage(Passage { document: 0, start: 0, end: 1 }, &vector).unwrap();
    assert_eq!(all.nearest(&vector, 1).unwrap()[0].score, 1 << 61);
    assert!(Passages::new(Digest::of_content(b""), "ra-1", width + 1).is_err());
    assert!(Passages::new(Digest::of_content(b""), "ra-1", 0).is_err());
}

#[test]
fn a_file_comes_back_and_every_other_ending_is_refused() {
    let all = passages();
    let bytes = all.encode();
    assert_eq!(Passages::parse(&bytes), Ok(all));
    for len in 0..bytes.len() {
        assert!(Passages::parse(&bytes[..len]).is_err(), "{len}");
    }
    assert!(Passages::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let with = |change: fn(&mut Passages)| {
        let mut changed = passages();
        change(&mut changed);
        Passages::parse(&changed.encode()).unwrap_err()
    };
    let text = with(|all| all.documents[0].text = "first secons".into());
    assert!(matches!(text, RetrievalError::Document { document: 0, .. }), "{text}");
    let twice = with(|all| all.documents[1] = all.documents[0].clone());
    assert!(matches!(twice, RetrievalError::Twice { .. }), "{twice}");
    for (start, end) in [(0, 6), (5, 5), (3, 2), (6, 7)] {
        let mut changed = passages();
        changed.passages[2] = Passage { document: 1, start, end };
        let refused = Passages::parse(&changed.encode());
        assert_eq!(refused, Err(RetrievalError::Passage { document: 1, start, end }));
    }
    let unknown = with(|all| all.passages[0].document = 2);
    assert!(matches!(unknown, RetrievalError::Passage { document: 2, .. }), "{unknown}");
    let short = with(|all| all.vectors.truncate(5));
    assert_eq!(short, RetrievalError::Width { expected: 6, found: 5 });
    let long = with(|all| all.vectors[3] = -ONE - 1);
    assert_eq!(long, RetrievalError::Component { found: -ONE - 1 });
}

#[test]
fn a_passage_that_would_cut_a_character_is_refused() {
    let mut all = Passages::new(Digest::of_content(b""), "ra-1", 1).unwrap();
    all.add_document("a", "é", None).unwrap();
    let passage = |end| Passage { document: 0, start: 0, end };
    assert!(all.add_passage(passage(1), &[0]).is_err());
    assert_eq!(all.add_passage(passage(2), &[0]), Ok(()));
}
