//! What determines the integers of one inference, and nothing else.
//!
//! Two machines that agree on a [`Computation`] without its output must arrive at the same output
//! tokens and finish reason (`spec/arithmetic.md`). How the answer was batched, chunked, streamed
//! or threaded is not in here, because it cannot matter.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::{Digest, tag};

mod controls;
mod decimal;
mod embedding;

pub use controls::{
    BIAS_MAX, BIASES_MAX, Controls, GRAMMAR_ENGINE_BYTES_MAX, GRAMMAR_TEXT_BYTES_MAX, Grammar,
    GrammarKind, STOP_STRING_BYTES_MAX, STOP_STRINGS_MAX,
};
pub use decimal::{Micro, SignedMicro};
pub use embedding::{
    EMBEDDING_TEXTS_MAX, EmbeddingComputation, VECTOR_LEN_MAX, inputs_from_bytes, inputs_to_bytes,
    vectors_from_bytes, vectors_to_bytes,
};

use controls::decode_signed;

/// Longest arithmetic id in bytes.
pub const ARITHMETIC_ID_BYTES_MAX: u64 = 32;
/// Most tokens in an input or an output: bounds memory before any model is known.
pub const TOKENS_MAX: u64 = 1 << 20;
/// Most stop tokens.
pub const STOP_TOKENS_MAX: u64 = 64;
/// Highest temperature, 100.000000, in millionths.
pub const TEMPERATURE_MAX: Micro = Micro(100_000_000);
/// Greatest magnitude of a penalty, 2.000000, in millionths.
pub const PENALTY_MAX: u32 = 2_000_000;

/// A token id: an index into a model's vocabulary.
pub type TokenId = u32;

/// How a token is drawn from logits and when generation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingParameters {
    /// Most output tokens.
    pub max_tokens: u32,
    /// Temperature; zero is greedy decoding. At most [`TEMPERATURE_MAX`].
    pub temperature: Micro,
    /// Only the `top_k` likeliest tokens may be drawn; zero is no such limit.
    pub top_k: u32,
    /// Only the likeliest tokens up to this total probability may be drawn; one is no such limit.
    pub top_p: Micro,
    /// Tokens that end the output (the one drawn is its last), in increasing order.
    pub stop_tokens: Vec<TokenId>,
    /// Which of several choices for one request this is, from zero.
    pub choice: u32,
    /// Taken once from the logits of a token that the output holds. Magnitude at most
    /// [`PENALTY_MAX`].
    pub presence_penalty: SignedMicro,
    /// Taken from the logits of a token once for every time that the output holds it. Magnitude
    /// at most [`PENALTY_MAX`].
    pub frequency_penalty: SignedMicro,
}

impl Cbor for SamplingParameters {
    fn encode_into(&self, encoder: &mut Encoder) {
        let penalties = [(7, self.presence_penalty), (8, self.frequency_penalty)]
            .map(|(key, penalty)| (penalty != SignedMicro::ZERO).then_some((key, penalty)));
        encoder.map(penalties.iter().flatten().count().saturating_add(6));
        encoder.key(1).uint(self.max_tokens.into());
        encoder.key(2).uint(self.temperature.0.into());
        encoder.key(3).uint(self.top_k.into());
        encoder.key(4).uint(self.top_p.0.into());
        encoder.key(5);
        encode_tokens(encoder, &self.stop_tokens);
        encoder.key(6).uint(self.choice.into());
        for (key, penalty) in penalties.into_iter().flatten() {
            encoder.key(key).int(penalty.0.into());
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("parameters")?;
        map.require(decoder, 1)?;
        let max_tokens = bounded(decoder, "max tokens", TOKENS_MAX)?;
        map.require(decoder, 2)?;
        let temperature = Micro(bounded(decoder, "temperature", TEMPERATURE_MAX.0.into())?);
        map.require(decoder, 3)?;
        let top_k = decoder.u32("top k")?;
        map.require(decoder, 4)?;
        let top_p = Micro(bounded(decoder, "top p", Micro::ONE.0.into())?);
        map.require(decoder, 5)?;
        let stop_tokens = decode_tokens(decoder, "stop tokens", STOP_TOKENS_MAX)?;
        map.require(decoder, 6)?;
        let choice = decoder.u32("choice")?;
        let mut penalty = |key, what| match map.optional(decoder, key)? {
            true => decode_penalty(decoder, what),
            false => Ok(SignedMicro::ZERO),
        };
        let presence_penalty = penalty(7, "presence penalty")?;
        let frequency_penalty = penalty(8, "frequency penalty")?;
        map.end(decoder)?;
        Ok(Self {
            max_tokens,
            temperature,
            top_k,
            top_p,
            stop_tokens,
            choice,
            presence_penalty,
            frequency_penalty,
        })
    }
}

/// Why an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token was drawn; it is the output's last token.
    Stop,
    /// The output has `max_tokens` tokens, or the context is full.
    Length,
    /// The client went away; what had been computed stands.
    Cancelled,
    /// The output's last token completed a stop string.
    StopString,
}

impl FinishReason {
    /// The reason's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Stop => 1,
            Self::Length => 2,
            Self::Cancelled => 3,
            Self::StopString => 4,
        }
    }

    pub(crate) fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        match decoder.uint_up_to("finish reason", 255)? {
            1 => Ok(Self::Stop),
            2 => Ok(Self::Length),
            3 => Ok(Self::Cancelled),
            4 => Ok(Self::StopString),
            found => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                Err(CborError::Value { what: "finish reason", found })
            }
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::StopString => "stop-string",
        })
    }
}

/// One inference: everything that determines its integers, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computation {
    /// Id of the exact arithmetic, such as `ra-1-draft.1`.
    pub arithmetic: String,
    /// Merkle root over everything the model consists of.
    pub model_root: Digest,
    /// The effective input: token ids after template and truncation.
    pub input: Vec<TokenId>,
    /// Sampling parameters and stop conditions.
    pub parameters: SamplingParameters,
    /// Stop strings, biases and grammar; empty where the request has none.
    pub controls: Controls,
    /// The sampler's seed.
    pub seed: [u8; 32],
    /// The output token ids.
    pub output: Vec<TokenId>,
    /// Why the output ended.
    pub finish: FinishReason,
}

/// The seed that neither client nor issuer can choose alone.
///
/// SHA-256(tag ‖ nonce length as u64 ‖ nonce ‖ input as a CBOR array).
#[must_use]
pub fn derived_seed(client_nonce: &[u8], input: &[TokenId]) -> [u8; 32] {
    let length = u64::try_from(client_nonce.len()).unwrap_or(u64::MAX).to_be_bytes();
    let input = tokens_to_bytes(input);
    *Digest::of_tagged(tag::SEED, &[&length, client_nonce, &input]).as_bytes()
}

/// Token ids as the bytes that a commitment covers: a CBOR array of unsigned integers.
#[must_use]
pub fn tokens_to_bytes(tokens: &[TokenId]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encode_tokens(&mut encoder, tokens);
    encoder.finish()
}

/// Parses what [`tokens_to_bytes`] wrote.
///
/// # Errors
/// Anything but one deterministic array of at most [`TOKENS_MAX`] token ids.
pub fn tokens_from_bytes(bytes: &[u8]) -> Result<Vec<TokenId>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let tokens = decode_tokens(&mut decoder, "tokens", TOKENS_MAX)?;
    decoder.finish()?;
    Ok(tokens)
}

fn encode_tokens(encoder: &mut Encoder, tokens: &[TokenId]) {
    encoder.array(tokens.len());
    for token in tokens {
        encoder.uint(u64::from(*token));
    }
}

fn decode_tokens(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u64,
) -> Result<Vec<TokenId>, CborError> {
    // No capacity is reserved from the stated count: a lying count ends as a truncated input.
    let count = decoder.array(what, limit)?;
    (0..count).map(|_| decoder.u32("token id")).collect()
}

/// A penalty that is there: zero has no bytes.
fn decode_penalty(decoder: &mut Decoder<'_>, what: &'static str) -> Result<SignedMicro, CborError> {
    match decode_signed(decoder, what, PENALTY_MAX)? {
        SignedMicro::ZERO => Err(CborError::Value { what, found: 0 }),
        penalty => Ok(penalty),
    }
}

fn bounded(decoder: &mut Decoder<'_>, what: &'static str, limit: u64) -> Result<u32, CborError> {
    let value = decoder.uint_up_to(what, limit)?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;

    #[test]
    fn parameters_round_trip_and_refuse_values_beyond_their_limits() {
        let parameters = SamplingParameters {
            max_tokens: 1 << 20,
            temperature: TEMPERATURE_MAX,
            top_k: 40,
            top_p: Micro::ONE,
            stop_tokens: vec![0, 7],
            choice: 3,
            presence_penalty: SignedMicro(2_000_000),
            frequency_penalty: SignedMicro(-2_000_000),
        };
        assert_eq!(SamplingParameters::parse(&parameters.encode()), Ok(parameters.clone()));
        let beyond = [
            SamplingParameters { max_tokens: (1 << 20) + 1, ..parameters.clone() },
            SamplingParameters { temperature: Micro(TEMPERATURE_MAX.0 + 1), ..parameters.clone() },
            SamplingParameters { top_p: Micro(1_000_001), ..parameters.clone() },
            SamplingParameters { stop_tokens: vec![1; 65], ..parameters.clone() },
            SamplingParameters { presence_penalty: SignedMicro(2_000_001), ..parameters.clone() },
            SamplingParameters { frequency_penalty: SignedMicro(-2_000_001), ..parameters },
        ];
        for parameters in beyond {
            let parsed = SamplingParameters::parse(&parameters.encode());
            assert!(matches!(parsed, Err(CborError::Limit { .. })), "{parsed:?}");
        }
    }

    #[test]
    fn a_penalty_of_zero_has_no_bytes() {
        let mut parameters = SamplingParameters {
            max_tokens: 1,
            temperature: Micro::ZERO,
            top_k: 0,
            top_p: Micro::ONE,
            stop_tokens: vec![],
            choice: 0,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        };
        let bytes = parameters.encode();
        assert_eq!(bytes.first(), Some(&0xa6));
        let mut stated = bytes;
        stated[0] = 0xa7;
        stated.extend([0x08, 0x00]);
        let expected = CborError::Value { what: "frequency penalty", found: 0 };
        assert_eq!(SamplingParameters::parse(&stated), Err(expected));
        parameters.frequency_penalty = SignedMicro(-1);
        assert_eq!(SamplingParameters::parse(&parameters.encode()), Ok(parameters));
    }

    #[test]
    fn finish_reasons_have_their_own_codes_and_words() {
        let all = [
            FinishReason::Stop,
            FinishReason::Length,
            FinishReason::Cancelled,
            FinishReason::StopString,
        ];
        assert_eq!(all.map(FinishReason::code), [1, 2, 3, 4]);
        let words = ["stop", "length", "cancelled", "stop-string"];
        assert_eq!(all.map(|reason| reason.to_string()), words);
    }

    #[test]
    fn a_token_list_that_lies_about_its_length_is_truncated_not_allocated() {
        assert_eq!(tokens_from_bytes(&tokens_to_bytes(&[1, 2, 70_000])), Ok(vec![1, 2, 70_000]));
        assert!(matches!(
            tokens_from_bytes(&[0x9a, 0, 0x10, 0, 0]),
            Err(CborError::Truncated { .. })
        ));
        assert!(matches!(tokens_from_bytes(&[0x9a, 0, 0x10, 0, 1]), Err(CborError::Limit { .. })));
    }

    #[test]
    fn the_derived_seed_depends_on_nonce_and_input_and_on_their_border() {
        let seed = derived_seed(b"ab", &[1, 2]);
        assert_ne!(seed, derived_seed(b"ac", &[1, 2]));
        assert_ne!(seed, derived_seed(b"ab", &[1, 3]));
        assert_ne!(derived_seed(b"", &[2]), derived_seed(&[0x81], &[2]));
    }
}
