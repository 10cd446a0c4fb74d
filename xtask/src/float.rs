//! A plain Llama in `f64`, and the oracle of the Gumbel variate: what exact arithmetic is held
//! against.
//!
//! Nothing here is part of an answer. Weights are taken exactly from the folder, every sum and
//! function is `f64`; threads share the rows of a product and so do not change a sum.
#![expect(
    clippy::cast_precision_loss,
    reason = "this is the one module of floating-point numbers, and f64 is exact enough here"
)]

use std::path::Path;
use std::thread;

use anyhow::{Context as _, ensure};

use tally_engine::sampler::gumbel::{GUMBEL_FRACTION_BITS, gumbel};
use tally_engine::source::{Dyadic, Source, SourceConfig, Tensor, Weights};

/// The worst case of [`gumbel_sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GumbelSweep {
    /// Largest distance of a variate from the real number.
    pub(crate) worst_error: f64,
    /// The word at which it occurs.
    pub(crate) worst_word: u32,
    /// How many words have a lower variate than the word before them.
    pub(crate) decreases: u64,
}

impl GumbelSweep {
    /// Whether the engine's documented bound holds, and the order that its sampler relies on.
    pub(crate) fn is_within_bound(&self) -> bool {
        self.worst_error <= 2_f64.powi(-23) && self.decreases == 0
    }
}

/// Compares every `stride`th word's variate with the real number; a stride of 1 is all 2^32.
pub(crate) fn gumbel_sweep(stride: u32) -> GumbelSweep {
    let mut sweep = GumbelSweep::default();
    let mut last = i32::MIN;
    for word in (0..=u32::MAX).step_by(stride.max(1) as usize) {
        let variate = gumbel(word);
        sweep.decreases += u64::from(variate < last);
        last = variate;
        let unit = f64::from(1_u32 << GUMBEL_FRACTION_BITS);
        let error = (f64::from(variate) / unit - exact_gumbel(word)).abs();
        if error > sweep.worst_error {
            (sweep.worst_error, sweep.worst_word) = (error, word);
        }
    }
    sweep
}

/// −ln(−ln u) for u = (2·word + 1)/2^33, accurate in both tails.
fn exact_gumbel(word: u32) -> f64 {
    let odd = 2.0 * f64::from(word) + 1.0;
    let unit = 2_f64.powi(33);
    let inner = if odd < unit / 2.0 { -(odd / unit).ln() } else { -(-(unit - odd) / unit).ln_1p() };
    -inner.ln()
}

/// The negative log-likelihood, in nats, of each token but the first of each window of `window`
/// tokens, under the model in `folder`.
///
/// `progress` is told how many tokens are done and how many there are.
///
/// # Errors
/// A folder that the engine's own reader refuses, a window below two or beyond the context, or a
/// token outside the vocabulary.
pub(crate) fn nll(
    folder: &Path,
    tokens: &[u32],
    window: usize,
    mut progress: impl FnMut(usize, usize),
) -> anyhow::Result<Vec<f64>> {
    let source = Source::read(folder).with_context(|| folder.display().to_string())?;
    let model = Model::load(&source.config, &source.weights)?;
    ensure!(
        (2..=source.config.context_len as usize).contains(&window),
        "window is {window}, it must lie in 2..={}",
        source.config.context_len
    );
    let vocabulary = source.config.vocabulary_size;
    if let Some(token) = tokens.iter().find(|token| **token >= vocabulary) {
        anyhow::bail!("token {token} is not in the vocabulary of {vocabulary}");
    }
    let windows: Vec<&[u32]> = tokens.chunks(window).filter(|each| each.len() > 1).collect();
    let count = windows.iter().map(|window| window.len() - 1).sum();
    let mut losses = Vec::with_capacity(count);
    for window in windows {
        let logits = model.logits(&window[..window.len() - 1]);
        let rows = logits.values.chunks_exact(logits.width);
        losses.extend(rows.zip(&window[1..]).map(|(row, next)| loss(row, *next as usize)));
        progress(losses.len(), count);
    }
    Ok(losses)
}

/// ln Σ e^logit − logit of `next`.
fn loss(logits: &[f64], next: usize) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    sum.ln() + highest - logits[next]
}

/// A matrix of `width` columns, row by row.
#[derive(Clone, Debug)]
struct Matrix {
    values: Vec<f64>,
    width: usize,
}

impl Matrix {
    fn zeros(rows: usize, width: usize) -> Self {
        Self { values: vec![0.0; rows * width], width }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// (n, k) × (m, k)ᵀ → (n, m), the weights' rows shared among threads.
    fn times(&self, weights: &Self) -> Self {
        let (rows, columns) = (self.rows(), weights.rows());
        let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let portion = columns.div_ceil(workers);
        // (m, n): one portion of weight rows is contiguous.
        let mut transposed = Self::zeros(columns, rows);
        thread::scope(|scope| {
            let portions = transposed.values.chunks_mut(portion * rows);
            for (index, output) in portions.enumerate() {
                scope.spawn(move || {
                    for (offset, output) in output.chunks_exact_mut(rows).enumerate() {
                        let weights = weights.row(index * portion + offset);
                        for (row, output) in output.iter_mut().enumerate() {
                            *output = dot(self.row(row), weights);
                        }
                    }
                });
            }
        });
        let mut product = Self::zeros(rows, columns);
        for (row, output) in product.values.chunks_exact_mut(columns).enumerate() {
            for (column, output) in output.iter_mut().enumerate() {
                *output = transposed.values[column * rows + row];
            }
        }
        product
    }

    fn add(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(value, other)| *value += other);
    }
}

/// Σ a·b in eight interleaved sums.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

struct Layer {
    attention_norm: Matrix,
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    output: Matrix,
    feed_forward_norm: Matrix,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

struct Model {
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Matrix,
    /// `None` where the embedding is the output projection.
    head: Option<Matrix>,
    epsilon: f64,
    theta: f64,
    head_dim: usize,
    group: usize,
}

impl Model {
    fn load(config: &SourceConfig, weights: &Weights) -> anyhow::Result<Self> {
        let matrix = |name: &str| {
            let tensor =
                weights.tensor(name).with_context(|| format!("tensor {name} is missing"))?;
            load(&tensor)
        };
        let layer = |index: u32| {
            let matrix = |name: &str| matrix(&format!("layer.{index}.{name}"));
            anyhow::Ok(Layer {
                attention_norm: matrix("attention-norm")?,
                queries: matrix("query")?,
                keys: matrix("key")?,
                values: matrix("value")?,
                output: matrix("output")?,
                feed_forward_norm: matrix("feed-forward-norm")?,
                gate: matrix("gate")?,
                up: matrix("up")?,
                down: matrix("down")?,
            })
        };
        let number = |decimal: tally_engine::source::Decimal| {
            decimal.digits() as f64 * 10_f64.powi(decimal.exponent())
        };
        Ok(Self {
            embedding: matrix("embedding")?,
            layers: (0..config.layer_count).map(layer).collect::<Result<_, _>>()?,
            norm: matrix("final-norm")?,
            head: (!config.is_head_tied).then(|| matrix("head")).transpose()?,
            epsilon: number(config.norm_eps),
            theta: number(config.rotation.as_ref().context("the model is an encoder")?.theta),
            head_dim: config.head_dim as usize,
            group: (config.head_count / config.kv_head_count) as usize,
        })
    }

    /// (tokens,) → (tokens, vocabulary)
    fn logits(&self, tokens: &[u32]) -> Matrix {
        let width = self.embedding.width;
        let rows = tokens.iter().flat_map(|token| self.embedding.row(*token as usize));
        let mut hidden = Matrix { values: rows.copied().collect(), width };
        for layer in &self.layers {
            let input = self.normalised(&hidden, &layer.attention_norm);
            let mut queries = input.times(&layer.queries);
            let mut keys = input.times(&layer.keys);
            self.rotate(&mut queries);
            self.rotate(&mut keys);
            let mixed = self.attend(&queries, &keys, &input.times(&layer.values));
            hidden.add(&mixed.times(&layer.output));

            let input = self.normalised(&hidden, &layer.feed_forward_norm);
            let mut gated = input.times(&layer.gate);
            let up = input.times(&layer.up);
            for (gate, up) in gated.values.iter_mut().zip(&up.values) {
                *gate *= up / (1.0 + (-*gate).exp());
            }
            hidden.add(&gated.times(&layer.down));
        }
        let last = self.normalised(&hidden, &self.norm);
        last.times(self.head.as_ref().unwrap_or(&self.embedding))
    }

    /// RMSNorm of each row.
    fn normalised(&self, input: &Matrix, gain: &Matrix) -> Matrix {
        let mut output = input.clone();
        for row in output.values.chunks_exact_mut(input.width) {
            let mean = dot(row, row) / input.width as f64;
            let scale = 1.0 / (mean + self.epsilon).sqrt();
            row.iter_mut().zip(&gain.values).for_each(|(value, gain)| *value *= scale * gain);
        }
        output
    }

    /// RoPE in the layout of the folder: channel i turns with channel i + d/2.
    fn rotate(&self, rows: &mut Matrix) {
        let (width, half) = (rows.width, self.head_dim / 2);
        for (position, row) in rows.values.chunks_exact_mut(width).enumerate() {
            for head in row.chunks_exact_mut(self.head_dim) {
                let (first, second) = head.split_at_mut(half);
                for (pair, (a, b)) in first.iter_mut().zip(second).enumerate() {
                    let speed = self.theta.powf(-((2 * pair) as f64) / self.head_dim as f64);
                    let (sine, cosine) = (position as f64 * speed).sin_cos();
                    (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
                }
            }
        }
    }

    /// Causal attention: (tokens, heads · d), twice (tokens, kv heads · d) → (tokens, heads · d)
    fn attend(&self, queries: &Matrix, keys: &Matrix, values: &Matrix) -> Matrix {
        let (dim, scale) = (self.head_dim, 1.0 / (self.head_dim as f64).sqrt());
        let mut output = Matrix::zeros(queries.rows(), queries.width);
        for (position, output) in output.values.chunks_exact_mut(queries.width).enumerate() {
            let heads = queries.row(position).chunks_exact(dim).zip(output.chunks_exact_mut(dim));
            for (head, (query, output)) in heads.enumerate() {
                let start = head / self.group * dim;
                let part = |matrix: &'_ Matrix, at: usize| -> std::ops::Range<usize> {
                    at * matrix.width + start..at * matrix.width + start + dim
                };
                let scores: Vec<f64> = (0..=position)
                    .map(|at| dot(query, &keys.values[part(keys, at)]) * scale)
                    .collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|each| (each - highest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (at, weight) in weights.iter().enumerate() {
                    let value = &values.values[part(values, at)];
                    for (output, value) in output.iter_mut().zip(value) {
                        *output += weight / total * value;
                    }
                }
            }
        }
        output
    }
}

fn load(tensor: &Tensor<'_>) -> anyhow::Result<Matrix> {
    let mut values = Vec::with_capacity(tensor.row_count() * tensor.column_count());
    let mut elements = vec![];
    for row in 0..tensor.row_count() {
        tensor.read_row(row, &mut elements)?;
        let number = |element: &Dyadic| element.mantissa as f64 * 2_f64.powi(element.exponent);
        values.extend(elements.iter().map(number));
    }
    Ok(Matrix { values, width: tensor.column_count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sixty_five_thousandth_variate_is_within_two_to_the_minus_23() {
        let sweep = gumbel_sweep(65_537);
        assert!(sweep.is_within_bound(), "{sweep:?}");
    }

    #[test]
    fn a_product_is_the_sum_of_products_for_widths_about_the_unrolled_ones() {
        for width in [1, 7, 8, 9, 17] {
            let matrix = |rows: usize, step: usize| Matrix {
                values: (0..rows * width).map(|i| (i * step % 11) as f64).collect(),
                width,
            };
            let (a, b) = (matrix(3, 3), matrix(5, 7));
            let product = a.times(&b);
            for (index, found) in product.values.iter().enumerate() {
                let (row, column) = (index / 5, index % 5);
                let expected: f64 = a.row(row).iter().zip(b.row(column)).map(|(a, b)| a * b).sum();
                assert_eq!(*found, expected);
            }
        }
    }

    #[test]
    fn the_loss_of_even_logits_is_the_logarithm_of_their_count() {
        assert!((loss(&[3.0; 8], 5) - 8_f64.ln()).abs() < 1e-12);
        assert!(loss(&[0.0, 100.0], 1) < 1e-12);
    }
}
