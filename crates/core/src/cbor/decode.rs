//! The reader of deterministic CBOR.

use super::{CborError, Key};
use crate::Digest;

/// Reads items in order from a byte string; a copy is a bookmark.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    input: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, offset: 0 }
    }

    /// Offset of the next item.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if bytes are left.
    pub fn finish(self) -> Result<(), CborError> {
        match self.input.len().saturating_sub(self.offset) {
            0 => Ok(()),
            count => Err(CborError::Trailing { count }),
        }
    }

    /// The bytes of everything read since `start`, an earlier [`offset`](Self::offset).
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.offset).unwrap_or_default()
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// Another type, not its shortest form, or truncated.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(0, "an unsigned integer")
    }

    /// An unsigned integer of at most `limit`.
    ///
    /// # Errors
    /// As [`uint`](Self::uint), and [`CborError::Limit`].
    pub fn uint_up_to(&mut self, what: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.offset;
        match self.uint()? {
            found if found > limit => Err(CborError::Limit { what, offset, limit, found }),
            value => Ok(value),
        }
    }

    /// An unsigned integer of at most 32 bits.
    ///
    /// # Errors
    /// As [`uint_up_to`](Self::uint_up_to).
    pub fn u32(&mut self, what: &'static str) -> Result<u32, CborError> {
        let value = self.uint_up_to(what, u64::from(u32::MAX))?;
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// A signed integer within `i64`.
    ///
    /// # Errors
    /// Another type, not its shortest form, truncated, or beyond `i64`.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let offset = self.offset;
        let (major, value) = self.head()?;
        let too_large = |_| CborError::Limit {
            what: "signed integer",
            offset,
            limit: i64::MAX.unsigned_abs(),
            found: value,
        };
        match major {
            0 => i64::try_from(value).map_err(too_large),
            1 => i64::try_from(value).map(|value| !value).map_err(too_large),
            other => Err(CborError::Type { offset, expected: "an integer", found: name_of(other) }),
        }
    }

    /// A byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// Another type, not its shortest form, truncated, or too long.
    pub fn bytes(&mut self, what: &'static str, limit: u64) -> Result<&'a [u8], CborError> {
        let offset = self.offset;
        match self.expect(2, "a byte string")? {
            found if found > limit => Err(CborError::Limit { what, offset, limit, found }),
            length => self.take(length),
        }
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`CborError::Length`].
    pub fn array_of<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CborError> {
        let offset = self.offset;
        let found = self.expect(2, "a byte string")?;
        let expected = u64::try_from(N).unwrap_or(u64::MAX);
        if found != expected {
            return Err(CborError::Length { what, offset, expected, found });
        }
        let bytes = self.take(found)?;
        bytes.try_into().map_err(|_| CborError::Truncated { offset })
    }

    /// A digest: a byte string of 32 bytes.
    ///
    /// # Errors
    /// As [`array_of`](Self::array_of).
    pub fn digest(&mut self, what: &'static str) -> Result<Digest, CborError> {
        self.array_of(what).map(Digest::from_bytes)
    }

    /// A text string of at most `limit` bytes.
    ///
    /// # Errors
    /// Another type, not its shortest form, truncated, too long, or not UTF-8.
    pub fn text(&mut self, what: &'static str, limit: u64) -> Result<&'a str, CborError> {
        let offset = self.offset;
        let bytes = match self.expect(3, "a text string")? {
            found if found > limit => return Err(CborError::Limit { what, offset, limit, found }),
            length => self.take(length)?,
        };
        core::str::from_utf8(bytes).map_err(|_| CborError::Utf8 { offset })
    }

    /// The head of an array of at most `limit` items; returns how many follow.
    ///
    /// # Errors
    /// Another type, not its shortest form, truncated, or too long.
    pub fn array(&mut self, what: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.offset;
        match self.expect(4, "an array")? {
            found if found > limit => Err(CborError::Limit { what, offset, limit, found }),
            count => Ok(count),
        }
    }

    /// The head of an array of 1 to `limit` items; returns how many follow.
    ///
    /// # Errors
    /// As [`array`](Self::array), and [`CborError::Empty`].
    pub fn array_nonempty(&mut self, what: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.offset;
        match self.array(what, limit)? {
            0 => Err(CborError::Empty { what, offset }),
            count => Ok(count),
        }
    }

    /// The head of an array of exactly `count` items.
    ///
    /// # Errors
    /// As [`array`](Self::array), and [`CborError::Length`].
    pub fn array_exact(&mut self, what: &'static str, count: u64) -> Result<(), CborError> {
        let offset = self.offset;
        match self.expect(4, "an array")? {
            found if found == count => Ok(()),
            found => Err(CborError::Length { what, offset, expected: count, found }),
        }
    }

    /// A map with integer keys, to be read key by key.
    ///
    /// # Errors
    /// Another type, not its shortest form or truncated.
    pub fn map(&mut self, name: &'static str) -> Result<Map, CborError> {
        let left = self.expect(5, "a map")?;
        Ok(Map { name, left, previous: None, pending: None })
    }

    /// The tag `number`; the tagged item follows.
    ///
    /// # Errors
    /// Another type or another tag.
    pub fn tag(&mut self, number: u64) -> Result<(), CborError> {
        match self.expect(6, "a tag")? {
            found if found == number => Ok(()),
            found => Err(CborError::Value {
                what: "tag",
                found: i64::try_from(found).unwrap_or(i64::MAX),
            }),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// Another type.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        let offset = self.offset;
        match self.next()? {
            0xf4 => Ok(false),
            0xf5 => Ok(true),
            initial => {
                let found = name_of(initial.wrapping_shr(5));
                Err(CborError::Type { offset, expected: "a truth value", found })
            }
        }
    }

    fn expect(&mut self, major: u8, expected: &'static str) -> Result<u64, CborError> {
        let offset = self.offset;
        match self.head()? {
            (found, value) if found == major => Ok(value),
            (found, _) => Err(CborError::Type { offset, expected, found: name_of(found) }),
        }
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let offset = self.offset;
        let initial = self.next()?;
        let (major, low) = (initial.wrapping_shr(5), initial & 0x1f);
        if major == 7 {
            // Simple values have no argument here; floats do not exist in this profile.
            return match low {
                20..=22 => Ok((major, u64::from(low))),
                _ => Err(CborError::Form { offset, initial }),
            };
        }
        let (value, smallest) = match low {
            0..=23 => (u64::from(low), 0),
            24 => (self.big_endian(1)?, 24),
            25 => (self.big_endian(2)?, 0x100),
            26 => (self.big_endian(4)?, 0x1_0000),
            27 => (self.big_endian(8)?, 0x1_0000_0000),
            _ => return Err(CborError::Form { offset, initial }),
        };
        if value < smallest {
            return Err(CborError::NotShortest { offset });
        }
        Ok((major, value))
    }

    fn big_endian(&mut self, size_bytes: u64) -> Result<u64, CborError> {
        let bytes = self.take(size_bytes)?;
        Ok(bytes.iter().fold(0, |value, byte| value.wrapping_shl(8) | u64::from(*byte)))
    }

    fn next(&mut self) -> Result<u8, CborError> {
        let offset = self.offset;
        let byte = *self.input.get(offset).ok_or(CborError::Truncated { offset })?;
        self.offset = offset.saturating_add(1);
        Ok(byte)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let truncated = CborError::Truncated { offset: self.input.len() };
        let Ok(length) = usize::try_from(length) else { return Err(truncated) };
        let Some(end) = self.offset.checked_add(length) else { return Err(truncated) };
        let bytes = self.input.get(self.offset..end).ok_or(truncated)?;
        self.offset = end;
        Ok(bytes)
    }
}

const fn name_of(major: u8) -> &'static str {
    match major {
        0 => "an unsigned integer",
        1 => "a negative integer",
        2 => "a byte string",
        3 => "a text string",
        4 => "an array",
        5 => "a map",
        6 => "a tag",
        _ => "a simple value",
    }
}

/// A map being read: its keys must come in strictly increasing order of their encoding.
#[derive(Clone, Debug)]
pub struct Map {
    name: &'static str,
    left: u64,
    previous: Option<Key>,
    pending: Option<Key>,
}

impl Map {
    /// Moves to the value of `key`, which must be the next key of the map.
    ///
    /// # Errors
    /// [`CborError::MissingKey`] if another key or the end stands here; order and duplicates too.
    pub fn require(&mut self, decoder: &mut Decoder<'_>, key: Key) -> Result<(), CborError> {
        if self.optional(decoder, key)? {
            return Ok(());
        }
        match self.pending {
            // A key that sorts before the demanded one is foreign; a later one means it lacks.
            Some(found) if order(found) < order(key) => {
                Err(CborError::UnknownKey { map: self.name, key: found })
            }
            _ => Err(CborError::MissingKey { map: self.name, key }),
        }
    }

    /// Moves to the value of `key` if it is the next key; says whether it is.
    ///
    /// # Errors
    /// Keys out of order or twice, or malformed input.
    pub fn optional(&mut self, decoder: &mut Decoder<'_>, key: Key) -> Result<bool, CborError> {
        let found = self.peek(decoder)?;
        if found == Some(key) {
            self.pending = None;
            self.previous = Some(key);
            return Ok(true);
        }
        Ok(false)
    }

    /// Ends the map: every key must have been read.
    ///
    /// # Errors
    /// [`CborError::UnknownKey`] if a key is left.
    pub fn end(mut self, decoder: &mut Decoder<'_>) -> Result<(), CborError> {
        match self.peek(decoder)? {
            Some(key) => Err(CborError::UnknownKey { map: self.name, key }),
            None => Ok(()),
        }
    }

    fn peek(&mut self, decoder: &mut Decoder<'_>) -> Result<Option<Key>, CborError> {
        if self.pending.is_some() {
            return Ok(self.pending);
        }
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let offset = decoder.offset();
        let key = decoder.int()?;
        match self.previous {
            Some(previous) if previous == key => {
                return Err(CborError::DuplicateKey { offset, key });
            }
            Some(previous) if order(previous) > order(key) => {
                return Err(CborError::KeyOrder { offset, key, previous });
            }
            _ => {}
        }
        self.left = left;
        self.pending = Some(key);
        Ok(Some(key))
    }
}

/// Bytewise order of encoded keys: non-negative ones by value, then negative ones by magnitude.
const fn order(key: Key) -> (bool, u64) {
    if key >= 0 { (false, key.unsigned_abs()) } else { (true, key.unsigned_abs()) }
}
