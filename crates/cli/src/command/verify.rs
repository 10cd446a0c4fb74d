//! `tally verify`: what is established about a receipt, by what, and what is not.

use anyhow::Result;
use serde_json::{Value, json};
use tally_core::receipt::OPENING_BYTES_MAX;
use tally_verifier::{Expected, Receipt, Rejection, UnixTime, Verified, verify};

use super::{Verdict, parse_nonce, policy, read_limited};
use crate::{
    args,
    context::{Context, now_ms},
    ladder,
    output::{Colour, Output, quoted},
    receipts,
};

pub(crate) fn run(args: &args::Verify, context: &Context) -> Result<Verdict> {
    let receipt = receipts::read(&receipts::find(&args.receipt, context)?)?;
    let (policy, place) = policy::load_named(args.policy.as_deref(), context)?;
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
    let judged = verify(&receipt, &policy, &expected, now);
    let mut told = match &judged {
        Ok(verified) => verified_json(verified),
        Err(rejection) => rejection_json(rejection),
    };
    told["policy"] = json!(place);
    context.output.json(&told)?;
    context.output.line(&format!("Judged under the policy {place}"))?;
    match judged {
        Ok(verified) => {
            show_verified(&verified, context.output)?;
            Ok(Verdict::Satisfied)
        }
        Err(rejection) => show_rejection(&rejection, context.output),
    }
}

/// Prints the ladder, then everything else that is established, said, or neither.
pub(super) fn show_verified(verified: &Verified<Receipt>, output: Output) -> Result<()> {
    output.line(&output.paint(Colour::Green, "The policy is satisfied"))?;
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Ladder of assurance"))?;
    ladder::show_verified(verified, output)?;
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Also established"))?;
    for established in verified.established().iter().filter(|it| !ladder::has_established(it)) {
        let mark = output.paint(Colour::Green, "✓");
        output.item(&format!("  {mark} "), 4, &quoted(&established.to_string()))?;
    }
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Only the issuer's word"))?;
    for claim in verified.claims() {
        output.item("  · ", 4, &quoted(&claim.to_string()))?;
    }
    output.line("")?;
    output.line(&output.paint(Colour::Bold, "Also not established"))?;
    for gap in verified.not_established().iter().filter(|gap| !ladder::has_gap(gap)) {
        let mark = output.paint(Colour::Yellow, "–");
        let text = format!("{}: {}", quoted(&gap.what()), quoted(&gap.reason()));
        output.item(&format!("  {mark} "), 4, &text)?;
    }
    Ok(())
}

/// Tells, as JSON and for people, that a receipt cannot be used.
pub(super) fn tell_rejection(rejection: &Rejection, output: Output) -> Result<Verdict> {
    output.json(&rejection_json(rejection))?;
    show_rejection(rejection, output)
}

/// Prints a reasoned no.
fn show_rejection(rejection: &Rejection, output: Output) -> Result<Verdict> {
    let headline = headline(rejection);
    output.line(&output.paint(Colour::Red, headline))?;
    output.line(&format!("  {}: {}", rejection.code(), quoted(&rejection.to_string())))?;
    if let Some(hint) = rejection.hint() {
        output.line("")?;
        output.line(&format!("hint: {hint}"))?;
    }
    Ok(match rejection.is_unreadable() {
        true => Verdict::Unreadable,
        false => Verdict::NotSatisfied,
    })
}

/// What kind of a no it is: the file is at fault, the trust, or what it is compared with.
fn headline(rejection: &Rejection) -> &'static str {
    const TRUST: [&str; 4] = ["log/no-proof", "log/quorum", "log/not-cosigned", "log/origin"];
    let code = rejection.code();
    match code {
        _ if rejection.is_unreadable() => "The receipt cannot be read",
        "expected/not-opened" => "The receipt does not show what you want to compare",
        _ if code.starts_with("expected/") => "This is not the receipt of what you gave",
        _ if code.starts_with("policy/") || TRUST.contains(&code) => "The policy is not satisfied",
        _ => "Rejected: the receipt was changed after it was made, or is forged",
    }
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
