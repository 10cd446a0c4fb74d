//! `model.safetensors`: exactly the tensors that the configuration asks for, element by element.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::tensor::{Dtype, SafeTensors, TensorInfo};

use super::config::SourceConfig;
use super::error::{SourceError, shown};

/// Most bytes of a header; a model of a thousand layers needs about one.
pub const HEADER_BYTES_MAX: u64 = 1 << 24;

/// The rows and columns of a tensor; a vector is one row, and says so in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<usize>);

impl Shape {
    fn vector(len: u32) -> Self {
        Self(vec![len as usize])
    }

    fn matrix(rows: u32, columns: u32) -> Self {
        Self(vec![rows as usize, columns as usize])
    }

    /// Rows and columns, with one row for a vector.
    fn rows_and_columns(&self) -> (usize, usize) {
        match self.0[..] {
            [rows, columns] => (rows, columns),
            [columns] => (1, columns),
            _ => (0, 0),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, len) in self.0.iter().take(8).enumerate() {
            write!(f, "{}{len}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.0.len() > 8 { ", …)" } else { ")" })
    }
}

/// The exact number mantissa · 2^exponent; zero has exponent zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dyadic {
    /// Sign and at most 24 bits.
    pub mantissa: i32,
    /// From −149 to 104.
    pub exponent: i32,
}

/// How an element is stored, least significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    Bf16,
}

impl Element {
    const fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Splits an IEEE 754 number; `None` if it is not finite.
    fn parse(self, bytes: &[u8]) -> Option<Dyadic> {
        let (bits, exponent_bits, fraction_bits) = match (self, bytes) {
            (Self::F32, &[a, b, c, d]) => (u32::from_le_bytes([a, b, c, d]), 8, 23),
            (Self::F16, &[a, b]) => (u16::from_le_bytes([a, b]).into(), 5, 10),
            (Self::Bf16, &[a, b]) => (u16::from_le_bytes([a, b]).into(), 8, 7),
            _ => return None,
        };
        let exponent_max = (1_u32 << exponent_bits) - 1;
        let fraction = bits & ((1 << fraction_bits) - 1);
        let exponent = (bits >> fraction_bits) & exponent_max;
        if exponent == exponent_max {
            return None;
        }
        let hidden = u32::from(exponent != 0) << fraction_bits;
        let magnitude = (hidden | fraction).cast_signed();
        let is_negative = bits >> (exponent_bits + fraction_bits) == 1;
        let bias = (exponent_max >> 1) + fraction_bits;
        Some(Dyadic {
            mantissa: if is_negative { -magnitude } else { magnitude },
            exponent: match magnitude {
                0 => 0,
                _ => exponent.max(1).cast_signed() - bias.cast_signed(),
            },
        })
    }
}

/// Where a tensor lies in the data.
#[derive(Clone, Debug)]
struct Place {
    element: Element,
    shape: Shape,
    /// First byte in the file.
    start: usize,
}

/// All tensors of a model, with their bytes.
#[derive(Clone)]
pub struct Weights {
    bytes: Vec<u8>,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Parses the file and finds exactly the tensors of [`expected_tensors`] in it.
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
        for (name, shape) in expected_tensors(config) {
            let info = metadata.info(&name).ok_or_else(|| SourceError::TensorMissing {
                name: name.clone(),
                expected: shape.clone(),
            })?;
            let place = parse_place(&name, info, shape, data_start, bytes.len())?;
            places.insert(name, place);
        }
        let names = metadata.offset_keys();
        if let Some(name) = names.iter().find(|name| !places.contains_key(*name)) {
            let found = metadata.info(name).map(|info| info.shape.clone()).unwrap_or_default();
            return Err(SourceError::TensorExtra { name: shown(name), found: Shape(found) });
        }
        if names.len() != places.len() {
            let (expected, found) = (places.len(), names.len());
            return Err(SourceError::TensorCount { expected, found });
        }
        Ok(Self { bytes, places })
    }

    /// A tensor by name; `None` for a name that the model does not have.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, place) = self.places.get_key_value(name)?;
        let (row_count, column_count) = place.shape.rows_and_columns();
        let len = row_count * column_count * place.element.size_bytes();
        let bytes = &self.bytes[place.start..place.start + len];
        Some(Tensor { name, element: place.element, row_count, column_count, bytes })
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
    element: Element,
    row_count: usize,
    column_count: usize,
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
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

    /// The elements of row `row` (columns,); none for a row that the tensor does not have.
    ///
    /// # Errors
    /// An item is [`SourceError::NotFinite`] where the element is infinite or not a number.
    pub fn row(
        &self,
        row: usize,
    ) -> impl ExactSizeIterator<Item = Result<Dyadic, SourceError>> + use<'a> {
        let (name, element) = (self.name, self.element);
        let size = self.column_count * element.size_bytes();
        let start = row.checked_mul(size).filter(|_| row < self.row_count);
        let bytes = start.map_or(&[][..], |start| &self.bytes[start..start + size]);
        bytes.chunks_exact(element.size_bytes()).enumerate().map(move |(column, bytes)| {
            let not_finite = || SourceError::NotFinite { name: name.to_owned(), row, column };
            element.parse(bytes).ok_or_else(not_finite)
        })
    }
}

/// Every tensor of a Llama by its published name, with its shape (rows, columns).
pub fn expected_tensors(config: &SourceConfig) -> Vec<(String, Shape)> {
    let (hidden, feed_forward) = (config.hidden_size, config.intermediate_size);
    let queries = config.head_count * config.head_dim;
    let keys = config.kv_head_count * config.head_dim;
    let of_layer = [
        ("input_layernorm", Shape::vector(hidden)),
        ("self_attn.q_proj", Shape::matrix(queries, hidden)),
        ("self_attn.k_proj", Shape::matrix(keys, hidden)),
        ("self_attn.v_proj", Shape::matrix(keys, hidden)),
        ("self_attn.o_proj", Shape::matrix(hidden, queries)),
        ("post_attention_layernorm", Shape::vector(hidden)),
        ("mlp.gate_proj", Shape::matrix(feed_forward, hidden)),
        ("mlp.up_proj", Shape::matrix(feed_forward, hidden)),
        ("mlp.down_proj", Shape::matrix(hidden, feed_forward)),
    ];
    let embedding = Shape::matrix(config.vocabulary_size, hidden);
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), embedding.clone())];
    for layer in 0..config.layer_count {
        let named = |(name, shape): &(&str, Shape)| {
            (format!("model.layers.{layer}.{name}.weight"), shape.clone())
        };
        tensors.extend(of_layer.iter().map(named));
    }
    tensors.push(("model.norm.weight".to_owned(), Shape::vector(hidden)));
    if !config.is_head_tied {
        tensors.push(("lm_head.weight".to_owned(), embedding));
    }
    tensors
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
    let element = match info.dtype {
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        found => {
            let found = found.to_string();
            return Err(SourceError::TensorType { name: name.to_owned(), found });
        }
    };
    let (start, end) = info.data_offsets;
    let (rows, columns) = expected.rows_and_columns();
    let size = rows.checked_mul(columns).and_then(|len| len.checked_mul(element.size_bytes()));
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
    Ok(Place { element, shape: expected, start: data_start + start })
}
