//! The long lists of `tokenizer.json`, counted before anything is made of them.
//!
//! Only the list of added tokens is kept; of vocabulary and merges the library makes tables, whose
//! size these limits bound.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use tally_core::computation::TokenId;

use super::VOCABULARY_MAX;

/// Most merges.
const MERGES_MAX: usize = 1 << 20;
/// Most added tokens; published models have up to some thousands.
const ADDED_TOKENS_MAX: usize = 1 << 16;
/// Most bytes of one added token.
const ADDED_TOKEN_BYTES_MAX: usize = 256;
/// Most bytes of all added tokens: the automaton that finds them takes some forty per byte.
const ADDED_TOKENS_BYTES_MAX: usize = 1 << 20;

/// A token that is found in text before it is cut into words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddedToken {
    pub(super) id: TokenId,
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
    pub(super) special: bool,
}

/// The added tokens.
#[derive(Default)]
pub(super) struct AddedTokens(pub(super) Vec<AddedToken>);

impl<'de> Deserialize<'de> for AddedTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(Expecting::<AddedTokens>("a list of added tokens", PhantomData))
    }
}

/// A vocabulary of at most [`VOCABULARY_MAX`] texts.
pub(super) struct Vocabulary;

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Expecting::<Vocabulary>("texts with their ids", PhantomData))
    }
}

/// At most [`MERGES_MAX`] pairs of texts.
pub(super) struct Merges;

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Expecting::<Merges>("a list of merges", PhantomData))
    }
}

/// Two texts, or one with a space between two.
struct Merge;

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Expecting::<Merge>("two texts", PhantomData))
    }
}

struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Expecting::<Text>("a text", PhantomData))
    }
}

/// A visitor of what it names.
struct Expecting<T>(&'static str, PhantomData<T>);

impl<'de> Visitor<'de> for Expecting<AddedTokens> {
    type Value = AddedTokens;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AddedTokens, A::Error> {
        let (mut tokens, mut size) = (vec![], 0);
        while let Some(token) = list.next_element::<AddedToken>()? {
            size += token.content.len();
            if tokens.len() == ADDED_TOKENS_MAX {
                let reason = format_args!("more than {ADDED_TOKENS_MAX} added tokens");
                return Err(A::Error::custom(reason));
            }
            if token.content.len() > ADDED_TOKEN_BYTES_MAX || size > ADDED_TOKENS_BYTES_MAX {
                return Err(A::Error::custom(format_args!(
                    "an added token of more than {ADDED_TOKEN_BYTES_MAX} bytes, or more than \
                     {ADDED_TOKENS_BYTES_MAX} bytes of all"
                )));
            }
            tokens.push(token);
        }
        Ok(AddedTokens(tokens))
    }
}

impl<'de> Visitor<'de> for Expecting<Vocabulary> {
    type Value = Vocabulary;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut count = 0;
        while map.next_entry::<IgnoredAny, TokenId>()?.is_some() {
            count += 1;
            if count > VOCABULARY_MAX {
                let reason = format_args!("a vocabulary of more than {VOCABULARY_MAX} texts");
                return Err(A::Error::custom(reason));
            }
        }
        Ok(Vocabulary)
    }
}

impl<'de> Visitor<'de> for Expecting<Merges> {
    type Value = Merges;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
        let mut count = 0;
        while list.next_element::<Merge>()?.is_some() {
            count += 1;
            if count > MERGES_MAX {
                return Err(A::Error::custom(format_args!("more than {MERGES_MAX} merges")));
            }
        }
        Ok(Merges)
    }
}

impl<'de> Visitor<'de> for Expecting<Merge> {
    type Value = Merge;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Merge, E> {
        Ok(Merge)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
        for len in 0..2 {
            if list.next_element::<Text>()?.is_none() {
                return Err(A::Error::invalid_length(len, &self));
            }
        }
        // The deserialiser refuses what follows.
        Ok(Merge)
    }
}

impl Visitor<'_> for Expecting<Text> {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Text, E> {
        Ok(Text)
    }
}
