//! The rules of this repository as programs: `cargo xtask layers`, `tidy`, `coverage` and others.
//!
//! Each subcommand is one gate of `.ci/run` or one long run; `CONTRIBUTING.md` lists them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program for a terminal prints its results")]
#![expect(clippy::print_stderr, reason = "a program for a terminal prints its findings")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use repo::Repo;

mod architectures;
mod arithmetic;
mod bench;
mod clauses;
mod clients;
mod coverage;
mod default_model;
mod default_registry;
mod deny;
mod findings;
mod float;
mod formats;
mod fuzz;
mod identical;
mod influence;
mod laws;
mod layers;
mod ledger;
mod outliers;
mod perplexity;
mod process;
mod python;
mod repo;
mod rust;
mod sentences;
mod soak;
mod tally;
mod tidy;
mod tool;
mod vectors;

/// The rules of this repository as programs
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    gate: Gate,
}

#[derive(Subcommand)]
enum Gate {
    /// Compare the crate table of ARCHITECTURE.md with manifests and sources
    Layers,
    /// Rules about files: length, opening, names, words, links, vectors, trusted-base budget
    Tidy,
    /// Every demand of the specifications has a reject vector, every rejection code a case
    Coverage,
    /// Licences, bans and sources of every dependency
    Deny,
    /// Coverage-guided fuzzing of every parser on the stable compiler
    Fuzz {
        /// Seconds for all targets together
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only these targets
        targets: Vec<String>,
    },
    /// One prompt, every kernel, thread count, chunking, batch and build: the same bytes
    Identical {
        /// Only this build of xtask, a line for each way
        #[arg(long, hide = true)]
        this_build: bool,
    },
    /// Every architecture beside `transformers`, on small random checkpoints
    Architectures {
        /// Make the checkpoints anew by `transformers`, which downloads torch, below target/
        #[arg(long)]
        make: bool,
        /// Seed of the checkpoints that are made
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Croissant and OpenSSF Model Signing against the official packages, in both directions
    Formats,
    /// What holds of every split, output and book, and in how many random cases
    Laws,
    /// A published sentence encoder, exact beside float
    Sentences,
    /// OpenAI's clients, LangChain's and schemathesis against a node and a proxy before it
    Clients {
        /// Examples of each operation that schemathesis makes
        #[arg(long, default_value_t = 60)]
        examples: u32,
    },
    /// Perplexity of the default model with loud channels, exact beside float
    Outliers {
        /// Most windows of held-out text
        #[arg(long, default_value_t = usize::MAX)]
        windows: usize,
    },
    /// Perplexity of the default model, exact beside float
    Perplexity {
        /// Most windows of held-out text
        #[arg(long, default_value_t = usize::MAX)]
        windows: usize,
    },
    /// Convert the default model's checkpoint to its model file
    DefaultModel {
        /// Compare with the committed file and write nothing
        #[arg(long)]
        compare: bool,
    },
    /// Sign the default model's provenance as contributions
    DefaultRegistry {
        /// Compare with the committed file and write nothing
        #[arg(long)]
        compare: bool,
    },
    /// The vectors of the families that the default model learned from
    DefaultInfluence {
        /// Make the sample of the families again, from this folder of `models/default/prepare.py`
        #[arg(long)]
        corpus: Option<PathBuf>,
        /// Compare with the committed files and write nothing
        #[arg(long)]
        compare: bool,
    },
    /// A book of many receipts: rebuilt, closed, audited, stated; and the book in PostgreSQL beside
    Ledger {
        /// How many made-up receipts
        #[arg(long, default_value_t = 100_000)]
        receipts: u64,
        /// How many random operations on both kinds of books
        #[arg(long, default_value_t = 2_000)]
        operations: u32,
        /// Leave PostgreSQL out, where there is no server
        #[arg(long)]
        embedded_alone: bool,
    },
    /// Measurements for docs/benchmarks.md; run it from a release build
    Bench {
        #[command(subcommand)]
        which: Option<bench::Bench>,
    },
    /// The child of `soak kill`: issue receipts until killed
    #[command(hide = true)]
    IssueLoad {
        /// Folder of log and cosigner
        folder: PathBuf,
        /// Number that makes the receipts of this round distinct
        round: u64,
        /// Forget whatever was not synced
        #[arg(long)]
        unsynced: bool,
    },
    /// Write the vectors of the specifications
    Vectors {
        /// Only these
        which: Option<Vectors>,
        /// Compare the arithmetic's with the committed files and write nothing
        #[arg(long)]
        compare: bool,
    },
    /// Long runs, recorded in docs/soak.md
    Soak {
        #[command(subcommand)]
        soak: soak::Soak,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Vectors {
    /// Accept and reject vectors of `spec/receipt.md`
    Receipt,
    /// Known answers of `spec/arithmetic.md`
    Arithmetic,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Repo::open().and_then(|repo| run(&repo, arguments.gate)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "error: {}",
                error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
            );
            ExitCode::FAILURE
        }
    }
}

fn run(repo: &Repo, gate: Gate) -> Result<()> {
    match gate {
        Gate::Layers => layers::run(repo),
        Gate::Tidy => tidy::run(repo),
        Gate::Coverage => coverage::run(repo, tally_verifier::Rejection::CODES),
        Gate::Vectors { which, compare } => write_vectors(repo, which, compare),
        Gate::Deny => deny::run_all(repo),
        Gate::Fuzz { seconds, targets } => fuzz::run(repo, seconds, &targets).map(drop),
        Gate::Identical { this_build: false } => identical::run(repo),
        Gate::Identical { this_build: true } => identical::run_this_build(repo),
        Gate::Architectures { make, seed } => architectures::run(repo, make, seed),
        Gate::Formats => formats::run_all(repo),
        Gate::Laws => laws::run(repo),
        Gate::Sentences => sentences::run(repo),
        Gate::Clients { examples } => clients::run_all(repo, examples),
        Gate::Outliers { windows } => outliers::run(repo, windows),
        Gate::Perplexity { windows } => perplexity::run(repo, windows),
        Gate::DefaultModel { compare } => default_model::run(repo, compare),
        Gate::DefaultRegistry { compare } => default_registry::run(repo, compare),
        Gate::DefaultInfluence { corpus, compare } => {
            influence::run(repo, corpus.as_deref(), compare)
        }
        Gate::Bench { which } => bench::run(repo, which),
        Gate::Ledger { receipts, operations, embedded_alone } => {
            ledger::run(receipts, operations, embedded_alone)
        }
        Gate::IssueLoad { folder, round, unsynced } => {
            soak::kill::issue_load(&folder, round, unsynced)
        }
        Gate::Soak { soak } => soak::run(repo, &soak),
    }
}

fn write_vectors(repo: &Repo, which: Option<Vectors>, is_comparison: bool) -> Result<()> {
    // The receipt's are compared by a test.
    if which != Some(Vectors::Arithmetic) && !is_comparison {
        vectors::run(repo)?;
    }
    if which != Some(Vectors::Receipt) {
        arithmetic::run(repo, is_comparison)?;
    }
    Ok(())
}
