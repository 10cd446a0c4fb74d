//! The command line: what `tally --help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tally_core::computation::{Micro, TEMPERATURE_MAX};

mod contribute;
mod estimate;
mod feedback;
mod ledger;
mod model;
mod policy;
mod rag;
mod receipt;
mod serve;
mod trace;

pub(crate) use contribute::{
    Contribute, ExportContribution, ParentArgument, Publisher, Register, RegistryCommand,
    SplitCommand, Told,
};
pub(crate) use estimate::Estimate;
pub(crate) use feedback::{Feedback, Give, GoldAnswer, UseRatings};
pub(crate) use ledger::{
    Audit, Balance, Claim, CloseEpoch, EpochCommand, Ledger, PayFeedback, Settle, ShowEpoch,
    Statement as LedgerStatement, VerifyLedger, Void,
};
pub(crate) use model::{Check, Import, Model, SignModel, VerifyModel, Weights};
pub(crate) use policy::{NewPolicy, Policy};
pub(crate) use rag::{Rag, RagAdd, RagAsk, RagExplain};
pub(crate) use receipt::{Complete, Export, Forget, ImportReceipts, List, Receipt, Reveal, Show};
pub(crate) use serve::{Access, Proxy, Serve};
pub(crate) use trace::Trace;

const EXAMPLES: &str = "\
Examples:
  tally demo                                     see everything once, in a minute
  tally ask \"What is a lock?\" --receipt a.receipt  ask the default model, keep the receipt
  tally verify a.receipt                         judge the receipt, offline
  tally replay a.receipt                         compute the answer again, bit for bit
  tally inspect a.receipt                        read what the receipt says
  tally serve                                    the same for programs, as an OpenAI-compatible server
  tally receipt list                             the receipts that you keep
  tally completions bash                         let your shell complete all of this; `tally man` explains it

Exit status: 0 satisfied, 1 not satisfied, 2 unreadable input or wrong use.";

/// Receipts for AI: answers that anyone can verify offline and replay bit for bit.
#[derive(Debug, Parser)]
#[command(
    name = "tally",
    version,
    after_help = EXAMPLES,
    propagate_version = true,
    arg_required_else_help = true
)]
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
        hide_env_values = true,
        value_name = "NAME",
        default_value = "detect",
        value_parser = ["detect", "portable", "avx2", "avx512", "amx"],
        hide_possible_values = true
    )]
    pub(crate) kernels: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole system once: ask, receipt, verify, replay, tamper
    #[command(
        after_help = "Example:\n  tally demo\n\nEvery step is real; keys, log and receipt are kept in your home (`--home DIR` for another)."
    )]
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
        after_help = "Example:\n  tally verify answer.receipt --policy policy.toml --request request.json\n\nThe policy says whom you trust. Without --policy it is the one in your home, which trusts your own node.\n\nExit status: 0 the policy is satisfied, 1 it is not, 2 the receipt or the policy cannot be read."
    )]
    Verify(Verify),
    /// Show what a receipt says, without judging it
    #[command(
        after_help = "Example:\n  tally inspect answer.receipt\n  tally inspect answer.receipt --json | jq .answer.computation\n\nNothing is judged: `tally verify` does that. `tally receipt show` prints the words."
    )]
    Inspect(Inspect),
    /// Compute a receipt's answer again and compare it bit for bit
    #[command(
        after_help = "Example:\n  tally replay answer.receipt\n\nNeeds the model and the openings of input, seed and output, which `tally ask --receipt` writes.\n\nExit status: 0 the same, 1 something differs, 2 it cannot be computed again here."
    )]
    Replay(Replay),
    /// Serve this home's node: OpenAI's API, every answer with a receipt
    #[command(
        after_help = "Example:\n  tally serve &\n  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none\n  python -c 'import openai; print(openai.OpenAI().models.list())'\n\nWithout API keys (`tally access new NAME`) it listens on this machine's own addresses alone."
    )]
    Serve(Serve),
    /// Stand between a program and a node, and let only verified answers through
    #[command(
        after_help = "Example:\n  tally proxy --upstream http://127.0.0.1:8080 --policy policy.toml &\n  export OPENAI_BASE_URL=http://127.0.0.1:8081/v1 OPENAI_API_KEY=none\n\nEvery receipt, and every event of a stream, is verified before anything of it is passed on."
    )]
    Proxy(Proxy),
    /// Make, list and remove the API keys of this home's node
    #[command(subcommand, after_help = "Example:\n  tally access new alice\n  tally access list")]
    Access(Access),
    /// List, show, export, complete and forget the receipts that your home keeps
    #[command(
        subcommand,
        after_help = "Example:\n  tally receipt list\n  tally receipt show 3fa1\n  tally receipt export 3fa1 --reveal request,response --out for-a-doctor.receipt\n\nA receipt is named by its file, or by the beginning of its digest or id."
    )]
    Receipt(Receipt),
    /// Say whom you trust: show a policy in sentences, or write a new one
    #[command(
        subcommand,
        after_help = "Example:\n  tally policy new --node https://node.example --out node.toml\n  tally policy show node.toml\n  tally verify answer.receipt --policy node.toml"
    )]
    Policy(Policy),
    /// Import, list and show models
    #[command(
        subcommand,
        after_help = "Example:\n  tally model list\n  tally model import ./SmolLM-135M --name smol"
    )]
    Model(Model),
    /// Show whose registered words a text or an answer repeats, who is behind it, and where its price goes
    #[command(
        after_help = "Example:\n  tally trace answer.receipt\n  tally trace answer.receipt --html answer.html\n  tally trace 'Some words that may be somebody else’s'\n  tally trace answer.receipt --prove proved.receipt && tally verify proved.receipt\n\nExit status: 0 shown, 1 the receipt's spans are not those of its indices, 2 it cannot be read."
    )]
    Trace(Trace),
    /// Estimate which of the texts that the model learned from made an answer likelier
    #[command(
        after_help = "Example:\n  tally ask 'What is a lock?' --receipt answer.receipt\n  tally estimate answer.receipt\n  tally estimate answer.receipt --all --json | jq '.estimates[].families[0]'\n\nThe answer is computed again, and the scores are the same on every machine. They are estimates: how well such\nscores foretold what retraining showed stands beside each of them. No money follows from them.\n\nExit status: 0 estimated, 1 the answer is not what the computation yields, 2 it cannot be estimated here."
    )]
    Estimate(Estimate),
    /// Answer from your own texts, cite them, pay them, and show what removing one changes
    #[command(
        subcommand,
        after_help = "Example:\n  tally rag add ./essays --model minilm\n  tally rag ask 'What did we decide about locks?' --receipt a.receipt\n  tally rag explain a.receipt\n\nTexts that are registered (`tally contribute dataset`) are paid as context; others are only read."
    )]
    Rag(Rag),
    /// Sign what you made and put it on record: texts, weights, prompts, code, a node
    #[command(
        subcommand,
        after_help = "Example:\n  tally contribute dataset ./essays --name 'My essays' --licence CC-BY-4.0\n  tally registry list\n\nA contribution is your word, signed; the log shows who said it first."
    )]
    Contribute(Contribute),
    /// Put somebody's signed contribution on record with this node
    #[command(
        after_help = "Example:\n  tally register essays.contribution --texts ./essays\n\nWith its texts a dataset is indexed, so that answers which repeat its words say so."
    )]
    Register(Register),
    /// List, show and export what this home has registered
    #[command(
        subcommand,
        after_help = "Example:\n  tally registry list\n  tally registry show 3fa19c"
    )]
    Registry(RegistryCommand),
    /// Show or begin the split policy: what answers cost and how that is divided
    #[command(
        subcommand,
        after_help = "Example:\n  tally split show\n  tally split new --out ~/.tally/split.toml"
    )]
    Split(SplitCommand),
    /// Keep the book of what answers charged: settle, close epochs, state earnings, audit
    #[command(
        subcommand,
        after_help = "Example:\n  tally ledger settle\n  tally ledger epoch close\n  tally ledger statement --of did:key:z6Mk… --out august.earnings\n\nNo money moves here: the book says what is owed and what was paid."
    )]
    Ledger(Ledger),
    /// Rate answers by their receipts; fix gold answers, and say which ratings were used
    #[command(
        subcommand,
        after_help = "Example:\n  tally feedback give answer.receipt --score 90 --to https://node.example\n  tally feedback list\n  tally ledger feedback\n\nA rating earns when it was used, by how well its rater answers gold questions."
    )]
    Feedback(Feedback),
    /// Show this node's public keys and its policy
    #[command(
        after_help = "Example:\n  tally key\n\nThe last lines are for others: with them they write a policy that trusts this node."
    )]
    Key,
    /// Read this node's log
    #[command(subcommand, after_help = "Example:\n  tally log checkpoint\n  tally log fsck")]
    Log(Log),
    /// Compile a grammar within limits: the program calls this itself
    #[command(hide = true)]
    RehearseGrammar,
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
    /// Instruction that goes before the question
    #[arg(long)]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) answering: Answering,
}

/// How an answer is made, and where its receipt goes.
#[derive(Debug, Args)]
pub(crate) struct Answering {
    /// Model by name or root
    #[arg(long, default_value = "default")]
    pub(crate) model: String,
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
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
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
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
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
    /// Let this be now, in milliseconds since 1970: a receipt must not be of the future [default: the clock]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(crate) now: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// Model to compute with, by file or name [default: the known model with the receipt's root]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Print the newest cosigned checkpoint
    #[command(after_help = "Example:\n  tally log checkpoint > checkpoint.txt")]
    Checkpoint,
    /// Print the inclusion proof of an entry, as a C2SP tlog-proof
    #[command(after_help = "Example:\n  tally log proof 0 > entry-0.tlog-proof")]
    Proof {
        /// Index of the entry, or the receipt digest in hexadecimal
        entry: String,
    },
    /// Derive everything in the log again from its entries and compare
    #[command(
        after_help = "Example:\n  tally log fsck\n\nExit status: 0 sound, 1 damaged, 2 it could not be looked at."
    )]
    Fsck,
}

fn milliseconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected milliseconds since 1970, such as 1790000000000".to_owned())
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
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
