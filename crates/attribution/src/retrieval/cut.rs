//! Cutting a text into passages: whole paragraphs where they fit, else sentences, else words.

use std::ops::Range;

/// Fewest bytes that a limit on passages can say: one character always fits.
const CHARACTER_BYTES_MAX: usize = 4;

/// The byte ranges of a text's passages, in order, each of at most `bytes_max` bytes.
///
/// A passage is as many whole paragraphs as fit. A paragraph that is longer is cut behind the last
/// sentence that fits, else behind the last word, else inside a word. Whitespace at the edges of a passage
/// is in none; every other byte is in exactly one. A limit below four bytes counts as four.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> Vec<Range<usize>> {
    let bytes_max = bytes_max.max(CHARACTER_BYTES_MAX);
    let mut passages: Vec<Range<usize>> = vec![];
    for paragraph in paragraphs(text) {
        match passages.last_mut() {
            Some(open) if paragraph.end - open.start <= bytes_max => open.end = paragraph.end,
            _ => pieces(text, paragraph, bytes_max, &mut passages),
        }
    }
    passages
}

/// The ranges between blank lines, without whitespace at their edges.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut open, mut at) = (vec![], None::<Range<usize>>, 0);
    for line in text.split_inclusive('\n') {
        let said = trimmed(text, at..at + line.len());
        at += line.len();
        match (&mut open, said.is_empty()) {
            (Some(open), false) => open.end = said.end,
            (None, false) => open = Some(said),
            (_, true) => found.extend(open.take()),
        }
    }
    found.extend(open);
    found
}

/// Cuts a range that may be too long.
fn pieces(text: &str, range: Range<usize>, bytes_max: usize, found: &mut Vec<Range<usize>>) {
    let mut rest = range;
    while rest.len() > bytes_max {
        let end = rest.start + piece_len(&text[rest.clone()], bytes_max);
        found.push(trimmed(text, rest.start..end));
        rest = trimmed(text, end..rest.end);
    }
    if !rest.is_empty() {
        found.push(rest);
    }
}

/// Where to cut a text that has more than `bytes_max` bytes and does not begin with whitespace.
fn piece_len(text: &str, bytes_max: usize) -> usize {
    let limit = text.floor_char_boundary(bytes_max);
    let (mut sentence, mut word, mut before) = (0, 0, ' ');
    for (at, c) in text.char_indices().take_while(|(at, _)| *at <= limit) {
        if c.is_whitespace() {
            // A run of whitespace is cut where it begins.
            word = if before.is_whitespace() { word } else { at };
            sentence = if matches!(before, '.' | '!' | '?' | '。') { at } else { sentence };
        }
        before = c;
    }
    [sentence, word, limit].into_iter().find(|at| *at > 0).unwrap_or(limit)
}

/// A range without whitespace at its edges; empty where there is nothing else.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let end = range.end;
    let said = text[range].trim_start();
    let start = end - said.len();
    start..start + said.trim_end().len()
}
