//! Softmax attention of grouped heads, causal with or without a window, or to every position.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;

/// Most queries whose scores are in memory at once, for each thread.
const QUERIES_MAX: usize = 256;

/// Which positions a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Every position of the text.
    All,
    /// Its own and every earlier one.
    Earlier,
    /// Its own and so many before it that they are this many together.
    Window(usize),
}

impl Sight {
    fn of(self, position: usize, len: usize) -> Range<usize> {
        match self {
            Self::All => 0..len,
            Self::Earlier => 0..position + 1,
            Self::Window(window) => (position + 1).saturating_sub(window)..position + 1,
        }
    }
}

/// (n, heads·d), twice (n, kv heads·d) → (n, heads·d)
pub(crate) fn attend(
    queries: &Array2<f32>,
    keys: &Array2<f32>,
    values: &Array2<f32>,
    head_dim: usize,
    sight: Sight,
) -> Array2<f32> {
    let group = queries.ncols() / keys.ncols();
    let mut output = Array2::zeros(queries.dim());
    let heads: Vec<_> = output.axis_chunks_iter_mut(Axis(1), head_dim).enumerate().collect();
    heads.into_par_iter().for_each(|(head, mut output)| {
        let own = head * head_dim..(head + 1) * head_dim;
        let shared = head / group * head_dim..(head / group + 1) * head_dim;
        let keys = keys.slice_axis(Axis(1), Slice::from(shared.clone()));
        let values = values.slice_axis(Axis(1), Slice::from(shared));
        let queries = queries.slice_axis(Axis(1), Slice::from(own));
        for start in (0..queries.nrows()).step_by(QUERIES_MAX) {
            let block = start..(start + QUERIES_MAX).min(queries.nrows());
            let queries = queries.slice_axis(Axis(0), Slice::from(block.clone()));
            let weights = weights(&queries, &keys, start, sight);
            let mut output = output.slice_axis_mut(Axis(0), Slice::from(block));
            general_mat_mul(1.0, &weights, &values, 0.0, &mut output);
        }
    });
    output
}

/// (m, d), (n, d) → (m, n): the share of each position in each of the queries from `start` on.
fn weights(
    queries: &ArrayView2<'_, f32>,
    keys: &ArrayView2<'_, f32>,
    start: usize,
    sight: Sight,
) -> Array2<f32> {
    let scale = 1.0 / (queries.ncols() as f32).sqrt();
    let len = keys.nrows();
    let mut scores = Array2::zeros((queries.nrows(), len));
    general_mat_mul(scale, queries, &keys.t(), 0.0, &mut scores);
    for (offset, mut row) in scores.rows_mut().into_iter().enumerate() {
        let seen = sight.of(start + offset, len);
        let seen_scores = row.slice_axis(Axis(0), Slice::from(seen.clone()));
        let highest = seen_scores.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let mut sum = 0.0_f64;
        for (position, value) in row.iter_mut().enumerate() {
            let is_seen = seen.contains(&position);
            *value = if is_seen { (*value - highest).exp() } else { 0.0 };
            sum += f64::from(*value);
        }
        row.mapv_inplace(|value| (f64::from(value) / sum) as f32);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sees_its_window_and_nothing_later() {
        assert_eq!(Sight::All.of(1, 5), 0..5);
        assert_eq!(Sight::Earlier.of(3, 5), 0..4);
        assert_eq!(Sight::Window(2).of(0, 5), 0..1);
        assert_eq!(Sight::Window(2).of(1, 5), 0..2);
        assert_eq!(Sight::Window(2).of(4, 5), 3..5);
    }

    #[test]
    fn attention_with_equal_keys_is_the_mean_of_what_is_seen_by_the_heads_own_group() {
        let len = QUERIES_MAX + 2;
        let queries = Array2::ones((len, 8));
        let keys = Array2::ones((len, 4));
        let values = Array2::from_shape_fn((len, 4), |(i, j)| (i * 4 + j) as f32);
        for (sight, first) in [(Sight::Earlier, 0), (Sight::Window(3), len - 3)] {
            let output = attend(&queries, &keys, &values, 2, sight);
            for (column, found) in output.row(len - 1).iter().enumerate() {
                let channel = column / 4 * 2 + column % 2;
                let mean = (first + len - 1) as f32 / 2.0 * 4.0 + channel as f32;
                assert!((found / mean - 1.0).abs() < 1e-5, "{column}: {found}, {mean}");
            }
        }
    }
}
