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
mod tensors;
#[cfg(test)]
mod tests;

pub use manifest::{Configuration, Manifest, Part, PartKind, Provenance, SourceFile, WeightKind};
use storage::Storage;
use tensors::{Matrix, Norm, Tensors, Vector};

/// First bytes of a model file; line ends and an end-of-file mark betray careless copying.
pub const MAGIC: &[u8; 16] = b"TALLY-MODEL-1\r\n\x1a";

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

/// A matrix: row n stands for its elements · scales\[n\] · 2^−`scale_bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixView<'a> {
    /// (rows, width)
    pub(crate) rows: Rows<'a>,
    /// (rows,)
    pub(crate) scales: &'a [i16],
    pub(crate) scale_bits: i32,
    pub(crate) bias: Option<BiasView<'a>>,
}

/// A vector of int32 x that stand for x · 2^−`fraction_bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BiasView<'a> {
    pub(crate) values: &'a [i32],
    pub(crate) fraction_bits: i32,
}

/// The gains of a norm; with a bias, of a layer norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormView<'a> {
    pub(crate) gains: VectorView<'a>,
    pub(crate) bias: Option<BiasView<'a>>,
}

/// A vector of int16 gains x that stand for x · 2^−`fraction_bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VectorView<'a> {
    pub(crate) values: &'a [i16],
    pub(crate) fraction_bits: i32,
}

/// One layer; an encoder's has no gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerView<'a> {
    pub(crate) attention_norm: NormView<'a>,
    pub(crate) feed_forward_norm: NormView<'a>,
    pub(crate) query_norm: Option<VectorView<'a>>,
    pub(crate) key_norm: Option<VectorView<'a>>,
    pub(crate) query: MatrixView<'a>,
    pub(crate) key: MatrixView<'a>,
    pub(crate) value: MatrixView<'a>,
    pub(crate) output: MatrixView<'a>,
    pub(crate) gate: Option<MatrixView<'a>>,
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

    /// The norm before the head of a decoder.
    pub(crate) fn final_norm(&self) -> Option<NormView<'_>> {
        self.tensors.final_norm.as_ref().map(|norm| self.norm(norm))
    }

    /// The (context, width) positions of an encoder and the norm that follows them.
    pub(crate) fn encoder_input(&self) -> Option<(VectorView<'_>, NormView<'_>)> {
        let input = self.tensors.encoder.as_ref()?;
        Some((self.vector(&input.position), self.norm(&input.norm)))
    }

    pub(crate) fn layer(&self, index: usize) -> LayerView<'_> {
        let layer = &self.tensors.layers[index];
        LayerView {
            attention_norm: self.norm(&layer.attention_norm),
            feed_forward_norm: self.norm(&layer.feed_forward_norm),
            query_norm: layer.query_norm.as_ref().map(|gains| self.vector(gains)),
            key_norm: layer.key_norm.as_ref().map(|gains| self.vector(gains)),
            query: self.matrix(&layer.query),
            key: self.matrix(&layer.key),
            value: self.matrix(&layer.value),
            output: self.matrix(&layer.output),
            gate: layer.gate.as_ref().map(|gate| self.matrix(gate)),
            up: self.matrix(&layer.up),
            down: self.matrix(&layer.down),
        }
    }

    /// One position's (`head_dim`/2,) cosines and sines, in a model whose heads are rotated.
    pub(crate) fn rotation(&self, position: usize) -> Option<(&[i16], &[i16])> {
        let rotation = self.tensors.rotation.as_ref()?;
        let half = self.manifest.configuration.head_dim as usize / 2;
        let row = position * half..(position + 1) * half;
        let cosines: &[i16] = bytemuck::cast_slice(self.bytes(&rotation.cosines));
        let sines: &[i16] = bytemuck::cast_slice(self.bytes(&rotation.sines));
        Some((&cosines[row.clone()], &sines[row]))
    }

    pub(crate) fn exponential(&self) -> &[u16] {
        bytemuck::cast_slice(self.bytes(&self.tensors.exponential))
    }

    /// The bend of the activation function.
    pub(crate) fn activation(&self) -> &[i16] {
        bytemuck::cast_slice(self.bytes(&self.tensors.activation))
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.storage.bytes()[range.clone()]
    }

    fn matrix<'a>(&'a self, matrix: &'a Matrix) -> MatrixView<'a> {
        let values = self.bytes(&matrix.values);
        let sums = &matrix.sums;
        let rows = match (&matrix.group_scales, matrix.kind) {
            (None, _) => Rows::Int8 { values: bytemuck::cast_slice(values), sums },
            (Some(group_scales), PartKind::Int4) => {
                Rows::Int4 { nibbles: values, group_scales: self.bytes(group_scales), sums }
            }
            (Some(group_scales), _) => Rows::Int8Groups {
                values: bytemuck::cast_slice(values),
                group_scales: self.bytes(group_scales),
                sums,
            },
        };
        MatrixView {
            rows,
            scales: bytemuck::cast_slice(self.bytes(&matrix.scales)),
            scale_bits: matrix.scale_bits,
            bias: matrix.bias.as_ref().map(|bias| self.bias(bias)),
        }
    }

    fn bias(&self, bias: &Vector) -> BiasView<'_> {
        BiasView {
            values: bytemuck::cast_slice(self.bytes(&bias.values)),
            fraction_bits: bias.fraction_bits,
        }
    }

    fn norm(&self, norm: &Norm) -> NormView<'_> {
        let bias = norm.bias.as_ref().map(|bias| self.bias(bias));
        NormView { gains: self.vector(&norm.gains), bias }
    }

    fn vector(&self, vector: &Vector) -> VectorView<'_> {
        VectorView {
            values: bytemuck::cast_slice(self.bytes(&vector.values)),
            fraction_bits: vector.fraction_bits,
        }
    }

    fn load(storage: Storage) -> Result<Self, ModelError> {
        let frame = container::parse(storage.bytes())?;
        let tensors = Tensors::read(storage.bytes(), &frame)?;
        let root = container::root(storage.bytes(), &frame);
        let container::Frame { manifest, start } = frame;
        Ok(Self { start, manifest, root, tensors, storage })
    }
}
