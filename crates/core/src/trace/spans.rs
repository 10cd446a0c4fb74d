//! The rule itself: that every byte's owner is the earliest, shown by what items say.
//!
//! A window's documents are bounded from below by the probes inside it, and every byte's owner from
//! below by the windows that cover it and from above by a presence that covers it. Where both
//! bounds meet, the owner is shown.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::{vec, vec::Vec};
use core::cmp::Reverse;
use core::fmt;
use core::ops::RangeInclusive;

use super::items::Bound;
use super::{
    Document, OUTPUT_BYTES_MAX, SEPARATOR, SHARD_COUNT_MAX, ShardTrace, TraceError, TraceProof,
    WINDOW_BYTES_MAX, count, index,
};
use crate::Digest;

/// A document's place in the order of registration: earlier shards first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// 0-based place of its shard among the shards that are searched.
    pub shard: u32,
    /// 0-based place of the document in the shard.
    pub document: u32,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {} of shard {}", self.document, self.shard)
    }
}

/// A part of an output that is said to belong to one document, or to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    /// Whose it is; nobody's is the residual.
    pub owner: Option<DocumentId>,
}

impl Span {
    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has none, as no span of an output.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a proof is to show.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The output.
    pub output: &'a [u8],
    /// Bytes of a window.
    pub window_bytes: u32,
    /// The index roots of all shards, in the order of registration.
    pub roots: &'a [Digest],
    /// Whose the bytes are said to be: all of them, in order, no two neighbours of one owner.
    pub spans: &'a [Span],
}

/// A document that owns bytes, and the contribution that registered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The document as its shard commits to it.
    pub document: Document,
    /// Digest of the manifest that registered it.
    pub contribution: Digest,
}

/// From where on the text of a window may occur: a shard and a position in it. All windows begin as
/// occurring nowhere, and shards are gone through in order until one may hold the window.
type From = (u32, u32);
const NOWHERE: From = (u32::MAX, u32::MAX);

/// Verifies that all spans of a claim are what the rule of the earliest window owner yields, and
/// names the owners' documents and contributions.
///
/// # Errors
/// The first thing in claim or proof that does not hold; that somebody else owns a byte is never
/// excluded by an error.
pub fn verify_spans(
    claim: &Claim<'_>,
    proof: &TraceProof,
) -> Result<BTreeMap<DocumentId, Owner>, TraceError> {
    verify_limits(claim)?;
    verify_partition(claim)?;
    let mut windows = Windows::of(claim);
    let mut places = Places::new();
    let mut traces = proof.shards.iter().peekable();
    for (number, root) in (0_u32..).zip(claim.roots) {
        let bounds = match traces.next_if(|trace| trace.number == number) {
            Some(trace) => read_items(claim, trace, root, &mut places)?,
            None => Vec::new(),
        };
        windows.narrow(number, bounds);
    }
    if let Some(left) = traces.next() {
        let count = count(claim.roots.len());
        return Err(TraceError::ShardNumber { number: left.number, count });
    }
    let lowest = windows.lowest_of_bytes(claim.output.len());
    for span in claim.spans {
        match span.owner {
            None => verify_residual(span, &lowest)?,
            Some(owner) => verify_owned(span, owner, &places, &lowest)?,
        }
    }
    let owners = claim.spans.iter().filter_map(|span| span.owner);
    Ok(owners.filter_map(|id| Some((id, places.get(&id)?.owner))).collect())
}

fn verify_limits(claim: &Claim<'_>) -> Result<(), TraceError> {
    let measures = [
        ("bytes of a window", 1, WINDOW_BYTES_MAX, claim.window_bytes),
        ("bytes of the output", 0, OUTPUT_BYTES_MAX, count(claim.output.len())),
        ("number of shards", 0, SHARD_COUNT_MAX, count(claim.roots.len())),
    ];
    for (what, least, limit, found) in measures {
        if found < least || found > limit {
            return Err(TraceError::Limit { what, least, limit, found });
        }
    }
    Ok(())
}

fn verify_partition(claim: &Claim<'_>) -> Result<(), TraceError> {
    let size = count(claim.output.len());
    let mut expected = 0;
    let mut before = None;
    for Span { start, end, owner } in claim.spans.iter().copied() {
        if start != expected || end <= start || end > size {
            return Err(TraceError::Partition { expected, start, end, size });
        }
        if before == Some(owner) {
            return Err(TraceError::SpansMeet { at: start });
        }
        (expected, before) = (end, Some(owner));
    }
    match expected == size {
        true => Ok(()),
        false => Err(TraceError::Partition { expected, start: size, end: size, size }),
    }
}

/// Windows by the places at which they begin, given as first and last, with what is known of them.
type Bounds = Vec<(RangeInclusive<u32>, Bound)>;

/// Where documents are shown to hold the output's bytes.
type Places = BTreeMap<DocumentId, Held>;

#[derive(Debug)]
struct Held {
    owner: Owner,
    /// Parts of the output, as start and end, in the order in which the proof has them.
    parts: Vec<(u32, u32)>,
}

/// Verifies all items of one shard: what the probes say of windows, and where documents hold bytes.
fn read_items(
    claim: &Claim<'_>,
    trace: &ShardTrace,
    root: &Digest,
    places: &mut Places,
) -> Result<Bounds, TraceError> {
    let shown = trace.excerpt.verify(root)?;
    for presence in &trace.presences {
        presence.verify(&shown, claim.output)?;
        let found = presence.end.saturating_sub(presence.start);
        if found < claim.window_bytes {
            let (least, limit) = (claim.window_bytes, super::PRESENCE_BYTES_MAX);
            return Err(TraceError::Limit { what: "bytes of a presence", least, limit, found });
        }
        let document = *shown.document(presence.document)?;
        let contributions = &shown.shard().contributions;
        let contribution = *contributions.get(index(document.contribution)).ok_or(
            TraceError::ContributionOutside {
                document: presence.document,
                contribution: document.contribution,
                count: count(contributions.len()),
            },
        )?;
        let id = DocumentId { shard: trace.number, document: presence.document };
        let owner = Owner { document, contribution };
        let held = places.entry(id).or_insert_with(|| Held { owner, parts: vec![] });
        held.parts.push((presence.start, presence.end));
    }
    // Parts of one document that touch or overlap become one, so that a span lies in one or none.
    for (_, held) in places.range_mut(first_of(trace.number)..) {
        held.parts = joined(core::mem::take(&mut held.parts));
    }
    let mut bounds = Bounds::new();
    for probe in &trace.probes {
        let bound = probe.verify(&shown, claim.output)?;
        let first = probe.end.saturating_sub(claim.window_bytes);
        bounds.push((first..=probe.start, bound));
    }
    Ok(bounds)
}

const fn first_of(shard: u32) -> DocumentId {
    DocumentId { shard, document: 0 }
}

fn joined(mut parts: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    parts.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (start, end) in parts {
        match joined.last_mut() {
            Some((_, until)) if start <= *until => *until = end.max(*until),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// The windows of an output by the places at which they begin.
struct Windows {
    window_bytes: u32,
    /// From where on each may occur; shards that are yet to come are not counted.
    from: Vec<From>,
    /// Whether each holds the byte that ends documents, so that no document holds it.
    is_barred: Vec<bool>,
    /// How many further shards can say something of: without the byte, and nowhere so far.
    open: usize,
}

impl Windows {
    fn of(claim: &Claim<'_>) -> Self {
        let windows = claim.output.windows(index(claim.window_bytes));
        let mut is_barred = Vec::with_capacity(windows.len());
        let mut last_separator = None;
        for (start, window) in windows.enumerate() {
            // The first window is searched whole, each further one for the byte that it adds.
            let fresh = if start == 0 {
                window
            } else {
                window.last_chunk::<1>().map_or(window, |last| last)
            };
            if let Some(within) = fresh.iter().rposition(|byte| *byte == SEPARATOR) {
                let before = window.len().saturating_sub(fresh.len());
                last_separator = Some(start.saturating_add(before).saturating_add(within));
            }
            is_barred.push(last_separator.is_some_and(|at| at >= start));
        }
        let from = vec![NOWHERE; is_barred.len()];
        let open = is_barred.iter().filter(|is_barred| !**is_barred).count();
        Self { window_bytes: claim.window_bytes, from, is_barred, open }
    }

    /// Takes what is known of one shard, after those before it.
    ///
    /// A section names many shards in few bytes, and evidence holds many proofs: where no window is
    /// open there is nothing to go through.
    fn narrow(&mut self, shard: u32, bounds: Bounds) {
        if self.open == 0 {
            return;
        }
        let known = greatest(self.from.len(), bounds);
        for ((from, is_barred), bound) in self.from.iter_mut().zip(&self.is_barred).zip(known) {
            if *from == NOWHERE && !is_barred {
                *from = match bound {
                    Some(Bound::Absent) => NOWHERE,
                    Some(Bound::From(position)) => (shard, position),
                    None => (shard, 0),
                };
                if *from != NOWHERE {
                    self.open = self.open.saturating_sub(1);
                }
            }
        }
    }

    /// For every byte, the least among the windows that cover it.
    fn lowest_of_bytes(&self, len: usize) -> Vec<From> {
        let further = self.window_bytes.saturating_sub(1);
        let bytes = (0_u32..).zip(&self.from);
        let covers = bytes.map(|(at, from)| (at..=at.saturating_add(further), Reverse(*from)));
        let lowest = greatest(len, covers.collect());
        lowest.into_iter().map(|from| from.map_or(NOWHERE, |Reverse(from)| from)).collect()
    }
}

/// For every place below `len`, the greatest value among the ranges that cover it.
fn greatest<V: Ord + Copy>(
    len: usize,
    mut ranges: Vec<(RangeInclusive<u32>, V)>,
) -> Vec<Option<V>> {
    ranges.sort_unstable_by_key(|(range, _)| *range.start());
    let mut ranges = ranges.into_iter().peekable();
    let mut open: BinaryHeap<(V, u32)> = BinaryHeap::new();
    let mut values = Vec::with_capacity(len);
    for at in (0..count(len)).take(len) {
        while let Some((range, value)) = ranges.next_if(|(range, _)| *range.start() <= at) {
            open.push((value, *range.end()));
        }
        while open.peek().is_some_and(|(_, end)| *end < at) {
            open.pop();
        }
        values.push(open.peek().map(|(value, _)| *value));
    }
    values
}

fn verify_residual(span: &Span, lowest: &[From]) -> Result<(), TraceError> {
    for at in span.start..span.end {
        let (shard, _) = lowest.get(index(at)).copied().unwrap_or_default();
        if shard != NOWHERE.0 {
            return Err(TraceError::ResidualOwned { at, shard });
        }
    }
    Ok(())
}

fn verify_owned(
    span: &Span,
    owner: DocumentId,
    places: &Places,
    lowest: &[From],
) -> Result<(), TraceError> {
    let not_covered = |at| TraceError::NotCovered { at, owner };
    let held = places.get(&owner).ok_or(not_covered(span.start))?;
    let around = held.parts.partition_point(|(start, _)| *start <= span.start);
    let part = around.checked_sub(1).and_then(|at| held.parts.get(at));
    let (_, until) = part.filter(|(_, end)| *end > span.start).ok_or(not_covered(span.start))?;
    if *until < span.end {
        return Err(not_covered(*until));
    }
    let first = (owner.shard, held.owner.document.start);
    for at in span.start..span.end {
        let (shard, position) = lowest.get(index(at)).copied().unwrap_or_default();
        if (shard, position) < first {
            return Err(TraceError::EarlierOwner { at, owner, shard, position });
        }
    }
    Ok(())
}
