//! Evidence: what each item is, and what inclusion proofs with cosigned checkpoints establish.

use alloc::{
    borrow::ToOwned as _,
    string::{String, ToString as _},
    vec::Vec,
};

use tally_core::{
    Digest, cosignature,
    entry::{Entry, EntryKind, HourBucket},
    note::NoteError,
    receipt::{Evidence, EvidenceKind, Statement},
    tlog_proof::TlogProof,
};

use super::Findings;
use crate::{
    gap::{Gap, NotLogged},
    policy::{Log, Policy},
    rejection::Rejection,
    time::UnixTime,
    verdict::{Assurance, Inclusion},
};

/// What inclusion proofs have shown.
#[derive(Debug, Default)]
pub(super) struct LogFindings {
    /// Earliest inclusion that the quorum cosigned.
    pub(super) logged: Option<Vouched>,
    /// Earliest inclusion that the operator's own cosigners cosigned.
    pub(super) self_cosigned: Option<Vouched>,
    /// First verified inclusion, cosigned or not.
    pub(super) included: Option<Inclusion>,
    /// The independent cosigners that vouch for the first inclusion, or `nobody`.
    pub(super) independent: String,
    /// Origin of the first proof of a log that the policy does not name.
    pub(super) foreign: Option<String>,
}

/// An inclusion that cosigners vouch for.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    pub(super) inclusion: Inclusion,
    pub(super) cosigners: Vec<String>,
    pub(super) time: UnixTime,
}

/// Verifies every item and reports the best that inclusion proofs establish.
pub(super) fn verify(
    evidence: &[Evidence],
    digest: &Digest,
    statement: &Statement,
    policy: &Policy,
    findings: &mut Findings,
) -> Result<LogFindings, Rejection> {
    verify_digests(evidence)?;
    let entry = entry(digest, statement).encode();
    let mut log = LogFindings::default();
    for (item, evidence) in evidence.iter().enumerate() {
        match (evidence.kind, &evidence.value) {
            (kind @ EvidenceKind::Unknown(_), _) => findings.miss(Gap::UnknownEvidence { kind }),
            // They are about the attribution section, which is verified with the openings.
            (EvidenceKind::Spans, Some(_)) => {}
            (kind @ (EvidenceKind::Inclusion | EvidenceKind::Spans), None) => {
                findings.miss(Gap::EvidenceElsewhere { kind, digest: evidence.digest });
            }
            (EvidenceKind::Inclusion, Some(value)) => {
                verify_proof(item, value, &entry, policy, &mut log, findings)?;
            }
        }
    }
    report(&log, policy, findings);
    Ok(log)
}

/// The log entry that a receipt has: fully determined by its statement.
fn entry(digest: &Digest, statement: &Statement) -> Entry {
    let seconds = UnixTime::from_ms(statement.time_ms).as_seconds();
    Entry { kind: EntryKind::RECEIPT, hour: HourBucket::of_unix_seconds(seconds), digest: *digest }
}

fn verify_digests(evidence: &[Evidence]) -> Result<(), Rejection> {
    for (item, found) in evidence.iter().enumerate() {
        let is_same = |other: &Evidence| other.kind == found.kind && other.digest == found.digest;
        if let Some(previous) = evidence.iter().take(item).position(is_same) {
            return Err(Rejection::EvidenceTwice { item, previous, kind: found.kind });
        }
        let Some(value) = &found.value else { continue };
        let computed = Evidence::digest_of(found.kind, value);
        if computed != found.digest {
            return Err(Rejection::EvidenceDigest { item, expected: found.digest, computed });
        }
    }
    Ok(())
}

fn verify_proof(
    item: usize,
    value: &[u8],
    entry: &[u8],
    policy: &Policy,
    log: &mut LogFindings,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    let proof = TlogProof::parse(value).map_err(|cause| Rejection::ProofForm { item, cause })?;
    let origin = proof.checkpoint.checkpoint().origin();
    let Some(known) = policy.log(origin) else {
        let origin = origin.to_string();
        log.foreign.get_or_insert_with(|| origin.clone());
        findings.miss(Gap::ForeignLog { origin });
        return Ok(());
    };
    verify_inclusion(item, &proof, entry, known)?;
    let times = cosigned_times(item, &proof, policy)?;
    let inclusion = Inclusion {
        origin: known.origin.clone(),
        index: proof.index,
        tree_size: proof.checkpoint.checkpoint().size(),
        item,
    };
    log.add(inclusion, &times, policy);
    Ok(())
}

fn verify_inclusion(
    item: usize,
    proof: &TlogProof,
    entry: &[u8],
    log: &Log,
) -> Result<(), Rejection> {
    let origin = || log.origin.to_string();
    proof.checkpoint.note().verify(&log.key).map_err(|cause| Rejection::LogSignature {
        item,
        origin: origin(),
        cause,
    })?;
    proof.verify_inclusion(entry).map_err(|cause| Rejection::Inclusion {
        item,
        origin: origin(),
        cause,
    })
}

/// When each cosigner of the policy cosigned the checkpoint, if it did.
fn cosigned_times(
    item: usize,
    proof: &TlogProof,
    policy: &Policy,
) -> Result<Vec<Option<UnixTime>>, Rejection> {
    let mut times = Vec::with_capacity(policy.cosigners().len());
    for cosigner in policy.cosigners() {
        let name = || cosigner.name.clone();
        times.push(match cosignature::verify(proof.checkpoint.note(), &cosigner.key) {
            Ok(time) => Some(UnixTime::from_seconds(time.seconds())),
            Err(NoteError::Unsigned { .. }) => None,
            Err(NoteError::SignedTwice { .. }) => {
                return Err(Rejection::CosignerTwice { item, cosigner: name() });
            }
            Err(cause) => return Err(Rejection::Cosignature { item, cosigner: name(), cause }),
        });
    }
    Ok(times)
}

impl LogFindings {
    /// Takes in one verified inclusion and the times of its cosignatures, by cosigner.
    fn add(&mut self, inclusion: Inclusion, times: &[Option<UnixTime>], policy: &Policy) {
        let in_rule = policy.quorum().map(|quorum| quorum.cosigners()).unwrap_or_default();
        let independent = names(policy, times, |index, _| in_rule.contains(&index));
        if let Some(time) = policy.quorum().and_then(|quorum| quorum.time(times)) {
            let (inclusion, cosigners) = (inclusion.clone(), independent.clone());
            keep_earliest(&mut self.logged, Vouched { inclusion, cosigners, time });
        }
        let own = |index: usize| policy.cosigners().get(index).is_some_and(|found| found.is_own);
        let own_times = times.iter().enumerate().filter(|(index, _)| own(*index));
        if let Some(time) = own_times.filter_map(|(_, time)| *time).min() {
            let cosigners = names(policy, times, |index, _| own(index));
            let inclusion = inclusion.clone();
            keep_earliest(&mut self.self_cosigned, Vouched { inclusion, cosigners, time });
        }
        if self.included.is_none() {
            self.included = Some(inclusion);
            self.independent =
                if independent.is_empty() { "nobody".to_owned() } else { independent.join(", ") };
        }
    }
}

fn keep_earliest(kept: &mut Option<Vouched>, found: Vouched) {
    if kept.as_ref().is_none_or(|kept| found.time < kept.time) {
        *kept = Some(found);
    }
}

/// Names of the cosigners that vouch and that `wanted` picks.
fn names(
    policy: &Policy,
    times: &[Option<UnixTime>],
    wanted: impl Fn(usize, &str) -> bool,
) -> Vec<String> {
    let vouching = policy.cosigners().iter().zip(times).enumerate();
    let vouching = vouching
        .filter(|(index, (cosigner, time))| time.is_some() && wanted(*index, &cosigner.name));
    vouching.map(|(_, (cosigner, _))| cosigner.name.clone()).collect()
}

fn report(log: &LogFindings, policy: &Policy, findings: &mut Findings) {
    if let (Some(vouched), Some(quorum)) = (&log.logged, policy.quorum()) {
        let Vouched { inclusion, cosigners, time } = vouched.clone();
        let (of, quorum) = (quorum.cosigners().len(), quorum.to_string());
        findings.assure(Assurance::Logged { inclusion, cosigners, of, quorum, time });
    } else {
        findings.miss(Gap::Logged(not_logged(log, policy)));
    }
    if let Some(Vouched { inclusion, cosigners, time }) = log.self_cosigned.clone() {
        findings.assure(Assurance::SelfCosigned { inclusion, cosigners, time });
    }
    if let (Some(inclusion), None, None) = (&log.included, &log.logged, &log.self_cosigned) {
        findings.assure(Assurance::Included(inclusion.clone()));
    }
}

fn not_logged(log: &LogFindings, policy: &Policy) -> NotLogged {
    match (policy.quorum(), &log.included) {
        (None, _) => NotLogged::NoQuorum,
        (Some(_), None) => NotLogged::NoProof,
        (Some(quorum), Some(_)) => {
            NotLogged::Short { found: log.independent.clone(), expected: quorum.to_string() }
        }
    }
}
