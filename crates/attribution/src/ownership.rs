//! The earliest window owner: whose words an output repeats, and nothing about why.
//!
//! Documents stand in the order of their registration. Every window of a fixed length of the output
//! that some document holds belongs to the earliest one that does; every byte of the output belongs
//! to the earliest document among the windows that cover it. What no window covers is the residual,
//! and it belongs to nobody.
//!
//! The rule is made so that names, copies and cuts gain nothing. A document that is registered later
//! can only take what nobody had: it lowers nobody's share. A contributor may spread documents over
//! many names, register them twice, copy everybody else or cut them into pieces, and owns no byte
//! more. One thing is left: who joins the texts of others owns windows across the seam that are in
//! neither text. They come from the residual alone, and with both ends shorter than a window they
//! cover at most twice a window's length less two bytes; one end of a whole window leaves less than
//! a window, two leave nothing.

use std::collections::VecDeque;

use tally_core::trace::{DocumentId, Span};

/// Texts of which some hold a window.
pub trait Corpus {
    /// The earliest document that holds these bytes.
    fn earliest(&self, window: &[u8]) -> Option<DocumentId>;

    /// The earliest document of every window of `window` bytes, which are at least one, by the places
    /// at which the windows begin: what [`Corpus::earliest`] says of each, perhaps found faster.
    fn earliest_of_windows(&self, output: &[u8], window: usize) -> Vec<Option<DocumentId>> {
        output.windows(window).map(|text| self.earliest(text)).collect()
    }
}

/// Whom the bytes of an output belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Spans in the output's order, without gaps between them; neighbours have different owners.
    pub spans: Vec<Span>,
}

impl Ownership {
    /// Finds the owners of an output's bytes, by windows of `window` bytes.
    ///
    /// A window of no bytes is one of one byte. Outputs have at most 2³² − 1 bytes.
    #[must_use]
    pub fn of(output: &[u8], window: usize, corpus: &impl Corpus) -> Self {
        let window = window.max(1);
        Self::of_windows(output.len(), window, &corpus.earliest_of_windows(output, window))
    }

    /// Finds the owners of an output's `len` bytes from the earliest documents of its windows of
    /// `window` bytes.
    #[must_use]
    pub fn of_windows(len: usize, window: usize, earliest: &[Option<DocumentId>]) -> Self {
        let mut spans: Vec<Span> = vec![];
        // Windows that cover the byte, each earlier than all that begin behind it.
        let mut covering: VecDeque<(usize, DocumentId)> = VecDeque::new();
        for at in 0..len {
            if let Some(fresh) = earliest.get(at).copied().flatten() {
                while covering.back().is_some_and(|(_, owner)| *owner >= fresh) {
                    covering.pop_back();
                }
                covering.push_back((at, fresh));
            }
            while covering.front().is_some_and(|(start, _)| start + window <= at) {
                covering.pop_front();
            }
            let owner = covering.front().map(|(_, owner)| *owner);
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let end = start.saturating_add(1);
            match spans.last_mut() {
                Some(span) if span.owner == owner => span.end = end,
                _ => spans.push(Span { start, end, owner }),
            }
        }
        Self { spans }
    }

    /// How many bytes belong to documents of which `is_counted` says so.
    pub fn weight(&self, mut is_counted: impl FnMut(DocumentId) -> bool) -> u32 {
        let counted = |span: &&Span| span.owner.is_some_and(&mut is_counted);
        self.spans.iter().filter(counted).map(Span::len).sum()
    }

    /// How many bytes belong to nobody.
    #[must_use]
    pub fn residual(&self) -> u32 {
        let free = self.spans.iter().filter(|span| span.owner.is_none());
        free.map(Span::len).sum()
    }
}

#[cfg(test)]
mod tests;
