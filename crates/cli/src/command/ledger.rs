//! `tally ledger`: what receipts charged, whom it is owed to, and what was paid.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tally_attribution::ledger::{
    Balance, Book, BookAccount, EarningsTree, EmbeddedBook, LedgerError, Voided, state_earnings,
    totals,
};
use tally_core::{Digest, account::Account, cbor::Cbor as _};

use super::{Verdict, registry::account_text, write_new};
use crate::{
    args,
    book::{self, Taken},
    context::{Context, now_ms},
    home::Home,
    node,
    output::{Output, quoted},
};

mod audit;
mod epoch;
mod feedback;
mod verify;

pub(crate) fn run(args: &args::Ledger, context: &Context) -> Result<Verdict> {
    match args {
        args::Ledger::Balance(args) => balance(args, context)?,
        args::Ledger::Settle(args) => settle(args, context)?,
        args::Ledger::Epoch(args) => epoch::run(args, context)?,
        args::Ledger::Statement(args) => statement(args, context)?,
        args::Ledger::Verify(args) => return verify::run(args, context),
        args::Ledger::Feedback(args) => feedback::run(args, context)?,
        args::Ledger::Claim(args) => claim(args, context)?,
        args::Ledger::Void(args) => void(args, context)?,
        args::Ledger::Audit(args) => return audit::run(args, context),
    }
    Ok(Verdict::Satisfied)
}

/// What one account has, as people ask for it.
struct Standing {
    account: Account,
    /// What was posted and not taken back.
    earned: u128,
    /// What no receipt's challenge window has released yet.
    pending: u128,
    /// What was paid out.
    paid: u128,
}

impl Standing {
    fn new(account: Account, earned: Balance, paid: Balance) -> Self {
        let paid = paid.credits_posted;
        let corrected = earned.debits_posted.saturating_sub(paid);
        let pending = earned.credits_pending;
        Self { account, earned: earned.credits_posted.saturating_sub(corrected), pending, paid }
    }

    fn view(&self) -> Value {
        json!({
            "account": account_text(&self.account),
            "earned": self.earned.to_string(),
            "pending": self.pending.to_string(),
            "paid": self.paid.to_string(),
            "due": self.earned.saturating_sub(self.paid).to_string(),
        })
    }
}

fn balance(args: &args::Balance, context: &Context) -> Result<()> {
    let (_, book) = book::existing(context)?;
    let mut accounts = vec![];
    book.each_balance(&mut |account, _| {
        if let BookAccount::Earned(account) = account {
            accounts.push(account);
        }
    })?;
    if let Some(of) = args.of {
        accounts = vec![of];
    }
    let standing = |account: &Account| -> Result<Standing> {
        let earned = book.balance(&BookAccount::Earned(*account))?;
        Ok(Standing::new(*account, earned, book.balance(&BookAccount::Paid(*account))?))
    };
    let all: Vec<Standing> = accounts.iter().map(standing).collect::<Result<_>>()?;
    let totals = totals(&book)?;
    let output = context.output;
    output.json(&json!({
        "asset": book.asset(),
        "accounts": all.iter().map(Standing::view).collect::<Vec<_>>(),
        "charged": totals.liability.to_string(),
        "pending": totals.pending.to_string(),
        "paid": totals.paid.to_string(),
    }))?;
    output.line(&format!("In billionths of {}", quoted(book.asset())))?;
    output.line(&format!("  {:>20} {:>20} {:>20}  account", "earned", "pending", "paid"))?;
    for it in &all {
        let account = account_text(&it.account);
        output
            .line(&format!("  {:>20} {:>20} {:>20}  {account}", it.earned, it.pending, it.paid))?;
    }
    if args.of.is_none() {
        let (charged, pending, paid) = (totals.liability, totals.pending, totals.paid);
        output.line(&format!("  {charged:>20} {pending:>20} {paid:>20}  together"))?;
    }
    Ok(())
}

/// A home's log and book, open for writing. Where nothing charges there is nothing in them.
struct Desk {
    home: Home,
    node: tally_issuer::Node,
    book: EmbeddedBook,
}

impl Desk {
    fn open(context: &Context) -> Result<Self> {
        let home = context.existing_home()?;
        let node = node::open(&home)?;
        let book = book::open(&home)?;
        Ok(Self { home, node, book })
    }

    /// Takes in what receipts owe, and posts what can be posted; says so.
    fn settle(&mut self, now_ms: u64, output: Output) -> Result<Value> {
        let taken = book::take_in(&self.home, &self.node, &mut self.book)?;
        let settled = self.book.settle(now_ms / 1000)?;
        output.line(&format!("booked  {} receipts", taken.booked))?;
        let (asset, amount) = (quoted(self.book.asset()), settled.amount);
        output
            .line(&format!("posted  {} receipts, {amount} billionths of {asset}", settled.count))?;
        let pending = self.book.boundary()?.last;
        let is_pending = totals(&self.book)?.pending > 0;
        if is_pending {
            output.line(&format!("pending from log entry {pending} on"))?;
        }
        tell_left(&taken, self.book.asset(), output);
        let digests = |all: &[Digest]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        Ok(json!({
            "booked": taken.booked,
            "posted": settled.count,
            "posted_amount": settled.amount.to_string(),
            "first_pending": is_pending.then_some(pending),
            "unlogged": digests(&taken.unlogged),
            "of_other_assets": digests(&taken.foreign),
        }))
    }
}

fn tell_left(taken: &Taken, asset: &str, output: Output) {
    if !taken.unlogged.is_empty() {
        output.note(&format!(
            "note: {} receipts stand in no log and are not booked: nobody was told of them, since signing was cut short",
            taken.unlogged.len()
        ));
    }
    if !taken.foreign.is_empty() {
        output.note(&format!(
            "note: {} receipts charge in another asset than the book's, {}, and are not booked",
            taken.foreign.len(),
            quoted(asset)
        ));
    }
}

fn settle(args: &args::Settle, context: &Context) -> Result<()> {
    let now_ms = args.now.map_or_else(now_ms, Ok)?;
    let told = Desk::open(context)?.settle(now_ms, context.output)?;
    context.output.json(&told)
}

fn statement(args: &args::LedgerStatement, context: &Context) -> Result<()> {
    let (home, book) = book::existing(context)?;
    let closed = book::epoch_of(&book, args.epoch)?;
    let number = closed.epoch.number;
    let tree = EarningsTree::new(&book.earnings(number)?, &closed.secret)?;
    let key = home.load_or_create_keys()?.receipt;
    let signed = state_earnings(&book, number, &tree, &args.of, &key)?;
    write_new(&args.out, &signed.encode())?;
    let output = context.output;
    let (account, public) = (account_text(&args.of), hex::encode(key.public_key().as_bytes()));
    output.json(&json!({
        "file": args.out,
        "account": account,
        "epoch": number,
        "key": public,
    }))?;
    output.line(&format!("{}", args.out.display()))?;
    output.line(&format!("  what {account} has earned by the end of epoch {number}"))?;
    output.note(&format!(
        "its owner verifies it with `tally ledger verify {} --key {public}`",
        args.out.display()
    ));
    Ok(())
}

fn claim(args: &args::Claim, context: &Context) -> Result<()> {
    let (_, mut book) = book::existing(context)?;
    let paid = |book: &EmbeddedBook| -> Result<u128> {
        Ok(book.balance(&BookAccount::Paid(args.of))?.credits_posted)
    };
    let before = paid(&book)?;
    let amount = book.claim(args.epoch, &args.of)?;
    let is_new = paid(&book)? > before;
    let output = context.output;
    let account = account_text(&args.of);
    output.json(&json!({
        "account": account,
        "epoch": args.epoch,
        "amount": amount.to_string(),
        "is_new": is_new,
    }))?;
    let asset = quoted(book.asset());
    output.line(&match (is_new, amount) {
        (true, _) => format!("booked: {amount} billionths of {asset} were paid to {account}"),
        (false, 0) => format!("nothing to pay to {account} for epoch {}", args.epoch),
        (false, _) => format!(
            "claimed before: {amount} billionths of {asset} to {account} for epoch {}",
            args.epoch
        ),
    })
}

fn void(args: &args::Void, context: &Context) -> Result<()> {
    let (home, mut book) = book::existing(context)?;
    let receipt = book::receipt_of(&book, &args.receipt)?;
    let reason = Digest::of_content(args.reason.as_bytes());
    let voided = book.void(&receipt, &reason).map_err(|error| match &error {
        LedgerError::Unknown { .. } => {
            anyhow::anyhow!("{error}\n\nhint: `tally ledger settle` takes in what receipts owe")
        }
        _ => error.into(),
    })?;
    // The book has the digest alone; whoever audits asks for the words.
    let folder = home.reasons();
    let path = folder.join(format!("{reason}.txt"));
    fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &args.reason)).with_context(
        || format!("the receipt is taken back; cannot keep why in {}", path.display()),
    )?;
    let how = match voided {
        Voided::Pending => "voided while it was pending",
        Voided::Posted => "corrected by opposite transfers, since it was posted",
        Voided::Replayed => "taken back before, for the same reason",
    };
    context.output.json(&json!({
        "receipt_digest": receipt.to_string(),
        "reason_digest": reason.to_string(),
        "is_new": voided != Voided::Replayed,
        "was_posted": voided == Voided::Posted,
    }))?;
    context.output.line(&format!("receipt {receipt}: {how}"))?;
    context.output.line(&format!("  reason  {reason}, kept in {}", path.display()))
}
