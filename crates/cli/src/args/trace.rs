//! Arguments of `tally trace`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// A receipt (its file, or the beginning of the digest or id of one that your home keeps), or else a text
    #[arg(required_unless_present = "text")]
    pub(crate) what: Option<String>,
    /// Trace this text, whatever it looks like; `-` reads it from stdin
    #[arg(long, conflicts_with_all = ["what", "prove"])]
    pub(crate) text: Option<String>,
    /// Also write one self-contained page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also write the receipt with span proofs to this file; needs the indices that it names
    #[arg(long, value_name = "FILE")]
    pub(crate) prove: Option<PathBuf>,
}
