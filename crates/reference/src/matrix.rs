//! Linear layers, norms and activation functions over rows of binary32.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

/// Fewest output channels that a thread is given.
const CHANNELS_MIN: usize = 32;

/// A matrix of (outputs, inputs) and the bias that is added.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weights: Array2<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Linear {
    /// (n, k) × (m, k)ᵀ + (m,) → (n, m)
    pub(crate) fn apply(&self, input: &Array2<f32>) -> Array2<f32> {
        let mut output = times(input, &self.weights);
        if let Some(bias) = &self.bias {
            for mut row in output.rows_mut() {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
        }
        output
    }
}

/// (n, k) × (m, k)ᵀ → (n, m), the m rows of the weights shared among threads.
pub(crate) fn times(input: &Array2<f32>, weights: &Array2<f32>) -> Array2<f32> {
    let mut output = Array2::zeros((input.nrows(), weights.nrows()));
    let portion = weights.nrows().div_ceil(rayon::current_num_threads() * 4).max(CHANNELS_MIN);
    let outputs = output.axis_chunks_iter_mut(Axis(1), portion);
    let portions: Vec<_> = outputs.zip(weights.axis_chunks_iter(Axis(0), portion)).collect();
    portions.into_par_iter().for_each(|(mut output, weights)| {
        general_mat_mul(1.0, input, &weights.t(), 0.0, &mut output);
    });
    output
}

/// x / √(mean of x² + ε) · gain for each row.
pub(crate) fn rms_norm(rows: &mut Array2<f32>, gain: &[f32], epsilon: f64) {
    for mut row in rows.rows_mut() {
        let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        let scale = (squares / row.len() as f64 + epsilon).sqrt().recip();
        for (value, gain) in row.iter_mut().zip(gain) {
            *value = (f64::from(*value) * scale * f64::from(*gain)) as f32;
        }
    }
}

/// (x − mean) / √(variance + ε) · gain + bias for each row.
pub(crate) fn layer_norm(rows: &mut Array2<f32>, gain: &[f32], bias: &[f32], epsilon: f64) {
    for mut row in rows.rows_mut() {
        let len = row.len() as f64;
        let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / len;
        let squares: f64 = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
        let scale = (squares / len + epsilon).sqrt().recip();
        for (value, (gain, bias)) in row.iter_mut().zip(gain.iter().zip(bias)) {
            let normal = (f64::from(*value) - mean) * scale;
            *value = (normal * f64::from(*gain) + f64::from(*bias)) as f32;
        }
    }
}

/// x / (1 + e^−x)
pub(crate) fn silu(value: f32) -> f32 {
    let value = f64::from(value);
    (value / (1.0 + (-value).exp())) as f32
}

/// x/2 · (1 + erf(x/√2))
pub(crate) fn gelu(value: f32) -> f32 {
    let value = f64::from(value);
    (value / 2.0 * (1.0 + libm::erf(value * std::f64::consts::FRAC_1_SQRT_2))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_sum_of_products_about_the_width_of_a_portion() {
        for rows in [1, 31, 32, 33, 300] {
            let fill = |step: usize| move |(i, j)| ((i * 7 + j * step) % 11) as f32 - 5.0;
            let input = Array2::from_shape_fn((3, 17), fill(3));
            let weights = Array2::from_shape_fn((rows, 17), fill(5));
            let product = times(&input, &weights);
            for ((i, j), found) in product.indexed_iter() {
                let expected: f32 = (0..17).map(|k| input[(i, k)] * weights[(j, k)]).sum();
                assert_eq!(*found, expected, "{i} {j} of {rows}");
            }
        }
    }

    #[test]
    fn norms_of_a_known_row_are_the_known_ones() {
        let mut rows = Array2::from_shape_vec((1, 2), vec![3.0, 4.0]).unwrap();
        rms_norm(&mut rows, &[1.0, 2.0], 0.0);
        let root = 12.5_f32.sqrt();
        assert_eq!(rows.as_slice().unwrap(), [3.0 / root, 8.0 / root]);
        let mut rows = Array2::from_shape_vec((1, 2), vec![3.0, 5.0]).unwrap();
        layer_norm(&mut rows, &[1.0, 2.0], &[0.0, 0.5], 3.0);
        assert_eq!(rows.as_slice().unwrap(), [-0.5, 1.5]);
    }

    #[test]
    fn activation_functions_have_their_known_values() {
        assert_eq!(silu(0.0), 0.0);
        assert!((silu(1.0) - 0.731_058_6).abs() < 1e-6);
        assert!((gelu(1.0) - 0.841_344_7).abs() < 1e-6);
        assert!((gelu(-2.0) + 0.045_500_264).abs() < 1e-7);
    }
}
