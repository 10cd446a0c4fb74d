//! Stop strings over the borders of tokens and characters, held against a search of the whole.

use tally_core::philox::SamplerKey;

use crate::language::tests::{default_model, tiny};
use crate::language::{Language, LanguageError};
use crate::tokenizer::TokenizerError;

/// What a stream gives out in all, and the index of the token that stopped it.
fn streamed(language: &Language, tokens: &[u32], stops: &[String]) -> (String, Option<usize>) {
    let (mut stream, mut text, mut stopped_at) = (language.stream(stops), String::new(), None);
    for (at, token) in tokens.iter().enumerate() {
        let pushed = stream.push(*token).unwrap();
        if stopped_at.is_some() {
            assert_eq!(pushed.text, "");
        }
        text.push_str(&pushed.text);
        if pushed.is_stopped {
            stopped_at.get_or_insert(at);
        }
        assert_eq!(stream.is_stopped(), stopped_at.is_some());
    }
    text.push_str(&stream.finish());
    (text, stopped_at)
}

/// The same from the whole bytes of each prefix.
fn searched(language: &Language, tokens: &[u32], stops: &[String]) -> (String, Option<usize>) {
    let mut bytes = vec![];
    for (at, token) in tokens.iter().enumerate() {
        bytes.extend_from_slice(language.tokenizer().token_bytes(*token).unwrap());
        let starts = stops.iter().filter_map(|stop| {
            (0..bytes.len()).find(|start| bytes[*start..].starts_with(stop.as_bytes()))
        });
        if let Some(start) = starts.min() {
            return (String::from_utf8_lossy(&bytes[..start]).into_owned(), Some(at));
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), None)
}

fn stops(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_stop_string_may_begin_and_end_within_tokens() {
    let language = Language::of(&default_model()).unwrap();
    let tokens = language.tokenizer().encode("The trigger function is called once.").unwrap();
    let lengths =
        tokens.iter().map(|token| language.tokenizer().token_bytes(*token).unwrap().len());
    assert!(lengths.clone().any(|len| len > 3), "the text has long tokens");
    for (stop, shown) in [
        ("gger fun", "The tri"),
        ("The", ""),
        ("once.", "The trigger function is called "),
        ("once.!", "The trigger function is called once."),
        ("T", ""),
        ("x", "The trigger function is called once."),
    ] {
        let found = streamed(&language, &tokens, &stops(&[stop]));
        assert_eq!(found.0, shown, "{stop}");
        assert_eq!(found, searched(&language, &tokens, &stops(&[stop])), "{stop}");
    }
}

#[test]
fn characters_of_several_bytes_are_found_across_tokens_and_never_cut() {
    let language = Language::of(&default_model()).unwrap();
    let text = "é€😀 naïve — 漢字 😀";
    let tokens = language.tokenizer().encode(text).unwrap();
    assert!(tokens.len() > text.chars().count(), "characters span tokens");
    for stop in ["😀", "€😀", "漢", "字 😀", "ï", "\u{1f601}", "é€😀 naïve — 漢字 😀"]
    {
        let found = streamed(&language, &tokens, &stops(&[stop]));
        assert_eq!(found, searched(&language, &tokens, &stops(&[stop])), "{stop}");
        assert_eq!(found.0, text.split_once(stop).map_or(text, |(before, _)| before));
    }
    // What may yet become a character, or a stop string that shares its first bytes, is held back.
    let mut stream = language.stream(&stops(&["\u{1f601}"]));
    let shown: Vec<String> = tokens.iter().map(|token| stream.push(*token).unwrap().text).collect();
    assert!(shown.iter().all(|text| !text.contains('\u{fffd}')), "{shown:?}");
}

#[test]
fn the_first_of_several_stop_strings_ends_what_is_shown() {
    let language = tiny();
    let tokens = |text: &str| language.tokenizer().encode(text).unwrap();
    for (texts, text, shown, at) in [
        (&["bc", "abcd"][..], "xabcd", "xa", Some(3)),
        // Both are complete with the same token: the one that begins first counts.
        (&["cd", "abcd"], "xabcd", "x", Some(4)),
        (&["aab"], "aaab", "a", Some(3)),
        (&["abab", "b!"], "abaabab", "aba", Some(6)),
        (&["aa", "a"], "ba", "b", Some(1)),
        (&[""], "ab", "ab", None),
        (&[], "ab", "ab", None),
    ] {
        let found = streamed(&language, &tokens(text), &stops(texts));
        assert_eq!(found, (shown.to_owned(), at), "{texts:?} {text}");
    }
}

/// Random tokens, bytes that are no text among them, and stop strings cut out of their text.
#[test]
fn streaming_equals_a_search_of_the_whole_for_random_tokens() {
    let language = Language::of(&default_model()).unwrap();
    let key = SamplerKey::from_words([5, 6]);
    let mut stopped = 0;
    for case in 0..400 {
        let word = |index: u32| key.word(case, index, 0);
        let range = if case % 2 == 0 { 4_096 } else { 260 };
        let tokens: Vec<u32> = (0..40).map(|index| word(index) % range).collect();
        let text = language.decode(&tokens).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let cut = |index: u32| {
            let start = word(index) as usize % chars.len();
            let len = 1 + word(index + 1) as usize % 4;
            chars[start..(start + len).min(chars.len())].iter().collect::<String>()
        };
        let stops = vec![cut(100), cut(102), format!("{}\u{1}", cut(104))];
        let found = streamed(&language, &tokens, &stops);
        assert_eq!(found, searched(&language, &tokens, &stops), "{stops:?} in {text:?}");
        assert_eq!(language.decode_until(&tokens, &stops).unwrap(), found.0);
        stopped += u32::from(found.1.is_some());
    }
    assert!((100..400).contains(&stopped), "{stopped} of 400 were stopped");
}

#[test]
fn a_token_that_does_not_exist_is_refused_and_adds_nothing() {
    let language = tiny();
    let mut stream = language.stream(&stops(&["!"]));
    let expected = LanguageError::Tokenizer(TokenizerError::Token { found: 97 });
    assert_eq!(stream.push(97), Err(expected));
    assert_eq!(stream.push(33).unwrap().text, "A");
    assert_eq!(stream.push(96).unwrap().text, "");
    assert!(stream.push(1).unwrap().is_stopped);
}
