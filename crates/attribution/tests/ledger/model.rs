//! A book as its rules are written: a list of transfers, added up anew for every question.

use std::collections::BTreeMap;

use tally_attribution::ledger::{
    Balance, Book, BookAccount, Booked, Boundary, ClosedEpoch, Due, Earnings, EarningsTree, Entry,
    FeedbackTerms, Head, LedgerError, LogRange, PaidOut, Phase, Resolution, Settled, Transfer,
    Voided,
};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::sum_tree::{Epoch, EpochSecret};

use crate::operations::ASSET;

/// Keeps everything in memory and knows no journal; events are numbered all the same.
#[derive(Default)]
pub(crate) struct Model {
    events: u64,
    entries: Vec<Entry>,
    epochs: Vec<(ClosedEpoch, Earnings)>,
    claims: Vec<(u64, Account, u128)>,
    payouts: Vec<PaidOut>,
    /// Which receipt has a transfer's name: the one thing that would take too long to search.
    names: BTreeMap<TransferId, Digest>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { events: 1, ..Self::default() }
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events - 1
    }

    fn require_bookable(&self, due: &Due, earlier: &[Due]) -> Result<bool, LedgerError> {
        let receipt = due.receipt;
        let all = || self.entries.iter().map(|entry| &entry.due).chain(earlier);
        if let Some(booked) = all().find(|booked| booked.receipt == receipt) {
            if booked == due {
                return Ok(false);
            }
            let (booked, found) = (booked.digest(), due.digest());
            return Err(LedgerError::Conflict { receipt, booked, found });
        }
        let log_index = due.log_index;
        if let Some(booked) = all().find(|booked| booked.log_index == log_index) {
            return Err(LedgerError::LogIndex { log_index, booked: booked.receipt, receipt });
        }
        let mut ids: Vec<TransferId> = due.shares.iter().map(|share| share.id).collect();
        ids.sort_unstable();
        for id in ids {
            let named = |due: &&Due| due.shares.iter().any(|share| share.id == id);
            let earlier = || earlier.iter().find(named).map(|due| due.receipt);
            if let Some(booked) = self.names.get(&id).copied().or_else(earlier) {
                return Err(LedgerError::Transfer { id, booked, receipt });
            }
        }
        Ok(true)
    }

    fn all_transfers(&self) -> Vec<Transfer> {
        self.entries.iter().flat_map(Entry::transfers).collect()
    }

    fn balances(&self) -> BTreeMap<BookAccount, Balance> {
        let mut balances: BTreeMap<BookAccount, Balance> = BTreeMap::new();
        if !self.entries.is_empty() {
            balances.entry(BookAccount::Payer).or_default();
        }
        for Transfer { debit, credit, amount, phase, .. } in self.all_transfers() {
            let side = balances.entry(debit).or_default();
            match phase {
                Phase::Pending => side.debits_pending += amount,
                Phase::Void(_) => side.debits_pending -= amount,
                Phase::Correct(_) => side.debits_posted += amount,
                Phase::Post(_) => {
                    side.debits_pending -= amount;
                    side.debits_posted += amount;
                }
            }
            let side = balances.entry(credit).or_default();
            match phase {
                Phase::Pending => side.credits_pending += amount,
                Phase::Void(_) => side.credits_pending -= amount,
                Phase::Correct(_) => side.credits_posted += amount,
                Phase::Post(_) => {
                    side.credits_pending -= amount;
                    side.credits_posted += amount;
                }
            }
        }
        for (_, account, amount) in &self.claims {
            balances.entry(BookAccount::Earned(*account)).or_default().debits_posted += amount;
            balances.entry(BookAccount::Paid(*account)).or_default().credits_posted += amount;
        }
        for PaidOut { payout, taken_back, .. } in &self.payouts {
            let times = u128::from(taken_back.is_some());
            let pool = balances.entry(BookAccount::Earned(Account::Feedback)).or_default();
            pool.debits_posted += payout.total();
            pool.credits_posted += times * payout.total();
            for (account, amount) in &payout.payments {
                let rater = balances.entry(BookAccount::Earned(*account)).or_default();
                rater.credits_posted += amount;
                rater.debits_posted += times * amount;
            }
        }
        balances
    }

    /// What stands posted, receipt by receipt.
    fn earned(&self) -> Earnings {
        let mut earnings = Earnings::new();
        let posted = |entry: &&Entry| matches!(entry.resolution, Resolution::Posted { .. });
        for share in self.entries.iter().filter(posted).flat_map(|entry| &entry.due.shares) {
            *earnings.entry(share.account).or_default() += share.amount;
        }
        for payout in self.standing() {
            *earnings.entry(Account::Feedback).or_default() -= payout.payout.total();
            for (account, amount) in &payout.payout.payments {
                *earnings.entry(*account).or_default() += amount;
            }
        }
        earnings.retain(|_, amount| *amount > 0);
        earnings
    }

    fn standing(&self) -> impl DoubleEndedIterator<Item = &PaidOut> {
        self.payouts.iter().filter(|it| it.taken_back.is_none())
    }

    /// What receipts brought to the pool, less what they took back, and less what was paid out of it.
    fn pool(&self) -> Option<u128> {
        let posted = |entry: &&Entry| matches!(entry.resolution, Resolution::Posted { .. });
        let shares = self.entries.iter().filter(posted).flat_map(|entry| &entry.due.shares);
        let to_pool = shares.filter(|share| share.account == Account::Feedback);
        let brought: u128 = to_pool.map(|share| share.amount).sum();
        brought.checked_sub(self.standing().map(|it| it.payout.total()).sum())
    }

    fn paid(&self, account: &Account) -> u128 {
        self.claims.iter().filter(|(_, to, _)| to == account).map(|(_, _, amount)| amount).sum()
    }
}

impl Book for Model {
    fn asset(&self) -> &str {
        ASSET
    }

    fn book(&mut self, dues: &[Due]) -> Result<Booked, LedgerError> {
        for due in dues {
            due.require_sound()?;
            if due.asset != ASSET {
                let (expected, found) = (ASSET.into(), due.asset.clone());
                return Err(LedgerError::Asset { expected, found });
            }
        }
        let (mut new, mut booked) = (vec![], Booked::default());
        for due in dues {
            if self.require_bookable(due, &new)? {
                new.push(due.clone());
                booked.count += 1;
            } else {
                booked.replayed += 1;
            }
        }
        for due in new {
            let event = self.event();
            self.names.extend(due.shares.iter().map(|share| (share.id, due.receipt)));
            self.entries.push(Entry { due, event, resolution: Resolution::Pending });
        }
        Ok(booked)
    }

    fn settle(&mut self, now_s: u64) -> Result<Settled, LedgerError> {
        let mut pending: Vec<&mut Entry> = self
            .entries
            .iter_mut()
            .filter(|entry| entry.resolution == Resolution::Pending)
            .collect();
        pending.sort_by_key(|entry| entry.due.log_index);
        let (event, mut settled) = (self.events, Settled::default());
        for entry in pending {
            if entry.due.time_s + u64::from(entry.due.challenge_s) > now_s {
                break;
            }
            entry.resolution = Resolution::Posted { event };
            settled.count += 1;
            settled.amount += entry.due.amount;
        }
        self.events += u64::from(settled.count > 0);
        Ok(settled)
    }

    fn void(&mut self, receipt: &Digest, reason: &Digest) -> Result<Voided, LedgerError> {
        let (receipt, found, event) = (*receipt, *reason, self.events);
        let entry = self.entries.iter_mut().find(|entry| entry.due.receipt == receipt);
        let entry = entry.ok_or(LedgerError::Unknown { receipt })?;
        let voided = match entry.resolution {
            Resolution::Voided { reason, .. } | Resolution::Corrected { reason, .. } => {
                let other = LedgerError::Voided { receipt, reason, found };
                return if reason == found { Ok(Voided::Replayed) } else { Err(other) };
            }
            Resolution::Pending => {
                entry.resolution = Resolution::Voided { event, reason: found };
                Voided::Pending
            }
            Resolution::Posted { event: posted } => {
                entry.resolution = Resolution::Corrected { posted, event, reason: found };
                Voided::Posted
            }
        };
        while self.pool().is_none() {
            let newest = self.payouts.iter_mut().rfind(|it| it.taken_back.is_none());
            newest.unwrap().taken_back = Some(event);
        }
        self.event();
        Ok(voided)
    }

    fn close_epoch(
        &mut self,
        range: LogRange,
        time_s: u64,
        secret: &EpochSecret,
    ) -> Result<Epoch, LedgerError> {
        let LogRange { begin, end } = range;
        let (number, mut expected) = (self.epochs.len() as u64, 0);
        if let Some((last, _)) = self.epochs.last() {
            let epoch = &last.epoch;
            let is_same = (epoch.begin, epoch.end, epoch.time_s) == (begin, end, time_s);
            if is_same && last.secret == *secret {
                return Ok(epoch.clone());
            }
            expected = epoch.end;
        }
        if begin != expected || end <= begin {
            return Err(LedgerError::Range { number, expected, begin, end });
        }
        let boundary = self.boundary()?;
        if let Some(log_index) = Some(boundary.last).filter(|last| *last < end) {
            return Err(LedgerError::Pending { end, log_index });
        }
        if let Some(posted_end) = Some(boundary.first).filter(|first| *first > end) {
            return Err(LedgerError::Posted { end, posted_end });
        }
        let earnings = self.earned();
        let tree = EarningsTree::new(&earnings, secret)?;
        let (asset, count, total, root) = (ASSET.into(), tree.count(), tree.total(), tree.root());
        let journal = Digest::of_content(b"a model has no journal");
        let epoch = Epoch { number, begin, end, time_s, asset, count, total, root, journal };
        let event = self.event();
        let closed = ClosedEpoch { epoch: epoch.clone(), secret: secret.clone(), event };
        self.epochs.push((closed, earnings));
        Ok(epoch)
    }

    fn claim(&mut self, epoch: u64, account: &Account) -> Result<u128, LedgerError> {
        if *account == Account::Feedback {
            return Err(LedgerError::PoolClaimed);
        }
        let same = |(at, to, _): &&(u64, Account, u128)| *at == epoch && to == account;
        if let Some((_, _, amount)) = self.claims.iter().find(same) {
            return Ok(*amount);
        }
        let stated = self.earnings(epoch)?.get(account).copied().unwrap_or(0);
        let now = self.earned().get(account).copied().unwrap_or(0);
        let amount = stated.min(now).saturating_sub(self.paid(account));
        if amount > 0 {
            self.claims.push((epoch, *account, amount));
            self.event();
        }
        Ok(amount)
    }

    fn pay_feedback(&mut self, terms: &FeedbackTerms) -> Result<PaidOut, LedgerError> {
        terms.require_sound(ASSET)?;
        let last = self.standing().next_back().cloned();
        if let Some(last) = &last {
            let same = terms.payout(last.payout.pool).ok();
            if terms.range.begin != last.payout.range.end && same.as_ref() == Some(&last.payout) {
                return Ok(last.clone());
            }
        }
        let (LogRange { begin, end }, expected) = (terms.range, self.payout_begin()?);
        if begin != expected {
            return Err(LedgerError::PayoutRange { expected, begin, end });
        }
        let payout = terms.payout(self.pool().unwrap())?;
        let paid = PaidOut { event: self.event(), payout, taken_back: None };
        self.payouts.push(paid.clone());
        Ok(paid)
    }

    fn payouts(&self, from: u64) -> Result<Vec<PaidOut>, LedgerError> {
        Ok(self.payouts.iter().filter(|it| it.event >= from).cloned().collect())
    }

    fn payout_begin(&self) -> Result<u64, LedgerError> {
        Ok(self.standing().next_back().map_or(0, |it| it.payout.range.end))
    }

    fn balance(&self, account: &BookAccount) -> Result<Balance, LedgerError> {
        Ok(self.balances().get(account).copied().unwrap_or_default())
    }

    fn each_balance(&self, visit: &mut dyn FnMut(BookAccount, Balance)) -> Result<(), LedgerError> {
        self.balances().into_iter().for_each(|(account, balance)| visit(account, balance));
        Ok(())
    }

    fn entry(&self, receipt: &Digest) -> Result<Option<Entry>, LedgerError> {
        Ok(self.entries.iter().find(|entry| entry.due.receipt == *receipt).cloned())
    }

    fn entries(&self, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.entries.clone();
        entries.retain(|entry| entry.due.log_index >= from);
        entries.sort_by_key(|entry| entry.due.log_index);
        Ok(entries)
    }

    fn transfers(&self, receipt: &Digest) -> Result<Vec<Transfer>, LedgerError> {
        Ok(self.entry(receipt)?.map(|entry| entry.transfers()).unwrap_or_default())
    }

    fn receipt_of(&self, id: &TransferId) -> Result<Option<Digest>, LedgerError> {
        let has = |entry: &&Entry| entry.due.shares.iter().any(|share| share.id == *id);
        Ok(self.entries.iter().find(has).map(|entry| entry.due.receipt))
    }

    fn epoch(&self, number: u64) -> Result<Option<ClosedEpoch>, LedgerError> {
        Ok(self.epochs.get(number as usize).map(|(closed, _)| closed.clone()))
    }

    fn last_epoch(&self) -> Result<Option<ClosedEpoch>, LedgerError> {
        Ok(self.epochs.last().map(|(closed, _)| closed.clone()))
    }

    fn earnings(&self, epoch: u64) -> Result<Earnings, LedgerError> {
        let closed = self.epochs.get(epoch as usize);
        Ok(closed.ok_or(LedgerError::NoEpoch { number: epoch })?.1.clone())
    }

    fn boundary(&self) -> Result<Boundary, LedgerError> {
        let begin = self.epochs.last().map_or(0, |(last, _)| last.epoch.end);
        let indices = |keep: fn(&Resolution) -> bool| {
            let kept = self.entries.iter().filter(move |entry| keep(&entry.resolution));
            kept.map(|entry| entry.due.log_index)
        };
        let last = indices(|resolution| *resolution == Resolution::Pending).min();
        let was_posted = |resolution: &Resolution| {
            matches!(resolution, Resolution::Posted { .. } | Resolution::Corrected { .. })
        };
        let posted_end = indices(was_posted).max().map_or(0, |last| last + 1);
        let first = posted_end.max(begin + 1);
        Ok(Boundary { begin, first, last: last.unwrap_or(u64::MAX) })
    }

    fn head(&self) -> Result<Head, LedgerError> {
        Ok(Head { count: self.events, ..Head::START })
    }
}
