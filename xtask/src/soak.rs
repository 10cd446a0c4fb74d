//! `cargo xtask soak`: long runs, whose counts are recorded in `docs/soak.md`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

use crate::float;
use crate::fuzz;
use crate::repo::{Repo, stdout};

mod influence;
pub(crate) mod kill;
mod mutants;
mod serve;

/// Kill runs shorter than this are not long runs and are not recorded.
const RECORDED_ROUNDS_MIN: u64 = 100;

/// Load runs shorter than this are not recorded, and fewer restarts.
const RECORDED_SECONDS_MIN: u64 = 600;
const RECORDED_RESTARTS_MIN: u64 = 50;

/// One kind of long run.
#[derive(Debug, Subcommand)]
pub(crate) enum Soak {
    /// Change core and verifier in every way that cargo-mutants knows; some test must notice
    Mutants {
        /// Further arguments for `cargo mutants`, such as `--shard 1/8` or `--file PATH`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Kill a process that issues receipts under load; nothing handed out may be missing
    Kill {
        /// How often, over the file system and again over a storage that forgets what is unsynced
        #[arg(long, default_value_t = 100)]
        rounds: u64,
        /// Chooses the moments
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Load a node with clients that stream, leave, read slowly and send nonsense
    Serve {
        /// How long
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// How many clients
        #[arg(long, default_value_t = 16)]
        clients: u32,
    },
    /// Kill a node under 50 concurrent requests; no receipt that a client got may be missing
    Restart {
        /// How often
        #[arg(long, default_value_t = 50)]
        rounds: u64,
    },
    /// Train small models on halves of the families; compare losses with estimates of influence
    Influence {
        /// How many halves, besides those by which the method was chosen
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1_000))]
        subsets: u32,
        /// Threads of the training
        #[arg(long, default_value_t = 1)]
        threads: u32,
        /// A Python that has torch and numpy, instead of one made for it below target/
        #[arg(long)]
        python: Option<PathBuf>,
    },
    /// Compare the sampler's variate of every one of the 2^32 words with the real number
    Gumbel,
    /// Fuzz every parser for a long time
    Fuzz {
        /// Minutes for each target
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Only these targets
        targets: Vec<String>,
    },
}

/// Runs one kind and records what it came to.
pub(crate) fn run(repo: &Repo, soak: &Soak) -> Result<()> {
    match soak {
        Soak::Mutants { arguments } => mutants::run(repo, arguments),
        Soak::Kill { rounds, seed } => {
            for (storage, is_unsynced) in [("file system", false), ("unsynced writes lost", true)] {
                let result = kill::run(*rounds, is_unsynced, *seed)?;
                println!("kill, {storage}: {rounds} rounds, {result}");
                if *rounds >= RECORDED_ROUNDS_MIN {
                    let amount = format!("{rounds} kills");
                    record(repo, &format!("kill, {storage}"), &amount, &result)?;
                }
            }
            Ok(())
        }
        Soak::Serve { seconds, clients } => {
            let result = serve::load(repo, *seconds, *clients)?;
            println!("serve, {clients} clients, {seconds} s: {result}");
            match *seconds >= RECORDED_SECONDS_MIN {
                true => record(
                    repo,
                    &format!("serve, {clients} clients"),
                    &format!("{seconds} s"),
                    &result,
                ),
                false => Ok(()),
            }
        }
        Soak::Restart { rounds } => {
            let result = serve::restart(repo, *rounds)?;
            println!("restart: {rounds} kills, {result}");
            match *rounds >= RECORDED_RESTARTS_MIN {
                true => record(repo, "restart, 50 clients", &format!("{rounds} kills"), &result),
                false => Ok(()),
            }
        }
        Soak::Influence { subsets, threads, python } => {
            let result = influence::run(repo, *subsets, *threads, python.as_deref())?;
            println!("influence: {result}");
            record(repo, "influence", &format!("{subsets} models"), &result)
        }
        Soak::Gumbel => {
            let sweep = float::gumbel_sweep(1);
            let found = format!("worst error 2^{:.2}", sweep.worst_error.log2());
            ensure!(sweep.is_within_bound(), "{found}, {sweep:?}");
            record(repo, "Gumbel variates", "2^32 words", &format!("{found}, none decreases"))
        }
        Soak::Fuzz { minutes, targets } => {
            let count = match targets.len() {
                0 => fuzz::count(repo)?,
                count => count,
            };
            let seconds = minutes * 60 * u64::try_from(count)?;
            for outcome in fuzz::run(repo, seconds, targets)? {
                let amount = format!("{} s, {} inputs", outcome.seconds, outcome.runs);
                let result = format!("{} edges, no failure", outcome.edges);
                record(repo, &format!("fuzz {}", outcome.target), &amount, &result)?;
            }
            Ok(())
        }
    }
}

/// Appends one row to the table that ends `docs/soak.md`.
pub(crate) fn record(repo: &Repo, run: &str, amount: &str, result: &str) -> Result<()> {
    const PATH: &str = "docs/soak.md";
    let date = stdout(repo.command("date").args(["-u", "+%F"]))?;
    let commit = stdout(repo.command("git").args(["describe", "--always", "--dirty"]))?;
    let (date, commit) = (date.trim(), commit.trim());
    let row = format!("| {date} | {commit} | {run} | {amount} | {result} |\n");
    print!("soak: {row}");
    let text = repo.text(PATH)? + &row;
    std::fs::write(repo.root().join(PATH), text).context(PATH)
}
