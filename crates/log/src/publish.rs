//! The public folder: tiles, entry bundles and the checkpoint, as tlog-tiles readers expect them.
//!
//! Every tile that a checkpoint implies is durable before the checkpoint is put in place, so a
//! reader never meets a checkpoint whose tiles are missing, whatever crashes when.

use std::collections::BTreeSet;

use tally_core::{
    checkpoint::SignedCheckpoint,
    tile::{TILE_HEIGHT, TILE_LEVEL_MAX, Tile, TileKind},
    tree::TreeSize,
};

use crate::{
    error::{At, Damage, LogError, Operation},
    rows::Rows,
    storage::{self, Storage, parent},
};

/// The folder that may be served as it is.
pub(crate) const PUBLIC: &str = "public";

/// The published checkpoint.
pub(crate) const CHECKPOINT: &str = "public/checkpoint";

/// Most tiles that are open at once: well below the usual limit of 1,024 open files.
const STAGED_COUNT_MAX: usize = 256;

/// Where a tile stands, relative to the storage's root.
pub(crate) fn public_path(tile: Tile) -> String {
    format!("{PUBLIC}/{tile}")
}

/// The published checkpoint; `None` if there is none.
pub(crate) fn read_checkpoint(storage: &dyn Storage) -> Result<Option<SignedCheckpoint>, LogError> {
    let Some(bytes) = storage::read(storage, CHECKPOINT)? else { return Ok(None) };
    SignedCheckpoint::parse(&bytes)
        .map(Some)
        .map_err(|error| LogError::damaged(CHECKPOINT, 0, Damage::Checkpoint(error)))
}

/// Puts a checkpoint in place, durably. All tiles that it implies are durable.
pub(crate) fn put_checkpoint(
    storage: &dyn Storage,
    signed: &SignedCheckpoint,
) -> Result<(), LogError> {
    storage::replace_durably(storage, CHECKPOINT, signed.encode().as_bytes())
}

/// Which tile hashes of one level there are in a tree of this size.
fn count_at(level: u8, size: TreeSize) -> u64 {
    size.get().checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// The tiles and bundles that a tree of size `new` has and one of size `old` has not.
pub(crate) fn tiles_between(old: TreeSize, new: TreeSize) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for (kind, level) in kinds() {
        let (from, to) = (count_at(level, old), count_at(level, new));
        if from < to {
            let indices = from / 256..to.div_ceil(256);
            tiles.extend(indices.filter_map(|index| Tile::in_tree(kind, index, new)));
        }
    }
    tiles
}

/// The partial tiles and bundles of a tree of this size.
pub(crate) fn partial_tiles(size: TreeSize) -> Vec<Tile> {
    kinds()
        .filter_map(|(kind, level)| Tile::in_tree(kind, count_at(level, size) / 256, size))
        .filter(|tile| !tile.is_full())
        .collect()
}

/// All kinds of tiles, each with the level of its elements.
fn kinds() -> impl Iterator<Item = (TileKind, u8)> {
    let hashes = (0..=TILE_LEVEL_MAX).map(|level| (TileKind::Hashes(level), level));
    hashes.chain([(TileKind::Entries, 0)])
}

/// Writes tiles and remembers which folders' names are durable.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    durable_folders: BTreeSet<String>,
}

impl Publisher {
    /// Makes the public folder itself, durably.
    pub(crate) fn create_root(storage: &dyn Storage) -> Result<(), LogError> {
        storage.create_folder(PUBLIC).at(Operation::CreateFolder, PUBLIC)?;
        storage.sync_folder("").at(Operation::SyncFolder, "")
    }

    /// Writes whatever tiles the tree of size `new` has beyond those of size `old`, durably.
    pub(crate) fn put_tiles(
        &mut self,
        storage: &dyn Storage,
        rows: &Rows,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<(), LogError> {
        let mut made = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for tiles in tiles_between(old, new).chunks(STAGED_COUNT_MAX) {
            let paths: Vec<String> = tiles.iter().copied().map(public_path).collect();
            let mut files = Vec::new();
            for (tile, path) in tiles.iter().zip(&paths) {
                let bytes = rows
                    .tile_bytes(*tile)
                    .ok_or_else(|| LogError::damaged(path, 0, Damage::TileMissing { size: new }))?;
                self.make_folders(storage, parent(path), &mut made, &mut touched)?;
                files.push(storage::stage(storage, path, &bytes)?);
                touched.insert(parent(path).to_owned());
            }
            storage.sync_files(&files).at(Operation::Sync, PUBLIC)?;
            paths.iter().try_for_each(|path| storage::unstage(storage, path))?;
        }
        for folder in &touched {
            storage.sync_folder(folder).at(Operation::SyncFolder, folder)?;
        }
        self.durable_folders.extend(made);
        Ok(())
    }

    /// Makes a folder and its parents below the public one; each parent is to be synced.
    fn make_folders(
        &self,
        storage: &dyn Storage,
        folder: &str,
        made: &mut BTreeSet<String>,
        touched: &mut BTreeSet<String>,
    ) -> Result<(), LogError> {
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        for path in ends.skip(1).filter_map(|end| folder.get(..end)) {
            if self.durable_folders.contains(path) || made.contains(path) {
                continue;
            }
            storage.create_folder(path).at(Operation::CreateFolder, path)?;
            made.insert(path.to_owned());
            touched.insert(parent(path).to_owned());
        }
        Ok(())
    }

    /// Removes partial tiles whose full tile is published. What a crash leaves of them is harmless.
    pub(crate) fn remove_partial_tiles(
        &mut self,
        storage: &dyn Storage,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<(), LogError> {
        for tile in tiles_between(old, new).into_iter().filter(Tile::is_full) {
            let folder = format!("{}.p", public_path(tile));
            let names = storage.list(&folder).at(Operation::List, &folder)?;
            for name in names.iter().flatten() {
                let path = format!("{folder}/{name}");
                storage.remove(&path).at(Operation::Remove, &path)?;
            }
            if names.is_some() {
                storage.remove(&folder).at(Operation::Remove, &folder)?;
                self.durable_folders.remove(&folder);
            }
        }
        Ok(())
    }
}
