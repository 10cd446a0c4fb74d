//! Tensors by our names, row by row as exact numbers, whatever file they lie in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::config::SourceConfig;
use super::element::{Dyadic, Encoding};
use super::error::SourceError;
use super::safetensors;
use super::tensors::Shape;

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) encoding: Encoding,
    pub(super) shape: Shape,
    /// Index of the file.
    pub(super) file: usize,
    /// First byte in the file.
    pub(super) start: usize,
    pub(super) order: RowOrder,
}

/// The order in which the rows of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// As they are read.
    Plain,
    /// Each head of so many rows as pairs (i, i + half): row 2·i of a head is stored for row i.
    Paired { head_dim: usize },
}

impl RowOrder {
    /// Where row `row` is stored.
    const fn stored(self, row: usize) -> usize {
        match self {
            Self::Plain => row,
            Self::Paired { head_dim } => {
                let (head, row) = (row / head_dim, row % head_dim);
                let half = head_dim / 2;
                head * head_dim + if row < half { 2 * row } else { 2 * (row - half) + 1 }
            }
        }
    }
}

impl Place {
    /// The place of some of its rows, of which it has enough.
    pub(super) fn portion(self, shape: Shape, first_row: usize) -> Self {
        let (_, columns) = self.shape.rows_and_columns();
        let row_bytes = self.encoding.size_bytes(columns).unwrap_or_default();
        Self { start: self.start + first_row * row_bytes, shape, ..self }
    }
}

/// All tensors of a model, with their bytes.
#[derive(Clone)]
pub struct Weights {
    files: Vec<Vec<u8>>,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Parses `model.safetensors` and finds exactly the configuration's tensors in it.
    ///
    /// # Errors
    /// A header that is too long or refused by the format's library (which asks for tensors
    /// without gap or overlap that end with the file), or a tensor that is missing, extra, or of
    /// another shape, type or size than expected.
    pub fn parse(bytes: Vec<u8>, config: &SourceConfig) -> Result<Self, SourceError> {
        safetensors::parse(vec![("model.safetensors".to_owned(), bytes)], None, config)
    }

    /// Files and where our tensors lie in them, each within its file.
    pub(super) const fn new(files: Vec<Vec<u8>>, places: BTreeMap<String, Place>) -> Self {
        Self { files, places }
    }

    /// Whether these bytes are those of the embedding, in the same form.
    pub(super) fn is_embedding(
        &self,
        encoding: Option<Encoding>,
        shape: &[usize],
        file: usize,
        range: Range<usize>,
    ) -> bool {
        let embedding = self.tensor("embedding");
        let bytes = self.files.get(file).and_then(|bytes| bytes.get(range));
        embedding.is_some_and(|tensor| {
            Some(tensor.encoding) == encoding
                && [tensor.row_count, tensor.column_count] == *shape
                && Some(tensor.bytes) == bytes
        })
    }

    /// A tensor by our name; `None` for a name that the model does not have.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, place) = self.places.get_key_value(name)?;
        let (row_count, column_count) = place.shape.rows_and_columns();
        let len = place.encoding.size_bytes(row_count.checked_mul(column_count)?)?;
        let bytes = self.files.get(place.file)?.get(place.start..)?.get(..len)?;
        let (encoding, order) = (place.encoding, place.order);
        Some(Tensor { name, encoding, order, row_count, column_count, bytes })
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("places", &self.places).finish_non_exhaustive()
    }
}

/// A tensor as rows of exact numbers.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    name: &'a str,
    encoding: Encoding,
    order: RowOrder,
    row_count: usize,
    column_count: usize,
    bytes: &'a [u8],
}

impl Tensor<'_> {
    /// Number of rows; one for a vector.
    #[must_use]
    pub const fn row_count(&self) -> usize {
        self.row_count
    }

    /// Number of columns.
    #[must_use]
    pub const fn column_count(&self) -> usize {
        self.column_count
    }

    /// Replaces `out` with the elements of row `row` (columns,); with none for a row that the
    /// tensor does not have.
    ///
    /// # Errors
    /// [`SourceError::NotFinite`] where an element is infinite or not a number.
    pub fn read_row(&self, row: usize, out: &mut Vec<Dyadic>) -> Result<(), SourceError> {
        out.clear();
        let size = self.bytes.len() / self.row_count.max(1);
        // The heads of a vector lie along its one row.
        let is_vector = self.row_count == 1;
        let stored = if is_vector { row } else { self.order.stored(row) };
        let start = (row < self.row_count).then_some(stored * size);
        let bytes = start.map_or(&[][..], |start| &self.bytes[start..start + size]);
        let not_finite =
            |column| SourceError::NotFinite { name: self.name.to_owned(), row, column };
        self.encoding.parse(bytes, out).map_err(not_finite)?;
        if is_vector && self.order != RowOrder::Plain {
            let stored = out.clone();
            out.clear();
            out.extend((0..stored.len()).filter_map(|index| stored.get(self.order.stored(index))));
        }
        Ok(())
    }
}
