//! The attribution section: what its signatures, its spans and its split say, computed again.
//!
//! Whose words the output repeats is the issuer's word until span proofs show it; that the traced
//! bytes are what the output tokens spell takes the model's tokenizer, so a replay.

use alloc::{collections::BTreeSet, vec::Vec};

use tally_core::{
    Digest,
    account::{Account, TransferId},
    attribution::{Context, Grounds, Label, Role, Section, SplitPolicy, allocate},
    cbor::{Cbor as _, CborError},
    contribution::{Contribution, ContributionKind},
    ed25519::{self, PublicKey, Signature},
    receipt::{
        Evidence, EvidenceKind, Outcome, ProtectedHeader, SignedStatement, Statement, key_id,
    },
    trace::{self, Claim, DocumentId, TraceProof},
};

use super::Findings;
use crate::{
    gap::Gap,
    rejection::{AttributionRejection as Refused, SectionPart},
    verdict::{Attributed, Established},
};

/// Verifies an opened section against the statement that commits to it, and span proofs against the
/// section.
pub(super) fn verify(
    opened: &[u8],
    evidence: &[Evidence],
    statement: &Statement,
    signer: &Digest,
    findings: &mut Findings,
) -> Result<(), Refused> {
    let form = |part| move |cause: CborError| Refused::Form { part, cause };
    let section = Section::parse(opened).map_err(form(SectionPart::Section))?;
    let computed = SplitPolicy::digest_of(&section.policy);
    if computed != section.policy_digest {
        return Err(Refused::PolicyDigest { expected: section.policy_digest, computed });
    }
    let policy = SplitPolicy::parse(&section.policy).map_err(form(SectionPart::Policy))?;
    let (manifests, contributions) = verify_manifests(&section)?;
    verify_roles(&section, &contributions, statement, signer)?;
    verify_context(&section, &contributions)?;
    verify_shards(&section, &contributions)?;
    verify_spans(&section, &contributions)?;
    verify_amount(&section, &policy, statement)?;
    let computation = digest_of_computation(&statement.outcome);
    let grounds = Grounds {
        computation: &computation,
        policy_digest: &section.policy_digest,
        policy: &policy,
        manifests: &manifests,
        contributions: &contributions,
        bound: &section.bound,
        context: &section.context,
        spans: &section.spans,
    };
    verify_transfers(&section, &grounds, &statement.id)?;
    let is_shown = verify_proofs(&section, &policy, &manifests, evidence)?;
    let is_traced = !section.shards.is_empty();
    findings.establish(Established::Attributed(Attributed {
        policy: policy.name,
        policy_digest: section.policy_digest,
        asset: policy.asset,
        amount: section.amount,
        contribution_count: contributions.len(),
    }));
    findings.miss(Gap::TracedOutput);
    if !contributions.is_empty() {
        findings.miss(Gap::Registered);
    }
    if !section.context.is_empty() {
        findings.miss(Gap::Context);
    }
    match (is_traced, is_shown) {
        (false, _) => findings.miss(Gap::NotTraced),
        (true, false) => findings.miss(Gap::Spans),
        (true, true) => {
            findings.establish(Established::Spans { shard_count: section.shards.len() });
            findings.miss(Gap::IndexRoots);
        }
    }
    Ok(())
}

/// Verifies all span proofs; says whether there is one.
fn verify_proofs(
    section: &Section,
    policy: &SplitPolicy,
    manifests: &[Digest],
    evidence: &[Evidence],
) -> Result<bool, Refused> {
    let mut is_shown = false;
    for (item, evidence) in evidence.iter().enumerate() {
        let (EvidenceKind::Spans, Some(value)) = (evidence.kind, &evidence.value) else { continue };
        let proof = TraceProof::parse(value).map_err(|cause| Refused::TraceForm { item, cause })?;
        let roots: Vec<Digest> = section.shards.iter().map(|shard| shard.root).collect();
        let mut start = 0;
        let mut spans = Vec::new();
        for span in &section.spans {
            let owner = span
                .owner
                .map(|owner| DocumentId { shard: owner.shard.into(), document: owner.document });
            spans.push(trace::Span { start, end: span.end, owner });
            start = span.end;
        }
        let window_bytes = policy.window.into();
        let claim = Claim { output: &section.output, window_bytes, roots: &roots, spans: &spans };
        let owners =
            trace::verify_spans(&claim, &proof).map_err(|cause| Refused::Trace { item, cause })?;
        for (place, owner) in section.spans.iter().enumerate() {
            let Some(owner) = owner.owner else { continue };
            let (shard, document) = (owner.shard.into(), owner.document);
            let shown = owners.get(&DocumentId { shard, document });
            let expected = shown.map(|shown| shown.contribution);
            let found = manifests.get(usize::from(owner.contribution)).copied();
            if expected != found {
                return Err(Refused::SpanContribution { place, expected, found });
            }
        }
        is_shown = true;
    }
    Ok(is_shown)
}

/// Reads the manifests and verifies that each is signed by the contributor that it names.
fn verify_manifests(section: &Section) -> Result<(Vec<Digest>, Vec<Contribution>), Refused> {
    let mut manifests = Vec::new();
    let mut contributions = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, bytes) in section.contributions.iter().enumerate() {
        let form = |part| move |cause: CborError| Refused::Form { part, cause };
        let part = SectionPart::Contribution(place);
        let signed = SignedStatement::parse(bytes).map_err(form(part))?;
        let contribution = Contribution::parse(&signed.payload).map_err(form(part))?;
        let header = ProtectedHeader::parse(&signed.protected);
        let header = header.map_err(form(SectionPart::Header(place)))?;
        let expected = contribution.header();
        if header != expected {
            let (expected, found) = (expected.subject, header.subject);
            return Err(Refused::Header { place, expected, found });
        }
        let message = SignedStatement::to_be_signed(&signed.protected, &signed.payload);
        PublicKey::from_bytes(&contribution.contributor)
            .and_then(|key| {
                ed25519::verify(&key, &message, &Signature::from_bytes(signed.signature))
            })
            .map_err(|_| Refused::Signature { place, key_id: key_id(&contribution.contributor) })?;
        let manifest = Digest::of_content(bytes);
        if !seen.insert(manifest) {
            return Err(Refused::ContributionTwice { place, manifest });
        }
        manifests.push(manifest);
        contributions.push(contribution);
    }
    Ok((manifests, contributions))
}

/// Verifies that each contribution that is said to be bound is what the statement names.
fn verify_roles(
    section: &Section,
    contributions: &[Contribution],
    statement: &Statement,
    signer: &Digest,
) -> Result<(), Refused> {
    let mut previous: Option<Role> = None;
    for bound in &section.bound {
        let found = bound.role;
        if let Some(previous) = previous.filter(|previous| *previous >= found) {
            return Err(Refused::RoleOrder { previous, found });
        }
        previous = Some(found);
        let what = "a bound contribution";
        let contribution = of_kind(contributions, what, bound.contribution, found.kind())?;
        let (what, expected) = match bound.role {
            Role::Node => ("node", Some(*signer)),
            Role::Weights => ("model root", model_root(&statement.outcome)),
            Role::Code => ("software", Some(Digest::of_content(statement.software.as_bytes()))),
            Role::Prompt => {
                let preparation = statement.outcome.preparation();
                ("template", preparation.and_then(|preparation| preparation.template))
            }
        };
        if expected != Some(contribution.subject) {
            return Err(Refused::Subject { what, expected, found: contribution.subject });
        }
    }
    Ok(())
}

/// Verifies that the context is of datasets, and that no byte of a document counts twice.
fn verify_context(section: &Section, contributions: &[Contribution]) -> Result<(), Refused> {
    for (place, context) in section.context.iter().enumerate() {
        let what = "a document of the context";
        of_kind(contributions, what, context.contribution, ContributionKind::Dataset)?;
        let (start, end, document) = (context.start, context.end, context.document);
        if start >= end {
            return Err(Refused::ContextEmpty { place, start, end });
        }
        let has_common = |it: &Context| it.document == document && it.start < end && start < it.end;
        if let Some(earlier) = section.context.iter().take(place).position(has_common) {
            return Err(Refused::ContextTwice { place, earlier, document });
        }
    }
    Ok(())
}

/// Verifies that no index stands twice and that its builders say that they got its root.
fn verify_shards(section: &Section, contributions: &[Contribution]) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for (place, shard) in section.shards.iter().enumerate() {
        if !seen.insert(shard.root) {
            return Err(Refused::ShardTwice { place, root: shard.root });
        }
        for (number, builder) in shard.built_by.iter().enumerate() {
            if shard.built_by.iter().take(number).any(|it| it == builder) {
                return Err(Refused::BuilderTwice { root: shard.root, contribution: *builder });
            }
            let what = "an index's builder";
            let built = of_kind(contributions, what, *builder, ContributionKind::Index)?;
            if built.subject != shard.root {
                let (expected, found) = (Some(shard.root), built.subject);
                return Err(Refused::Subject { what: "index root", expected, found });
            }
        }
    }
    Ok(())
}

/// Verifies that the spans divide the output, each as long as it can be.
fn verify_spans(section: &Section, contributions: &[Contribution]) -> Result<(), Refused> {
    let size = section.output.len();
    let mut before: Option<tally_core::attribution::Span> = None;
    let mut residual = 0_u64;
    for (place, span) in section.spans.iter().enumerate() {
        let previous = before.map_or(0, |before| before.end);
        if span.end <= previous || usize::try_from(span.end).is_ok_and(|end| end > size) {
            return Err(Refused::SpanOrder { place, end: span.end, previous, size });
        }
        if before.is_some_and(|before| before.owner == span.owner) {
            return Err(Refused::SpanDivided { place });
        }
        match span.owner {
            None => residual = residual.saturating_add(span.end.saturating_sub(previous).into()),
            Some(owner) => {
                let count = section.shards.len();
                if usize::from(owner.shard) >= count {
                    return Err(Refused::SpanShard { place, shard: owner.shard, count });
                }
                let dataset = ContributionKind::Dataset;
                of_kind(contributions, "a span's owner", owner.contribution, dataset)?;
            }
        }
        before = Some(*span);
    }
    let found = before.map_or(0, |before| before.end);
    if usize::try_from(found) != Ok(size) {
        return Err(Refused::SpanCover { expected: size, found });
    }
    let found = section.residual.size_bytes;
    if u64::from(found) != residual {
        return Err(Refused::ResidualBytes { expected: residual, found });
    }
    Ok(())
}

/// The contribution at a place, which must be of a kind.
fn of_kind<'c>(
    contributions: &'c [Contribution],
    what: &'static str,
    place: u16,
    expected: ContributionKind,
) -> Result<&'c Contribution, Refused> {
    let contribution = contributions.get(usize::from(place));
    let count = contributions.len();
    let none = tally_core::attribution::AllocationError::NoContribution { what, place, count };
    let contribution = contribution.ok_or(none)?;
    match contribution.kind {
        found if found == expected => Ok(contribution),
        found => Err(Refused::Kind { what, place, expected, found }),
    }
}

/// Verifies that amount and price are what the policy's tariff yields.
fn verify_amount(
    section: &Section,
    policy: &SplitPolicy,
    statement: &Statement,
) -> Result<(), Refused> {
    let (input_count, output_count) = match &statement.outcome {
        Outcome::Answer(answer) => {
            (answer.computation.input_count, answer.computation.output_count)
        }
        Outcome::Embedding(embedding) => (embedding.computation.input_count, 0),
        Outcome::Refusal(_) => (0, 0),
    };
    let expected = policy.tariff.amount(input_count, output_count);
    let price = statement.price.as_ref();
    let amounts =
        [("the amount", section.amount), ("the price", price.map_or(0, |price| price.amount))];
    for (what, found) in amounts {
        if found != expected {
            return Err(Refused::Amount { what, expected, found });
        }
    }
    match price {
        Some(price) if price.asset != policy.asset => {
            Err(Refused::Asset { expected: policy.asset.clone(), found: price.asset.clone() })
        }
        _ => Ok(()),
    }
}

/// Verifies the ids of all transfers, and computes who gets what again.
fn verify_transfers(
    section: &Section,
    grounds: &Grounds<'_>,
    receipt_id: &[u8; 16],
) -> Result<(), Refused> {
    let residual = [section.residual.id];
    let ids = section.transfers.iter().map(|transfer| transfer.id).chain(residual);
    let mut seen = BTreeSet::new();
    for (place, id) in ids.clone().enumerate() {
        if !seen.insert(id) {
            return Err(Refused::TransferTwice { place, id });
        }
    }
    for (place, found) in ids.enumerate() {
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let expected = TransferId::derive(receipt_id, number);
        if found != expected {
            return Err(Refused::TransferId { place, expected, found });
        }
    }
    let allocation = allocate(grounds, section.amount)?;
    let yielded: Vec<(Label, Account, u64)> = allocation
        .shares
        .iter()
        .map(|((label, account), amount)| (*label, *account, *amount))
        .collect();
    for place in 0..yielded.len().max(section.transfers.len()) {
        let expected = yielded.get(place).copied();
        let found = section.transfers.get(place);
        let found = found.map(|found| (found.label, found.account, found.amount));
        if expected != found {
            return Err(Refused::Share { place, expected, found });
        }
    }
    let (expected, found) = (allocation.residual, section.residual.amount);
    if expected != found {
        return Err(Refused::Residual { expected, found });
    }
    Ok(())
}

fn model_root(outcome: &Outcome) -> Option<Digest> {
    match outcome {
        Outcome::Answer(answer) => Some(answer.computation.model_root),
        Outcome::Embedding(embedding) => Some(embedding.computation.model_root),
        Outcome::Refusal(_) => None,
    }
}

/// SHA-256 of the encoded computation; of nothing, where nothing was computed.
fn digest_of_computation(outcome: &Outcome) -> Digest {
    Digest::of_content(&match outcome {
        Outcome::Answer(answer) => answer.computation.encode(),
        Outcome::Embedding(embedding) => embedding.computation.encode(),
        Outcome::Refusal(_) => Vec::new(),
    })
}
