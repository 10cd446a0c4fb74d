//! Tiles and entry bundles (c2sp.org/tlog-tiles): their paths and their bytes.
//!
//! A tile is a row of 256 hashes, eight levels of the tree apart from the next. This module names
//! and encodes tiles; where they are stored is not its business.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use thiserror::Error;

use crate::{Digest, checkpoint::parse_decimal, tree::TreeSize};

#[cfg(test)]
mod tests;

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Levels of the tree between a tile's hashes and those of the tile above.
pub const TILE_HEIGHT: u8 = 8;

/// Highest tile level: 8 · 7 + 8 levels hold every tree of at most 2⁶³ − 1 leaves.
pub const TILE_LEVEL_MAX: u8 = 7;

/// Largest entry that a bundle can hold.
pub const ENTRY_SIZE_BYTES_MAX: usize = 65_535;

/// Why a path or bytes are no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileError {
    /// The path has another form.
    #[error("path is not that of a tile or entry bundle")]
    Path,
    /// The width is not from 1 to 256.
    #[error("tile width {found} is not from 1 to 256")]
    Width {
        /// The width.
        found: u16,
    },
    /// The level is above the highest.
    #[error("tile level {found} is above {TILE_LEVEL_MAX}")]
    Level {
        /// The level.
        found: u8,
    },
    /// A tile has another size than its width demands.
    #[error("tile has {found} bytes, its width demands {expected}")]
    Size {
        /// What the width demands.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// A bundle ends inside an entry.
    #[error("entry bundle ends inside entry {entry}")]
    Truncated {
        /// 0-based number of the entry in the bundle.
        entry: usize,
    },
    /// A bundle has another number of entries than its width.
    #[error("entry bundle has {found} entries, its width is {expected}")]
    EntryCount {
        /// The width.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An entry is longer than a bundle can say.
    #[error("entry has {found} bytes, the limit is {ENTRY_SIZE_BYTES_MAX}")]
    EntrySize {
        /// Its length.
        found: usize,
    },
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of complete subtrees of 256^level leaves.
    Hashes(u8),
    /// The entries themselves: an entry bundle.
    Entries,
}

/// The name of one tile or entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// Names a tile.
    ///
    /// # Errors
    /// If the level is above [`TILE_LEVEL_MAX`] or the width not from 1 to [`TILE_WIDTH`].
    pub const fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        if let TileKind::Hashes(found) = kind
            && found > TILE_LEVEL_MAX
        {
            return Err(TileError::Level { found });
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width { found: width });
        }
        Ok(Self { kind, index, width })
    }

    /// The tile with this index in a tree of `size` leaves; `None` if the tree does not reach it.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: TreeSize) -> Option<Self> {
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let count = size.get().checked_shr(u32::from(level).checked_mul(8)?)?;
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = count.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        Self::new(kind, index, u16::try_from(width).ok()?).ok()
    }

    /// What the tile holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// 0-based place in its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it holds all 256, so that it never changes again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// Parses a path such as `tile/0/x001/234.p/5` or `tile/entries/000`.
    ///
    /// # Errors
    /// If it is not the one path of a tile.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let rest = path.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (kind, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(
                parse_decimal(level)
                    .and_then(|level| u8::try_from(level).ok())
                    .ok_or(TileError::Path)?,
            ),
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = parse_decimal(width)
                    .and_then(|width| u16::try_from(width).ok())
                    .filter(|width| *width < TILE_WIDTH)
                    .ok_or(TileError::Path)?;
                (index, width)
            }
        };
        let tile = Self::new(kind, parse_index(index).ok_or(TileError::Path)?, width)?;
        if tile.to_string() == path { Ok(tile) } else { Err(TileError::Path) }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/{}", index_path(self.index))?,
            TileKind::Entries => write!(f, "tile/entries/{}", index_path(self.index))?,
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// `1234067` as `x001/x234/067`.
fn index_path(index: u64) -> String {
    let digits = index.to_string();
    let groups = digits.len().div_ceil(3);
    let padded = format!("{digits:0>width$}", width = groups.saturating_mul(3));
    let mut path = String::new();
    let (chunks, _) = padded.as_bytes().as_chunks::<3>();
    for (group, digits) in chunks.iter().enumerate() {
        if group.saturating_add(1) < groups {
            path.push('x');
        }
        path.extend(digits.iter().map(|digit| char::from(*digit)));
        if group.saturating_add(1) < groups {
            path.push('/');
        }
    }
    path
}

/// The number of an index path; [`Tile::parse`] compares the re-encoded path afterwards.
fn parse_index(path: &str) -> Option<u64> {
    let mut index = 0_u64;
    for group in path.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}

/// The bytes of a hash tile.
#[must_use]
pub fn encode_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Parses a hash tile of the given width.
///
/// # Errors
/// If it has another size.
pub fn parse_hashes(bytes: &[u8], width: u16) -> Result<Vec<Digest>, TileError> {
    let expected = usize::from(width).saturating_mul(Digest::SIZE_BYTES);
    if bytes.len() != expected {
        return Err(TileError::Size { expected, found: bytes.len() });
    }
    let (hashes, _) = bytes.as_chunks::<32>();
    Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// Appends one entry to a bundle: u16 big-endian length, then its bytes.
///
/// # Errors
/// If the entry is longer than 65,535 bytes.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let len =
        u16::try_from(entry.len()).map_err(|_| TileError::EntrySize { found: entry.len() })?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Parses an entry bundle of the given width.
///
/// # Errors
/// If it ends inside an entry, or has another number of entries.
pub fn parse_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let expected = usize::from(width);
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        if entries.len() >= expected {
            return Err(TileError::EntryCount { expected, found: entries.len().saturating_add(1) });
        }
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) =
            after.split_at_checked(len).ok_or(TileError::Truncated { entry: entries.len() })?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(TileError::Truncated { entry: entries.len() });
    }
    if entries.len() != expected {
        return Err(TileError::EntryCount { expected, found: entries.len() });
    }
    Ok(entries)
}
