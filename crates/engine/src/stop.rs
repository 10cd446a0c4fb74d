//! The text of an output that is still growing, and the stop strings that end it
//! (`spec/arithmetic.md`, A-42).
//!
//! A stop string is found in the bytes of the output's tokens, wherever it begins and however many
//! tokens it spans. What is shown ends before it, so bytes that may yet become one are held back,
//! and so is the beginning of a character.

use std::sync::Arc;

use tally_core::computation::TokenId;

use crate::language::LanguageError;
use crate::tokenizer::{Tokenizer, TokenizerError, incomplete_len};

#[cfg(test)]
mod tests;

/// What a token adds to the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The text that is now final.
    pub text: String,
    /// Whether the output now contains a stop string: nothing is shown after `text`.
    pub is_stopped: bool,
}

/// The text of an output that is still growing.
///
/// The texts that [`TextStream::push`] and [`TextStream::finish`] return concatenate to what
/// [`Tokenizer::decode`] makes of all tokens, up to where the first stop string begins.
#[derive(Clone, Debug)]
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    search: StopSearch,
}

impl TextStream {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stops: &[String]) -> Self {
        Self { tokenizer, search: StopSearch::new(stops) }
    }

    /// Adds a token; once a stop string was found, nothing is added any more.
    ///
    /// # Errors
    /// A token id that does not exist; nothing is added then.
    pub fn push(&mut self, token: TokenId) -> Result<Pushed, LanguageError> {
        let bytes = self.tokenizer.token_bytes(token);
        Ok(self.search.push(bytes.ok_or(TokenizerError::Token { found: token })?))
    }

    /// Whether the output contains a stop string.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.search.is_stopped
    }

    /// The text of what was still held back: nothing after a stop string.
    #[must_use]
    pub fn finish(self) -> String {
        self.search.finish()
    }
}

/// The same over the bytes of tokens.
#[derive(Clone, Debug)]
pub struct StopSearch {
    stops: Vec<Box<[u8]>>,
    /// Bytes not given out: none of those before them can belong to a stop string.
    held: Vec<u8>,
    is_stopped: bool,
}

impl StopSearch {
    /// The beginning of an output; an empty stop string stops nothing.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        let stops = stops.map(|stop| stop.as_bytes().into()).collect();
        Self { stops, held: vec![], is_stopped: false }
    }

    /// Adds a token's bytes; once a stop string was found, nothing is added any more.
    pub fn push(&mut self, bytes: &[u8]) -> Pushed {
        if self.is_stopped {
            return Pushed { text: String::new(), is_stopped: true };
        }
        self.held.extend_from_slice(bytes);
        if let Some(start) = self.stops.iter().filter_map(|stop| find(&self.held, stop)).min() {
            let text = String::from_utf8_lossy(&self.held[..start]).into_owned();
            self.held.clear();
            self.is_stopped = true;
            return Pushed { text, is_stopped: true };
        }
        let begun = self.stops.iter().map(|stop| begun_len(&self.held, stop)).max();
        let kept = begun.unwrap_or_default().max(incomplete_len(&self.held));
        let rest = self.held.split_off(self.held.len() - kept);
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held = rest;
        Pushed { text, is_stopped: false }
    }

    /// The text of what was still held back: nothing after a stop string.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

/// Where a text first contains another, which is not empty.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// How many bytes at the end of a text begin another, without being all of it.
fn begun_len(text: &[u8], wanted: &[u8]) -> usize {
    let longest = text.len().min(wanted.len().saturating_sub(1));
    (1..=longest).rev().find(|len| text.ends_with(&wanted[..*len])).unwrap_or_default()
}
