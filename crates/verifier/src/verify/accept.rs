//! Appraisal: whether an authentic receipt is one that the policy accepts.

use alloc::{borrow::ToOwned as _, string::ToString as _};

use tally_core::Digest;
use tally_core::receipt::{Answer, EmbeddingAnswer, Outcome, Statement};

use super::{
    Findings,
    evidence::{LogFindings, Vouched},
};
use crate::{
    gap::Gap,
    policy::{Accepted, Issuer, Policy, Requirement},
    rejection::Rejection,
    time::UnixTime,
    verdict::{Established, TimeBasis},
};

/// Appraises model, demands and times; says at what time, and on whose word, keys were judged.
pub(super) fn appraise(
    statement: &Statement,
    issuer: &Issuer,
    log: &LogFindings,
    policy: &Policy,
    now: UnixTime,
    findings: &mut Findings,
) -> Result<(UnixTime, TimeBasis), Rejection> {
    appraise_model(statement, policy, findings)?;
    appraise_demands(log, policy)?;
    let made = UnixTime::from_ms(statement.time_ms);
    appraise_order(made, log, policy, now)?;
    let judged_at = match &log.logged {
        Some(logged) => (logged.time, TimeBasis::Logged),
        None => (made, TimeBasis::Statement),
    };
    if judged_at.1 == TimeBasis::Statement {
        findings.miss(Gap::StatementTime);
    }
    appraise_key(issuer, judged_at)?;
    appraise_age(judged_at.0, policy, now, findings)?;
    Ok(judged_at)
}

/// Appraises what has only begun, and can be in no log yet: model, time, key and age.
pub(crate) fn appraise_live(
    made: UnixTime,
    (root, arithmetic): (Digest, &str),
    issuer: &Issuer,
    policy: &Policy,
    now: UnixTime,
) -> Result<(), Rejection> {
    let mut findings = Findings::default();
    appraise_root(root, arithmetic, policy, &mut findings)?;
    appraise_order(made, &LogFindings::default(), policy, now)?;
    appraise_key(issuer, (made, TimeBasis::Statement))?;
    appraise_age(made, policy, now, &mut findings)
}

fn appraise_model(
    statement: &Statement,
    policy: &Policy,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    match &statement.outcome {
        Outcome::Answer(Answer { computation, .. }) => {
            appraise_root(computation.model_root, &computation.arithmetic, policy, findings)
        }
        Outcome::Embedding(EmbeddingAnswer { computation, .. }) => {
            appraise_root(computation.model_root, &computation.arithmetic, policy, findings)
        }
        Outcome::Refusal(_) => Ok(()),
    }
}

fn appraise_root(
    root: Digest,
    arithmetic: &str,
    policy: &Policy,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    match policy.models() {
        Accepted::Any => findings.miss(Gap::AnyModel),
        Accepted::Listed(roots) if roots.contains(&root) => {
            findings.establish(Established::Model(root));
        }
        Accepted::Listed(_) => return Err(Rejection::Model { found: root }),
    }
    match policy.arithmetics() {
        Accepted::Any => findings.miss(Gap::AnyArithmetic),
        Accepted::Listed(ids) if ids.iter().any(|id| id == arithmetic) => {
            findings.establish(Established::Arithmetic(arithmetic.into()));
        }
        Accepted::Listed(_) => return Err(Rejection::Arithmetic { found: arithmetic.into() }),
    }
    Ok(())
}

fn appraise_demands(log: &LogFindings, policy: &Policy) -> Result<(), Rejection> {
    let demand = if policy.requires(Requirement::Logged) && log.logged.is_none() {
        Requirement::Logged
    } else if policy.requires(Requirement::SelfCosigned)
        && log.self_cosigned.is_none()
        && log.logged.is_none()
    {
        Requirement::SelfCosigned
    } else {
        return Ok(());
    };
    let Some(inclusion) = &log.included else {
        return Err(match &log.foreign {
            Some(found) => Rejection::Origin { required: demand, found: found.clone() },
            None => Rejection::NoProof { required: demand },
        });
    };
    match (demand, policy.quorum()) {
        (Requirement::Logged, Some(quorum)) => Err(Rejection::Quorum {
            expected: quorum.to_string(),
            found: log.independent.to_owned(),
        }),
        _ => Err(Rejection::NotCosigned { origin: inclusion.origin.to_string() }),
    }
}

/// Statement, then cosignature, then now: each within the tolerance for clocks.
fn appraise_order(
    made: UnixTime,
    log: &LogFindings,
    policy: &Policy,
    now: UnixTime,
) -> Result<(), Rejection> {
    let latest = now.plus_ms(policy.clock_tolerance_ms());
    if made > latest {
        return Err(Rejection::StatementInFuture { now, found: made });
    }
    for Vouched { time, .. } in log.logged.iter().chain(&log.self_cosigned) {
        if *time > latest {
            return Err(Rejection::CosignedInFuture { now, found: *time });
        }
        if made > time.plus_ms(policy.clock_tolerance_ms()) {
            return Err(Rejection::CosignedBeforeStatement { statement: made, cosigned: *time });
        }
    }
    if let (Some(logged), Some(limit_ms)) = (&log.logged, policy.logging_delay_max_ms()) {
        let found_ms = logged.time.ms_since(made);
        if found_ms > limit_ms {
            return Err(Rejection::LoggingDelay { limit_ms, found_ms });
        }
    }
    Ok(())
}

fn appraise_key(issuer: &Issuer, (at, basis): (UnixTime, TimeBasis)) -> Result<(), Rejection> {
    let name = || issuer.name.clone();
    if let Some(from) = issuer.revoked_from {
        // Whoever has a revoked key can write any time into a statement.
        if basis == TimeBasis::Statement {
            return Err(Rejection::KeyRevokedUnlogged { issuer: name(), from });
        }
        if at >= from {
            return Err(Rejection::KeyRevoked { issuer: name(), from, at });
        }
    }
    match (issuer.valid_from, issuer.valid_until) {
        (Some(from), _) if at < from => Err(Rejection::KeyNotYetValid { issuer: name(), from, at }),
        (_, Some(until)) if at >= until => Err(Rejection::KeyExpired { issuer: name(), until, at }),
        _ => Ok(()),
    }
}

fn appraise_age(
    at: UnixTime,
    policy: &Policy,
    now: UnixTime,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    let Some(limit_ms) = policy.age_max_ms() else { return Ok(()) };
    let found_ms = now.ms_since(at);
    if found_ms > limit_ms {
        return Err(Rejection::TooOld { limit_ms, found_ms });
    }
    findings.establish(Established::Age { found_ms });
    Ok(())
}
