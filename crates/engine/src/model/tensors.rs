//! Where the parts of a model lie, found in their order and within the ranges of the arithmetic.

use std::ops::Range;

use crate::error::ModelError;
use crate::kernel::GROUP;

use super::container::{self, Frame};
use super::layout::{self, BIAS_MAX};
use super::manifest::{Configuration, Part, PartKind};

/// Where the parts lie, and the rows' sums that some kernels need.
#[derive(Debug)]
pub(super) struct Tensors {
    pub(super) embedding: Matrix,
    pub(super) encoder: Option<EncoderInput>,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Option<Norm>,
    pub(super) head: Option<Matrix>,
    pub(super) rotation: Option<Rotation>,
    pub(super) exponential: Range<usize>,
    /// The bend of SiLU or GELU.
    pub(super) activation: Range<usize>,
    pub(super) tokenizer: Range<usize>,
    pub(super) template: Range<usize>,
}

/// What an encoder adds to the embedding of a token.
#[derive(Debug)]
pub(super) struct EncoderInput {
    pub(super) position: Vector,
    pub(super) norm: Norm,
}

#[derive(Debug)]
pub(super) struct Rotation {
    pub(super) cosines: Range<usize>,
    pub(super) sines: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) values: Range<usize>,
    pub(super) kind: PartKind,
    /// Where rows have groups.
    pub(super) group_scales: Option<Range<usize>>,
    pub(super) scales: Range<usize>,
    pub(super) scale_bits: i32,
    pub(super) sums: Vec<i32>,
    pub(super) bias: Option<Vector>,
}

#[derive(Debug)]
pub(super) struct Vector {
    pub(super) values: Range<usize>,
    pub(super) fraction_bits: i32,
}

#[derive(Debug)]
pub(super) struct Norm {
    pub(super) gains: Vector,
    pub(super) bias: Option<Vector>,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Norm,
    pub(super) feed_forward_norm: Norm,
    pub(super) query_norm: Option<Vector>,
    pub(super) key_norm: Option<Vector>,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
    pub(super) output: Matrix,
    pub(super) gate: Option<Matrix>,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

impl Tensors {
    /// Takes the parts in the order of [`layout::demands`], which the frame was compared with.
    pub(super) fn read(file: &[u8], frame: &Frame) -> Result<Self, ModelError> {
        let mut parts = PartReader { file, frame, next: 0 };
        let c = &frame.manifest.configuration;
        let is_encoder = c.pooling.is_some();
        let embedding = parts.matrix(false)?;
        let encoder = match is_encoder {
            true => Some(EncoderInput { position: parts.gains()?, norm: parts.norm(true)? }),
            false => None,
        };
        let layers = (0..c.layers).map(|_| parts.layer(c)).collect::<Result<_, _>>()?;
        let (mut final_norm, mut head, mut rotation) = (None, None, None);
        if !is_encoder {
            final_norm = Some(parts.norm(false)?);
            if !c.tied {
                head = Some(parts.matrix(false)?);
            }
            let unit = 1_i16 << layout::ROTATION_BITS;
            let cosines = parts.int16(-unit, unit)?;
            rotation = Some(Rotation { cosines, sines: parts.int16(-unit, unit)? });
        }
        Ok(Self {
            embedding,
            encoder,
            layers,
            final_norm,
            head,
            rotation,
            exponential: parts.exponential()?,
            activation: parts.int16(i16::MIN, 0)?,
            tokenizer: parts.text()?,
            template: parts.text()?,
        })
    }
}

/// Takes part after part, each within the range that the arithmetic needs.
struct PartReader<'a> {
    file: &'a [u8],
    frame: &'a Frame,
    next: usize,
}

impl<'a> PartReader<'a> {
    fn part(&mut self) -> (&'a Part, &'a [u8], Range<usize>) {
        let part = &self.frame.manifest.parts[self.next];
        self.next += 1;
        let begin = self.frame.start + container::index(part.offset);
        let range = begin..begin + container::index(part.size_bytes);
        (part, &self.file[range.clone()], range)
    }

    fn layer(&mut self, c: &Configuration) -> Result<Layer, ModelError> {
        let is_encoder = c.pooling.is_some();
        let (attention_norm, feed_forward_norm) = (self.norm(is_encoder)?, self.norm(is_encoder)?);
        let (mut query_norm, mut key_norm) = (None, None);
        if c.head_norm_epsilon.is_some() {
            query_norm = Some(self.gains()?);
            key_norm = Some(self.gains()?);
        }
        let (of_attention, of_output) = (c.biases.query_key_value, c.biases.output);
        let of_feed_forward = c.biases.feed_forward;
        Ok(Layer {
            attention_norm,
            feed_forward_norm,
            query_norm,
            key_norm,
            query: self.matrix(of_attention)?,
            key: self.matrix(of_attention)?,
            value: self.matrix(of_attention)?,
            output: self.matrix(of_output)?,
            gate: if is_encoder { None } else { Some(self.matrix(of_feed_forward)?) },
            up: self.matrix(of_feed_forward)?,
            down: self.matrix(of_feed_forward)?,
        })
    }

    fn matrix(&mut self, has_bias: bool) -> Result<Matrix, ModelError> {
        let (part, bytes, values) = self.part();
        // The second dimension of a matrix is at least one, as the configuration demands.
        let width = container::index(part.shape[1]);
        if part.kind == PartKind::Int8 {
            let elements: &[i8] = bytemuck::cast_slice(bytes);
            if let Some(index) = elements.iter().position(|x| *x == i8::MIN) {
                return Err(element(part, index, i8::MIN.into(), -127, 127));
            }
        }
        let (group_scales, sums) = if self.next_kind() == PartKind::Uint8 {
            let (range, group_scales) = self.group_scales()?;
            (Some(range), sums_of_groups(part.kind, bytes, group_scales, width))
        } else {
            let rows = bytemuck::cast_slice::<u8, i8>(bytes).chunks_exact(width);
            (None, rows.map(|row| row.iter().map(|x| i32::from(*x)).sum()).collect())
        };
        let scale_bits = self.fraction_bits();
        let scales = self.int16(1, i16::MAX)?;
        let bias = if has_bias { Some(self.bias()?) } else { None };
        Ok(Matrix { kind: part.kind, values, group_scales, scales, scale_bits, sums, bias })
    }

    fn group_scales(&mut self) -> Result<(Range<usize>, &'a [u8]), ModelError> {
        let (part, bytes, range) = self.part();
        match bytes.iter().position(|scale| !(1..=127).contains(scale)) {
            None => Ok((range, bytes)),
            Some(index) => Err(element(part, index, bytes[index].into(), 1, 127)),
        }
    }

    fn next_kind(&self) -> PartKind {
        self.frame.manifest.parts[self.next].kind
    }

    fn norm(&mut self, has_bias: bool) -> Result<Norm, ModelError> {
        let gains = self.gains()?;
        Ok(Norm { gains, bias: if has_bias { Some(self.bias()?) } else { None } })
    }

    fn gains(&mut self) -> Result<Vector, ModelError> {
        let fraction_bits = self.fraction_bits();
        Ok(Vector { values: self.int16(-i16::MAX, i16::MAX)?, fraction_bits })
    }

    fn bias(&mut self) -> Result<Vector, ModelError> {
        let fraction_bits = self.fraction_bits();
        let (part, bytes, values) = self.part();
        let elements: &[i32] = bytemuck::cast_slice(bytes);
        match elements.iter().position(|x| !(-BIAS_MAX..=BIAS_MAX).contains(x)) {
            None => Ok(Vector { values, fraction_bits }),
            Some(index) => {
                let limit = i64::from(BIAS_MAX);
                Err(element(part, index, elements[index].into(), -limit, limit))
            }
        }
    }

    /// Of the part that is taken next.
    fn fraction_bits(&self) -> i32 {
        self.frame.manifest.parts[self.next].fraction_bits.cast_signed()
    }

    fn int16(&mut self, minimum: i16, maximum: i16) -> Result<Range<usize>, ModelError> {
        let (part, bytes, range) = self.part();
        let elements: &[i16] = bytemuck::cast_slice(bytes);
        match elements.iter().position(|x| !(minimum..=maximum).contains(x)) {
            None => Ok(range),
            Some(index) => {
                let found = elements[index].into();
                Err(element(part, index, found, minimum.into(), maximum.into()))
            }
        }
    }

    /// The first entry is the numerator of the largest score: it keeps the divisor positive.
    fn exponential(&mut self) -> Result<Range<usize>, ModelError> {
        let (part, bytes, range) = self.part();
        let elements: &[u16] = bytemuck::cast_slice(bytes);
        match elements[0] {
            u16::MAX => Ok(range),
            found => Err(element(part, 0, found.into(), u16::MAX.into(), u16::MAX.into())),
        }
    }

    fn text(&mut self) -> Result<Range<usize>, ModelError> {
        let (part, bytes, range) = self.part();
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(range),
            Err(error) => {
                Err(ModelError::Utf8 { part: part.name.clone(), offset: error.valid_up_to() })
            }
        }
    }
}

/// (rows,) Σ s·q
fn sums_of_groups(kind: PartKind, bytes: &[u8], scales: &[u8], width: usize) -> Vec<i32> {
    let group_bytes = if kind == PartKind::Int4 { GROUP / 2 } else { GROUP };
    let sum = |group: &[u8]| -> i32 {
        match kind {
            PartKind::Int4 => {
                group.iter().map(|byte| i32::from(byte & 15) + i32::from(byte >> 4) - 16).sum()
            }
            _ => group.iter().map(|byte| i32::from(byte.cast_signed())).sum(),
        }
    };
    let groups = bytes.chunks_exact(group_bytes).zip(scales);
    let sums: Vec<i32> = groups.map(|(group, scale)| sum(group) * i32::from(*scale)).collect();
    sums.chunks_exact(width / GROUP).map(|row| row.iter().sum()).collect()
}

fn element(part: &Part, index: usize, found: i64, minimum: i64, maximum: i64) -> ModelError {
    ModelError::Element { part: part.name.clone(), index, found, minimum, maximum }
}
