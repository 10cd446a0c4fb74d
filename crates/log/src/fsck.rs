//! Deriving everything again from the entries, and naming whatever differs.
//!
//! Nothing is repaired and no file is changed. The log is locked meanwhile.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tally_core::{
    Digest,
    checkpoint::{Origin, SignedCheckpoint},
    cosignature,
    note::{NoteError, VerifierKey},
    tile::{self, Tile, TileKind},
    tree::{LeafIndex, NodeId, TreeSize},
};

use crate::{
    Storage,
    error::{Damage, LogError},
    index::{Committed, INDEX, Index},
    publish::{self, CHECKPOINT, public_path},
    rows::Rows,
    segment::{Leaf, Observer, Replayed, SEGMENT, Segment, Signatures, replay},
    storage,
};

#[cfg(test)]
mod tests;

/// Most findings that are listed; a log with more is beyond telling one from the other.
pub const FINDING_COUNT_MAX: usize = 1_000;

/// Entries after which finished tiles are compared and forgotten.
const COMPARE_INTERVAL: usize = 65_536;

/// Whose signatures are expected, and what others have seen.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The log's key; its name is the origin.
    pub log: VerifierKey,
    /// Cosigners whose cosignatures are verified where they stand.
    pub cosigners: Vec<VerifierKey>,
    /// Checkpoints of this log that others hold, such as [`crate::Cosigner::newest`].
    pub seen: Vec<SignedCheckpoint>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the log's folder.
    pub path: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub damage: Damage,
}

impl Finding {
    /// Whether this is what a crash leaves and the next opening clears away without loss.
    #[must_use]
    pub const fn is_crash_residue(&self) -> bool {
        matches!(self.damage, Damage::TornTail { .. } | Damage::UnsignedTail { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path, self.offset, self.damage)
    }
}

/// How far the segment has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done_bytes: u64,
    /// Bytes that there are.
    pub total_bytes: u64,
}

/// What was derived and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many entries there are.
    pub size: TreeSize,
    /// The root over all of them; `None` if the segment is damaged.
    pub root: Option<Digest>,
    /// Checkpoints whose root and signature were verified.
    pub checkpoint_count: u64,
    /// Tiles and bundles that were compared.
    pub tile_count: u64,
    /// Cosignatures that were verified.
    pub cosignature_count: u64,
    /// How many entries the index covers.
    pub indexed_count: u64,
    /// What is wrong, at most [`FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong but what a crash may leave.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(Finding::is_crash_residue)
    }
}

/// Derives everything again from the entries.
///
/// # Errors
/// If the storage refuses or another process holds the log; damage is a finding and no error.
pub fn fsck(
    storage: &Arc<dyn Storage>,
    expected: &Expected,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LogError> {
    let storage = storage.as_ref();
    let _lock = storage::lock(storage, crate::log::LOCK)?;
    let mut findings = Findings::default();
    let segment = Segment::open(storage)?;
    let published = findings.keep(published(storage, expected))?.flatten();
    let published_size =
        published.as_ref().map_or(TreeSize::ZERO, |signed| signed.checkpoint().size());
    let index = match opened_index(storage) {
        Err(LogError::Index { .. }) => {
            findings.push(INDEX, 0, Damage::IndexUnreadable);
            None
        }
        other => other?,
    };
    let mut pass = Pass {
        storage,
        rows: Rows::default(),
        published: published_size,
        compared: TreeSize::ZERO,
        index,
        first_count: 0,
        claims: BTreeMap::new(),
        roots: BTreeMap::new(),
        report: Report::empty(),
        findings,
        progress,
    };
    let replayed = replay(segment.file(), &expected.log, Signatures::Every, &mut pass);
    let replayed = pass.findings.keep(replayed)?;
    if let Some(replayed) = &replayed {
        pass.finish(replayed)?;
        let mut claims = Claims { open: core::mem::take(&mut pass.claims), findings: Vec::new() };
        if !claims.open.is_empty() {
            replay(segment.file(), &expected.log, Signatures::Last, &mut claims)?;
            pass.findings.list.append(&mut claims.findings);
        }
        pass.known_checkpoints(published.as_ref(), expected);
    }
    let cosignatures = published.as_ref().map(|signed| pass.cosignatures(signed, expected));
    pass.report.cosignature_count = cosignatures.unwrap_or(0);
    let mut list = pass.findings.list;
    list.truncate(FINDING_COUNT_MAX);
    Ok(Report { findings: list, ..pass.report })
}

/// The index, and what is in it.
fn opened_index(storage: &dyn Storage) -> Result<Option<(Index, Committed)>, LogError> {
    let Some(index) = Index::open_existing(storage)? else { return Ok(None) };
    let committed = index.committed()?;
    Ok(Some((index, committed)))
}

fn published(
    storage: &dyn Storage,
    expected: &Expected,
) -> Result<Option<SignedCheckpoint>, LogError> {
    let signed = publish::read_checkpoint(storage)?;
    let Some(signed) = signed else {
        return Err(LogError::damaged(CHECKPOINT, 0, Damage::CheckpointMissing));
    };
    signed
        .verify(&Origin::from(expected.log.name()), &expected.log)
        .map_err(|error| LogError::damaged(CHECKPOINT, 0, error.into()))?;
    Ok(Some(signed))
}

impl Report {
    const fn empty() -> Self {
        Self {
            size: TreeSize::ZERO,
            root: None,
            checkpoint_count: 0,
            tile_count: 0,
            cosignature_count: 0,
            indexed_count: 0,
            findings: Vec::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn push(&mut self, path: impl Into<String>, offset: u64, damage: Damage) {
        if self.list.len() < FINDING_COUNT_MAX {
            self.list.push(Finding { path: path.into(), offset, damage });
        }
    }

    /// Turns damage into a finding; what else went wrong stays an error.
    fn keep<T>(&mut self, result: Result<T, LogError>) -> Result<Option<T>, LogError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(LogError::Damaged { path, offset, damage }) => {
                self.push(path, offset, damage);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The reading of the segment, with what is compared on the way.
struct Pass<'a> {
    storage: &'a dyn Storage,
    rows: Rows,
    published: TreeSize,
    compared: TreeSize,
    index: Option<(Index, Committed)>,
    /// Entries at which the index says that their digest stands first.
    first_count: u64,
    /// Digests of which the index says that they stand earlier: earlier place → digests.
    claims: BTreeMap<u64, Vec<Digest>>,
    /// The last root of each size that the published or a seen checkpoint may state.
    roots: BTreeMap<TreeSize, Digest>,
    report: Report,
    findings: Findings,
    progress: &'a mut dyn FnMut(Progress),
}

impl Observer for Pass<'_> {
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), LogError> {
        self.rows.push_entry(*leaf.bytes);
        let Some((index, committed)) = &self.index else { return Ok(()) };
        if leaf.index.0 >= index.covered() {
            return Ok(());
        }
        let (digest, expected) = (leaf.entry.digest, leaf.index);
        match committed.lookup(&digest)? {
            Some(found) if found == expected => self.first_count += 1,
            Some(found) if found < expected => {
                self.claims.entry(found.0).or_default().push(digest);
            }
            found => {
                self.findings.push(INDEX, 0, Damage::IndexEntry { digest, expected, found });
            }
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId, hash: Digest) {
        self.rows.push_node(id, hash);
    }

    fn checkpoint(&mut self, signed: &SignedCheckpoint, end: u64, file_size: u64) {
        self.report.checkpoint_count += 1;
        let checkpoint = signed.checkpoint();
        self.report.size = checkpoint.size();
        self.roots.insert(checkpoint.size(), *checkpoint.root());
        if self.rows.entry_count() >= COMPARE_INTERVAL {
            let whole = checkpoint.size().min(self.published).get() / 256 * 256;
            let whole = TreeSize::new(whole).unwrap_or(TreeSize::ZERO);
            self.compare_full_tiles(whole);
        }
        (self.progress)(Progress { done_bytes: end, total_bytes: file_size });
    }
}

impl Pass<'_> {
    fn compare_full_tiles(&mut self, size: TreeSize) {
        for tile in publish::tiles_between(self.compared, size) {
            if tile.is_full() {
                self.compare(tile);
            }
        }
        self.compared = size;
        self.rows.forget(size);
    }

    fn compare(&mut self, tile: Tile) {
        self.report.tile_count += 1;
        let path = public_path(tile);
        let Some(expected) = self.rows.tile_bytes(tile) else {
            return self.findings.push(path, 0, Damage::TileMissing { size: self.published });
        };
        match storage::read(self.storage, &path) {
            Ok(Some(found)) if found == expected => {}
            Ok(Some(found)) => {
                let (offset, damage) = difference(tile, &expected, &found);
                self.findings.push(path, offset, damage);
            }
            Ok(None) => {
                self.findings.push(path, 0, Damage::TileMissing { size: self.published });
            }
            Err(_) => self.findings.push(path, 0, Damage::TileUnreadable),
        }
    }

    fn finish(&mut self, replayed: &Replayed) -> Result<(), LogError> {
        let size = replayed.frontier.size();
        self.report.size = size;
        self.report.root = Some(replayed.frontier.root());
        if self.published <= size {
            self.compare_full_tiles(self.published);
            for tile in publish::partial_tiles(self.published) {
                self.compare(tile);
            }
        }
        let torn = replayed.file_size - replayed.end;
        if torn > 0 {
            self.findings.push(SEGMENT, replayed.end, Damage::TornTail { count: torn });
        }
        if replayed.is_unsigned() {
            let count = size.get() - replayed.last.checkpoint().size().get();
            self.findings.push(SEGMENT, replayed.end, Damage::UnsignedTail { count });
        }
        let Some((index, committed)) = &self.index else { return Ok(()) };
        self.report.indexed_count = index.covered();
        if index.covered() > size.get() {
            let (size, found) = (size.get(), index.covered());
            self.findings.push(INDEX, 0, Damage::IndexAhead { size, found });
        } else if committed.len()? != self.first_count {
            let (size, expected, found) = (index.covered(), self.first_count, committed.len()?);
            self.findings.push(INDEX, 0, Damage::IndexLength { size, expected, found });
        }
        Ok(())
    }

    /// Finds published or seen checkpoints that the log never made.
    fn known_checkpoints(&mut self, published: Option<&SignedCheckpoint>, expected: &Expected) {
        let published = published.map(|signed| (CHECKPOINT, signed));
        let seen = expected.seen.iter().map(|signed| (SEGMENT, signed));
        for (path, signed) in published.into_iter().chain(seen) {
            let (size, root) = (signed.checkpoint().size(), *signed.checkpoint().root());
            if self.roots.get(&size) != Some(&root) {
                self.findings.push(path, 0, Damage::CheckpointUnknown { size, root });
            }
        }
    }

    fn cosignatures(&mut self, signed: &SignedCheckpoint, expected: &Expected) -> u64 {
        let mut count = 0;
        for cosigner in &expected.cosigners {
            match cosignature::verify(signed.note(), cosigner) {
                Ok(_) => count += 1,
                Err(NoteError::Unsigned { .. }) => {}
                Err(error) => self.findings.push(CHECKPOINT, 0, Damage::Cosignature(error)),
            }
        }
        count
    }
}

/// Where a tile first differs.
fn difference(tile: Tile, expected: &[u8], found: &[u8]) -> (u64, Damage) {
    let parsed = match tile.kind() {
        TileKind::Hashes(_) => tile::parse_hashes(found, tile.width()).map(|_| 32),
        TileKind::Entries => {
            let entry = 2 + tally_core::entry::ENTRY_SIZE_BYTES;
            tile::parse_entries(found, tile.width()).map(|_| entry)
        }
    };
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    match parsed {
        Ok(element_size) => (same as u64, Damage::TileContent { element: same / element_size }),
        Err(error) => (same as u64, Damage::Tile(error)),
    }
}

/// A second reading: does each digest stand where the index says that it stands first?
struct Claims {
    open: BTreeMap<u64, Vec<Digest>>,
    findings: Vec<Finding>,
}

impl Observer for Claims {
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), LogError> {
        for digest in self.open.remove(&leaf.index.0).unwrap_or_default() {
            if digest != leaf.entry.digest && self.findings.len() < FINDING_COUNT_MAX {
                let found = Some(LeafIndex(leaf.index.0));
                let damage = Damage::IndexEntry { digest, expected: leaf.index, found };
                self.findings.push(Finding { path: INDEX.into(), offset: 0, damage });
            }
        }
        Ok(())
    }

    fn node(&mut self, _id: NodeId, _hash: Digest) {}

    fn checkpoint(&mut self, _signed: &SignedCheckpoint, _end: u64, _file_size: u64) {}
}
