//! Receipts and other things that are known by what they are.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use tally_core::{Digest, cbor::Cbor as _};

use super::{describe::Refusals, error};
use crate::{api::error::ApiError, node::ServerNode, view};

/// A receipt by its id: CBOR, or a JSON view if the client would rather have that.
/// Fetch a receipt again, with its newest inclusion proof and without openings.
#[utoipa::path(get, path = "/v1/receipts/{id}", tag = "receipts",
    params(("id" = String, Path, description = "Receipt id: 32 hexadecimal digits")),
    responses((status = 200, description = "The receipt; `Accept: application/json` gives a view of it for people",
        content((Vec<u8> = "application/cbor"), (Object = "application/json"))), Refusals))]
pub(super) async fn receipt(
    State(node): State<Arc<ServerNode>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let parsed: Option<[u8; 16]> = hex::decode(&id).ok().and_then(|id| id.try_into().ok());
    let Some(parsed) = parsed else {
        let text = "a receipt id has 32 hexadecimal digits";
        return error(&ApiError::invalid("id", text));
    };
    let finding = Arc::clone(&node);
    let found = tokio::task::spawn_blocking(move || finding.desk.find(&parsed)).await;
    match found {
        Ok(Ok(Some(bundle))) if wants_json(&headers) => match view::of(&bundle) {
            Ok(view) => super::json(200, view.to_string().into_bytes()),
            Err(failure) => failed(&node, &failure),
        },
        Ok(Ok(Some(bundle))) => {
            let mut response = Body::from(bundle.encode()).into_response();
            let cbor = HeaderValue::from_static("application/cbor");
            response.headers_mut().insert(header::CONTENT_TYPE, cbor);
            response
        }
        Ok(Ok(None)) => {
            error(&ApiError::of_status(404, "receipt_not_found", "this node has no such receipt"))
        }
        Ok(Err(failure)) => failed(&node, &failure),
        Err(failure) => failed(&node, &failure),
    }
}

/// Whether the client names JSON in `Accept` and neither CBOR nor everything before it.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.unwrap_or_default().split(',').map(|part| {
        let kind = part.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    let known = ["application/json", "application/cbor", "*/*", "application/*"];
    let mut first = first.filter(|kind| known.contains(&kind.as_str()));
    first.next().as_deref() == Some("application/json")
}

/// Something by its SHA-256: a signed statement, or the tokenizer or template of a loaded model.
/// Fetch something by its SHA-256.
///
/// Signed statements by their receipt digest; tokenizers and templates of loaded models.
#[utoipa::path(get, path = "/objects/{digest}", tag = "receipts",
    params(("digest" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, description = "Its bytes", content_type = "application/octet-stream", body = Vec<u8>), Refusals))]
pub(super) async fn object(
    State(node): State<Arc<ServerNode>>,
    Path(digest): Path<String>,
) -> Response {
    let Some(wanted) = Digest::parse_hex(&digest) else {
        return error(&ApiError::invalid("digest", "a digest has 64 hexadecimal digits"));
    };
    for (_, loaded) in node.shelf.list() {
        let Some(loaded) = loaded else { continue };
        let model = &loaded.model;
        for (bytes, kind) in [
            (model.tokenizer(), "application/json"),
            (model.template().as_bytes(), "text/plain; charset=utf-8"),
        ] {
            if !bytes.is_empty() && Digest::of_content(bytes) == wanted {
                return content(bytes.to_vec(), kind);
            }
        }
    }
    let finding = Arc::clone(&node);
    let found = tokio::task::spawn_blocking(move || finding.desk.statement(&wanted)).await;
    match found {
        Ok(Ok(Some(statement))) => content(statement, "application/cose"),
        Ok(Ok(None)) => {
            error(&ApiError::of_status(404, "object_not_found", "this node has no such object"))
        }
        Ok(Err(failure)) => failed(&node, &failure),
        Err(failure) => failed(&node, &failure),
    }
}

/// Bytes that never change under this address.
fn content(bytes: Vec<u8>, kind: &'static str) -> Response {
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, immutable);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn failed(node: &ServerNode, failure: &dyn std::fmt::Display) -> Response {
    node.failed("reading a receipt", failure);
    error(&ApiError::internal())
}
