//! The command line: what `tally --help` teaches.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use tally_core::computation::{Micro, TEMPERATURE_MAX};

const EXAMPLES: &str = "\
Examples:
  tally demo                                     see everything once, in a minute
  tally ask \"What is a lock?\" --receipt a.receipt  ask the default model, keep the receipt
  tally verify a.receipt                         judge the receipt, offline
  tally replay a.receipt                         compute the answer again, bit for bit
  tally inspect a.receipt                        read what the receipt says
  tally serve                                    the same for programs, as an OpenAI-compatible server

Exit status: 0 satisfied, 1 not satisfied, 2 unreadable input or wrong use.";

/// Receipts for AI: answers that anyone can verify offline and replay bit for bit.
#[derive(Debug, Parser)]
#[command(name = "tally", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Folder of keys, log, models and receipts [default: ~/.tally]
    #[arg(long, global = true, env = "TALLY_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON document to stdout instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Worker threads [default: all cores]; the answer does not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Kernels to compute with: `detect`, `portable`, `avx2`, `avx512` or `amx`; the answer does not depend on it
    #[arg(
        long,
        global = true,
        env = "TALLY_KERNELS",
        value_name = "NAME",
        default_value = "detect"
    )]
    pub(crate) kernels: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole system once: ask, receipt, verify, replay, tamper
    Demo,
    /// Ask a model and receive an answer with a receipt
    #[command(
        after_help = "Example:\n  tally ask \"Explain transactions.\" --max-tokens 80 --receipt answer.receipt"
    )]
    Ask(Ask),
    /// Make vectors of texts with a sentence encoder, in exact integers
    #[command(
        after_help = "Example:\n  tally model import ./all-MiniLM-L6-v2 --name minilm\n  tally embed --model minilm 'A man is eating.' 'Someone has lunch.'"
    )]
    Embed(Embed),
    /// Judge a receipt offline: what is established, by what, and what is not
    #[command(
        after_help = "Example:\n  tally verify answer.receipt --policy policy.toml --request request.json\n\nThe policy says whom you trust. Without --policy it is the one in your home, which trusts your own node."
    )]
    Verify(Verify),
    /// Show what a receipt says, without judging it
    Inspect(Inspect),
    /// Compute a receipt's answer again and compare it bit for bit
    #[command(
        after_help = "Example:\n  tally replay answer.receipt\n\nNeeds the model and the openings of input, seed and output, which `tally ask --receipt` writes."
    )]
    Replay(Replay),
    /// Serve this home's node: OpenAI's API, every answer with a receipt
    #[command(
        after_help = "Example:\n  tally serve &\n  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none\n  python -c 'import openai; print(openai.OpenAI().models.list())'\n\nWithout API keys (`tally access new NAME`) it listens on this machine's own addresses alone."
    )]
    Serve(Serve),
    /// Stand between a program and a node, and let only verified answers through
    #[command(
        after_help = "Example:\n  tally proxy --upstream http://127.0.0.1:8080 --policy policy.toml &\n  export OPENAI_BASE_URL=http://127.0.0.1:8081/v1\n\nEvery receipt, and every event of a stream, is verified before anything of it is passed on."
    )]
    Proxy(Proxy),
    /// Make, list and remove the API keys of this home's node
    #[command(subcommand)]
    Access(Access),
    /// Import, list and show models
    #[command(subcommand)]
    Model(Model),
    /// Show this node's public keys and its policy
    Key,
    /// Read this node's log
    #[command(subcommand)]
    Log(Log),
    /// Print the script that lets a shell complete `tally`'s words
    #[command(
        after_help = "Example:\n  tally completions bash > ~/.local/share/bash-completion/completions/tally"
    )]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages of `tally` and of all its commands
    #[command(
        after_help = "Example:\n  tally man --out ~/.local/share/man/man1\n  man tally-verify"
    )]
    Man {
        /// Folder to write to; it is made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The question; `-` reads it from stdin
    pub(crate) prompt: String,
    /// Model by name or root
    #[arg(long, default_value = "default")]
    pub(crate) model: String,
    /// Instruction that goes before the question
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// Also write the receipt, with all its openings, to this file; the home's receipts/ has it anyway
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// Also write the request body to this file, for `tally verify --request`
    #[arg(long, value_name = "FILE")]
    pub(crate) request_out: Option<PathBuf>,
    /// Your nonce, 8 to 64 bytes in hexadecimal [default: 16 random bytes]
    #[arg(long, value_name = "HEX")]
    pub(crate) nonce: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Sampling {
    /// Most tokens to answer with
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) max_tokens: u32,
    /// 0 is greedy, higher is more varied; at most six decimal places
    #[arg(long, default_value = "0.7", value_name = "DECIMAL", value_parser = temperature)]
    pub(crate) temperature: Micro,
    /// Draw only from the likeliest tokens of this total probability
    #[arg(long, default_value = "0.9", value_name = "DECIMAL", value_parser = top_p)]
    pub(crate) top_p: Micro,
    /// Draw only from this many likeliest tokens; 0 is no limit
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) top_k: u32,
    /// Fix the sampling seed [default: derived from your nonce and the input]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
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
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS:PORT")]
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
    List,
    /// Remove a key
    Remove {
        /// Whose it is
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Embed {
    /// The texts
    #[arg(required = true)]
    pub(crate) texts: Vec<String>,
    /// Sentence encoder by name or root
    #[arg(long)]
    pub(crate) model: String,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The receipt file
    pub(crate) receipt: PathBuf,
    /// What you trust, as a TOML file [default: policy.toml in your home]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The nonce that you sent, in hexadecimal
    #[arg(long, value_name = "HEX")]
    pub(crate) nonce: Option<String>,
    /// The request body that you sent
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// The answer that you got
    #[arg(long, value_name = "FILE")]
    pub(crate) response: Option<PathBuf>,
    /// Judge as of this time, in milliseconds since 1970 [default: now]
    #[arg(long, value_name = "MS")]
    pub(crate) now: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The receipt file
    pub(crate) receipt: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The receipt file
    pub(crate) receipt: PathBuf,
    /// Model file to compute with [default: the known model with the receipt's root]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Convert a Hugging Face folder (config.json, safetensors, tokenizer.json), a
    /// sentence-transformers folder or a GGUF file to exact integers
    #[command(
        after_help = "Example:\n  tally model import ./SmolLM-135M --name smol --calibration sample.txt"
    )]
    Import(Import),
    /// Measure how near a model is to the floats of its source, and how much room its bounds have
    #[command(
        after_help = "Example:\n  tally model check smol --text sample.txt --source ./SmolLM-135M --plot smol.svg\n\nExit status: 0 near, 1 not near. For a sentence encoder every line of the text is one sentence."
    )]
    Check(Check),
    /// Convert the public source again and compare the model's root
    #[command(after_help = "Example:\n  tally model verify smol --source ./SmolLM-135M")]
    Verify(VerifyModel),
    /// List the models that this home knows
    List,
    /// Show a model's manifest
    Show {
        /// Name or root
        model: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The folder, or the GGUF file
    pub(crate) source: PathBuf,
    /// Local name [default: that of the folder or file]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Text from which the headroom of the residual stream is measured [default: a built-in text]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// How the layers' matrices are stored [default: int8; int8-groups for a sentence encoder]
    #[arg(long, value_enum)]
    pub(crate) weights: Option<Weights>,
    /// Keep at most that many positions of the source's context
    #[arg(long, value_name = "POSITIONS")]
    pub(crate) context: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Name or root
    pub(crate) model: String,
    /// Text to measure with, of the kind that the model will read
    #[arg(long, value_name = "FILE")]
    pub(crate) text: PathBuf,
    /// The folder or GGUF file that the model was converted from: the float reference
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<PathBuf>,
    /// Write a picture of the divergence after every layer at every position
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Most tokens of the text that are measured
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) tokens: u32,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyModel {
    /// Name or root
    pub(crate) model: String,
    /// The folder or GGUF file that the model is said to be converted from
    #[arg(long, value_name = "PATH")]
    pub(crate) source: PathBuf,
    /// The calibration text of the conversion [default: the built-in text]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
}

/// How the layers' matrices are stored.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Weights {
    /// 8 bits and a scale for each row
    Int8,
    /// 8 bits and a scale for each 32 weights: the least error
    Int8Groups,
    /// 4 bits and a scale for each 32 weights: half the size and some of the quality
    Int4,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Print the newest cosigned checkpoint
    Checkpoint,
    /// Print the inclusion proof of an entry, as a C2SP tlog-proof
    Proof {
        /// Index of the entry, or the receipt digest in hexadecimal
        entry: String,
    },
    /// Derive everything in the log again from its entries and compare
    Fsck,
}

fn temperature(text: &str) -> Result<Micro, String> {
    decimal(text, TEMPERATURE_MAX)
}

fn top_p(text: &str) -> Result<Micro, String> {
    decimal(text, Micro::ONE)
}

fn decimal(text: &str, limit: Micro) -> Result<Micro, String> {
    match Micro::parse(text) {
        Some(value) if value <= limit => Ok(value),
        _ => Err(format!("expected a decimal from 0 to {limit} of at most six places")),
    }
}
