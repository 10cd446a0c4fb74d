//! `tally serve`: this home's node, for programs.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use tally_engine::{Model, batch::BatchLimits};
use tally_server::{
    ModelSource, World,
    access::{Access, Keys},
    api::asked::CHOICES_MAX,
    feedback::FeedbackDesk,
    http::{self, keys::NodeKeyList},
    issue::Desk,
    listen,
    node::{Limits, ServerNode, TOKENIZING_KIB},
    shelf::{Shelf, ShelfLimits},
    store::StatementStore,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use super::{Verdict, access, ask};
use crate::{
    args,
    context::{Context, now_ms},
    contributions, feedback,
    home::{Home, random},
    models, node,
    output::Output,
    rehearsal::InChild,
};

const MIB: u64 = 1 << 20;
/// Tokens of one pass: enough for matrices to be read once for many, few enough that nobody waits.
const PASS_TOKENS_MAX: usize = 256;
/// Outputs that grow at a time; more wait.
const SEQUENCES_MAX: usize = 128;
/// How often the log's new entries are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &args::Serve, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let access = access_of(args, &home)?;
    let acceptor = match (&args.certificate, &args.key) {
        (Some(certificate), Some(key)) => Some(listen::tls(certificate, key)?),
        _ => None,
    };
    let issuer = Arc::new(node::open(&home)?);
    node::load_or_create_policy(&home, models::load_default()?.root())?;
    let server = Arc::new(server_of(args, context, &home, access, Arc::clone(&issuer))?);
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let address = args.listen;
    let output = context.output;
    let router = http::router(Arc::clone(&server));
    let runtime = runtime(context)?;
    let ended = runtime.block_on(async move {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {address}; `--listen ADDRESS:PORT` names another place")
        })?;
        let bound = listener.local_addr()?;
        greet(output, scheme, bound, &server);
        let stop = stop_signal(output)?;
        let publishing = tokio::spawn(publish(Arc::clone(&issuer), stop.clone()));
        let limits = server.listen_limits();
        listen::serve(listener, router, acceptor, limits, stop, tell).await;
        let is_settled = server.settle().await;
        publishing.await.context("the log's publisher stopped")?;
        // What was issued since the publisher's last turn.
        issuer.publish(now_ms()? / 1000)?;
        output.note(match is_settled {
            true => "stopped: every answer that was begun has its receipt",
            false => "stopped: some answers did not end in time and have no receipt",
        });
        Ok(Verdict::Satisfied)
    });
    // What still computes for nobody is not waited for.
    runtime.shutdown_background();
    ended
}

fn server_of(
    args: &args::Serve,
    context: &Context,
    home: &Home,
    access: Access,
    issuer: Arc<tally_issuer::Node>,
) -> Result<ServerNode> {
    let store = StatementStore::open(&home.statements()).context("cannot open the statements")?;
    let world: Arc<dyn World> = Arc::new(Machine);
    let limits = Limits {
        body_bytes_max: usize::try_from(args.body_mib * MIB)?,
        requests_max: args.requests,
        output_tokens_max: args.output_tokens,
        request_time_max: Duration::from_secs(args.request_seconds),
        ..Limits::default()
    };
    let shelf = ShelfLimits {
        kernels: ask::kernels(&context.kernels)?,
        threads: context.threads,
        memory_bytes_max: args.memory_mib * MIB,
        batch: BatchLimits {
            pass_tokens_max: PASS_TOKENS_MAX,
            sequences_max: SEQUENCES_MAX,
            cache_bytes_max: args.cache_mib * MIB,
            waiting_max: (args.requests * CHOICES_MAX) as usize,
        },
    };
    let attributor = contributions::attributor_of(home, &issuer)?;
    let source = Arc::new(Models { home: home.clone() });
    let (signer, ratings) = (home.load_or_create_feedback()?, feedback::store(home)?);
    let keys = keys_of(home, &issuer)?;
    let desk = Desk::new(issuer, Arc::new(store), Arc::clone(&world)).attributing(attributor);
    let feedback = FeedbackDesk::new(desk.clone(), ratings, signer);
    feedback.enter_waiting(now_ms()? / 1000).context("cannot enter ratings into the log")?;
    Ok(ServerNode {
        shelf: Shelf::new(source, shelf),
        keys,
        desk,
        feedback,
        metrics: tally_server::Metrics::default(),
        log_public: home.log().join("public"),
        places: Arc::new(Semaphore::new(limits.requests_max as usize)),
        rehearsal: Arc::new(InChild),
        compiling: Arc::new(Semaphore::new(context.threads)),
        tokenizing: Arc::new(Semaphore::new(TOKENIZING_KIB as usize)),
        is_local: matches!(access, Access::Anyone) && args.listen.ip().is_loopback(),
        access,
        dangerous_without_receipts: false,
        limits,
        world,
        tell,
    })
}

/// The public keys that strangers may ask for.
fn keys_of(home: &Home, issuer: &tally_issuer::Node) -> Result<NodeKeyList> {
    let (log, cosigner) = home.load_or_create_keys()?.verifiers()?;
    let own_cosigners = vec![cosigner.encode()];
    Ok(NodeKeyList::new(issuer.public_key().as_bytes(), log.encode(), own_cosigners))
}

/// Who is let in: those with keys, or on this machine's own address anyone.
fn access_of(args: &args::Serve, home: &Home) -> Result<Access> {
    let keys = access::load(home)?;
    if !keys.is_empty() {
        return Ok(Access::Keys(Keys::new(keys)));
    }
    let is_own = args.listen.ip().is_loopback();
    if !is_own && !args.let_anyone_in {
        bail!(
            "{} can be reached from other machines, and this home has no API keys\n\nhint: make one with `tally access new NAME`, or say `--let-anyone-in` if that is what you want",
            args.listen
        );
    }
    if !is_own && args.certificate.is_none() {
        tell("without --certificate and --key, whoever is on the way reads and changes everything");
    }
    Ok(Access::Anyone)
}

fn greet(output: Output, scheme: &str, bound: SocketAddr, server: &ServerNode) {
    let (keys, key) = match server.access {
        Access::Anyone => ("no key needed", "none"),
        Access::Keys(_) => ("with an API key of this home", "KEY"),
    };
    output.note(&format!(
        "listening on {scheme}://{bound} ({keys})\n\n  export OPENAI_BASE_URL={scheme}://{bound}/v1 OPENAI_API_KEY={key}   any OpenAI program talks to it\n  {scheme}://{bound}/openapi.json   what it understands\n\nctrl-c stops it"
    ));
}

async fn publish(issuer: Arc<tally_issuer::Node>, mut stop: watch::Receiver<bool>) {
    loop {
        let is_last =
            tokio::time::timeout(PUBLISH_EVERY, stop.wait_for(|stop| *stop)).await.is_ok();
        let issuer = Arc::clone(&issuer);
        let publishing = tokio::task::spawn_blocking(move || {
            now_ms().and_then(|now| Ok(issuer.publish(now / 1000)?))
        });
        if let Ok(Err(error)) = publishing.await {
            tell(&format!("publishing the log: {error:#}"));
        }
        if is_last {
            return;
        }
    }
}

/// Becomes true at an interrupt or a request to end.
pub(super) fn stop_signal(output: Output) -> Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot take notice of signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        output.note("stopping: running answers are finished first");
        // Whoever listened is gone if this fails.
        let _ = sender.send(true);
    });
    Ok(receiver)
}

/// The runtime of a command that serves.
pub(super) fn runtime(context: &Context) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(context.threads.clamp(1, 4))
        .max_blocking_threads(256)
        .enable_all()
        .build()
        .context("cannot start the server's threads")
}

/// Tells the operator, with nothing of what was said.
pub(super) fn tell(text: &str) {
    Output::new(false, false).note(text);
}

/// This machine's clock and randomness.
#[derive(Debug)]
pub(super) struct Machine;

impl World for Machine {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 would have ended the start already.
        now_ms().unwrap_or_default()
    }

    fn random(&self, bytes: &mut [u8]) {
        if let Err(error) = random(bytes) {
            // Without randomness no receipt may be made: nothing can go on.
            tell(&format!("{error:#}"));
            std::process::abort();
        }
    }
}

/// The models of a home.
#[derive(Debug)]
struct Models {
    home: Home,
}

impl Models {
    fn path(&self, name: &str) -> Option<PathBuf> {
        models::path_of(&self.home, name).ok().filter(|path| path.is_file())
    }
}

impl ModelSource for Models {
    fn names(&self) -> Vec<String> {
        let imported = models::imported(&self.home).unwrap_or_default();
        let names = imported.into_iter().map(|(name, _)| name);
        std::iter::once(models::DEFAULT_NAME.to_owned())
            .chain(names.filter(|name| name != models::DEFAULT_NAME))
            .collect()
    }

    fn size_bytes(&self, name: &str) -> Option<u64> {
        if name == models::DEFAULT_NAME {
            // It stands in the program already.
            return Some(0);
        }
        std::fs::metadata(self.path(name)?).ok().map(|found| found.len())
    }

    fn load(&self, name: &str) -> Result<Arc<Model>, String> {
        models::load(&self.home, name).map_err(|error| format!("{error:#}"))
    }
}
