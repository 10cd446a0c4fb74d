//! Embeddings: vectors of a sentence encoder, with one receipt for all texts of a request.

use std::sync::Arc;

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};
use base64ct::{Base64, Encoding as _};
use tally_core::{
    Digest,
    computation::TokenId,
    receipt::{Kind, Preparation},
};
use tally_engine::{ARITHMETIC, Embedding, Language, Model};
use tally_issuer::{Admission, PreparedEmbedding, refuse};
use tokio::sync::oneshot;

use super::{
    RECEIPT_HEADER, authorization,
    complete::{overloaded, shelf_error},
    describe::{Nonce, Refusals, WithReceipt},
    error, json, nonce_of,
};
use crate::{
    api::{
        completion::{EmbeddingRequest, EncodingFormat, OnePrompt},
        error::ApiError,
        parse::parse,
        response::{EmbeddingObject, EmbeddingUsage, Embeddings, Vector},
    },
    issue::{Receipt, object_of, with_member},
    node::ServerNode,
    plan::{Refused, refused_language},
    shelf::Loaded,
};

/// Most texts of one request.
pub(super) const TEXTS_MAX: usize = 256;

/// Make vectors of texts.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "answers",
    params(Nonce),
    request_body = EmbeddingRequest,
    responses(
        (status = 200, description = "Vectors with one receipt", body = WithReceipt<Embeddings>,
            headers(("Tally-Receipt" = String, description = "The receipt's id"))),
        Refusals,
    ),
)]
pub(super) async fn embeddings(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (sender, receiver) = oneshot::channel();
    let work = async move {
        let response =
            answer(&node, &headers, body).await.unwrap_or_else(|refusal| error(&refusal));
        // Nobody may be there any more; the receipt is in the log all the same.
        let _ = sender.send(response);
    };
    tokio::spawn(work);
    receiver.await.unwrap_or_else(|_| error(&ApiError::internal()))
}

async fn answer(
    node: &Arc<ServerNode>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let _entrance = node.access.enter(authorization(headers), node.world.now_ms())?;
    let nonce = nonce_of(headers)?;
    let request: EmbeddingRequest = parse(&body)?;
    let texts = request.input.all();
    if !(1..=TEXTS_MAX).contains(&texts.len()) {
        let text = format!("`input` has {} texts, expected 1 to {TEXTS_MAX}", texts.len());
        return Err(ApiError::invalid("input", text));
    }
    let place = Arc::clone(&node.places).try_acquire_owned().map_err(|_| overloaded(node))?;
    let loaded = node.shelf.get(&request.model).await.map_err(|error| shelf_error(node, &error))?;
    let admission = node.desk.admit(Kind::Embedding, nonce, body.to_vec());
    let outcome = compute(node, body.len(), &loaded, &request, texts).await;
    let delivered = match outcome {
        Ok(outcome) => deliver(node, &loaded.model, admission, &request, outcome).await,
        Err(refused) => turn_away(node, admission, &refused).await,
    };
    drop(place);
    delivered
}

/// Inputs and vectors.
type Outcome = (Vec<Vec<TokenId>>, Vec<Embedding>);

async fn compute(
    node: &ServerNode,
    size: usize,
    loaded: &Arc<Loaded>,
    request: &EmbeddingRequest,
    texts: Vec<OnePrompt>,
) -> Result<Outcome, Refused> {
    let (at, wanted) = (Arc::clone(loaded), (request.model.clone(), request.dimensions));
    let turn = node.turn_to_tokenize(size).await;
    let encoding = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        encode(&at.model, &at.language, &texts, wanted)
    });
    let stopped = || Refused { code: "server/internal", error: ApiError::internal() };
    let inputs = encoding.await.map_err(|_| stopped())??;
    let embedded = loaded.worker.embed(inputs.clone()).await.ok_or_else(stopped)?;
    let embedded = embedded.map_err(|error| {
        let message = format!("the computation was refused: {error}");
        Refused {
            code: "arithmetic/refused",
            error: ApiError::of_status(422, "arithmetic/refused", message),
        }
    })?;
    Ok((inputs, embedded))
}

/// The effective inputs of a request, derived again.
///
/// # Errors
/// What the model cannot embed, in words.
pub fn inputs_of(
    request: &EmbeddingRequest,
    model: &Model,
    language: &Language,
) -> Result<Vec<Vec<TokenId>>, String> {
    let name = (request.model.clone(), request.dimensions);
    encode(model, language, &request.input.all(), name).map_err(|refused| refused.error.message)
}

/// The effective inputs: each text as the encoder's tokenizer frames it.
fn encode(
    model: &Model,
    language: &Language,
    texts: &[OnePrompt],
    (name, dimensions): (String, Option<u32>),
) -> Result<Vec<Vec<TokenId>>, Refused> {
    let configuration = model.configuration();
    if configuration.pooling.is_none() {
        let text = format!("`{name}` is no sentence encoder: it makes no embeddings");
        return Err(Refused::invalid("model/decoder", "model", text));
    }
    let width = configuration.width;
    if let Some(found) = dimensions.filter(|found| *found != width) {
        let text = format!("`dimensions` is {found}, this model's vectors have {width}");
        return Err(Refused::invalid("input/dimensions", "dimensions", text));
    }
    let context = model.context_len();
    let encode = |(index, text): (usize, &OnePrompt)| {
        let place = format!("input[{index}]");
        let tokens = match text {
            OnePrompt::Text(text) => language
                .tokenizer()
                .encode_sentence(text, usize::MAX)
                .map_err(|error| refused_language(&error.into(), &place))?,
            OnePrompt::Tokens(tokens) => tokens.clone(),
        };
        if let Some(token) = tokens.iter().find(|token| **token >= configuration.vocabulary) {
            let text =
                format!("`{place}`: token id {token} is not below {}", configuration.vocabulary);
            return Err(Refused::invalid("input/token", &place, text));
        }
        if tokens.is_empty() {
            return Err(Refused::invalid(
                "input/empty",
                &place,
                format!("`{place}` yields no token"),
            ));
        }
        if tokens.len() > context as usize {
            let text = format!("`{place}` has {} tokens, the model takes {context}", tokens.len());
            return Err(Refused::invalid("context/length", &place, text));
        }
        Ok(tokens)
    };
    texts.iter().enumerate().map(encode).collect()
}

async fn deliver(
    node: &ServerNode,
    model: &Model,
    admission: Admission,
    request: &EmbeddingRequest,
    (inputs, vectors): Outcome,
) -> Result<Response, ApiError> {
    let response = body(request, &inputs, &vectors);
    let vectors: Vec<Vec<i32>> = vectors.into_iter().map(|vector| vector.values).collect();
    let prepared = PreparedEmbedding {
        arithmetic: ARITHMETIC.into(),
        model_root: model.root(),
        inputs,
        preparation: Preparation {
            tokenizer: Digest::of_content(model.tokenizer()),
            template: None,
            adjustments: vec![],
        },
    };
    let failed = |error: &dyn std::fmt::Display| {
        node.failed("issuing a receipt", error);
        ApiError::internal()
    };
    let (statement, openings) = node
        .desk
        .embed(admission, prepared, &vectors, &response)
        .map_err(|error| failed(&error))?;
    let receipt = node.desk.issue(statement, openings).await.map_err(|error| failed(&error))?;
    Ok(told(node, 200, &response, &receipt))
}

/// The body without the receipt.
#[must_use]
pub fn body(request: &EmbeddingRequest, inputs: &[Vec<TokenId>], vectors: &[Embedding]) -> Vec<u8> {
    let tokens = inputs.iter().map(|input| input.len() as u64).sum();
    let format = request.encoding_format.unwrap_or_default();
    let data = (0..).zip(vectors).map(|(index, vector)| EmbeddingObject {
        object: "embedding",
        index,
        embedding: shown(vector, format),
    });
    let body = Embeddings {
        object: "list",
        data: data.collect(),
        model: request.model.clone(),
        usage: EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The one place where exact integers become floats: 24 fraction bits, rounded to nearest.
fn shown(vector: &Embedding, format: EncodingFormat) -> Vector {
    #[expect(clippy::cast_possible_truncation, reason = "to the nearest 32-bit float")]
    let float = |value: &i32| (f64::from(*value) / f64::from(1 << 24)) as f32;
    let floats: Vec<f32> = vector.values.iter().map(float).collect();
    match format {
        EncodingFormat::Float => Vector::Float(floats),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
            Vector::Base64(Base64::encode_string(&bytes))
        }
    }
}

async fn turn_away(
    node: &ServerNode,
    admission: Admission,
    refused: &Refused,
) -> Result<Response, ApiError> {
    let failed = |error: &dyn std::fmt::Display| {
        node.failed("issuing a refusal", error);
        ApiError::internal()
    };
    let (statement, openings) = refuse(admission, refused.code).map_err(|error| failed(&error))?;
    let receipt = node.desk.issue(statement, openings).await.map_err(|error| failed(&error))?;
    let body = refused.error.body().to_string().into_bytes();
    Ok(told(node, refused.error.status, &body, &receipt))
}

fn told(node: &ServerNode, status: u16, body: &[u8], receipt: &Receipt) -> Response {
    node.metrics.receipts.inc();
    let body = match object_of(std::slice::from_ref(receipt)) {
        Some(object) => with_member(body, &object),
        None => body.to_vec(),
    };
    let mut response = json(status, body);
    if let Ok(id) = hex::encode(receipt.id).parse() {
        response.headers_mut().insert(RECEIPT_HEADER, id);
    }
    response
}
