//! `tally ledger epoch`: closing a range of the log, and its public record.

use anyhow::Result;
use serde_json::{Value, json};
use tally_attribution::ledger::{Book, Boundary, ClosedEpoch, LogRange};
use tally_core::{cbor::Cbor as _, sum_tree::EpochSecret};
use tally_server::view::time_text;
use zeroize::Zeroizing;

use super::{super::write_new, Desk};
use crate::{
    args, book,
    context::{Context, now_ms},
    home::{Home, random},
    output::{Output, quoted},
};

pub(super) fn run(args: &args::EpochCommand, context: &Context) -> Result<()> {
    match args {
        args::EpochCommand::Close(args) => close(args, context),
        args::EpochCommand::List => list(context),
        args::EpochCommand::Show(args) => show(args, context),
    }
}

fn close(args: &args::CloseEpoch, context: &Context) -> Result<()> {
    let now_ms = args.now.map_or_else(now_ms, Ok)?;
    let mut desk = Desk::open(context)?;
    // A crash may have cut off what makes the last one public.
    book::enter_last_epoch(&desk.home, &desk.node, &desk.book)?;
    // What is owed and not taken in would be missing from the epoch.
    let settled = desk.settle(now_ms, context.output)?;
    let boundary = desk.book.boundary()?;
    let size = desk.node.sequencer().with_log(|log| Ok(log.size()))?.get();
    let end = end_of(args.end, &boundary, size)?;
    let mut secret = Zeroizing::new([0; 32]);
    random(&mut *secret)?;
    let range = LogRange { begin: boundary.begin, end };
    desk.book.close_epoch(range, now_ms / 1000, &EpochSecret::from_bytes(*secret))?;
    let entered = book::enter_last_epoch(&desk.home, &desk.node, &desk.book)?;
    desk.node.publish(now_ms_of_clock()?)?;
    let Some((closed, index)) = entered else { return Ok(()) };
    let mut told = view(&desk.home, &closed)?;
    told["log_index"] = json!(index.0);
    told["settled"] = settled;
    context.output.json(&told)?;
    tell(&desk.home, &closed, context.output)?;
    context.output.line(&format!("  entered as entry {index} of this node's log"))
}

/// The cosigner's clock is the machine's, whatever time the epoch is to have.
fn now_ms_of_clock() -> Result<u64> {
    Ok(now_ms()? / 1000)
}

/// Where the epoch ends: where it was told to, or as late as it can.
fn end_of(told: Option<u64>, boundary: &Boundary, size: u64) -> Result<u64> {
    let end = told.unwrap_or_else(|| boundary.last.min(size));
    anyhow::ensure!(end <= size, "the log has {size} entries, the epoch cannot end at {end}");
    anyhow::ensure!(
        end > boundary.begin,
        "there is nothing to close: the next epoch begins at log entry {}, and {}",
        boundary.begin,
        match boundary.last < size {
            true => format!(
                "the receipt at entry {} is pending\n\nhint: it is posted when its challenge window is over: `tally ledger settle`",
                boundary.last
            ),
            false => format!("the log has {size} entries"),
        }
    );
    Ok(end)
}

fn list(context: &Context) -> Result<()> {
    let (home, book) = book::existing(context)?;
    let count = book.last_epoch()?.map_or(0, |last| last.epoch.number + 1);
    let mut all = vec![];
    for number in 0..count {
        all.push(book::epoch_of(&book, Some(number))?);
    }
    let views: Vec<Value> = all.iter().map(|it| view(&home, it)).collect::<Result<_>>()?;
    context.output.json(&json!({ "epochs": views }))?;
    if all.is_empty() {
        context.output.note("no epoch is closed\n\nhint: `tally ledger epoch close` closes one");
    }
    for ClosedEpoch { epoch, .. } in &all {
        context.output.line(&format!(
            "{:>5}  log entries {} to {}, closed {}: {} accounts, {} billionths of {}",
            epoch.number,
            epoch.begin,
            epoch.end,
            time_text(epoch.time_s * 1000),
            epoch.count,
            epoch.total,
            quoted(&epoch.asset)
        ))?;
    }
    Ok(())
}

fn show(args: &args::ShowEpoch, context: &Context) -> Result<()> {
    let (home, book) = book::existing(context)?;
    let closed = book::epoch_of(&book, args.number)?;
    if let Some(out) = &args.out {
        write_new(out, &book::record_of(&home, &closed)?.encode())?;
        context.output.note(&format!("written to {}", out.display()));
    }
    context.output.json(&view(&home, &closed)?)?;
    tell(&home, &closed, context.output)
}

fn view(home: &Home, closed: &ClosedEpoch) -> Result<Value> {
    let epoch = &closed.epoch;
    Ok(json!({
        "epoch": epoch.number,
        "begin": epoch.begin,
        "end": epoch.end,
        "time_s": epoch.time_s,
        "asset": epoch.asset,
        "accounts": epoch.count,
        "total": epoch.total.to_string(),
        "root": epoch.root.to_string(),
        "journal": epoch.journal.to_string(),
        "record_digest": book::record_of(home, closed)?.digest().to_string(),
    }))
}

fn tell(home: &Home, closed: &ClosedEpoch, output: Output) -> Result<()> {
    let epoch = &closed.epoch;
    let (asset, time) = (quoted(&epoch.asset), time_text(epoch.time_s.saturating_mul(1000)));
    output.line(&format!("Epoch {}, closed {time}", epoch.number))?;
    output.line(&format!("  log entries {} to {}, the last excluded", epoch.begin, epoch.end))?;
    output.line(&format!(
        "  {} accounts have earned {} billionths of {asset} since the first receipt",
        epoch.count, epoch.total
    ))?;
    output.line(&format!("  root    {}", epoch.root))?;
    output.line(&format!("  record  {}", book::record_of(home, closed)?.digest()))
}
