//! Powers of two that move between neighbouring operations so that int8 rows lose less.
//!
//! A norm's gain times 2^−c and its readers' columns times 2^c compute the same; so do the rows of
//! `up` and the columns of `down`. A column far below its row's largest weight would keep few of
//! its bits; the activation it meets is then larger, and int16 holds both.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::model::layout;
use crate::model::manifest::Configuration;

use super::ImportError;
use super::quantise::Dyadic;
use super::weights::Tensors;

/// Largest power that is moved, in either direction.
const POWER_MAX: i32 = 12;
/// Rows that one thread takes the maxima of before they are merged.
const BLOCK_ROWS: u32 = 64;

/// The powers by which columns are doubled, by the name of what makes the channels.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// Of the columns of a matrix.
    columns: BTreeMap<String, Vec<i32>>,
    /// Of what makes the channels: a norm's gains or a matrix's rows.
    sources: BTreeMap<String, Vec<i32>>,
}

impl Balance {
    /// The powers for a decoder; an encoder has none, since its norms are read by its residual too.
    pub(super) fn of(c: &Configuration, tensors: &dyn Tensors) -> Result<Self, ImportError> {
        let mut balance = Self::default();
        if c.pooling.is_some() {
            return Ok(balance);
        }
        for layer in 0..c.layers {
            let shape = |name: &str| {
                let found = layout::layer_matrices(c).into_iter().find(|matrix| matrix.0 == name);
                found.map_or((0, 0), |(_, rows, width, _)| (rows, width))
            };
            for (source, readers) in [
                ("attention-norm", &["query", "key", "value"][..]),
                ("feed-forward-norm", &["gate", "up"]),
                ("up", &["down"]),
            ] {
                let readers = readers.iter().map(|reader| {
                    let (rows, width) = shape(reader);
                    (format!("layer.{layer}.{reader}"), rows, width)
                });
                let readers: Vec<_> = readers.collect();
                balance.add(format!("layer.{layer}.{source}"), &readers, tensors)?;
            }
        }
        if !c.tied {
            let head = ("head".to_owned(), c.vocabulary, c.width);
            balance.add("final-norm".to_owned(), &[head], tensors)?;
        }
        Ok(balance)
    }

    /// Doubles a row of a matrix as its columns and itself want.
    pub(super) fn matrix_row(&self, name: &str, row: u32, values: &mut [Dyadic]) {
        if let Some(powers) = self.columns.get(name) {
            for (value, power) in values.iter_mut().zip(powers) {
                *value = value.doubled(*power);
            }
        }
        if let Some(power) = self.sources.get(name).and_then(|powers| powers.get(row as usize)) {
            values.iter_mut().for_each(|value| *value = value.doubled(-power));
        }
    }

    /// Halves the gains of a norm as its readers were doubled.
    pub(super) fn gains(&self, name: &str, gains: &mut [Dyadic]) {
        if let Some(powers) = self.sources.get(name) {
            for (gain, power) in gains.iter_mut().zip(powers) {
                *gain = gain.doubled(-power);
            }
        }
    }

    /// Halves the bias of a matrix as its rows were halved.
    pub(super) fn bias(&self, name: &str, biases: &mut [Dyadic]) {
        self.gains(name.strip_suffix(".bias").unwrap_or(name), biases);
    }

    fn add(
        &mut self,
        source: String,
        readers: &[(String, u32, u32)],
        tensors: &dyn Tensors,
    ) -> Result<(), ImportError> {
        let mut maxima: Vec<Dyadic> = vec![];
        for (name, rows, width) in readers {
            let found = column_maxima(tensors, name, *rows, *width)?;
            maxima.resize(found.len(), Dyadic::default());
            for (max, found) in maxima.iter_mut().zip(found) {
                *max = max.max_magnitude(found);
            }
        }
        let powers = powers(&maxima);
        if powers.iter().all(|power| *power == 0) {
            return Ok(());
        }
        for (name, ..) in readers {
            self.columns.insert(name.clone(), powers.clone());
        }
        self.sources.insert(source, powers);
        Ok(())
    }
}

fn column_maxima(
    tensors: &dyn Tensors,
    name: &str,
    rows: u32,
    width: u32,
) -> Result<Vec<Dyadic>, ImportError> {
    let blocks = (0..rows.div_ceil(BLOCK_ROWS)).into_par_iter().map(|block| {
        let (mut maxima, mut out) = (vec![Dyadic::default(); width as usize], vec![]);
        for row in block * BLOCK_ROWS..rows.min((block + 1) * BLOCK_ROWS) {
            tensors.read_row(name, row, width, &mut out)?;
            for (max, weight) in maxima.iter_mut().zip(&out) {
                *max = max.max_magnitude(*weight);
            }
        }
        Ok(maxima)
    });
    blocks.try_reduce(
        || vec![Dyadic::default(); width as usize],
        |mut a, b| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max_magnitude(b));
            Ok(a)
        },
    )
}

/// For each column the power that brings its largest magnitude nearest to the median column's.
fn powers(maxima: &[Dyadic]) -> Vec<i32> {
    let mut sorted: Vec<Dyadic> = maxima.iter().copied().filter(|max| max.mantissa != 0).collect();
    sorted.sort_by(|a, b| a.compare_magnitude(*b));
    let Some(median) = sorted.get(sorted.len() / 2) else { return vec![0; maxima.len()] };
    let power = |max: &Dyadic| median.nearest_power_over(*max).clamp(-POWER_MAX, POWER_MAX);
    maxima.iter().map(power).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_brought_as_near_to_the_median_as_a_power_of_two_can() {
        let of = |mantissas: &[i128]| -> Vec<Dyadic> {
            mantissas.iter().map(|mantissa| Dyadic { mantissa: *mantissa, exponent: -20 }).collect()
        };
        assert_eq!(powers(&of(&[100, -100, 99, 1, 100])), [0, 0, 0, 7, 0]);
        assert_eq!(powers(&of(&[100, 283, 282, -36, 35, 100, 100])), [0, -2, -1, 1, 2, 0, 0]);
        assert_eq!(powers(&of(&[1 << 40, 1, 1, 1, 0])), [-POWER_MAX, 0, 0, 0, 0]);
        assert_eq!(powers(&of(&[0, 0])), [0, 0]);
    }
}
