//! Making span proofs: few probes and presences that show every byte's owner, and what they read.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tally_core::trace::{
    CHUNK_BYTES, DocumentId, Excerpt, LEAF_ENTRIES, Least, OUTPUT_BYTES_MAX, PRESENCE_BYTES_MAX,
    Presence, Probe, Refutation, SEPARATOR, SHARD_COUNT_MAX, ShardTrace, Span, TraceProof,
    WINDOW_BYTES_MAX, prove_leaves,
};
use thiserror::Error;

use super::file::Section;
use super::search::common_len;
use super::{Index, Shards, levels};
use crate::ownership::{Corpus, Ownership};

/// Why no proof can be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProveError {
    /// Something that no verifier would take.
    #[error("{what} is {found}, a proof is about {least} to {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// The smallest legal value.
        least: u32,
        /// The largest legal value.
        limit: u32,
        /// The value found.
        found: usize,
    },
}

/// Whose the bytes of an output are, with the proof.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The output's spans.
    pub ownership: Ownership,
    /// What shows them to whoever knows the index roots.
    pub proof: TraceProof,
}

/// Finds the owners of an output's bytes by windows of `window` bytes in these shards, in the order
/// of registration, and proves them.
///
/// # Errors
/// If the output, the window or the number of shards is beyond what a proof can be about.
pub fn prove<I: Borrow<Index>>(
    shards: &[I],
    output: &[u8],
    window: usize,
) -> Result<Traced, ProveError> {
    let limits = [
        ("bytes of a window", 1, WINDOW_BYTES_MAX, window),
        ("bytes of the output", 0, OUTPUT_BYTES_MAX, output.len()),
        ("number of shards", 0, SHARD_COUNT_MAX, shards.len()),
    ];
    for (what, least, limit, found) in limits {
        if found < least as usize || found > limit as usize {
            return Err(ProveError::Limit { what, least, limit, found });
        }
    }
    let earliest = Shards(shards).earliest_of_windows(output, window);
    let ownership = Ownership::of_windows(output.len(), window, &earliest);
    let owners = owners_of_bytes(&ownership.spans, output.len());
    let answer = Answer { output, window, earliest, owners };
    let shards = (0_u32..).zip(shards).filter_map(|(number, index)| {
        let index = index.borrow();
        let probes = answer.probes(number, index);
        let presences = answer.presences(number, index);
        if probes.is_empty() && presences.is_empty() {
            return None;
        }
        let excerpt = excerpt_of(index, output, &probes, &presences);
        Some(ShardTrace { number, excerpt, probes, presences })
    });
    let proof = TraceProof { shards: shards.collect() };
    Ok(Traced { ownership, proof })
}

/// Finds a place at which an index's array is wrong, if there is one, in a time that grows with how
/// long neighbours agree.
#[must_use]
pub fn refute(index: &Index) -> Option<Refutation> {
    let (texts, size) = (index.texts(), index.shard().text_bytes);
    let is_wrong = |place: u32| {
        let left = index.entry(place);
        let right = if place + 1 < size { index.entry(place + 1) } else { return left >= size };
        left >= size || (right < size && texts[left as usize..] >= texts[right as usize..])
    };
    let place = (0..size).find(|place| is_wrong(*place))?;
    let mut reads = Reads { index, chunks: BTreeSet::new(), leaves: BTreeSet::new() };
    reads.leaves.insert(place / LEAF_ENTRIES);
    let left = index.entry(place) as usize;
    if left < size as usize {
        reads.leaves.insert((place + 1) / LEAF_ENTRIES);
        let right = index.entry(place + 1) as usize;
        let len = common_len(&texts[left..], &texts[right..]) + 1;
        if left != right {
            reads.text(left, len);
            reads.text(right, len);
        }
    }
    Some(Refutation { excerpt: reads.excerpt(&BTreeSet::new()), place })
}

/// An output with what is known of its windows and bytes.
struct Answer<'a> {
    output: &'a [u8],
    window: usize,
    earliest: Vec<Option<DocumentId>>,
    /// The owner of every byte.
    owners: Vec<Option<DocumentId>>,
}

fn owners_of_bytes(spans: &[Span], len: usize) -> Vec<Option<DocumentId>> {
    let mut owners = vec![None; len];
    for span in spans {
        owners[span.start as usize..span.end as usize].fill(span.owner);
    }
    owners
}

/// What every occurrence of a window must be shown to be in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    /// At this position or behind it.
    From(u32),
    /// Nowhere.
    Absent,
}

impl Answer<'_> {
    /// What must be shown of every window in one shard: that it occurs nowhere before the latest of
    /// the owners of the bytes that it covers, of which nobody is the last.
    fn demands(&self, number: u32, index: &Index) -> Vec<Demand> {
        let nobody = DocumentId { shard: u32::MAX, document: u32::MAX };
        let latest = self.owners.windows(self.window).zip(self.output.windows(self.window));
        latest
            .map(|(owners, text)| {
                let latest = owners.iter().map(|owner| owner.unwrap_or(nobody)).max();
                match latest.unwrap_or(nobody) {
                    // No document holds a window with the byte that ends documents.
                    _ if text.contains(&SEPARATOR) => Demand::From(0),
                    owner if owner.shard < number => Demand::From(0),
                    owner if owner.shard == number => {
                        Demand::From(index.document(owner.document).map_or(0, |found| found.start))
                    }
                    _ => Demand::Absent,
                }
            })
            .collect()
    }

    /// Few probes that show all that is demanded: each ends with a window and begins as late as it
    /// can, so that it is in as many of the windows that follow as possible.
    fn probes(&self, number: u32, index: &Index) -> Vec<Probe> {
        let mut probes: Vec<Probe> = vec![];
        // Up to which window the last probe is in it, and what it shows.
        let mut shown: Option<(usize, Demand)> = None;
        for (start, demand) in self.demands(number, index).into_iter().enumerate() {
            let is_shown = shown.is_some_and(|(last, bound)| start <= last && bound >= demand);
            if demand == Demand::From(0) || is_shown {
                continue;
            }
            let end = start + self.window;
            let (mut low, mut high) = (start, end - 1);
            // What a part shows, a longer one shows too; a single byte may not show it.
            while low < high {
                let middle = low.midpoint(high) + 1;
                let part = index.interval(&self.output[middle..end]);
                if bound_of(index, part) >= demand { low = middle } else { high = middle - 1 }
            }
            let interval = index.interval(&self.output[low..end]);
            shown = Some((low, bound_of(index, interval.clone())));
            let Range { start: array_low, end: array_high } = interval;
            probes.push(Probe {
                start: number_of(low),
                end: number_of(end),
                low: array_low,
                high: array_high,
            });
        }
        probes
    }

    /// Few presences that together cover every byte with its owner, if that is of this shard.
    fn presences(&self, number: u32, index: &Index) -> Vec<Presence> {
        let mut presences = vec![];
        let mut is_shown = vec![false; self.output.len()];
        for (start, owner) in self.earliest.iter().enumerate() {
            let Some(owner) = owner.filter(|owner| owner.shard == number) else { continue };
            let is_open = |at: &usize| self.owners[*at] == Some(owner) && !is_shown[*at];
            if !(start..start + self.window).any(|at| is_open(&at)) {
                continue;
            }
            let Some(presence) = self.presence(start, owner, index) else { continue };
            // No longer than to the last byte that it is needed for.
            let range = start..presence.end as usize;
            let last = range.rev().find(is_open).unwrap_or(start);
            let end = (last + 1).max(start + self.window);
            for at in (start..end).filter(|at| self.owners[*at] == Some(owner)) {
                is_shown[at] = true;
            }
            presences.push(Presence { end: number_of(end), ..presence });
        }
        presences
    }

    /// The earliest occurrence of a window, as far as its document goes on like the output.
    fn presence(&self, start: usize, owner: DocumentId, index: &Index) -> Option<Presence> {
        let position = index.earliest(&self.output[start..start + self.window])?;
        let document = index.document(owner.document)?;
        let rest = index
            .texts()
            .get(position as usize..(document.start + document.size_bytes) as usize)?;
        let len = common_len(&self.output[start..], rest).min(PRESENCE_BYTES_MAX as usize);
        let end = number_of(start + len);
        Some(Presence { start: number_of(start), end, document: owner.document, position })
    }
}

fn number_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn bound_of(index: &Index, interval: Range<u32>) -> Demand {
    index.least(interval).map_or(Demand::Absent, Demand::From)
}

/// What items read, and how it is tied to the index root.
fn excerpt_of(index: &Index, output: &[u8], probes: &[Probe], presences: &[Presence]) -> Excerpt {
    let mut reads = Reads { index, chunks: BTreeSet::new(), leaves: BTreeSet::new() };
    for Probe { start, end, low, high } in probes {
        let query = &output[*start as usize..*end as usize];
        for place in [low.checked_sub(1), Some(*low), high.checked_sub(1), Some(*high)] {
            let Some(place) = place.filter(|place| *place < index.shard().text_bytes) else {
                continue;
            };
            reads.leaves.insert(place / LEAF_ENTRIES);
            let position = index.entry(place);
            let common = common_len(index.suffix(position), query);
            reads.text(position as usize, (common + 1).min(query.len()));
        }
    }
    let mut documents = BTreeSet::new();
    for Presence { start, end, document, position } in presences {
        reads.text(*position as usize, (end - start) as usize);
        documents.insert(*document);
    }
    reads.excerpt(&documents)
}

/// Which leaves of text and array are read.
struct Reads<'a> {
    index: &'a Index,
    chunks: BTreeSet<u32>,
    leaves: BTreeSet<u32>,
}

impl Reads<'_> {
    /// Reads `len` bytes of the text, as far as it goes.
    fn text(&mut self, position: usize, len: usize) {
        let last = (position + len.max(1) - 1).min(self.index.texts().len() - 1);
        self.chunks.extend(number_of(position) / CHUNK_BYTES..=number_of(last) / CHUNK_BYTES);
    }

    fn excerpt(self, documents: &BTreeSet<u32>) -> Excerpt {
        let Self { index, chunks, leaves } = self;
        let shard = index.shard().clone();
        let list = |set: &BTreeSet<u32>| set.iter().copied().collect::<Vec<u32>>();
        let hash = |section, count: u32| {
            let hashes = index.section(section);
            move |range: Range<u32>| {
                levels::over(range, |level, at| {
                    hash_or_none(hashes, levels::place_of(count, level, at))
                })
            }
        };
        let minima = index.numbers(Section::Minima);
        let hashes = index.section(Section::LeafHashes);
        let leaf_count = shard.leaf_count();
        let least = |level, at| {
            let place = levels::place_of(leaf_count, level, at);
            let entry = minima.get(place).map_or(0, |entry| u32::from_le(*entry));
            Least { entry, hash: hash_or_none(hashes, place) }
        };
        let entries: &[u8] = index.section(Section::Array);
        let found = documents.iter().filter_map(|at| Some((*at, index.document(*at)?)));
        Excerpt {
            chunks: slices(index.texts(), &chunks, CHUNK_BYTES as usize),
            chunk_nodes: prove_leaves(
                shard.chunk_count(),
                &list(&chunks),
                &mut hash(Section::ChunkHashes, shard.chunk_count()),
            ),
            leaves: slices(entries, &leaves, 4 * LEAF_ENTRIES as usize),
            leaf_nodes: prove_leaves(leaf_count, &list(&leaves), &mut |range| {
                levels::over(range, least)
            }),
            documents: found.collect(),
            document_nodes: prove_leaves(
                shard.document_count,
                &list(documents),
                &mut hash(Section::DocumentHashes, shard.document_count),
            ),
            shard,
        }
    }
}

/// A stored hash; zeros, which lead to no root, where a place has none.
fn hash_or_none(hashes: &[u8], place: usize) -> tally_core::Digest {
    Index::hash_at(hashes, place).unwrap_or(tally_core::Digest::from_bytes([0; 32]))
}

fn slices(bytes: &[u8], places: &BTreeSet<u32>, size: usize) -> BTreeMap<u32, Vec<u8>> {
    let slice = |place: u32| {
        let start = place as usize * size;
        bytes.get(start..bytes.len().min(start + size)).unwrap_or_default().to_vec()
    };
    places.iter().map(|place| (*place, slice(*place))).collect()
}
