//! This home's node: keys, log, cosigner and the policy that trusts them.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use tally_core::Digest;
use tally_issuer::{IssuerError, Node, NodeKeys};
use tally_log::{LogError, Posix};
use tally_verifier::{
    Policy,
    policy::{HomePolicy, POLICY_BYTES_MAX},
};

use crate::{command::read_limited, home::Home};

/// Opens the home's node for writing, making keys, log and cosigner on first use.
pub(crate) fn open(home: &Home) -> Result<Node> {
    let keys = home.load_or_create_keys()?;
    let log = Posix::create(home.log()).context("cannot open the log's folder")?;
    let cosigner = Posix::create(home.cosigner()).context("cannot open the cosigner's folder")?;
    Node::open(Arc::new(log), Arc::new(cosigner), &keys).map_err(|error| {
        let is_held = matches!(&error, IssuerError::Log(LogError::Locked { .. }));
        let shown = anyhow::Error::from(error).context("cannot open this node's log");
        match is_held {
            true => anyhow::anyhow!("{shown:#}\n\nhint: another `tally` writes it, a running `tally serve` for example: stop that one first, or ask it (its log is at /log)"),
            false => shown,
        }
    })
}

/// The home's policy, written on first use: it trusts this node's own keys and says so.
pub(crate) fn load_or_create_policy(home: &Home, default_model: Digest) -> Result<Policy> {
    let path = home.policy();
    if !path.try_exists()? {
        let text = policy_text(&home.load_or_create_keys()?, default_model)?;
        let failed = || format!("cannot write {}", path.display());
        let options = fs::File::options().write(true).create_new(true).mode(0o600).to_owned();
        let mut file = options.open(&path).with_context(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
    }
    read_policy(&path)
}

/// A policy file.
pub(crate) fn read_policy(path: &Path) -> Result<Policy> {
    let text = String::from_utf8(read_limited(path, POLICY_BYTES_MAX as u64)?)
        .with_context(|| format!("policy {} is not UTF-8", path.display()))?;
    Policy::parse(&text).with_context(|| format!("policy {}", path.display()))
}

fn policy_text(keys: &NodeKeys, default_model: Digest) -> Result<String> {
    let (log, cosigner) = keys.verifiers()?;
    let policy = HomePolicy {
        issuer_name: "this node",
        issuer_key: &keys.receipt.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[default_model],
        arithmetics: &[tally_engine::ARITHMETIC],
    };
    Ok(policy.encode())
}
