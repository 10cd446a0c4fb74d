//! What each family's configuration means, as `transformers` writes it, and its tensors.

use super::super::tensors::expected_tensors;
use super::weights::{file_of, parts};
use super::*;

/// A configuration of four layers, with the fields of one family.
fn family(model_type: &str, fields: &str) -> Result<SourceConfig, SourceError> {
    parse(&format!(
        r#"{{"model_type": "{model_type}", "hidden_act": "silu", "hidden_size": 8,
        "intermediate_size": 6, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 5, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-06, "tie_word_embeddings": false, "dtype": "float32", "use_cache": true,
        "rope_parameters": {{"rope_theta": 10000.0, "rope_type": "default"}}, {fields}}}"#
    ))
}

fn window_of(model_type: &str, fields: &str) -> Option<(u32, u32)> {
    let config = family(model_type, fields).unwrap();
    config.window.map(|window| (window.len, window.first_layer))
}

/// A list of `full` full layers, then sliding ones up to four.
fn layers(full: usize) -> String {
    let names = (0..4).map(|layer| match layer < full {
        true => "\"full_attention\"",
        false => "\"sliding_attention\"",
    });
    format!("\"layer_types\": [{}]", names.collect::<Vec<_>>().join(", "))
}

#[test]
fn each_family_has_its_biases_norms_and_tensors() {
    let of = |biases: Biases| (biases.query_key_value, biases.output, biases.feed_forward);
    for (name, fields, architecture, biases, tensor) in [
        (
            "llama",
            "\"x\": null",
            Architecture::Llama,
            (false, false, false),
            "self_attn.q_proj.weight",
        ),
        (
            "llama",
            "\"attention_bias\": true, \"mlp_bias\": true",
            Architecture::Llama,
            (true, true, true),
            "mlp.gate_proj.bias",
        ),
        (
            "mistral",
            "\"sliding_window\": null",
            Architecture::Mistral,
            (false, false, false),
            "mlp.up_proj.weight",
        ),
        (
            "qwen2",
            "\"use_sliding_window\": false",
            Architecture::Qwen2,
            (true, false, false),
            "self_attn.v_proj.bias",
        ),
        (
            "qwen3",
            "\"head_dim\": 2",
            Architecture::Qwen3,
            (false, false, false),
            "self_attn.k_norm.weight",
        ),
        (
            "qwen3",
            "\"head_dim\": 4, \"attention_bias\": true",
            Architecture::Qwen3,
            (true, true, false),
            "self_attn.o_proj.bias",
        ),
        (
            "phi3",
            "\"resid_pdrop\": 0.0, \"original_max_position_embeddings\": 64",
            Architecture::Phi3,
            (false, false, false),
            "self_attn.qkv_proj.weight",
        ),
    ] {
        let config = family(name, fields).unwrap();
        assert_eq!((config.architecture, of(config.biases)), (architecture, biases), "{fields}");
        assert_eq!(config.has_head_norms, name == "qwen3");
        let expected = format!("model.layers.3.{tensor}");
        let tensors = expected_tensors(&config);
        assert!(tensors.iter().any(|(name, _)| *name == expected), "{expected}");
        let weights = Weights::parse(file_of(&parts(&config)), &config).unwrap();
        for (name, shape) in tensors::demands(&config) {
            let tensor = weights.tensor(&name).unwrap();
            let found = [tensor.row_count(), tensor.column_count()];
            assert_eq!(found[2 - shape.lens().len()..], *shape.lens(), "{name}");
        }
    }
}

#[test]
fn silence_is_refused_where_the_familys_default_is_another_model() {
    for (name, fields, field) in [
        ("mistral", "\"x\": null", "sliding_window"),
        ("qwen3", "\"x\": null", "head_dim"),
        ("qwen2", "\"use_sliding_window\": true, \"sliding_window\": 8", "max_window_layers"),
        ("qwen2", &layers(2), "sliding_window"),
        ("qwen2", "\"use_sliding_window\": true, \"max_window_layers\": 1", "sliding_window"),
        (
            "qwen3",
            "\"head_dim\": 2, \"use_sliding_window\": true, \"max_window_layers\": 1",
            "sliding_window",
        ),
    ] {
        let error = family(name, fields).unwrap_err().to_string();
        assert_eq!(error, format!("config.json lacks the field {field}"));
    }
}

#[test]
fn windows_begin_at_a_layer_or_are_none() {
    let mistral = |len: &str| window_of("mistral", &format!("\"sliding_window\": {len}"));
    assert_eq!(mistral("null"), None);
    assert_eq!(mistral("63"), Some((63, 0)));
    assert_eq!(mistral("64"), None, "a window as long as the context is none");
    assert_eq!(window_of("phi3", "\"sliding_window\": 1"), Some((1, 0)));
    let qwen = |switch: bool, rest: &str| {
        window_of(
            "qwen2",
            &format!("\"use_sliding_window\": {switch}, \"sliding_window\": 8, {rest}"),
        )
    };
    assert_eq!(qwen(false, "\"max_window_layers\": 1"), None);
    assert_eq!(qwen(true, "\"max_window_layers\": 1"), Some((8, 1)));
    assert_eq!(qwen(true, "\"max_window_layers\": 4"), None);
    assert_eq!(qwen(true, &layers(3)), Some((8, 3)));
    assert_eq!(qwen(true, &layers(4)), None);
    assert_eq!(qwen(false, &layers(4)), None);
    for list in ["[\"sliding_attention\", \"full_attention\"]", "[\"chunked_attention\"]", "[]"] {
        let fields =
            format!("\"use_sliding_window\": true, \"sliding_window\": 8, \"layer_types\": {list}");
        let error = family("qwen2", &fields).unwrap_err();
        assert!(matches!(error, SourceError::Feature { field: "layer_types", .. }), "{error}");
    }
}

#[test]
fn layer_types_may_not_contradict_the_window_of_families_that_go_by_it() {
    for name in ["phi3", "mistral"] {
        let with =
            |len: &str, full| family(name, &format!("\"sliding_window\": {len}, {}", layers(full)));
        assert_eq!(with("8", 0).unwrap().window, Some(Window { len: 8, first_layer: 0 }));
        assert_eq!(with("null", 4).unwrap().window, None);
        for (len, full) in [("8", 1), ("8", 4), ("null", 0), ("null", 3)] {
            let error = with(len, full).unwrap_err();
            assert!(matches!(error, SourceError::Feature { field: "layer_types", .. }), "{error}");
        }
    }
    let code = "\"auto_map\": {\"AutoConfig\": \"configuration_phi3.Phi3Config\"}";
    assert!(family("phi3", code).is_ok());
    assert!(family("phi3", "\"attention_bias\": true").is_err());
}

#[test]
fn rotations_are_read_in_both_spellings() {
    let with = |new: &str| {
        let old = "\"rope_scaling\": null";
        altered(old, new).map(|config| config.rotation.unwrap())
    };
    let llama3 = "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \
                  \"original_max_position_embeddings\": 8192";
    let linear = with("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}").unwrap();
    let factor = Decimal::parse("2.5").unwrap();
    assert_eq!(linear.scaling, RotationScaling::Linear { factor });
    let new =
        "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.50, \"rope_theta\": 1e4}";
    assert_eq!(with(new).unwrap(), linear);
    let old = with(&format!("\"rope_scaling\": {{\"rope_type\": \"llama3\", {llama3}}}")).unwrap();
    let decimal = |text| Decimal::parse(text).unwrap();
    let expected = RotationScaling::Llama3 {
        factor: decimal("8"),
        low_freq_factor: decimal("1"),
        high_freq_factor: decimal("4"),
        original_context: 8192,
    };
    assert_eq!(old.scaling, expected);
    let both = format!(
        "\"rope_parameters\": {{\"rope_type\": \"llama3\", \"type\": \"llama3\", {llama3}}}"
    );
    assert_eq!(with(&both).unwrap(), old);
    for (fields, expected) in [
        ("\"rope_scaling\": {\"type\": \"linear\"}", "lacks the field factor"),
        ("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}", "rope_type = yarn"),
        ("\"rope_scaling\": {\"type\": \"longrope\"}", "rope_type = longrope"),
        (
            "\"rope_scaling\": {\"type\": \"linear\", \"rope_type\": \"llama3\"}",
            "llama3 and linear",
        ),
        (
            "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"x\": 1}",
            "x = 1, a field that",
        ),
        ("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}", "factor = 5e-1, only a"),
        (
            "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \
             \"high_freq_factor\": 4}",
            "high_freq_factor = 4, only a number above low_freq_factor",
        ),
        (
            "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 65537}",
            "low_freq_factor = 65537, only",
        ),
        ("\"rope_scaling\": {}, \"rope_parameters\": {}", "one of the two"),
    ] {
        let error = with(fields).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn fused_tensors_are_read_by_their_rows() {
    let config = family("phi3", "\"x\": null").unwrap();
    let mut parts = parts(&config);
    for (name, dtype, shape, data) in &mut parts {
        if name.starts_with("model.layers.2.") && (name.contains("qkv") || name.contains("gate")) {
            *dtype = Dtype::F32;
            // Each element is the number of its row.
            let rows = (0..shape[0]).flat_map(|row| vec![row; shape[1]]);
            let number = |row| f32::from(u8::try_from(row).unwrap()).to_le_bytes();
            *data = rows.flat_map(number).collect();
        }
    }
    let weights = Weights::parse(file_of(&parts), &config).unwrap();
    let first_row = |name: &str| {
        let mut row = vec![];
        weights.tensor(&format!("layer.2.{name}")).unwrap().read_row(1, &mut row).unwrap();
        let value = row[3].mantissa >> -row[3].exponent;
        (value, row.len())
    };
    // 8 rows of queries, 4 of keys and 4 of values; 6 of gates and 6 of up.
    let found = ["query", "key", "value", "gate", "up"].map(first_row);
    assert_eq!(found, [(1, 8), (9, 8), (13, 8), (1, 8), (7, 8)]);
}

#[test]
fn a_tied_head_may_be_written_out_and_only_as_the_embedding() {
    let config = parse(CONFIG).unwrap();
    let with_head = |change: fn(&mut Vec<u8>)| {
        let mut parts = parts(&config);
        let (_, dtype, shape, mut data) = parts[0].clone();
        change(&mut data);
        parts.push(("lm_head.weight".to_owned(), dtype, shape, data));
        parts.push((
            "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
            Dtype::F32,
            vec![1],
            vec![0; 4],
        ));
        Weights::parse(file_of(&parts), &config).map(drop)
    };
    assert_eq!(with_head(|_| ()), Ok(()));
    let error = with_head(|data| data[9] = 1).unwrap_err();
    assert!(matches!(error, SourceError::TensorExtra { .. }), "{error}");
}
