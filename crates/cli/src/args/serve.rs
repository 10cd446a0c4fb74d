//! Arguments of the commands that serve: `serve`, `proxy` and `access`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Listen where others can reach it without asking for keys
    #[arg(long)]
    pub(crate) let_anyone_in: bool,
    /// Certificate chain for TLS, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Most memory of all loaded models and their caches, in MiB
    #[arg(long, default_value_t = 16_384, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..=1 << 24))]
    pub(crate) memory_mib: u64,
    /// Most memory of one model's keys and values, in MiB
    #[arg(long, default_value_t = 1_024, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..=1 << 24))]
    pub(crate) cache_mib: u64,
    /// Most requests that are answered or wait; the next one gets a 429
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) requests: u32,
    /// Most tokens of one answer
    #[arg(long, default_value_t = 4_096, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) output_tokens: u32,
    /// Longest time of one request, in seconds; then its answer is cut off
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) request_seconds: u64,
    /// Largest body of a request, in MiB
    #[arg(long, default_value_t = 4, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=8))]
    pub(crate) body_mib: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// The node to ask, such as `https://node.example`
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: String,
    /// What you trust, as a TOML file [default: policy.toml in your home]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS:PORT", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Listen where others can reach it; a proxy asks nobody for a key
    #[arg(long)]
    pub(crate) let_anyone_in: bool,
    /// Folder for verified receipts [default: receipts/ in your home]
    #[arg(long, value_name = "DIR")]
    pub(crate) receipts: Option<PathBuf>,
    /// Longest time until the node begins to answer, and between two parts of an answer
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) wait_seconds: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Make a key; it is shown once and kept nowhere
    #[command(after_help = "Example:\n  tally access new alice --requests-per-minute 120")]
    New {
        /// Whose it is
        name: String,
        /// Most requests in a minute
        #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        requests_per_minute: u32,
        /// Most requests at a time
        #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        concurrent: u32,
    },
    /// List the keys by name
    #[command(after_help = "Example:\n  tally access list")]
    List,
    /// Remove a key
    #[command(
        after_help = "Example:\n  tally access remove alice\n\nA running node learns of it when it starts again."
    )]
    Remove {
        /// Whose it is
        name: String,
    },
}

/// An address to listen on; `localhost` is this machine's own.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let own = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    own.as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:8080".to_owned())
}
