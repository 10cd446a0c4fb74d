//! `tally key`: this node's public keys, and what its policy trusts.

use anyhow::Result;
use serde_json::json;
use tally_core::receipt::key_id;

use super::Verdict;
use crate::{context::Context, models, node};

pub(crate) fn run(context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let keys = home.load_or_create_keys()?;
    let policy = node::load_or_create_policy(&home, models::load_default()?.root())?;
    let (log, cosigner) = keys.verifiers()?;
    let public = keys.receipt.public_key();
    let (key, id) = (hex::encode(public.as_bytes()), key_id(public.as_bytes()));
    let output = context.output;
    output.json(&json!({
        "receipt": {"public_key": key, "key_id": id.to_string()},
        "log": {"vkey": log.encode()},
        "cosigner": {"vkey": cosigner.encode()},
        "policy": home.policy(),
    }))?;
    output.line(&format!("receipt key  {key}"))?;
    output.line(&format!("  key id     {id}"))?;
    output.line(&format!("log          {}", log.encode()))?;
    output.line(&format!("cosigner     {}", cosigner.encode()))?;
    output.line("")?;
    output.line(&format!("Policy {}", home.policy().display()))?;
    for line in policy.describe() {
        output.line(&format!("  {line}"))?;
    }
    output.line("")?;
    output.line("Others who want to trust this node write their policy with")?;
    output.line(&format!(
        "  tally policy new --out node.toml \\\n    --issuer 'NAME={key}' \\\n    --log '{}' \\\n    --own-cosigner '{}'",
        log.encode(),
        cosigner.encode()
    ))?;
    Ok(Verdict::Satisfied)
}
