//! The commands, one file each.

mod access;
mod ask;
mod completions;
mod contribute;
mod demo;
mod embed;
mod estimate;
mod feedback;
mod inspect;
mod key;
mod ledger;
mod log;
mod man;
mod model;
mod policy;
mod proxy;
mod rag;
mod receipt;
mod registry;
mod replay;
mod serve;
mod trace;
mod verify;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{args, context::Context, receipt_file::require_absent, rehearsal};

/// Whether what was asked for holds: the exit status of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit status 0.
    Satisfied,
    /// Exit status 1.
    NotSatisfied,
    /// Exit status 2.
    Unreadable,
}

/// Runs one command.
pub(crate) fn run(command: args::Command, context: &Context) -> Result<Verdict> {
    match command {
        args::Command::Demo => demo::run(context),
        args::Command::Ask(ask) => ask::run(&ask, context),
        args::Command::Embed(embed) => embed::run(&embed, context),
        args::Command::Verify(verify) => verify::run(&verify, context),
        args::Command::Inspect(inspect) => inspect::run(&inspect, context),
        args::Command::Replay(replay) => replay::run(&replay, context),
        args::Command::Serve(serve) => serve::run(&serve, context),
        args::Command::Proxy(proxy) => proxy::run(&proxy, context),
        args::Command::Receipt(receipt) => receipt::run(&receipt, context),
        args::Command::Policy(policy) => policy::run(&policy, context),
        args::Command::Access(access) => access::run(&access, context),
        args::Command::Model(model) => model::run(&model, context),
        args::Command::Trace(trace) => trace::run(&trace, context),
        args::Command::Estimate(estimate) => estimate::run(&estimate, context),
        args::Command::Rag(rag) => rag::run(&rag, context),
        args::Command::Contribute(contribute) => contribute::run(&contribute, context),
        args::Command::Register(register) => contribute::register(&register, context),
        args::Command::Registry(registry) => registry::run(&registry, context),
        args::Command::Split(split) => registry::split(&split, context),
        args::Command::Feedback(feedback) => feedback::run(&feedback, context),
        args::Command::Ledger(ledger) => ledger::run(&ledger, context),
        args::Command::Key => key::run(context),
        args::Command::Log(log) => log::run(&log, context),
        args::Command::RehearseGrammar => rehearsal::run(),
        args::Command::Completions { shell } => completions::run(shell, context),
        args::Command::Man { out } => man::run(&out, context),
    }
}

/// Writes a file that is not there yet, which nobody else can read: it may hold a conversation.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    require_absent(path)?;
    let failed = || format!("cannot write {}", path.display());
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).with_context(failed)
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .with_context(failed)?;
    let found = u64::try_from(bytes.len())?;
    ensure!(found <= limit, "{} has more than {limit} bytes", path.display());
    Ok(bytes)
}

/// Parses a nonce given in hexadecimal.
fn parse_nonce(text: &str) -> Result<Vec<u8>> {
    let nonce = hex::decode(text).with_context(|| format!("nonce `{text}` is not hexadecimal"))?;
    ensure!((8..=64).contains(&nonce.len()), "nonce has {} bytes, expected 8 to 64", nonce.len());
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_written_file_is_its_owners_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        write_new(&path, b"words").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&path, b"other").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"words");
    }
}
