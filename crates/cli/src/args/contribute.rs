//! Arguments of `tally contribute`, `register`, `registry` and `split`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tally_core::{
    account::Account,
    contribution::{BPS_WHOLE, Relation},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Contribute {
    /// Documents: a text file, or all texts of a folder
    #[command(
        after_help = "Example:\n  tally contribute dataset ./essays --name 'My essays' --licence CC-BY-4.0\n  tally contribute dataset ./essays --name 'My essays' --licence CC-BY-4.0 --out essays.contribution"
    )]
    Dataset {
        /// The file or folder; links are not followed, names that begin with a dot are left out
        texts: PathBuf,
        #[command(flatten)]
        told: Told,
    },
    /// A model's weights
    #[command(
        after_help = "Example:\n  tally contribute weights smol --name 'Smol' --licence Apache-2.0 --parent 3fa19c=2500:trained-on"
    )]
    Weights {
        /// Model by name or root
        model: String,
        #[command(flatten)]
        told: Told,
    },
    /// A prompt or chat template
    #[command(
        after_help = "Example:\n  tally contribute prompt template.jinja --name 'Chat template' --licence MIT"
    )]
    Prompt {
        /// Its file
        file: PathBuf,
        #[command(flatten)]
        told: Told,
    },
    /// The program that this is
    #[command(
        after_help = "Example:\n  tally contribute code --name Tally --licence 'MIT OR Apache-2.0'"
    )]
    Code {
        #[command(flatten)]
        told: Told,
    },
    /// The running of this home's node
    #[command(after_help = "Example:\n  tally contribute node --name 'Example Inference'")]
    Node {
        #[command(flatten)]
        told: Told,
    },
}

/// What a contributor tells.
#[derive(Debug, Args)]
pub(crate) struct Told {
    /// Its name among people
    #[arg(long)]
    pub(crate) name: String,
    /// SPDX licence expression, or `unknown`
    #[arg(long, default_value = "unknown", value_name = "SPDX")]
    pub(crate) licence: String,
    /// What it was made from, and which part of its earnings goes there: `MANIFEST=BPS` or `MANIFEST=BPS:RELATION`,
    /// with relation `derived-from`, `trained-on` or `fine-tuned-from`; may be given several times
    #[arg(long = "parent", value_name = "MANIFEST=BPS", value_parser = parent)]
    pub(crate) parents: Vec<ParentArgument>,
    /// Its version
    #[arg(long, value_name = "TEXT")]
    pub(crate) of_version: Option<String>,
    /// Where it can be had
    #[arg(long, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// Who gets what it earns: `commons`, or another `did:key` [default: you]
    #[arg(long, value_name = "WHO", value_parser = account)]
    pub(crate) payee: Option<Account>,
    /// Write the signed manifest to this file, to be registered by a node, instead of registering it here
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A parent as it is named on the command line.
#[derive(Clone, Debug)]
pub(crate) struct ParentArgument {
    pub(crate) manifest: String,
    pub(crate) share_bps: u16,
    pub(crate) relation: Relation,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The signed manifest
    pub(crate) manifest: PathBuf,
    /// The texts of a dataset, to be indexed: they must be those that the manifest names
    #[arg(long, value_name = "PATH")]
    pub(crate) texts: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List what this home has registered, in the order of registration
    #[command(
        after_help = "Example:\n  tally registry list\n  tally registry list --json | jq '.contributions[].name'"
    )]
    List,
    /// Show one contribution, what it was made from and what was made from it
    #[command(after_help = "Example:\n  tally registry show 3fa19c")]
    Show {
        /// The beginning of its manifest's digest
        contribution: String,
    },
    /// Write a registered contribution's signed manifest to a file
    #[command(after_help = "Example:\n  tally registry export 3fa19c --out essays.contribution")]
    Export {
        /// The beginning of its manifest's digest
        contribution: String,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Read every index again and verify it: the texts, the order of the array, the roots
    #[command(
        after_help = "Example:\n  tally registry verify\n\nExit status: 0 sound, 1 damaged, 2 it could not be looked at."
    )]
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SplitCommand {
    /// Show what answers cost here and how that is divided
    #[command(after_help = "Example:\n  tally split show\n  tally split show --file other.toml")]
    Show {
        /// Another split policy [default: split.toml in your home]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the split policy that holds now to a file, to be edited
    #[command(
        after_help = "Example:\n  tally split new --out ~/.tally/split.toml\n  $EDITOR ~/.tally/split.toml\n  tally split show"
    )]
    New {
        /// The file; it must not be there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

fn parent(text: &str) -> Result<ParentArgument, String> {
    let form = || "expected MANIFEST=BPS or MANIFEST=BPS:RELATION, such as 3fa19c=2500".to_owned();
    let (manifest, rest) = text.split_once('=').ok_or_else(form)?;
    let (share, relation) = rest.split_once(':').unwrap_or((rest, "derived-from"));
    let share_bps = share.parse().ok().filter(|share| *share <= BPS_WHOLE);
    let share_bps = share_bps
        .ok_or_else(|| format!("expected 0 to {BPS_WHOLE} basis points, found `{share}`"))?;
    let relation = Relation::ALL.into_iter().find(|known| known.to_string() == relation);
    let relation = relation.ok_or_else(|| {
        let known: Vec<String> = Relation::ALL.iter().map(ToString::to_string).collect();
        format!("expected a relation: {}", known.join(", "))
    })?;
    if manifest.len() < 4 || manifest.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        return Err(form());
    }
    Ok(ParentArgument { manifest: manifest.to_lowercase(), share_bps, relation })
}

/// An account as people name it.
pub(crate) fn account(text: &str) -> Result<Account, String> {
    match text {
        "commons" => Ok(Account::Commons),
        "feedback" => Ok(Account::Feedback),
        did => tally_attribution::did::parse_did(did)
            .map(Account::Contributor)
            .map_err(|error| format!("expected `commons` or a did:key: {error}")),
    }
}
