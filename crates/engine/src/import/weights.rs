//! Every part of a model from its source's tensors, in the order of the file.

use rayon::prelude::*;

use crate::model::container::Content;
use crate::model::layout::{self, Demand};
use crate::model::manifest::{Configuration, PartKind};
use crate::source::Weights;

use super::balance::Balance;
use super::quantise::{self, Dyadic, Format, Row};
use super::{ImportError, Progress, Stage, tables};

/// Rows that are read and rounded in one go.
const BLOCK_ROWS: usize = 1024;

/// A source of exact tensors under the names of the model's parts.
pub(super) trait Tensors: Sync {
    /// Puts row `row` of a tensor, (width,) elements, into `out`.
    fn read_row(
        &self,
        name: &str,
        row: u32,
        width: u32,
        out: &mut Vec<Dyadic>,
    ) -> Result<(), ImportError>;
}

impl Tensors for Weights {
    /// Shapes were compared with the configuration when the source was read.
    fn read_row(
        &self,
        name: &str,
        row: u32,
        _width: u32,
        out: &mut Vec<Dyadic>,
    ) -> Result<(), ImportError> {
        let absent = || ImportError::Tensor { tensor: name.to_owned() };
        let tensor = self.tensor(name).ok_or_else(absent)?;
        let mut elements = vec![];
        tensor.read_row(row as usize, &mut elements)?;
        out.clear();
        out.extend(elements.into_iter().map(|element| Dyadic {
            mantissa: element.mantissa.into(),
            exponent: element.exponent,
        }));
        Ok(())
    }
}

/// What the parts are made of beside tensors.
pub(super) struct Rest {
    /// Cosines and sines, for a decoder.
    pub(super) rotation: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) tokenizer: Vec<u8>,
    pub(super) template: Vec<u8>,
}

/// All parts of a model with this configuration.
pub(super) fn contents(
    configuration: &Configuration,
    tensors: &dyn Tensors,
    mut rest: Rest,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Content>, ImportError> {
    let demands = layout::demands(configuration);
    let total = demands.len() as u64;
    let maker = Maker { configuration, tensors, balance: Balance::of(configuration, tensors)? };
    let mut contents: Vec<Content> = vec![];
    // The parts that belong to the matrix before them, last first.
    let mut of_matrix: Vec<(Vec<u8>, u32)> = vec![];
    let (cosines, sines) = rest.rotation.take().unwrap_or_default();
    for (done, demand) in (0..).zip(demands) {
        progress(Progress { stage: Stage::Weights, done, total });
        let (bytes, fraction_bits) = match (demand.kind, demand.name.as_str()) {
            (PartKind::Int8 | PartKind::Int4, _) => {
                let matrix = maker.matrix(&demand)?;
                of_matrix.push((matrix.scales, matrix.scale_bits));
                if !matrix.group_scales.is_empty() {
                    of_matrix.push((matrix.group_scales, 0));
                }
                (matrix.values, 0)
            }
            (_, name) if name.ends_with("scale") => of_matrix.pop().unwrap_or_default(),
            (PartKind::Int32, _) => maker.bias(&demand)?,
            (_, "rotation-cosine") => (cosines.clone(), demand.fraction_bits_min),
            (_, "rotation-sine") => (sines.clone(), demand.fraction_bits_min),
            (_, "exponential") => (tables::exponential().to_vec(), demand.fraction_bits_min),
            (_, "silu") => (tables::silu().to_vec(), demand.fraction_bits_min),
            (_, "gelu") => (tables::gelu().to_vec(), demand.fraction_bits_min),
            (_, "tokenizer.json") => (std::mem::take(&mut rest.tokenizer), 0),
            (_, "chat-template") => (std::mem::take(&mut rest.template), 0),
            (_, "position") => maker.positions(&demand)?,
            _ => maker.gains(&demand)?,
        };
        contents.push(Content { demand, fraction_bits, bytes });
    }
    progress(Progress { stage: Stage::Weights, done: total, total });
    Ok(contents)
}

/// Makes parts from tensors.
struct Maker<'a> {
    configuration: &'a Configuration,
    tensors: &'a dyn Tensors,
    balance: Balance,
}

/// A matrix as the model file holds it.
#[derive(Default)]
struct Matrix {
    values: Vec<u8>,
    group_scales: Vec<u8>,
    /// (rows,) little-endian int16
    scales: Vec<u8>,
    scale_bits: u32,
}

impl Maker<'_> {
    /// Two passes over a tensor: the largest magnitude, then the rows.
    fn matrix(&self, demand: &Demand) -> Result<Matrix, ImportError> {
        let name = &demand.name;
        let (rows, width) = (dimension(demand, 0), dimension(demand, 1));
        let in_layer = name.starts_with("layer.");
        let format = match (demand.kind, layout::matrix_kind(self.configuration, width).1) {
            (PartKind::Int4, _) => Format::Int4,
            (_, true) if in_layer => Format::Int8Groups,
            _ => Format::Int8,
        };
        let read = |row: u32| -> Result<Vec<Dyadic>, ImportError> {
            let mut out = vec![];
            self.tensors.read_row(name, row, width, &mut out)?;
            self.balance.matrix_row(name, row, &mut out);
            self.fold(name, ".query", &mut out);
            Ok(out)
        };
        let maxima = (0..rows).into_par_iter().map(|row| read(row).map(|row| quantise::max(&row)));
        let max = maxima.try_reduce(Dyadic::default, |a, b| Ok(a.max_magnitude(b)))?;
        let scale_bits = quantise::scale_bits(max, format);
        let scale_bits =
            scale_bits.ok_or_else(|| ImportError::Magnitude { tensor: name.clone() })?;
        let mut matrix = Matrix { scale_bits, ..Matrix::default() };
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let end = rows.min(start + u32::try_from(BLOCK_ROWS).unwrap_or(rows));
            let round = |row: u32| -> Result<Row, ImportError> {
                Ok(quantise::round(&read(row)?, scale_bits, format))
            };
            let block: Vec<Row> =
                (start..end).into_par_iter().map(round).collect::<Result<_, _>>()?;
            for row in block {
                matrix.values.extend_from_slice(&row.values);
                matrix.group_scales.extend_from_slice(&row.group_scales);
                matrix.scales.extend_from_slice(&row.scale.to_le_bytes());
            }
        }
        Ok(matrix)
    }

    fn gains(&self, demand: &Demand) -> Result<(Vec<u8>, u32), ImportError> {
        let mut gains = self.vector(demand)?;
        self.balance.gains(&demand.name, &mut gains);
        self.fold(&demand.name, ".query-norm", &mut gains);
        let refused = || ImportError::Magnitude { tensor: demand.name.clone() };
        quantise::gains(&gains).ok_or_else(refused)
    }

    fn bias(&self, demand: &Demand) -> Result<(Vec<u8>, u32), ImportError> {
        let mut biases = self.vector(demand)?;
        self.balance.bias(&demand.name, &mut biases);
        self.fold(&demand.name, ".query.bias", &mut biases);
        let refused = || ImportError::Magnitude { tensor: demand.name.clone() };
        quantise::biases(&biases).ok_or_else(refused)
    }

    /// An encoder's positions, with the type of every token added: all are of the first.
    fn positions(&self, demand: &Demand) -> Result<(Vec<u8>, u32), ImportError> {
        let (rows, width) = (dimension(demand, 0), dimension(demand, 1));
        let (mut all, mut row, mut kind) = (vec![], vec![], vec![]);
        self.tensors.read_row("token-type", 0, width, &mut kind)?;
        for index in 0..rows {
            self.tensors.read_row("position", index, width, &mut row)?;
            all.extend(row.iter().zip(&kind).map(|(position, kind)| position.plus(*kind)));
        }
        let refused = || ImportError::Magnitude { tensor: demand.name.clone() };
        quantise::gains(&all).ok_or_else(refused)
    }

    fn vector(&self, demand: &Demand) -> Result<Vec<Dyadic>, ImportError> {
        let mut out = vec![];
        self.tensors.read_row(&demand.name, 0, dimension(demand, 0), &mut out)?;
        Ok(out)
    }

    /// Attention's division by the root of the head's width is part of what makes the query last.
    fn fold(&self, name: &str, ending: &str, values: &mut [Dyadic]) {
        let is_last = ending == ".query-norm" || self.configuration.head_norm_epsilon.is_none();
        if is_last && name.ends_with(ending) {
            let factor = inverse_root(self.configuration.head_dim);
            values.iter_mut().for_each(|value| *value = value.times(factor));
        }
    }
}

/// floor(2^30 / √`head_dim`) · 2^−30.
fn inverse_root(head_dim: u32) -> Dyadic {
    let root = ((1_u64 << 60) / u64::from(head_dim.max(1))).isqrt();
    Dyadic { mantissa: root.into(), exponent: -30 }
}

fn dimension(demand: &Demand, index: usize) -> u32 {
    demand.shape.get(index).and_then(|size| u32::try_from(*size).ok()).unwrap_or_default()
}
