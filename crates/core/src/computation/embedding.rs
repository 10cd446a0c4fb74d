//! What determines the integers of embeddings: texts in, one vector out for each.
//!
//! There is no seed and nothing is drawn, so the texts and the model decide everything.

use alloc::{string::String, vec::Vec};

use super::{TOKENS_MAX, TokenId, encode_tokens};
use crate::Digest;
use crate::cbor::{CborError, Decoder, Encoder};

/// Most texts in one request for embeddings.
pub const EMBEDDING_TEXTS_MAX: u64 = 2048;
/// Most numbers in one vector.
pub const VECTOR_LEN_MAX: u64 = 1 << 16;

/// Texts and their vectors: everything that a replay needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingComputation {
    /// Id of the exact arithmetic, such as `ra-1-draft.1`.
    pub arithmetic: String,
    /// Merkle root over everything the model consists of.
    pub model_root: Digest,
    /// The token ids of each text.
    pub inputs: Vec<Vec<TokenId>>,
    /// The vector of each text, with 24 fraction bits.
    pub vectors: Vec<Vec<i32>>,
}

/// Texts as the bytes that a commitment covers: a CBOR array of arrays of token ids.
#[must_use]
pub fn inputs_to_bytes(inputs: &[Vec<TokenId>]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.array(inputs.len());
    for tokens in inputs {
        encode_tokens(&mut encoder, tokens);
    }
    encoder.finish()
}

/// Parses what [`inputs_to_bytes`] wrote.
///
/// # Errors
/// Anything but 1 to [`EMBEDDING_TEXTS_MAX`] texts of at least one token each, and of at most
/// [`TOKENS_MAX`] together.
pub fn inputs_from_bytes(bytes: &[u8]) -> Result<Vec<Vec<TokenId>>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder.array_nonempty("texts", EMBEDDING_TEXTS_MAX)?;
    let mut left = TOKENS_MAX;
    let inputs = (0..count)
        .map(|_| {
            let count = decoder.array_nonempty("tokens", left)?;
            left = left.saturating_sub(count);
            (0..count).map(|_| decoder.u32("token id")).collect()
        })
        .collect::<Result<_, _>>()?;
    decoder.finish()?;
    Ok(inputs)
}

/// Vectors as the bytes that a commitment covers: a CBOR array of arrays of integers.
#[must_use]
pub fn vectors_to_bytes(vectors: &[Vec<i32>]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.array(vectors.len());
    for vector in vectors {
        encoder.array(vector.len());
        for value in vector {
            encoder.int(i64::from(*value));
        }
    }
    encoder.finish()
}

/// Parses what [`vectors_to_bytes`] wrote.
///
/// # Errors
/// Anything but 1 to [`EMBEDDING_TEXTS_MAX`] vectors of one and the same length, which is 1 to
/// [`VECTOR_LEN_MAX`], of integers of 32 bits.
pub fn vectors_from_bytes(bytes: &[u8]) -> Result<Vec<Vec<i32>>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder.array_nonempty("vectors", EMBEDDING_TEXTS_MAX)?;
    let mut len = None;
    let vectors = (0..count)
        .map(|_| {
            let offset = decoder.offset();
            let found = decoder.array_nonempty("vector", VECTOR_LEN_MAX)?;
            let expected = *len.get_or_insert(found);
            if found != expected {
                return Err(CborError::Length { what: "vector", offset, expected, found });
            }
            (0..found).map(|_| decode_value(&mut decoder)).collect()
        })
        .collect::<Result<_, _>>()?;
    decoder.finish()?;
    Ok(vectors)
}

fn decode_value(decoder: &mut Decoder<'_>) -> Result<i32, CborError> {
    let offset = decoder.offset();
    let value = decoder.int()?;
    i32::try_from(value).map_err(|_| {
        let (limit, found) = (i32::MAX.unsigned_abs().into(), value.unsigned_abs());
        CborError::Limit { what: "vector element", offset, limit, found }
    })
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn texts_and_vectors_round_trip() {
        let inputs = vec![vec![1, 70_000], vec![u32::MAX]];
        assert_eq!(inputs_from_bytes(&inputs_to_bytes(&inputs)), Ok(inputs));
        let vectors = vec![vec![0, -1, i32::MAX], vec![i32::MIN, 24, -25]];
        assert_eq!(vectors_from_bytes(&vectors_to_bytes(&vectors)), Ok(vectors));
    }

    #[test]
    fn what_is_empty_is_refused() {
        for bytes in [&[0x80][..], &[0x81, 0x80], &[0x82, 0x81, 0x01, 0x80]] {
            assert!(matches!(inputs_from_bytes(bytes), Err(CborError::Empty { .. })));
            assert!(matches!(vectors_from_bytes(bytes), Err(CborError::Empty { .. })));
        }
    }

    #[test]
    fn vectors_of_different_lengths_are_refused() {
        for vectors in [vec![vec![1, 2], vec![1]], vec![vec![1], vec![1, 2]]] {
            let parsed = vectors_from_bytes(&vectors_to_bytes(&vectors));
            assert!(matches!(parsed, Err(CborError::Length { what: "vector", .. })), "{parsed:?}");
        }
    }

    #[test]
    fn the_most_texts_are_legal_and_one_more_is_not() {
        for (count, is_legal) in [(2048, true), (2049, false)] {
            assert_eq!(
                inputs_from_bytes(&inputs_to_bytes(&vec![vec![7]; count])).is_ok(),
                is_legal
            );
            let vectors = vectors_to_bytes(&vec![vec![7]; count]);
            assert_eq!(vectors_from_bytes(&vectors).is_ok(), is_legal);
        }
        for (len, is_legal) in [(1 << 16, true), ((1 << 16) + 1, false)] {
            assert_eq!(vectors_from_bytes(&vectors_to_bytes(&[vec![0; len]])).is_ok(), is_legal);
        }
    }

    #[test]
    fn the_limit_on_tokens_is_one_of_all_texts_together() {
        let half = vec![1; 1 << 19];
        let whole = vec![half.clone(), half];
        assert_eq!(inputs_from_bytes(&inputs_to_bytes(&whole)), Ok(whole.clone()));
        let mut beyond = whole;
        beyond.push(vec![1]);
        let parsed = inputs_from_bytes(&inputs_to_bytes(&beyond));
        assert!(matches!(parsed, Err(CborError::Limit { what: "tokens", .. })));
    }

    #[test]
    fn an_element_beyond_32_bits_and_a_lying_count_are_refused() {
        let beyond = [0x81, 0x81, 0x1a, 0x80, 0x00, 0x00, 0x00];
        assert!(matches!(vectors_from_bytes(&beyond), Err(CborError::Limit { .. })));
        let below = [0x81, 0x81, 0x3a, 0x80, 0x00, 0x00, 0x00];
        assert!(matches!(vectors_from_bytes(&below), Err(CborError::Limit { .. })));
        let lying = [0x81, 0x9a, 0x00, 0x01, 0x00, 0x00];
        assert!(matches!(vectors_from_bytes(&lying), Err(CborError::Truncated { .. })));
    }
}
