//! Whole folders: files, shards and sentence encoders.

use super::weights::{Part, file_of, parts};
use super::*;

#[test]
fn a_folder_is_read_whole_with_the_digests_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let read = || Source::read(folder.path());
    let not_found = std::io::ErrorKind::NotFound;
    assert_eq!(
        read().unwrap_err(),
        SourceError::Read { file: "config.json".to_owned(), kind: not_found }
    );
    write("config.json", CONFIG.as_bytes());
    assert!(matches!(read(), Err(SourceError::Read { file, .. }) if file == "tokenizer.json"));
    write("tokenizer.json", b"{}");
    assert!(matches!(read(), Err(SourceError::Read { file, .. }) if file == "model.safetensors"));
    write("model.safetensors.index.json", b"{}");
    assert!(matches!(read(), Err(SourceError::FieldMissing { field: "weight_map", .. })));
    write("model.safetensors", &file_of(&parts(&parse(CONFIG).unwrap())));
    let source = read().unwrap();
    let names: Vec<_> = source.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(source.files[0].digest, Digest::of_content(CONFIG.as_bytes()));
    assert_eq!(source.files[0].size_bytes, CONFIG.len() as u64);
    write("config.json", &vec![b' '; 1 << 20 | 1]);
    let (limit, found) = (1 << 20, 1 << 20 | 1);
    let expected = SourceError::TooLarge { file: "config.json".to_owned(), limit, found };
    assert_eq!(read().unwrap_err(), expected);
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    assert_eq!(read().unwrap_err(), SourceError::NotAFile { file: "config.json".to_owned() });
}

const BERT: &str = r#"{
  "model_type": "bert", "hidden_act": "gelu", "hidden_size": 4, "intermediate_size": 6,
  "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 5, "type_vocab_size": 2,
  "max_position_embeddings": 16, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"
}"#;
const MODULES: &str = r#"[
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling",
   "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
]"#;
const POOLING: &str = r#"{"word_embedding_dimension": 4, "pooling_mode_cls_token": false,
  "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}"#;

/// As little of a `tokenizer.json` as is compared with `tokenizer_config.json`.
const WORDS: &str = r#"{"post_processor": {"type": "BertProcessing"}, "normalizer": {"type": "BertNormalizer", "clean_text": true,
  "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}}"#;

/// A folder of these files, read.
fn read(files: &[(&str, &[u8])]) -> Result<Source, SourceError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    Source::read(folder.path())
}

/// The folder of a decoder in two shards, with this list.
fn sharded(list: &str, change: impl FnOnce(&mut Vec<Part>, &mut Vec<Part>)) -> Option<String> {
    let mut first = parts(&parse(CONFIG).unwrap());
    let mut second = first.split_off(7);
    change(&mut first, &mut second);
    let files: [(&str, &[u8]); 5] = [
        ("config.json", CONFIG.as_bytes()),
        ("tokenizer.json", b"{}"),
        ("a.safetensors", &file_of(&first)),
        ("b.safetensors", &file_of(&second)),
        ("model.safetensors.index.json", list.as_bytes()),
    ];
    read(&files).err().map(|error| error.to_string())
}

/// The right list of shards with one text replaced by another.
fn list(from: &str, to: &str) -> String {
    let parts = parts(&parse(CONFIG).unwrap());
    let shard = |index| if index < 7 { "a.safetensors" } else { "b.safetensors" };
    let map: BTreeMap<&str, &str> =
        parts.iter().enumerate().map(|(index, part)| (part.0.as_str(), shard(index))).collect();
    let list = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    let list = list.to_string();
    assert!(list.contains(from), "{list}");
    list.replacen(from, to, 1)
}

#[test]
fn shards_hold_every_tensor_exactly_once_and_where_the_list_says() {
    assert_eq!(sharded(&list("a", "a"), |_, _| ()), None);
    let norm = "\"model.norm.weight\":\"b.safetensors\"";
    let moved = "\"model.norm.weight\":\"a.safetensors\"";
    for (list, expected) in [
        (list(norm, moved), "in a.safetensors, it lies in b.safetensors"),
        (list(norm, "\"model.norm.bias\":\"b.safetensors\""), "in no file, it lies in b.saf"),
        (
            list(norm, &format!("{norm},\"x\":\"a.safetensors\"")),
            "x in a.safetensors, it lies in no",
        ),
        (list(norm, &format!("{norm},{norm}")), "distinct names"),
        (list(norm, "\"model.norm.weight\":\"c.safetensors\""), "c.safetensors cannot be read"),
        (list(norm, "\"model.norm.weight\":7"), "expected a text"),
    ] {
        let error = sharded(&list, |_, _| ()).unwrap();
        assert!(error.contains(expected), "{error}");
    }
    let twice = sharded(&list("a", "a"), |first, second| second.push(first[0].clone()));
    assert!(twice.unwrap().contains("in a.safetensors, it lies in b.safetensors"));
}

#[test]
fn names_of_shards_that_leave_the_folder_are_refused() {
    for name in ["../a", "/etc/passwd", "x/y", "..", ".a", "", "a\\\\b", "a b", "a:b", "\\u0000"] {
        let list = list("b.safetensors", name);
        let error = sharded(&list, |_, _| ()).unwrap();
        assert!(error.contains("expected a plain name"), "{name}: {error}");
    }
    let long = "a".repeat(129);
    assert!(sharded(&list("b.safetensors", &long), |_, _| ()).unwrap().contains("plain name"));
    let many: BTreeMap<String, String> =
        (0..=SHARDS_MAX).map(|shard| (shard.to_string(), format!("{shard}.x"))).collect();
    let refused =
        safetensors::parse_index(serde_json::json!({ "weight_map": many }).to_string().as_bytes());
    assert!(matches!(refused, Err(SourceError::ShardCount { found, .. }) if found > SHARDS_MAX));
}

/// A sentence encoder with one file's text replaced, and its tensors changed.
fn encoder(
    changed: &str,
    text: &str,
    change: impl FnOnce(&mut Vec<Part>),
) -> Result<Source, SourceError> {
    let mut parts = parts(&parse(BERT).unwrap());
    change(&mut parts);
    let weights = file_of(&parts);
    let mut files = BTreeMap::from([
        ("config.json", BERT.as_bytes()),
        ("modules.json", MODULES.as_bytes()),
        ("1_Pooling/config.json", POOLING.as_bytes()),
        ("sentence_bert_config.json", br#"{"max_seq_length": 9, "do_lower_case": false}"#),
        ("tokenizer.json", WORDS.as_bytes()),
        ("model.safetensors", &weights),
    ]);
    files.insert(changed, text.as_bytes());
    files.retain(|name, bytes| *name != changed || !bytes.is_empty());
    read(&files.into_iter().collect::<Vec<_>>())
}

#[test]
fn a_sentence_encoder_is_read_with_pooling_and_the_shortest_context() {
    let source = encoder("x", "", |_| ()).unwrap();
    let config = &source.config;
    assert_eq!(config.architecture, Architecture::Bert);
    assert_eq!(config.pooling, Some(Pooling { kind: PoolingKind::Mean, is_normalised: true }));
    assert_eq!((config.context_len, config.position_count, config.token_type_count), (9, 16, 2));
    assert_eq!((config.head_dim, config.rotation.clone()), (2, None));
    let position = source.weights.tensor("position").unwrap();
    assert_eq!((position.row_count(), position.column_count()), (16, 4));
    for name in ["embedding-norm.bias", "layer.0.attention-norm.bias", "layer.0.down.bias"] {
        assert_eq!(source.weights.tensor(name).unwrap().column_count(), 4, "{name}");
    }
    assert!(source.weights.tensor("layer.0.gate").is_none());
    let names: Vec<&str> = source.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names[..2], ["1_Pooling/config.json", "config.json"]);

    let shorter = encoder("tokenizer_config.json", r#"{"model_max_length": 7}"#, |_| ()).unwrap();
    assert_eq!(shorter.config.context_len, 7);
    let endless = r#"{"model_max_length": 1000000000000000019884624838656}"#;
    let endless = encoder("tokenizer_config.json", endless, |_| ()).unwrap();
    assert_eq!(endless.config.context_len, 9);
    let whole = encoder("sentence_bert_config.json", "", |_| ()).unwrap();
    assert_eq!(whole.config.context_len, 16);
    let cls = r#"{"embedding_dimension": 4, "pooling_mode": "cls", "include_prompt": true}"#;
    let cls = encoder("1_Pooling/config.json", cls, |_| ()).unwrap();
    assert_eq!(cls.config.pooling.unwrap().kind, PoolingKind::Cls);
}

#[test]
fn an_encoders_tensors_are_found_in_every_spelling_and_heads_are_skipped() {
    let spelled = encoder("x", "", |parts| {
        for part in parts.iter_mut() {
            let name = format!("bert.{}", part.0);
            part.0 = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            part.0 = part.0.replace("LayerNorm.bias", "LayerNorm.beta");
        }
        parts.push(("bert.pooler.dense.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
        parts.push(("cls.predictions.bias".into(), Dtype::F32, vec![1], vec![0; 4]));
        parts.push(("bert.embeddings.position_ids".into(), Dtype::I64, vec![1], vec![0; 8]));
    });
    assert!(spelled.is_ok(), "{spelled:?}");
    let extra = encoder("x", "", |parts| {
        parts.push(("classifier.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
    });
    let extra = extra.unwrap_err().to_string();
    assert_eq!(extra, "tensor classifier.weight of shape (1) is not part of this model");
}

#[test]
fn modules_and_poolings_that_are_not_computed_are_refused_by_name() {
    let dense = MODULES.replace("models.Normalize", "models.Dense");
    let four = MODULES.replacen("}\n]", "}, {\"path\": \"\", \"type\": \"x\"}\n]", 1);
    let lone = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"}]"#;
    let far = MODULES.replace("1_Pooling", "../1_Pooling");
    for (file, text, expected) in [
        ("modules.json", dense.as_str(), "sentence_transformers.models.Dense as module 2"),
        ("modules.json", &four, "x as module 3, expected nothing"),
        ("modules.json", lone, "nothing as module 1, expected Pooling"),
        ("modules.json", &far, "expected a plain name"),
        ("modules.json", "", "modules.json cannot be read"),
        ("1_Pooling/config.json", "", "1_Pooling/config.json cannot be read"),
        ("1_Pooling/config.json", r#"{"pooling_mode": "max"}"#, "pooling_mode = max"),
        ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#, "not known"),
        ("1_Pooling/config.json", "{}", "both or none"),
        ("1_Pooling/config.json", r#"{"embedding_dimension": 8}"#, "must lie in 4..=4"),
        ("sentence_bert_config.json", r#"{"do_lower_case": true}"#, "do_lower_case = true"),
        ("tokenizer_config.json", r#"{"do_lower_case": false}"#, "do_lower_case = false"),
        ("config_sentence_transformers.json", r#"{"default_prompt_name": "q"}"#, "default_prompt"),
    ] {
        let error = encoder(file, text, |_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} for {text}");
    }
    let decoder = read(&[
        ("config.json", CONFIG.as_bytes()),
        ("modules.json", MODULES.as_bytes()),
        ("tokenizer.json", b"{}"),
    ]);
    assert_eq!(decoder.unwrap_err(), SourceError::DecoderModules);
}

#[test]
fn generation_config_adds_end_tokens() {
    let weights = file_of(&parts(&parse(CONFIG).unwrap()));
    let ends = |text: &str| {
        let source = read(&[
            ("config.json", CONFIG.as_bytes()),
            ("generation_config.json", text.as_bytes()),
            ("tokenizer.json", b"{}"),
            ("model.safetensors", &weights),
        ]);
        source.map(|source| source.config.end_tokens)
    };
    assert_eq!(ends(r#"{"eos_token_id": [2, 4], "temperature": 0.6}"#), Ok(vec![0, 2, 4]));
    let error = ends(r#"{"eos_token_id": 5}"#).unwrap_err().to_string();
    assert_eq!(error, "generation_config.json has eos_token_id = 5, it must lie in 0..=4");
}
