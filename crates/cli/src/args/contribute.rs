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
        after_help = "Example:\n  tally contribute dataset ./essays --name 'My essays' --licence CC-BY-4.0\n  tally contribute dataset ./essays --name 'My essays' --licence CC-BY-4.0 --out essays.contribution\n  tally contribute dataset ./essays --croissant essays.json\n\nOf a Croissant document come name, licence, version and source; what is given here besides must be the same. Every\nfile whose SHA-256 it tells must be there with these bytes, and no text may be there of which it tells nothing."
    )]
    Dataset {
        /// The file or folder; links are not followed, names that begin with a dot are left out
        texts: PathBuf,
        /// Croissant document that describes it [default: croissant.json in the folder, if it is there]
        #[arg(long, value_name = "FILE")]
        croissant: Option<PathBuf>,
        #[command(flatten)]
        told: Told,
    },
    /// A model's weights
    #[command(
        mut_arg("name", |name| name.required(true)),
        after_help = "Example:\n  tally contribute weights smol --name 'Smol' --licence Apache-2.0 --parent 3fa19c=2500:trained-on\n  tally contribute weights smol --name 'Smol' --signed-by model.sig --key publisher.pem --files ./SmolLM-135M\n\nThe second shows first that the key's holder signed the files from which the model says that it was converted;\n`tally model verify` shows that it was."
    )]
    Weights {
        /// Model by name or root
        model: String,
        #[command(flatten)]
        publisher: Publisher,
        /// The signed folder, or file, that the model was converted from
        #[arg(long, value_name = "PATH", requires = "signed_by")]
        files: Option<PathBuf>,
        #[command(flatten)]
        told: Told,
    },
    /// An adapter, such as a LoRA: the files of a folder
    #[command(
        mut_arg("name", |name| name.required(true)),
        after_help = "Example:\n  tally contribute adapter ./lora --name 'Legal tone' --licence Apache-2.0 --parent 3fa19c=2500:fine-tuned-from\n  tally contribute adapter ./lora --name 'Legal tone' --signed-by ./lora/model.sig --key publisher.pem\n\nThe second shows first that the key's holder signed these files. `tally model sign` makes such a bundle."
    )]
    Adapter {
        /// The folder; what belongs to git is left out, and model.sig at its top
        folder: PathBuf,
        #[command(flatten)]
        publisher: Publisher,
        #[command(flatten)]
        told: Told,
    },
    /// A prompt or chat template
    #[command(
        mut_arg("name", |name| name.required(true)),
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
        mut_arg("name", |name| name.required(true)),
        after_help = "Example:\n  tally contribute code --name Tally --licence 'MIT OR Apache-2.0'"
    )]
    Code {
        #[command(flatten)]
        told: Told,
    },
    /// The running of this home's node
    #[command(
        mut_arg("name", |name| name.required(true)),
        after_help = "Example:\n  tally contribute node --name 'Example Inference'"
    )]
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
    pub(crate) name: Option<String>,
    /// SPDX licence expression, or `unknown` [default: what a Croissant document says, else unknown]
    #[arg(long, value_name = "SPDX")]
    pub(crate) licence: Option<String>,
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

/// Whose signature over the files is to be verified first.
#[derive(Debug, Args)]
pub(crate) struct Publisher {
    /// OpenSSF Model Signing bundle over the files, signed with a key
    #[arg(long, value_name = "BUNDLE", requires = "key")]
    pub(crate) signed_by: Option<PathBuf>,
    /// The signer's public key: P-256, in PEM
    #[arg(long, value_name = "PUBLIC.pem", requires = "signed_by")]
    pub(crate) key: Option<PathBuf>,
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
    /// Write a contribution's signed manifest to a file, or describe a dataset as Croissant
    #[command(
        after_help = "Example:\n  tally registry export 3fa19c --out essays.contribution\n  tally registry export 3fa19c --croissant ./essays/croissant.json\n  tally registry export essays.contribution --croissant croissant.json --texts ./essays"
    )]
    Export(ExportContribution),
    /// Read every index again and verify it: the texts, the order of the array, the roots
    #[command(
        after_help = "Example:\n  tally registry verify\n\nExit status: 0 sound, 1 damaged, 2 it could not be looked at."
    )]
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct ExportContribution {
    /// The beginning of its manifest's digest, or the file of a signed manifest
    pub(crate) contribution: String,
    /// File for the signed manifest
    #[arg(long, value_name = "FILE", required_unless_present = "croissant")]
    pub(crate) out: Option<PathBuf>,
    /// File for a Croissant document of a dataset and its files
    #[arg(long, value_name = "FILE")]
    pub(crate) croissant: Option<PathBuf>,
    /// The dataset's texts [default: those of this home's index]
    #[arg(long, value_name = "PATH", requires = "croissant")]
    pub(crate) texts: Option<PathBuf>,
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
