//! Recomputing an epoch from the openings of its receipts.
//!
//! The auditor holds the openings, so it knows what every receipt charges and to whom; from the book
//! it takes only which receipts were taken back, and says which. That the openings are those of the
//! log's entries, all of them, the caller sees to: it has the log.

use tally_core::Digest;
use tally_core::attribution::SplitPolicy;

use super::earnings::{Earnings, EarningsTree};
use super::{Book, ClosedEpoch, Due, Entry, FeedbackTerms, LedgerError, LogRange, Resolution};
use payouts::Payouts;

mod payouts;

/// Most log indices that a list of a report names; the count goes on.
pub const LISTED_MAX: usize = 1_000;

/// What a payout of a range is for under a split policy, as an auditor finds it.
pub type TermsOf<'a> = dyn Fn(LogRange, SplitPolicy) -> FeedbackTerms + 'a;

/// What an auditor holds of one log entry that is a receipt with a due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The due, recomputed from the receipt's openings.
    Due(Due),
    /// Nothing: the receipt was not opened to the auditor.
    Unopened,
}

/// Log indices, the first [`LISTED_MAX`] of them by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many there are.
    pub count: u64,
    /// The first.
    pub first: Vec<u64>,
}

impl Listed {
    fn push(&mut self, log_index: u64) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(log_index);
        }
    }
}

/// What an audit found. Nothing is wrong with an epoch if [`is_clean`](Self::is_clean).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Number of the epoch.
    pub epoch: u64,
    /// How many receipts were opened.
    pub opened: u64,
    /// Entries that were not opened to the auditor.
    pub unopened: Listed,
    /// Opened entries that the book did not have when the epoch was closed.
    pub omitted: Listed,
    /// Entries that the book has with other contents, or in another log entry's place.
    pub differing: Listed,
    /// Opened entries whose shares do not add up or break a limit.
    pub unsound: Listed,
    /// Entries of the book for which the auditor was given nothing.
    pub surplus: Listed,
    /// Entries that had been taken back; their reasons are the book's word.
    pub voided: Listed,
    /// Payouts of the feedback pool, by the numbers of their events, that are not what the opened
    /// receipts and what was signed of them yield.
    pub unfounded: Listed,
    /// Payouts that had been taken back, by the numbers of their events.
    pub reclaimed: Listed,
    /// What the opened receipts yield.
    pub total: u128,
    /// What the book has for entries that were not opened.
    pub unopened_amount: u128,
    /// What the epoch's record says.
    pub stated_total: u128,
    /// The root that the opened receipts yield.
    pub root: Digest,
    /// The root that the epoch's record says.
    pub stated_root: Digest,
}

impl Audit {
    /// Whether every entry was opened, none is missing or differs, and the root is the same.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let lists = [
            self.unopened.count,
            self.omitted.count,
            self.differing.count,
            self.unsound.count,
            self.surplus.count,
            self.unfounded.count,
        ];
        lists == [0; 6] && self.is_root_equal() && self.total == self.stated_total
    }

    /// Whether the opened receipts yield the root that was published.
    #[must_use]
    pub fn is_root_equal(&self) -> bool {
        self.root == self.stated_root
    }
}

/// Recomputes an epoch from openings, which come in the log's order from its first entry on; those
/// at or after the epoch's end are passed over. One page of the book is in memory at a time. Payouts
/// of the feedback pool are computed again by the terms that follow from what the log has.
///
/// # Errors
/// An epoch that is not closed, openings out of order, a book that cannot be read.
pub fn audit(
    book: &dyn Book,
    epoch: u64,
    openings: impl IntoIterator<Item = (u64, Opening)>,
    terms_of: &TermsOf<'_>,
) -> Result<Audit, LedgerError> {
    let closed = book.epoch(epoch)?.ok_or(LedgerError::NoEpoch { number: epoch })?;
    let mut auditor = Auditor::new(&closed, Payouts::before(book, closed.event)?);
    let mut entries = Pages { book, page: vec![].into_iter(), next: Some(0) };
    let mut ahead = entries.next().transpose()?;
    let mut previous = None;
    for (log_index, opening) in openings {
        if let Some(previous) = previous.filter(|previous| *previous >= log_index) {
            return Err(LedgerError::OpeningOrder { previous, found: log_index });
        }
        previous = Some(log_index);
        if log_index >= closed.epoch.end {
            break;
        }
        while let Some(entry) = ahead.take_if(|entry| entry.due.log_index < log_index) {
            auditor.add_surplus(&entry);
            ahead = entries.next().transpose()?;
        }
        let entry = ahead.take_if(|entry| entry.due.log_index == log_index);
        if entry.is_some() {
            ahead = entries.next().transpose()?;
        }
        auditor.add(log_index, &opening, entry.as_ref())?;
    }
    while let Some(entry) = ahead {
        auditor.add_surplus(&entry);
        ahead = entries.next().transpose()?;
    }
    auditor.finish(&closed, terms_of)
}

/// All entries of a book in the log's order, page by page.
struct Pages<'a> {
    book: &'a dyn Book,
    page: std::vec::IntoIter<Entry>,
    next: Option<u64>,
}

impl Iterator for Pages<'_> {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        let page = match self.book.entries(self.next.take()?) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.next = page.last().map(|entry| entry.due.log_index.saturating_add(1));
        self.page = page.into_iter();
        self.page.next().map(Ok)
    }
}

struct Auditor {
    /// Number of the event that closed the epoch: what came later does not count.
    event: u64,
    end: u64,
    asset: String,
    earnings: Earnings,
    payouts: Payouts,
    report: Audit,
}

impl Auditor {
    fn new(closed: &ClosedEpoch, payouts: Payouts) -> Self {
        let epoch = &closed.epoch;
        let report = Audit {
            epoch: epoch.number,
            opened: 0,
            unopened: Listed::default(),
            omitted: Listed::default(),
            differing: Listed::default(),
            unsound: Listed::default(),
            surplus: Listed::default(),
            voided: Listed::default(),
            unfounded: Listed::default(),
            reclaimed: Listed::default(),
            total: 0,
            unopened_amount: 0,
            stated_total: epoch.total,
            root: epoch.root,
            stated_root: epoch.root,
        };
        let (event, end, asset) = (closed.event, epoch.end, epoch.asset.clone());
        Self { event, end, asset, earnings: Earnings::new(), payouts, report }
    }

    fn add_surplus(&mut self, entry: &Entry) {
        if entry.event < self.event && entry.due.log_index < self.end {
            self.report.surplus.push(entry.due.log_index);
        }
    }

    fn add(
        &mut self,
        log_index: u64,
        opening: &Opening,
        entry: Option<&Entry>,
    ) -> Result<(), LedgerError> {
        let entry = entry.filter(|entry| entry.event < self.event);
        let Opening::Due(due) = opening else {
            self.report.unopened.push(log_index);
            let amount = entry
                .filter(|entry| entry.resolution.is_earned_before(self.event))
                .map_or(0, |entry| entry.due.amount);
            add(&mut self.report.unopened_amount, amount)?;
            return Ok(());
        };
        self.report.opened += 1;
        let is_sound = due.require_sound().is_ok() && due.asset == self.asset;
        if !is_sound || due.log_index != log_index {
            self.report.unsound.push(log_index);
            return Ok(());
        }
        let Some(entry) = entry else {
            self.report.omitted.push(log_index);
            return self.earn(due);
        };
        if entry.due != *due {
            self.report.differing.push(log_index);
        }
        self.payouts.add(due, &entry.resolution)?;
        if is_taken_back(&entry.resolution, self.event) {
            self.report.voided.push(log_index);
            return Ok(());
        }
        self.earn(due)
    }

    fn earn(&mut self, due: &Due) -> Result<(), LedgerError> {
        for share in due.shares.iter().filter(|share| share.amount > 0) {
            add(self.earnings.entry(share.account).or_insert(0), share.amount)?;
        }
        Ok(())
    }

    fn finish(self, closed: &ClosedEpoch, terms_of: &TermsOf<'_>) -> Result<Audit, LedgerError> {
        let mut earnings = self.earnings;
        let (unfounded, reclaimed) = self.payouts.finish(terms_of, &mut earnings)?;
        let tree = EarningsTree::new(&earnings, &closed.secret)?;
        let (total, root) = (tree.total(), tree.root());
        Ok(Audit { total, root, unfounded, reclaimed, ..self.report })
    }
}

/// Whether a receipt had been taken back before the event of this number.
const fn is_taken_back(resolution: &Resolution, before: u64) -> bool {
    match resolution {
        Resolution::Pending | Resolution::Posted { .. } => false,
        Resolution::Voided { event, .. } | Resolution::Corrected { event, .. } => *event < before,
    }
}

fn add(sum: &mut u128, more: u128) -> Result<(), LedgerError> {
    *sum = sum.checked_add(more).ok_or(LedgerError::Overflow)?;
    Ok(())
}
