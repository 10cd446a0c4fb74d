//! What descriptions of strangers may do: known families load, everything else is refused by name,
//! and what loads cuts the longest text of any shape.

use serde_json::{Value, json};
use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::PreTokenizedString;

use super::*;
use crate::tokenizer::stages::{PARTS, WHOLE};

fn split(pattern: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert})
}

fn bytes(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": use_regex})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn normalisers(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "normalizers": steps})
}

fn prepend() -> Value {
    json!({"type": "Prepend", "prepend": "▁"})
}

fn replace() -> Value {
    json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
}

/// A description with some of its fields replaced, parsed.
fn with(mut description: Value, fields: &[(&str, Value)]) -> Result<Tokenizer, TokenizerError> {
    for (pointer, value) in fields {
        *description.pointer_mut(pointer).unwrap() = value.clone();
    }
    parse(&description)
}

/// The field by which a description is refused.
fn refused(description: Value, pointer: &str, value: impl Into<Value>) -> &'static str {
    let value = value.into();
    match with(description, &[(pointer, value.clone())]).map(drop) {
        Err(TokenizerError::Feature { field, .. }) => field,
        other => panic!("{pointer} = {value}: {other:?}"),
    }
}

#[test]
fn the_stages_of_every_known_family_load() {
    let gpt_2 = bytes(true);
    let processor = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}]});
    for (normaliser, cutter) in [
        // GPT-2, SmolLM, Llama 3, Qwen 2 and 3, Mistral Nemo, Phi-4 and its conversions.
        (Value::Null, gpt_2.clone()),
        (Value::Null, sequence(&[json!({"type": "Digits", "individual_digits": true}), gpt_2])),
        (Value::Null, sequence(&[split(WHOLE[0], "Isolated", false), bytes(false)])),
        (json!({"type": "NFC"}), sequence(&[split(WHOLE[1], "Isolated", false), bytes(false)])),
        (Value::Null, sequence(&[split(WHOLE[2], "Isolated", false), bytes(false)])),
        (Value::Null, sequence(&[split(WHOLE[3], "Removed", true), bytes(false)])),
    ] {
        let fields = [
            ("/normalizer", normaliser),
            ("/pre_tokenizer", cutter),
            ("/post_processor", processor.clone()),
            ("/model/continuing_subword_prefix", "".into()),
            ("/model/end_of_word_suffix", "".into()),
        ];
        let tokenizer = with(description(), &fields).unwrap();
        for text in TEXTS {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text, "{:?}", fields[1]);
        }
    }
    // Llama 2 in both forms, and Phi-3, one of whose texts is not special and takes what follows.
    let both = normalisers(&[prepend(), replace()]);
    let fields = [("/normalizer", both.clone()), ("/pre_tokenizer", Value::Null)];
    let tokenizer = with(pieces("first"), &fields).unwrap();
    assert_eq!(tokenizer.encode("ab ab"), Ok(vec![265, 265]));
    let mut phi_3 = pieces("first");
    (phi_3["normalizer"], phi_3["pre_tokenizer"]) = (both, Value::Null);
    phi_3["added_tokens"][2]["special"] = false.into();
    assert_eq!(parse(&phi_3).unwrap().encode("ab<|user|>  ab"), Ok(vec![265, 2, 265]));
    // GPT-2's own file names no type of its model, and merges are written in two ways.
    let mut old = description();
    old["model"].as_object_mut().unwrap().remove("type");
    old["model"]["merges"] = json!(["h e", "l l", "he ll", "Ġ h"]);
    assert_eq!(parse(&old).unwrap().encode("hell"), super::tokenizer().encode("hell"));
}

#[test]
fn pre_tokenizers_of_no_known_family_are_refused() {
    let known = || split(WHOLE[0], "Isolated", false);
    for cutter in [
        // Each of these takes ages, or panics, for some texts.
        split(r"(a+)+$", "Isolated", false),
        split(r"(?:a|a)*b", "Removed", true),
        sequence(&[split(r"\s+$", "Isolated", false), bytes(false)]),
        // One character more than a known one.
        split(&format!("{}|", WHOLE[0]), "Isolated", false),
        // Parts of the text would get lost, or stick to others.
        split(PARTS[0], "Removed", true),
        split(WHOLE[0], "Removed", false),
        split(WHOLE[0], "MergedWithNext", false),
        split(WHOLE[0], "Isolated", true),
        json!({"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": false}),
        // Each of these would double the text.
        sequence(&[bytes(false), bytes(true)]),
        sequence(&[sequence(&[bytes(false)])]),
        sequence(&vec![known(); 9]),
        json!({"type": "UnicodeScripts"}),
        json!({"type": "FixedLength", "length": 1}),
        json!({"type": "CharDelimiterSplit", "delimiter": "a"}),
        json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}),
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "more": 1}),
        json!({"use_regex": true}),
    ] {
        assert_eq!(refused(description(), "/pre_tokenizer", cutter), "pre_tokenizer");
    }
    // Bytes are made of the text where tokens are of bytes, and nowhere else.
    for cutter in [Value::Null, sequence(&[]), known()] {
        assert_eq!(refused(description(), "/pre_tokenizer", cutter), "pre_tokenizer");
    }
    assert_eq!(refused(words(), "/pre_tokenizer", bytes(true)), "pre_tokenizer");
    let eight = sequence(&[vec![known(); 7], vec![bytes(false)]].concat());
    assert!(with(description(), &[("/pre_tokenizer", eight)]).is_ok());
}

#[test]
fn normalisers_that_could_make_much_of_little_are_refused() {
    let doubled = |of: &str| json!({"type": "Replace", "pattern": {"String": of}, "content": "aa"});
    for normaliser in [
        normalisers(&vec![doubled("a"); 40]),
        doubled("a"),
        json!({"type": "Replace", "pattern": {"Regex": " "}, "content": "▁"}),
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁▁"}),
        json!({"type": "Prepend", "prepend": "▁▁"}),
        normalisers(&[prepend(), prepend()]),
        normalisers(&[normalisers(&[prepend()])]),
        json!({"type": "Precompiled", "precompiled_charsmap": "AA=="}),
        json!({"type": "NFKC"}),
        json!({"type": "NFKD"}),
        json!({"type": "ByteLevel"}),
        json!({"type": "Nmt"}),
        json!({"type": "Strip", "strip_left": true, "strip_right": true}),
        json!({"type": "Bert", "lowercase": true}),
    ] {
        assert_eq!(refused(description(), "/normalizer", normaliser), "normalizer");
    }
    for normaliser in ["NFC", "NFD", "Lowercase", "StripAccents"] {
        let known = json!({"type": normaliser});
        assert!(with(description(), &[("/normalizer", known)]).is_ok(), "{normaliser}");
    }
    // One sign of four bytes becomes three of them even in the shortest normal form.
    let tokenizer = with(description(), &[("/normalizer", json!({"type": "NFC"}))]).unwrap();
    assert_eq!(tokenizer.encode("\u{1d160}").unwrap().len(), 12);
    let found = 3 * TEXT_BYTES_MAX;
    let longer = tokenizer.encode(&"\u{1d160}".repeat(TEXT_BYTES_MAX / 4));
    assert_eq!(longer, Err(TokenizerError::NormalisedTooLong { found }));
    let spaces = parse(&pieces("always")).unwrap();
    let mut text = " ".repeat(TEXT_BYTES_MAX - 1);
    text.insert(0, 'a');
    assert_eq!(spaces.encode(&text).unwrap().len(), 2 + (TEXT_BYTES_MAX - 1).div_ceil(2));
}

#[test]
fn models_and_added_tokens_that_could_take_ages_are_refused() {
    for (field, value) in
        [("model.continuing_subword_prefix", json!("##")), ("model.end_of_word_suffix", json!("é"))]
    {
        let pointer = format!("/{}", field.replace('.', "/"));
        assert_eq!(refused(description(), &pointer, value), field);
    }
    let chars = "/model/max_input_chars_per_word";
    assert_eq!(refused(words(), chars, 129), "model.max_input_chars_per_word");
    assert!(with(words(), &[(chars, 128.into())]).is_ok());
    assert_eq!(refused(description(), "/version", "2.0"), "version");
    // Not special: a space that takes all spaces behind it would be as many texts as spaces.
    let token = |content: &str, normalized: bool| {
        json!({"id": 2, "content": content, "special": false, "normalized": normalized,
            "single_word": false, "lstrip": false, "rstrip": true})
    };
    for lengthening in [token(" ", false), token("a\u{a0}b", false), token("<é>", true)] {
        assert_eq!(refused(description(), "/added_tokens/2", lengthening), "added_tokens");
    }
    assert!(with(description(), &[("/added_tokens/2", token("<é>", false))]).is_ok());
}

#[test]
fn descriptions_longer_than_any_are_refused_before_anything_is_made_of_them() {
    let zeros = json!({"type": "ByteLevel", "more": vec![0; 1 << 15]});
    for field in ["normalizer", "pre_tokenizer", "decoder"] {
        let refused = with(description(), &[(&format!("/{field}"), zeros.clone())]).map(drop);
        let expected = matches!(refused,
            Err(TokenizerError::StageTooLarge { field: of, found, limit: 65_536 })
                if of == field && found > 65_536);
        assert!(expected, "{field}: {refused:?}");
    }
    let sentence = with(words(), &[("/post_processor", zeros)]).map(drop);
    assert!(matches!(sentence, Err(TokenizerError::StageTooLarge { .. })), "{sentence:?}");
    let token = |id: usize, len: usize| {
        json!({"id": id, "content": "x".repeat(len), "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false})
    };
    let tokens = |count, len| Value::from((0..count).map(|id| token(id, len)).collect::<Vec<_>>());
    let merges = |count: usize| vec!["h e"; count];
    let entries = (0..=VOCABULARY_MAX).map(|id| (id.to_string(), id.into()));
    for (pointer, value, expected) in [
        ("/model/merges", json!([["h", "e", "l"]]), "merges|two texts|trailing|length"),
        ("/model/merges", json!([[[], []]]), "a text"),
        ("/model/merges", merges((1 << 20) + 1).into(), "more than 1048576 merges"),
        ("/model/vocab/he", json!([0, 0]), "u32"),
        ("/model/vocab", Value::Object(entries.collect()), "more than 1048576 texts"),
        ("/added_tokens", tokens(1, 257), "more than 256 bytes"),
        ("/added_tokens", tokens(4_097, 256), "1048576 bytes"),
        ("/added_tokens", tokens((1 << 16) + 1, 1), "more than 65536 added tokens"),
    ] {
        let error = with(description(), &[(pointer, value)]).map(drop).unwrap_err().to_string();
        assert!(expected.split('|').any(|each| error.contains(each)), "{pointer}: {error}");
    }
    let mut unknown = description();
    unknown["more"] = json!([0]);
    assert!(matches!(parse(&unknown), Err(TokenizerError::Parse { .. })));
    let repeated = with(description(), &[("/model/vocab/he", 3.into())]).map(drop);
    assert_eq!(repeated, Err(TokenizerError::Repeated { found: 3 }));
}

/// Every tokenizer here with each way to cut.
fn cutting() -> Vec<Tokenizer> {
    let parts = PARTS.map(|part| split(part, "Isolated", false));
    let parts: Vec<_> = parts.into_iter().chain([bytes(false)]).collect();
    let whole = WHOLE.map(|whole| sequence(&[split(whole, "Isolated", false), bytes(false)]));
    let cutters = whole.into_iter().chain([sequence(&parts), bytes(true)]);
    let mut all: Vec<_> =
        cutters.map(|cutter| with(description(), &[("/pre_tokenizer", cutter)]).unwrap()).collect();
    all.push(parse(&pieces("first")).unwrap());
    let both = [("/normalizer", normalisers(&[prepend(), replace()]))];
    let both = [both, [("/pre_tokenizer", Value::Null)]].concat();
    all.push(with(pieces("first"), &both).unwrap());
    all.push(parse(&words()).unwrap());
    all
}

/// Spaces before a letter and capitals before a digit make an expression go back the farthest.
#[test]
fn the_longest_text_of_one_character_is_cut_by_every_known_expression() {
    let cutters = WHOLE.into_iter().chain(PARTS);
    let cutters = cutters.map(|cutter| Split::new(regex(cutter), Isolated, false).unwrap());
    for cutter in cutters {
        for unit in [" ", "A"] {
            let text = unit.repeat(TEXT_BYTES_MAX - 1) + "7";
            let mut words = PreTokenizedString::from(text);
            cutter.pre_tokenize(&mut words).unwrap();
            let words = words.get_splits(OffsetReferential::Original, OffsetType::None);
            let len: usize = words.iter().map(|(word, ..)| word.len()).sum();
            assert_eq!(len, TEXT_BYTES_MAX, "{unit} {cutter:?}");
        }
    }
    let text = " ".repeat(TEXT_BYTES_MAX - 1) + "x";
    assert_eq!(tokenizer().encode(&text).unwrap().len(), TEXT_BYTES_MAX, "every byte is a token");
}

fn regex(pattern: &str) -> SplitPattern {
    SplitPattern::Regex(pattern.to_owned())
}

#[test]
fn long_texts_of_every_shape_are_encoded_whole() {
    let word = format!("{}.", "c".repeat(100));
    for tokenizer in cutting() {
        for unit in [
            "a",
            "A",
            " ",
            "\n",
            "\t",
            "7",
            "'",
            "'s",
            " x",
            "x ",
            ".",
            "A1",
            "\r\n",
            "\0",
            "\u{301}",
            "a\u{323}\u{301}",
            "数",
            "한",
            "\u{fdfa}",
            "\u{1f600}",
            "\u{2028}",
            "<é>",
            "<|end|>",
            &word,
        ] {
            let mut text = unit.repeat((1 << 15) / unit.len());
            text.push('x');
            let tokens = tokenizer.encode(&text).unwrap();
            let written = tokenizer.decode(&tokens).unwrap();
            let is_exact = written == text || written.strip_prefix(' ') == Some(&text);
            assert!(is_exact || tokenizer.kind() == Kind::WordPiece, "{unit:?} {written:.50?}");
            assert!(tokenizer.encode_sentence(&text, 7).unwrap().len() <= 7, "{unit}");
        }
    }
}

#[test]
fn control_tokens_that_begin_alike_are_found_at_every_place() {
    let mut description = description();
    let texts = ["<", "<a", "<ab>", "<abc", "<b", "é", "éa", "\u{e8}"];
    for (id, text) in (300..).zip(texts) {
        description["model"]["vocab"][text] = id.into();
        let token = json!({"id": id, "content": text, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false});
        description["added_tokens"].as_array_mut().unwrap().push(token);
    }
    let tokenizer = parse(&description).unwrap();
    let mut found: Vec<&str> = tokenizer.control_tokens().keys().map(String::as_str).collect();
    found.sort_unstable_by_key(|control| usize::MAX - control.len());
    // Every text of up to five of the pieces, against the plainest search for the longest.
    let parts = ["<", "a", "b", "c", ">", "é", "è", "|end|>!"];
    for index in 0..8_usize.pow(4) {
        let text: String = (0..4).map(|place| parts[index >> (3 * place) & 7]).collect();
        let mut expected = vec![];
        let mut rest = text.as_str();
        while !rest.is_empty() {
            match found.iter().find(|control| rest.starts_with(**control)) {
                Some(control) => {
                    expected.push(tokenizer.control_tokens()[*control]);
                    rest = &rest[control.len()..];
                }
                None => {
                    let len = rest.chars().next().unwrap().len_utf8();
                    expected.extend(tokenizer.encode(&rest[..len]).unwrap());
                    rest = &rest[len..];
                }
            }
        }
        let tokens = tokenizer.encode_pieces(&[Piece::Template(text.clone())]);
        assert_eq!(tokens, Ok(expected), "{text}");
    }
}
