//! The routes of a node.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::error::ApiError, local::require_local, node::ServerNode};

mod complete;
mod describe;
pub mod embed;
mod feedback;
pub mod keys;
mod log;
mod meta;
mod receipts;
mod run;

/// Header with the ids of the receipts of an answer, choice by choice.
pub const RECEIPT_HEADER: &str = "tally-receipt";
/// Header with the client's nonce, 8 to 64 bytes in hexadecimal.
pub const NONCE_HEADER: &str = "tally-nonce";
/// Seconds after which a client that was turned away may try again.
const RETRY_SECONDS: u64 = 1;

/// The routes of a node, and their description.
fn routes() -> OpenApiRouter<Arc<ServerNode>> {
    OpenApiRouter::with_openapi(describe::opening())
        .routes(routes!(complete::chat))
        .routes(routes!(complete::completion))
        .routes(routes!(embed::embeddings))
        .routes(routes!(meta::models))
        .routes(routes!(meta::model))
        .routes(routes!(meta::tokenize))
        .routes(routes!(meta::detokenize))
        .routes(routes!(keys::keys))
        .routes(routes!(receipts::receipt))
        .routes(routes!(receipts::object))
        .routes(routes!(feedback::feedback))
        .routes(routes!(log::file))
        .routes(routes!(meta::health))
        .routes(routes!(meta::metrics))
}

/// The description of all routes, as OpenAPI has it.
#[must_use]
pub fn description() -> String {
    describe::plain(&routes().into_openapi().to_pretty_json().unwrap_or_default())
}

/// A node's routes.
pub fn router(node: Arc<ServerNode>) -> Router {
    let (routes, description) = routes().split_for_parts();
    let description = Bytes::from(describe::plain(&description.to_json().unwrap_or_default()));
    routes
        .route("/openapi.json", get(async move || json(200, description.to_vec())))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(&node), observe))
        // The limit is kept where bodies are received.
        .layer(DefaultBodyLimit::disable())
        .with_state(node)
}

/// Counts what was answered.
async fn observe(State(node): State<Arc<ServerNode>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let (time, limit) = (node.limits.receive_time_max, node.limits.body_bytes_max);
    // Nobody who would be turned away has a body kept for it.
    let response = match let_in(&node, &request) {
        Ok(()) => match received(request, time, limit).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => error(&refusal),
        },
        Err(refusal) => {
            let mut response = error(&refusal);
            close(&mut response);
            response
        }
    };
    node.metrics.count(&path, response.status().as_u16());
    response
}

/// Whether a request's body may be received; every endpoint that takes one wants a key, if any do.
fn let_in(node: &ServerNode, request: &Request) -> Result<(), ApiError> {
    if !is_text(request.uri().path()) {
        let text = "the address is no UTF-8 in percent-encoding";
        return Err(ApiError::of_status(400, "address_unreadable", text));
    }
    if node.is_local {
        require_local(request.headers())?;
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => node.access.require_key(authorization(request.headers())),
    }
}

/// Whether a path's percent-encoding is whole, and of UTF-8.
fn is_text(path: &str) -> bool {
    let mut bytes = vec![];
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let Some((digits, after)) = after.split_at_checked(2) else { return false };
        let Ok(decoded) = hex::decode(digits) else { return false };
        bytes.extend(decoded);
        rest = after;
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Ends the connection after an answer: what is left of the request is not read.
fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// A request with its whole body, which came in time and is not too large.
pub(crate) async fn received(
    request: Request,
    time_max: Duration,
    bytes_max: usize,
) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    match timeout(time_max, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the body is larger than {bytes_max} bytes");
            Err(ApiError::of_status(413, "body_too_large", text))
        }
        Ok(Err(_)) => {
            let text = "the body ended before it was whole";
            Err(ApiError::of_status(400, "body_unreadable", text))
        }
        Err(_) => {
            let text = format!("the body did not come within {} s", time_max.as_secs());
            Err(ApiError::of_status(408, "body_too_slow", text))
        }
    }
}

async fn no_route() -> Response {
    error(&ApiError::of_status(404, "not_found", "there is nothing at this address"))
}

async fn no_method() -> Response {
    error(&ApiError::of_status(405, "method_not_allowed", "this address has another method"))
}

/// The client's nonce.
pub(crate) fn nonce_of(headers: &HeaderMap) -> Result<Option<Vec<u8>>, ApiError> {
    let mut values = headers.get_all(NONCE_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let nonce = value.to_str().ok().and_then(|text| hex::decode(text).ok());
    let nonce = nonce.filter(|_| values.next().is_none());
    match nonce.filter(|nonce| (8..=64).contains(&nonce.len())) {
        Some(nonce) => Ok(Some(nonce)),
        None => Err(ApiError::invalid(
            "Tally-Nonce",
            "`Tally-Nonce` is expected once, as 8 to 64 bytes in hexadecimal",
        )),
    }
}

/// The value of `Authorization`.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// An error as an answer.
pub(crate) fn error(error: &ApiError) -> Response {
    let mut response = json(error.status, error.body().to_string().into_bytes());
    if let Some(seconds) = error.retry_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// JSON as an answer.
pub(crate) fn json(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        close(&mut response);
    }
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    response
}
