//! A node: models, receipts, access and limits, put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    access::Access, feedback::FeedbackDesk, http::keys::NodeKeyList, issue::Desk,
    listen::ListenLimits, metrics::Metrics, rehearsal::Rehearsal, shelf::Shelf, world::World,
};

/// KiB of text that are tokenized at a time: each byte may take some 300 bytes of memory.
pub const TOKENIZING_KIB: u32 = 4096;

/// Limits of a node on what strangers may ask of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a request's body.
    pub body_bytes_max: usize,
    /// Most requests that are answered or wait; the next one gets a 429.
    pub requests_max: u32,
    /// Most tokens of an answer.
    pub output_tokens_max: u32,
    /// Longest time of a request; then its answer ends as if its client had gone away.
    pub request_time_max: Duration,
    /// Most connections.
    pub connections_max: u32,
    /// Longest time in which a client may send the head of a request, and its body.
    pub receive_time_max: Duration,
    /// Longest time of a connection; its last request may still be answered.
    pub connection_time_max: Duration,
    /// Time that running answers get when the node stops.
    pub stop_time_max: Duration,
}

impl Default for Limits {
    /// 4 MiB, 256 requests, 4,096 tokens, 10 minutes, 1,024 connections of up to an hour, 30 seconds
    /// to send a request and as many to stop.
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            requests_max: 256,
            output_tokens_max: 4096,
            request_time_max: Duration::from_secs(600),
            connections_max: 1024,
            receive_time_max: Duration::from_secs(30),
            connection_time_max: Duration::from_secs(3600),
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
    /// Ratings.
    pub feedback: FeedbackDesk,
    /// Who is let in.
    pub access: Access,
    /// Whether it answers this machine alone, and no page in a browser.
    pub is_local: bool,
    /// Gives chats and completions without receipts: for the measurement of what receipts cost, and
    /// for nothing else. The program has no way to set it.
    pub dangerous_without_receipts: bool,
    /// Limits.
    pub limits: Limits,
    /// Clock and randomness.
    pub world: Arc<dyn World>,
    /// Its public keys, as it tells them.
    pub keys: NodeKeyList,
    /// Counts.
    pub metrics: Metrics,
    /// The folder with the log's published files.
    pub log_public: PathBuf,
    /// One permit for each request that may be answered or wait.
    pub places: Arc<Semaphore>,
    /// Tries grammars out.
    pub rehearsal: Arc<dyn Rehearsal>,
    /// One permit for each grammar that may be compiled at a time.
    pub compiling: Arc<Semaphore>,
    /// One permit for each KiB of text that may be tokenized at a time.
    pub tokenizing: Arc<Semaphore>,
    /// Where unexpected failures are told: the operator's log.
    pub tell: fn(&str),
}

impl ServerNode {
    /// The limits of its connections.
    #[must_use]
    pub const fn listen_limits(&self) -> ListenLimits {
        ListenLimits {
            connections_max: self.limits.connections_max,
            receive_time_max: self.limits.receive_time_max,
            connection_time_max: self.limits.connection_time_max,
            answer_time_max: self.limits.request_time_max,
            stop_time_max: self.limits.stop_time_max,
        }
    }

    /// Waits until every admitted request has its receipt; whether that was in time.
    pub async fn settle(&self) -> bool {
        let settled = self.places.acquire_many(self.limits.requests_max);
        tokio::time::timeout(self.limits.stop_time_max, settled).await.is_ok()
    }

    /// Waits until a text of that many bytes may be tokenized; what is returned is held meanwhile.
    pub(crate) async fn turn_to_tokenize(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(TOKENIZING_KIB);
        // It is never closed.
        Arc::clone(&self.tokenizing).acquire_many_owned(kib).await.ok()
    }

    /// Tells the operator of a failure that a client must not see.
    pub(crate) fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        (self.tell)(&format!("{what}: {error}"));
    }
}
