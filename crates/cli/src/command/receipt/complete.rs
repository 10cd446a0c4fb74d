//! `tally receipt complete`: adds the newest inclusion proof; nothing that is there is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tally_core::{
    cbor::Cbor as _,
    entry::{Entry, EntryKind, HourBucket},
    note::KeyId,
    receipt::{Bundle, EVIDENCE_COUNT_MAX, Evidence, EvidenceKind, Statement},
    tlog_proof::TlogProof,
};
use tally_server::client::{FetchLimits, fetch};
use tally_verifier::{Expected, UnixTime, verify};

use super::Verdict;
use crate::{
    args,
    context::{Context, now_ms},
    node,
    receipt_file::ReceiptFile,
    receipts,
};

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
    let entry = entry_of(&bundle, &statement);
    let mut added = vec![];
    for evidence in offered {
        if let Some(text) = checked(&evidence, &entry, &bundle)? {
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
        require_no_worse(&bytes, &bundle, context)?;
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

/// What a proof adds, in words; nothing if all that it says is known.
fn checked(evidence: &Evidence, entry: &Entry, bundle: &Bundle) -> Result<Option<String>> {
    let (EvidenceKind::Inclusion, Some(value)) = (evidence.kind, &evidence.value) else {
        return Ok(None);
    };
    let proof = TlogProof::parse(value).context("the new proof cannot be read")?;
    proof.verify_inclusion(&entry.encode()).context("the new proof is not of this receipt")?;
    let keys = signers(&proof);
    let is_known = bundle.evidence.iter().any(|old| {
        let proof = old.value.as_ref().and_then(|value| TlogProof::parse(value).ok());
        proof.is_some_and(|old| keys.iter().all(|key| signers(&old).contains(key)))
    });
    let checkpoint = proof.checkpoint.checkpoint();
    Ok((!is_known).then(|| {
        format!(
            "a proof of log `{}`: entry {} of {}, {} signatures",
            checkpoint.origin(),
            proof.index.0,
            checkpoint.size(),
            keys.len()
        )
    }))
}

/// Who signed a proof's checkpoint, by name and key id.
fn signers(proof: &TlogProof) -> Vec<(String, KeyId)> {
    let lines = proof.checkpoint.note().signatures().iter();
    lines.map(|line| (line.name.as_str().to_owned(), line.key_id)).collect()
}

/// The log entry that a receipt has.
fn entry_of(bundle: &Bundle, statement: &Statement) -> Entry {
    Entry {
        kind: EntryKind::RECEIPT,
        hour: HourBucket::of_unix_seconds(statement.time_ms / 1000),
        digest: bundle.statement.digest(),
    }
}

/// That a receipt which held under the home's policy still does.
fn require_no_worse(before: &[u8], after: &Bundle, context: &Context) -> Result<()> {
    let Ok(policy) = super::super::policy::load(None, context) else { return Ok(()) };
    let now = UnixTime::from_ms(now_ms()?);
    let judge = |bytes: &[u8]| verify(bytes, &policy, &Expected::default(), now);
    if judge(before).is_ok() {
        judge(&after.encode())
            .context("with the new proof the receipt would be rejected, so it was not added")?;
    }
    Ok(())
}
