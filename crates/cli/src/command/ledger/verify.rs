//! `tally ledger verify`: what a statement of earnings or an epoch's record establishes, offline.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tally_core::{
    cbor::Cbor as _,
    receipt::{ProtectedHeader, SignedStatement},
    sum_tree::{CONTENT_TYPE_EPOCH, EarningsError, EarningsStatement, Epoch},
    tlog_proof::{TLOG_PROOF_SIZE_BYTES_MAX, TlogProof},
};
use tally_server::view::time_text;

use super::super::{Verdict, read_limited, registry::account_text};
use crate::{
    args, book,
    context::Context,
    output::{Colour, Output, quoted},
};

/// A statement has a path of at most 32 nodes, and texts of at most a few hundred bytes.
const SIGNED_BYTES_MAX: u64 = 8_192;

/// What was found, and what nobody looked at.
#[derive(Default)]
struct Findings {
    established: Vec<String>,
    not_established: Vec<String>,
}

/// What does not hold, and whether it could be read at all.
struct Refusal {
    text: String,
    is_unreadable: bool,
}

impl From<EarningsError> for Refusal {
    fn from(error: EarningsError) -> Self {
        let is_unreadable = matches!(error, EarningsError::Form(_));
        Self { text: error.to_string(), is_unreadable }
    }
}

impl Refusal {
    fn new(text: &impl ToString) -> Self {
        Self { text: text.to_string(), is_unreadable: false }
    }
}

pub(super) fn run(args: &args::VerifyLedger, context: &Context) -> Result<Verdict> {
    let bytes = read_limited(&args.file, SIGNED_BYTES_MAX)?;
    let record = args.record.as_deref().map(|path| read_limited(path, SIGNED_BYTES_MAX));
    let record = record.transpose()?;
    let proof = args.proof.as_deref().map(read_proof).transpose()?;
    let mut findings = Findings::default();
    let judged = judge(args, &bytes, record.as_deref(), proof.as_ref(), &mut findings);
    let output = context.output;
    match judged {
        Ok(mut told) => {
            told["satisfied"] = json!(true);
            told["established"] = json!(findings.established);
            told["not_established"] = json!(findings.not_established);
            output.json(&told)?;
            show(&told, &findings, output)?;
            Ok(Verdict::Satisfied)
        }
        Err(refusal) => {
            output.json(&json!({
                "satisfied": false,
                "unreadable": refusal.is_unreadable,
                "text": refusal.text,
            }))?;
            let (headline, verdict) = match refusal.is_unreadable {
                true => ("It cannot be read", Verdict::Unreadable),
                false => ("It does not hold", Verdict::NotSatisfied),
            };
            output.line(&output.paint(Colour::Red, headline))?;
            output.line(&format!("  {}", quoted(&refusal.text)))?;
            Ok(verdict)
        }
    }
}

fn read_proof(path: &Path) -> Result<TlogProof> {
    let bytes = read_limited(path, TLOG_PROOF_SIZE_BYTES_MAX as u64)?;
    TlogProof::parse(&bytes).with_context(|| format!("inclusion proof {}", path.display()))
}

fn judge(
    args: &args::VerifyLedger,
    bytes: &[u8],
    record: Option<&[u8]>,
    proof: Option<&TlogProof>,
    findings: &mut Findings,
) -> Result<Value, Refusal> {
    let parsed = SignedStatement::parse(bytes).map_err(EarningsError::from)?;
    let header = ProtectedHeader::parse(&parsed.protected).map_err(EarningsError::from)?;
    let (told, epoch, record) = if header.content_type == CONTENT_TYPE_EPOCH {
        let epoch = Epoch::verify(bytes, &args.key)?;
        findings.establish("the record is signed with this key");
        (json!({ "kind": "epoch" }), epoch, Some(bytes))
    } else {
        let statement = EarningsStatement::verify(bytes, &args.key)?;
        findings.establish("the statement is signed with this key");
        findings.establish("the amount is part of the total that the epoch's root commits to");
        findings.miss("that it was paid: what was paid is the operator's word");
        let told = json!({
            "kind": "earnings",
            "account": account_text(&statement.account),
            "amount": statement.amount.to_string(),
            "paid": statement.claimed.to_string(),
            "due": statement.claimable().to_string(),
        });
        (told, statement.epoch, record)
    };
    verify_record(args, &epoch, record, proof, findings)?;
    findings.miss("that no receipt was left out: that takes an audit");
    findings.miss("that anybody has the money: the total is a promise");
    Ok(with_epoch(told, &epoch))
}

/// That the epoch is the one of a record, and the record in a log.
fn verify_record(
    args: &args::VerifyLedger,
    epoch: &Epoch,
    record: Option<&[u8]>,
    proof: Option<&TlogProof>,
    findings: &mut Findings,
) -> Result<(), Refusal> {
    const UNSEEN: &str =
        "that everybody sees the same epoch: give its record and the log's proof of it";
    let Some(record) = record else {
        findings.miss(UNSEEN);
        return Ok(());
    };
    if Epoch::verify(record, &args.key)? != *epoch {
        return Err(Refusal::new(&"the statement's epoch is not that of the record"));
    }
    let digest = SignedStatement::parse(record).map_err(EarningsError::from)?.digest();
    findings.establish(&format!("the epoch is that of record {digest}"));
    let (Some(proof), Some(log)) = (proof, &args.log) else {
        findings.miss(UNSEEN);
        return Ok(());
    };
    proof.checkpoint.verify(&log.name().into(), log).map_err(|error| Refusal::new(&error))?;
    let entry = book::entry_of(epoch.time_s, digest).encode();
    proof.verify_inclusion(&entry).map_err(|error| Refusal::new(&error))?;
    findings.establish(&format!("the record is entry {} of log {}", proof.index, log.name()));
    findings.miss("that the log shows everybody the same: cosigners vouch for that");
    Ok(())
}

impl Findings {
    fn establish(&mut self, text: &str) {
        self.established.push(text.to_owned());
    }

    fn miss(&mut self, text: &str) {
        self.not_established.push(text.to_owned());
    }
}

fn with_epoch(mut told: Value, epoch: &Epoch) -> Value {
    told["epoch"] = json!({
        "number": epoch.number,
        "begin": epoch.begin,
        "end": epoch.end,
        "time_s": epoch.time_s,
        "asset": epoch.asset,
        "accounts": epoch.count,
        "total": epoch.total.to_string(),
        "root": epoch.root.to_string(),
    });
    told
}

fn show(told: &Value, findings: &Findings, output: Output) -> Result<()> {
    let text = |value: &Value| quoted(value.as_str().unwrap_or_default());
    let epoch = &told["epoch"];
    let asset = text(&epoch["asset"]);
    let time_ms = epoch["time_s"].as_u64().unwrap_or_default().saturating_mul(1000);
    output.line(&output.paint(Colour::Green, "It holds"))?;
    output.line(&format!(
        "  epoch {}, log entries {} to {}, closed {}",
        epoch["number"],
        epoch["begin"],
        epoch["end"],
        time_text(time_ms)
    ))?;
    output.line(&format!(
        "  {} accounts have earned {} billionths of {asset} since the first receipt",
        epoch["accounts"],
        text(&epoch["total"])
    ))?;
    if told["kind"] == "earnings" {
        output.line(&format!("  {}", text(&told["account"])))?;
        output.line(&format!("    earned  {}", text(&told["amount"])))?;
        output.line(&format!("    paid    {} (the operator's word)", text(&told["paid"])))?;
        output.line(&format!("    due     {}", text(&told["due"])))?;
    }
    output.line("")?;
    for established in &findings.established {
        let mark = output.paint(Colour::Green, "✓");
        output.item(&format!("  {mark} "), 4, &quoted(established))?;
    }
    for missing in &findings.not_established {
        let mark = output.paint(Colour::Yellow, "–");
        output.item(&format!("  {mark} not established: "), 21, &quoted(missing))?;
    }
    Ok(())
}
