//! Chats and plain completions: from a body to the run that answers it.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use tally_core::receipt::Kind;
use tally_issuer::Admission;

use super::{
    RECEIPT_HEADER, authorization,
    describe::{Nonce, Refusals, WithReceipt},
    error, json, nonce_of, run,
};
use crate::{
    access::Entrance,
    api::{
        asked::Asked,
        chat::ChatRequest,
        completion::CompletionRequest,
        error::ApiError,
        response::{ChatChunk, ChatCompletion, Completion},
    },
    node::ServerNode,
    shelf::{Loaded, ShelfError},
};

/// Most bytes of the bodies that the receipts of one request commit to, one for each choice; and as
/// many of the responses.
pub(super) const COMMITTED_BYTES_MAX: usize = 32 << 20;

/// A request that was let in: from here on it has a receipt.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) node: Arc<ServerNode>,
    pub(super) loaded: Arc<Loaded>,
    pub(super) asked: Arc<Asked>,
    /// One for each choice.
    pub(super) admissions: Vec<Admission>,
    /// Held while the request is answered.
    pub(super) held: (Entrance, tokio::sync::OwnedSemaphorePermit),
}

/// What a run gives to its client.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Receipt ids in hexadecimal.
    pub(super) receipts: Vec<String>,
    pub(super) body: ReplyBody,
}

#[derive(Debug)]
pub(super) enum ReplyBody {
    Whole(Vec<u8>),
    Stream(tokio::sync::mpsc::Receiver<Bytes>),
}

/// Answer a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "answers",
    params(Nonce),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "An answer with its receipts, or its stream",
            content((WithReceipt<ChatCompletion> = "application/json"), (ChatChunk = "text/event-stream")),
            headers(("Tally-Receipt" = String, description = "Receipt ids, choice by choice"))),
        Refusals,
    ),
)]
pub(super) async fn chat(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(node, &headers, body, Kind::Chat).await
}

/// Continue texts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "answers",
    params(Nonce),
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "Continuations with their receipts, or their stream",
            content((WithReceipt<Completion> = "application/json"), (Completion = "text/event-stream")),
            headers(("Tally-Receipt" = String, description = "Receipt ids, choice by choice"))),
        Refusals,
    ),
)]
pub(super) async fn completion(
    State(node): State<Arc<ServerNode>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(node, &headers, body, Kind::Completion).await
}

async fn answer(node: Arc<ServerNode>, headers: &HeaderMap, body: Bytes, kind: Kind) -> Response {
    let admitted = match admit(node, headers, body, kind).await {
        Ok(admitted) => admitted,
        Err(refusal) => return error(&refusal),
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(run::answer(admitted, sender));
    match receiver.await {
        Ok(reply) => respond(reply),
        Err(_) => error(&ApiError::internal()),
    }
}

async fn admit(
    node: Arc<ServerNode>,
    headers: &HeaderMap,
    body: Bytes,
    kind: Kind,
) -> Result<Admitted, ApiError> {
    let entrance = node.access.enter(authorization(headers), node.world.now_ms())?;
    let nonce = nonce_of(headers)?;
    let asked = match kind {
        Kind::Completion => Asked::parse_completion(&body)?,
        _ => Asked::parse_chat(&body)?,
    };
    let choices = asked.choices();
    let committed = body.len().saturating_mul(choices as usize);
    if committed > COMMITTED_BYTES_MAX {
        let text = format!(
            "{choices} receipts over a body of {} bytes are more than {COMMITTED_BYTES_MAX} bytes",
            body.len()
        );
        return Err(ApiError::invalid("n", text));
    }
    let place = Arc::clone(&node.places).try_acquire_owned().map_err(|_| overloaded(&node))?;
    let loaded = node.shelf.get(&asked.model).await.map_err(|error| shelf_error(&node, &error))?;
    let admissions =
        (0..choices).map(|_| node.desk.admit(kind, nonce.clone(), body.to_vec())).collect();
    let asked = Arc::new(asked);
    Ok(Admitted { node, loaded, asked, admissions, held: (entrance, place) })
}

pub(super) fn overloaded(node: &ServerNode) -> ApiError {
    let text = format!("{} requests wait already: try again", node.limits.requests_max);
    ApiError::of_status(429, "overloaded", text)
}

pub(super) fn shelf_error(node: &ServerNode, error: &ShelfError) -> ApiError {
    let text = error.to_string();
    match error {
        ShelfError::Unknown { .. } => {
            let error = ApiError::of_status(404, "model_not_found", text);
            ApiError { param: Some("model".into()), ..error }
        }
        ShelfError::Busy { .. } => ApiError::of_status(429, "overloaded", text),
        ShelfError::TooLarge { .. } | ShelfError::Load { .. } => {
            node.failed("a model that was asked for", error);
            ApiError::of_status(503, "model_unavailable", text)
        }
    }
}

fn respond(reply: Reply) -> Response {
    let mut response = match reply.body {
        ReplyBody::Whole(body) => json(reply.status, body),
        ReplyBody::Stream(events) => {
            let events = stream::unfold(events, async |mut events| {
                let event = events.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(event), events))
            });
            let mut response = Body::from_stream(events).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
    };
    if let Ok(ids) = HeaderValue::from_str(&reply.receipts.join(", ")) {
        response.headers_mut().insert(RECEIPT_HEADER, ids);
    }
    response
}
