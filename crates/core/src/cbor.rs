//! Deterministic CBOR (RFC 8949 §4.2.1) for closed, typed formats.
//!
//! The decoder accepts exactly what the encoder writes: shortest integers, definite lengths, map
//! keys in strictly increasing bytewise order, no trailing byte. Floats, indefinite lengths and
//! simple values other than `false` and `true` do not exist here. It never recurses and
//! never allocates more than a caller's stated limit, so depth and size bombs end in an error.

use alloc::vec::Vec;

use thiserror::Error;

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Map};
pub use encode::Encoder;

/// A map key of the project's formats: an integer within CBOR's 64-bit range that fits `i64`.
pub type Key = i64;

/// Why bytes are not the deterministic CBOR that was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CborError {
    /// The input ends inside an item.
    #[error("input ends at byte {offset} inside an item")]
    Truncated {
        /// Offset at which more bytes were needed.
        offset: usize,
    },
    /// An item of another type stands here.
    #[error("expected {expected} at byte {offset}, found {found}")]
    Type {
        /// Offset of the item.
        offset: usize,
        /// The type that the format has here.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// An integer or length is not in its shortest form.
    #[error("integer or length at byte {offset} is not in its shortest form")]
    NotShortest {
        /// Offset of the item.
        offset: usize,
    },
    /// A reserved, indefinite-length or floating-point form.
    #[error("form {initial:#04x} at byte {offset} does not exist in this profile")]
    Form {
        /// Offset of the item.
        offset: usize,
        /// The initial byte.
        initial: u8,
    },
    /// Map keys are not in strictly increasing order.
    #[error("map key {key} at byte {offset} does not come after key {previous}")]
    KeyOrder {
        /// Offset of the key.
        offset: usize,
        /// The key.
        key: Key,
        /// The key before it.
        previous: Key,
    },
    /// The same map key twice.
    #[error("map key {key} at byte {offset} stands there twice")]
    DuplicateKey {
        /// Offset of the second key.
        offset: usize,
        /// The key.
        key: Key,
    },
    /// A key that the closed format does not have.
    #[error("unknown key {key} in {map}")]
    UnknownKey {
        /// Name of the map.
        map: &'static str,
        /// The key.
        key: Key,
    },
    /// A key that the format demands is absent.
    #[error("{map} lacks key {key}")]
    MissingKey {
        /// Name of the map.
        map: &'static str,
        /// The key.
        key: Key,
    },
    /// A length, count or value is above its limit.
    #[error("{what} at byte {offset} is {found}, the limit is {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// Offset of the item.
        offset: usize,
        /// The largest legal value.
        limit: u64,
        /// The value found.
        found: u64,
    },
    /// A value is below the smallest that the format has here.
    #[error("{what} at byte {offset} is {found}, expected at least {limit}")]
    Below {
        /// What was measured.
        what: &'static str,
        /// Offset of the item.
        offset: usize,
        /// The smallest legal value.
        limit: u64,
        /// The value found.
        found: u64,
    },
    /// A byte string has another length than the format demands.
    #[error("{what} at byte {offset} has {found} bytes, expected {expected}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Offset of the item.
        offset: usize,
        /// The length that the format has here.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// Something that must hold at least one item or byte holds none.
    #[error("{what} at byte {offset} is empty")]
    Empty {
        /// What it is.
        what: &'static str,
        /// Offset of the item.
        offset: usize,
    },
    /// A text string is not UTF-8.
    #[error("text at byte {offset} is not UTF-8")]
    Utf8 {
        /// Offset of the text.
        offset: usize,
    },
    /// Bytes follow the last item.
    #[error("{count} bytes follow the last item")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A value that is well-formed but has no meaning here.
    #[error("{what} is {found}, which this version does not know")]
    Value {
        /// What it is.
        what: &'static str,
        /// The value found.
        found: i64,
    },
}

/// A type with exactly one encoding.
pub trait Cbor: Sized {
    /// Appends the value's one encoding.
    fn encode_into(&self, encoder: &mut Encoder);

    /// Reads one value.
    ///
    /// # Errors
    /// The first deviation from the type's one encoding.
    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError>;

    /// The value's one encoding.
    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        self.encode_into(&mut encoder);
        encoder.finish()
    }

    /// Reads one value that fills `bytes` to their end.
    ///
    /// # Errors
    /// The first deviation from the type's one encoding, trailing bytes included.
    fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        let mut decoder = Decoder::new(bytes);
        let value = Self::decode_from(&mut decoder)?;
        decoder.finish()?;
        Ok(value)
    }
}
