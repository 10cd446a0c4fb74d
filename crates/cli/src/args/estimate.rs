//! Arguments of `tally estimate`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Estimate {
    /// The receipt: its file, or the beginning of the digest or id of one that your home keeps
    pub(crate) receipt: PathBuf,
    /// Show every family, not the first few of each contribution
    #[arg(long)]
    pub(crate) all: bool,
}
