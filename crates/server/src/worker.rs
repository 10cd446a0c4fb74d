//! The thread that computes for one model: it runs the batch and passes tokens on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
};

use tally_core::computation::TokenId;
use tally_engine::{
    Embedding, Engine, EngineError,
    batch::{Batch, BatchLimits, Task, TaskEvent, TaskId},
};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::EngineCounts;

/// Most tokens of texts that are embedded in one pass.
const EMBED_TOKENS_MAX: usize = 2048;

/// A model's thread; it ends when this and all that is running are dropped.
#[derive(Debug)]
pub struct Worker {
    commands: Sender<Command>,
    next_id: AtomicU64,
    counts: Arc<EngineCounts>,
}

enum Command {
    Generate(TaskId, Box<Task>, Listener),
    Cancel(TaskId),
    Embed(Vec<Vec<TokenId>>, oneshot::Sender<Result<Vec<Embedding>, EngineError>>),
}

/// Where the tokens of one choice go: the choice's index and what happens to it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Index of the choice.
    pub choice: u32,
    /// Takes what happens; what waits in it is bounded by the outputs' length.
    pub events: mpsc::UnboundedSender<(u32, TaskEvent)>,
}

/// An output on its way; to drop it cancels.
#[derive(Debug)]
pub struct Running {
    id: TaskId,
    commands: Sender<Command>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Limits that no batch can have, or an operating system that starts no thread.
    pub fn start(engine: Arc<Engine>, limits: BatchLimits) -> Result<Self, EngineError> {
        let (commands, received) = channel();
        let batch = Batch::new(Arc::clone(&engine), limits)?;
        let counts = Arc::new(EngineCounts::default());
        let shared = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("batch".into())
            .spawn(move || work(&engine, batch, &received, &shared))
            .map_err(|_| EngineError::Threads { count: 1 })?;
        let next_id = AtomicU64::new(0);
        Ok(Self { commands, next_id, counts })
    }

    /// What was computed so far.
    #[must_use]
    pub fn counts(&self) -> &EngineCounts {
        &self.counts
    }

    /// Begins an output. If the thread is gone, the listener's channel closes without an end.
    #[must_use]
    pub fn generate(&self, task: Task, listener: Listener) -> Running {
        let id = TaskId(self.next_id.fetch_add(1, Ordering::Relaxed));
        // If the thread is gone, the listener is dropped with the command.
        let _ = self.commands.send(Command::Generate(id, Box::new(task), listener));
        Running { id, commands: self.commands.clone() }
    }

    /// Embeds texts; `None` if the thread is gone.
    pub async fn embed(
        &self,
        texts: Vec<Vec<TokenId>>,
    ) -> Option<Result<Vec<Embedding>, EngineError>> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(Command::Embed(texts, sender)).ok()?;
        answer.await.ok()
    }
}

impl Running {
    /// Ends the output early; its end still comes.
    pub fn cancel(&self) {
        // A thread that is gone computes nothing any more.
        let _ = self.commands.send(Command::Cancel(self.id));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel();
    }
}

type Listeners = BTreeMap<TaskId, Listener>;

fn work(
    engine: &Engine,
    mut batch: Batch<Arc<Engine>>,
    received: &Receiver<Command>,
    counts: &EngineCounts,
) {
    let mut listeners = Listeners::new();
    loop {
        if batch.is_idle() {
            match received.recv() {
                Ok(command) => obey(command, engine, &mut batch, &mut listeners),
                Err(_) => return,
            }
        }
        loop {
            match received.try_recv() {
                Ok(command) => obey(command, engine, &mut batch, &mut listeners),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if batch.is_idle() => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        batch.step(&mut |id, event| tell(&mut listeners, id, event));
        counts.note(&batch);
    }
}

fn obey(
    command: Command,
    engine: &Engine,
    batch: &mut Batch<Arc<Engine>>,
    listeners: &mut Listeners,
) {
    match command {
        Command::Generate(id, task, listener) => {
            listeners.insert(id, listener);
            if let Err(error) = batch.admit(id, *task) {
                tell(listeners, id, TaskEvent::End(Err(error)));
            }
        }
        Command::Cancel(id) => batch.cancel(id, &mut |id, event| tell(listeners, id, event)),
        Command::Embed(texts, sender) => {
            // Whoever asked may have gone away.
            let _ = sender.send(embed(engine, &texts));
        }
    }
}

fn tell(listeners: &mut Listeners, id: TaskId, event: TaskEvent) {
    let is_end = matches!(event, TaskEvent::End(_));
    if let Some(Listener { choice, events }) = listeners.get(&id) {
        // Who does not listen any more has cancelled.
        let _ = events.send((*choice, event));
    }
    if is_end {
        listeners.remove(&id);
    }
}

/// Embeds texts, as many in one pass as its memory is meant for.
fn embed(engine: &Engine, texts: &[Vec<TokenId>]) -> Result<Vec<Embedding>, EngineError> {
    let mut embeddings = Vec::with_capacity(texts.len());
    let mut rest = texts;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|text| {
            tokens += text.len();
            tokens <= EMBED_TOKENS_MAX
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let now: Vec<&[TokenId]> = now.iter().map(Vec::as_slice).collect();
        embeddings.extend(engine.embed(&now)?);
        rest = later;
    }
    Ok(embeddings)
}
