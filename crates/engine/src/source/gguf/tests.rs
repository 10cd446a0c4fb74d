//! Files made here: what they mean, and every neighbour that is refused.

use super::*;
use crate::source::RotationScaling;
use crate::source::decimal::Decimal;
use crate::source::element::Encoding;
use crate::tokenizer::Tokenizer;

/// A value to write.
#[derive(Clone, Debug)]
enum Written {
    U32(u32),
    Float(f32),
    Switch(bool),
    Text(&'static str),
    Texts(Vec<String>),
    Words(u32, Vec<u32>),
}

/// A tensor to write: name, type, axes (columns first), bytes.
type Part = (String, u32, Vec<u64>, Vec<u8>);

#[derive(Clone, Debug)]
struct File {
    version: u32,
    keys: Vec<(String, Written)>,
    parts: Vec<Part>,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.parts.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut out, key);
            let kind: u32 = match value {
                Written::U32(_) => 4,
                Written::Float(_) => 6,
                Written::Switch(_) => 7,
                Written::Text(_) => 8,
                Written::Texts(_) | Written::Words(..) => 9,
            };
            out.extend(kind.to_le_bytes());
            match value {
                Written::U32(number) => out.extend(number.to_le_bytes()),
                Written::Float(number) => out.extend(number.to_le_bytes()),
                Written::Switch(is_on) => out.push((*is_on).into()),
                Written::Text(value) => text(&mut out, value),
                Written::Texts(values) => {
                    out.extend(8_u32.to_le_bytes());
                    out.extend((values.len() as u64).to_le_bytes());
                    values.iter().for_each(|value| text(&mut out, value));
                }
                Written::Words(kind, words) => {
                    out.extend(kind.to_le_bytes());
                    out.extend((words.len() as u64).to_le_bytes());
                    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                }
            }
        }
        let mut offset = 0_u64;
        for (name, kind, axes, data) in &self.parts {
            text(&mut out, name);
            out.extend(u32::try_from(axes.len()).unwrap().to_le_bytes());
            axes.iter().for_each(|len| out.extend(len.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = (offset + data.len() as u64).next_multiple_of(32);
        }
        for (_, _, _, data) in &self.parts {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(data);
        }
        out
    }

    fn read(&self) -> Result<Contents, SourceError> {
        Contents::parse(self.bytes())
    }

    /// The error after a key was set, or taken away.
    fn refusal(&self, key: &str, value: Option<Written>) -> String {
        let mut file = self.clone();
        file.keys.retain(|(each, _)| each != key);
        file.keys.extend(value.map(|value| (key.to_owned(), value)));
        file.read().unwrap_err().to_string()
    }

    fn set(mut self, key: &str, value: Written) -> Self {
        self.keys.retain(|(each, _)| each != key);
        self.keys.push((key.to_owned(), value));
        self
    }
}

/// Texts of ten pieces behind three control tokens and the bytes.
fn pieces() -> Vec<String> {
    let mut texts: Vec<String> = ["<unk>", "<s>", "<|im_end|>"].map(String::from).to_vec();
    texts.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(["▁", "a", "b", "c", "ab", "bc", "▁a", "abc", "▁ab"].map(String::from));
    texts
}

/// A model of width 32 with one layer and two heads, of which one keeps keys and values.
fn file(architecture: &'static str) -> File {
    let own = |name: &str| format!("{architecture}.{name}");
    let texts = pieces();
    let count = texts.len();
    let mut uses = vec![1; count];
    uses[..3].copy_from_slice(&[2, 3, 3]);
    uses[3..259].fill(6);
    // The later the piece the worse, but "bc" is better than "ab".
    let mut scores: Vec<f32> = (0..u16::try_from(count).unwrap()).map(|i| -f32::from(i)).collect();
    scores[264] = -262.5;
    let keys = vec![
        ("general.architecture".to_owned(), Written::Text(architecture)),
        (own("context_length"), Written::U32(64)),
        (own("embedding_length"), Written::U32(32)),
        (own("feed_forward_length"), Written::U32(64)),
        (own("block_count"), Written::U32(1)),
        (own("attention.head_count"), Written::U32(2)),
        (own("attention.head_count_kv"), Written::U32(1)),
        (own("attention.layer_norm_rms_epsilon"), Written::Float(1e-5)),
        (own("rope.freq_base"), Written::Float(500_000.0)),
        ("tokenizer.ggml.model".to_owned(), Written::Text("llama")),
        ("tokenizer.ggml.tokens".to_owned(), Written::Texts(texts)),
        ("tokenizer.ggml.token_type".to_owned(), Written::Words(5, uses)),
        (
            "tokenizer.ggml.scores".to_owned(),
            Written::Words(6, scores.iter().map(|score| score.to_bits()).collect()),
        ),
        ("tokenizer.ggml.unknown_token_id".to_owned(), Written::U32(0)),
        ("tokenizer.ggml.bos_token_id".to_owned(), Written::U32(1)),
        ("tokenizer.chat_template".to_owned(), Written::Text("{{ bos_token }}")),
    ];
    let part = |name: &str, axes: &[u64]| {
        let len = usize::try_from(axes.iter().product::<u64>()).unwrap();
        (format!("{name}.weight"), 0, axes.to_vec(), vec![0; 4 * len])
    };
    let mut parts = vec![
        part("token_embd", &[32, count as u64]),
        part("output_norm", &[32]),
        part("blk.0.attn_norm", &[32]),
        part("blk.0.ffn_norm", &[32]),
        part("blk.0.attn_output", &[32, 32]),
        part("blk.0.ffn_down", &[64, 32]),
    ];
    if architecture == "phi3" {
        parts.extend([part("blk.0.attn_qkv", &[32, 64]), part("blk.0.ffn_up", &[32, 128])]);
    } else {
        parts.extend([part("blk.0.attn_q", &[32, 32]), part("blk.0.attn_k", &[32, 16])]);
        parts.extend([part("blk.0.attn_v", &[32, 16]), part("blk.0.ffn_gate", &[32, 64])]);
        parts.push(part("blk.0.ffn_up", &[32, 64]));
    }
    if architecture == "qwen3" {
        parts.extend([part("blk.0.attn_q_norm", &[16]), part("blk.0.attn_k_norm", &[16])]);
    }
    if architecture == "qwen2" {
        for (name, len) in [("q", 32), ("k", 16), ("v", 16)] {
            let name = format!("blk.0.attn_{name}.bias");
            parts.push((name, 0, vec![len], vec![0; 4 * usize::try_from(len).unwrap()]));
        }
    }
    File { version: 3, keys, parts }
}

/// Little-endian floats.
fn floats(values: impl IntoIterator<Item = u16>) -> Vec<u8> {
    values.into_iter().flat_map(|value| f32::from(value).to_le_bytes()).collect()
}

#[test]
fn every_architecture_is_read_with_exact_numbers() {
    for name in ["llama", "qwen2", "qwen3", "phi3"] {
        for version in [2, 3] {
            let Contents { config, weights, text, .. } =
                File { version, ..file(name) }.read().unwrap();
            assert_eq!(config.norm_eps, Decimal::parse("1e-5").unwrap(), "as it was written");
            let rotation = config.rotation.clone().unwrap();
            assert_eq!(rotation.theta, Decimal::parse("500000").unwrap());
            assert_eq!((config.head_dim, config.vocabulary_size), (16, 268));
            assert!(config.is_head_tied && config.window.is_none());
            assert_eq!(config.biases.query_key_value, name == "qwen2");
            assert_eq!((config.begin_token, config.end_tokens.as_slice()), (Some(1), &[2][..]));
            assert_eq!(text.chat_template.as_deref(), Some("{{ bos_token }}"));
            assert_eq!(text.begin_token.as_deref(), Some("<s>"));
            for (name, shape) in demands(&config) {
                let tensor = weights.tensor(&name).unwrap();
                let found = [tensor.row_count(), tensor.column_count()];
                assert_eq!(found[2 - shape.lens().len()..], *shape.lens(), "{name}");
            }
        }
    }
}

#[test]
fn queries_and_keys_of_llama_come_back_from_pairs_and_their_biases_too() {
    for (name, expected) in [("llama", [0, 2, 1, 15]), ("qwen2", [0, 1, 8, 15])] {
        let mut file = file(name);
        for (part, _, axes, data) in &mut file.parts {
            if part == "blk.0.attn_k.weight" {
                // Each element is the number of its row.
                *data = floats((0..16).flat_map(|row| [row; 32]));
            } else if part == "blk.0.attn_k.bias" {
                assert_eq!(axes, &[16]);
                *data = floats(0..16);
            }
        }
        if name == "llama" {
            for (part, len) in [("q", 32), ("k", 16), ("v", 16)] {
                let data = floats(0..len);
                file.parts.push((format!("blk.0.attn_{part}.bias"), 0, vec![len.into()], data));
            }
        }
        let weights = file.read().unwrap().weights;
        let value = |dyadic: &Dyadic| dyadic.mantissa >> -dyadic.exponent;
        let mut row = vec![];
        let rows = [0, 1, 8, 15].map(|index| {
            weights.tensor("layer.0.key").unwrap().read_row(index, &mut row).unwrap();
            value(&row[5])
        });
        assert_eq!(rows, expected, "{name}");
        weights.tensor("layer.0.key.bias").unwrap().read_row(0, &mut row).unwrap();
        assert_eq!([0, 1, 8, 15].map(|index| value(&row[index])), expected, "{name}");
    }
}

#[test]
fn blocks_are_the_numbers_that_their_formats_define() {
    let one = [0x00, 0x3c];
    let q8: Vec<u8> = one.into_iter().chain((0..32).map(|i| 0_u8.wrapping_sub(i))).collect();
    let q4: Vec<u8> = [0x00, 0x38].into_iter().chain((0..16).map(|i| i << 4 | (15 - i))).collect();
    for (kind, block, expected) in [
        (8, q8, (0..32).map(|i| -2 * i).collect::<Vec<i64>>()),
        (2, q4, (0..16).map(|i| 7 - i).chain((0..16).map(|i| i - 8)).collect()),
    ] {
        let mut file = file("llama");
        let part = file.parts.iter_mut().find(|part| part.0 == "blk.0.attn_v.weight").unwrap();
        (part.1, part.3) = (kind, block.repeat(16));
        let weights = file.read().unwrap().weights;
        let mut row = vec![];
        weights.tensor("layer.0.value").unwrap().read_row(15, &mut row).unwrap();
        let halves = |each: &Dyadic| {
            if each.mantissa == 0 { 0 } else { (each.mantissa << 1) >> -each.exponent }
        };
        assert_eq!(row.iter().map(halves).collect::<Vec<_>>(), expected, "type {kind}");
    }
    // Q4_K: scale 2, offset 1; group 0 has factors 3 and 5, group 4 has 33 and 18, others none.
    let mut block = vec![0x00, 0x40, 0x00, 0x3c];
    block.extend([3 | 2 << 6, 0, 0, 0, 5 | 1 << 6, 0, 0, 0, 1 | 2 << 4, 0, 0, 0]);
    block.extend([0x9a; 128]);
    let mut numbers = vec![];
    Encoding::Q4K.parse(&block, &mut numbers).unwrap();
    let value = |index: usize| {
        let Dyadic { mantissa, exponent } = numbers[index];
        if mantissa == 0 { 0 } else { mantissa >> -exponent }
    };
    assert_eq!([0, 32, 128, 160].map(value), [2 * 3 * 10 - 5, 0, 2 * 33 * 10 - 18, 0]);
    // Q6_K: low bits 5 and 10, high bits 2 and 1 and so on, factors 1 and −2, scale 1.
    let mut block = vec![0xa5; 128];
    block.extend([0b1101_1000; 64]);
    block.extend([1, 0xfe].repeat(8));
    block.extend(one);
    let mut numbers = vec![];
    Encoding::Q6K.parse(&block, &mut numbers).unwrap();
    let value = |index: usize| {
        let Dyadic { mantissa, exponent } = numbers[index];
        if mantissa == 0 { 0 } else { mantissa >> -exponent }
    };
    let expected = [5 - 32, -2 * (5 - 32), 5 + 32 - 32, 10 + 16 - 32, 10 + 48 - 32];
    assert_eq!([0, 16, 32, 64, 96].map(value), expected);
    let infinite = [0x00, 0x7c].into_iter().chain([1; 32]).collect::<Vec<u8>>();
    assert_eq!(Encoding::Q8_0.parse(&infinite, &mut numbers), Err(0));
}

#[test]
fn floats_become_the_shortest_decimal_that_rounds_to_them() {
    let shortest = |number: f32| Decimal::from_float_bits(number.to_bits());
    for text in ["1e-5", "1e-6", "1e-12", "10000", "500000", "1000000", "1.5", "0.1", "16777216"] {
        let number: f32 = text.parse().unwrap();
        assert_eq!(shortest(number), Decimal::parse(text), "{text}");
    }
    // Against the standard library, over many bits and both ends of a binade.
    for index in 0..40_000_u32 {
        let bits = 0x2000_0000 + index.wrapping_mul(0x9e37_79b1) % 0x3f00_0000;
        for bits in [bits, bits & 0xff80_0000, bits | 0x007f_ffff] {
            let number = f32::from_bits(bits);
            let expected = Decimal::parse(&format!("{number:e}"));
            assert_eq!(Decimal::from_float_bits(bits), expected, "{number:e}");
        }
    }
    assert_eq!(shortest(0.0), Decimal::new(0, 0));
    for number in [-1.0, -0.0, f32::NAN, f32::INFINITY, 1e-30, 1e30] {
        assert_eq!(shortest(number), None, "{number}");
    }
}

#[test]
fn scores_become_merges_and_control_tokens_stay_out_of_content() {
    let contents = file("llama").read().unwrap();
    let tokenizer = Tokenizer::parse(&contents.tokenizer).unwrap();
    assert_eq!(tokenizer.vocabulary_size(), 268);
    let texts = |text: &str| -> Vec<String> {
        let tokens = tokenizer.encode(text).unwrap();
        tokens.iter().map(|token| pieces()[*token as usize].clone()).collect()
    };
    // "bc" is better than "ab", so it is put together first.
    assert_eq!(texts("abc"), ["▁a", "bc"]);
    assert_eq!(texts("ab"), ["▁ab"]);
    assert_eq!(texts(" a"), ["▁", "▁a"], "a space is put before a space too");
    assert_eq!(texts("é"), ["▁", "<0xC3>", "<0xA9>"]);
    assert!(tokenizer.encode("<s><|im_end|>").unwrap().iter().all(|token| *token > 2));
    let without = file("llama").set("tokenizer.ggml.add_space_prefix", Written::Switch(false));
    let tokenizer = Tokenizer::parse(&without.read().unwrap().tokenizer).unwrap();
    assert_eq!(tokenizer.encode("ab"), Ok(vec![263]));
    let equal = Written::Words(6, vec![1_f32.to_bits(); 268]);
    let error = file("llama").refusal("tokenizer.ggml.scores", Some(equal));
    assert!(error.contains("expected scores that differ"), "{error}");
}

/// Byte-level tokens: a control token, the 256 characters, and two merges.
fn byte_level(pre: &'static str) -> File {
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    let mut alphabet: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    alphabet.sort_unstable();
    let mut texts = vec!["<|eot_id|>".to_owned()];
    texts.extend(alphabet);
    texts.extend(["12", "123", "Ġa"].map(String::from));
    texts.extend((texts.len()..268).map(|index| format!("[PAD{index}]")));
    let mut uses = vec![1; 268];
    uses[0] = 3;
    let merges = ["1 2", "12 3", "Ġ a"].map(String::from).to_vec();
    file("llama")
        .set("tokenizer.ggml.model", Written::Text("gpt2"))
        .set("tokenizer.ggml.pre", Written::Text(pre))
        .set("tokenizer.ggml.tokens", Written::Texts(texts))
        .set("tokenizer.ggml.token_type", Written::Words(5, uses))
        .set("tokenizer.ggml.merges", Written::Texts(merges))
}

#[test]
fn words_are_cut_as_the_file_names_it() {
    for (pre, expected, begins) in [
        ("llama-bpe", ["123", "12"], true),
        ("qwen2", ["1", "2"], false),
        ("smollm", ["1", "2"], false),
        ("gpt-2", ["123", "12"], false),
        ("default", ["123", "12"], false),
    ] {
        let contents = byte_level(pre).read().unwrap();
        assert_eq!(contents.config.begin_token.is_some(), begins, "{pre}");
        assert_eq!(contents.config.end_tokens, [0]);
        let tokenizer = Tokenizer::parse(&contents.tokenizer).unwrap();
        let tokens = tokenizer.encode("12312 a").unwrap();
        let first = [0, 1].map(|index| tokenizer.decode(&tokens[index..=index]).unwrap());
        assert_eq!(first, expected, "{pre}");
        assert_eq!(tokenizer.decode(&tokens), Ok("12312 a".to_owned()));
    }
    let composed = Tokenizer::parse(&byte_level("qwen2").read().unwrap().tokenizer).unwrap();
    let tokens = composed.encode("e\u{301}").unwrap();
    assert_eq!(composed.decode(&tokens), Ok("é".to_owned()));
}

#[test]
fn keys_missing_unknown_or_out_of_range_are_refused_by_name() {
    let file = file("llama");
    let text = Written::Text;
    for (key, value, expected) in [
        ("general.architecture", None, "general.architecture is missing"),
        ("general.architecture", Some(text("gemma")), "gemma, expected llama, qwen2"),
        ("llama.embedding_length", None, "llama.embedding_length is missing"),
        ("llama.embedding_length", Some(Written::U32(0)), "= 0, expected 1 to"),
        ("llama.embedding_length", Some(Written::Float(1.0)), "float of 32 bits, expected a whole"),
        ("llama.embedding_length", Some(Written::U32(33)), "expected a multiple of 2"),
        ("llama.attention.head_count", Some(Written::U32(3)), "expected a multiple of 3"),
        ("llama.attention.value_length", Some(Written::U32(8)), "= 8, expected 16 to 16"),
        ("llama.rope.dimension_count", Some(Written::U32(8)), "= 8, expected 16 to 16"),
        ("llama.rope.freq_base", Some(Written::Float(f32::NAN)), "rope.freq_base = float"),
        ("llama.rope.scaling.type", Some(text("yarn")), "yarn, expected none or linear"),
        ("llama.rope.scaling.type", Some(text("linear")), "expected one scaling, with its factor"),
        ("llama.rope.scaling.attn_factor", Some(Written::Float(2.0)), "attn_factor = Float"),
        ("llama.expert_count", Some(Written::U32(8)), "expected 0 to 0"),
        ("llama.attention.causal", Some(Written::Switch(false)), "expected true"),
        ("general.type", Some(text("adapter")), "adapter, expected model"),
        ("split.count", Some(Written::U32(2)), "= 2, expected 0 to 1"),
        ("tokenizer.ggml.add_eos_token", Some(Written::Switch(true)), "true, expected false"),
        ("llama.rope.scale_linear", Some(Written::Float(0.5)), "5e-1, expected a number of at"),
        ("llama.logit_scale", Some(Written::Float(2.0)), "is not known"),
        ("general.alignment", Some(Written::U32(24)), "expected a power of two"),
        ("tokenizer.ggml.model", Some(text("bert")), "expected gpt2 or llama"),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens is missing"),
        ("tokenizer.ggml.tokens", Some(Written::Texts(vec!["a".into(); 2])), "no other token has"),
        ("tokenizer.ggml.tokens", Some(Written::Texts(vec!["a".into(); 269])), "has 269 entries"),
        ("tokenizer.ggml.token_type", Some(Written::Words(5, vec![1; 267])), "has 267 entries"),
        ("tokenizer.ggml.token_type", Some(Written::Words(5, vec![7; 268])), "7, expected 1 to 6"),
        ("tokenizer.ggml.scores", Some(Written::Words(6, vec![u32::MAX; 268])), "not a number"),
        ("tokenizer.ggml.scores", Some(Written::Words(4, vec![1; 268])), "floats of 32 bits"),
        ("tokenizer.ggml.bos_token_id", Some(Written::U32(268)), "expected 0 to 267"),
    ] {
        let error = file.refusal(key, value);
        assert!(error.contains(expected), "{key}: {error}");
    }
    let unknown = byte_level("llama-bpe").refusal("tokenizer.ggml.pre", Some(text("tekken")));
    assert!(unknown.contains("tekken, expected llama-bpe, qwen2"), "{unknown}");
    let uncut = Some(Written::Texts(vec!["ab".into()]));
    let uncut = byte_level("gpt-2").refusal("tokenizer.ggml.merges", uncut);
    assert!(uncut.contains("two texts with a space between"), "{uncut}");
    let mut twice = file.clone();
    twice.keys.push(twice.keys[1].clone());
    assert!(twice.read().unwrap_err().to_string().contains("llama.context_length occurs twice"));
}

#[test]
fn scalings_and_windows_are_read() {
    let scaling = |file: File| file.read().unwrap().config.rotation.unwrap().scaling;
    let linear = file("llama")
        .set("llama.rope.scaling.type", Written::Text("linear"))
        .set("llama.rope.scaling.factor", Written::Float(2.5));
    assert_eq!(scaling(linear), RotationScaling::Linear { factor: Decimal::new(25, -1).unwrap() });
    let mut listed = file("llama");
    listed.parts.push(("rope_freqs.weight".into(), 0, vec![8], floats(1..9)));
    let RotationScaling::Factors(factors) = scaling(listed) else { panic!("factors expected") };
    assert_eq!(factors.len(), 8);
    assert_eq!(factors[2], Dyadic { mantissa: 3 << 22, exponent: -22 });
    for name in ["qwen2", "qwen3", "phi3"] {
        let mut listed = file(name);
        listed.parts.push(("rope_freqs.weight".into(), 0, vec![8], floats(1..9)));
        let error = listed.read().unwrap_err().to_string();
        assert!(error.contains("tensor rope_freqs.weight"), "{error}");
    }
    let window = |len| {
        let file = file("phi3").set("phi3.attention.sliding_window", Written::U32(len));
        file.read().unwrap().config.window.map(|window| (window.len, window.first_layer))
    };
    assert_eq!([0, 63, 64].map(window), [None, Some((63, 0)), None]);
}

#[test]
fn tensors_missing_extra_misshapen_misplaced_or_of_another_type_are_refused_by_name() {
    let refusal = |change: &dyn Fn(&mut File)| {
        let mut file = file("llama");
        change(&mut file);
        file.read().unwrap_err().to_string()
    };
    let first = |file: &mut File, axes: &[u64]| file.parts[0].2 = axes.to_vec();
    for (change, expected) in [
        (
            (&|file: &mut File| drop(file.parts.remove(1))) as &dyn Fn(&mut File),
            "output_norm.weight is missing",
        ),
        (&|file| drop(file.parts.remove(0)), "token_embd.weight is missing"),
        (
            &|file| file.parts[1].0 = "rope_factors_long.weight".into(),
            "output_norm.weight is missing",
        ),
        (
            &|file| file.parts.push(("x".into(), 0, vec![1], vec![0; 4])),
            "tensor x of shape (1, 1) is not",
        ),
        (&|file| file.parts[1].2 = vec![16], "has shape (16), expected (32)"),
        (&|file| file.parts[1].1 = 3, "output_norm.weight has type 3"),
        (&|file| file.parts[1].0 = "token_embd.weight".into(), "token_embd.weight occurs twice"),
        (&|file| first(file, &[]), "0 axes"),
        (&|file| first(file, &[1, 1, 1, 1, 1]), "5 axes"),
        (&|file| first(file, &[32, 67, 4]), "has shape [32, 67, 4]"),
        (&|file| first(file, &[u64::MAX, 2]), "expected 1 to 4 axes of whole blocks"),
        (&|file| first(file, &[1 << 40, 1 << 40]), "expected 1 to 4 axes of whole blocks"),
        (&|file| first(file, &[1 << 40, 1]), "token_embd.weight lies at byte 0"),
        (&|file| first(file, &[32, 1 << 21]), "token_embd.weight lies at byte 0"),
        (&|file| file.parts[0].3.truncate(64), "lies at byte 64"),
    ] {
        let error = refusal(change);
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
    let part = |kind| refusal(&move |file: &mut File| file.parts[5].1 = kind);
    assert!(part(12).contains("whole blocks"), "64 columns are no block of Q4_K");
}

#[test]
fn files_cut_or_lying_about_lengths_are_refused() {
    let whole = file("llama").bytes();
    assert!(Contents::parse(whole.clone()).is_ok());
    for len in (0..whole.len()).filter(|len| *len < 6000 || len % 97 == 0) {
        assert!(Contents::parse(whole[..len].to_vec()).is_err(), "cut to {len}");
    }
    // Every count and length of the header as large as can be.
    for start in 4..1200 {
        for bytes in [[0xff; 8], [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]] {
            let mut lying = whole.clone();
            lying[start..start + 8].copy_from_slice(&bytes);
            let _ = Contents::parse(lying);
        }
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut lying = whole.clone();
        lying[at..at + bytes.len()].copy_from_slice(bytes);
        Contents::parse(lying).unwrap_err().to_string()
    };
    assert_eq!(with(0, b"GGML"), "the file does not begin with GGUF");
    assert!(with(4, &[1, 0, 0, 0]).contains("version 1, expected 2 or 3"));
    assert!(with(4, &[0, 0, 0, 3]).contains("little-endian"));
    assert!(with(8, &u64::MAX.to_le_bytes()).contains("tensors, the limit is 16384"));
    assert!(with(16, &4097_u64.to_le_bytes()).contains("4097 keys, the limit is 4096"));
    assert!(with(24, &257_u64.to_le_bytes()).contains("bytes in a name, the limit is 256"));
    assert!(with(32, &[0xff]).contains("not UTF-8"));
}
