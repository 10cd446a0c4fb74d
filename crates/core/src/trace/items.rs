//! What a proof says of single parts of an output: where one occurs, and before where none does.

use core::cmp::Ordering;

use super::{
    Neighbour, PRESENCE_BYTES_MAX, SEPARATOR, Shown, TraceError, WINDOW_BYTES_MAX, count, index,
};

/// All places of the array whose suffixes begin with a part of the output: exactly
/// `low..high`, so the part occurs `high - low` times in the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where the part begins in the output.
    pub start: u32,
    /// Where it ends; 1 to [`WINDOW_BYTES_MAX`] bytes behind its beginning.
    pub end: u32,
    /// The first place.
    pub low: u32,
    /// The place behind the last; equal to the first if the part occurs nowhere.
    pub high: u32,
}

/// A part of the output that stands in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Where the part begins in the output.
    pub start: u32,
    /// Where it ends; 1 to [`PRESENCE_BYTES_MAX`] bytes behind its beginning.
    pub end: u32,
    /// The document's place in the shard.
    pub document: u32,
    /// Where the part begins in the shard's text.
    pub position: u32,
}

/// From where on a part of the output may occur in a shard; what is greater says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// It occurs at this position, and nowhere before.
    From(u32),
    /// It occurs nowhere.
    Absent,
}

impl Probe {
    /// Verifies the interval and yields what it says of all texts that hold the part.
    ///
    /// # Errors
    /// If the part or the interval is not one, an entry at an edge does not stand to the part as it
    /// must, or something that this needs is not shown.
    pub fn verify(&self, shown: &Shown<'_>, output: &[u8]) -> Result<Bound, TraceError> {
        let query = part(output, self.start, self.end, WINDOW_BYTES_MAX)?;
        let Self { low, high, .. } = *self;
        let size = shown.shard().text_bytes;
        if low > high || high > size {
            return Err(TraceError::Interval { low, high, size });
        }
        let expect = |place: u32, neighbour: Neighbour, expected: Ordering| {
            let found = shown.compare(shown.entry(place)?, query)?;
            (found == expected).then_some(()).ok_or(TraceError::Neighbour { place, neighbour })
        };
        if let Some(before) = low.checked_sub(1) {
            expect(before, Neighbour::Before, Ordering::Less)?;
        }
        if high < size {
            expect(high, Neighbour::Behind, Ordering::Greater)?;
        }
        if low < high {
            expect(low, Neighbour::First, Ordering::Equal)?;
            expect(high.saturating_sub(1), Neighbour::Last, Ordering::Equal)?;
        }
        Ok(shown.least(&(low..high))?.map_or(Bound::Absent, Bound::From))
    }
}

impl Presence {
    /// Verifies that the part of the output stands where it is said to, inside the document.
    ///
    /// # Errors
    /// If the part is not one, the text is another or leaves the document, or something that this
    /// needs is not shown.
    pub fn verify(&self, shown: &Shown<'_>, output: &[u8]) -> Result<(), TraceError> {
        let Self { start, end, position, document: at } = *self;
        let query = part(output, start, end, PRESENCE_BYTES_MAX)?;
        let document = shown.document(at)?;
        let until = position.saturating_add(count(query.len()));
        let document_end = document.start.saturating_add(document.size_bytes);
        if position < document.start || until > document_end {
            return Err(TraceError::OutsideDocument { document: at, start: position, end: until });
        }
        match shown.compare(position, query)? {
            Ordering::Equal => Ok(()),
            Ordering::Less | Ordering::Greater => Err(TraceError::Text { start, end, position }),
        }
    }
}

/// A part of the output that an item may be about.
fn part(output: &[u8], start: u32, end: u32, limit: u32) -> Result<&[u8], TraceError> {
    let outside = TraceError::OutputRange { start, end, size: count(output.len()) };
    let text = output.get(index(start)..index(end)).ok_or(outside)?;
    let found = count(text.len());
    if found == 0 || found > limit {
        return Err(TraceError::Limit { what: "bytes of an item", least: 1, limit, found });
    }
    match text.iter().position(|byte| *byte == SEPARATOR) {
        Some(within) => Err(TraceError::Separator { at: start.saturating_add(count(within)) }),
        None => Ok(text),
    }
}
