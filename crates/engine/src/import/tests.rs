//! A folder becomes the same file everywhere, or is refused by name with nothing left behind.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::tiny::RandomTensors;
use super::*;
use crate::error::Operation;
use crate::kernel::Kernels;
use crate::model::Model;
use crate::session::Engine;

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "head_dim": 6, "vocab_size": 260, "max_position_embeddings": 64,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false,
  "bos_token_id": 1, "eos_token_id": 0, "torch_dtype": "float32"
}"#;
const TEXT: &str = "The residual stream of this text is what the fraction bits are chosen for.";

fn options() -> Options<'static> {
    Options { weights: None, calibration_text: TEXT, context: None }
}

/// A byte-level tokenizer without merges: two control tokens, then one token per byte.
fn tokenizer() -> String {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let words = ["<|end|>", "<|begin|>"].map(str::to_owned).into_iter();
    let words = words.chain(alphabet.iter().map(char::to_string));
    let vocabulary: serde_json::Map<_, _> =
        words.zip(0_u32..).map(|(word, id)| (word, id.into())).collect();
    let added = |id: u32, content: &str| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false
        })
    };
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
    });
    let description = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [added(0, "<|end|>"), added(1, "<|begin|>")],
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": []
        }
    });
    description.to_string()
}

/// Writes the folder; `element` gives the value of each tensor's element.
fn write_folder(folder: &Path, config: &str, dtype: Dtype, change: impl Fn(&str, &mut [f32])) {
    let config_parsed = crate::source::SourceConfig::parse(config.as_bytes()).unwrap();
    let random = RandomTensors::default();
    let tensors: Vec<_> = crate::source::tensors::expected_tensors(&config_parsed)
        .into_iter()
        .map(|(name, shape)| {
            let shape = shape.lens().to_vec();
            let len = shape.iter().product::<usize>() as u64;
            let mut values: Vec<f32> = (0..len)
                .map(|index| {
                    let dyadic = random.element(&name, index);
                    i16::try_from(dyadic.mantissa).map(f32::from).unwrap()
                        * f32::exp2(i16::try_from(dyadic.exponent).map(f32::from).unwrap())
                })
                .collect();
            change(&name, &mut values);
            // All values have 8 bits, so every type holds them exactly.
            let bytes: Vec<u8> = match dtype {
                Dtype::BF16 => values.iter().flat_map(|x| x.to_le_bytes()[2..].to_vec()).collect(),
                _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            (name, shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    let weights = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("model.safetensors"), weights).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    let chat =
        r#"{"bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": "{{ bos_token }}"}"#;
    fs::write(folder.join("tokenizer_config.json"), chat).unwrap();
}

fn converted(folder: &Path) -> Result<Vec<u8>, ImportError> {
    convert(folder, &options(), &mut |_| ())
}

/// What `convert` says of a folder with another configuration or other elements.
fn refusal(config: &str, change: impl Fn(&str, &mut [f32])) -> ImportError {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), config, Dtype::F32, change);
    converted(folder.path()).map(|file| file.len()).unwrap_err()
}

#[test]
fn the_same_folder_gives_the_same_bytes_and_other_element_types_the_same_integers() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), CONFIG, Dtype::F32, |_, _| ());
    let (mut stages, mut last) = (vec![], None);
    let file = convert(folder.path(), &options(), &mut |progress| {
        if last != Some(progress.stage) {
            stages.push(progress.stage);
            last = Some(progress.stage);
        }
        assert!(progress.done <= progress.total);
    })
    .unwrap();
    assert_eq!(stages, [Stage::Weights, Stage::Calibration]);
    assert_eq!(converted(folder.path()).unwrap(), file);
    let model = Model::parse(&file).unwrap();
    assert_eq!(model.tokenizer(), tokenizer().as_bytes());
    assert_eq!(model.template(), "{{ bos_token }}");
    let configuration = model.configuration();
    assert_eq!(
        (configuration.begin_text.as_str(), configuration.end_text.as_str()),
        ("<|begin|>", "<|end|>")
    );
    let sources: Vec<_> =
        model.manifest().provenance.sources.iter().map(|source| source.name.as_str()).collect();
    let expected = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(sources, expected);

    write_folder(folder.path(), CONFIG, Dtype::BF16, |_, _| ());
    let half = Model::parse(&converted(folder.path()).unwrap()).unwrap();
    assert_ne!(half.root(), model.root());
    for part in &model.manifest().parts {
        assert_eq!(half.part(&part.name), model.part(&part.name), "{}", part.name);
    }
}

#[test]
fn the_residual_stream_has_fourfold_headroom_over_the_text_and_no_more_than_eightfold() {
    for scale in [1.0, 1024.0, 65_536.0] {
        let folder = tempfile::tempdir().unwrap();
        write_folder(folder.path(), CONFIG, Dtype::F32, |name, values| {
            if name.ends_with("down_proj.weight") {
                values.iter_mut().for_each(|value| *value *= scale);
            }
        });
        let model = Model::parse(&converted(folder.path()).unwrap()).unwrap();
        let bits = model.configuration().residual_bits;
        let epsilon = ((48_u128 << (2 * bits)) + 100_000) / 200_000;
        assert_eq!(u128::from(model.configuration().norm_epsilon), epsilon);
        let engine = Engine::new(model.into(), Kernels::detect(), 1).unwrap();
        let tokens = Tokenizer::parse(tokenizer().as_bytes()).unwrap().encode(TEXT).unwrap();
        let tokens = [&[1], &tokens[..63]].concat();
        let peaks = engine.headroom(&tokens, 16).unwrap();
        let peak = |operation| peaks.iter().find(|peak| peak.operation == operation).unwrap().peak;
        let of_stream =
            [Operation::Embedding, Operation::AttentionResidual, Operation::FeedForwardResidual];
        let peak = of_stream.map(peak).into_iter().max().unwrap();
        // A little less than four, because the stream's rounding moves with its fraction bits.
        assert!(peak * 39 / 10 < 1 << 31, "scale {scale}: peak {peak}");
        assert!(bits == 24 || peak > 1 << 27, "scale {scale}: peak {peak} with {bits} bits");
        assert!((bits == 24) == (scale < 2.0), "{bits}");
    }
}

#[test]
fn what_the_arithmetic_cannot_hold_is_refused_by_tensor_or_field() {
    let too_loud = refusal(CONFIG, |name, values| {
        if name == "model.layers.1.mlp.up_proj.weight" {
            values[7] = 1e30;
        }
    });
    let tensor = "layer.1.up".to_owned();
    assert_eq!(too_loud, ImportError::Magnitude { tensor });
    let gain = refusal(CONFIG, |name, values| {
        if name == "model.norm.weight" {
            values[23] = -40_000.0;
        }
    });
    assert_eq!(gain, ImportError::Magnitude { tensor: "final-norm".to_owned() });
    let infinite = refusal(CONFIG, |name, values| {
        if name == "lm_head.weight" {
            values[25] = f32::INFINITY;
        }
    });
    assert!(infinite.to_string().contains("head"), "{infinite}");
    let small = refusal(&CONFIG.replace("260", "200"), |_, _| ());
    assert_eq!(small, ImportError::Vocabulary { expected: 200, found: 258 });
    let wide = refusal(&CONFIG.replace("\"head_dim\": 6", "\"head_dim\": 258"), |_, _| ());
    let field = "head_dim";
    let range = ModelError::Configuration { field, found: 258, minimum: 2, maximum: 256 };
    assert_eq!(wide, ImportError::Model(range));
    let theta = refusal(&CONFIG.replace("10000.0", "0.5"), |_, _| ());
    assert!(theta.to_string().contains("rope_theta"), "{theta}");
}

#[test]
fn a_residual_stream_that_no_fixed_point_holds_is_refused() {
    let loud = refusal(CONFIG, |name, values| {
        let factor = match name.rsplit('.').nth(1) {
            Some("gate_proj" | "up_proj") => 1e4,
            Some("down_proj") => 8e6,
            _ => 1.0,
        };
        values.iter_mut().for_each(|value| *value *= factor);
    });
    assert_eq!(loud, ImportError::Residual { bits: 4 });
}

#[test]
fn a_missing_file_leaves_nothing_and_is_named() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = tempfile::tempdir().unwrap();
        write_folder(folder.path(), CONFIG, Dtype::F32, |_, _| ());
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = converted(folder.path()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn writing_where_nothing_can_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("taken");
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("file"), b"x").unwrap();
    assert!(write_model(&blocked, b"model").is_err());
    assert!(write_model(&folder.path().join("absent/model"), b"model").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let path = folder.path().join("model");
    write_model(&path, b"one").unwrap();
    write_model(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
}
