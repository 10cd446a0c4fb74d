//! `tally man`: the manual pages, made from the same text as `--help`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use serde_json::json;

use super::Verdict;
use crate::{args::Cli, context::Context};

pub(crate) fn run(out: &Path, context: &Context) -> Result<Verdict> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    clap_mangen::generate_to(Cli::command(), out)
        .with_context(|| format!("cannot write manual pages to {}", out.display()))?;
    context.output.json(&json!({"folder": out}))?;
    context.output.line(&format!("Manual pages written to {}", out.display()))?;
    Ok(Verdict::Satisfied)
}
