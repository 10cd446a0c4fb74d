//! `cargo xtask outliers`: what loud channels cost.
//!
//! Large models have a few channels that are many times louder than the rest. The default model has
//! none, so they are put into copies of its checkpoint without changing what it computes: a norm's
//! gain is multiplied and the columns that read it are divided, rows of up are multiplied and the
//! columns of down divided. Each copy is imported and its perplexity is measured beside floats.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tally_engine::import::{Options, convert};
use tally_engine::model::WeightKind;
use tally_engine::source::Source;
use tally_engine::tokenizer::Tokenizer;
use tally_engine::{Engine, Kernels, Model};
use tally_reference::{Comparison, Reference, exact_logits, float_logits};
use tempfile::TempDir;

use crate::repo::Repo;

const CHECKPOINT: &str = "models/default/checkpoint";
const CALIBRATION: &str = "models/default/calibration.txt";
const HELD_OUT: &str = "models/default/heldout.txt";
/// How many times louder, and by how many percent perplexity may grow with int8 rows.
const DEMANDS: [(f32, f64); 3] = [(1.0, 0.1), (30.0, 0.1), (100.0, 0.3)];
const KINDS: [WeightKind; 3] = [WeightKind::Int8, WeightKind::Int8Groups, WeightKind::Int4];
/// Loud channels after each norm, and inside each feed-forward.
const LOUD_AFTER_NORM: usize = 4;
const LOUD_INSIDE: usize = 8;
const CHUNK_LEN: usize = 64;

/// A matrix or a vector (one row) of a checkpoint.
#[derive(Debug, PartialEq)]
struct Matrix {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Prints the table and fails if a demand is not met.
pub(crate) fn run(repo: &Repo, windows_max: usize) -> Result<()> {
    let calibration = repo.text(CALIBRATION)?;
    let text = repo.text(HELD_OUT)?;
    println!("| loud channels | perplexity, float | int8 rows | int8 groups | int4 groups |");
    println!("|---|---|---|---|---|");
    let mut failures = vec![];
    for (factor, growth_max) in DEMANDS {
        let copy = louder(&repo.root().join(CHECKPOINT), factor)?;
        let windows = Windows::new(copy.path(), &text, windows_max)?;
        let mut cells = vec![];
        for kind in KINDS {
            let sums = windows.compare(copy.path(), kind, &calibration)?;
            let growth = sums.growth_percent();
            if cells.is_empty() {
                cells.push(format!("{:.4}", sums.float_perplexity()));
                if growth.abs() > growth_max {
                    failures.push(format!("{growth:+.3} % at ×{factor}, allowed {growth_max} %"));
                }
            }
            cells.push(format!("{growth:+.3} %"));
        }
        let what = if factor > 1.0 { format!("×{factor}") } else { "none".to_owned() };
        println!("| {what} | {} |", cells.join(" | "));
    }
    ensure!(failures.is_empty(), "int8 rows: {}", failures.join(", "));
    Ok(())
}

/// Windows of a text with the float predictions of each position.
struct Windows {
    texts: Vec<Vec<u32>>,
    float: Vec<Vec<f32>>,
}

impl Windows {
    fn new(folder: &Path, text: &str, count_max: usize) -> Result<Self> {
        let source = Source::read(folder)?;
        let tokens = Tokenizer::parse(&source.tokenizer)?.encode(text)?;
        let window = source.config.context_len as usize;
        let texts: Vec<Vec<u32>> =
            tokens.chunks_exact(window).take(count_max).map(<[u32]>::to_vec).collect();
        ensure!(!texts.is_empty(), "{HELD_OUT} is shorter than one window");
        let (reference, mut float) = (Reference::new(&source)?, vec![]);
        for text in &texts {
            reference.logits(text, &mut |_, logits| float.push(logits.to_vec()))?;
        }
        Ok(Self { texts, float })
    }

    fn compare(&self, folder: &Path, kind: WeightKind, calibration: &str) -> Result<Comparison> {
        let options = Options { weights: Some(kind), calibration_text: calibration, context: None };
        let model = Arc::new(Model::parse(&convert(folder, &options, &mut |_| ())?)?);
        let logit_bits = model.configuration().logit_bits;
        let engine = Engine::new(model, Kernels::detect(), 2)?;
        let (mut sums, mut float) = (Comparison::default(), self.float.iter());
        for text in &self.texts {
            engine.logits_of(text, CHUNK_LEN, &mut |position, logits| {
                let next = text.get(position + 1).copied();
                let Some(float) = float.next() else { return };
                sums.add(&float_logits(float), &exact_logits(logits, logit_bits), next);
            })?;
        }
        Ok(sums)
    }
}

/// A copy of a checkpoint in binary32 with channels that are `factor` times louder.
fn louder(checkpoint: &Path, factor: f32) -> Result<TempDir> {
    let copy = TempDir::new()?;
    for entry in fs::read_dir(checkpoint)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    let mut tensors = read(&checkpoint.join("model.safetensors"))?;
    raise(&mut tensors, factor)?;
    let bytes: BTreeMap<&String, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, matrix)| {
            let bytes = matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, (matrix.shape.clone(), bytes))
        })
        .collect();
    let views: BTreeMap<_, _> = bytes
        .iter()
        .map(|(name, (shape, bytes))| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<_>>()?;
    serialize_to_file(views, None, &copy.path().join("model.safetensors"))?;
    Ok(copy)
}

fn read(path: &Path) -> Result<BTreeMap<String, Matrix>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
        ensure!(view.dtype() == Dtype::BF16, "{name} is {:?}, expected BF16", view.dtype());
        let halves = view.data().as_chunks().0.iter();
        let values =
            halves.map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16));
        tensors.insert(name, Matrix { shape: view.shape().to_vec(), values: values.collect() });
    }
    Ok(tensors)
}

/// Makes channels of every layer louder, other ones in each.
fn raise(tensors: &mut BTreeMap<String, Matrix>, factor: f32) -> Result<()> {
    for layer in 0.. {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let Some(norm) = tensors.get(&name("input_layernorm")) else { break };
        let width = norm.values.len();
        let inner = tensors.get(&name("mlp.up_proj")).context("no up")?.shape[0];
        let pick = |count: usize, step: usize, len: usize| -> Vec<usize> {
            (0..count).map(|index| (index * step + layer * 37 + 11) % len).collect()
        };
        for (source, readers, channels) in [
            (
                "input_layernorm",
                &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"][..],
                pick(LOUD_AFTER_NORM, 61, width),
            ),
            (
                "post_attention_layernorm",
                &["mlp.gate_proj", "mlp.up_proj"],
                pick(LOUD_AFTER_NORM, 53, width),
            ),
            ("mlp.up_proj", &["mlp.down_proj"], pick(LOUD_INSIDE, 91, inner)),
        ] {
            let source = tensors.get_mut(&name(source)).context("a tensor is missing")?;
            for channel in &channels {
                source.multiply_row(*channel, factor);
            }
            for reader in readers {
                let reader = tensors.get_mut(&name(reader)).context("a tensor is missing")?;
                for channel in &channels {
                    reader.divide_column(*channel, factor);
                }
            }
        }
    }
    Ok(())
}

impl Matrix {
    /// A vector's rows are its elements.
    fn multiply_row(&mut self, row: usize, factor: f32) {
        let width = self.shape.get(1).copied().unwrap_or(1);
        for value in &mut self.values[row * width..(row + 1) * width] {
            *value *= factor;
        }
    }

    fn divide_column(&mut self, column: usize, factor: f32) {
        let width = self.shape.get(1).copied().unwrap_or(1);
        for value in self.values.iter_mut().skip(column).step_by(width) {
            *value /= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_a_column_change_and_nothing_else() {
        let mut matrix = Matrix { shape: vec![2, 3], values: vec![1.0; 6] };
        matrix.multiply_row(1, 4.0);
        matrix.divide_column(2, 2.0);
        assert_eq!(matrix.values, [1.0, 1.0, 0.5, 4.0, 4.0, 2.0]);
        let mut vector = Matrix { shape: vec![3], values: vec![1.0; 3] };
        vector.multiply_row(2, 4.0);
        assert_eq!(vector.values, [1.0, 1.0, 4.0]);
    }
}
