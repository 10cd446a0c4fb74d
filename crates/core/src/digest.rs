//! SHA-256 digests, plain and under a domain tag.
//!
//! `docs/decisions/0001-sha-256.md` says why there is one hash.

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::tag::Tag;

/// A SHA-256 digest: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Size of a digest in bytes.
    pub const SIZE_BYTES: usize = 32;

    /// Takes 32 bytes as a digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Takes a slice as a digest; `None` unless it has 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Parses 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)?.checked_shl(4)? | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// SHA-256 of `bytes` alone: for content that others also hash (files, COSE, RFC 6962).
    #[must_use]
    pub fn of_content(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// SHA-256 of tag ‖ parts in order; the caller makes the parts' borders unambiguous.
    #[must_use]
    pub fn of_tagged(tag: Tag, parts: &[&[u8]]) -> Self {
        let mut hasher = Hasher::tagged(tag);
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a' - 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// SHA-256 over pieces that arrive one after another.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts with nothing: the digest will equal [`Digest::of_content`] of all pieces.
    #[must_use]
    pub fn plain() -> Self {
        Self(Sha256::new())
    }

    /// Starts with a domain tag.
    #[must_use]
    pub fn tagged(tag: Tag) -> Self {
        let mut inner = Sha256::new();
        inner.update(tag.as_bytes());
        Self(inner)
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn hexadecimal_round_trips_and_refuses_neighbours() {
        let digest = Digest::of_content(b"abc");
        let text = digest.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(std::format!("{digest:?}"), std::format!("Digest({text})"));
        assert_eq!(Digest::parse_hex(&text), Some(digest));
        assert_eq!(Digest::parse_hex(&text.to_uppercase()), None);
        assert_eq!(Digest::parse_hex(&text[1..]), None);
        assert_eq!(Digest::parse_hex(&std::format!("{text}0")), None);
    }
}
