//! The header of a GGUF file: keys and tensors, each found where it says, nothing copied.
//!
//! Versions 2 and 3, little-endian. Texts and lists stay views into the file, so that what is
//! allocated is bounded by the limits on keys and tensors whatever the file states.

use std::collections::BTreeMap;

use super::error::GgufError;
use crate::source::element::Encoding;
use crate::source::error::shown;

/// Most keys; published files have about fifty.
pub const KEYS_MAX: u64 = 1 << 12;
/// Most tensors; a model of a thousand layers has about twelve thousand.
pub const TENSORS_MAX: u64 = 1 << 14;
/// Most bytes of the name of a key or tensor.
pub const NAME_BYTES_MAX: u64 = 1 << 8;
/// Largest alignment of tensors.
pub const ALIGNMENT_MAX: u64 = 1 << 16;

/// What a file begins with.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) keys: BTreeMap<&'a str, Value<'a>>,
    pub(super) tensors: BTreeMap<&'a str, Described>,
}

/// A value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Whole(i128),
    /// The bits of an IEEE 754 number of 32 bits.
    Float(u32),
    /// The bits of an IEEE 754 number of 64 bits, of which none is read.
    Double(u64),
    Switch(bool),
    Text(&'a str),
    List(List<'a>),
}

/// A list of values of one type, in the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List<'a> {
    kind: u32,
    pub(super) count: usize,
    bytes: &'a [u8],
}

/// A tensor, whose data lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) encoding: Encoding,
    /// Rows and columns; a vector has one row.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) is_vector: bool,
    /// First byte in the file.
    pub(super) start: usize,
}

/// A tensor as it is stated, before its place is known to be right.
struct Stated<'a> {
    name: &'a str,
    tensor: Described,
    offset: u64,
    size: u64,
}

impl<'a> Header<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, GgufError> {
        let mut reader = Reader { bytes, offset: 0 };
        if reader.take("the first four bytes", 4)? != b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { found: version });
        }
        let tensor_count = reader.count("tensors", TENSORS_MAX)?;
        let key_count = reader.count("keys", KEYS_MAX)?;
        let mut keys = BTreeMap::new();
        for _ in 0..key_count {
            let name = reader.name("a key")?;
            let kind = reader.u32("the type of a key")?;
            let value = reader.value(name, kind)?;
            if keys.insert(name, value).is_some() {
                return Err(GgufError::Twice { what: "key", name: shown(name) });
            }
        }
        let mut stated = vec![];
        for _ in 0..tensor_count {
            stated.push(reader.tensor()?);
        }
        let alignment = alignment(&keys)?;
        let data_start = (reader.offset as u64).next_multiple_of(alignment);
        let tensors = place(stated, alignment, data_start, bytes.len() as u64)?;
        Ok(Self { keys, tensors })
    }
}

fn alignment(keys: &BTreeMap<&str, Value<'_>>) -> Result<u64, GgufError> {
    let key = "general.alignment";
    let found = match keys.get(key) {
        None => return Ok(32),
        Some(Value::Whole(found)) => u64::try_from(*found).unwrap_or_default(),
        Some(_) => 0,
    };
    if found.is_power_of_two() && found <= ALIGNMENT_MAX {
        return Ok(found);
    }
    let expected = format!("a power of two up to {ALIGNMENT_MAX}");
    Err(GgufError::Value { key: key.to_owned(), found: found.to_string(), expected })
}

/// Finds every tensor's bytes in the file, none twice and none within another's.
fn place<'a>(
    mut stated: Vec<Stated<'a>>,
    alignment: u64,
    data_start: u64,
    file_len: u64,
) -> Result<BTreeMap<&'a str, Described>, GgufError> {
    stated.sort_unstable_by_key(|each| each.offset);
    let available = file_len.saturating_sub(data_start);
    let (mut tensors, mut from) = (BTreeMap::new(), 0);
    for Stated { name, mut tensor, offset, size } in stated {
        let end = offset.checked_add(size).filter(|end| *end <= available);
        let end = end.filter(|_| offset >= from && offset.is_multiple_of(alignment));
        let start = usize::try_from(data_start + offset.min(available));
        let (Some(end), Ok(start)) = (end, start) else {
            let (name, start) = (shown(name), offset);
            return Err(GgufError::TensorPlace { name, start, size, from, alignment, available });
        };
        tensor.start = start;
        from = end;
        if tensors.insert(name, tensor).is_some() {
            return Err(GgufError::Twice { what: "tensor", name: shown(name) });
        }
    }
    Ok(tensors)
}

impl<'a> List<'a> {
    /// The texts of a list of texts; `None` if it is of something else.
    pub(super) fn texts(self) -> Option<impl Iterator<Item = &'a str>> {
        let mut reader = Reader { bytes: self.bytes, offset: 0 };
        let texts = (0..self.count).map_while(move |_| reader.text("a text").ok());
        (self.kind == kind::TEXT).then_some(texts)
    }

    /// The numbers of a list of 32 bits each: (signed or not) or bits; `None` for another list.
    pub(super) fn words(self, floats: bool) -> Option<impl Iterator<Item = u32>> {
        let is_right = match floats {
            true => self.kind == kind::FLOAT,
            false => matches!(self.kind, kind::U32 | kind::I32),
        };
        let (words, _) = self.bytes.as_chunks::<4>();
        is_right.then(|| words.iter().map(|word| u32::from_le_bytes(*word)))
    }
}

impl Value<'_> {
    /// The type, as errors name it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Whole(_) => "whole number",
            Self::Float(_) => "float of 32 bits",
            Self::Double(_) => "float of 64 bits",
            Self::Switch(_) => "true or false",
            Self::Text(_) => "text",
            Self::List(_) => "list",
        }
    }
}

/// Numbers of the types of values.
mod kind {
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const FLOAT: u32 = 6;
    pub(super) const SWITCH: u32 = 7;
    pub(super) const TEXT: u32 = 8;
    pub(super) const LIST: u32 = 9;

    /// Bytes of a value of a fixed size.
    pub(super) const fn size(kind: u32) -> Option<usize> {
        match kind {
            0 | 1 | SWITCH => Some(1),
            2 | 3 => Some(2),
            U32 | I32 | FLOAT => Some(4),
            10..=12 => Some(8),
            _ => None,
        }
    }
}

/// A place in the file's bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, what: &'static str, size: usize) -> Result<&'a [u8], GgufError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some(taken) = rest.get(..size) else {
            let (offset, available) = (self.offset, rest.len());
            return Err(GgufError::Truncated { what, offset, needed: size as u64, available });
        };
        self.offset += size;
        Ok(taken)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        let bytes = self.take(what, 4)?;
        Ok(bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).unwrap_or_default())
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        let bytes = self.take(what, 8)?;
        Ok(bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default())
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufError> {
        let found = self.u64(what)?;
        if found > limit { Err(GgufError::Count { what, limit, found }) } else { Ok(found) }
    }

    /// A text of any length within the file.
    fn text(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        let offset = self.offset;
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.take(what, size)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::NotUtf8 { what, offset })
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let name = self.text(what)?;
        let (limit, found) = (NAME_BYTES_MAX, name.len() as u64);
        if found > limit {
            return Err(GgufError::Count { what: "bytes in a name", limit, found });
        }
        Ok(name)
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value<'a>, GgufError> {
        match kind {
            kind::TEXT => return self.text("the text of a key").map(Value::Text),
            kind::LIST => return self.list(key).map(Value::List),
            _ => {}
        }
        let size = kind::size(kind).ok_or_else(|| unknown_type(key, kind))?;
        let bytes = self.take("the value of a key", size)?;
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        let unused = 64 - 8 * u32::try_from(size).unwrap_or(8);
        let signed = i128::from((word << unused).cast_signed() >> unused);
        Ok(match kind {
            kind::SWITCH if word > 1 => {
                let expected = "0 or 1 for a value of true or false".to_owned();
                return Err(GgufError::Value {
                    key: shown(key),
                    found: word.to_string(),
                    expected,
                });
            }
            kind::SWITCH => Value::Switch(word == 1),
            kind::FLOAT => Value::Float(u32::try_from(word).unwrap_or_default()),
            12 => Value::Double(word),
            1 | 3 | kind::I32 | 11 => Value::Whole(signed),
            _ => Value::Whole(word.into()),
        })
    }

    fn list(&mut self, key: &str) -> Result<List<'a>, GgufError> {
        let kind = self.u32("the type of a list")?;
        let (what, count) = ("a list", self.u64("the length of a list")?);
        let start = self.offset;
        if kind == kind::TEXT {
            // A text takes at least the eight bytes of its length, so this ends with the file.
            for _ in 0..count {
                self.text("a text of a list")?;
            }
        } else {
            let size = kind::size(kind).ok_or_else(|| unknown_type(key, kind))?;
            let size = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
            self.take(what, size.unwrap_or(usize::MAX))?;
        }
        let bytes = self.bytes.get(start..self.offset).unwrap_or_default();
        Ok(List { kind, count: usize::try_from(count).unwrap_or_default(), bytes })
    }

    fn tensor(&mut self) -> Result<Stated<'a>, GgufError> {
        let name = self.name("the name of a tensor")?;
        let axes = self.u32("the axes of a tensor")?;
        let misshapen =
            |found: String| GgufError::TensorShape { name: shown(name), found: shown(&found) };
        if !(1..=4).contains(&axes) {
            return Err(misshapen(format!("{axes} axes")));
        }
        let mut lens = [1_u64; 4];
        for len in lens.iter_mut().take(axes as usize) {
            *len = self.u64("the shape of a tensor")?;
        }
        let kind = self.u32("the type of a tensor")?;
        let offset = self.u64("the offset of a tensor")?;
        let encoding = encoding(kind)
            .ok_or_else(|| GgufError::TensorType { name: shown(name), found: kind })?;
        let columns = usize::try_from(lens[0]).ok();
        let rows = lens[1..]
            .iter()
            .try_fold(1_usize, |rows, len| rows.checked_mul(usize::try_from(*len).ok()?));
        let described = columns.zip(rows).and_then(|(columns, rows)| {
            let size = encoding.size_bytes(columns)?.checked_mul(rows)?;
            // More than two axes are never asked for, and then refused by shape.
            let tensor = Described { encoding, rows, columns, is_vector: axes == 1, start: 0 };
            Some(Stated { name, tensor, offset, size: size as u64 })
        });
        described
            .filter(|_| axes <= 2 || lens[2] == 1 && lens[3] == 1)
            .ok_or_else(|| misshapen(format!("shape {:?}", &lens[..axes as usize])))
    }
}

fn unknown_type(key: &str, kind: u32) -> GgufError {
    let expected = "a number, text, true or false, or a list of these";
    GgufError::Type { key: shown(key), expected, found: kind.to_string() }
}

const fn encoding(kind: u32) -> Option<Encoding> {
    match kind {
        0 => Some(Encoding::F32),
        1 => Some(Encoding::F16),
        2 => Some(Encoding::Q4_0),
        8 => Some(Encoding::Q8_0),
        12 => Some(Encoding::Q4K),
        14 => Some(Encoding::Q6K),
        30 => Some(Encoding::Bf16),
        _ => None,
    }
}
