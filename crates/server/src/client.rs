//! Asking nodes over HTTP: addresses, connections, and bodies of bounded size and time.

use std::{io, sync::Arc, time::Duration};

use axum::http::{StatusCode, Uri, header, uri::PathAndQuery};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use thiserror::Error;
use tokio::time::timeout;

/// Most bytes of an error's body that is read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// How many times longer than a wait the whole of a small answer may take.
const TOTAL_TIMES: u32 = 4;

/// Connections to nodes, kept open between requests.
pub(crate) type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Limits of what a node may send.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most bytes.
    pub bytes_max: usize,
    /// Longest time until it begins to answer, and between two parts of an answer.
    pub wait_max: Duration,
}

/// Why a node gives nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is of no use.
    #[error("`{0}` is no address of a node: expected http://HOST:PORT or https://HOST")]
    Address(String),
    /// The system's certificates cannot be read.
    #[error("the system's certificates cannot be read: {0}")]
    Certificates(#[from] io::Error),
    /// Nobody answers there.
    #[error("{node} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// It answers with an error.
    #[error("{node} answers with status {status}: {message}")]
    Status {
        /// The node.
        node: String,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Its answer has no end.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a body was not read to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The next part did not come.
    #[error("upstream stopped in its answer")]
    Timeout,
    /// It is cut off, or above the limit.
    #[error("upstream's answer cannot be read: {0}")]
    Cut(String),
}

/// Gets what a node has under a path.
///
/// # Errors
/// An address of no use, a node that does not answer with 200, or an answer beyond the limits.
pub async fn fetch(node: &str, path: &str, limits: FetchLimits) -> Result<Vec<u8>, FetchError> {
    let request = hyper::Request::get(whole(node, path)?)
        .header(header::ACCEPT, "application/cbor, application/json;q=0.5");
    ask(node, request.body(Full::default()), limits).await
}

/// Sends a node JSON under a path, with an API key if it wants one, and gets what it answers.
///
/// # Errors
/// As [`fetch`], and a key that cannot stand in a header.
pub async fn post(
    node: &str,
    path: &str,
    key: Option<&str>,
    body: Vec<u8>,
    limits: FetchLimits,
) -> Result<Vec<u8>, FetchError> {
    let mut request =
        hyper::Request::post(whole(node, path)?).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    ask(node, request.body(Full::from(body)), limits).await
}

fn whole(node: &str, path: &str) -> Result<Uri, FetchError> {
    let base = base_of(node);
    base.and_then(|base| address(&base, path).ok()).ok_or_else(|| FetchError::Address(node.into()))
}

async fn ask(
    node: &str,
    request: Result<hyper::Request<Full<Bytes>>, axum::http::Error>,
    limits: FetchLimits,
) -> Result<Vec<u8>, FetchError> {
    let unreachable = |reason: String| FetchError::Unreachable { node: node.into(), reason };
    let request = request.map_err(|error| unreachable(error.to_string()))?;
    let asking = connections()?;
    let answered = match timeout(limits.wait_max, asking.request(request)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(unreachable(told(&error))),
        Err(_) => {
            let seconds = limits.wait_max.as_secs();
            return Err(unreachable(format!("it did not begin to answer within {seconds} s")));
        }
    };
    let status = answered.status();
    if status != StatusCode::OK {
        let body = read(answered.into_body(), ERROR_BYTES_MAX, limits.wait_max).await?;
        let parsed: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let message = parsed.as_ref().and_then(|body| body.pointer("/error/message")?.as_str());
        let message = message.unwrap_or("it does not say why").to_owned();
        return Err(FetchError::Status { node: node.into(), status: status.as_u16(), message });
    }
    let reading = read(answered.into_body(), limits.bytes_max, limits.wait_max);
    let whole = timeout(TOTAL_TIMES * limits.wait_max, reading).await;
    Ok(whole.map_err(|_| ReadError::Timeout)??.into())
}

/// An error with its causes: the outermost one says little.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Connections by HTTP and HTTPS, with the system's certificates.
pub(crate) fn connections() -> io::Result<Connections> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider.as_ref().clone())?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// The address of a node: scheme, host, and a path before `/v1` if there is one.
pub(crate) fn base_of(text: &str) -> Option<Uri> {
    let parsed: Uri = text.trim_end_matches('/').parse().ok()?;
    let is_known = matches!(parsed.scheme_str(), Some("http" | "https"));
    (is_known && parsed.authority().is_some() && parsed.query().is_none()).then_some(parsed)
}

/// The address of a path of a node.
pub(crate) fn address(node: &Uri, path: &str) -> Result<Uri, axum::http::Error> {
    let base = node.path().trim_end_matches('/');
    let base = base.strip_suffix("/v1").unwrap_or(base);
    let mut parts = node.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{base}{path}"))?);
    Ok(Uri::from_parts(parts)?)
}

/// The whole of a body, up to a limit and within the time for each part.
pub(crate) async fn read(
    body: Incoming,
    limit: usize,
    wait_max: Duration,
) -> Result<Bytes, ReadError> {
    // One deadline for all parts would depend on the answer's length.
    let mut body = Box::pin(Limited::new(body, limit));
    let mut bytes = vec![];
    loop {
        let Ok(frame) = timeout(wait_max, body.frame()).await else {
            return Err(ReadError::Timeout);
        };
        match frame {
            None => return Ok(bytes.into()),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(error)) => return Err(ReadError::Cut(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nodes_are_told_from_other_texts() {
        for text in ["http://127.0.0.1:8080", "https://node.example/", "https://a.example/x/v1"] {
            assert!(base_of(text).is_some(), "{text}");
        }
        for text in ["", "node.example", "ftp://a.example", "http://", "http://a.example/?x=1"] {
            assert!(base_of(text).is_none(), "{text}");
        }
        let base = base_of("https://a.example/x/v1/").unwrap();
        assert_eq!(address(&base, "/v1/keys").unwrap(), "https://a.example/x/v1/keys");
    }
}
