//! Arguments of `tally rag`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Answering;

#[derive(Debug, Subcommand)]
pub(crate) enum Rag {
    /// Cut texts into passages and make a vector of each, in exact integers
    #[command(
        after_help = "Example:\n  tally model import ./all-MiniLM-L6-v2 --name minilm\n  tally rag add ./essays --model minilm\n  tally rag add --of 3fa19c --model minilm\n\nThe texts are copied into your home; nothing is registered by this. The same texts and encoder give the same bytes on every machine."
    )]
    Add(RagAdd),
    /// Answer a question from the passages that are nearest to it, and cite them
    #[command(
        after_help = "Example:\n  tally rag ask 'What did we decide about locks?' --receipt a.receipt\n  tally trace a.receipt\n\nRegistered documents stand in the receipt as context and are paid as such; others are only in the prompt."
    )]
    Ask(RagAsk),
    /// Compute again how likely an answer is without each of its documents
    #[command(
        after_help = "Example:\n  tally rag explain a.receipt\n\nUp to 8 documents also get Shapley values, as exact fractions that sum to the whole.\n\nExit status: 0 computed, 1 the receipt's input is not what its passages yield, 2 it cannot be computed here."
    )]
    Explain(RagExplain),
    /// List the passages that this home keeps
    #[command(after_help = "Example:\n  tally rag list")]
    List,
    /// Remove a set of passages, and with it this home's copy of their texts
    #[command(after_help = "Example:\n  tally rag forget essays")]
    Forget {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RagAdd {
    /// Text files, or folders of them
    #[arg(required_unless_present = "of")]
    pub(crate) paths: Vec<PathBuf>,
    /// The texts of a registered dataset instead, by the beginning of its manifest
    #[arg(long, value_name = "MANIFEST", conflicts_with = "paths")]
    pub(crate) of: Option<String>,
    /// Sentence encoder by name or root
    #[arg(long)]
    pub(crate) model: String,
    /// Local name [default: that of the first path, or the manifest's first digits]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Most bytes of a passage; what the encoder cannot take whole is cut further
    #[arg(long, default_value_t = 400, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub(crate) passage_bytes: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RagAsk {
    /// The question; `-` reads it from stdin
    pub(crate) question: String,
    /// Only these passages, by name; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Vec<String>,
    /// Most passages to answer from; fewer if they do not fit the model's context
    #[arg(long, default_value_t = 4, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) top: u16,
    #[command(flatten)]
    pub(crate) answering: Answering,
}

#[derive(Debug, Args)]
pub(crate) struct RagExplain {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// Model to compute with, by file or name [default: the known model with the receipt's root]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
}
