//! `model.safetensors`: exactly the tensors that the configuration asks for, element by element.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::tensor::{Dtype, SafeTensors, TensorInfo};

use super::config::SourceConfig;
use super::element::{Dyadic, Encoding};
use super::error::{SourceError, shown};
use super::tensors::{Origin, Shape, origins};

/// Most bytes of a header; a model of a thousand layers needs about one.
pub const HEADER_BYTES_MAX: u64 = 1 << 24;

/// Where a tensor lies in the data.
#[derive(Clone, Debug)]
struct Place {
    encoding: Encoding,
    shape: Shape,
    /// First byte in the file.
    start: usize,
}

impl Place {
    /// The place of some of its rows, of which it has enough.
    fn portion(self, shape: Shape, first_row: usize) -> Self {
        let (_, columns) = self.shape.rows_and_columns();
        let row_bytes = self.encoding.size_bytes(columns).unwrap_or_default();
        Self { start: self.start + first_row * row_bytes, shape, ..self }
    }
}

/// All tensors of a model, with their bytes.
#[derive(Clone)]
pub struct Weights {
    bytes: Vec<u8>,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Parses the file and finds exactly the configuration's tensors in it.
    ///
    /// # Errors
    /// A header that is too long or refused by the format's library (which asks for tensors
    /// without gap or overlap that end with the file), or a tensor that is missing, extra, or of
    /// another shape, type or size than expected.
    pub fn parse(bytes: Vec<u8>, config: &SourceConfig) -> Result<Self, SourceError> {
        let data_start = parse_header_size(&bytes)?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| SourceError::Header { reason: shown(&error.to_string()) })?;
        let mut places = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for Origin { name, shape, tensor, whole, first_row } in origins(config) {
            let info = metadata.info(&tensor).ok_or_else(|| SourceError::TensorMissing {
                name: tensor.clone(),
                expected: whole.clone(),
            })?;
            let place = parse_place(&tensor, info, whole, data_start, bytes.len())?;
            let place = place.portion(shape, first_row);
            places.insert(name, place);
            taken.insert(tensor);
        }
        let names = metadata.offset_keys();
        if let Some(name) = names.iter().find(|name| !taken.contains(*name)) {
            let found = metadata.info(name).map(|info| info.shape.clone()).unwrap_or_default();
            return Err(SourceError::TensorExtra { name: shown(name), found: Shape(found) });
        }
        if names.len() != taken.len() {
            let (expected, found) = (taken.len(), names.len());
            return Err(SourceError::TensorCount { expected, found });
        }
        Ok(Self { bytes, places })
    }

    /// A tensor by name; `None` for a name that the model does not have.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, place) = self.places.get_key_value(name)?;
        let (row_count, column_count) = place.shape.rows_and_columns();
        let len = place.encoding.size_bytes(row_count * column_count)?;
        let bytes = &self.bytes[place.start..place.start + len];
        Some(Tensor { name, encoding: place.encoding, row_count, column_count, bytes })
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
        let start = row.checked_mul(size).filter(|_| row < self.row_count);
        let bytes = start.map_or(&[][..], |start| &self.bytes[start..start + size]);
        self.encoding.parse(bytes, out).map_err(|column| SourceError::NotFinite {
            name: self.name.to_owned(),
            row,
            column,
        })
    }
}

/// Offset of the data: eight bytes of length, then the header.
fn parse_header_size(bytes: &[u8]) -> Result<usize, SourceError> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(SourceError::Header { reason: "fewer than 8 bytes".to_owned() });
    };
    let found = u64::from_le_bytes(*length);
    let limit = HEADER_BYTES_MAX.min(rest.len() as u64);
    match usize::try_from(found) {
        Ok(size) if found <= limit => Ok(8 + size),
        _ => Err(SourceError::HeaderSize { limit, found }),
    }
}

fn parse_place(
    name: &str,
    info: &TensorInfo,
    expected: Shape,
    data_start: usize,
    file_len: usize,
) -> Result<Place, SourceError> {
    if info.shape != expected.0 {
        let found = Shape(info.shape.clone());
        return Err(SourceError::TensorShape { name: name.to_owned(), expected, found });
    }
    let encoding = match info.dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        found => {
            let found = found.to_string();
            return Err(SourceError::TensorType { name: name.to_owned(), found });
        }
    };
    let (start, end) = info.data_offsets;
    let (rows, columns) = expected.rows_and_columns();
    let size = rows.checked_mul(columns).and_then(|len| encoding.size_bytes(len));
    let available = file_len - data_start;
    if end > available || end.checked_sub(start) != size {
        return Err(SourceError::TensorBytes {
            name: name.to_owned(),
            expected: size.map_or(u64::MAX, |size| size as u64),
            start: start as u64,
            end: end as u64,
            available: available as u64,
        });
    }
    Ok(Place { encoding, shape: expected, start: data_start + start })
}
