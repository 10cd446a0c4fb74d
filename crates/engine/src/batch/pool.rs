//! Sequences that no task needs any more, kept for tasks whose input begins as their text did.
//!
//! In the order of their texts, token by token, the text with the longest beginning in common with
//! another stands directly before or behind it: two look-ups find it, however many are kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tally_core::computation::TokenId;

use super::running::common_len;
use crate::session::Sequence;

/// Memory of an entry beside its text and its sequence, about.
const ENTRY_BYTES: usize = 256;

/// Tokens that are rather computed again than kept in a second copy of those before them.
const LOSS_LEN_MAX: usize = 8;

/// The sequences, by scope and text.
#[derive(Debug, Default)]
pub(super) struct PrefixPool {
    scopes: BTreeMap<u64, BTreeMap<Arc<[TokenId]>, Entry>>,
    /// Scope and text of each, the longest unused first.
    by_use: BTreeMap<u64, (u64, Arc<[TokenId]>)>,
    /// Counts uses.
    uses: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    sequence: Sequence,
    /// Key in the order of uses.
    used: u64,
    bytes: u64,
}

/// An entry that begins as a text does.
#[derive(Debug)]
pub(super) struct Hit {
    text: Arc<[TokenId]>,
    /// How many tokens both begin with; at least one.
    pub(super) common: usize,
}

impl PrefixPool {
    /// Memory of all entries in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory of their sequences in bytes, counted anew.
    #[cfg(test)]
    pub(super) fn sequence_bytes(&self) -> u64 {
        let entries = self.scopes.values().flat_map(BTreeMap::values);
        entries.map(|entry| entry.sequence.bytes()).sum()
    }

    /// The entry that has most in common with the beginning of `text`.
    pub(super) fn longest(&self, scope: u64, text: &[TokenId]) -> Option<Hit> {
        let entries = self.scopes.get(&scope)?;
        let before = entries.range::<[TokenId], _>((Bound::Unbounded, Bound::Included(text)));
        let behind = entries.range::<[TokenId], _>((Bound::Excluded(text), Bound::Unbounded));
        let neighbours =
            [before.map(|(key, _)| key).next_back(), behind.map(|(key, _)| key).next()];
        let hits = neighbours
            .into_iter()
            .flatten()
            .map(|key| Hit { text: Arc::clone(key), common: common_len(key, text) });
        hits.filter(|hit| hit.common > 0).max_by_key(|hit| hit.common)
    }

    /// A sequence of what a hit has in common, with room for `capacity` tokens; makes room first.
    ///
    /// An entry that is used whole or nearly so, or for which there is no memory beside its copy,
    /// leaves the pool.
    pub(super) fn fork(
        &mut self,
        scope: u64,
        hit: &Hit,
        capacity: usize,
        budget: u64,
    ) -> Option<Sequence> {
        if hit.common + LOSS_LEN_MAX < hit.text.len() {
            self.touch(scope, &hit.text);
            self.evict(budget, Some(&hit.text));
            if self.bytes <= budget {
                let entry = self.scopes.get(&scope)?.get(&hit.text)?;
                return Some(entry.sequence.fork_with_room(hit.common, capacity));
            }
        }
        let mut sequence = self.remove(scope, &hit.text)?.sequence;
        self.evict(budget, None);
        sequence.truncate(hit.common);
        // Given back before more is taken.
        sequence.shrink();
        sequence.reserve(capacity);
        Some(sequence)
    }

    /// Keeps a sequence with its text, unless another begins with it; drops those it begins with.
    pub(super) fn insert(&mut self, scope: u64, text: &[TokenId], sequence: Sequence) {
        if text.is_empty() {
            return;
        }
        let entries = self.scopes.entry(scope).or_default();
        let from = (Bound::Included(text), Bound::Unbounded);
        let longer = entries.range::<[TokenId], _>(from).map(|(key, _)| key).next();
        if let Some(longer) = longer.filter(|longer| longer.starts_with(text)).cloned() {
            self.touch(scope, &longer);
            return;
        }
        while let Some(shorter) = self.before(scope, text).filter(|key| text.starts_with(key)) {
            self.remove(scope, &shorter);
        }
        let key: Arc<[TokenId]> = text.into();
        let bytes = sequence.bytes() + (size_of_val(text) + ENTRY_BYTES) as u64;
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, (scope, Arc::clone(&key)));
        let entry = Entry { sequence, used: self.uses, bytes };
        self.scopes.entry(scope).or_default().insert(key, entry);
    }

    /// Drops the longest unused entries until no more than `budget` bytes are left, or `spared` only.
    pub(super) fn evict(&mut self, budget: u64, spared: Option<&Arc<[TokenId]>>) {
        while self.bytes > budget {
            let is_spared = |text| spared.is_some_and(|spared| Arc::ptr_eq(spared, text));
            let oldest = self.by_use.values().find(|(_, text)| !is_spared(text)).cloned();
            let Some((scope, text)) = oldest else { break };
            self.remove(scope, &text);
        }
    }

    /// The entry's text directly before a text.
    fn before(&self, scope: u64, text: &[TokenId]) -> Option<Arc<[TokenId]>> {
        let to = (Bound::Unbounded, Bound::Excluded(text));
        let before = self.scopes.get(&scope)?.range::<[TokenId], _>(to).next_back();
        before.map(|(key, _)| Arc::clone(key))
    }

    /// Notes a use.
    fn touch(&mut self, scope: u64, text: &Arc<[TokenId]>) {
        let entry = self.scopes.get_mut(&scope).and_then(|entries| entries.get_mut(text));
        if let Some(entry) = entry {
            self.uses += 1;
            self.by_use.remove(&entry.used);
            entry.used = self.uses;
            self.by_use.insert(self.uses, (scope, Arc::clone(text)));
        }
    }

    fn remove(&mut self, scope: u64, text: &[TokenId]) -> Option<Entry> {
        let entries = self.scopes.get_mut(&scope)?;
        let entry = entries.remove(text)?;
        if entries.is_empty() {
            self.scopes.remove(&scope);
        }
        self.by_use.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry)
    }
}
