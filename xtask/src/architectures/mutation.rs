//! Copies of a checkpoint in which one thing is changed that its architecture is about.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

/// A change, and the checkpoints whose comparison must notice it.
#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) what: &'static str,
    pub(super) checkpoints: &'static [&'static str],
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// The value at a JSON pointer of a file.
    Json { file: &'static str, pointer: &'static str, value: &'static str },
    /// Every tensor with this ending becomes zero.
    Zeros(&'static str),
    /// Every tensor with this ending becomes one.
    Ones(&'static str),
    /// The halves of the rows of every tensor with this ending change places.
    SwappedHalves(&'static str),
    /// Query heads, of as many channels, go to other groups of keys: rows of q, columns of o.
    Regrouped { head_dim: usize, order: &'static [usize] },
    /// The binary32 metadata value of a GGUF file.
    Gguf { key: &'static str, value: f32 },
}

const CONFIG: &str = "config.json";

const fn config(pointer: &'static str, value: &'static str) -> Change {
    Change::Json { file: CONFIG, pointer, value }
}

pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "RoPE base 10,000 becomes 5,000",
        checkpoints: &["llama2", "llama-linear", "mistral", "phi3"],
        change: config("/rope_theta", "5000.0"),
    },
    Mutation {
        what: "RoPE base becomes 200,000",
        checkpoints: &["llama3", "qwen2", "qwen3"],
        change: config("/rope_theta", "200000.0"),
    },
    Mutation {
        what: "RoPE base 100,000 becomes 40,000",
        checkpoints: &["smollm"],
        change: config("/rope_parameters/rope_theta", "40000.0"),
    },
    Mutation {
        what: "RoPE base 10,000 becomes 5,000",
        checkpoints: &["gguf-llama-q8_0", "gguf-llama-q4_k"],
        change: Change::Gguf { key: "llama.rope.freq_base", value: 5_000.0 },
    },
    Mutation {
        what: "RoPE base becomes 200,000",
        checkpoints: &["gguf-llama-f16"],
        change: Change::Gguf { key: "llama.rope.freq_base", value: 200_000.0 },
    },
    Mutation {
        what: "RoPE base becomes 200,000",
        checkpoints: &["gguf-qwen2-q4_0"],
        change: Change::Gguf { key: "qwen2.rope.freq_base", value: 200_000.0 },
    },
    Mutation {
        what: "epsilon becomes 1e-4",
        checkpoints: &["llama2", "llama3", "mistral", "qwen2", "qwen3", "smollm", "phi3"],
        change: config("/rms_norm_eps", "1e-4"),
    },
    Mutation {
        what: "epsilon becomes 1e-4",
        checkpoints: &["gguf-llama-q8_0"],
        change: Change::Gguf { key: "llama.attention.layer_norm_rms_epsilon", value: 1e-4 },
    },
    Mutation {
        what: "epsilon 1e-12 becomes 1e-2",
        checkpoints: &["bert-mean", "bert-cls"],
        change: config("/layer_norm_eps", "1e-2"),
    },
    Mutation {
        what: "a window of 24 becomes none",
        checkpoints: &["mistral"],
        change: config("/sliding_window", "null"),
    },
    Mutation {
        what: "a window of 24 becomes one of 23",
        checkpoints: &["mistral"],
        change: config("/sliding_window", "23"),
    },
    Mutation {
        what: "a window of 40 becomes one of 41",
        checkpoints: &["phi3"],
        change: config("/sliding_window", "41"),
    },
    Mutation {
        what: "scaling by 8 becomes scaling by 4",
        checkpoints: &["llama3"],
        change: config("/rope_scaling/factor", "4.0"),
    },
    Mutation {
        what: "high frequencies from 4 become from 3",
        checkpoints: &["llama3"],
        change: config("/rope_scaling/high_freq_factor", "3.0"),
    },
    Mutation {
        what: "the original context doubles",
        checkpoints: &["llama3"],
        change: config("/rope_scaling/original_max_position_embeddings", "128"),
    },
    Mutation {
        what: "scaling by 4 becomes none",
        checkpoints: &["llama-linear"],
        change: config("/rope_scaling", "null"),
    },
    Mutation {
        what: "heads go to other groups",
        checkpoints: &["llama3", "mistral", "qwen2"],
        change: Change::Regrouped { head_dim: 16, order: &[0, 2, 1, 3] },
    },
    Mutation {
        what: "heads go to other groups",
        checkpoints: &["qwen3"],
        change: Change::Regrouped { head_dim: 32, order: &[0, 2, 1, 3] },
    },
    Mutation {
        what: "heads go to other groups",
        checkpoints: &["smollm"],
        change: Change::Regrouped { head_dim: 16, order: &[0, 2, 4, 1, 3, 5] },
    },
    Mutation {
        what: "query norms become plain",
        checkpoints: &["qwen3"],
        change: Change::Ones("q_norm.weight"),
    },
    Mutation {
        what: "key norms become plain",
        checkpoints: &["qwen3"],
        change: Change::Ones("k_norm.weight"),
    },
    Mutation {
        what: "no bias of queries",
        checkpoints: &["qwen2"],
        change: Change::Zeros("q_proj.bias"),
    },
    Mutation {
        what: "no bias of values",
        checkpoints: &["qwen2"],
        change: Change::Zeros("v_proj.bias"),
    },
    Mutation {
        what: "gate and up change places",
        checkpoints: &["phi3"],
        change: Change::SwappedHalves("gate_up_proj.weight"),
    },
    Mutation {
        what: "no bias of queries",
        checkpoints: &["bert-mean", "bert-cls"],
        change: Change::Zeros("query.bias"),
    },
    Mutation {
        what: "no bias of the feed-forward",
        checkpoints: &["bert-mean", "bert-cls"],
        change: Change::Zeros("intermediate.dense.bias"),
    },
    Mutation {
        what: "no bias of the norms",
        checkpoints: &["bert-mean", "bert-cls"],
        change: Change::Zeros("output.LayerNorm.bias"),
    },
    Mutation {
        what: "no positions",
        checkpoints: &["bert-mean", "bert-cls"],
        change: Change::Zeros("position_embeddings.weight"),
    },
    Mutation {
        what: "the other token type",
        checkpoints: &["bert-mean", "bert-cls"],
        change: Change::SwappedHalves("token_type_embeddings.weight"),
    },
];

impl Mutation {
    /// A copy of a checkpoint with this change, which must change something.
    pub(super) fn applied(&self, checkpoint: &Path) -> Result<TempDir> {
        let copy = TempDir::new()?;
        copy_folder(checkpoint, copy.path())?;
        let changed = match &self.change {
            Change::Json { file, pointer, value } => {
                change_json(&copy.path().join(file), pointer, serde_json::from_str(value)?)?
            }
            Change::Gguf { key, value } => {
                change_gguf(&copy.path().join("model.gguf"), key, *value)?
            }
            tensors => change_tensors(copy.path(), tensors)?,
        };
        ensure!(changed, "{} changes nothing in {}", self.what, checkpoint.display());
        Ok(copy)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn change_json(path: &Path, pointer: &str, value: Value) -> Result<bool> {
    let mut document: Value = serde_json::from_slice(&fs::read(path)?)?;
    let place = document.pointer_mut(pointer).with_context(|| format!("no {pointer}"))?;
    let is_changed = *place != value;
    *place = value;
    fs::write(path, document.to_string())?;
    Ok(is_changed)
}

/// A GGUF value of type 6 (binary32) stands after its key and the type's number.
fn change_gguf(path: &Path, key: &str, value: f32) -> Result<bool> {
    let mut bytes = fs::read(path)?;
    let mut found = bytes.windows(key.len()).enumerate();
    let at = found.find(|(_, window)| *window == key.as_bytes()).context("no such key")?.0;
    let start = at + key.len();
    ensure!(bytes[start..start + 4] == 6_u32.to_le_bytes(), "{key} is no binary32");
    let place = &mut bytes[start + 4..start + 8];
    let is_changed = *place != value.to_le_bytes();
    place.copy_from_slice(&value.to_le_bytes());
    fs::write(path, bytes)?;
    Ok(is_changed)
}

fn change_tensors(folder: &Path, change: &Change) -> Result<bool> {
    let mut is_changed = false;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("model") || !name.ends_with(".safetensors") {
            continue;
        }
        let bytes = fs::read(&path)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            let data = changed(&name, &view, change)?;
            is_changed |= data != view.data();
            tensors.insert(name, (view.dtype(), view.shape().to_vec(), data));
        }
        let views: BTreeMap<_, _> = tensors
            .iter()
            .map(|(name, (dtype, shape, data))| {
                Ok((name, TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<_>>()?;
        serialize_to_file(views, None, &path)?;
    }
    Ok(is_changed)
}

/// The bytes of a tensor after the change.
fn changed(name: &str, tensor: &TensorView<'_>, change: &Change) -> Result<Vec<u8>> {
    let data = tensor.data();
    let is_meant = |ending: &str| name.ends_with(ending);
    Ok(match change {
        Change::Zeros(ending) if is_meant(ending) => vec![0; data.len()],
        Change::Ones(ending) if is_meant(ending) => {
            let one: &[u8] = match tensor.dtype() {
                Dtype::BF16 => &[0x80, 0x3f],
                Dtype::F16 => &[0x00, 0x3c],
                Dtype::F32 => &[0x00, 0x00, 0x80, 0x3f],
                other => bail!("{name} is {other:?}"),
            };
            one.repeat(data.len() / one.len())
        }
        Change::SwappedHalves(ending) if is_meant(ending) => {
            let (first, second) = data.split_at(data.len() / 2);
            [second, first].concat()
        }
        Change::Regrouped { head_dim, order } => {
            let rows = tensor.shape().first().copied().unwrap_or(1);
            let row_bytes = data.len() / rows;
            if is_meant("q_proj.weight") || is_meant("q_proj.bias") {
                reordered(data, head_dim * row_bytes, order)
            } else if is_meant("o_proj.weight") {
                let part_bytes = row_bytes / order.len();
                let rows = data.chunks_exact(row_bytes);
                rows.flat_map(|row| reordered(row, part_bytes, order)).collect()
            } else {
                data.to_vec()
            }
        }
        _ => data.to_vec(),
    })
}

/// Parts of `part_bytes` each, in another order.
fn reordered(data: &[u8], part_bytes: usize, order: &[usize]) -> Vec<u8> {
    order
        .iter()
        .flat_map(|part| &data[part * part_bytes..(part + 1) * part_bytes])
        .copied()
        .collect()
}
