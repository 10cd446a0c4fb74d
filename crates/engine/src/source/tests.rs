//! Folders that are read, and every neighbour that is refused.

use std::collections::BTreeMap;
use std::fs;

use ::safetensors::tensor::{Dtype, TensorView};

use super::config::VOCABULARY_MAX;
use super::safetensors::SHARDS_MAX;
use super::*;

mod families;
mod folder;
mod weights;
mod words;

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "vocab_size": 5, "max_position_embeddings": 16,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": true,
  "bos_token_id": 1, "eos_token_id": [4, 0, 4], "torch_dtype": "bfloat16", "rope_scaling": null
}"#;

fn parse(config: &str) -> Result<SourceConfig, SourceError> {
    SourceConfig::parse(config.as_bytes())
}

/// CONFIG with one text replaced by another.
fn altered(from: &str, to: &str) -> Result<SourceConfig, SourceError> {
    assert!(CONFIG.contains(from), "{from}");
    parse(&CONFIG.replace(from, to))
}

fn theta(config: &SourceConfig) -> Decimal {
    config.rotation.as_ref().unwrap().theta
}

#[test]
fn a_configuration_is_read_with_exact_decimals_and_the_familys_defaults() {
    let config = parse(CONFIG).unwrap();
    assert_eq!(config.head_dim, 2);
    assert_eq!(config.norm_eps.ratio(), Some((1, 100_000)));
    assert_eq!(theta(&config).ratio(), Some((10_000, 1)));
    assert_eq!((config.begin_token, config.end_tokens.as_slice()), (Some(1), &[0, 4][..]));
    assert!(config.is_head_tied);
    let config = altered("\"tie_word_embeddings\": true,", "\"num_x\": null,").unwrap();
    assert!(!config.is_head_tied);
    assert_eq!(altered("\"rope_theta\": 10000.0,", "").unwrap().rotation, config.rotation);
    let nested = "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5},";
    let nested = altered("\"rope_theta\": 10000.0,", nested).unwrap();
    assert_eq!(theta(&nested).ratio(), Some((500_000, 1)));
    let all = altered("\"num_key_value_heads\": 2,", "").unwrap();
    assert_eq!(all.kv_head_count, 4);
    let one = altered("[4, 0, 4]", "3").unwrap();
    assert_eq!(one.end_tokens, [3]);
    assert!(altered("[4, 0, 4]", "null").unwrap().end_tokens.is_empty());
}

#[test]
fn features_that_would_be_computed_otherwise_are_refused_by_name() {
    for (from, to, field) in [
        ("\"llama\"", "\"gemma\"", "model_type"),
        ("\"silu\"", "\"gelu\"", "hidden_act"),
        ("\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"dynamic\"}", "rope_type"),
        ("\"rope_scaling\": null", "\"layer_types\": [\"sliding_attention\"]", "layer_types"),
        ("\"rope_scaling\": null", "\"quantization_config\": {}", "quantization_config"),
        ("\"rope_scaling\": null", "\"pretraining_tp\": 2", "pretraining_tp"),
        ("\"rope_scaling\": null", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor"),
        ("\"rope_scaling\": null", "\"rope_parameters\": {\"rope_type\": \"yarn\"}", "rope_type"),
    ] {
        let error = altered(from, to).unwrap_err();
        let is_expected =
            matches!(&error, SourceError::Feature { field: found, .. } if *found == field);
        assert!(is_expected, "{error}");
    }
    let error = altered("\"rope_scaling\": null", "\"logit_scale\": 0.5").unwrap_err();
    let (file, field) = ("config.json".to_owned(), "logit_scale".to_owned());
    assert_eq!(error, SourceError::FieldUnknown { file, field, found: "0.5".to_owned() });
    for to in ["\"sliding_window\": 4096", "\"rope_scaling\": {\"factor\": 2.0}"] {
        let error = altered("\"rope_scaling\": null", to).unwrap_err();
        assert!(matches!(error, SourceError::FieldUnknown { .. }), "{error}");
    }
    for to in ["\"is_causal\": false", "\"some_switch\": false", "\"use_mrope\": true"] {
        let error = altered("\"rope_scaling\": null", to).unwrap_err();
        assert!(matches!(error, SourceError::FieldUnknown { .. }), "{error}");
    }
    assert!(altered("\"rope_scaling\": null", "\"use_mrope\": false").is_ok());
}

#[test]
fn code_of_the_models_own_and_other_classes_are_refused() {
    for (to, field) in
        [("\"auto_map\": {\"AutoModel\": \"x.X\"}", "auto_map"), ("\"auto_map\": {}", "auto_map")]
    {
        let error = altered("\"rope_scaling\": null", to).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    for name in ["MistralForCausalLM", "LlamaForSequenceClassification", ""] {
        let error = altered("LlamaForCausalLM", name).unwrap_err();
        assert!(matches!(error, SourceError::Feature { field: "architectures", .. }), "{error}");
    }
    assert!(altered("[\"LlamaForCausalLM\"]", "[]").is_ok());
    assert!(altered("[\"LlamaForCausalLM\"]", "7").is_err());
}

#[test]
fn fields_missing_mistyped_repeated_or_out_of_range_are_refused() {
    for (from, to, expected) in [
        ("\"model_type\": \"llama\",", "", "config.json lacks the field model_type"),
        ("\"hidden_size\": 8,", "", "config.json lacks the field hidden_size"),
        ("\"rms_norm_eps\": 1e-05,", "", "config.json lacks the field rms_norm_eps"),
        ("\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size = 0, it must lie in 1..=131072"),
        ("\"hidden_size\": 8", "\"hidden_size\": 131073", "it must lie in 1..=131072"),
        ("\"hidden_size\": 8", "\"hidden_size\": 8.0", "expected a whole number"),
        ("\"hidden_size\": 8", "\"hidden_size\": -8", "expected a whole number"),
        ("\"hidden_size\": 8", "\"hidden_size\": 9", "it must be a multiple of 4"),
        ("\"hidden_size\": 8", "\"hidden_size\": 12", "head_dim = 3, it must be a multiple of 2"),
        ("_value_heads\": 2", "_value_heads\": 3", "it must be a multiple of 3"),
        ("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": -1e-05", "expected a decimal number"),
        ("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": \"1\"", "expected a decimal number"),
        ("[4, 0, 4]", "5", "eos_token_id = 5, it must lie in 0..=4"),
        ("[4, 0, 4]", "\"x\"", "expected a token id or a list"),
        ("\"bos_token_id\": 1", "\"bos_token_id\": 5", "it must lie in 0..=4"),
        ("\"hidden_size\": 8", "\"hidden_size\": 8, \"hidden_size\": 8", "distinct names"),
        ("{", "[{", "not a JSON object"),
    ] {
        let error = altered(from, to).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} for {to}");
    }
    let many = format!("{:?}", vec![0; 65]);
    assert!(altered("[4, 0, 4]", &many).unwrap_err().to_string().contains("0..=64"));
    assert!(altered("[4, 0, 4]", &many.replacen("0, ", "", 1)).is_ok());
    let wide = |size: u32| altered("\"vocab_size\": 5", &format!("\"vocab_size\": {size}"));
    assert!(wide(VOCABULARY_MAX).is_ok());
    assert!(wide(VOCABULARY_MAX + 1).is_err());
    assert_eq!(
        SourceConfig::parse(b"{\"a\": \"\xff\"}"),
        Err(SourceError::NotUtf8 { file: "config.json".to_owned(), offset: 7 })
    );
}

#[test]
fn decimals_are_exact_in_lowest_terms_and_refuse_what_is_not_a_number() {
    for (text, ratio, shown) in [
        ("0", (0, 1), "0"),
        ("0.000", (0, 1), "0"),
        ("10000.0", (10_000, 1), "1e4"),
        ("1E-06", (1, 1_000_000), "1e-6"),
        ("1.50e+2", (150, 1), "15e1"),
        ("0.1", (1, 10), "1e-1"),
        ("9223372036854775807", (i64::MAX, 1), "9223372036854775807"),
    ] {
        let decimal = Decimal::parse(text).unwrap();
        assert_eq!(decimal.ratio(), Some(ratio), "{text}");
        assert_eq!(decimal.to_string(), shown);
    }
    assert!(Decimal::parse("1e64").is_some_and(|decimal| decimal.ratio().is_none()));
    for text in ["", ".5", "1.", "-1", "1e", "1e65", "1e-65", "NaN", "18446744073709551616", "0x1"]
    {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
    let quarter = Decimal::parse("0.25").unwrap().fixed().unwrap();
    assert_eq!(quarter.scaled(4), 1);
}

#[test]
fn the_chat_template_is_taken_from_either_file() {
    let plain = br#"{"chat_template": "a", "bos_token": "<b>", "eos_token": {"content": "<e>"}}"#;
    let text = SourceText::parse(Some(plain), None).unwrap();
    assert_eq!(text.chat_template.as_deref(), Some("a"));
    assert_eq!(
        (text.begin_token.as_deref(), text.end_token.as_deref()),
        (Some("<b>"), Some("<e>"))
    );
    let named = br#"{"chat_template": [{"name": "x", "template": "1"}, {"name": "default", "template": "2"}]}"#;
    let text = SourceText::parse(Some(named), None).unwrap();
    assert_eq!(text.chat_template.as_deref(), Some("2"));
    let text = SourceText::parse(Some(plain), Some(b"file".to_vec())).unwrap();
    assert_eq!(text.chat_template.as_deref(), Some("file"));
    assert_eq!(SourceText::parse(None, None), Ok(SourceText::default()));
    assert!(SourceText::parse(Some(br#"{"chat_template": 7}"#), None).is_err());
    assert!(SourceText::parse(None, Some(vec![0xff])).is_err());
}
