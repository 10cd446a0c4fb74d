//! The `tally` program.
//!
//! Exit status: 0 satisfied, 1 not satisfied, 2 unreadable input, wrong use or failure.
#![forbid(unsafe_code)]

mod answer;
mod args;
mod command;
mod context;
mod home;
mod language;
mod models;
mod node;
mod output;
mod request;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{command::Verdict, context::Context, output::Output};

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = Output::new(cli.global.json);
    let result = Context::new(&cli.global, output, std::env::home_dir())
        .and_then(|context| command::run(cli.command, &context));
    match result {
        Ok(Verdict::Satisfied) => ExitCode::SUCCESS,
        Ok(Verdict::NotSatisfied) => ExitCode::from(1),
        Ok(Verdict::Unreadable) => ExitCode::from(2),
        Err(error) => {
            output.note(&format!("error: {error:#}"));
            if output.is_json() {
                let document = serde_json::json!({"error": format!("{error:#}")});
                // The exit status tells even if stdout is gone.
                let _ = output.json(&document);
            }
            ExitCode::from(2)
        }
    }
}
