//! Linear layers over a stack of lanes, cut by rows among the threads.

use rayon::prelude::*;

use crate::forward::{Context, Lane};
use crate::kernel::Activation;
use crate::model::MatrixView;

/// Least work, in products, that is worth a task of its own.
const TASK_PRODUCTS_MIN: usize = 1 << 16;
/// Rows of a task are a multiple of this, so that tiles stay whole.
const TASK_ROWS: usize = 16;

/// Multiplies every lane's input with each matrix; sums of later matrices stand behind earlier.
pub(crate) fn apply(context: Context<'_>, lanes: &mut [Lane], matrices: &[MatrixView<'_>]) {
    let rows = matrices.iter().map(|matrix| matrix.rows.count()).sum();
    for lane in lanes.iter_mut() {
        // Every sum is written, so only what is new is filled.
        let len = lane.sums.len().max(rows);
        lane.sums.resize(len, 0);
    }
    let (xs, sums): (Vec<_>, Vec<_>) =
        lanes.iter_mut().map(|lane| (&lane.x, &mut lane.sums[..rows])).unzip();
    run(context, matrices, &xs, sums);
}

/// (rows, k) × (tokens, k) → (tokens, rows) for each matrix, one behind the other.
pub(crate) fn run(
    context: Context<'_>,
    matrices: &[MatrixView<'_>],
    xs: &[&Activation],
    mut sums: Vec<&mut [i64]>,
) {
    let kernels = context.kernels;
    let mut tasks = vec![];
    for matrix in matrices {
        let rows = matrix.rows.count();
        let rows_max = task_rows(context.threads, rows, matrix.rows.width() * xs.len());
        for row in (0..rows).step_by(rows_max) {
            let end = rows.min(row + rows_max);
            let outs: Vec<&mut [i64]> = sums
                .iter_mut()
                .map(|sums| {
                    let (head, tail) = std::mem::take(sums).split_at_mut(end - row);
                    *sums = tail;
                    head
                })
                .collect();
            tasks.push((matrix.rows.part(row, end), outs));
        }
    }
    if context.threads > 1 && tasks.len() > 1 {
        tasks.into_par_iter().for_each(|(rows, mut outs)| kernels.linear(rows, xs, &mut outs));
    } else {
        for (rows, mut outs) in tasks {
            kernels.linear(rows, xs, &mut outs);
        }
    }
}

/// How many rows a task takes: an equal share for each thread, unless that is too little work.
fn task_rows(threads: usize, rows: usize, products_per_row: usize) -> usize {
    let share = rows.div_ceil(threads).next_multiple_of(TASK_ROWS);
    let least = TASK_PRODUCTS_MIN.div_ceil(products_per_row.max(1)).next_multiple_of(TASK_ROWS);
    share.max(least)
}
