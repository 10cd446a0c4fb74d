//! A node: models, receipts, access and limits, put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{access::Access, issue::Desk, metrics::Metrics, shelf::Shelf, world::World};

/// Limits of a node on what strangers may ask of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a request's body.
    pub body_bytes_max: usize,
    /// Most requests that are answered or wait; the next one gets a 429.
    pub requests_max: usize,
    /// Most tokens of an answer.
    pub output_tokens_max: u32,
    /// Longest time of a request; then its answer ends as if its client had gone away.
    pub request_time_max: Duration,
    /// Most connections.
    pub connections_max: usize,
    /// Longest time in which a client may send the head of a request, and its body.
    pub receive_time_max: Duration,
    /// Time that running answers get when the node stops.
    pub stop_time_max: Duration,
}

impl Default for Limits {
    /// 4 MiB, 256 requests, 4,096 tokens, 10 minutes, 1,024 connections, 30 seconds, 30 seconds.
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            requests_max: 256,
            output_tokens_max: 4096,
            request_time_max: Duration::from_secs(600),
            connections_max: 1024,
            receive_time_max: Duration::from_secs(30),
            stop_time_max: Duration::from_secs(30),
        }
    }
}

/// Everything that requests share.
#[derive(Debug)]
pub struct ServerNode {
    /// Models.
    pub shelf: Shelf,
    /// Receipts.
    pub desk: Desk,
    /// Who is let in.
    pub access: Access,
    /// Limits.
    pub limits: Limits,
    /// Clock and randomness.
    pub world: Arc<dyn World>,
    /// Counts.
    pub metrics: Metrics,
    /// The folder with the log's published files.
    pub log_public: PathBuf,
    /// One permit for each request that may be answered or wait.
    pub places: Arc<Semaphore>,
    /// Where unexpected failures are told: the operator's log.
    pub tell: fn(&str),
}

impl ServerNode {
    /// Tells the operator of a failure that a client must not see.
    pub(crate) fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        (self.tell)(&format!("{what}: {error}"));
    }
}
