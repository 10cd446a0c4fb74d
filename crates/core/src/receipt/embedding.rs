//! What a statement says of embeddings: one vector for each text, and nothing drawn.

use alloc::string::String;

use super::Preparation;
use super::statement::decode_count;
use crate::Digest;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::computation::{ARITHMETIC_ID_BYTES_MAX, EMBEDDING_TEXTS_MAX};

/// Computed embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingAnswer {
    /// What determined the integers, and the integers.
    pub computation: EmbeddingClaims,
    /// How the effective input came from the request.
    pub preparation: Preparation,
    /// Commitment to the response bytes.
    pub response: Digest,
}

/// The map `computation` of embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingClaims {
    /// Id of the exact arithmetic.
    pub arithmetic: String,
    /// Merkle root over everything the model consists of.
    pub model_root: Digest,
    /// Commitment to the token ids of all texts.
    pub input: Digest,
    /// How many tokens the texts have together.
    pub input_count: u32,
    /// Commitment to the vectors.
    pub output: Digest,
    /// How many texts there are, and so how many vectors.
    pub vector_count: u32,
}

impl Cbor for EmbeddingAnswer {
    fn encode_into(&self, encoder: &mut Encoder) {
        self.computation.encode_into(encoder.map(3).key(1));
        self.preparation.encode_into(encoder.key(2));
        encoder.key(3).bytes(self.response.as_bytes());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("embedding")?;
        map.require(decoder, 1)?;
        let computation = EmbeddingClaims::decode_from(decoder)?;
        map.require(decoder, 2)?;
        let preparation = Preparation::decode_from(decoder)?;
        map.require(decoder, 3)?;
        let response = decoder.digest("response commitment")?;
        map.end(decoder)?;
        Ok(Self { computation, preparation, response })
    }
}

impl Cbor for EmbeddingClaims {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(6).key(1).text(&self.arithmetic);
        encoder.key(2).bytes(self.model_root.as_bytes());
        encoder.key(3).bytes(self.input.as_bytes());
        encoder.key(4).uint(self.input_count.into());
        encoder.key(5).bytes(self.output.as_bytes());
        encoder.key(6).uint(self.vector_count.into());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("computation")?;
        map.require(decoder, 1)?;
        let arithmetic = decoder.text("arithmetic id", ARITHMETIC_ID_BYTES_MAX)?.into();
        map.require(decoder, 2)?;
        let model_root = decoder.digest("model root")?;
        map.require(decoder, 3)?;
        let input = decoder.digest("input commitment")?;
        map.require(decoder, 4)?;
        let input_count = decode_count(decoder, "input count")?;
        map.require(decoder, 5)?;
        let output = decoder.digest("output commitment")?;
        map.require(decoder, 6)?;
        let vector_count = decoder.uint_up_to("vector count", EMBEDDING_TEXTS_MAX)?;
        map.end(decoder)?;
        let vector_count = u32::try_from(vector_count).unwrap_or(u32::MAX);
        Ok(Self { arithmetic, model_root, input, input_count, output, vector_count })
    }
}
