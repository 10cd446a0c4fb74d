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

use std::ops::Range;

/// A document's place in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(pub u32);

/// Texts of which some hold a window.
pub trait Corpus {
    /// The earliest document that holds these bytes.
    fn earliest(&self, window: &[u8]) -> Option<DocumentId>;
}

/// Whom the bytes of an output belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Spans in the output's order, without gaps between them; neighbours have different owners.
    pub spans: Vec<Span>,
}

/// A part of an output that belongs to one document, or to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it stands.
    pub place: Range<usize>,
    /// Whose it is.
    pub owner: Option<DocumentId>,
}

impl Ownership {
    /// Finds the owners of an output's bytes, by windows of `window` bytes.
    ///
    /// A window of no bytes is one of one byte.
    #[must_use]
    pub fn of(output: &[u8], window: usize, corpus: &impl Corpus) -> Self {
        let window = window.max(1);
        let mut owners: Vec<Option<DocumentId>> = vec![None; output.len()];
        for (start, text) in output.windows(window).enumerate() {
            let Some(earliest) = corpus.earliest(text) else { continue };
            for owner in &mut owners[start..start + window] {
                *owner = Some(owner.map_or(earliest, |owner| owner.min(earliest)));
            }
        }
        let mut spans: Vec<Span> = vec![];
        for (at, owner) in owners.into_iter().enumerate() {
            match spans.last_mut() {
                Some(span) if span.owner == owner => span.place.end = at + 1,
                _ => spans.push(Span { place: at..at + 1, owner }),
            }
        }
        Self { spans }
    }

    /// How many bytes belong to documents of which `is_counted` says so.
    pub fn weight(&self, mut is_counted: impl FnMut(DocumentId) -> bool) -> usize {
        let counted = |span: &&Span| span.owner.is_some_and(&mut is_counted);
        self.spans.iter().filter(counted).map(|span| span.place.len()).sum()
    }

    /// How many bytes belong to nobody.
    #[must_use]
    pub fn residual(&self) -> usize {
        let free = self.spans.iter().filter(|span| span.owner.is_none());
        free.map(|span| span.place.len()).sum()
    }
}

#[cfg(test)]
mod tests;
