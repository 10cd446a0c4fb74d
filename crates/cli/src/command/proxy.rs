//! `tally proxy`: an endpoint for programs that cannot verify.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tally_core::receipt::Bundle;
use tally_server::{
    listen::{self, ListenLimits},
    proxy::{Keeper, Proxy, Settings, router},
};
use tokio::net::TcpListener;

use super::{Verdict, policy, serve};
use crate::{args, context::Context, receipt_file::ReceiptFile, receipts};

/// Time that a request has to arrive, and running ones have to end.
const RECEIVE_TIME_MAX: Duration = Duration::from_secs(30);
const CONNECTIONS_MAX: u32 = 256;
/// Longest time of a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(3600);
const BODY_BYTES_MAX: usize = 4 << 20;

pub(crate) fn run(args: &args::Proxy, context: &Context) -> Result<Verdict> {
    let policy = policy::load(args.policy.as_deref(), context)?;
    let folder = match &args.receipts {
        Some(folder) => folder.clone(),
        None => context.open_home()?.receipts(),
    };
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    ensure!(
        args.listen.ip().is_loopback() || args.let_anyone_in,
        "{} can be reached from other machines, and a proxy asks for no keys\n\nhint: say `--let-anyone-in` if that is what you want",
        args.listen
    );
    let proxy = Proxy::new(Settings {
        upstream: args.upstream.clone(),
        policy,
        keeper: Arc::new(Folder { folder: folder.clone() }),
        world: Arc::new(serve::Machine),
        is_local: args.listen.ip().is_loopback(),
        body_bytes_max: BODY_BYTES_MAX,
        wait_max: Duration::from_secs(args.wait_seconds),
        tell: serve::tell,
    })?;
    let limits = ListenLimits {
        connections_max: CONNECTIONS_MAX,
        receive_time_max: RECEIVE_TIME_MAX,
        connection_time_max: CONNECTION_TIME_MAX,
        answer_time_max: CONNECTION_TIME_MAX,
        stop_time_max: RECEIVE_TIME_MAX,
    };
    let (address, upstream, output) = (args.listen, args.upstream.clone(), context.output);
    serve::runtime(context)?.block_on(async move {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {address}; `--listen ADDRESS:PORT` names another place")
        })?;
        let bound = listener.local_addr()?;
        output.note(&format!(
            "verifying proxy on http://{bound} for {upstream}\nreceipts are kept in {}\n\n  export OPENAI_BASE_URL=http://{bound}/v1 OPENAI_API_KEY=none   any OpenAI program now sees verified answers alone\n\nctrl-c stops it",
            folder.display()
        ));
        let stop = serve::stop_signal(output)?;
        listen::serve(listener, router(Arc::new(proxy)), None, limits, stop, serve::tell).await;
        Ok(Verdict::Satisfied)
    })
}

/// A folder of receipt files.
#[derive(Debug)]
struct Folder {
    folder: PathBuf,
}

impl Keeper for Folder {
    fn keep(&self, bundle: &Bundle) -> Result<(), String> {
        ReceiptFile::prepare(&receipts::path_of(&self.folder, &bundle.statement.digest()))
            .and_then(|file| file.write(bundle))
            .map(drop)
            .map_err(|error| format!("{error:#}"))
    }
}
