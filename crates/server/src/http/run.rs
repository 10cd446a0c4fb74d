//! One admitted request, from its tokens to its receipts.
//!
//! It runs on its own, whatever becomes of the connection: a client that goes away cancels the
//! computation, and what was computed until then still gets its receipt.

use std::{future::pending, sync::Arc, time::Instant};

use axum::body::Bytes;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use futures_util::future::try_join_all;
use serde::Serialize;
use tally_core::computation::{FinishReason, TokenId};
use tally_engine::{
    ARITHMETIC, EngineError,
    batch::{Task, TaskEvent, TokenLogprobs},
    generate::{CHUNK_LEN, GenerateRequest},
};
use tally_issuer::{Admission, Draft, Prepared, StreamSigner, choose_seed, refuse};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout_at},
};

use super::complete::{Admitted, COMMITTED_BYTES_MAX, Reply, ReplyBody};
use crate::{
    api::{asked::Asked, error::ApiError, response::ReceiptObject},
    issue::{Receipt, object_of, with_member},
    node::ServerNode,
    plan::{Plan, PlannedTask, Refused, plan, refused_controls, seed_of},
    respond::{Frame, Responder},
    shelf::Loaded,
    worker::{Listener, Running},
};

/// Events that wait for a client that reads slowly.
const EVENTS_WAITING_MAX: usize = 64;
/// Most bytes of what a receipt commits to, with room for the last events: then an answer is cut off.
const RESPONSE_BYTES_MAX: usize = (8 << 20) - (1 << 16);
/// The last event of every stream.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Answers an admitted request.
pub(super) async fn answer(admitted: Admitted, reply: oneshot::Sender<Reply>) {
    let node = Arc::clone(&admitted.node);
    node.metrics.running.inc();
    Box::pin(answer_counted(admitted, reply)).await;
    node.metrics.running.dec();
}

async fn answer_counted(admitted: Admitted, mut reply: oneshot::Sender<Reply>) {
    let Admitted { node, loaded, asked, mut admissions, held } = admitted;
    let started = Instant::now();
    let planned = tokio::select! {
        biased;
        () = reply.closed() => Err(abandoned("its client left")),
        () = sleep(node.limits.request_time_max) => Err(abandoned("its time was up")),
        planned = planned(&node, &loaded, &asked, &admissions[0], held.0.prefix_scope()) => planned,
    };
    let (plan, computed) = match planned {
        Ok(planned) => planned,
        Err(refused) => return turn_away(&node, admissions.remove(0), refused, reply).await,
    };
    let frame = Frame {
        id: admissions[0].id,
        time_ms: admissions[0].time_ms,
        model_root: loaded.model.root(),
        prompt_tokens: plan.prompt_tokens,
    };
    let ids = admissions.iter().map(|admission| hex::encode(admission.id)).collect();
    let (events, received) = mpsc::unbounded_channel();
    let has_receipts = !node.dangerous_without_receipts;
    let signed = asked.stream.filter(|_| has_receipts);
    let signer = signed.zip(computed.first()).map(|(_, (_, prepared))| {
        let admissions: Vec<&Admission> = admissions.iter().collect();
        node.desk.node().stream(&admissions, prepared)
    });
    let signer = match signer.transpose() {
        Ok(signer) => signer,
        Err(error) => return node.failed("signing a stream's head", &error),
    };
    let mut choices = vec![];
    for (index, (admission, (task, prepared))) in (0..).zip(admissions.into_iter().zip(computed)) {
        let listener = Listener { choice: index, events: events.clone() };
        let draft = has_receipts.then(|| Draft::new(admission, prepared)).transpose();
        match draft {
            Ok(draft) => {
                let running = loaded.worker.generate(task, listener);
                choices.push(Choice { draft, running, is_cut: false, finish: None });
            }
            Err(error) => return node.failed("drafting a receipt", &error),
        }
    }
    drop(events);
    let responder = Responder::new(Arc::clone(&asked), Arc::clone(&loaded.language), &frame);
    let run = Run {
        signer,
        node,
        asked,
        responder,
        choices,
        lines: vec![],
        size: 0,
        is_full: false,
        held: None,
        started,
        is_begun: false,
        ids,
    };
    run.go(received, reply).await;
}

/// What each choice computes, and what its receipt says of it.
type Computations = (Plan, Vec<(Task, Prepared)>);

/// What became of a request that ended before anything was computed for it.
fn abandoned(why: &str) -> Refused {
    let text = format!("the request was given up before its turn came: {why}");
    Refused { code: "request/cancelled", error: ApiError::of_status(503, "overloaded", text) }
}

/// Plans a request when its turn has come, on a thread where that holds up nobody.
async fn planned(
    node: &Arc<ServerNode>,
    loaded: &Arc<Loaded>,
    asked: &Arc<Asked>,
    admission: &Admission,
    prefix_scope: u64,
) -> Result<Computations, Refused> {
    // Compiling grammars must not take the threads and the memory that everybody else needs.
    let compiling = match asked.controls.grammar {
        Some(_) => Arc::clone(&node.compiling).acquire_owned().await.ok(),
        None => None,
    };
    let tokenizing = node.turn_to_tokenize(admission.body.len()).await;
    let planning = {
        let nonce = admission.nonce.clone();
        let (node, loaded, asked) = (Arc::clone(node), Arc::clone(loaded), Arc::clone(asked));
        tokio::task::spawn_blocking(move || {
            // Held for as long as it computes, whoever waits for it.
            let _turns = (compiling, tokenizing);
            computations(&node, &loaded, &asked, nonce.as_deref(), prefix_scope)
        })
    };
    planning.await.unwrap_or_else(|error| {
        node.failed("planning a request", &error);
        Err(Refused { code: "server/internal", error: ApiError::internal() })
    })
}

/// Plans a request down to the tasks of its choices; it may take a while.
fn computations(
    node: &ServerNode,
    loaded: &Loaded,
    asked: &Asked,
    nonce: Option<&[u8]>,
    prefix_scope: u64,
) -> Result<Computations, Refused> {
    let limit = node.limits.output_tokens_max;
    let plan = plan(asked, &loaded.model, &loaded.language, limit)?;
    if let Some(grammar) = &asked.controls.grammar {
        let rehearsed = node.rehearsal.rehearse(grammar);
        rehearsed
            .and_then(|rehearsed| rehearsed.require_for(plan.tasks.len()))
            .map_err(|reason| refused_controls(&reason, asked))?;
    }
    let mut computed = vec![];
    for PlannedTask { input, parameters } in &plan.tasks {
        let client = asked.seed.map(seed_of);
        let mut issuer = [0; 32];
        node.world.random(&mut issuer);
        let (seed, seed_source) = choose_seed(client, nonce, input, issuer);
        let request = GenerateRequest {
            input: input.clone(),
            parameters: parameters.clone(),
            controls: asked.controls.clone(),
            seed,
            chunk_len: CHUNK_LEN,
            logprobs: asked.logprobs,
        };
        let prepared = Prepared {
            arithmetic: ARITHMETIC.into(),
            model_root: loaded.model.root(),
            input: input.clone(),
            parameters: parameters.clone(),
            controls: asked.controls.clone(),
            seed,
            seed_source,
            preparation: plan.preparation.clone(),
        };
        let task = Task::with_language(request, &loaded.language)
            .map_err(|error| refused_controls(&error, asked))?;
        computed.push((task.in_scope(prefix_scope), prepared));
    }
    Ok((plan, computed))
}

/// Gives an admitted request that has no answer its receipt.
async fn turn_away(
    node: &ServerNode,
    admission: Admission,
    refused: Refused,
    reply: oneshot::Sender<Reply>,
) {
    let (status, body, receipts) = match refuse(admission, refused.code) {
        Ok((statement, openings)) => match node.desk.issue(statement, openings).await {
            Ok(receipt) => told(node, &refused.error, &[receipt]),
            Err(error) => {
                node.failed("issuing a refusal", &error);
                told(node, &ApiError::internal(), &[])
            }
        },
        Err(error) => {
            node.failed("drafting a refusal", &error);
            told(node, &ApiError::internal(), &[])
        }
    };
    // Nobody may be there any more; the receipt is in the log all the same.
    let _ = reply.send(Reply { status, receipts, body: ReplyBody::Whole(body) });
}

/// An error's body with its receipts.
fn told(node: &ServerNode, error: &ApiError, receipts: &[Receipt]) -> (u16, Vec<u8>, Vec<String>) {
    node.metrics.receipts.inc_by(receipts.len() as u64);
    let body = error.body().to_string().into_bytes();
    let body = match object_of(receipts) {
        Some(object) => with_member(&body, &object),
        None => body,
    };
    let ids = receipts.iter().map(|receipt| hex::encode(receipt.id)).collect();
    (error.status, body, ids)
}

/// One choice on its way.
#[derive(Debug)]
struct Choice {
    /// What its receipt will say; nothing only where receipts are measured.
    draft: Option<Draft>,
    running: Running,
    /// Whether tokens were drawn that are not part of the answer.
    is_cut: bool,
    finish: Option<FinishReason>,
}

/// An answer on its way.
#[derive(Debug)]
struct Run {
    node: Arc<ServerNode>,
    asked: Arc<Asked>,
    responder: Responder,
    choices: Vec<Choice>,
    signer: Option<StreamSigner>,
    /// Payloads of all events so far, each with a line feed: what receipts commit to.
    lines: Vec<u8>,
    /// Bytes of all events so far, sent or not: an answer that is no stream has fewer.
    size: usize,
    /// Whether no receipt could hold more.
    is_full: bool,
    /// The event that waits for the receipts.
    held: Option<(u32, Vec<u8>)>,
    started: Instant,
    is_begun: bool,
    ids: Vec<String>,
}

/// Where the answer goes.
#[derive(Debug)]
enum Client {
    /// Nothing was sent yet.
    Waiting(oneshot::Sender<Reply>),
    /// Events are, until a deadline.
    Streaming(mpsc::Sender<Bytes>, Instant),
    /// Nobody is there.
    Gone,
}

/// `tally` members of a stream's events.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Head {
        head: &'a str,
        salt: &'a str,
        signature: String,
    },
    Tokens {
        choice: u32,
        tokens: &'a [TokenId],
        signature: String,
    },
    Last {
        choice: u32,
        #[serde(flatten)]
        object: ReceiptObject,
        signature: String,
    },
}

impl Client {
    /// Waits until nobody is there.
    async fn gone(&mut self) {
        match self {
            Self::Waiting(reply) => reply.closed().await,
            Self::Streaming(events, _) => events.closed().await,
            Self::Gone => pending().await,
        }
    }

    /// Sends an event, slowly if the client reads slowly.
    async fn send(&mut self, event: Vec<u8>) {
        if let Self::Streaming(events, deadline) = self {
            let event = [b"data: ".as_slice(), &event, b"\n\n"].concat();
            let sent = timeout_at((*deadline).into(), events.send(Bytes::from(event))).await;
            // Who does not read until the time is up is gone as well.
            if !matches!(sent, Ok(Ok(()))) {
                *self = Self::Gone;
            }
        }
    }
}

impl Run {
    async fn go(
        mut self,
        mut received: mpsc::UnboundedReceiver<(u32, TaskEvent)>,
        reply: oneshot::Sender<Reply>,
    ) {
        let mut client = Client::Waiting(reply);
        let deadline = sleep(self.node.limits.request_time_max);
        tokio::pin!(deadline);
        let mut is_cancelled = false;
        while self.choices.iter().any(|choice| choice.finish.is_none()) {
            let event = tokio::select! {
                biased;
                () = client.gone(), if !is_cancelled => {
                    is_cancelled = true;
                    self.cancel();
                    client = Client::Gone;
                    continue;
                }
                () = &mut deadline, if !is_cancelled => {
                    is_cancelled = true;
                    self.cancel();
                    continue;
                }
                event = received.recv() => event,
            };
            let failure = match event {
                Some((_, TaskEvent::Begin { .. })) => None,
                Some((index, TaskEvent::Token { token, logprobs })) => {
                    self.token(index, token, logprobs.as_ref(), &mut client).await.err()
                }
                Some((index, TaskEvent::End(Ok(finish)))) => {
                    self.end(index, finish, &mut client).await;
                    None
                }
                Some((_, TaskEvent::End(Err(error)))) => Some(refusal_of(&error)),
                None => {
                    self.node.failed("a model's thread", &"it stopped");
                    Some(Refused { code: "server/internal", error: ApiError::internal() })
                }
            };
            if let Some(refused) = failure {
                return self.fail(refused, client).await;
            }
        }
        self.complete(client).await;
    }

    fn cancel(&self) {
        self.choices.iter().for_each(|choice| choice.running.cancel());
    }

    async fn token(
        &mut self,
        index: u32,
        token: TokenId,
        logprobs: Option<&TokenLogprobs>,
        client: &mut Client,
    ) -> Result<(), Refused> {
        if self.is_full {
            // It was drawn before the worker learnt that it is one too many.
            self.choices[index as usize].is_cut = true;
            return Ok(());
        }
        self.begin(client).await;
        if let Some(draft) = &mut self.choices[index as usize].draft {
            draft.append(token);
        }
        let payload = self.responder.push(index, token, logprobs).map_err(|error| {
            self.node.failed("the text of a token", &error);
            Refused { code: "server/internal", error: ApiError::internal() }
        })?;
        self.size += payload.len() + 1;
        if self.size > RESPONSE_BYTES_MAX.min(COMMITTED_BYTES_MAX / self.choices.len()) {
            self.is_full = true;
            self.cancel();
        }
        if self.asked.stream.is_some() {
            self.tell(&payload, index, &[token], client).await;
        }
        Ok(())
    }

    /// Ends a choice. The last event of all waits for the receipts.
    async fn end(&mut self, index: u32, finish: FinishReason, client: &mut Client) {
        self.begin(client).await;
        let choice = &mut self.choices[index as usize];
        let finish = if choice.is_cut { FinishReason::Cancelled } else { finish };
        choice.finish = Some(finish);
        let payload = self.responder.finish(index, finish);
        let is_last = self.choices.iter().all(|choice| choice.finish.is_some());
        let has_usage = self.asked.stream.is_some_and(|form| form.includes_usage);
        if self.asked.stream.is_none() {
            return;
        }
        if is_last && !has_usage {
            self.note(&payload);
            self.held = Some((index, payload));
        } else {
            self.tell(&payload, index, &[], client).await;
        }
    }

    /// Begins the answer with its first event, once something is known to come.
    async fn begin(&mut self, client: &mut Client) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        self.node.metrics.first_token_seconds.observe(self.started.elapsed().as_secs_f64());
        if self.asked.stream.is_none() {
            return;
        }
        if let Client::Waiting(reply) = std::mem::replace(client, Client::Gone) {
            let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
            let body = ReplyBody::Stream(receiver);
            if reply.send(Reply { status: 200, receipts: self.ids.clone(), body }).is_ok() {
                let deadline = self.started + self.node.limits.request_time_max;
                *client = Client::Streaming(events, deadline);
            }
        }
        for (index, payload) in (0..).zip(self.responder.open()) {
            match &self.signer {
                Some(signer) if index == 0 => {
                    let head = Base64UrlUnpadded::encode_string(signer.head());
                    let salt = Base64UrlUnpadded::encode_string(signer.salt().as_bytes());
                    let signature = self.sign(&payload, 0, &[]);
                    let member = Member::Head { head: &head, salt: &salt, signature };
                    client.send(with_member(&payload, &member)).await;
                }
                _ => self.tell(&payload, index, &[], client).await,
            }
        }
    }

    /// Sends an event that carries tokens.
    async fn tell(&mut self, payload: &[u8], choice: u32, tokens: &[TokenId], client: &mut Client) {
        let event = match self.signer {
            Some(_) => {
                let signature = self.sign(payload, choice, tokens);
                with_member(payload, &Member::Tokens { choice, tokens, signature })
            }
            None => payload.to_vec(),
        };
        client.send(event).await;
    }

    /// Signs an event and notes that it is part of the answer.
    fn sign(&mut self, payload: &[u8], choice: u32, tokens: &[TokenId]) -> String {
        self.note(payload);
        let signature = self.signer.as_mut().map(|signer| signer.sign(payload, choice, tokens));
        signature.map(|bytes| Base64UrlUnpadded::encode_string(&bytes)).unwrap_or_default()
    }

    fn note(&mut self, payload: &[u8]) {
        self.lines.extend_from_slice(payload);
        self.lines.push(b'\n');
    }

    /// All choices have ended: receipts, and then the last of the answer.
    async fn complete(mut self, mut client: Client) {
        let ended = Instant::now();
        let last = match (self.responder.usage_event(), self.held.take()) {
            (Some(usage), _) => {
                self.note(&usage);
                Some((0, usage))
            }
            (None, held) => held,
        };
        let response = match self.asked.stream {
            Some(_) => std::mem::take(&mut self.lines),
            None => self.responder.body(),
        };
        let node = Arc::clone(&self.node);
        let drafts = self.choices.drain(..).filter_map(|choice| {
            let finish = choice.finish.unwrap_or(FinishReason::Cancelled);
            choice.draft.map(|draft| (draft, finish))
        });
        let response = Arc::new(response);
        let language = self.responder.language();
        let issuing = drafts.map(async |(draft, finish)| {
            let (response, language) = (Arc::clone(&response), Arc::clone(language));
            let made = node.desk.finish(draft, finish, response, language).await;
            let (statement, openings) = made?;
            node.desk.issue(statement, openings).await
        });
        let issued = try_join_all(issuing).await;
        let response = Arc::unwrap_or_clone(response);
        self.node.metrics.issue_seconds.observe(ended.elapsed().as_secs_f64());
        let receipts = match issued {
            Ok(receipts) => receipts,
            Err(error) => {
                self.node.failed("issuing receipts", &error);
                let (status, body, receipts) = told(&self.node, &ApiError::internal(), &[]);
                let body = ReplyBody::Whole(body);
                return deliver_failure(client, Reply { status, receipts, body }).await;
            }
        };
        self.node.metrics.receipts.inc_by(receipts.len() as u64);
        let object = object_of(&receipts);
        if let Client::Waiting(reply) = client {
            let body = match &object {
                Some(object) => with_member(&response, object),
                None => response,
            };
            let body = ReplyBody::Whole(body);
            let _ = reply.send(Reply { status: 200, receipts: self.ids, body });
            return;
        }
        if let Some((choice, payload)) = last {
            let event = match (object, &mut self.signer) {
                (Some(object), Some(signer)) => {
                    let signature = signer.sign(&payload, choice, &[]);
                    let signature = Base64UrlUnpadded::encode_string(&signature);
                    with_member(&payload, &Member::Last { choice, object, signature })
                }
                _ => payload,
            };
            client.send(event).await;
        }
        if let Client::Streaming(events, deadline) = client {
            let _ = timeout_at(deadline.into(), events.send(Bytes::from_static(DONE))).await;
        }
    }

    /// There is no answer: every choice gets a receipt that says so.
    async fn fail(mut self, refused: Refused, client: Client) {
        self.cancel();
        let node = Arc::clone(&self.node);
        let drafts = self.choices.drain(..).filter_map(|choice| choice.draft);
        let issuing = drafts.map(async |draft| {
            let (statement, openings) = draft.refuse(refused.code)?;
            node.desk.issue(statement, openings).await
        });
        let receipts = try_join_all(issuing).await.unwrap_or_else(|error| {
            self.node.failed("issuing refusals", &error);
            vec![]
        });
        let (status, body, ids) = told(&self.node, &refused.error, &receipts);
        deliver_failure(client, Reply { status, receipts: ids, body: ReplyBody::Whole(body) })
            .await;
    }
}

/// Tells of a failure: as the answer, or as the last event of a stream that has begun.
async fn deliver_failure(mut client: Client, reply: Reply) {
    if let Client::Waiting(sender) = client {
        let _ = sender.send(reply);
    } else if let ReplyBody::Whole(body) = reply.body {
        client.send(body).await;
    }
}

/// What the client is told of a computation that was refused.
fn refusal_of(error: &EngineError) -> Refused {
    let message = format!("the computation was refused: {error}");
    let (status, code) = match error {
        EngineError::Bound { .. } => (422, "arithmetic/refused"),
        EngineError::Context { .. } => (400, "context/length"),
        EngineError::CacheLimit { .. } => (400, "limit/memory"),
        EngineError::Language(_) => (400, "grammar/refused"),
        _ => (400, "input/refused"),
    };
    Refused { code, error: ApiError::of_status(status, code, message) }
}
