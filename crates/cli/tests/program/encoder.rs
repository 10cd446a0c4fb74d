//! A sentence encoder that takes no download: each word has a vector of its own, and a sentence
//! their mean.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value, json};

const WIDTH: usize = 64;
const HIDDEN: usize = 64;
const POSITIONS: usize = 64;

/// Writes a sentence-transformers folder whose vocabulary is the words of some texts.
pub(crate) fn write(folder: &Path, texts: &[&str]) {
    let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "."].map(Into::into).into();
    for text in texts {
        for word in text.split(|c: char| !c.is_ascii_alphabetic()).map(str::to_lowercase) {
            if !word.is_empty() && !words.contains(&word) {
                words.push(word);
            }
        }
    }
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    let put = |name: &str, value: &Value| {
        fs::write(folder.join(name), value.to_string()).unwrap();
    };
    put(
        "config.json",
        &json!({
            "model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH,
            "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": words.len(), "type_vocab_size": 2, "max_position_embeddings": POSITIONS,
            "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"
        }),
    );
    put(
        "modules.json",
        &json!([
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
        ]),
    );
    put(
        "1_Pooling/config.json",
        &json!({
            "word_embedding_dimension": WIDTH, "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false
        }),
    );
    put("tokenizer.json", &tokenizer(&words));
    fs::write(folder.join("model.safetensors"), safetensors(&tensors(words.len()))).unwrap();
}

fn tokenizer(words: &[String]) -> Value {
    let vocabulary: Map<String, Value> =
        words.iter().zip(0_u32..).map(|(word, id)| (word.clone(), id.into())).collect();
    let added = |id: usize| {
        json!({
            "id": id, "content": words[id], "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false
        })
    };
    let token = |text: &str| json!({"SpecialToken": {"id": text, "type_id": 0}});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
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

/// Names, shapes and numbers: words differ, and the one layer adds next to nothing.
fn tensors(words: usize) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut found = vec![];
    let mut add = |name: &str, shape: &[usize], number: &dyn Fn(usize) -> f32| {
        let count = shape.iter().product();
        found.push((name.to_owned(), shape.to_vec(), (0..count).map(number).collect()));
    };
    let word = |at: usize| if scrambled(at) & 1 == 0 { 0.5 } else { -0.5 };
    let faint = |at: usize| if scrambled(at) & 2 == 0 { 0.015_625 } else { -0.015_625 };
    let (none, one) = (|_: usize| 0.0, |_: usize| 1.0);
    add("embeddings.word_embeddings.weight", &[words, WIDTH], &word);
    add("embeddings.position_embeddings.weight", &[POSITIONS, WIDTH], &faint);
    add("embeddings.token_type_embeddings.weight", &[2, WIDTH], &faint);
    let mut linear = |name: &str, rows: usize, columns: usize| {
        add(&format!("{name}.weight"), &[rows, columns], &faint);
        add(&format!("{name}.bias"), &[rows], &none);
    };
    let layer = "encoder.layer.0";
    for part in ["query", "key", "value"] {
        linear(&format!("{layer}.attention.self.{part}"), WIDTH, WIDTH);
    }
    linear(&format!("{layer}.attention.output.dense"), WIDTH, WIDTH);
    linear(&format!("{layer}.intermediate.dense"), HIDDEN, WIDTH);
    linear(&format!("{layer}.output.dense"), WIDTH, HIDDEN);
    for norm in ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"] {
        add(&format!("{norm}.LayerNorm.weight"), &[WIDTH], &one);
        add(&format!("{norm}.LayerNorm.bias"), &[WIDTH], &none);
    }
    found
}

/// A number without a pattern that a sum would show.
fn scrambled(at: usize) -> u64 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 29)
}

/// The safetensors file of these tensors: the header's length, the header, the numbers.
fn safetensors(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let (mut header, mut data) = (BTreeMap::new(), vec![]);
    for (name, shape, numbers) in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let offsets = [start, data.len()];
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": offsets}));
    }
    let mut header = serde_json::to_string(&header).unwrap();
    while header.len() % 8 > 0 {
        header.push(' ');
    }
    let len = (header.len() as u64).to_le_bytes();
    [len.as_slice(), header.as_bytes(), &data].concat()
}
