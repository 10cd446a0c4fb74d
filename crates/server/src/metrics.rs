//! What the node counts, for Prometheus. Nothing in it depends on what was said.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tally_engine::batch::{Batch, BatchCounts};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// All counts of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by endpoint and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Receipts issued.
    pub receipts: Counter,
    /// Requests that are being answered.
    pub running: Gauge<i64, AtomicI64>,
    /// Seconds from a request to its first token.
    pub first_token_seconds: Histogram,
    /// Seconds that it takes to issue a receipt.
    pub issue_seconds: Histogram,
    tokens: Family<TokenLabels, Gauge<i64, AtomicI64>>,
    cache_bytes: Family<ModelLabels, Gauge<i64, AtomicI64>>,
}

/// Endpoint and status of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route, such as `/v1/chat/completions`.
    pub endpoint: String,
    /// The HTTP status.
    pub status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// What one model's thread has computed.
#[derive(Debug, Default)]
pub struct EngineCounts {
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    output_tokens: AtomicU64,
    cache_bytes: AtomicU64,
}

impl EngineCounts {
    /// Takes over the counts of a batch.
    pub fn note(&self, batch: &Batch) {
        use std::sync::atomic::Ordering::Relaxed;
        let BatchCounts { prompt_tokens, cached_tokens, output_tokens, .. } = batch.counts();
        self.prompt_tokens.store(prompt_tokens, Relaxed);
        self.cached_tokens.store(cached_tokens, Relaxed);
        self.output_tokens.store(output_tokens, Relaxed);
        self.cache_bytes.store(batch.cache_bytes(), Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tally");
        let this = Self {
            requests: Family::default(),
            receipts: Counter::default(),
            running: Gauge::default(),
            first_token_seconds: Histogram::new(SECONDS),
            issue_seconds: Histogram::new(SECONDS),
            tokens: Family::default(),
            cache_bytes: Family::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests by endpoint and status", this.requests.clone());
        registry.register("receipts", "Receipts issued", this.receipts.clone());
        registry.register("running", "Requests being answered", this.running.clone());
        let first = this.first_token_seconds.clone();
        registry.register("first_token_seconds", "From a request to its first token", first);
        let issue = this.issue_seconds.clone();
        registry.register("issue_seconds", "From the last token to a durable receipt", issue);
        registry.register("tokens", "Tokens by model and kind", this.tokens.clone());
        registry.register("cache_bytes", "Bytes of keys and values", this.cache_bytes.clone());
        Self { registry, ..this }
    }
}

impl Metrics {
    /// Counts a finished request.
    pub fn count(&self, endpoint: &str, status: u16) {
        let labels = RequestLabels { endpoint: endpoint.into(), status: status.into() };
        self.requests.get_or_create(&labels).inc();
    }

    /// The text that Prometheus reads; `models` are those that are loaded.
    #[must_use]
    pub fn encode<'a>(&self, models: impl Iterator<Item = (&'a str, &'a EngineCounts)>) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        for (model, counts) in models {
            let set = |kind, value: &AtomicU64| {
                let labels = TokenLabels { model: model.into(), kind };
                let value = i64::try_from(value.load(Relaxed)).unwrap_or(i64::MAX);
                self.tokens.get_or_create(&labels).set(value);
            };
            set("prompt", &counts.prompt_tokens);
            set("cached", &counts.cached_tokens);
            set("output", &counts.output_tokens);
            let labels = ModelLabels { model: model.into() };
            let bytes = i64::try_from(counts.cache_bytes.load(Relaxed)).unwrap_or(i64::MAX);
            self.cache_bytes.get_or_create(&labels).set(bytes);
        }
        let mut text = String::new();
        // A String takes whatever is written.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
