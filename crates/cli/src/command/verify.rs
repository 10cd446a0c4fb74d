//! `tally verify`: what is established about a receipt, by what, and what is not.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tally_core::receipt::OPENING_BYTES_MAX;
use tally_verifier::{Expected, Policy, Receipt, Rejection, UnixTime, Verified, verify};

use super::{Verdict, parse_nonce, read_limited, read_receipt};
use crate::{
    args,
    context::{Context, now_ms},
    node,
    output::{Colour, Output, quoted},
};

const POLICY_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(args: &args::Verify, context: &Context) -> Result<Verdict> {
    let receipt = read_receipt(&args.receipt)?;
    let policy = load_policy(args.policy.as_deref(), context)?;
    let nonce = args.nonce.as_deref().map(parse_nonce).transpose()?;
    let read = |path: &std::path::PathBuf| read_limited(path, OPENING_BYTES_MAX);
    let request = args.request.as_ref().map(read).transpose()?;
    let response = args.response.as_ref().map(read).transpose()?;
    let expected = Expected {
        nonce: nonce.as_deref(),
        request: request.as_deref(),
        response: response.as_deref(),
        receipt_digest: None,
    };
    let now = UnixTime::from_ms(args.now.map_or_else(now_ms, Ok)?);
    match verify(&receipt, &policy, &expected, now) {
        Ok(verified) => {
            context.output.json(&verified_json(&verified))?;
            show_verified(&verified, context.output)?;
            Ok(Verdict::Satisfied)
        }
        Err(rejection) => {
            context.output.json(&rejection_json(&rejection))?;
            show_rejection(&rejection, context.output)?;
            Ok(match rejection.is_unreadable() {
                true => Verdict::Unreadable,
                false => Verdict::NotSatisfied,
            })
        }
    }
}

/// The policy in a file, or that of the home.
pub(super) fn load_policy(path: Option<&Path>, context: &Context) -> Result<Policy> {
    let Some(path) = path else {
        return context
            .existing_home()
            .and_then(|home| node::load_policy(&home))
            .context("no policy says whom you trust\n\nhint: name one with `--policy FILE`");
    };
    let text = String::from_utf8(read_limited(path, POLICY_BYTES_MAX)?)
        .with_context(|| format!("policy {} is not UTF-8", path.display()))?;
    Policy::parse(&text).with_context(|| format!("policy {}", path.display()))
}

/// Prints the ladder: every established thing, then every thing that is not.
pub(super) fn show_verified(verified: &Verified<Receipt>, output: Output) -> Result<()> {
    output.line(&output.paint(Colour::Green, "The policy is satisfied"))?;
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Established"))?;
    for established in verified.established() {
        output.line(&format!(
            "  {} {}",
            output.paint(Colour::Green, "✓"),
            quoted(&established.to_string())
        ))?;
    }
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Only the issuer's word"))?;
    for claim in verified.claims() {
        output.line(&format!("  · {}", quoted(&claim.to_string())))?;
    }
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Not established"))?;
    for gap in verified.not_established() {
        let mark = output.paint(Colour::Yellow, "–");
        output.line(&format!("  {mark} {}: {}", quoted(&gap.what()), quoted(&gap.reason())))?;
    }
    Ok(())
}

/// Prints a reasoned no.
pub(super) fn show_rejection(rejection: &Rejection, output: Output) -> Result<()> {
    let headline = match rejection.is_unreadable() {
        true => "The receipt cannot be read",
        false => "The policy is not satisfied",
    };
    output.line(&output.paint(Colour::Red, headline))?;
    output.line(&format!("  {}: {}", rejection.code(), quoted(&rejection.to_string())))?;
    if let Some(hint) = rejection.hint() {
        output.line("")?;
        output.line(&format!("hint: {hint}"))?;
    }
    Ok(())
}

pub(super) fn verified_json(verified: &Verified<Receipt>) -> Value {
    let (time, basis) = verified.judged_at();
    json!({
        "satisfied": true,
        "receipt_digest": verified.get().digest.to_string(),
        "judged_at_ms": time.as_ms(),
        "judged_at_basis": basis.to_string(),
        "established": verified.established().iter().map(|established| {
            json!({"code": established.code(), "text": established.to_string()})
        }).collect::<Vec<_>>(),
        "claimed": verified.claims().iter().map(|claim| {
            json!({"name": claim.name, "value": claim.value})
        }).collect::<Vec<_>>(),
        "not_established": verified.not_established().iter().map(|gap| {
            json!({"code": gap.code(), "what": gap.what(), "reason": gap.reason()})
        }).collect::<Vec<_>>(),
    })
}

fn rejection_json(rejection: &Rejection) -> Value {
    json!({
        "satisfied": false,
        "unreadable": rejection.is_unreadable(),
        "code": rejection.code(),
        "text": rejection.to_string(),
        "hint": rejection.hint(),
    })
}
