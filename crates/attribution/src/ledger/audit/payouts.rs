//! Recomputing what the pool of feedback paid: from opened receipts, and from what was signed of them.

use tally_core::account::Account;

use super::super::earnings::Earnings;
use super::super::{Book, Due, LedgerError, PaidOut, Payout, Resolution};
use super::{Listed, TermsOf, add};

/// The payouts before an epoch was closed, and what the opened receipts had brought to each.
pub(super) struct Payouts {
    /// Number of the event that closed the epoch.
    event: u64,
    all: Vec<PaidOut>,
    /// What came into the pool after the payout before this one, and what was taken back.
    came: Vec<u128>,
    went: Vec<u128>,
}

impl Payouts {
    /// Those of a book before an event.
    pub(super) fn before(book: &dyn Book, event: u64) -> Result<Self, LedgerError> {
        let (mut all, mut from) = (vec![], 0);
        loop {
            let page = book.payouts(from)?;
            let Some(last) = page.last() else { break };
            from = last.event.saturating_add(1);
            all.extend(page.into_iter().filter(|it| it.event < event));
            if from > event {
                break;
            }
        }
        // One place more, for what happened after the last of them.
        let sums = vec![0; all.len() + 1];
        Ok(Self { event, all, came: sums.clone(), went: sums })
    }

    /// Takes note of what an opened receipt brought to the pool, and when.
    pub(super) fn add(&mut self, due: &Due, resolution: &Resolution) -> Result<(), LedgerError> {
        let to_pool = due.shares.iter().filter(|share| share.account == Account::Feedback);
        let amount = to_pool.map(|share| share.amount).sum::<u128>();
        let place = |event: u64| self.all.partition_point(|it| it.event <= event);
        let (came, went) = match resolution {
            Resolution::Pending | Resolution::Voided { .. } => return Ok(()),
            Resolution::Posted { event } => (place(*event), None),
            Resolution::Corrected { posted, event, .. } => (place(*posted), Some(place(*event))),
        };
        if let Some(sum) = self.came.get_mut(came) {
            add(sum, amount)?;
        }
        match went.and_then(|went| self.went.get_mut(went)) {
            Some(sum) => add(sum, amount),
            None => Ok(()),
        }
    }

    /// Moves in `earnings` what the payouts that stand should have paid; names by their events those
    /// that paid otherwise, and those that were taken back.
    pub(super) fn finish(
        self,
        terms_of: &TermsOf<'_>,
        earnings: &mut Earnings,
    ) -> Result<(Listed, Listed), LedgerError> {
        let (mut differing, mut taken_back) = (Listed::default(), Listed::default());
        let mut brought = 0_u128;
        for (place, it) in self.all.iter().enumerate() {
            let [came, went] = [&self.came, &self.went].map(|sums| sums.get(place).copied());
            add(&mut brought, came.unwrap_or(0))?;
            brought = brought.saturating_sub(went.unwrap_or(0));
            let earlier = self.all.get(..place).unwrap_or_default();
            let stood: Vec<&PaidOut> =
                earlier.iter().filter(|before| before.stands_before(it.event)).collect();
            let gone = stood.iter().fold(0_u128, |sum, it| sum.saturating_add(it.payout.total()));
            let begin = stood.last().map_or(0, |last| last.payout.range.end);
            let expected = recomputed(&it.payout, brought.saturating_sub(gone), begin, terms_of);
            if expected.as_ref() != Some(&it.payout) {
                differing.push(it.event);
            }
            if !it.stands_before(self.event) {
                taken_back.push(it.event);
            } else if let Some(expected) = expected {
                pay(&expected, earnings)?;
            }
        }
        Ok((differing, taken_back))
    }
}

/// The payout as it should have been; none if there should have been none.
fn recomputed(found: &Payout, pool: u128, begin: u64, terms_of: &TermsOf<'_>) -> Option<Payout> {
    let terms = terms_of(found.range, found.policy.clone());
    let is_sound = terms.require_sound(&found.policy.asset).is_ok() && found.range.begin == begin;
    is_sound.then(|| terms.payout(pool).ok()).flatten()
}

fn pay(payout: &Payout, earnings: &mut Earnings) -> Result<(), LedgerError> {
    let pool = earnings.entry(Account::Feedback).or_insert(0);
    // What the opened receipts do not bring is not paid on: the totals then differ.
    *pool = pool.saturating_sub(payout.total());
    if *pool == 0 {
        earnings.remove(&Account::Feedback);
    }
    for (account, amount) in &payout.payments {
        add(earnings.entry(*account).or_insert(0), *amount)?;
    }
    Ok(())
}

impl PaidOut {
    /// Whether it had not been taken back when an event behind it happened.
    #[must_use]
    pub fn stands_before(&self, event: u64) -> bool {
        self.taken_back.is_none_or(|taken_back| taken_back >= event)
    }
}
