//! Log entries: the leaves of our own logs, 54 bytes each.
//!
//! An entry says that some statement existed and nothing about it: its kind, the hour of the
//! statement's time, and the digest of the statement, which holds random bytes and so hides the rest.
//! `spec/log.md` gives the layout.

use thiserror::Error;

use crate::{Digest, tag};

/// Size of every entry in bytes: tag, version, kind, hour, digest.
pub const ENTRY_SIZE_BYTES: usize = TAG_SIZE_BYTES + 1 + 2 + 4 + Digest::SIZE_BYTES;

const TAG_SIZE_BYTES: usize = tag::ENTRY.as_bytes().len();

/// The layout that this version reads and writes.
const VERSION: u8 = 1;

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The entry has another size.
    #[error("entry has {found} bytes, expected {ENTRY_SIZE_BYTES}")]
    Size {
        /// Its size.
        found: usize,
    },
    /// The entry does not begin with the entry tag.
    #[error("entry does not begin with the entry tag")]
    Tag,
    /// The layout is of another version.
    #[error("entry version is {found}, expected {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Kind 0 exists in no version.
    #[error("entry kind is 0, expected 1 or more")]
    Kind,
}

/// What kind of statement an entry's digest stands for: never 0.
///
/// The log carries every kind; only whoever reads the statement knows what one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKind(u16);

impl EntryKind {
    /// The digest of a receipt.
    pub const RECEIPT: Self = Self(1);
    /// The digest of a contribution's signed manifest.
    pub const CONTRIBUTION: Self = Self(2);
    /// The digest of a split policy.
    pub const SPLIT_POLICY: Self = Self(3);
    /// The digest of an epoch of a ledger.
    pub const EPOCH: Self = Self(4);
    /// The digest of signed feedback: a rating, a gold answer or a use of ratings.
    pub const FEEDBACK: Self = Self(5);

    /// Takes a kind.
    ///
    /// # Errors
    /// [`EntryError::Kind`] for 0.
    pub const fn new(kind: u16) -> Result<Self, EntryError> {
        if kind == 0 { Err(EntryError::Kind) } else { Ok(Self(kind)) }
    }

    /// The kind's number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Whole hours since 1970-01-01 UTC.
///
/// An hour is coarse enough to hide when a single answer was given and fine enough to find entries
/// by time and to retire them; 32 bits last for 490,000 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourBucket(pub u32);

impl HourBucket {
    /// The hour that holds this second; the last hour for all later ones.
    #[must_use]
    pub fn of_unix_seconds(seconds: u64) -> Self {
        Self(
            seconds
                .checked_div(3_600)
                .and_then(|hours| u32::try_from(hours).ok())
                .unwrap_or(u32::MAX),
        )
    }
}

/// One log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of statement the digest stands for.
    pub kind: EntryKind,
    /// The hour of the statement's time.
    pub hour: HourBucket,
    /// The statement's digest.
    pub digest: Digest,
}

impl Entry {
    /// Parses an entry.
    ///
    /// # Errors
    /// If size, tag, version or kind are others.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let bytes: &[u8; ENTRY_SIZE_BYTES] =
            bytes.try_into().map_err(|_| EntryError::Size { found: bytes.len() })?;
        let rest = bytes.strip_prefix(tag::ENTRY.as_bytes()).ok_or(EntryError::Tag)?;
        let [version, kind_high, kind_low, h3, h2, h1, h0, digest @ ..] = rest else {
            return Err(EntryError::Size { found: rest.len() });
        };
        if *version != VERSION {
            return Err(EntryError::Version { found: *version });
        }
        Ok(Self {
            kind: EntryKind::new(u16::from_be_bytes([*kind_high, *kind_low]))?,
            hour: HourBucket(u32::from_be_bytes([*h3, *h2, *h1, *h0])),
            digest: Digest::from_slice(digest).ok_or(EntryError::Size { found: rest.len() })?,
        })
    }

    /// The entry's bytes: tag, u8 version, u16 kind, u32 hour, digest; integers big-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_SIZE_BYTES] {
        let [kind_high, kind_low] = self.kind.0.to_be_bytes();
        let [h3, h2, h1, h0] = self.hour.0.to_be_bytes();
        let header = [VERSION, kind_high, kind_low, h3, h2, h1, h0];
        let parts = tag::ENTRY.as_bytes().iter().chain(&header).chain(self.digest.as_bytes());
        let mut bytes = [0; ENTRY_SIZE_BYTES];
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = *part;
        }
        bytes
    }
}

#[cfg(test)]
#[expect(clippy::integer_division, reason = "a test counts bits and bytes")]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            kind: EntryKind::RECEIPT,
            hour: HourBucket(0x0102_0304),
            digest: Digest::from_bytes([0xab; 32]),
        }
    }

    #[test]
    fn an_entry_has_54_bytes_in_the_order_of_the_specification() {
        let bytes = entry().encode();
        assert_eq!(bytes.len(), 54);
        assert_eq!(&bytes[..15], b"tally/entry/v1\0");
        assert_eq!(hex::encode(&bytes[15..22]), "01000101020304");
        assert_eq!(bytes[22..], [0xab; 32]);
        assert_eq!(Entry::parse(&bytes), Ok(entry()));
    }

    #[test]
    fn edge_values_round_trip() {
        for kind in [1, 2, u16::MAX - 1, u16::MAX] {
            for hour in [0, 1, u32::MAX - 1, u32::MAX] {
                let entry = Entry {
                    kind: EntryKind::new(kind).unwrap(),
                    hour: HourBucket(hour),
                    digest: Digest::from_bytes([0; 32]),
                };
                assert_eq!(Entry::parse(&entry.encode()), Ok(entry));
            }
        }
    }

    #[test]
    fn every_neighbour_is_refused_or_another_entry() {
        let bytes = entry().encode();
        for len in 0..54 {
            assert_eq!(Entry::parse(&bytes[..len]), Err(EntryError::Size { found: len }));
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Entry::parse(&longer), Err(EntryError::Size { found: 55 }));
        for bit in 0..54 * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            let parsed = Entry::parse(&bad);
            match bit / 8 {
                0..15 => assert_eq!(parsed, Err(EntryError::Tag)),
                15 => assert_eq!(parsed, Err(EntryError::Version { found: bad[15] })),
                16 | 17 if bad[16..18] == [0, 0] => assert_eq!(parsed, Err(EntryError::Kind)),
                _ => {
                    assert_ne!(parsed, Ok(entry()));
                    assert_eq!(parsed.unwrap().encode(), bad);
                }
            }
        }
    }

    #[test]
    fn a_kind_is_its_number_and_never_zero() {
        assert_eq!(EntryKind::RECEIPT.get(), 1);
        assert_eq!(EntryKind::new(u16::MAX).map(EntryKind::get), Ok(u16::MAX));
        assert_eq!(EntryKind::new(0), Err(EntryError::Kind));
    }

    #[test]
    fn hours_are_whole_and_saturate() {
        assert_eq!(HourBucket::of_unix_seconds(0), HourBucket(0));
        assert_eq!(HourBucket::of_unix_seconds(3_599), HourBucket(0));
        assert_eq!(HourBucket::of_unix_seconds(3_600), HourBucket(1));
        assert_eq!(HourBucket::of_unix_seconds(u64::MAX), HourBucket(u32::MAX));
    }
}
