//! From what accounts have earned to the tree that commits to it, and to signed statements.

use std::collections::BTreeMap;

use tally_core::Digest;
use tally_core::account::Account;
use tally_core::ed25519::SigningKey;
use tally_core::receipt::SignedStatement;
use tally_core::sum_tree::{
    EarningsStatement, EpochSecret, SumNode, SumPath, SumTreeError, sum_root,
};

use super::{Book, BookAccount, LedgerError};

/// What accounts have earned; none of them nothing.
pub type Earnings = BTreeMap<Account, u128>;

/// The sum tree of one epoch with all its nodes.
#[derive(Clone, Debug)]
pub struct EarningsTree {
    /// Place of each account's leaf.
    places: BTreeMap<Account, u32>,
    /// Nodes from the leaves up; the last level has one node, or none if there are no leaves.
    levels: Vec<Vec<SumNode>>,
    count: u32,
}

impl EarningsTree {
    /// Makes the tree: leaves in the order of their salts.
    ///
    /// # Errors
    /// More accounts than 32 bits count, or a total above 128 bits.
    pub fn new(earnings: &Earnings, secret: &EpochSecret) -> Result<Self, LedgerError> {
        let found = earnings.len();
        let count = u32::try_from(found).map_err(|_| LedgerError::Accounts { found })?;
        let salted = earnings.iter().map(|(account, amount)| {
            let salt = secret.salt(account);
            (*salt.as_bytes(), *account, SumNode::of_leaf(&salt, account, *amount))
        });
        let mut leaves: Vec<_> = salted.collect();
        leaves.sort_unstable_by_key(|(salt, account, _)| (*salt, *account));
        let places = (0..count).zip(&leaves).map(|(place, (_, account, _))| (*account, place));
        let places = places.collect();
        let mut levels = vec![leaves.into_iter().map(|(_, _, node)| node).collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above: Result<Vec<_>, SumTreeError> = level.chunks(2).map(join).collect();
            levels.push(above?);
        }
        Ok(Self { places, levels, count })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// What all leaves add up to.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.top().map_or(0, |top| top.sum)
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        sum_root(self.count, self.top())
    }

    /// The path of an account's leaf; `None` if it has none.
    #[must_use]
    pub fn prove(&self, account: &Account) -> Option<SumPath> {
        let index = *self.places.get(account)?;
        let mut place = index as usize;
        let mut siblings = vec![];
        for level in &self.levels {
            siblings.extend(level.get(place ^ 1).filter(|_| level.len() > 1));
            place /= 2;
        }
        Some(SumPath { index, siblings })
    }

    fn top(&self) -> Option<&SumNode> {
        self.levels.last()?.first()
    }
}

/// The node over one pair; the last of an odd level moves up as it is.
fn join(pair: &[SumNode]) -> Result<SumNode, SumTreeError> {
    match pair {
        [left, right, ..] => SumNode::join(left, right),
        [node] => Ok(*node),
        [] => Err(SumTreeError::LeafOutOfTree { index: 0, count: 0 }),
    }
}

/// What follows from balances: credits less what was taken back, where debits are corrections and
/// payments together and payments are credited to the paid account.
pub(super) fn earned(credits: u128, debits: u128, paid: u128) -> Result<u128, LedgerError> {
    let corrected = debits.checked_sub(paid).ok_or(LedgerError::Overflow)?;
    credits.checked_sub(corrected).ok_or(LedgerError::Overflow)
}

/// Signs what one account has earned in an epoch; many statements of one epoch share its tree.
///
/// # Errors
/// An epoch that is not closed, or an account without earnings in it.
pub fn state_earnings(
    book: &dyn Book,
    number: u64,
    tree: &EarningsTree,
    account: &Account,
    key: &SigningKey,
) -> Result<SignedStatement, LedgerError> {
    let closed = book.epoch(number)?.ok_or(LedgerError::NoEpoch { number })?;
    let absent = LedgerError::NoEarnings { account: *account, number };
    let Some(path) = tree.prove(account) else { return Err(absent) };
    let leaf = tree.levels.first().and_then(|leaves| leaves.get(path.index as usize));
    let Some(amount) = leaf.map(|leaf| leaf.sum) else { return Err(absent) };
    let claimed = book.balance(&BookAccount::Paid(*account))?.credits_posted;
    let salt = closed.secret.salt(account);
    let epoch = closed.epoch;
    Ok(EarningsStatement { epoch, account: *account, amount, claimed, salt, path }.sign(key))
}
