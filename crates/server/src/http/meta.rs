//! What a node says of itself, and its tokenizers.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use tally_engine::{ARITHMETIC, template::ChatOptions};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::{
    authorization,
    complete::{overloaded, shelf_error},
    describe::Refusals,
    error,
};
use crate::{
    api::{
        completion::{DetokenizeRequest, TokenizeRequest},
        error::ApiError,
        parse::parse,
    },
    node::ServerNode,
    plan::messages_of,
    shelf::Loaded,
};

/// All models: by name, with the root of those that are loaded.
/// List the models.
#[utoipa::path(get, path = "/v1/models", tag = "models",
    responses((status = 200, description = "All models", body = ModelList), Refusals))]
pub(super) async fn models(State(node): State<Arc<ServerNode>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = node.access.enter(authorization(&headers), node.world.now_ms()) {
        return error(&refusal);
    }
    let data = node
        .shelf
        .list()
        .iter()
        .map(|(name, loaded)| model_object(name, loaded.as_deref()))
        .collect();
    answer(&ModelList { object: "list", data })
}

/// One model by name or root; it is loaded, so that its root can be told.
/// Show one model.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "models",
    params(("model" = String, Path, description = "Name or root")),
    responses((status = 200, description = "The model", body = ModelObject), Refusals))]
pub(super) async fn model(
    State(node): State<Arc<ServerNode>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = node.access.enter(authorization(&headers), node.world.now_ms()) {
        return error(&refusal);
    }
    match node.shelf.get(&name).await {
        Ok(loaded) => answer(&model_object(&loaded.name, Some(&loaded))),
        Err(failure) => error(&shelf_error(&node, &failure)),
    }
}

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    /// `list`.
    object: &'static str,
    /// The models.
    data: Vec<ModelObject>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelObject {
    /// Its name.
    id: String,
    /// `model`.
    object: &'static str,
    /// Always 0: a model is what its root says, whenever it came here.
    created: u64,
    /// `this-node`.
    owned_by: &'static str,
    /// Merkle root over everything that the model consists of; like all below, of a loaded model.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// Id of the exact arithmetic.
    #[serde(skip_serializing_if = "Option::is_none")]
    arithmetic: Option<&'static str>,
    /// Most tokens of input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<u32>,
    /// `text` or `embedding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

/// Ids of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    /// The ids.
    tokens: Vec<u32>,
    /// How many they are.
    count: usize,
    /// Most tokens of input and output together.
    max_model_len: u32,
}

/// Text of ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Detokenized {
    /// The text; bytes that are not UTF-8 become U+FFFD.
    prompt: String,
}

/// That the node answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
}

fn model_object(name: &str, loaded: Option<&Loaded>) -> ModelObject {
    let kind = |loaded: &Loaded| match loaded.model.configuration().pooling {
        Some(_) => "embedding",
        None => "text",
    };
    ModelObject {
        id: name.to_owned(),
        object: "model",
        created: 0,
        owned_by: "this-node",
        root: loaded.map(|loaded| loaded.model.root().to_string()),
        arithmetic: loaded.map(|_| ARITHMETIC),
        context: loaded.map(|loaded| loaded.model.context_len()),
        kind: loaded.map(kind),
    }
}

/// Turn a text or a chat into token ids.
#[utoipa::path(post, path = "/tokenize", tag = "models", request_body = TokenizeRequest,
    responses((status = 200, description = "The ids", body = TokenList), Refusals))]
pub(super) async fn tokenize(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        let _entrance = node.access.enter(authorization(&headers), node.world.now_ms())?;
        let _place = place(&node)?;
        let request: TokenizeRequest = parse(&body)?;
        let loaded = node.shelf.get(&request.model).await;
        let loaded = loaded.map_err(|failure| shelf_error(&node, &failure))?;
        let turn = node.turn_to_tokenize(body.len()).await;
        let encoding = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            encode(&loaded, &request)
        });
        encoding.await.map_err(|_| ApiError::internal())?
    };
    work.await.map_or_else(|refusal| error(&refusal), |value| answer(&value))
}

fn encode(loaded: &Loaded, request: &TokenizeRequest) -> Result<TokenList, ApiError> {
    let language = &loaded.language;
    let refused = |param: &str, failure: &dyn std::fmt::Display| {
        ApiError::invalid(param, format!("`{param}`: {failure}"))
    };
    let tokens = match (&request.prompt, &request.messages) {
        (Some(text), None) => {
            language.tokenizer().encode(text).map_err(|failure| refused("prompt", &failure))?
        }
        (None, Some(messages)) => {
            let messages = messages_of(messages).map_err(|refused| refused.error)?;
            language
                .encode_chat(&messages, &ChatOptions::default())
                .map_err(|failure| refused("messages", &failure))?
        }
        _ => return Err(ApiError::invalid("prompt", "either `prompt` or `messages` is expected")),
    };
    Ok(TokenList { count: tokens.len(), tokens, max_model_len: loaded.model.context_len() })
}

/// The text of ids.
/// Turn token ids into text.
#[utoipa::path(post, path = "/detokenize", tag = "models", request_body = DetokenizeRequest,
    responses((status = 200, description = "The text", body = Detokenized), Refusals))]
pub(super) async fn detokenize(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        let _entrance = node.access.enter(authorization(&headers), node.world.now_ms())?;
        let _place = place(&node)?;
        let request: DetokenizeRequest = parse(&body)?;
        let loaded = node.shelf.get(&request.model).await;
        let loaded = loaded.map_err(|failure| shelf_error(&node, &failure))?;
        let decoding = tokio::task::spawn_blocking(move || {
            let text = loaded.language.decode(&request.tokens);
            text.map_err(|failure| ApiError::invalid("tokens", format!("`tokens`: {failure}")))
        });
        let text = decoding.await.map_err(|_| ApiError::internal())??;
        Ok::<_, ApiError>(Detokenized { prompt: text })
    };
    work.await.map_or_else(|refusal| error(&refusal), |value| answer(&value))
}

/// That the node answers.
/// Whether the node answers.
#[utoipa::path(get, path = "/healthz", tag = "node",
    responses((status = 200, description = "It does", body = Health)))]
pub(super) async fn health() -> Response {
    answer(&Health { status: "ok" })
}

/// Counts, as Prometheus reads them.
/// Counts, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, description = "Counts", body = String, content_type = "application/openmetrics-text"), Refusals))]
pub(super) async fn metrics(State(node): State<Arc<ServerNode>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = node.access.enter(authorization(&headers), node.world.now_ms()) {
        return error(&refusal);
    }
    let loaded: Vec<_> = node.shelf.list().into_iter().filter_map(|(_, loaded)| loaded).collect();
    let counts = loaded.iter().map(|each| (each.name.as_str(), each.worker.counts()));
    let text = node.metrics.encode(counts);
    let mut response = Body::from(text).into_response();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A place among the requests that are answered at a time.
pub(super) fn place(node: &ServerNode) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&node.places).try_acquire_owned().map_err(|_| overloaded(node))
}

fn answer(value: &impl Serialize) -> Response {
    super::json(200, serde_json::to_vec(value).unwrap_or_default())
}
