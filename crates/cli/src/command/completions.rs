//! `tally completions`: the script that lets a shell complete `tally`'s words.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::Verdict;
use crate::{args::Cli, context::Context};

pub(crate) fn run(shell: Shell, context: &Context) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tally", &mut script);
    let script = String::from_utf8(script)?;
    context.output.json(&json!({"shell": shell.to_string(), "script": script}))?;
    context.output.piece(&script)?;
    Ok(Verdict::Satisfied)
}
