//! A model in memory: parsed, within its bounds, and under the root that receipts name.
//!
//! `spec/model.md` is the format. A [`Model`] exists only if every part has the shape that its
//! configuration demands and every element lies within the range that the arithmetic needs.

use std::ops::Range;
use std::path::Path;

use tally_core::Digest;

use crate::error::ModelError;
use crate::kernel::Rows;

pub(crate) mod container;
pub(crate) mod layout;
pub(crate) mod manifest;
mod storage;
#[cfg(test)]
mod tests;

pub use manifest::{Configuration, Manifest, Part, PartKind, Provenance, SourceFile};
use storage::Storage;

/// First bytes of a model file; line ends and an end-of-file mark betray careless copying.
pub const MAGIC: &[u8; 16] = b"TALLY-MODEL-1\r\n\x1a";
/// The family of models that this engine computes.
pub const FAMILY: &str = "llama";

#[cfg(target_endian = "big")]
compile_error!("kernels read the little-endian parts of a model file where they lie");

/// A model whose bytes lie in memory, unchangeable, under one root.
#[derive(Debug)]
pub struct Model {
    storage: Storage,
    start: usize,
    manifest: Manifest,
    root: Digest,
    tensors: Tensors,
}

/// Where the parts lie, and the rows' sums that some kernels need.
#[derive(Debug)]
struct Tensors {
    embedding: Matrix,
    layers: Vec<Layer>,
    final_norm: Vector,
    head: Option<Matrix>,
    cosines: Range<usize>,
    sines: Range<usize>,
    exponential: Range<usize>,
    silu: Range<usize>,
    tokenizer: Range<usize>,
    template: Range<usize>,
}

#[derive(Debug)]
struct Matrix {
    values: Range<usize>,
    scales: Range<usize>,
    scale_bits: i32,
    sums: Vec<i32>,
}

#[derive(Debug)]
struct Vector {
    values: Range<usize>,
    fraction_bits: i32,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vector,
    feed_forward_norm: Vector,
    matrices: [Matrix; 7],
}

/// A matrix: row n stands for its elements · scales\[n\] · 2^−`scale_bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixView<'a> {
    /// (rows, width)
    pub(crate) rows: Rows<'a>,
    /// (rows,)
    pub(crate) scales: &'a [i16],
    pub(crate) scale_bits: i32,
}

/// A vector of int16 gains x that stand for x · 2^−`fraction_bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VectorView<'a> {
    pub(crate) values: &'a [i16],
    pub(crate) fraction_bits: i32,
}

/// One decoder layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerView<'a> {
    pub(crate) attention_norm: VectorView<'a>,
    pub(crate) feed_forward_norm: VectorView<'a>,
    pub(crate) query: MatrixView<'a>,
    pub(crate) key: MatrixView<'a>,
    pub(crate) value: MatrixView<'a>,
    pub(crate) output: MatrixView<'a>,
    pub(crate) gate: MatrixView<'a>,
    pub(crate) up: MatrixView<'a>,
    pub(crate) down: MatrixView<'a>,
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// An unreadable file, and everything that [`parse`](Self::parse) refuses.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::load(Storage::read(path)?)
    }

    /// Parses a whole model file; the model owns a copy of the bytes.
    ///
    /// # Errors
    /// The first deviation from `spec/model.md`, with the part, what was expected and what found.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        Self::load(Storage::copy_of(bytes))
    }

    /// Parses a model file that is part of the program, without a copy if it is aligned to 64.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn embedded(bytes: &'static [u8]) -> Result<Self, ModelError> {
        Self::load(Storage::embedded(bytes))
    }

    /// RFC 6962 root over configuration, provenance and all parts, of the bytes that kernels read.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The numbers that the model computes with.
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.manifest.configuration
    }

    /// How many positions a sequence may have.
    #[must_use]
    pub const fn context_len(&self) -> u32 {
        self.manifest.configuration.context
    }

    /// The bytes of the part of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&[u8]> {
        let part = self.manifest.parts.iter().find(|part| part.name == name)?;
        let begin = self.start + container::index(part.offset);
        Some(self.bytes(&(begin..begin + container::index(part.size_bytes))))
    }

    /// The bytes of `tokenizer.json`.
    #[must_use]
    pub fn tokenizer(&self) -> &[u8] {
        self.bytes(&self.tensors.tokenizer)
    }

    /// The chat template; empty if the model has none.
    #[must_use]
    pub fn template(&self) -> &str {
        // That the part is UTF-8 was established when the model was parsed.
        std::str::from_utf8(self.bytes(&self.tensors.template)).unwrap_or_default()
    }

    pub(crate) fn embedding(&self) -> MatrixView<'_> {
        self.matrix(&self.tensors.embedding)
    }

    pub(crate) fn head(&self) -> MatrixView<'_> {
        self.matrix(self.tensors.head.as_ref().unwrap_or(&self.tensors.embedding))
    }

    pub(crate) fn final_norm(&self) -> VectorView<'_> {
        self.vector(&self.tensors.final_norm)
    }

    pub(crate) fn layer(&self, index: usize) -> LayerView<'_> {
        let Layer { attention_norm, feed_forward_norm, matrices } = &self.tensors.layers[index];
        let [query, key, value, output, gate, up, down] =
            matrices.each_ref().map(|matrix| self.matrix(matrix));
        LayerView {
            attention_norm: self.vector(attention_norm),
            feed_forward_norm: self.vector(feed_forward_norm),
            query,
            key,
            value,
            output,
            gate,
            up,
            down,
        }
    }

    /// One position's (`head_dim`/2,) cosines and sines.
    pub(crate) fn rotation(&self, position: usize) -> (&[i16], &[i16]) {
        let half = self.manifest.configuration.head_dim as usize / 2;
        let row = position * half..(position + 1) * half;
        let cosines: &[i16] = bytemuck::cast_slice(self.bytes(&self.tensors.cosines));
        let sines: &[i16] = bytemuck::cast_slice(self.bytes(&self.tensors.sines));
        (&cosines[row.clone()], &sines[row])
    }

    pub(crate) fn exponential(&self) -> &[u16] {
        bytemuck::cast_slice(self.bytes(&self.tensors.exponential))
    }

    pub(crate) fn silu(&self) -> &[i16] {
        bytemuck::cast_slice(self.bytes(&self.tensors.silu))
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.storage.bytes()[range.clone()]
    }

    fn matrix<'a>(&'a self, matrix: &'a Matrix) -> MatrixView<'a> {
        MatrixView {
            rows: Rows::Int8 {
                values: bytemuck::cast_slice(self.bytes(&matrix.values)),
                sums: &matrix.sums,
            },
            scales: bytemuck::cast_slice(self.bytes(&matrix.scales)),
            scale_bits: matrix.scale_bits,
        }
    }

    fn vector(&self, vector: &Vector) -> VectorView<'_> {
        VectorView {
            values: bytemuck::cast_slice(self.bytes(&vector.values)),
            fraction_bits: vector.fraction_bits,
        }
    }

    fn load(storage: Storage) -> Result<Self, ModelError> {
        let frame = container::parse(storage.bytes())?;
        let mut parts = PartReader { file: storage.bytes(), frame: &frame, next: 0 };
        let tensors = Tensors::read(&mut parts)?;
        let root = container::root(storage.bytes(), &frame);
        let container::Frame { manifest, start } = frame;
        Ok(Self { start, manifest, root, tensors, storage })
    }
}

impl Tensors {
    /// Takes the parts in the order of [`layout::demands`], which the frame was compared with.
    fn read(parts: &mut PartReader<'_>) -> Result<Self, ModelError> {
        let configuration = &parts.frame.manifest.configuration;
        let (layers, tied) = (configuration.layers, configuration.tied);
        let embedding = parts.matrix()?;
        let layers = (0..layers).map(|_| parts.layer()).collect::<Result<_, _>>()?;
        let final_norm = parts.vector()?;
        let head = if tied { None } else { Some(parts.matrix()?) };
        let unit = 1_i16 << layout::ROTATION_BITS;
        let cosines = parts.int16(-unit, unit)?;
        let sines = parts.int16(-unit, unit)?;
        let exponential = parts.exponential()?;
        let silu = parts.int16(i16::MIN, 0)?;
        let tokenizer = parts.text()?;
        let template = parts.text()?;
        Ok(Self {
            embedding,
            layers,
            final_norm,
            head,
            cosines,
            sines,
            exponential,
            silu,
            tokenizer,
            template,
        })
    }
}

/// Takes part after part, each within the range that the arithmetic needs.
struct PartReader<'a> {
    file: &'a [u8],
    frame: &'a container::Frame,
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

    fn layer(&mut self) -> Result<Layer, ModelError> {
        let attention_norm = self.vector()?;
        let feed_forward_norm = self.vector()?;
        let matrices = [
            self.matrix()?,
            self.matrix()?,
            self.matrix()?,
            self.matrix()?,
            self.matrix()?,
            self.matrix()?,
            self.matrix()?,
        ];
        Ok(Layer { attention_norm, feed_forward_norm, matrices })
    }

    fn matrix(&mut self) -> Result<Matrix, ModelError> {
        let (part, bytes, values) = self.part();
        let elements: &[i8] = bytemuck::cast_slice(bytes);
        if let Some(index) = elements.iter().position(|x| *x == i8::MIN) {
            return Err(element(part, index, i8::MIN.into(), -127, 127));
        }
        // The second dimension of a matrix is at least one, as the configuration demands.
        let width = container::index(part.shape[1]);
        let sums = elements.chunks_exact(width).map(|row| row.iter().map(|x| i32::from(*x)).sum());
        let sums = sums.collect();
        let scale_bits = self.frame.manifest.parts[self.next].fraction_bits.cast_signed();
        let scales = self.int16(1, i16::MAX)?;
        Ok(Matrix { values, scales, scale_bits, sums })
    }

    fn vector(&mut self) -> Result<Vector, ModelError> {
        let fraction_bits = self.frame.manifest.parts[self.next].fraction_bits.cast_signed();
        Ok(Vector { values: self.int16(-i16::MAX, i16::MAX)?, fraction_bits })
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

fn element(part: &Part, index: usize, found: i64, minimum: i64, maximum: i64) -> ModelError {
    ModelError::Element { part: part.name.clone(), index, found, minimum, maximum }
}
