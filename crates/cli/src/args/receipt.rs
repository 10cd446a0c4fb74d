//! Arguments of `tally receipt`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tally_core::commitment::Field;

#[derive(Debug, Subcommand)]
pub(crate) enum Receipt {
    /// List the receipts that are kept, newest first
    #[command(
        after_help = "Example:\n  tally receipt list --limit 10\n  tally receipt list --folder ./receipts --json"
    )]
    List(List),
    /// Show what was asked and answered, as far as the receipt opens it
    #[command(
        after_help = "Example:\n  tally receipt show 3fa1\n  tally receipt show 3fa1 --field response > answer.json\n\nThe words are shown as the receipt holds them; `tally verify` says what they are worth."
    )]
    Show(Show),
    /// Keep the receipts of an answer that you got from a node by yourself
    #[command(
        after_help = "Example:\n  curl -s $NODE/v1/chat/completions -d @request.json > answer.json\n  tally receipt import answer.json\n\nThe answer is a whole body, or all events of a stream as they came. A proxy (`tally proxy`) keeps receipts by itself."
    )]
    Import(ImportReceipts),
    /// Write a copy for somebody else, which opens only what you want to reveal
    #[command(
        after_help = "Example:\n  tally receipt export 3fa1 --reveal request,response --out for-a-doctor.receipt\n  tally receipt export 3fa1 --reveal none --out bare.receipt\n\n  request   what was sent to the node, word for word
  response  what it answered, word for word
  input     the question as the model's token ids: it reveals the question
  output    the answer as the model's token ids: it reveals the answer
  seed      where the sampler's randomness began: it reveals no words
  controls  stop texts, biases and grammar, if there are any\n  attribution  who is behind the answer and where its price goes: it reveals the answer\n\nWhat is not revealed stays committed to: the copy verifies as before, and nobody can guess from it what is closed.\nA replay needs input, seed and output, and controls if there are any: `--reveal all` gives everything."
    )]
    Export(Export),
    /// Erase kept receipts, or only their words
    #[command(
        after_help = "Example:\n  tally receipt forget 3fa1 --yes\n  tally receipt forget 3fa1 --words-only --yes\n\nThe words and salts are nowhere else in this home: without them nobody can show, or guess, what was said.\nThe log keeps the receipt's digest, which tells nothing. Copies that you gave away are beyond reach."
    )]
    Forget(Forget),
    /// Add the newest inclusion proof of the log, and lose none that is there
    #[command(
        after_help = "Example:\n  tally receipt complete 3fa1\n  tally receipt complete answer.receipt --node https://node.example --policy node.toml\n\nMore cosigners may have vouched since. Every proof is checked before it is added; the statement stays as it was signed."
    )]
    Complete(Complete),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Folder of receipts [default: receipts/ in your home]
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Show at most that many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// Print this opened field alone, byte for byte
    #[arg(long, value_name = "FIELD", value_parser = field)]
    pub(crate) field: Option<Field>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportReceipts {
    /// The answer's file; `-` reads it from stdin
    pub(crate) answer: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// What to open: `none`, `all`, or fields separated by commas (below)
    #[arg(long, value_name = "FIELDS", value_parser = reveal)]
    pub(crate) reveal: Reveal,
    /// File to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The receipts: files, or the beginnings of digests or ids of those that your home keeps
    #[arg(required = true)]
    pub(crate) receipts: Vec<PathBuf>,
    /// Keep the signed statement and its evidence, and erase what was said
    #[arg(long)]
    pub(crate) words_only: bool,
    /// Really do it; without this it only says what would be erased
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// The node that issued it, such as `https://node.example` [default: this home's own log]
    #[arg(long, value_name = "URL")]
    pub(crate) node: Option<String>,
    /// Whose proofs are worth adding, as a TOML file [default: policy.toml in your home]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// Which openings a copy has.
#[derive(Clone, Debug)]
pub(crate) enum Reveal {
    /// All that the receipt has.
    All,
    /// These, each of which the receipt must have.
    Fields(Vec<Field>),
}

fn reveal(text: &str) -> Result<Reveal, String> {
    match text {
        "all" => Ok(Reveal::All),
        "none" => Ok(Reveal::Fields(vec![])),
        text => text.split(',').map(field).collect::<Result<_, _>>().map(Reveal::Fields),
    }
}

fn field(text: &str) -> Result<Field, String> {
    let found = Field::ALL.into_iter().find(|field| field.to_string() == text);
    found.ok_or_else(|| {
        let known: Vec<_> = Field::ALL.iter().map(ToString::to_string).collect();
        format!("`{text}` is no field: expected one of {}", known.join(", "))
    })
}
