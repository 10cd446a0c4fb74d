//! Tensors of a source as binary32.

use ndarray::Array2;

use tally_engine::source::{Decimal, Dyadic, Weights};

use crate::error::ReferenceError;
use crate::matrix::Linear;

/// A (rows, columns) tensor.
pub(crate) fn matrix(
    weights: &Weights,
    name: &str,
    [rows, columns]: [usize; 2],
) -> Result<Array2<f32>, ReferenceError> {
    let missing = || ReferenceError::TensorMissing { name: name.to_owned() };
    let tensor = weights.tensor(name).ok_or_else(missing)?;
    let mut values = Vec::with_capacity(rows.saturating_mul(columns));
    let mut row = vec![];
    for index in 0..tensor.row_count() {
        tensor.read_row(index, &mut row)?;
        values.extend(row.iter().map(|value| binary64(*value) as f32));
    }
    let found = values.len();
    Array2::from_shape_vec((rows, columns), values).map_err(|_| ReferenceError::TensorSize {
        name: name.to_owned(),
        rows,
        columns,
        found,
    })
}

/// A (len,) tensor.
pub(crate) fn vector(
    weights: &Weights,
    name: &str,
    len: usize,
) -> Result<Vec<f32>, ReferenceError> {
    Ok(matrix(weights, name, [1, len])?.into_raw_vec_and_offset().0)
}

/// The linear layer of this name, with its bias if there is one.
pub(crate) fn linear(
    weights: &Weights,
    name: &str,
    shape: [usize; 2],
    is_biased: bool,
) -> Result<Linear, ReferenceError> {
    let bias = format!("{name}.bias");
    let bias = is_biased.then(|| vector(weights, &bias, shape[0])).transpose()?;
    Ok(Linear { weights: matrix(weights, name, shape)?, bias })
}

/// The nearest binary64; a mantissa below 2^53 is exact.
pub(crate) fn binary64(value: Dyadic) -> f64 {
    value.mantissa as f64 * f64::from(value.exponent).exp2()
}

/// The nearest binary64, but for one rounding.
pub(crate) fn decimal(value: Decimal) -> f64 {
    let power = 10_f64.powi(value.exponent().abs());
    let digits = value.digits() as f64;
    if value.exponent() < 0 { digits / power } else { digits * power }
}
