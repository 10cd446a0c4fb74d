//! A policy in sentences: what it trusts, what it demands, what that leaves open.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{Accepted, Cosigner, Issuer, Log, Member, Policy, Quorum, Requirement};
use crate::time::Duration;

pub(super) fn lines(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(policy.required.iter().map(|requirement| demand(*requirement)));
    lines.extend(policy.issuers.iter().map(issuer));
    lines.extend(policy.logs.iter().map(log));
    lines.extend(policy.cosigners.iter().map(cosigner));
    lines.extend(quorum(policy));
    lines.push(format!("accepts models: {}", list(&policy.models)));
    lines.push(format!("accepts arithmetic: {}", list(&policy.arithmetics)));
    lines.push(match policy.age_max_ms {
        Some(ms) => format!("accepts receipts no older than {}", Duration(ms)),
        None => "accepts receipts of any age".into(),
    });
    lines.push(match policy.logging_delay_max_ms {
        Some(ms) => format!("accepts at most {} from statement to log", Duration(ms)),
        None => "accepts any time from statement to log".into(),
    });
    let tolerance = Duration(policy.clock_tolerance_ms);
    lines.push(format!("tolerates a difference of {tolerance} between clocks"));
    lines
}

fn demand(requirement: Requirement) -> String {
    let meaning = match requirement {
        Requirement::Signed => "the signature of a trusted issuer",
        Requirement::SelfCosigned => {
            "inclusion in a trusted log, cosigned at least by the operator's own cosigner"
        }
        Requirement::Logged => {
            "inclusion in a trusted log, cosigned by the quorum of independent cosigners"
        }
    };
    format!("demands {requirement}: {meaning}")
}

fn issuer(issuer: &Issuer) -> String {
    let mut line = format!("trusts issuer `{}`", issuer.name);
    push_operator(&mut line, issuer.operator.as_deref());
    line.push_str(&format!(", key {}", issuer.key_id));
    for (word, time) in [
        ("from", issuer.valid_from),
        ("until", issuer.valid_until),
        ("revoked from", issuer.revoked_from),
    ] {
        if let Some(time) = time {
            line.push_str(&format!(", {word} {time}"));
        }
    }
    line
}

fn log(log: &Log) -> String {
    let mut line = format!("trusts log `{}`", log.origin);
    push_operator(&mut line, log.operator.as_deref());
    line
}

fn cosigner(cosigner: &Cosigner) -> String {
    let standing = if cosigner.is_own { "the operator's own" } else { "independent" };
    let mut line = format!("knows cosigner `{}`", cosigner.name);
    push_operator(&mut line, cosigner.operator.as_deref());
    line.push_str(&format!(", {standing}"));
    line
}

fn push_operator(line: &mut String, operator: Option<&str>) {
    if let Some(operator) = operator {
        line.push_str(&format!(" run by `{operator}`"));
    }
}

fn quorum(policy: &Policy) -> Vec<String> {
    let Some(quorum) = &policy.quorum else {
        return Vec::from(["has no quorum: no receipt counts as logged".into()]);
    };
    let mut lines = Vec::from([format!("counts as logged what is cosigned by {quorum}")]);
    lines.extend(overlap(quorum));
    lines
}

/// How many cosigners of a flat group would have to help the log to show two histories.
fn overlap(quorum: &Quorum) -> Option<String> {
    let Member::Group { threshold, members, .. } = quorum.root() else {
        return Some("a single cosigner that lies could hide a second history of the log".into());
    };
    if members.iter().any(|member| matches!(member, Member::Group { .. })) {
        return None;
    }
    let overlap = threshold.saturating_mul(2).saturating_sub(members.len());
    Some(match overlap {
        0 => "two quorums need not share a cosigner, so the log could show two histories \
              without any cosigner lying"
            .into(),
        1 => "a single cosigner that lies could hide a second history of the log".into(),
        count => format!("fewer than {count} lying cosigners cannot hide a second history"),
    })
}

fn list<T: fmt::Display>(accepted: &Accepted<T>) -> String {
    match accepted {
        Accepted::Any => "any".into(),
        Accepted::Listed(items) => {
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}
