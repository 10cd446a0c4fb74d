//! The writer of deterministic CBOR.

use alloc::vec::Vec;

use super::Key;

/// Appends items to a growing byte string; map keys must be given in increasing encoded order.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty encoder.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Everything written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_) => self.head(1, (!value).unsigned_abs()),
        }
    }

    /// A map key.
    pub fn key(&mut self, key: Key) -> &mut Self {
        self.int(key)
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(2, length(value));
        self.raw(value)
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(3, length(value.as_bytes()));
        self.raw(value.as_bytes())
    }

    /// The head of an array of `count` items, which follow.
    pub fn array(&mut self, count: usize) -> &mut Self {
        self.head(4, u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// The head of a map of `count` pairs, which follow.
    pub fn map(&mut self, count: usize) -> &mut Self {
        self.head(5, u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// A tag; the tagged item follows.
    pub fn tag(&mut self, number: u64) -> &mut Self {
        self.head(6, number)
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(&[if value { 0xf5 } else { 0xf4 }])
    }

    /// Bytes that are already deterministic CBOR.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(encoded);
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let initial = major.wrapping_shl(5);
        let [.., b3, b2, b1, b0] = value.to_be_bytes();
        match value {
            0..=23 => self.raw(&[initial | b0]),
            24..=0xff => self.raw(&[initial | 24, b0]),
            0x100..=0xffff => self.raw(&[initial | 25, b1, b0]),
            0x1_0000..=0xffff_ffff => self.raw(&[initial | 26, b3, b2, b1, b0]),
            0x1_0000_0000..=u64::MAX => {
                self.raw(&[initial | 27]);
                self.raw(&value.to_be_bytes())
            }
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
