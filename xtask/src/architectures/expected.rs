//! What `transformers` computed: `expected.safetensors` beside a checkpoint.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Some texts and the result of each.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) texts: Vec<Vec<u32>>,
    pub(crate) results: Results,
}

/// One row for each position of a decoder's texts, or for each text of an encoder.
#[derive(Debug)]
pub(crate) enum Results {
    LogProbs(Vec<Vec<f64>>),
    Embeddings(Vec<Vec<f64>>),
}

impl Expected {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("expected.safetensors");
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let mut tokens = integers(&tensors.tensor("tokens")?)?.into_iter();
        let texts: Vec<Vec<u32>> = integers(&tensors.tensor("lengths")?)?
            .into_iter()
            .map(|len| tokens.by_ref().take(len as usize).collect())
            .collect();
        let results = match tensors.tensor("log-probs") {
            Ok(tensor) => Results::LogProbs(rows(&tensor)?),
            Err(_) => Results::Embeddings(rows(&tensors.tensor("embeddings")?)?),
        };
        let (wanted, found) = match &results {
            Results::LogProbs(rows) => (texts.iter().map(Vec::len).sum(), rows.len()),
            Results::Embeddings(rows) => (texts.len(), rows.len()),
        };
        ensure!(wanted == found, "{}: {found} results, expected {wanted}", path.display());
        Ok(Self { texts, results })
    }
}

fn integers(tensor: &TensorView<'_>) -> Result<Vec<u32>> {
    ensure!(tensor.dtype() == Dtype::I32, "tokens are {:?}, expected I32", tensor.dtype());
    Ok(tensor.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

fn rows(tensor: &TensorView<'_>) -> Result<Vec<Vec<f64>>> {
    let values: Vec<f64> = match tensor.dtype() {
        Dtype::F16 => {
            let halves = tensor.data().as_chunks().0.iter();
            halves.map(|bytes| binary16(u16::from_le_bytes(*bytes))).collect()
        }
        Dtype::F32 => {
            let singles = tensor.data().as_chunks().0.iter();
            singles.map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
        }
        other => anyhow::bail!("results are {other:?}, expected F16 or F32"),
    };
    let &[_, width] = tensor.shape() else { anyhow::bail!("results are not a matrix") };
    Ok(values.chunks_exact(width).map(<[f64]>::to_vec).collect())
}

/// The value of a binary16 number that is finite.
fn binary16(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let exponent = i32::from(bits >> 10 & 0x1f);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        _ => (fraction + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_at_the_edges_of_their_ranges_are_read() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x0001, 2_f64.powi(-24)),
            (0x0400, 2_f64.powi(-14)),
            (0x3c00, 1.0),
            (0xc500, -5.0),
            (0x7bff, 65504.0),
        ] {
            assert_eq!(binary16(bits), value);
        }
    }
}
