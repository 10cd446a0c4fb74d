//! `tally receipt complete`: adds the newest inclusion proof; nothing that is there is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tally_core::{
    cbor::Cbor as _,
    cosignature,
    entry::{Entry, EntryKind, HourBucket},
    note::NoteError,
    receipt::{Bundle, EVIDENCE_COUNT_MAX, Evidence, EvidenceKind, Statement},
    tlog_proof::TlogProof,
};
use tally_server::client::{FetchLimits, fetch};
use tally_verifier::Policy;

use super::{super::policy, Verdict};
use crate::{args, context::Context, node, receipt_file::ReceiptFile, receipts};

const WAIT_MAX: Duration = Duration::from_secs(30);
/// Most bytes of a receipt that a node hands out: it has no openings.
const FETCHED_BYTES_MAX: usize = 2 << 20;

pub(super) fn run(args: &args::Complete, context: &Context) -> Result<Verdict> {
    let path = receipts::find(&args.receipt, context)?;
    let bytes = receipts::read(&path)?;
    let mut bundle = Bundle::parse(&bytes)?;
    let statement = Statement::parse(&bundle.statement.payload)?;
    let offered = match &args.node {
        Some(url) => from_node(url, &bundle, &statement, context)?,
        None => from_home(&bundle, context)?,
    };
    let (policy, place) = policy::load_named(args.policy.as_deref(), context)?;
    let entry = entry_of(&bundle, &statement);
    let mut added = vec![];
    for evidence in offered {
        let text = checked(&evidence, &entry, &bundle, &policy)
            .with_context(|| format!("under the policy {place}"))?;
        if let Some(text) = text {
            bundle.evidence.push(evidence);
            added.push(text);
        }
    }
    let found = u64::try_from(bundle.evidence.len())?;
    ensure!(
        found <= EVIDENCE_COUNT_MAX,
        "the receipt has {found} proofs, which is beyond the limit"
    );
    if !added.is_empty() {
        ReceiptFile::prepare(&path)?.write(&bundle)?;
    }
    context.output.json(&json!({
        "receipt_digest": bundle.statement.digest().to_string(),
        "path": path,
        "added": added,
        "evidence_count": found,
    }))?;
    for text in &added {
        context.output.line(&format!("added {text}"))?;
    }
    if added.is_empty() {
        context.output.line("nothing to add: nobody vouches for it who did not before")?;
    }
    Ok(Verdict::Satisfied)
}

/// What the home's own log shows of a receipt.
fn from_home(bundle: &Bundle, context: &Context) -> Result<Vec<Evidence>> {
    let home = context.existing_home().ok().filter(|home| home.log().is_dir());
    let home = home.context(
        "this home has no log\n\nhint: `--node URL` asks the node that issued the receipt",
    )?;
    let node = node::open(&home)?;
    let digest = bundle.statement.digest();
    let index = node.sequencer().with_log(|log| log.lookup(&digest))?;
    let index = index.with_context(|| {
        "this home's log does not have the receipt\n\nhint: `--node URL` asks the node that issued it"
    })?;
    let proof = node.sequencer().prove(index)?.encode().into_bytes();
    Ok(vec![Evidence::new(EvidenceKind::Inclusion, proof)])
}

/// What the node that issued a receipt shows of it.
fn from_node(
    url: &str,
    bundle: &Bundle,
    statement: &Statement,
    context: &Context,
) -> Result<Vec<Evidence>> {
    let path = format!("/v1/receipts/{}", hex::encode(statement.id));
    let limits = FetchLimits { bytes_max: FETCHED_BYTES_MAX, wait_max: WAIT_MAX };
    let fetched = super::super::serve::runtime(context)?.block_on(fetch(url, &path, limits))?;
    let fetched = Bundle::parse(&fetched).with_context(|| format!("what {url} gives"))?;
    if fetched.statement != bundle.statement {
        bail!(
            "{url} has another statement under this receipt's id: it is not the node that issued it, or it signed two"
        );
    }
    Ok(fetched.evidence)
}

/// What a proof adds, in words; nothing if nobody vouches who did not before.
///
/// Only keys of the policy count: anybody can write a line with any name under a checkpoint.
fn checked(
    evidence: &Evidence,
    entry: &Entry,
    bundle: &Bundle,
    policy: &Policy,
) -> Result<Option<String>> {
    let (EvidenceKind::Inclusion, Some(value)) = (evidence.kind, &evidence.value) else {
        return Ok(None);
    };
    let proof = TlogProof::parse(value).context("the new proof cannot be read")?;
    proof.verify_inclusion(&entry.encode()).context("the new proof is not of this receipt")?;
    let vouching = vouching(&proof, policy)?;
    let is_known = bundle.evidence.iter().any(|old| {
        let old = old.value.as_ref().and_then(|value| TlogProof::parse(value).ok());
        let old = old.and_then(|old| self::vouching(&old, policy).ok());
        old.is_some_and(|old| vouching.iter().all(|name| old.contains(name)))
    });
    let checkpoint = proof.checkpoint.checkpoint();
    Ok((!is_known).then(|| {
        format!(
            "a proof of log `{}`: entry {} of {}, cosigned by {}",
            checkpoint.origin(),
            proof.index.0,
            checkpoint.size(),
            if vouching.is_empty() { "nobody".into() } else { vouching.join(", ") }
        )
    }))
}

/// The cosigners of a policy that signed a proof's checkpoint, whose log the policy must name.
fn vouching(proof: &TlogProof, policy: &Policy) -> Result<Vec<String>> {
    let note = proof.checkpoint.note();
    let origin = proof.checkpoint.checkpoint().origin();
    let log = policy.logs().iter().find(|log| log.origin == *origin);
    let log = log.with_context(|| {
        format!(
            "log `{origin}` is not in the policy\n\nhint: `--policy FILE` names one that trusts it"
        )
    })?;
    note.verify(&log.key).context("the log did not sign the new proof's checkpoint")?;
    let mut names = vec![];
    for cosigner in policy.cosigners() {
        match cosignature::verify(note, &cosigner.key) {
            Ok(_) => names.push(cosigner.name.clone()),
            Err(NoteError::Unsigned { .. }) => {}
            Err(error) => {
                let name = &cosigner.name;
                return Err(error).with_context(|| format!("the cosignature of `{name}`"));
            }
        }
    }
    Ok(names)
}

/// The log entry that a receipt has.
fn entry_of(bundle: &Bundle, statement: &Statement) -> Entry {
    Entry {
        kind: EntryKind::RECEIPT,
        hour: HourBucket::of_unix_seconds(statement.time_ms / 1000),
        digest: bundle.statement.digest(),
    }
}
