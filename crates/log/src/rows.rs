//! What is not in published tiles yet, and one way to read nodes from either.

use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map},
};

use tally_core::{
    Digest,
    entry::{ENTRY_SIZE_BYTES, Entry},
    tile::{self, TILE_HEIGHT, TILE_WIDTH, Tile, TileKind},
    tree::{LeafIndex, NodeId, Nodes, TreeSize, node_hash},
};

use crate::{
    error::{Damage, LogError},
    publish::public_path,
    storage::{self, Storage},
};

const WIDTH: u64 = TILE_WIDTH as u64;

/// A row of equal things from some multiple of the tile width on.
#[derive(Clone, Debug)]
struct Row<T> {
    first: u64,
    items: Vec<T>,
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self { first: 0, items: Vec::new() }
    }
}

impl<T: Copy> Row<T> {
    /// The items from `start` to `end`; `None` if they are not all here.
    fn range(&self, start: u64, end: u64) -> Option<&[T]> {
        let from = usize::try_from(start.checked_sub(self.first)?).ok()?;
        let to = usize::try_from(end.checked_sub(self.first)?).ok()?;
        self.items.get(from..to)
    }

    /// Forgets what stands in full tiles below `count`.
    fn forget(&mut self, count: u64) {
        let first = count - count % WIDTH;
        let Some(drop) = first.checked_sub(self.first).and_then(|n| usize::try_from(n).ok()) else {
            return;
        };
        if drop <= self.items.len() {
            self.items.drain(..drop);
            self.first = first;
        }
    }
}

/// The entries and tile hashes from the last full published tile on, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    entries: Row<[u8; ENTRY_SIZE_BYTES]>,
    hashes: Vec<Row<Digest>>,
}

impl Rows {
    pub(crate) fn push_entry(&mut self, bytes: [u8; ENTRY_SIZE_BYTES]) {
        self.entries.items.push(bytes);
    }

    /// Takes a completed subtree; keeps it if it stands in a tile.
    pub(crate) fn push_node(&mut self, id: NodeId, hash: Digest) {
        if !id.level.is_multiple_of(TILE_HEIGHT) {
            return;
        }
        let level = usize::from(id.level / TILE_HEIGHT);
        if self.hashes.len() <= level {
            self.hashes.resize_with(level + 1, Row::default);
        }
        if let Some(row) = self.hashes.get_mut(level) {
            row.items.push(hash);
        }
    }

    /// Forgets what the full tiles of the published tree hold.
    pub(crate) fn forget(&mut self, published: TreeSize) {
        self.entries.forget(published.get());
        for (level, row) in self.hashes.iter_mut().enumerate() {
            let shift = level * usize::from(TILE_HEIGHT);
            let shift = u32::try_from(shift).unwrap_or(u32::MAX);
            row.forget(published.get().checked_shr(shift).unwrap_or(0));
        }
    }

    /// How many unpublished entries are held.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries.items.len()
    }

    /// The bytes of a tile or bundle; `None` if its items are not all here.
    pub(crate) fn tile_bytes(&self, tile: Tile) -> Option<Vec<u8>> {
        let start = tile.index() * WIDTH;
        let end = start + u64::from(tile.width());
        match tile.kind() {
            TileKind::Entries => {
                let mut bytes = Vec::new();
                for entry in self.entries.range(start, end)? {
                    tile::push_entry(&mut bytes, entry).ok()?;
                }
                Some(bytes)
            }
            TileKind::Hashes(level) => {
                let row = self.hashes.get(usize::from(level))?;
                Some(tile::encode_hashes(row.range(start, end)?))
            }
        }
    }

    fn hashes(&self, level: u8, start: u64, end: u64) -> Option<&[Digest]> {
        self.hashes.get(usize::from(level))?.range(start, end)
    }

    fn entry(&self, index: LeafIndex) -> Option<&[u8; ENTRY_SIZE_BYTES]> {
        self.entries.range(index.0, index.0.checked_add(1)?)?.first()
    }
}

/// The nodes of a log's tree: from memory, else from full published tiles.
///
/// A reader lives for one proof: it keeps the tiles that it has read.
#[derive(Debug)]
pub(crate) struct NodeReader<'a> {
    rows: &'a Rows,
    storage: &'a dyn Storage,
    tiles: RefCell<BTreeMap<Tile, Vec<Digest>>>,
}

impl<'a> NodeReader<'a> {
    pub(crate) fn new(rows: &'a Rows, storage: &'a dyn Storage) -> Self {
        Self { rows, storage, tiles: RefCell::default() }
    }

    /// The hashes of one full published tile from `start` to `end`.
    fn in_tile(&self, level: u8, start: u64, end: u64) -> Result<Digest, LogError> {
        let tile = full(TileKind::Hashes(level), start / WIDTH)?;
        let mut tiles = self.tiles.borrow_mut();
        let hashes = match tiles.entry(tile) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let (path, bytes) = read_full(self.storage, tile)?;
                let hashes = tile::parse_hashes(&bytes, TILE_WIDTH)
                    .map_err(|error| LogError::damaged(path, 0, error.into()))?;
                place.insert(hashes)
            }
        };
        let first = tile.index() * WIDTH;
        let range = usize::try_from(start - first).ok().zip(usize::try_from(end - first).ok());
        range
            .and_then(|(from, to)| hashes.get(from..to))
            .and_then(fold)
            .ok_or_else(|| LogError::damaged(public_path(tile), 0, Damage::FrameKind))
    }
}

impl Nodes for NodeReader<'_> {
    type Error = LogError;

    fn node(&self, id: NodeId) -> Result<Digest, LogError> {
        let (level, height) = (id.level / TILE_HEIGHT, id.level % TILE_HEIGHT);
        let start = id.index << height;
        let end = start + (1 << height);
        match self.rows.hashes(level, start, end).and_then(fold) {
            Some(hash) => Ok(hash),
            None => self.in_tile(level, start, end),
        }
    }
}

/// Root of a complete subtree from its 2^k hashes.
fn fold(hashes: &[Digest]) -> Option<Digest> {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let (pairs, rest) = level.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        level = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied()
}

/// The entry at `index`, from memory or from its published bundle.
pub(crate) fn read_entry(
    rows: &Rows,
    storage: &dyn Storage,
    index: LeafIndex,
) -> Result<Entry, LogError> {
    if let Some(bytes) = rows.entry(index) {
        let damage = |cause| LogError::damaged("memory", index.0, Damage::Entry { index, cause });
        return Entry::parse(bytes).map_err(damage);
    }
    let tile = full(TileKind::Entries, index.0 / WIDTH)?;
    let (path, bytes) = read_full(storage, tile)?;
    let entries = tile::parse_entries(&bytes, TILE_WIDTH)
        .map_err(|error| LogError::damaged(path.clone(), 0, error.into()))?;
    let place = usize::try_from(index.0 % WIDTH).ok();
    let entry = place.and_then(|place| entries.get(place)).copied().unwrap_or_default();
    Entry::parse(entry).map_err(|cause| LogError::damaged(path, 0, Damage::Entry { index, cause }))
}

fn full(kind: TileKind, index: u64) -> Result<Tile, LogError> {
    Tile::new(kind, index, TILE_WIDTH)
        .map_err(|error| LogError::damaged(format!("tile {index}"), 0, error.into()))
}

fn read_full(storage: &dyn Storage, tile: Tile) -> Result<(String, Vec<u8>), LogError> {
    let path = public_path(tile);
    match storage::read(storage, &path)? {
        Some(bytes) => Ok((path, bytes)),
        None => {
            let size = TreeSize::new((tile.index() + 1) * WIDTH).unwrap_or(TreeSize::MAX);
            Err(LogError::damaged(path, 0, Damage::TileMissing { size }))
        }
    }
}
