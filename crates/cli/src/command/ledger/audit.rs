//! `tally ledger audit`: an epoch computed again from opened receipts, beside what the book says.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tally_attribution::{
    feedback::Records,
    ledger::{self, Book, Listed, Opening, Owed, OwedError, PaidOut},
};
use tally_core::{
    Digest,
    cbor::Cbor as _,
    entry::EntryKind,
    receipt::{Bundle, SignedStatement, Statement},
    tree::LeafIndex,
};
use tally_issuer::Node;
use tally_server::store::StatementStore;
use tally_verifier::open;

use super::{super::Verdict, Desk};
use crate::{
    args, book,
    context::Context,
    feedback,
    home::Home,
    output::{Colour, Output, quoted},
    receipts,
};

/// What the auditor was given: by log index, and what is no use.
#[derive(Default)]
struct Given {
    /// Receipts with what they owe; nothing for those that charge nothing.
    opened: BTreeMap<u64, Option<Opening>>,
    /// Files that hold no receipt of this log, or one that is wrong, with the reason.
    refused: Vec<(String, String)>,
}

/// What besides the receipts was looked at.
struct Around {
    /// Log entries that are receipts without a price.
    free: u64,
    /// Number of events of the journal, whose chain holds.
    events: u64,
    /// Where the epoch's record stands in the log.
    record: Option<u64>,
    /// Feedback of the log that this home cannot show, and what of it is none, with the reason.
    closed_feedback: Vec<(u64, String)>,
    /// Payouts, by their events, whose split policy is not in the log.
    unlogged_policies: Vec<u64>,
}

impl Around {
    fn is_clean(&self) -> bool {
        self.record.is_some()
            && self.closed_feedback.is_empty()
            && self.unlogged_policies.is_empty()
    }
}

pub(super) fn run(args: &args::Audit, context: &Context) -> Result<Verdict> {
    // Looking never makes a book.
    drop(book::existing(context)?);
    let Desk { home, node, book } = Desk::open(context)?;
    let closed = book::epoch_of(&book, Some(args.epoch))?;
    let events = book.verify_journal().context("the book's journal was changed")?.count;
    let given = read_all(&args.receipts, &node)?;
    let statements = match home.statements().is_file() {
        true => Some(StatementStore::open(&home.statements())?),
        false => None,
    };
    let (openings, free) = openings_of(&given, closed.epoch.end, &node, statements.as_ref())?;
    let payouts = payouts_before(&book, closed.event)?;
    let (records, closed_feedback) = records_of(&home, &node, &payouts)?;
    let terms_of = |range, policy| records.terms(range, policy);
    let report = ledger::audit(&book, args.epoch, openings, &terms_of)?;
    let mut unlogged_policies = vec![];
    for it in &payouts {
        let policy = it.payout.policy.digest();
        if node.sequencer().with_log(|log| log.lookup(&policy))?.is_none() {
            unlogged_policies.push(it.event);
        }
    }
    let record = book::record_of(&home, &closed)?.digest();
    let record = node.sequencer().with_log(|log| log.lookup(&record))?.map(|index| index.0);
    let around = Around { free, events, record, closed_feedback, unlogged_policies };
    let is_clean = report.is_clean() && around.is_clean();
    context.output.json(&view(&report, &given, &around, is_clean))?;
    show(&report, &given, &around, is_clean, context.output)?;
    Ok(if is_clean { Verdict::Satisfied } else { Verdict::NotSatisfied })
}

/// Reads the receipts of a folder.
fn read_all(folder: &Path, node: &Node) -> Result<Given> {
    let failed = || format!("cannot list {}", folder.display());
    let mut paths = vec![];
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "receipt") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut given = Given::default();
    for path in paths {
        match read(&path, node) {
            Ok((index, opening)) => {
                let known = given.opened.get(&index);
                // Of two copies the one that opens more counts.
                if !matches!(known, Some(None | Some(Opening::Due(_)))) {
                    given.opened.insert(index, opening);
                }
            }
            Err(error) => {
                given.refused.push((path.display().to_string(), format!("{error:#}")));
            }
        }
    }
    Ok(given)
}

/// Where a receipt stands in the log, and what it owes by its openings, which are verified.
fn read(path: &Path, node: &Node) -> Result<(u64, Option<Opening>)> {
    let bytes = receipts::read(path)?;
    let digest = Bundle::parse(&bytes)?.statement.digest();
    let index = node.sequencer().with_log(|log| log.lookup(&digest))?;
    let index = index.with_context(|| format!("receipt {digest} is not in this log"))?.0;
    let opened = open(&bytes)?;
    let receipt = opened.receipt();
    let opening = match Owed::of(receipt.digest, &receipt.statement, &receipt.openings) {
        Ok(owed) => owed.map(|owed| Opening::Due(owed.at(index))),
        Err(OwedError::Unopened { .. }) => Some(Opening::Unopened),
        Err(error) => return Err(error.into()),
    };
    Ok((index, opening))
}

/// All receipts of the log before `end`, in its order; those that charge nothing are counted.
fn openings_of(
    given: &Given,
    end: u64,
    node: &Node,
    statements: Option<&StatementStore>,
) -> Result<(Vec<(u64, Opening)>, u64)> {
    let (mut openings, mut free) = (vec![], 0);
    for index in 0..end {
        let opening = match given.opened.get(&index) {
            Some(opening) => opening.clone(),
            None => {
                let entry = node.sequencer().with_log(|log| log.read(LeafIndex(index)))?;
                if entry.kind != EntryKind::RECEIPT {
                    continue;
                }
                match is_free(&entry.digest, statements)? {
                    true => None,
                    false => Some(Opening::Unopened),
                }
            }
        };
        match opening {
            Some(opening) => openings.push((index, opening)),
            None => free += 1,
        }
    }
    Ok((openings, free))
}

/// The payouts before an epoch was closed.
fn payouts_before(book: &dyn Book, event: u64) -> Result<Vec<PaidOut>> {
    let (mut all, mut from) = (vec![], 0);
    loop {
        let page = book.payouts(from)?;
        let Some(last) = page.last().filter(|_| from <= event) else { return Ok(all) };
        from = last.event + 1;
        all.extend(page.into_iter().filter(|it| it.event < event));
    }
}

/// All feedback of the log that these payouts can follow from, as this home shows it; the log's digests
/// hold the home to it. What it cannot show is listed.
fn records_of(
    home: &Home,
    node: &Node,
    payouts: &[PaidOut],
) -> Result<(Records, Vec<(u64, String)>)> {
    let mut records = Records::new(*node.public_key().as_bytes());
    let (mut closed, end) = (vec![], payouts.iter().map(|it| it.payout.range.end).max());
    let Some(end) = end else { return Ok((records, closed)) };
    // Looking never makes a store.
    let store = home.feedback().is_file().then(|| feedback::store(home)).transpose()?;
    for index in 0..end {
        let entry = node.sequencer().with_log(|log| log.read(LeafIndex(index)))?;
        if entry.kind != EntryKind::FEEDBACK {
            continue;
        }
        let kept = store.as_ref().map(|store| store.get(&entry.digest)).transpose()?.flatten();
        let added = match kept {
            Some(signed) => records.add(index, &signed).map_err(|error| error.to_string()),
            None => Err("this home does not have it".into()),
        };
        if let Err(why) = added {
            closed.push((index, why));
        }
    }
    Ok((records, closed))
}

/// Whether the node's own copy of a statement says that it charges nothing.
///
/// The log's digest holds the node to that copy, so it is not the operator's word alone.
fn is_free(digest: &Digest, statements: Option<&StatementStore>) -> Result<bool> {
    let Some(store) = statements else { return Ok(false) };
    let Some(bytes) = store.get_by_digest(digest)? else { return Ok(false) };
    if Digest::of_content(&bytes) != *digest {
        return Ok(false);
    }
    let statement = Statement::parse(&SignedStatement::parse(&bytes)?.payload)?;
    Ok(statement.price.is_none())
}

/// The lists of a report: their names, what they say, and whether one entry is a fault.
fn lists(report: &ledger::Audit) -> [(&'static str, &'static str, &Listed); 8] {
    [
        ("unopened", "were not opened to you", &report.unopened),
        ("omitted", "are opened, and the book does not have them", &report.omitted),
        ("differing", "stand in the book with other contents", &report.differing),
        ("unsound", "do not add up, or are of another asset", &report.unsound),
        ("surplus", "stand in the book, and no receipt of the log is there", &report.surplus),
        ("voided", "were taken back: ask for the reasons", &report.voided),
        ("unfounded", "of the journal are payouts that do not follow", &report.unfounded),
        ("reclaimed", "of the journal are payouts that corrections took back", &report.reclaimed),
    ]
}

fn view(report: &ledger::Audit, given: &Given, around: &Around, is_clean: bool) -> Value {
    let listed = |listed: &Listed| json!({ "count": listed.count, "log_indices": listed.first });
    let mut told = json!({
        "epoch": report.epoch,
        "clean": is_clean,
        "opened": report.opened,
        "free": around.free,
        "total": report.total.to_string(),
        "stated_total": report.stated_total.to_string(),
        "unopened_amount": report.unopened_amount.to_string(),
        "root": report.root.to_string(),
        "stated_root": report.stated_root.to_string(),
        "journal_events": around.events,
        "record_log_index": around.record,
        "closed_feedback": around.closed_feedback.iter().map(|(index, reason)| {
            json!({ "log_index": index, "reason": reason })
        }).collect::<Vec<_>>(),
        "unlogged_policies": around.unlogged_policies,
        "refused": given.refused.iter().map(|(file, reason)| {
            json!({ "file": file, "reason": reason })
        }).collect::<Vec<_>>(),
    });
    for (name, _, found) in lists(report) {
        told[name] = match name {
            "unfounded" | "reclaimed" => json!({ "count": found.count, "events": found.first }),
            _ => listed(found),
        };
    }
    told
}

fn show(
    report: &ledger::Audit,
    given: &Given,
    around: &Around,
    is_clean: bool,
    output: Output,
) -> Result<()> {
    output.line(&match is_clean {
        true => output.paint(Colour::Green, "The epoch is what the opened receipts yield"),
        false => output.paint(Colour::Red, "The epoch is not what the opened receipts yield"),
    })?;
    output.line(&format!(
        "  {} receipts with a price opened, {} are free",
        report.opened, around.free
    ))?;
    output.line(&format!("  total  {}, the record says {}", report.total, report.stated_total))?;
    output.line(&format!("  root   {}", report.root))?;
    if !report.is_root_equal() {
        output.line(&format!("         the record says {}", report.stated_root))?;
    }
    output.line(&format!("  the chain of the journal's {} events holds", around.events))?;
    output.line(&match around.record {
        Some(index) => format!("  the record is entry {index} of the log"),
        None => "  the record is not in the log".into(),
    })?;
    for (_, text, listed) in lists(report).iter().filter(|(_, _, listed)| listed.count > 0) {
        let indices: Vec<String> = listed.first.iter().map(ToString::to_string).collect();
        let more = if listed.count > listed.first.len() as u64 { ", …" } else { "" };
        let text = format!("{} entries {text}: {}{more}", listed.count, indices.join(", "));
        output.item("  – ", 4, &text)?;
    }
    if report.unopened_amount > 0 {
        output.line(&format!("    of those not opened the book has {}", report.unopened_amount))?;
    }
    for (index, reason) in &around.closed_feedback {
        let text = format!("feedback at entry {index} is of no use: {}", quoted(reason));
        output.item("  – ", 4, &text)?;
    }
    for event in &around.unlogged_policies {
        let text = format!("the split policy of payout {event} is not in the log");
        output.item("  – ", 4, &text)?;
    }
    for (file, reason) in &given.refused {
        output.item("  – ", 4, &format!("{} is no use: {}", quoted(file), quoted(reason)))?;
    }
    Ok(())
}
