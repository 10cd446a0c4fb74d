//! The log's published files, as tlog-tiles readers expect them.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use super::{describe::Refusals, error};
use crate::{api::error::ApiError, node::ServerNode};

/// Most bytes of a published file: a full entry bundle of the longest entries.
const FILE_BYTES_MAX: u64 = 256 * (2 + 65_535);
const CHECKPOINT: &str = "checkpoint";

/// A checkpoint, tile or entry bundle by its path.
/// Read the log: `checkpoint`, `tile/...` and `tile/entries/...` of C2SP tlog-tiles.
#[utoipa::path(get, path = "/log/{*path}", tag = "log",
    params(("path" = String, Path, description = "Path within the log")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = Vec<u8>), Refusals))]
pub(super) async fn file(
    State(node): State<Arc<ServerNode>>,
    Path(path): Path<String>,
) -> Response {
    let missing = || error(&ApiError::of_status(404, "not_found", "the log has no such file"));
    if !is_public(&path) {
        return missing();
    }
    let full = node.log_public.join(&path);
    let read = tokio::task::spawn_blocking(move || {
        let size = std::fs::metadata(&full)?.len();
        if size > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        std::fs::read(&full)
    });
    let bytes = match read.await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(failure)) if is_absence(failure.kind()) => return missing(),
        Ok(Err(failure)) => return failed(&node, &failure),
        Err(failure) => return failed(&node, &failure),
    };
    let mut response = Body::from(bytes).into_response();
    let (kind, cache) = match path.as_str() {
        CHECKPOINT => ("text/plain; charset=utf-8", "no-cache"),
        _ => ("application/octet-stream", "public, max-age=31536000, immutable"),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// Whether an error says that there is no such file, and nothing worse.
const fn is_absence(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(kind, NotFound | NotADirectory | IsADirectory)
}

/// Whether a path is one of tlog-tiles: it then leads nowhere else.
fn is_public(path: &str) -> bool {
    let is_part = |part: &str| {
        let digits = part.strip_prefix('x').unwrap_or(part);
        let digits = digits.strip_suffix(".p").unwrap_or(digits);
        part == "entries"
            || ((1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match path.strip_prefix("tile/") {
        Some(rest) => rest.split('/').count() <= 12 && rest.split('/').all(is_part),
        None => path == CHECKPOINT,
    }
}

fn failed(node: &ServerNode, failure: &dyn std::fmt::Display) -> Response {
    node.failed("reading the log's files", failure);
    error(&ApiError::internal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_tiles_and_the_checkpoint_are_public() {
        for path in [
            "checkpoint",
            "tile/0/000",
            "tile/0/x001/x234/067",
            "tile/1/000.p/17",
            "tile/entries/000",
        ] {
            assert!(is_public(path), "{path}");
        }
        for path in [
            "",
            "tile",
            "tile/",
            "tile/..",
            "tile/0/../../x",
            "checkpoint/",
            "lock",
            "segment",
            "tile/0//000",
            "tile/0/%2e%2e",
            "tile/0/x",
            "tile/0/.p",
            "/checkpoint",
            "tile/0/000\0",
            "tile/0/0000",
        ] {
            assert!(!is_public(path), "{path}");
        }
    }
}
