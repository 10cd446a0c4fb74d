//! The `tally` program.
//!
//! Exit status: 0 satisfied, 1 not satisfied, 2 unreadable input, wrong use or failure.
#![forbid(unsafe_code)]

mod answer;
mod args;
mod book;
mod command;
mod context;
mod contributions;
mod feedback;
mod home;
mod ladder;
mod models;
mod node;
mod output;
mod rag;
mod receipt_file;
mod receipts;
mod rehearsal;
mod request;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{command::Verdict, context::Context, output::Output};

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_use(&error),
    };
    let output = Output::new(cli.global.json, wants_colour());
    let result = Context::new(&cli.global, output, std::env::home_dir())
        .and_then(|context| command::run(cli.command, &context));
    match result {
        Ok(Verdict::Satisfied) => ExitCode::SUCCESS,
        Ok(Verdict::NotSatisfied) => ExitCode::from(1),
        Ok(Verdict::Unreadable) => ExitCode::from(2),
        // Nobody reads any more: there is nobody to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(2),
        Err(error) => {
            let text = chain_text(&error);
            output.note(&format!("error: {text}"));
            let (text, hint) = match text.split_once("\n\nhint: ") {
                Some((text, hint)) => (text, Some(hint)),
                None => (text.as_str(), None),
            };
            // The exit status tells even if stdout is gone.
            let _ = output.json(&serde_json::json!({"error": text, "hint": hint}));
            ExitCode::from(2)
        }
    }
}

/// Colour may be shown unless the user asks for none (<https://no-color.org>) or the terminal has none.
#[expect(clippy::disallowed_methods, reason = "the program's one look at the environment")]
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Help and version go to stdout; wrong use is told on stderr, and as JSON if that was asked for.
fn wrong_use(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if stdout and stderr are gone.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    let _ = Output::new(is_json, false).json(&serde_json::json!({"error": error.to_string()}));
    ExitCode::from(2)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error and its causes, without a cause that the text before it has told already.
fn chain_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
