//! Every part of a model from its source's tensors, in the order of the file.

use crate::model::container::Content;
use crate::model::layout::{self, Demand};
use crate::model::manifest::{Configuration, PartKind};
use crate::source::{self, Weights};

use super::quantise::{self, Dyadic, Rows};
use super::{ImportError, Progress, Stage, tables};

/// A source of exact tensors under the names of the model's parts.
pub(super) trait Tensors {
    /// Gives each row of a (rows, width) tensor to `on_row`, in order.
    fn rows(
        &self,
        name: &str,
        shape: [u32; 2],
        on_row: &mut dyn FnMut(&[Dyadic]),
    ) -> Result<(), ImportError>;

    /// A (len,) tensor.
    fn vector(&self, name: &str, len: u32) -> Result<Vec<Dyadic>, ImportError>;
}

impl Tensors for Weights {
    fn rows(
        &self,
        name: &str,
        [rows, _]: [u32; 2],
        on_row: &mut dyn FnMut(&[Dyadic]),
    ) -> Result<(), ImportError> {
        let mut row = vec![];
        for index in 0..rows {
            read_row(self, name, index, &mut row)?;
            on_row(&row);
        }
        Ok(())
    }

    fn vector(&self, name: &str, _len: u32) -> Result<Vec<Dyadic>, ImportError> {
        let mut row = vec![];
        read_row(self, name, 0, &mut row)?;
        Ok(row)
    }
}

/// Shapes were compared with the configuration when the source was read.
fn read_row(
    weights: &Weights,
    name: &str,
    row: u32,
    out: &mut Vec<Dyadic>,
) -> Result<(), ImportError> {
    let absent = || ImportError::Tensor { tensor: name.to_owned() };
    let tensor = weights.tensor(name).ok_or_else(absent)?;
    let mut elements = vec![];
    tensor.read_row(row as usize, &mut elements)?;
    out.clear();
    out.extend(
        elements
            .into_iter()
            .map(|source::Dyadic { mantissa, exponent }| Dyadic { mantissa, exponent }),
    );
    Ok(())
}

/// What the parts are made of beside tensors.
pub(super) struct Rest {
    pub(super) cosines: Vec<u8>,
    pub(super) sines: Vec<u8>,
    pub(super) tokenizer: Vec<u8>,
    pub(super) template: Vec<u8>,
}

/// All parts of a model with this configuration.
pub(super) fn contents(
    configuration: &Configuration,
    tensors: &dyn Tensors,
    rest: Rest,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Content>, ImportError> {
    let demands = layout::demands(configuration);
    let total = demands.len() as u64;
    let mut rest = [
        rest.cosines,
        rest.sines,
        tables::exponential().to_vec(),
        tables::silu().to_vec(),
        rest.tokenizer,
        rest.template,
    ]
    .into_iter();
    let mut contents: Vec<Content> = vec![];
    let mut scales = None;
    for (done, demand) in (0..).zip(demands) {
        progress(Progress { stage: Stage::Weights, done, total });
        let (bytes, fraction_bits) = match (demand.kind, scales.take()) {
            // A matrix is followed by its scales.
            (_, Some((bytes, bits))) => (bytes, bits),
            (PartKind::Int8, None) => {
                let rows = matrix(configuration, tensors, &demand)?;
                scales = Some((rows.scales, rows.scale_bits));
                (rows.values, 0)
            }
            (PartKind::Int16, None) if demand.name.ends_with("norm") => gains(tensors, &demand)?,
            _ => (rest.next().unwrap_or_default(), demand.fraction_bits_min),
        };
        contents.push(Content { demand, fraction_bits, bytes });
    }
    progress(Progress { stage: Stage::Weights, done: total, total });
    Ok(contents)
}

/// Two passes over a tensor: the largest magnitude, then the rows.
fn matrix(
    configuration: &Configuration,
    tensors: &dyn Tensors,
    demand: &Demand,
) -> Result<Rows, ImportError> {
    let name = demand.name.clone();
    let shape = [dimension(demand, 0), dimension(demand, 1)];
    // Attention's division by the root of the head's width is folded into the query's rows.
    let factor = demand.name.ends_with(".query").then(|| inverse_root(configuration.head_dim));
    let fold = |row: &[Dyadic]| -> Vec<Dyadic> {
        row.iter().map(|weight| factor.map_or(*weight, |factor| weight.times(factor))).collect()
    };
    let mut max = Dyadic::default();
    tensors.rows(&name, shape, &mut |row| {
        max = fold(row).into_iter().fold(max, Dyadic::max_magnitude);
    })?;
    let scale_bits =
        quantise::scale_bits(max).ok_or_else(|| ImportError::Magnitude { tensor: name.clone() })?;
    let mut rows = Rows { values: vec![], scales: vec![], scale_bits };
    tensors.rows(&name, shape, &mut |row| quantise::push_row(&mut rows, &fold(row)))?;
    Ok(rows)
}

fn gains(tensors: &dyn Tensors, demand: &Demand) -> Result<(Vec<u8>, u32), ImportError> {
    let name = demand.name.clone();
    let gains = tensors.vector(&name, dimension(demand, 0))?;
    quantise::gains(&gains).ok_or(ImportError::Magnitude { tensor: name })
}

/// floor(2^30 / √`head_dim`) · 2^−30.
fn inverse_root(head_dim: u32) -> Dyadic {
    let root = ((1_u64 << 60) / u64::from(head_dim.max(1))).isqrt();
    Dyadic { mantissa: root.cast_signed(), exponent: -30 }
}

fn dimension(demand: &Demand, index: usize) -> u32 {
    demand.shape.get(index).and_then(|size| u32::try_from(*size).ok()).unwrap_or_default()
}
