//! Arguments of `tally feedback`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tally_core::{Digest, account::Account};

use super::contribute::account;

#[derive(Debug, Subcommand)]
pub(crate) enum Feedback {
    /// Rate an answer by its receipt, under your own name
    #[command(
        after_help = "Example:\n  tally feedback give answer.receipt --score 90 --to https://node.example\n  tally feedback give 3fa1 --score 20 --comment 'It invents a source.'\n  tally feedback give answer.receipt --score 90 --out rating.json    for `curl --json @rating.json NODE/v1/feedback`\n\nWithout --to and --out it is kept by this home's own node, which must have issued the receipt.\nThe node learns that you hold the receipt by one of its openings, the smallest."
    )]
    Give(Give),
    /// List the ratings, gold answers and uses that this home's node keeps
    #[command(
        after_help = "Example:\n  tally feedback list\n  tally feedback list --json | jq '.ratings[].score'"
    )]
    List,
    /// Fix which scores of a receipt are right, before anybody rates it
    #[command(
        after_help = "Example:\n  tally feedback gold 3fa1 --from 80 --to 100\n\nThe log gets a digest that tells nothing. Ratings that enter the log behind it, and before the next payout, answer it."
    )]
    Gold(GoldAnswer),
    /// State that ratings were used in a training batch or a selection: then they earn
    #[command(
        after_help = "Example:\n  tally feedback use 5b21 90ce --batch batch-7.jsonl\n  tally feedback use --all --digest 9f86d081…\n\nThe statement is signed and logged. That the batch has them is your word; its digest holds you to it."
    )]
    Use(UseRatings),
}

#[derive(Debug, Args)]
pub(crate) struct Give {
    /// Receipt file, or the beginning of a kept receipt's digest or id
    pub(crate) receipt: PathBuf,
    /// From 0, useless, to 100
    #[arg(long, value_name = "N", value_parser = score())]
    pub(crate) score: u8,
    /// Why, in at most 1,024 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Who gets what it earns: `commons`, or another `did:key` [default: you]
    #[arg(long, value_name = "WHO", value_parser = account)]
    pub(crate) payee: Option<Account>,
    /// Write what a node takes to this file; it must not be there
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) out: Option<PathBuf>,
    /// Send it to this node, which issued the receipt
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// API key of that node, if it wants one
    #[arg(long, env = "TALLY_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GoldAnswer {
    /// Receipt file, the beginning of a kept receipt's digest or id, or a whole digest
    pub(crate) receipt: PathBuf,
    /// The least right score
    #[arg(long, value_name = "N", value_parser = score())]
    pub(crate) from: u8,
    /// The greatest right score
    #[arg(long, value_name = "N", value_parser = score())]
    pub(crate) to: u8,
}

#[derive(Debug, Args)]
pub(crate) struct UseRatings {
    /// The beginnings of the ratings' digests, at least 4 digits each
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ratings: Vec<String>,
    /// All ratings that no use has named yet
    #[arg(long)]
    pub(crate) all: bool,
    /// What they were used in: the training batch, or the record of the selection
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "digest",
        conflicts_with = "digest"
    )]
    pub(crate) batch: Option<PathBuf>,
    /// Its SHA-256
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub(crate) digest: Option<Digest>,
}

fn score() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(0..=100)
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::parse_hex(&text.to_ascii_lowercase())
        .ok_or_else(|| "expected 64 hexadecimal digits".into())
}
