//! A node with the default model, a proxy that verifies, and a man in the middle between them: all in this process, on
//! loopback ports of their own.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use tally_attribution::{
    attributor::Attributor, feedback::FeedbackStore, policy_file, registry::Registry,
};
use tally_core::{
    attribution::{SplitPolicy, Tariff},
    computation::Grammar,
    ed25519::SigningKey,
    receipt::Bundle,
};
use tally_engine::{ARITHMETIC, Kernels, Model, batch::BatchLimits};
use tally_issuer::{Node, NodeKeys};
use tally_log::Posix;
use tally_server::{
    Metrics, ModelSource, World,
    access::Access,
    feedback::FeedbackDesk,
    http::{self, keys::NodeKeyList},
    issue::Desk,
    node::{Limits, ServerNode, TOKENIZING_KIB},
    proxy::{self, Keeper, Proxy, Settings},
    rehearsal::{Rehearsal, Rehearsed},
    shelf::{Shelf, ShelfLimits},
    store::StatementStore,
};
use tally_verifier::{Policy, policy::HomePolicy};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Semaphore, sync::watch};

const TIME_MS: u64 = 1_790_000_000_000;

/// A clock that stands, and numbers that never repeat.
#[derive(Debug, Default)]
struct Still(AtomicU64);

impl World for Still {
    fn now_ms(&self) -> u64 {
        TIME_MS
    }

    fn random(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            chunk.copy_from_slice(&number.to_be_bytes()[..chunk.len()]);
        }
    }
}

#[derive(Debug)]
struct OnlyDefault;

impl ModelSource for OnlyDefault {
    fn names(&self) -> Vec<String> {
        vec!["default".into()]
    }

    fn size_bytes(&self, name: &str) -> Option<u64> {
        (name == "default").then_some(1)
    }

    fn load(&self, _: &str) -> Result<Arc<Model>, String> {
        Ok(model())
    }
}

fn model() -> Arc<Model> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/default/default.tally");
    Arc::new(Model::open(Path::new(path)).unwrap())
}

/// Answers cost something, and nobody is registered.
fn nobody() -> Attributor {
    let tariff = Tariff { request: 1_000, input_token: 10, output_token: 30 };
    let policy = SplitPolicy { tariff, ..policy_file::free() };
    Attributor::new(policy, Registry::default(), vec![]).unwrap()
}

/// Receipts that a proxy kept.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<Bundle>>);

impl Keeper for Kept {
    fn keep(&self, bundle: &Bundle) -> Result<(), String> {
        self.0.lock().unwrap().push(bundle.clone());
        Ok(())
    }
}

/// An answer as it came over the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.head, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of all events.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        events.map(str::to_owned).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What the man in the middle does to an answer.
pub(crate) type Tamper = Box<dyn Fn(Answer) -> Answer + Send + Sync>;

/// All of it.
pub(crate) struct Stage {
    pub(crate) node: SocketAddr,
    pub(crate) proxy: SocketAddr,
    pub(crate) kept: Arc<Kept>,
    pub(crate) server: Arc<ServerNode>,
    tamper: Arc<Mutex<Option<Tamper>>>,
    stop: watch::Sender<bool>,
    _folder: TempDir,
}

/// Compiles right here: these tests are their own strangers.
#[derive(Debug)]
struct InProcess;

impl Rehearsal for InProcess {
    fn rehearse(&self, grammar: &Grammar) -> Result<Rehearsed, String> {
        tally_engine::grammar::rehearse(grammar).map_err(|error| error.to_string())?;
        Ok(Rehearsed { memory_bytes: 1 << 20, time: Duration::from_millis(1) })
    }
}

fn key_list(keys: &NodeKeys) -> NodeKeyList {
    let (log, cosigner) = keys.verifiers().unwrap();
    let issuer = keys.receipt.public_key();
    NodeKeyList::new(issuer.as_bytes(), log.encode(), vec![cosigner.encode()])
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seed = |byte| SigningKey::from_seed(&[byte; 32]);
        let keys = NodeKeys { receipt: seed(1), log: seed(2), cosigner: seed(3) };
        let storage = |name: &str| Arc::new(Posix::create(folder.path().join(name)).unwrap());
        let issuer = Node::open(storage("log"), storage("cosigner"), &keys).unwrap();
        let store = StatementStore::open(&folder.path().join("statements")).unwrap();
        let feedback = FeedbackStore::open(&folder.path().join("feedback")).unwrap();
        let world: Arc<dyn World> = Arc::new(Still::default());
        let batch = BatchLimits {
            pass_tokens_max: 64,
            sequences_max: 8,
            cache_bytes_max: 64 << 20,
            waiting_max: 1024,
        };
        let shelf = ShelfLimits {
            kernels: Kernels::detect(),
            threads: 1,
            memory_bytes_max: 1 << 30,
            batch,
        };
        let desk =
            Desk::new(Arc::new(issuer), Arc::new(store), Arc::clone(&world)).attributing(nobody());
        let server = Arc::new(ServerNode {
            shelf: Shelf::new(Arc::new(OnlyDefault), shelf),
            feedback: FeedbackDesk::new(desk.clone(), feedback, seed(4)),
            desk,
            access: Access::Anyone,
            is_local: true,
            dangerous_without_receipts: false,
            keys: key_list(&keys),
            metrics: Metrics::default(),
            log_public: folder.path().join("log/public"),
            places: Arc::new(Semaphore::new(limits.requests_max as usize)),
            rehearsal: Arc::new(InProcess),
            compiling: Arc::new(Semaphore::new(2)),
            tokenizing: Arc::new(Semaphore::new(TOKENIZING_KIB as usize)),
            limits,
            world: Arc::clone(&world),
            tell: |text| panic!("{text}"),
        });
        let (stop, stopped) = watch::channel(false);
        let node = listen(http::router(Arc::clone(&server)), &server, &stopped).await;
        let tamper: Arc<Mutex<Option<Tamper>>> = Arc::default();
        let middle = Router::new().fallback(pass).with_state((node, Arc::clone(&tamper)));
        let middle = listen(middle, &server, &stopped).await;
        let kept = Arc::new(Kept::default());
        let settings = Settings {
            upstream: format!("http://{middle}"),
            policy: policy(&keys),
            keeper: Arc::clone(&kept) as Arc<dyn Keeper>,
            world,
            is_local: true,
            body_bytes_max: 1 << 20,
            wait_max: Duration::from_secs(5),
            tell: |_| (),
        };
        let proxy = proxy::router(Arc::new(Proxy::new(settings).unwrap()));
        let proxy = listen(proxy, &server, &stopped).await;
        Self { node, proxy, kept, server, tamper, stop, _folder: folder }
    }

    /// Sets what the man in the middle does.
    pub(crate) fn tamper(&self, act: impl Fn(Answer) -> Answer + Send + Sync + 'static) {
        *self.tamper.lock().unwrap() = Some(Box::new(act));
    }

    /// Lets answers pass as they are.
    pub(crate) fn leave_alone(&self) {
        *self.tamper.lock().unwrap() = None;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whoever listened is gone if this fails.
        let _ = self.stop.send(true);
    }
}

async fn listen(router: Router, server: &ServerNode, stop: &watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (limits, stop) = (server.listen_limits(), stop.clone());
    tokio::spawn(tally_server::listen::serve(listener, router, None, limits, stop, |_| ()));
    address
}

async fn pass(
    State((node, tamper)): State<(SocketAddr, Arc<Mutex<Option<Tamper>>>)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let nonce = parts.headers.get("tally-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
    let path = parts.uri.path().to_owned();
    let answer = ask(node, parts.method.as_str(), &path, nonce.as_deref(), &body).await;
    let answer = match &*tamper.lock().unwrap() {
        Some(tamper) => tamper(answer),
        None => answer,
    };
    let mut response = Response::builder().status(answer.status);
    for name in ["content-type", "retry-after", "tally-receipt"] {
        if let Some(value) = answer.header(name) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(Bytes::from(answer.body))).unwrap()
}

fn policy(keys: &NodeKeys) -> Policy {
    let (log, cosigner) = keys.verifiers().unwrap();
    let text = HomePolicy {
        issuer_name: "this node",
        issuer_key: &keys.receipt.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[model().root()],
        arithmetics: &[ARITHMETIC],
    };
    Policy::parse(&text.encode()).unwrap()
}

/// Asks and reads everything until the connection ends.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    nonce: Option<&str>,
    body: &[u8],
) -> Answer {
    let nonce = nonce.map(|nonce| format!("Tally-Nonce: {nonce}\r\n")).unwrap_or_default();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n{nonce}\r\n"
    );
    let request = [head.as_bytes(), body].concat();
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A body that is refused before it is whole ends the connection.
        let _ = stream.write_all(&request);
        let mut bytes = vec![];
        let _ = stream.read_to_end(&mut bytes);
        bytes
    });
    let bytes = asking.await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// Asks a chat for something.
pub(crate) async fn chat(address: SocketAddr, more: &str) -> Answer {
    let body = format!(
        r#"{{"model":"default","messages":[{{"role":"user","content":"What is a lock?"}}],"max_tokens":6,"seed":7{more}}}"#
    );
    ask(address, "POST", "/v1/chat/completions", None, body.as_bytes()).await
}
