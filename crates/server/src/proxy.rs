//! A proxy for programs that cannot verify: nothing reaches them before it was verified.
//!
//! It speaks the same API as a node. Each request goes upstream with a nonce; the answer comes back
//! with a receipt, which is judged under the user's policy against this very request, nonce and
//! answer. What does not hold is an error to the program, and the answer is never shown.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http_body_util::Full;
use hyper::body::Incoming;
use tally_core::receipt::{Bundle, Kind};
use tally_verifier::{Policy, UnixTime};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    api::{asked::Asked, completion::EmbeddingRequest, error::ApiError, parse::parse},
    client::{self, Connections, ReadError},
    http::{NONCE_HEADER, RECEIPT_HEADER, error, json, nonce_of, received},
    local::require_local,
    world::World,
};

mod receipts;
mod stream;
mod whole;

/// Longest time in which a request's body may come.
const RECEIVE_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a nonce that the proxy chooses.
const NONCE_BYTES: usize = 16;
/// Most bytes of an answer that is no stream, its receipt included.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Most bytes of an upstream error that is read.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// Where verified receipts are kept.
pub trait Keeper: fmt::Debug + Send + Sync + 'static {
    /// Keeps a receipt with all its openings, durably.
    ///
    /// # Errors
    /// If it cannot, in words for the user.
    fn keep(&self, bundle: &Bundle) -> Result<(), String>;
}

/// What a proxy works with.
#[derive(Debug)]
pub struct Proxy {
    /// Where requests go: scheme, host, and a path before `/v1` if there is one.
    pub upstream: Uri,
    /// Whom the user trusts.
    pub policy: Policy,
    /// Where receipts are kept.
    pub keeper: Arc<dyn Keeper>,
    /// Clock and randomness.
    pub world: Arc<dyn World>,
    /// Whether it answers this machine alone, and no page in a browser.
    pub is_local: bool,
    /// Most bytes of a request's body.
    pub body_bytes_max: usize,
    /// Longest time until upstream begins to answer, and between two parts of an answer.
    pub wait_max: Duration,
    /// Where it is told what was withheld, without the words: the user's log.
    pub tell: fn(&str),
    client: Connections,
}

/// Why a proxy cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The upstream's address is of no use.
    #[error("upstream `{found}` is no address: expected http://HOST:PORT or https://HOST")]
    Upstream {
        /// What was given.
        found: String,
    },
    /// The system has no certificates.
    #[error("the system's certificates cannot be read: {0}")]
    Certificates(#[from] std::io::Error),
}

/// Settings of a proxy.
#[derive(Debug)]
pub struct Settings {
    /// Where requests go.
    pub upstream: String,
    /// Whom the user trusts.
    pub policy: Policy,
    /// Where receipts are kept.
    pub keeper: Arc<dyn Keeper>,
    /// Clock and randomness.
    pub world: Arc<dyn World>,
    /// Whether it answers this machine alone, and no page in a browser.
    pub is_local: bool,
    /// Most bytes of a request's body.
    pub body_bytes_max: usize,
    /// Longest time until upstream begins to answer, and between two parts of an answer.
    pub wait_max: Duration,
    /// Where it is told what was withheld, without the words: the user's log.
    pub tell: fn(&str),
}

impl Proxy {
    /// Makes a proxy.
    ///
    /// # Errors
    /// An upstream address of no use, or a system without certificates.
    pub fn new(settings: Settings) -> Result<Self, ProxyError> {
        let Settings { upstream, policy, keeper, world, is_local, body_bytes_max, wait_max, tell } =
            settings;
        let refused = || ProxyError::Upstream { found: upstream.clone() };
        let upstream = client::base_of(&upstream).ok_or_else(refused)?;
        let client = client::connections()?;
        Ok(Self {
            upstream,
            policy,
            keeper,
            world,
            is_local,
            body_bytes_max,
            wait_max,
            tell,
            client,
        })
    }
}

/// A proxy's routes.
pub fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completion))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(unverified))
        .route("/v1/models/{model}", get(unverified))
        .route("/healthz", get(async || json(200, br#"{"status":"ok"}"#.to_vec())))
        .fallback(async || {
            error(&ApiError::of_status(
                404,
                "not_found",
                "the proxy passes nothing on at this address",
            ))
        })
        .layer(from_fn_with_state(Arc::clone(&proxy), receive))
        .layer(DefaultBodyLimit::disable())
        .with_state(proxy)
}

/// Receives a request's body before anything is done with it.
async fn receive(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    if proxy.is_local
        && let Err(refusal) = require_local(request.headers())
    {
        return error(&refusal);
    }
    match received(request, RECEIVE_TIME_MAX, proxy.body_bytes_max).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => error(&refusal),
    }
}

/// A request on its way through the proxy.
#[derive(Clone, Debug)]
struct Asking {
    proxy: Arc<Proxy>,
    body: Bytes,
    nonce: Vec<u8>,
    kind: Kind,
    /// How many receipts there must be.
    choices: u32,
    is_stream: bool,
}

/// What an upstream did that a proxy must not pass on: with a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    code: String,
    message: String,
}

impl Fault {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// The error that the program gets: always a 502.
    fn body(&self) -> serde_json::Value {
        serde_json::json!({
            "error": {
                "message": self.text(),
                "type": "verification_error",
                "param": null,
                "code": self.code,
            }
        })
    }

    fn text(&self) -> String {
        match self.code.as_str() {
            "upstream/unreachable" | "upstream/timeout" => {
                format!("the proxy has no answer: {}", self.message)
            }
            _ => format!("the proxy withholds this answer: {}", self.message),
        }
    }

    /// Tells the user of it.
    fn tell(&self, proxy: &Proxy) {
        (proxy.tell)(&format!("{} ({})", self.text(), self.code));
    }

    fn response(&self, proxy: &Proxy) -> Response {
        self.tell(proxy);
        json(502, self.body().to_string().into_bytes())
    }
}

async fn chat(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked = |body: &Bytes| Asked::parse_chat(body).map(|a| (a.choices(), a.stream.is_some()));
    pass(proxy, Kind::Chat, headers, body, asked).await
}

async fn completion(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked =
        |body: &Bytes| Asked::parse_completion(body).map(|a| (a.choices(), a.stream.is_some()));
    pass(proxy, Kind::Completion, headers, body, asked).await
}

async fn embeddings(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked = |body: &Bytes| parse::<EmbeddingRequest>(body).map(|_| (1, false));
    pass(proxy, Kind::Embedding, headers, body, asked).await
}

/// Passes a request on and verifies what comes back.
async fn pass(
    proxy: Arc<Proxy>,
    kind: Kind,
    headers: HeaderMap,
    body: Bytes,
    asked: impl FnOnce(&Bytes) -> Result<(u32, bool), ApiError>,
) -> Response {
    let prepared = asked(&body).and_then(|(choices, is_stream)| {
        let nonce = nonce_of(&headers)?.unwrap_or_else(|| {
            let mut nonce = vec![0; NONCE_BYTES];
            proxy.world.random(&mut nonce);
            nonce
        });
        Ok(Asking { proxy: Arc::clone(&proxy), body, nonce, kind, choices, is_stream })
    });
    let asking = match prepared {
        Ok(asking) => asking,
        Err(refusal) => return error(&refusal),
    };
    let path = match kind {
        Kind::Chat => "/v1/chat/completions",
        Kind::Completion => "/v1/completions",
        Kind::Embedding => "/v1/embeddings",
    };
    let answered = match send(&asking, path, &headers).await {
        Ok(answered) => answered,
        Err(fault) => return fault.response(&asking.proxy),
    };
    let kind = answered.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
    match (answered.status(), kind.as_str(), asking.is_stream) {
        (StatusCode::OK, "application/json", false) => whole::answer(&asking, answered).await,
        (StatusCode::OK, "text/event-stream", true) => stream::answer(asking, answered),
        (StatusCode::OK, _, _) => {
            let form = if asking.is_stream { "text/event-stream" } else { "application/json" };
            let text = format!("upstream answers with `{kind}`, expected `{form}`");
            Fault::new("upstream/form", text).response(&asking.proxy)
        }
        (_, _, _) => passed_error(&asking.proxy, answered).await,
    }
}

async fn send(
    asking: &Asking,
    path: &str,
    headers: &HeaderMap,
) -> Result<hyper::Response<Incoming>, Fault> {
    let proxy = &asking.proxy;
    let mut request = hyper::Request::builder()
        .method(Method::POST)
        .uri(upstream_uri(&proxy.upstream, path)?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(HeaderName::from_static(NONCE_HEADER), hex::encode(&asking.nonce));
    if let Some(key) = headers.get(header::AUTHORIZATION) {
        request = request.header(header::AUTHORIZATION, key);
    }
    let request = request.body(Full::new(asking.body.clone()));
    let request = request.map_err(|error| Fault::new("upstream/request", error.to_string()))?;
    reach(proxy, request).await
}

async fn reach(
    proxy: &Proxy,
    request: hyper::Request<Full<Bytes>>,
) -> Result<hyper::Response<Incoming>, Fault> {
    match timeout(proxy.wait_max, proxy.client.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let reason = client::told(&error);
            let text = format!("upstream {} cannot be reached: {reason}", proxy.upstream);
            Err(Fault::new("upstream/unreachable", text))
        }
        Err(_) => {
            let seconds = proxy.wait_max.as_secs();
            let text = format!("upstream did not begin to answer within {seconds} s");
            Err(Fault::new("upstream/timeout", text))
        }
    }
}

fn upstream_uri(upstream: &Uri, path: &str) -> Result<Uri, Fault> {
    client::address(upstream, path)
        .map_err(|error| Fault::new("upstream/request", error.to_string()))
}

/// The whole body of an answer, up to a limit and within the time for each part.
async fn read(proxy: &Proxy, body: Incoming, limit: usize) -> Result<Bytes, Fault> {
    client::read(body, limit, proxy.wait_max).await.map_err(|error| {
        let code = match &error {
            ReadError::Timeout => "upstream/timeout",
            ReadError::Cut(_) => "upstream/cut",
        };
        Fault::new(code, error.to_string())
    })
}

/// An upstream's error: its words are passed on as such, and nothing else of it.
async fn passed_error(proxy: &Proxy, answered: hyper::Response<Incoming>) -> Response {
    let status = answered.status();
    let retry = answered.headers().get(header::RETRY_AFTER).cloned();
    let retry = retry.filter(|retry| retry.as_bytes().iter().all(u8::is_ascii_digit));
    let bytes = match read(proxy, answered.into_body(), ERROR_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.response(proxy),
    };
    let parsed: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let told = parsed.as_ref().and_then(|body| body.get("error")).filter(|error| error.is_object());
    let (true, Some(told)) = (status.is_client_error() || status.is_server_error(), told) else {
        let text = format!("upstream answers with status {status} and no error");
        return Fault::new("upstream/form", text).response(proxy);
    };
    // Only what an error has: an answer must not come along with it.
    let word = |name: &str| told.get(name).filter(|word| word.is_string());
    let body = serde_json::json!({ "error": {
        "message": word("message"),
        "type": word("type"),
        "param": word("param"),
        "code": word("code"),
    }});
    let mut response = marked_unverified(json(status.as_u16(), body.to_string().into_bytes()));
    if let Some(retry) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, retry);
    }
    response
}

/// What has no receipt and decides nothing, such as the list of models; it is marked as unverified.
async fn unverified(State(proxy): State<Arc<Proxy>>, uri: Uri, headers: HeaderMap) -> Response {
    let asking = async {
        let uri = upstream_uri(&proxy.upstream, uri.path())?;
        let mut upstream = hyper::Request::builder().method(Method::GET).uri(uri);
        if let Some(key) = headers.get(header::AUTHORIZATION) {
            upstream = upstream.header(header::AUTHORIZATION, key);
        }
        let upstream = upstream.body(Full::default());
        let upstream =
            upstream.map_err(|error| Fault::new("upstream/request", error.to_string()))?;
        let answered = reach(&proxy, upstream).await?;
        if answered.status() != StatusCode::OK {
            return Ok(passed_error(&proxy, answered).await);
        }
        let bytes = read(&proxy, answered.into_body(), ERROR_BYTES_MAX).await?;
        Ok::<_, Fault>(marked_unverified(json(200, bytes.to_vec())))
    };
    asking.await.unwrap_or_else(|fault| fault.response(&proxy))
}

/// Says of an answer that nothing in it was verified.
fn marked_unverified(mut response: Response) -> Response {
    response.headers_mut().insert("tally-verified", HeaderValue::from_static("nothing"));
    response
}

impl Asking {
    fn now(&self) -> UnixTime {
        UnixTime::from_ms(self.proxy.world.now_ms())
    }
}

/// An answer whose receipts were verified.
fn released(body: Body, kind: &'static str, ids: &[String]) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    match HeaderValue::from_str(&ids.join(", ")) {
        Ok(ids) if !ids.is_empty() => drop(headers.insert(RECEIPT_HEADER, ids)),
        // A stream's ids are known at its end.
        _ => {}
    }
    response
}
