//! The statement about embeddings: texts in, one vector out for each.

use tally_core::{
    Digest,
    commitment::{Field, Opening},
    computation::{
        EMBEDDING_TEXTS_MAX, TOKENS_MAX, TokenId, inputs_from_bytes, inputs_to_bytes,
        vectors_from_bytes, vectors_to_bytes,
    },
    receipt::{
        EmbeddingAnswer, EmbeddingClaims, OPENING_BYTES_MAX, Openings, Outcome, Preparation,
        Statement,
    },
};

use crate::{
    Admission, Behind, IssuerError,
    behind::attribute,
    draft::{require_at_most, require_legal, state},
};

/// What is computed for a request for embeddings: everything that determines the integers.
#[derive(Clone, Debug)]
pub struct PreparedEmbedding {
    /// Id of the exact arithmetic.
    pub arithmetic: String,
    /// Merkle root of the model.
    pub model_root: Digest,
    /// The token ids of each text: 1 to 2048 texts of at least one token.
    pub inputs: Vec<Vec<TokenId>>,
    /// How the texts came from the request.
    pub preparation: Preparation,
}

/// The statement about embeddings, and the openings of all that it commits to.
///
/// `vectors` are the engine's integers, one vector for each text, all of one length.
///
/// # Errors
/// If the nonce, the body, the texts, the vectors or the response do not fit the wire format, or
/// there is not one vector for each text.
pub fn embed(
    mut admission: Admission,
    prepared: PreparedEmbedding,
    vectors: &[Vec<i32>],
    response: &[u8],
    behind: Option<&Behind<'_>>,
) -> Result<(Statement, Openings), IssuerError> {
    require_legal(&admission)?;
    let inputs = &prepared.inputs;
    let tokens = inputs.iter().map(Vec::len).sum();
    require_at_most("input", "tokens", tokens, TOKENS_MAX)?;
    require_at_most("input", "texts", inputs.len(), EMBEDDING_TEXTS_MAX)?;
    if vectors.len() != inputs.len() {
        let (expected, found) = (inputs.len(), vectors.len());
        return Err(IssuerError::Vectors { expected, found });
    }
    let (input, output) = (inputs_to_bytes(inputs), vectors_to_bytes(vectors));
    require_at_most("output", "bytes", output.len(), OPENING_BYTES_MAX)?;
    require_at_most("response", "bytes", response.len(), OPENING_BYTES_MAX)?;
    inputs_from_bytes(&input).map_err(IssuerError::Embedding)?;
    vectors_from_bytes(&output).map_err(IssuerError::Embedding)?;
    let mut openings = Openings::new();
    let mut commit = |field, value: Vec<u8>| {
        let salt = admission.secret.salt(field);
        let commitment = salt.commit(&value);
        openings.insert(field, Opening { salt, value });
        commitment
    };
    let request = commit(Field::Request, std::mem::take(&mut admission.body));
    let computation = EmbeddingClaims {
        arithmetic: prepared.arithmetic,
        model_root: prepared.model_root,
        input: commit(Field::Input, input),
        input_count: u32::try_from(tokens).unwrap_or(u32::MAX),
        output: commit(Field::Output, output),
        vector_count: u32::try_from(vectors.len()).unwrap_or(u32::MAX),
    };
    let response = commit(Field::Response, response.to_vec());
    let preparation = prepared.preparation;
    let outcome = Outcome::Embedding(EmbeddingAnswer { computation, preparation, response });
    let secret = admission.secret.clone();
    let mut statement = state(admission, request, outcome);
    if let Some(behind) = behind {
        attribute(&mut statement, &mut openings, &secret, behind)?;
    }
    Ok((statement, openings))
}
