//! Sum trees of every small size, each path and each neighbour of it.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::ed25519::SigningKey;
use crate::receipt::SignedStatement;

const SECRET: EpochSecret = EpochSecret::from_bytes([9; 32]);

/// A node by the definition of RFC 6962: left of the largest power of two below the length.
fn naive(leaves: &[SumNode]) -> SumNode {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() >> 1;
            SumNode::join(&naive(&leaves[..half]), &naive(&leaves[half..])).unwrap()
        }
    }
}

fn naive_path(leaves: &[SumNode], index: usize) -> Vec<SumNode> {
    if leaves.len() == 1 {
        return vec![];
    }
    let half = leaves.len().next_power_of_two() >> 1;
    let (inside, place, beside) = if index < half {
        (&leaves[..half], index, &leaves[half..])
    } else {
        (&leaves[half..], index.saturating_sub(half), &leaves[..half])
    };
    let mut path = naive_path(inside, place);
    path.push(naive(beside));
    path
}

fn account(number: u8) -> Account {
    match number {
        0 => Account::Commons,
        1 => Account::Feedback,
        key => Account::Contributor([key; 32]),
    }
}

fn leaf(number: u8) -> SumNode {
    let account = account(number);
    SumNode::of_leaf(&SECRET.salt(&account), &account, 1 << number)
}

fn leaves(count: u8) -> Vec<SumNode> {
    (0..count).map(leaf).collect()
}

fn path(leaves: &[SumNode], index: usize) -> SumPath {
    SumPath { index: u32::try_from(index).unwrap(), siblings: naive_path(leaves, index) }
}

#[test]
fn every_leaf_of_every_small_tree_verifies_and_so_does_no_neighbour() {
    for count in 1..=40_u8 {
        let leaves = leaves(count);
        let top = naive(&leaves);
        let count = u32::from(count);
        let root = sum_root(count, Some(&top));
        for (index, leaf) in leaves.iter().enumerate() {
            let path = path(&leaves, index);
            assert_eq!(SumPath::parse(&path.encode()), Ok(path.clone()));
            path.verify(*leaf, count, top.sum, &root).unwrap();
            let more = SumNode { sum: leaf.sum | 1 << 100, ..*leaf };
            assert!(matches!(
                path.verify(more, count, top.sum, &root),
                Err(SumTreeError::Total { .. })
            ));
            let other = SumNode { hash: root, ..*leaf };
            assert!(matches!(
                path.verify(other, count, top.sum, &root),
                Err(SumTreeError::Root { .. })
            ));
            let mut long = path.clone();
            long.siblings.push(top);
            assert!(matches!(
                long.verify(*leaf, count, top.sum, &root),
                Err(SumTreeError::PathLength { .. })
            ));
            for level in 0..path.siblings.len() {
                let mut bad = path.clone();
                bad.siblings[level].sum ^= 1;
                assert!(bad.verify(*leaf, count, top.sum, &root).is_err());
                let mut bad = path.clone();
                bad.siblings[level].hash = root;
                assert!(matches!(
                    bad.verify(*leaf, count, top.sum, &root),
                    Err(SumTreeError::Root { .. })
                ));
            }
            for place in 0..count {
                let moved = SumPath { index: place, siblings: path.siblings.clone() };
                let is_here = place == path.index;
                assert_eq!(moved.verify(*leaf, count, top.sum, &root).is_ok(), is_here);
            }
            let outside = SumPath { index: count, siblings: path.siblings.clone() };
            assert_eq!(
                outside.verify(*leaf, count, top.sum, &root),
                Err(SumTreeError::LeafOutOfTree { index: count, count })
            );
        }
    }
}

#[test]
fn an_amount_moved_between_two_leaves_changes_the_root_and_not_the_total() {
    let mut changed = leaves(8);
    let top = naive(&changed);
    (changed[2], changed[3]) = (
        SumNode::of_leaf(&SECRET.salt(&account(2)), &account(2), changed[2].sum + 1),
        SumNode::of_leaf(&SECRET.salt(&account(3)), &account(3), changed[3].sum - 1),
    );
    let moved = naive(&changed);
    assert_eq!(moved.sum, top.sum);
    assert_ne!(sum_root(8, Some(&moved)), sum_root(8, Some(&top)));
}

#[test]
fn sums_beyond_128_bits_are_refused_and_the_largest_is_not() {
    let node = |sum| SumNode { hash: Digest::of_content(b""), sum };
    assert_eq!(SumNode::join(&node(u128::MAX), &node(0)).unwrap().sum, u128::MAX);
    assert_eq!(SumNode::join(&node(u128::MAX - 1), &node(1)).unwrap().sum, u128::MAX);
    let refused = SumNode::join(&node(u128::MAX), &node(1));
    assert_eq!(refused, Err(SumTreeError::Overflow { left: u128::MAX, right: 1 }));
    let path = SumPath { index: 0, siblings: vec![node(1)] };
    assert!(matches!(
        path.verify(node(u128::MAX), 2, 0, &Digest::of_content(b"")),
        Err(SumTreeError::Overflow { .. })
    ));
}

#[test]
fn hashes_are_those_that_the_specification_writes_out() {
    let salt = SECRET.salt(&Account::Commons);
    let mut bytes = b"tally/sum-salt/v1\0".to_vec();
    bytes.extend([9; 32]);
    bytes.push(0);
    assert_eq!(salt.as_bytes(), Digest::of_content(&bytes).as_bytes());
    let mut bytes = b"tally/sum-leaf/v1\0".to_vec();
    bytes.extend(salt.as_bytes());
    bytes.extend(7_u128.to_be_bytes());
    bytes.push(0);
    let leaf = SumNode::of_leaf(&salt, &Account::Commons, 7);
    assert_eq!(leaf, SumNode { hash: Digest::of_content(&bytes), sum: 7 });
    let mut bytes = b"tally/sum-root/v1\0".to_vec();
    bytes.extend([0; 20]);
    assert_eq!(sum_root(0, None), Digest::of_content(&bytes));
    assert_ne!(sum_root(1, Some(&leaf)), sum_root(2, Some(&leaf)));
}

#[test]
fn a_secret_does_not_show_itself_and_salts_differ() {
    assert_eq!(std::format!("{SECRET:?}"), "EpochSecret(..)");
    assert_ne!(SECRET.salt(&account(0)), SECRET.salt(&account(1)));
    let other = EpochSecret::from_bytes([8; 32]);
    assert_ne!(SECRET.salt(&account(0)), other.salt(&account(0)));
}

fn statement() -> EarningsStatement {
    let leaves = leaves(5);
    let top = naive(&leaves);
    let epoch = Epoch {
        number: 3,
        begin: 100,
        end: 200,
        time_s: 1_800_000_000,
        asset: "USD".into(),
        count: 5,
        total: top.sum,
        root: sum_root(5, Some(&top)),
        journal: SECRET.commit_journal(&Digest::of_content(b"head")),
    };
    EarningsStatement {
        epoch,
        account: account(2),
        amount: 4,
        claimed: 1,
        salt: SECRET.salt(&account(2)),
        path: path(&leaves, 2),
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

#[test]
fn a_statement_verifies_with_nothing_but_itself_and_the_key() {
    let (key, statement) = (key(), statement());
    let signed = statement.sign(&key).encode();
    assert_eq!(EarningsStatement::verify(&signed, &key.public_key()), Ok(statement.clone()));
    assert_eq!(statement.claimable(), 3);
    let other = SigningKey::from_seed(&[6; 32]).public_key();
    assert!(matches!(
        EarningsStatement::verify(&signed, &other),
        Err(EarningsError::Header { epoch: 3, .. })
    ));
    for place in 0..signed.len() {
        let mut bad = signed.clone();
        bad[place] ^= 1;
        assert!(EarningsStatement::verify(&bad, &key.public_key()).is_err(), "byte {place}");
        assert!(EarningsStatement::verify(&signed[..place], &key.public_key()).is_err());
    }
}

#[test]
fn a_signed_lie_about_amount_account_total_or_range_is_refused() {
    let (key, honest) = (key(), statement());
    let refused = |change: &dyn Fn(&mut EarningsStatement)| {
        let mut statement = honest.clone();
        change(&mut statement);
        EarningsStatement::verify(&statement.sign(&key).encode(), &key.public_key()).unwrap_err()
    };
    use EarningsError::{Path, Range};
    assert!(matches!(refused(&|s| s.amount += 1), Path(SumTreeError::Total { .. })));
    assert!(matches!(refused(&|s| s.epoch.total += 1), Path(SumTreeError::Total { .. })));
    assert!(matches!(refused(&|s| s.account = account(3)), Path(SumTreeError::Root { .. })));
    assert!(matches!(refused(&|s| s.salt = SECRET.salt(&account(3))), Path(_)));
    assert!(matches!(refused(&|s| s.epoch.count = 6), Path(_)));
    assert!(matches!(refused(&|s| s.epoch.count = 0), Path(SumTreeError::LeafOutOfTree { .. })));
    let root = Digest::of_content(b"another");
    assert!(matches!(refused(&|s| s.epoch.root = root), Path(SumTreeError::Root { .. })));
    assert!(matches!(refused(&|s| s.epoch.end = 99), Range { begin: 100, end: 99 }));
}

#[test]
fn a_record_and_a_statement_do_not_pass_for_each_other() {
    let (key, statement) = (key(), statement());
    let record = statement.epoch.sign(&key);
    assert_eq!(Epoch::verify(&record.encode(), &key.public_key()), Ok(statement.epoch.clone()));
    let relabelled =
        SignedStatement { protected: statement.sign(&key).protected, ..record.clone() };
    assert!(matches!(
        Epoch::verify(&relabelled.encode(), &key.public_key()),
        Err(EarningsError::Header { .. })
    ));
    let mut forged = record;
    forged.signature[0] ^= 1;
    assert!(matches!(
        Epoch::verify(&forged.encode(), &key.public_key()),
        Err(EarningsError::Signature(_))
    ));
    assert!(statement.epoch.is_of_journal(&SECRET, &Digest::of_content(b"head")));
    assert!(!statement.epoch.is_of_journal(&SECRET, &Digest::of_content(b"tail")));
}
