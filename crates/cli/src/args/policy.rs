//! Arguments of `tally policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Say in sentences what a policy trusts and demands
    #[command(after_help = "Example:\n  tally policy show\n  tally policy show node.toml")]
    Show {
        /// The policy file [default: policy.toml in your home]
        policy: Option<PathBuf>,
    },
    /// Let your home's policy accept a model that you imported
    #[command(
        after_help = "Example:\n  tally model import ./SmolLM-135M --name smol\n  tally policy accept smol"
    )]
    Accept {
        /// The model, by name or root
        model: String,
    },
    /// Write a policy: whom you trust, and what you demand
    #[command(
        after_help = "Example:\n  tally policy new --node https://node.example --out node.toml\n\n  tally policy new --out node.toml \\\n    --issuer 'Example=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c' \\\n    --log 'log.example/one+dbcf5ec7+Ae1J…' \\\n    --cosigner 'a.example+06621055+BGa+…' --cosigner 'b.example+…' --cosigner 'c.example+…' \\\n    --quorum 2 --model 9372c470…\n\nIt demands the most that its keys allow: `logged` with a quorum, else `self-cosigned`, else `signed`.\nA node prints its keys with `tally key`."
    )]
    New(NewPolicy),
}

#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = true)]
pub(crate) struct NewPolicy {
    /// Ask a node for its keys; that is its own word, so compare them with what its operator tells you elsewhere
    #[arg(long, value_name = "URL", group = "whom")]
    pub(crate) node: Option<String>,
    /// An issuer's public key in hexadecimal, with a name of your choice
    #[arg(long, value_name = "NAME=KEY", group = "whom")]
    pub(crate) issuer: Vec<String>,
    /// A log's verifier key
    #[arg(long, value_name = "VKEY")]
    pub(crate) log: Vec<String>,
    /// Verifier key of a cosigner that the operator runs itself
    #[arg(long, value_name = "VKEY")]
    pub(crate) own_cosigner: Vec<String>,
    /// Verifier key of an independent cosigner
    #[arg(long, value_name = "VKEY")]
    pub(crate) cosigner: Vec<String>,
    /// How many of the independent cosigners must have vouched [default: more than two thirds]
    #[arg(long, value_name = "N", requires = "cosigner")]
    pub(crate) quorum: Option<u64>,
    /// A model to accept, by its root or by the name that your home has for it [default: any]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Vec<String>,
    /// Accept no receipt that is older
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_525))]
    pub(crate) age_days: Option<u64>,
    /// File to write; it must not be there yet [default: print it]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
