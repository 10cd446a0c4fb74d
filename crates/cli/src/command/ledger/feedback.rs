//! `tally ledger feedback`: the pool of feedback, paid out to raters.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tally_attribution::{
    did::to_did,
    ledger::{Book as _, FeedbackTerms, LedgerError, LogRange, PaidOut},
};
use tally_core::entry::EntryKind;

use super::{super::registry::account_text, Desk};
use crate::{
    args,
    context::{Context, now_ms},
    contributions, feedback,
    output::{Output, quoted},
};

pub(super) fn run(args: &args::PayFeedback, context: &Context) -> Result<()> {
    let now_ms = args.now.map_or_else(now_ms, Ok)?;
    let mut desk = Desk::open(context)?;
    let settled = desk.settle(now_ms, context.output)?;
    let store = feedback::store(&desk.home)?;
    let all = feedback::read_all(&store, &desk.node)?;
    let policy = contributions::split_policy(&desk.home)?;
    // An auditor holds the payout to a policy that was public before it.
    desk.node.enter_once(
        EntryKind::SPLIT_POLICY,
        policy.digest(),
        crate::context::now_ms()? / 1000,
    )?;
    desk.node.publish(crate::context::now_ms()? / 1000)?;
    let size = desk.node.sequencer().with_log(|log| Ok(log.size()))?.get();
    let (begin, end) = (desk.book.payout_begin()?, args.end.unwrap_or(size));
    ensure!(end <= size, "the log has {size} entries, the payout cannot end at {end}");
    ensure!(
        end > begin || args.end.is_none(),
        "the payout would end at {end}, and the log before {begin} is paid already"
    );
    let range = LogRange { begin, end };
    let terms = all.records.terms(range, policy);
    let paid = match desk.book.pay_feedback(&terms) {
        Ok(paid) => Some(paid),
        Err(LedgerError::NothingToPay { .. }) => None,
        // Nothing was logged since the last one.
        Err(LedgerError::PayoutRange { .. }) if end == begin => None,
        Err(error) => return Err(error.into()),
    };
    let mut told = view(&all, range, paid.as_ref());
    told["settled"] = settled;
    context.output.json(&told)?;
    tell(&terms, paid.as_ref(), desk.book.asset(), context.output)
}

fn view(all: &feedback::All, range: LogRange, paid: Option<&PaidOut>) -> Value {
    let standings = all.records.standings(range);
    let raters = standings.iter().map(|(rater, it)| {
        json!({ "rater": to_did(rater), "used": it.used, "answered": it.answered, "right": it.right })
    });
    let payments = paid.iter().flat_map(|paid| &paid.payout.payments).map(|(account, amount)| {
        json!({ "account": account_text(account), "amount": amount.to_string() })
    });
    json!({
        "begin": range.begin,
        "end": range.end,
        "event": paid.map(|paid| paid.event),
        "pool": paid.map(|paid| paid.payout.pool.to_string()),
        "paid": paid.map(|paid| paid.payout.total().to_string()),
        "payments": payments.collect::<Vec<_>>(),
        "raters": raters.collect::<Vec<_>>(),
    })
}

fn tell(terms: &FeedbackTerms, paid: Option<&PaidOut>, asset: &str, output: Output) -> Result<()> {
    let Some(PaidOut { payout, .. }) = paid else {
        output.line("nothing is paid out, and the next payout begins where this one would have")?;
        output.note(match terms.weights.is_empty() {
            true => "since the last payout no rating was used whose rater answered a gold question right\n\nhint: `tally feedback use` states which were used, `tally feedback gold` fixes right answers",
            false => "nobody would get anything of what the pool holds\n\nhint: `tally ledger balance --of feedback` shows it; receipts are posted when their challenge window is over",
        });
        return Ok(());
    };
    let (asset, total) = (quoted(asset), payout.total());
    output.line(&format!("paid out  {total} of {} billionths of {asset}", payout.pool))?;
    for (account, amount) in &payout.payments {
        output.line(&format!("  {amount:>20}  {}", account_text(account)))?;
    }
    let left = payout.pool.saturating_sub(total);
    output.line(&format!(
        "  {left:>20}  stay in the pool, since {} basis points are the most for one account",
        payout.policy.feedback_cap_bps
    ))
}
