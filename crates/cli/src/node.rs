//! This home's node: keys, log, cosigner and the policy that trusts them.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use tally_core::Digest;
use tally_issuer::{Node, NodeKeys};
use tally_log::Posix;
use tally_verifier::{Policy, policy::HomePolicy};

use crate::home::Home;

/// Opens the home's node for writing, making keys, log and cosigner on first use.
pub(crate) fn open(home: &Home) -> Result<Node> {
    let keys = home.load_or_create_keys()?;
    let log = Posix::create(home.log()).context("cannot open the log's folder")?;
    let cosigner = Posix::create(home.cosigner()).context("cannot open the cosigner's folder")?;
    Node::open(Arc::new(log), Arc::new(cosigner), &keys)
        .context("cannot open this node's log")
        .map_err(|error| match error.to_string().contains("held") {
            true => error.context("hint: another `tally` process has it open"),
            false => error,
        })
}

/// The home's policy, written on first use: it trusts this node's own keys and says so.
pub(crate) fn load_or_create_policy(home: &Home, default_model: Digest) -> Result<Policy> {
    let path = home.policy();
    if !path.try_exists()? {
        let text = policy_text(&home.load_or_create_keys()?, default_model)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
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
