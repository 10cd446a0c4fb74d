//! What receipts cost a node: the same answers with and without them, in turn. Or what attribution
//! costs: the same receipts with and without it.
//!
//! Each kind of node runs in a process of its own, so that its processor time is its own; this one
//! is the clients. Seeds are given, so both draw the same tokens. Everything is streamed, which is
//! the dearer way: each event is signed.
#![expect(clippy::cast_precision_loss, reason = "rates are printed with a few digits")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use tally_attribution::attributor::Attributor;
use tally_attribution::dataset::Dataset;
use tally_attribution::feedback::FeedbackStore;
use tally_attribution::index::Builder;
use tally_attribution::policy_file;
use tally_attribution::registry::Registry;
use tally_core::attribution::{SplitPolicy, Tariff};
use tally_core::computation::Grammar;
use tally_core::contribution::{Contribution, ContributionKind};
use tally_core::ed25519::SigningKey;
use tally_engine::{BatchLimits, Kernels, Model};
use tally_issuer::{Node, NodeKeys};
use tally_log::Posix;
use tally_server::access::Access;
use tally_server::feedback::FeedbackDesk;
use tally_server::http::keys::NodeKeyList;
use tally_server::issue::Desk;
use tally_server::node::{Limits, ServerNode, TOKENIZING_KIB};
use tally_server::rehearsal::{Rehearsal, Rehearsed};
use tally_server::shelf::{Shelf, ShelfLimits};
use tally_server::store::StatementStore;
use tally_server::{Metrics, ModelSource, World, http, listen};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::identical::MODEL;
use crate::process::processor_ticks;
use crate::repo::Repo;

/// Tokens of each prompt.
const PROMPT: u32 = 16;
/// Ticks of a processor in a second, as Linux counts them for programs.
const TICKS: u64 = 100;
/// Durable writes that are timed.
const SYNCS: usize = 200;

/// What is measured and with what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Model file; the default model if absent
    #[arg(long)]
    model: Option<PathBuf>,
    /// Pairs of rounds; medians are over these
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Clients at a time
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Answers to each client in a round
    #[arg(long, default_value_t = 4)]
    answers: u32,
    /// Tokens of each answer
    #[arg(long, default_value_t = 128)]
    tokens: u32,
    /// Threads of the node's engine
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Measure what attribution costs a node that gives receipts
    #[arg(long)]
    attribution: bool,
    /// Registered texts that outputs are traced in
    #[arg(long, value_name = "PATH", default_value = "docs")]
    texts: PathBuf,
    /// Be one of the two nodes
    #[arg(long, hide = true)]
    node: Option<Kind>,
}

/// The nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    With,
    Without,
    Attributed,
}

impl Kind {
    const fn what(self) -> &'static str {
        match self {
            Self::Without => "without receipts",
            Self::With => "with receipts",
            Self::Attributed => "with attribution",
        }
    }
}

pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let path = options.model.clone().unwrap_or_else(|| repo.root().join(MODEL));
    if let Some(kind) = options.node {
        return serve(&path, kind, options);
    }
    let kinds = match options.attribution {
        true => [Kind::With, Kind::Attributed],
        false => [Kind::Without, Kind::With],
    };
    let [without, with] = kinds.map(|kind| Running::start(&path, kind, options));
    let (without, with) = (without?, with?);
    for node in [&without, &with] {
        // The model is loaded and the caches are warm.
        round(node, options, u32::MAX)?;
    }
    let mut rounds = vec![];
    for number in 0..options.rounds {
        let number = u32::try_from(number)?;
        rounds.push([round(&without, options, number)?, round(&with, options, number)?]);
    }
    let sync = sync_time()?;
    let [first, second] = kinds.map(Kind::what);
    println!("| what | {first} | {second} | cost |\n|---|---|---|---|");
    let of = |pick: &dyn Fn(&Round) -> f64| {
        let each = |side: usize| median(rounds.iter().map(|pair| pick(&pair[side])).collect());
        let cost = median(rounds.iter().map(|pair| pick(&pair[1]) - pick(&pair[0])).collect());
        let ratio = median(rounds.iter().map(|pair| pick(&pair[1]) / pick(&pair[0])).collect());
        (each(0), each(1), cost, ratio)
    };
    let (a, b, _, ratio) = of(&|round| round.processor.as_secs_f64() * 1e6 / round.tokens as f64);
    println!(
        "| processor time for a token | {a:.1} µs | {b:.1} µs | {:+.2} % |",
        (ratio - 1.0) * 100.0
    );
    let (a, b, _, ratio) = of(&|round| round.tokens as f64 / round.wall.as_secs_f64());
    println!("| tokens in all | {a:.0}/s | {b:.0}/s | {:+.2} % |", (ratio - 1.0) * 100.0);
    let (a, b, cost, _) = of(&|round| round.first.as_secs_f64() * 1e3);
    println!("| first event, median | {a:.2} ms | {b:.2} ms | {cost:+.2} ms |");
    let (a, b, cost, _) = of(&|round| round.last.as_secs_f64() * 1e3);
    println!("| last byte after the last token, median | {a:.2} ms | {b:.2} ms | {cost:+.2} ms |");
    println!("| `fdatasync` of 4 KiB here, median | | {:.2} ms | |", sync.as_secs_f64() * 1e3);
    Ok(())
}

/// A node in a process of its own; it ends when its stdin does.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // One that has ended already needs no end.
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(model: &Path, kind: Kind, options: &Options) -> Result<Self> {
        let name = kind.to_possible_value().context("a kind has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "receipts", "--node", name.get_name(), "--model"]).arg(model);
        command.args(["--threads", &options.threads.to_string(), "--texts"]).arg(&options.texts);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the node has no stdout")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        ensure!(!address.is_empty(), "the node did not start");
        Ok(Self { child, stdin, address: address.trim().to_owned() })
    }

    /// Time of a processor that the node has had.
    fn processor(&self) -> Result<Duration> {
        let ticks = processor_ticks(&self.child.id().to_string())?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    }
}

/// What a round of answers took.
struct Round {
    tokens: u64,
    wall: Duration,
    processor: Duration,
    /// Medians over all answers.
    first: Duration,
    last: Duration,
}

fn round(node: &Running, options: &Options, number: u32) -> Result<Round> {
    let (started, before) = (Instant::now(), node.processor()?);
    let clients: Vec<_> = (0..options.clients)
        .map(|client| {
            let (address, options) = (node.address.clone(), options.clone());
            thread::spawn(move || -> Result<Vec<Answer>> {
                let seed = |answer| u64::from(number) << 32 | u64::from(client << 16 | answer);
                (0..options.answers)
                    .map(|answer| ask(&address, options.tokens, seed(answer)))
                    .collect()
            })
        })
        .collect();
    let mut answers = vec![];
    for client in clients {
        answers.extend(client.join().map_err(|_| anyhow::anyhow!("a client failed"))??);
    }
    let wall = started.elapsed();
    let of = |pick: &dyn Fn(&Answer) -> Duration| {
        let mut times: Vec<Duration> = answers.iter().map(pick).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    Ok(Round {
        tokens: answers.iter().map(|answer| answer.events).sum(),
        wall,
        processor: node.processor()?.saturating_sub(before),
        first: of(&|answer| answer.first),
        last: of(&|answer| answer.last),
    })
}

/// When the parts of a streamed answer came.
struct Answer {
    events: u64,
    first: Duration,
    /// From the event of the last token to the end.
    last: Duration,
}

fn ask(address: &str, tokens: u32, seed: u64) -> Result<Answer> {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let prompt: Vec<u64> = (0..u64::from(PROMPT)).map(|at| (mixed + at * 131) % 4000 + 5).collect();
    let body = serde_json::json!({
        "model": "bench", "prompt": prompt, "max_tokens": tokens, "seed": seed, "stream": true,
    })
    .to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let started = Instant::now();
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut times = vec![];
    let mut last = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.starts_with("data: ") {
            times.push(started.elapsed());
            last = line;
        }
    }
    ensure!(last == "data: [DONE]", "the node's answer did not end well: {last}");
    let [first, .., last_token, _, done] = times.as_slice() else {
        anyhow::bail!("the node's answer has {} events", times.len());
    };
    // The opening event, the finish and `[DONE]` have no token.
    let events = u64::try_from(times.len())?.saturating_sub(3);
    Ok(Answer { events, first: *first, last: *done - *last_token })
}

/// How long a small durable write takes here.
fn sync_time() -> Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = vec![];
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Is a node until stdin ends.
fn serve(model: &Path, kind: Kind, options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Arc::new(node_of(folder.path(), model, kind, options)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (end, ended) = watch::channel(false);
    thread::spawn(move || {
        let _ = std::io::stdin().lock().read(&mut [0]);
        // Nobody listens any more if this fails.
        let _ = end.send(true);
    });
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let (router, limits) = (http::router(Arc::clone(&node)), node.listen_limits());
        listen::serve(listener, router, None, limits, ended, |text| eprintln!("{text}")).await;
        Ok(())
    })
}

fn node_of(folder: &Path, model: &Path, kind: Kind, options: &Options) -> Result<ServerNode> {
    let seed = |byte| SigningKey::from_seed(&[byte; 32]);
    let keys = NodeKeys { receipt: seed(1), log: seed(2), cosigner: seed(3) };
    let storage = |name: &str| Posix::create(folder.join(name)).map(Arc::new);
    let issuer = Node::open(storage("log")?, storage("cosigner")?, &keys)?;
    let store = StatementStore::open(&folder.join("statements"))?;
    let feedback = FeedbackStore::open(&folder.join("feedback"))?;
    let world: Arc<dyn World> = Arc::new(Clock);
    let limits = Limits::default();
    let shelf = ShelfLimits {
        kernels: Kernels::detect(),
        threads: options.threads,
        memory_bytes_max: 8 << 30,
        batch: BatchLimits {
            pass_tokens_max: 256,
            sequences_max: 128,
            cache_bytes_max: 1 << 30,
            waiting_max: 1024,
        },
    };
    let (log, cosigner) = keys.verifiers()?;
    let public = keys.receipt.public_key();
    let mut desk = Desk::new(Arc::new(issuer), Arc::new(store), Arc::clone(&world));
    if kind == Kind::Attributed {
        desk = desk.attributing(attributor(folder, &options.texts)?);
    }
    Ok(ServerNode {
        shelf: Shelf::new(Arc::new(One { path: model.to_owned() }), shelf),
        keys: NodeKeyList::new(public.as_bytes(), log.encode(), vec![cosigner.encode()]),
        feedback: FeedbackDesk::new(desk.clone(), feedback, seed(4)),
        desk,
        access: Access::Anyone,
        is_local: true,
        dangerous_without_receipts: kind == Kind::Without,
        metrics: Metrics::default(),
        log_public: folder.join("log/public"),
        places: Arc::new(Semaphore::new(limits.requests_max as usize)),
        rehearsal: Arc::new(NoGrammars),
        compiling: Arc::new(Semaphore::new(1)),
        tokenizing: Arc::new(Semaphore::new(TOKENIZING_KIB as usize)),
        limits,
        world,
        tell: |text| eprintln!("{text}"),
    })
}

/// Answers have a price, and are traced in registered texts.
fn attributor(folder: &Path, texts: &Path) -> Result<Attributor> {
    let key = SigningKey::from_seed(&[4; 32]);
    let texts = Dataset::read(texts)?;
    let contribution = Contribution {
        contributor: *key.public_key().as_bytes(),
        kind: ContributionKind::Dataset,
        name: "texts".into(),
        licence: "unknown".into(),
        subject: texts.root(),
        extent: texts.extent(),
        time_ms: 0,
        parents: vec![],
        version: None,
        source: None,
        payee: None,
    };
    let signed = contribution.signed(|message| *key.sign(message).as_bytes());
    let mut builder = Builder::new();
    builder.contribution(signed.digest())?;
    for (name, text) in &texts.documents {
        builder.document(name, text.as_bytes())?;
    }
    let index = builder.build(&folder.join("texts.index"), &mut |_| ())?;
    let mut registry = Registry::default();
    registry.register(0, signed)?;
    let tariff = Tariff { request: 1_000, input_token: 10, output_token: 30 };
    Ok(Attributor::new(SplitPolicy { tariff, ..policy_file::free() }, registry, vec![index])?)
}

/// The one model that is measured.
#[derive(Debug)]
struct One {
    path: PathBuf,
}

impl ModelSource for One {
    fn names(&self) -> Vec<String> {
        vec!["bench".into()]
    }

    fn size_bytes(&self, _name: &str) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|found| found.len())
    }

    fn load(&self, _name: &str) -> Result<Arc<Model>, String> {
        Model::open(&self.path).map(Arc::new).map_err(|error| error.to_string())
    }
}

/// This machine's clock, and randomness that need not be random.
#[derive(Debug)]
struct Clock;

impl World for Clock {
    #[expect(clippy::disallowed_methods, reason = "a node needs a clock")]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self, bytes: &mut [u8]) {
        // A receipt's id and secret must differ from all others of the run, and nothing more.
        use std::hash::{BuildHasher as _, RandomState};
        for chunk in bytes.chunks_mut(8) {
            let number = RandomState::new().hash_one(Instant::now()).to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

/// No request of the bench has a grammar.
#[derive(Debug)]
struct NoGrammars;

impl Rehearsal for NoGrammars {
    fn rehearse(&self, _grammar: &Grammar) -> Result<Rehearsed, String> {
        Err("the bench has no grammars".into())
    }
}
