//! Models for the comparison: every committed checkpoint in every kind of weights, and random ones
//! whose shapes have tails everywhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use safetensors::tensor::{Dtype, TensorView};
use tally_engine::import::{Options, convert, write_model};
use tally_engine::model::WeightKind;
use tally_engine::source::{SourceConfig, tensors};

use super::twin::Job;

/// Small checkpoints of every architecture.
const CHECKPOINTS: &str = "models/quality/architectures";
/// Whose tokenizer, of 128 tokens, the random models have.
const TOKENIZER: &str = "models/quality/architectures/llama2/tokenizer.json";
const CALIBRATION: &str = "The fraction bits of the residual stream are chosen with this text.";
const KINDS: [(&str, WeightKind); 3] = [
    ("int8", WeightKind::Int8),
    ("int8-groups", WeightKind::Int8Groups),
    ("int4", WeightKind::Int4),
];

/// Shapes that no register width divides, with what the committed checkpoints lack: biases
/// everywhere, norms of odd heads, a window of three, one key head for all, an embedding as head.
const ODD: &[(&str, &str)] = &[
    (
        "odd-llama",
        r#"{"model_type": "llama", "hidden_act": "silu", "hidden_size": 40,
        "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 10, "vocab_size": 131,
        "max_position_embeddings": 44, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true}"#,
    ),
    (
        "odd-qwen3",
        r#"{"model_type": "qwen3", "hidden_act": "silu", "hidden_size": 36,
        "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 14, "vocab_size": 129,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-06, "rope_theta": 1000000,
        "tie_word_embeddings": false, "attention_bias": true}"#,
    ),
    (
        "odd-mistral",
        r#"{"model_type": "mistral", "hidden_act": "silu", "hidden_size": 33,
        "intermediate_size": 31, "num_hidden_layers": 3, "num_attention_heads": 3,
        "num_key_value_heads": 3, "head_dim": 2, "vocab_size": 128, "sliding_window": 3,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": false}"#,
    ),
];

/// Converts all into a folder.
pub(super) fn jobs(root: &Path, folder: &Path) -> Result<Vec<Job>> {
    let checkpoints = root.join(CHECKPOINTS);
    let entries = fs::read_dir(&checkpoints).context(CHECKPOINTS)?;
    let paths: Result<Vec<PathBuf>, _> =
        entries.map(|entry| entry.map(|found| found.path())).collect();
    let mut paths = paths?;
    paths.sort();
    ensure!(paths.len() >= 10, "{} checkpoints in {CHECKPOINTS}", paths.len());
    let mut jobs = vec![];
    for path in &paths {
        let name = path.file_name().context("a checkpoint has a name")?.to_string_lossy();
        let file = path.join("model.gguf");
        let source = if file.exists() { &file } else { path };
        for (kind, weights) in KINDS {
            jobs.push(converted(format!("{name}-{kind}"), source, weights, folder)?);
        }
    }
    for (name, config) in ODD {
        jobs.push(odd(name, config, root, folder)?);
    }
    Ok(jobs)
}

/// A random model of the configuration.
pub(super) fn odd(name: &str, config: &str, root: &Path, folder: &Path) -> Result<Job> {
    let source = folder.join(format!("{name}-source"));
    fs::create_dir(&source)?;
    let parsed = SourceConfig::parse(config.as_bytes())?;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors::expected_tensors(&parsed)
        .into_iter()
        .map(|(name, shape)| {
            let bytes = random_floats(&name, shape.lens().iter().product());
            (name, shape.lens().to_vec(), bytes)
        })
        .collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        })
        .collect();
    fs::write(source.join("model.safetensors"), safetensors::serialize(views?, None)?)?;
    fs::write(source.join("config.json"), config)?;
    fs::copy(root.join(TOKENIZER), source.join("tokenizer.json"))?;
    converted(name.to_owned(), &source, WeightKind::Int8, folder)
}

/// The first of the odd configurations.
#[cfg(test)]
pub(super) fn first_odd() -> (&'static str, &'static str) {
    ODD[0]
}

fn converted(name: String, source: &Path, weights: WeightKind, folder: &Path) -> Result<Job> {
    let options =
        Options { weights: Some(weights), calibration_text: CALIBRATION, context: Some(64) };
    let bytes = convert(source, &options, &mut |_| ()).with_context(|| name.clone())?;
    let path = folder.join(format!("{name}.tally"));
    write_model(&path, &bytes)?;
    Job::of_model(name, path)
}

/// Numbers up to a quarter in magnitude; gains of norms are about one.
fn random_floats(name: &str, count: usize) -> Vec<u8> {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let is_gain = name.contains("norm") && !name.ends_with("bias");
    let numbers = (0..count).map(|_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let [high, low, ..] = state.to_be_bytes();
        let number = f32::from(i16::from_be_bytes([high, low])) / 131_072.0;
        if is_gain { 1.0 + number } else { number }
    });
    numbers.flat_map(f32::to_le_bytes).collect()
}
