//! Answers that come as events: each is verified on arrival, and only then passed on.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tally_core::commitment::Salt;
use tally_verifier::{ExpectedStream, StreamEnd, StreamVerifier};
use tokio::{sync::mpsc, time::timeout};

use super::{
    ANSWER_BYTES_MAX, Asking, Fault,
    receipts::{Carried, judge, keep, split_member},
    released,
};

/// Most bytes of an event, the last one apart.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Verified events that wait for a program that reads slowly.
const EVENTS_WAITING_MAX: usize = 64;
/// Code of a fault that is none: the program stopped reading.
const GONE: &str = "client/gone";
const DONE: &[u8] = b"[DONE]";

/// The `tally` member of an event. It has no further members: nobody would have verified them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    signature: String,
    #[serde(default)]
    choice: u32,
    #[serde(default)]
    tokens: Vec<u32>,
    head: Option<String>,
    salt: Option<String>,
    id: Option<String>,
    receipt: Option<String>,
    openings: Option<String>,
    #[serde(default)]
    receipts: Vec<Carried>,
}

/// Passes a stream on, event by event.
pub(super) fn answer(asking: Asking, answered: hyper::Response<Incoming>) -> Response {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    tokio::spawn(async move {
        let mut passing = Passing { asking, verifier: None, is_complete: false, sender };
        if let Err(fault) = passing.all(answered.into_body()).await {
            if fault.code != GONE {
                fault.tell(&passing.asking.proxy);
            }
            // The program learns why; it has no other event after this one.
            let event = [b"data: ", fault.body().to_string().as_bytes(), b"\n\n"].concat();
            let _ = passing.sender.send(event.into()).await;
        }
    });
    let events = stream::unfold(receiver, async |mut receiver| {
        let event: Bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(event), receiver))
    });
    released(Body::from_stream(events), "text/event-stream", &[])
}

/// A stream on its way through the proxy.
struct Passing {
    asking: Asking,
    verifier: Option<StreamVerifier>,
    /// Whether the receipts were verified.
    is_complete: bool,
    sender: mpsc::Sender<Bytes>,
}

impl Passing {
    async fn all(&mut self, mut body: Incoming) -> Result<(), Fault> {
        let mut pending: Vec<u8> = vec![];
        // Bytes in which no event ends: they are not looked at again when more arrive.
        let mut seen = 0;
        loop {
            while let Some(end) =
                pending[seen..].windows(2).position(|pair| pair == b"\n\n").map(|at| seen + at)
            {
                seen = 0;
                let rest = pending.split_off(end + 2);
                let event = std::mem::replace(&mut pending, rest);
                let data =
                    event.strip_prefix(b"data: ").and_then(|data| data.strip_suffix(b"\n\n"));
                let data = data.ok_or_else(|| Fault::new("stream/form", "an event has no data"))?;
                if data == DONE {
                    return self.done().await;
                }
                self.event(data).await?;
            }
            seen = pending.len().saturating_sub(1);
            let limit = if self.verifier.is_some() { ANSWER_BYTES_MAX } else { EVENT_BYTES_MAX };
            if pending.len() > limit {
                return Err(Fault::new("stream/form", "an event is too long"));
            }
            let frame = timeout(self.asking.proxy.wait_max, body.frame()).await;
            let cut = || Fault::new("stream/cut", "upstream's stream ended before its receipt");
            match frame {
                Err(_) => {
                    return Err(Fault::new("upstream/timeout", "upstream stopped in its answer"));
                }
                Ok(None | Some(Err(_))) => return Err(cut()),
                Ok(Some(Ok(frame))) => {
                    pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
            }
        }
    }

    async fn done(&mut self) -> Result<(), Fault> {
        if !self.is_complete {
            return Err(Fault::new("stream/cut", "upstream's stream ended before its receipt"));
        }
        self.release(b"[DONE]").await
    }

    /// Verifies one event and passes it on.
    async fn event(&mut self, data: &[u8]) -> Result<(), Fault> {
        if self.is_complete {
            return Err(Fault::new("stream/form", "an event came after the receipts"));
        }
        let unsigned = || Fault::new("stream/unsigned", "an event has no signature");
        let Some((payload, member)) = split_member(data) else {
            return Err(self.upstream_error(data).unwrap_or_else(unsigned));
        };
        let member: Result<Member, _> = serde_json::from_slice(member);
        let Ok(member) = member else {
            return Err(self.upstream_error(data).unwrap_or_else(unsigned));
        };
        self.begin(&member)?;
        let verifier = self.verifier.as_mut().ok_or_else(unsigned)?;
        let signature = Base64UrlUnpadded::decode_vec(&member.signature).ok();
        let signature: Option<[u8; 64]> = signature.and_then(|bytes| bytes.try_into().ok());
        verifier
            .event(&payload, member.choice, &member.tokens, &signature.ok_or_else(unsigned)?)
            .map_err(|rejection| Fault::new(rejection.code(), rejection.to_string()))?;
        match (member.id, member.receipt, member.openings) {
            (Some(id), Some(receipt), Some(openings)) => {
                let carried = Carried { id, receipt, openings, receipts: member.receipts };
                self.end(&carried).await?;
            }
            (None, None, None) if member.receipts.is_empty() => {}
            _ => return Err(Fault::new("receipt/missing", "an event has part of a receipt")),
        }
        self.release(data).await
    }

    /// Verifies the head, which comes with the first event and no other.
    fn begin(&mut self, member: &Member) -> Result<(), Fault> {
        let (Some(head), Some(salt)) = (&member.head, &member.salt) else { return Ok(()) };
        if self.verifier.is_some() {
            return Err(Fault::new("stream/form", "a stream has two heads"));
        }
        let unreadable = || Fault::new("stream/head", "the stream's head is unreadable");
        let head = Base64UrlUnpadded::decode_vec(head).map_err(|_| unreadable())?;
        let salt = Base64UrlUnpadded::decode_vec(salt).ok();
        let salt: [u8; 32] = salt.and_then(|salt| salt.try_into().ok()).ok_or_else(unreadable)?;
        let expected = ExpectedStream {
            nonce: Some(&self.asking.nonce),
            request: &self.asking.body,
            salt: Salt::from_bytes(salt),
        };
        let now = self.asking.now();
        let verifier = StreamVerifier::start(&head, &self.asking.proxy.policy, &expected, now)
            .map_err(|rejection| Fault::new(rejection.code(), rejection.to_string()))?;
        if verifier.head().ids.len() != self.asking.choices as usize {
            let (found, expected) = (verifier.head().ids.len(), self.asking.choices);
            let text = format!("the stream announces {found} receipts for {expected} answers");
            return Err(Fault::new("receipt/count", text));
        }
        if verifier.head().kind != self.asking.kind {
            return Err(Fault::new(
                "receipt/kind",
                "the stream is of another kind than the request",
            ));
        }
        self.verifier = Some(verifier);
        Ok(())
    }

    /// Judges the receipts against everything that was passed on and the event that is still held.
    async fn end(&mut self, carried: &Carried) -> Result<(), Fault> {
        let held = judge(&self.asking, carried, None)?;
        let receipts: Vec<_> = held.iter().map(|held| &held.verified).collect();
        let unsigned = || Fault::new("stream/unsigned", "the receipts came before the head");
        let verifier = self.verifier.as_ref().ok_or_else(unsigned)?;
        let end = verifier
            .finish(&receipts)
            .map_err(|rejection| Fault::new(rejection.code(), rejection.to_string()))?;
        if let StreamEnd::Refused { code, .. } = end {
            return Err(Fault::new("upstream/refused", format!("the node refused: {code}")));
        }
        keep(&self.asking, &held).await?;
        self.is_complete = true;
        Ok(())
    }

    /// An error that upstream itself tells in the stream: it ends the stream.
    fn upstream_error(&self, data: &[u8]) -> Option<Fault> {
        let told: serde_json::Value = serde_json::from_slice(data).ok()?;
        let message = told.get("error")?.get("message")?.as_str()?.to_owned();
        Some(Fault::new("upstream/failed", format!("upstream failed in its answer: {message}")))
    }

    async fn release(&self, data: &[u8]) -> Result<(), Fault> {
        let event = [b"data: ", data, b"\n\n"].concat();
        let gone = |_| Fault::new(GONE, "the program went away");
        self.sender.send(event.into()).await.map_err(gone)
    }
}
