//! Random operations on a book, good ones and bad ones, the same for the same seed.

use tally_attribution::ledger::{
    Book, CHALLENGE_S_MAX, Due, Entry, FeedbackTerms, LedgerError, LogRange, PaidOut, Share,
};
use tally_attribution::policy_file;
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::attribution::SplitPolicy;
use tally_core::feedback::payout::Weight;
use tally_core::philox::block;
use tally_core::split::AMOUNT_MAX;
use tally_core::sum_tree::{Epoch, EpochSecret};

/// The asset of all books here.
pub(crate) const ASSET: &str = "USD";
const ACCOUNTS: u32 = 40;

/// One call of a book.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Book(Vec<Due>),
    Settle(u64),
    Void(Digest, Digest),
    Close(LogRange, u64, EpochSecret),
    Claim(u64, Account),
    Pay(FeedbackTerms),
}

/// Calls a book; the answer as text, so that answers of two books can be compared.
pub(crate) fn perform(book: &mut dyn Book, operation: &Operation) -> String {
    let said = |result: Result<String, LedgerError>| match result {
        Ok(answer) => answer,
        Err(error) => format!("refused: {error}"),
    };
    said(match operation {
        Operation::Book(dues) => book.book(dues).map(|booked| format!("{booked:?}")),
        Operation::Settle(now_s) => book.settle(*now_s).map(|settled| format!("{settled:?}")),
        Operation::Void(receipt, reason) => {
            book.void(receipt, reason).map(|voided| format!("{voided:?}"))
        }
        Operation::Close(range, time_s, secret) => {
            book.close_epoch(*range, *time_s, secret).map(|epoch| epoch_in_words(&epoch))
        }
        Operation::Claim(epoch, account) => {
            book.claim(*epoch, account).map(|amount| amount.to_string())
        }
        Operation::Pay(terms) => book.pay_feedback(terms).map(|paid| format!("{paid:?}")),
    })
}

/// All that an epoch says but the journal, which a book without one cannot know.
fn epoch_in_words(epoch: &Epoch) -> String {
    let Epoch { number, begin, end, time_s, asset, count, total, root, .. } = epoch;
    format!("{number} {begin} {end} {time_s} {asset} {count} {total} {root}")
}

/// Numbers that look random and are the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    counter: u32,
    seed: u32,
}

impl Draw {
    pub(crate) const fn new(seed: u32) -> Self {
        Self { counter: 0, seed }
    }

    pub(crate) fn words(&mut self) -> [u32; 4] {
        self.counter += 1;
        block([self.counter, 0, 0, 0], [self.seed, 17])
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        let [word, ..] = self.words();
        word % limit
    }

    fn digest(&mut self) -> Digest {
        let words = self.words().map(u32::to_be_bytes);
        Digest::of_content(words.as_flattened())
    }

    fn account(&mut self) -> Account {
        match self.below(ACCOUNTS) {
            0 => Account::Commons,
            1 => Account::Feedback,
            number => Account::Contributor(*Digest::of_content(&number.to_be_bytes()).as_bytes()),
        }
    }

    /// All sizes, from nothing to far above what a receipt costs.
    fn amount(&mut self) -> u128 {
        let [a, b, _, bits] = self.words();
        (u128::from(a) << 32 | u128::from(b)) >> (bits % 65)
    }
}

/// What has been asked for so far.
pub(crate) struct Script {
    draw: Draw,
    booked: Vec<Due>,
    next_index: u64,
    now_s: u64,
    epochs: u64,
    last: Option<Operation>,
    /// The terms of all payouts that were asked for; each has a policy of its own.
    pub(crate) terms: Vec<FeedbackTerms>,
}

impl Script {
    pub(crate) const fn new(seed: u32) -> Self {
        let (draw, now_s) = (Draw::new(seed), 1_800_000_000);
        Self { draw, booked: vec![], next_index: 0, now_s, epochs: 0, last: None, terms: vec![] }
    }

    /// The next operation, given the book as it is: ranges and epochs are mostly those that it
    /// would take.
    pub(crate) fn next(&mut self, book: &dyn Book) -> Operation {
        self.now_s += u64::from(self.draw.below(50));
        let operation = match self.draw.below(100) {
            0..=4 if self.last.is_some() => self.last.clone().unwrap_or(Operation::Settle(0)),
            5..=49 => Operation::Book(self.dues()),
            50..=69 => Operation::Settle(self.now_s.saturating_sub(self.draw.below(300).into())),
            70..=81 => self.void(),
            82..=87 => self.close(book),
            88..=91 => self.pay(book),
            _ => Operation::Claim(self.draw.below(3).into(), self.draw.account()).shifted(self),
        };
        self.last = Some(operation.clone());
        operation
    }

    fn dues(&mut self) -> Vec<Due> {
        let count = self.draw.below(6);
        let mut dues: Vec<Due> = (0..count).map(|_| self.due()).collect();
        // One fault at most, since the order in which a batch's faults are found is nobody's promise.
        if self.draw.below(4) == 0 {
            self.spoil(&mut dues);
        } else if self.draw.below(4) == 0
            && let Some(again) = self.booked.get(self.draw.below(1 << 20) as usize)
        {
            dues.push(again.clone());
        }
        // Those of a refused batch are kept too: to ask for them again is then no replay.
        self.booked.extend(dues.iter().cloned());
        dues
    }

    fn due(&mut self) -> Due {
        let id: [u8; 16] =
            self.draw.words().map(u32::to_be_bytes).as_flattened().try_into().unwrap();
        let count = self.draw.below(8);
        let shares: Vec<Share> = (0..count)
            .map(|ordinal| Share {
                id: TransferId::derive(&id, ordinal),
                account: self.draw.account(),
                basis: self.draw.below(256) as u8,
                amount: self.draw.amount(),
            })
            .collect();
        self.next_index += u64::from(1 + self.draw.below(3));
        Due {
            receipt: self.draw.digest(),
            log_index: self.next_index,
            time_s: self.now_s,
            challenge_s: self.draw.below(400),
            asset: ASSET.into(),
            amount: shares.iter().map(|share| share.amount).sum(),
            shares,
        }
    }

    /// Makes one due one that no book may take.
    fn spoil(&mut self, dues: &mut [Due]) {
        let other = self.booked.get(self.draw.below(1 << 10) as usize).cloned();
        let kind = self.draw.below(9);
        let digest = self.draw.digest();
        let (Some(due), Some(other)) = (dues.first_mut(), other) else { return };
        match kind {
            0 => due.amount += 1,
            1 => {
                due.shares.extend(due.shares.first().copied());
                due.amount = due.shares.iter().map(|share| share.amount).sum();
            }
            2 => due.shares.iter_mut().zip(&other.shares).for_each(|(own, its)| own.id = its.id),
            3 => due.log_index = other.log_index,
            4 => *due = Due { receipt: digest, ..other },
            5 => *due = Due { time_s: other.time_s + 1, ..other },
            6 => due.asset = "EUR".into(),
            7 => due.amount = AMOUNT_MAX + 1,
            _ => due.challenge_s = CHALLENGE_S_MAX + 1,
        }
    }

    fn void(&mut self) -> Operation {
        let reason = Digest::of_content(&[self.draw.below(2) as u8]);
        // Half of them are new ones, since only those are pending.
        let count = u32::try_from(self.booked.len()).unwrap();
        let from = if self.draw.below(2) == 0 { count.saturating_sub(8) } else { 0 };
        let place = (from + self.draw.below(count - from + 1)) as usize;
        let receipt = self.booked.get(place).map(|due| due.receipt);
        Operation::Void(receipt.unwrap_or_else(|| self.draw.digest()), reason)
    }

    fn close(&mut self, book: &dyn Book) -> Operation {
        let boundary = book.boundary().unwrap();
        let end = match self.draw.below(4) {
            0 => boundary.first + u64::from(self.draw.below(10)),
            1 => boundary.last,
            2 => boundary.first.saturating_sub(1),
            _ => boundary.first,
        };
        let begin = boundary.begin + u64::from(self.draw.below(10) == 0);
        let secret = EpochSecret::from_bytes(*self.draw.digest().as_bytes());
        self.epochs = book.last_epoch().unwrap().map_or(0, |last| last.epoch.number + 1);
        let range = LogRange { begin, end: end.min(1 << 40) };
        Operation::Close(range, self.now_s, secret)
    }
}

impl Script {
    /// Mostly the payout that comes next, of few raters, with a cap that often does not bind.
    fn pay(&mut self, book: &dyn Book) -> Operation {
        let begin = book.payout_begin().unwrap() + u64::from(self.draw.below(10) == 0);
        let end = begin + u64::from(self.draw.below(20)).saturating_sub(1);
        let number = self.terms.len();
        let policy = SplitPolicy {
            name: format!("policy {number}"),
            asset: if self.draw.below(30) == 0 { "EUR".into() } else { ASSET.into() },
            feedback_cap_bps: [10_000, 10_000, 5_000, 100, 0][self.draw.below(5) as usize],
            ..policy_file::free()
        };
        let count = self.draw.below(6) as u8;
        let weight = |rater| Weight {
            rater: [rater; 32],
            account: self.draw.account(),
            weight: u64::from(self.draw.below(4)) * 10_000,
        };
        let mut weights: Vec<Weight> = (0..count).map(weight).collect();
        if self.draw.below(20) == 0 {
            weights.reverse();
        }
        let range = LogRange { begin, end };
        let terms = FeedbackTerms { range, policy, uses: self.draw.digest(), weights };
        self.terms.push(terms.clone());
        Operation::Pay(terms)
    }
}

/// All payouts of a book.
pub(crate) fn all_payouts(book: &dyn Book) -> Vec<PaidOut> {
    let (mut all, mut from) = (vec![], 0);
    loop {
        let page = book.payouts(from).unwrap();
        let Some(last) = page.last() else { return all };
        from = last.event + 1;
        all.extend(page);
    }
}

impl Operation {
    /// A claim for one of the newest epochs, or for the one that is not closed yet.
    fn shifted(self, script: &Script) -> Self {
        match self {
            Self::Claim(back, account) => {
                Self::Claim((script.epochs + 1).saturating_sub(back), account)
            }
            other => other,
        }
    }
}

/// All entries of a book.
pub(crate) fn all_entries(book: &dyn Book) -> Vec<Entry> {
    let (mut all, mut from) = (vec![], 0);
    loop {
        let page = book.entries(from).unwrap();
        let Some(last) = page.last() else { return all };
        from = last.due.log_index + 1;
        all.extend(page);
    }
}
