//! A small byte-level tokenizer: content stays text, streams equal whole decodings.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::*;

mod hostile;

/// All bytes, "he", "ll", "hell" and " h" as pairs, and three added tokens of which two control.
fn description() -> serde_json::Value {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut vocabulary = serde_json::Map::new();
    let words = ["<|end|>", "<|end|>!", "<é>"].map(String::from).into_iter();
    let words = words.chain(alphabet.into_iter().map(String::from));
    let words = words.chain(["he", "ll", "hell", "Ġh"].map(String::from));
    for (id, word) in words.enumerate() {
        vocabulary.insert(word, id.into());
    }
    let added = |id: u32, content: &str, special: bool| {
        serde_json::json!({
            "id": id, "content": content, "special": special, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false
        })
    };
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [added(0, "<|end|>", true), added(1, "<|end|>!", true), added(2, "<é>", false)],
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "post_processor": null,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary,
            "merges": [["h", "e"], ["l", "l"], ["he", "ll"], ["Ġ", "h"]]
        }
    })
}

fn tokenizer() -> Tokenizer {
    parse(&description()).unwrap()
}

fn parse(description: &serde_json::Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::parse(description.to_string().as_bytes())
}

const TEXTS: [&str; 8] = [
    "",
    "hello hello",
    "héllo wörld – 数学 🦀\u{1f469}\u{200d}\u{1f680}",
    "\0\u{1}\n\t\r\n  x",
    "<|end|>",
    "a<|end|>!b<|en",
    "<é> is one added token",
    "\u{fdd0}\u{10ffff}",
];

#[test]
fn every_text_comes_back_and_holds_no_control_token() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.vocabulary_size(), 263);
    assert_eq!(tokenizer.control_tokens().len(), 2);
    for text in TEXTS {
        let tokens = tokenizer.encode(text).unwrap();
        assert!(tokens.iter().all(|token| *token > 1), "{text}");
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    let hello = tokenizer.encode("hello").unwrap();
    assert_eq!(hello.len(), 2, "hell and o");
    assert_eq!(tokenizer.encode("<é>"), Ok(vec![2]));
    assert_eq!(tokenizer.token_bytes(2), Some("<é>".as_bytes()));
    assert_eq!(tokenizer.token_bytes(hello[0]), Some(&b"hell"[..]));
    assert_eq!(tokenizer.token_bytes(0), Some(&[][..]));
    assert_eq!(tokenizer.token_bytes(263), None);
}

#[test]
fn only_what_the_template_wrote_becomes_a_control_token() {
    let tokenizer = tokenizer();
    let template = |text: &str| Piece::Template(text.to_owned());
    let content = |text: &str| Piece::Content(text.to_owned());
    let encode = |pieces: &[Piece]| tokenizer.encode_pieces(pieces).unwrap();
    // The longest control token at a place is taken.
    assert_eq!(encode(&[template("<|end|><|end|>!")]), [0, 1]);
    let pieces = [template("<|end|>"), content("<|end|>"), template("<|end|>")];
    let tokens = encode(&pieces);
    assert_eq!((tokens.first(), tokens.last()), (Some(&0), Some(&0)));
    assert_eq!(tokens[1..tokens.len() - 1], tokenizer.encode("<|end|>").unwrap());
    // Neither across the border, in either direction, nor from two contents.
    for pieces in [
        [content("<|e"), template("nd|>"), content("")],
        [template("<|e"), content("nd|>"), content("")],
        [content("<|e"), content("n"), content("d|>")],
        [template("<|e"), content("n"), template("d|>")],
    ] {
        assert_eq!(encode(&pieces), tokenizer.encode("<|end|>").unwrap());
    }
    // Text on both sides of a border is one run.
    assert_eq!(encode(&[template("he"), content("ll")]).len(), 1);
    assert!(encode(&[]).is_empty());
}

/// What the tokenizer's own library makes of the whole text, where content is harmless.
#[test]
fn harmless_chats_get_the_ids_of_the_tokenizers_library() {
    let tokenizer = tokenizer();
    let mut plain = Inner::from_bytes(description().to_string()).unwrap();
    plain.set_encode_special_tokens(false);
    let pieces: Vec<Piece> = ["<|end|>", "hello", " hell<|end|>!", "o he", "<|end|> h"]
        .iter()
        .enumerate()
        .map(|(index, text)| match index % 2 {
            0 => Piece::Template((*text).to_owned()),
            _ => Piece::Content((*text).to_owned()),
        })
        .collect();
    let whole: String = pieces.iter().map(Piece::text).collect();
    let expected = plain.encode_fast(whole, false).unwrap();
    assert_eq!(tokenizer.encode_pieces(&pieces).unwrap(), expected.get_ids());
}

#[test]
fn a_stream_concatenates_to_the_whole_decoding_and_never_splits_a_character() {
    let tokenizer = tokenizer();
    let of_byte =
        |byte: u8| (3..259).find(|token| tokenizer.token_bytes(*token) == Some(&[byte])).unwrap();
    let streamed = |tokens: &[TokenId]| {
        let mut detokeniser = Detokeniser::default();
        let mut text = String::new();
        for token in tokens {
            text += &detokeniser.push(&tokenizer, *token).unwrap();
        }
        text + &detokeniser.finish()
    };
    for text in TEXTS {
        let tokens: Vec<TokenId> = text.bytes().map(of_byte).collect();
        assert_eq!(streamed(&tokens), text);
        assert_eq!(streamed(&tokenizer.encode(text).unwrap()), text);
    }
    // Every sequence of up to four of the bytes at which UTF-8 turns, whole characters or not.
    let turns = [0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0xf0, 0x90, 0xf4, 0xff];
    for index in 0..11_usize.pow(4) {
        let bytes =
            [index % 11, index / 11 % 11, index / 121 % 11, index / 1_331].map(|i| turns[i]);
        let tokens = bytes.map(of_byte);
        assert_eq!(streamed(&tokens), tokenizer.decode(&tokens).unwrap(), "{bytes:x?}");
    }
    let mut detokeniser = Detokeniser::default();
    let texts: Vec<String> =
        "é".bytes().map(|byte| detokeniser.push(&tokenizer, of_byte(byte)).unwrap()).collect();
    assert_eq!(texts, ["", "é"]);
}

#[test]
fn unknown_tokens_and_texts_too_long_are_refused() {
    let tokenizer = tokenizer();
    let unknown = TokenizerError::Token { found: 263 };
    assert_eq!(tokenizer.decode(&[5, 263]), Err(unknown.clone()));
    assert_eq!(Detokeniser::default().push(&tokenizer, 263), Err(unknown));
    let long = " ".repeat(TEXT_BYTES_MAX + 1);
    let found = long.len();
    assert_eq!(tokenizer.encode(&long), Err(TokenizerError::TextTooLong { found }));
    let pieces = [Piece::Content(long), Piece::Template(String::new())];
    assert_eq!(tokenizer.encode_pieces(&pieces), Err(TokenizerError::TextTooLong { found }));
}

#[test]
fn tokenizers_that_depend_on_chance_or_surroundings_are_refused_by_name() {
    let altered = |pointer: &str, value: serde_json::Value| {
        let mut description = description();
        *description.pointer_mut(pointer).unwrap() = value;
        parse(&description).map(drop)
    };
    for (pointer, value, expected) in [
        ("/model/dropout", serde_json::json!(0.1), "model.dropout"),
        ("/decoder/type", "Metaspace".into(), "decoder"),
        ("/decoder/type", "BPEDecoder".into(), "decoder"),
        ("/decoder/type", "WordPiece".into(), "model.type"),
        ("/model/type", "Unigram".into(), "model.type"),
        ("/decoder", ().into(), "decoder"),
        ("/added_tokens/0/single_word", true.into(), "added_tokens"),
    ] {
        match altered(pointer, value) {
            Err(TokenizerError::Feature { field, .. }) => assert_eq!(field, expected),
            other => panic!("{pointer}: {other:?}"),
        }
    }
    assert!(altered("/added_tokens/2/lstrip", true.into()).is_ok());
    for (pointer, value) in
        [("/added_tokens/0/id", serde_json::json!(1)), ("/added_tokens/2/content", "new".into())]
    {
        let lying = altered(pointer, value);
        assert!(matches!(lying, Err(TokenizerError::AddedToken { .. })), "{lying:?}");
    }
    let far = altered("/model/vocab/he", VOCABULARY_MAX.into());
    assert!(matches!(far, Err(TokenizerError::Vocabulary { .. })), "{far:?}");
    for json in ["", "{}", "[]", "{\"model\": 1}"] {
        let refused = Tokenizer::parse(json.as_bytes());
        assert!(matches!(refused, Err(TokenizerError::Parse { .. })), "{json}");
    }
}

/// A `SentencePiece` tokenizer: three control tokens, the bytes, then "▁", letters and pairs.
fn pieces(scheme: &str) -> serde_json::Value {
    let mut words: Vec<String> = ["<unk>", "<s>", "<|user|>"].map(String::from).to_vec();
    words.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    words.extend("▁abcé".chars().map(String::from));
    words.extend(["ab", "▁ab", "▁▁"].map(String::from));
    let vocabulary: serde_json::Map<_, _> =
        words.into_iter().zip(0_u32..).map(|(word, id)| (word, id.into())).collect();
    let added = |id: u32, content: &str, rstrip: bool| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": rstrip
        })
    };
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [added(0, "<unk>", false), added(1, "<s>", false), added(2, "<|user|>", true)],
        "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false
        },
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "ignore_merges": false, "vocab": vocabulary,
            "merges": [["a", "b"], ["▁", "ab"], ["▁", "▁"]]
        }
    })
}

#[test]
fn pieces_are_the_bytes_of_the_text_behind_its_first_space() {
    let tokenizer = parse(&pieces("first")).unwrap();
    assert_eq!(tokenizer.kind(), Kind::SentencePiece);
    for text in TEXTS.into_iter().chain(["ab", " ab", "  ab\n", "<0x41>", "cé<s>"]) {
        let tokens = tokenizer.encode(text).unwrap();
        let has_space = text.is_empty() || text.starts_with(' ');
        let expected = if has_space { text.to_owned() } else { format!(" {text}") };
        assert_eq!(tokenizer.decode(&tokens).unwrap(), expected);
        let bytes = tokens.iter().flat_map(|token| tokenizer.token_bytes(*token).unwrap());
        assert_eq!(bytes.copied().collect::<Vec<u8>>(), expected.as_bytes());
    }
    assert_eq!(tokenizer.encode("ab"), Ok(vec![265]));
    let control: Vec<_> = [0, 1, 2].map(|token| tokenizer.token_bytes(token)).to_vec();
    assert_eq!(control, [Some(&[][..]); 3]);
    let never = parse(&pieces("never")).unwrap();
    assert_eq!(never.decode(&never.encode("ab c").unwrap()), Ok("ab c".to_owned()));
}

#[test]
fn a_space_is_put_where_the_scheme_says_and_templates_lose_what_a_token_strips() {
    let template = |text: &str| Piece::Template(text.to_owned());
    let content = |text: &str| Piece::Content(text.to_owned());
    for (scheme, chat, expected) in [
        ("first", "<s>ab", vec![1, 264]),
        ("first", "ab<s>ab", vec![265, 1, 264]),
        ("always", "<s>ab", vec![1, 265]),
        ("never", "ab<s>ab", vec![264, 1, 264]),
        // White space that the template writes behind this token is no text.
        ("never", "<|user|>\n ab\n<s>", vec![2, 264, 13, 1]),
    ] {
        let tokenizer = parse(&pieces(scheme)).unwrap();
        assert_eq!(tokenizer.encode_pieces(&[template(chat)]).unwrap(), expected, "{chat}");
        let mut plain = Inner::from_bytes(pieces(scheme).to_string()).unwrap();
        plain.set_encode_special_tokens(false);
        assert_eq!(plain.encode_fast(chat, false).unwrap().get_ids(), expected, "{chat}");
    }
    let tokenizer = parse(&pieces("never")).unwrap();
    let kept = tokenizer.encode_pieces(&[template("<|user|>\n"), content(" ab"), template(" ")]);
    assert_eq!(kept, Ok(vec![2, 265, 259]), "what content begins with stays");
    let mut description = pieces("never");
    description["added_tokens"][1]["lstrip"] = true.into();
    let tokenizer = parse(&description).unwrap();
    let kept = tokenizer.encode_pieces(&[content("ab "), template("\n <s>")]);
    assert_eq!(kept, Ok(vec![264, 259, 1]), "what content ends with stays");
}

#[test]
fn sentence_pieces_that_would_write_other_texts_are_refused() {
    let altered = |pointer: &str, value: serde_json::Value| {
        let mut description = pieces("first");
        *description.pointer_mut(pointer).unwrap() = value;
        parse(&description).map(drop)
    };
    let split = serde_json::json!({"type": "Whitespace"});
    let strip = serde_json::json!({"type": "Strip", "content": " ", "start": 2, "stop": 0});
    for (pointer, value, expected) in [
        ("/pre_tokenizer", split, "pre_tokenizer"),
        ("/pre_tokenizer/replacement", "_".into(), "pre_tokenizer"),
        ("/decoder/decoders/3", strip, "decoder"),
        ("/decoder/decoders/0/content", "_".into(), "decoder"),
        ("/model/end_of_word_suffix", "</w>".into(), "model.end_of_word_suffix"),
        ("/model/continuing_subword_prefix", "##".into(), "model.continuing_subword_prefix"),
        ("/added_tokens/0/single_word", true.into(), "added_tokens"),
    ] {
        match altered(pointer, value) {
            Err(TokenizerError::Feature { field, .. }) => assert_eq!(field, expected),
            other => panic!("{pointer}: {other:?}"),
        }
    }
    assert!(altered("/pre_tokenizer", ().into()).is_ok());
}

/// A `WordPiece` tokenizer with [CLS] and [SEP] around a text, and lengths for batches.
fn words() -> serde_json::Value {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ab", "##c", "c"];
    let vocabulary: serde_json::Map<_, _> =
        words.into_iter().zip(0_u32..).map(|(word, id)| (word.to_owned(), id.into())).collect();
    let added = |id: u32| {
        serde_json::json!({
            "id": id, "content": words[id as usize], "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false
        })
    };
    let token = |text: &str| serde_json::json!({"SpecialToken": {"id": text, "type_id": 0}});
    serde_json::json!({
        "version": "1.0",
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [added(0), added(1), added(2), added(3)],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
            }},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary}
    })
}

#[test]
fn sentences_are_encoded_between_the_tokens_of_the_post_processor() {
    let tokenizer = parse(&words()).unwrap();
    assert_eq!(tokenizer.kind(), Kind::WordPiece);
    let encode = |text: &str, len_max| tokenizer.encode_sentence(text, len_max).unwrap();
    assert_eq!(encode("AB abc  c 数", 99), [2, 4, 4, 5, 6, 1, 3]);
    assert_eq!(encode("ab abc c", 5), [2, 4, 4, 5, 3]);
    assert_eq!(encode("", 99), [2, 3]);
    assert_eq!(encode("ab", 2), [2, 3]);
    assert_eq!(encode("ab", 0), [2, 3], "what stands around is always there");
    // A control token in a text is text.
    assert!(!encode("[SEP]", 99)[1..].starts_with(&[3]));
    assert_eq!(tokenizer.encode("ab c"), Ok(vec![4, 6]));
    assert_eq!(tokenizer.decode(&[4, 5, 6]), Ok(" abc c".to_owned()));
    let mut plain = words();
    plain["post_processor"] =
        serde_json::json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    assert_eq!(parse(&plain).unwrap().encode_sentence("c", 99), Ok(vec![2, 6, 3]));
    for (pointer, value) in [
        ("/post_processor/type", serde_json::json!("RobertaProcessing")),
        ("/post_processor/single/0/SpecialToken/id", "[X]".into()),
        ("/post_processor/single/1/Sequence/type_id", 1.into()),
        ("/post_processor/single/1/Sequence/id", "B".into()),
    ] {
        let mut altered = words();
        *altered.pointer_mut(pointer).unwrap() = value;
        let refused = parse(&altered).map(drop);
        assert!(refused.is_err(), "{pointer}");
    }
    let long = " ".repeat(TEXT_BYTES_MAX + 1);
    assert!(matches!(tokenizer.encode_sentence(&long, 9), Err(TokenizerError::TextTooLong { .. })));
}
