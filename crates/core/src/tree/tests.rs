//! Exhaustive small trees against `ct-merkle` and against the recursive definition.

use alloc::{vec, vec::Vec};
use core::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::*;

/// Sizes that are tried exhaustively.
const SIZE_MAX: u64 = 70;

fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_be_bytes()[..usize::try_from(i % 9).unwrap()].to_vec()).collect()
}

fn leaves(count: u64) -> Vec<Digest> {
    entries(count).iter().map(|entry| leaf_hash(entry)).collect()
}

/// MTH of RFC 6962 §2.1, word for word.
fn oracle_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of_content(b""),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&oracle_root(&leaves[..k]), &oracle_root(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962 §2.1.1, word for word.
fn oracle_path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() < 2 {
        return vec![];
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, last) = if m < k {
        (oracle_path(m, &leaves[..k]), oracle_root(&leaves[k..]))
    } else {
        (oracle_path(m - k, &leaves[k..]), oracle_root(&leaves[..k]))
    };
    path.push(last);
    path
}

/// SUBPROOF of RFC 6962 §2.1.2, word for word.
fn oracle_subproof(m: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![oracle_root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, last) = if m <= k {
        (oracle_subproof(m, &leaves[..k], whole), oracle_root(&leaves[k..]))
    } else {
        (oracle_subproof(m - k, &leaves[k..], false), oracle_root(&leaves[..k]))
    };
    proof.push(last);
    proof
}

struct Stored(Vec<Digest>);

impl Nodes for Stored {
    type Error = Infallible;

    fn node(&self, id: NodeId) -> Result<Digest, Infallible> {
        let width = 1_usize << id.level;
        let start = usize::try_from(id.index).unwrap() * width;
        Ok(oracle_root(&self.0[start..start + width]))
    }
}

fn inclusion(nodes: &Stored, index: u64, n: u64) -> Vec<Digest> {
    prove_inclusion(nodes, LeafIndex(index), size(n)).unwrap().unwrap()
}

fn consistency(nodes: &Stored, old: u64, new: u64) -> Vec<Digest> {
    prove_consistency(nodes, size(old), size(new)).unwrap().unwrap()
}

/// Proofs that differ from `proof` in one place: a hash flipped, dropped, doubled or added.
fn neighbours(proof: &[Digest]) -> Vec<Vec<Digest>> {
    let mut out = vec![];
    for i in 0..proof.len() {
        let mut flipped = proof.to_vec();
        let mut bytes = *flipped[i].as_bytes();
        bytes[i % 32] ^= 1;
        flipped[i] = Digest::from_bytes(bytes);
        let mut shorter = proof.to_vec();
        shorter.remove(i);
        let mut doubled = proof.to_vec();
        doubled.insert(i, proof[i]);
        out.extend([flipped, shorter, doubled]);
        if i + 1 < proof.len() && proof[i] != proof[i + 1] {
            let mut swapped = proof.to_vec();
            swapped.swap(i, i + 1);
            out.push(swapped);
        }
    }
    let mut longer = proof.to_vec();
    longer.push(empty_root());
    out.push(longer);
    out
}

#[test]
fn known_hashes_are_those_of_rfc_6962_implementations() {
    let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Some(empty_root()), Digest::parse_hex(text));
    // The roots of certificate-transparency's reference test over its first three inputs.
    let inputs: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
    let known = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    ];
    let mut frontier = Frontier::new();
    for (input, root) in inputs.into_iter().zip(known) {
        frontier.push(leaf_hash(input));
        assert_eq!(Some(frontier.root()), Digest::parse_hex(root));
    }
}

#[test]
fn roots_are_those_of_the_definition_and_of_ct_merkle() {
    let all = entries(300);
    let hashes = leaves(300);
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    for (i, entry) in all.iter().enumerate() {
        theirs.push(entry.clone());
        let mut reported = vec![];
        frontier.push_with(hashes[i], |id, hash| reported.push((id, hash)));
        let want = oracle_root(&hashes[..=i]);
        assert_eq!(frontier.root(), want);
        assert_eq!(root(&hashes[..=i]), want);
        assert_eq!(theirs.root().as_bytes().as_slice(), want.as_bytes());
        let n = u64::try_from(i).unwrap() + 1;
        assert_eq!(frontier.size(), size(n));
        assert_eq!(reported.len(), usize::try_from(n.trailing_zeros()).unwrap() + 1);
        let stored = Stored(hashes[..=i].to_vec());
        for (id, hash) in reported {
            assert_eq!(stored.node(id).unwrap(), hash);
        }
        assert_eq!(Frontier::load(&stored, size(n)).unwrap(), frontier);
    }
}

#[test]
fn every_inclusion_proof_of_small_trees_is_that_of_the_definition() {
    let all = entries(SIZE_MAX);
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for n in 1..=SIZE_MAX {
        theirs.push(all[usize::try_from(n - 1).unwrap()].clone());
        let nodes = Stored(leaves(n));
        let root = oracle_root(&nodes.0);
        for index in 0..n {
            let at = usize::try_from(index).unwrap();
            let proof = inclusion(&nodes, index, n);
            assert_eq!(proof, oracle_path(at, &nodes.0));
            let bytes: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(theirs.prove_inclusion(at).as_bytes(), bytes);
            verify_inclusion(&nodes.0[at], LeafIndex(index), size(n), &proof, &root).unwrap();
        }
        let outside = prove_inclusion(&nodes, LeafIndex(n), size(n)).unwrap();
        assert_eq!(outside, Err(TreeError::LeafOutOfTree { index: LeafIndex(n), size: size(n) }));
    }
}

#[test]
fn every_neighbour_of_an_inclusion_proof_is_refused() {
    for n in 1..=40 {
        let nodes = Stored((0..n).map(|i: u64| leaf_hash(&i.to_be_bytes())).collect());
        let root = oracle_root(&nodes.0);
        for index in 0..n {
            let leaf = nodes.0[usize::try_from(index).unwrap()];
            let proof = inclusion(&nodes, index, n);
            for bad in neighbours(&proof) {
                assert!(
                    verify_inclusion(&leaf, LeafIndex(index), size(n), &bad, &root).is_err(),
                    "leaf {index} of {n}"
                );
            }
            for other in (0..n + 2).filter(|other| *other != index) {
                assert!(
                    verify_inclusion(&leaf, LeafIndex(other), size(n), &proof, &root).is_err(),
                    "leaf {index} of {n} as {other}"
                );
            }
            assert!(
                verify_inclusion(&root, LeafIndex(index), size(n), &proof, &leaf).is_err()
                    || n == 1
            );
        }
    }
    let zero = TreeSize::ZERO;
    assert!(verify_inclusion(&empty_root(), LeafIndex(0), zero, &[], &empty_root()).is_err());
}

#[test]
fn every_consistency_proof_of_small_trees_is_that_of_the_definition() {
    let all = entries(SIZE_MAX);
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for new in 1..=SIZE_MAX {
        theirs.push(all[usize::try_from(new - 1).unwrap()].clone());
        let nodes = Stored(leaves(new));
        let new_root = oracle_root(&nodes.0);
        for old in 0..=new {
            let at = usize::try_from(old).unwrap();
            let old_root = oracle_root(&nodes.0[..at]);
            let proof = consistency(&nodes, old, new);
            if old > 0 {
                assert_eq!(proof, oracle_subproof(at, &nodes.0, true));
                let bytes: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
                let additions = usize::try_from(new - old).unwrap();
                assert_eq!(theirs.prove_consistency(additions).as_bytes(), bytes);
            }
            verify_consistency(size(old), &old_root, size(new), &new_root, &proof).unwrap();
        }
        let reversed = prove_consistency(&nodes, size(new), size(new - 1)).unwrap();
        assert_eq!(reversed, Err(TreeError::SizeOrder { old: size(new), new: size(new - 1) }));
    }
}

#[test]
fn every_neighbour_of_a_consistency_proof_is_refused() {
    let hashes: Vec<Digest> = (0..34_u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let root_of = |n: u64| oracle_root(&hashes[..usize::try_from(n).unwrap()]);
    for new in 0..=33 {
        let nodes = Stored(hashes[..usize::try_from(new).unwrap()].to_vec());
        for old in 0..=new {
            let proof = consistency(&nodes, old, new);
            let holds = |old, old_root: Digest, new, new_root: Digest, proof: &[Digest]| {
                verify_consistency(size(old), &old_root, size(new), &new_root, proof).is_ok()
            };
            assert!(holds(old, root_of(old), new, root_of(new), &proof));
            for bad in neighbours(&proof) {
                assert!(!holds(old, root_of(old), new, root_of(new), &bad), "{old} to {new}");
            }
            assert!(!holds(old, root_of(33 - old), new, root_of(new), &proof) || 33 - old == old);
            if old > 0 {
                assert!(!holds(old, root_of(old), new, root_of(new + 1), &proof));
                assert!(!holds(old - 1, root_of(old), new, root_of(new), &proof));
            }
            assert!(!holds(old + 1, root_of(old), new, root_of(new), &proof));
            assert!(!holds(old, root_of(old + 1), new, root_of(new), &proof));
            assert!(old == new || !holds(new, root_of(new), old, root_of(old), &proof));
        }
    }
}

#[test]
fn the_largest_sizes_neither_overflow_nor_accept_long_proofs() {
    let (max, leaf) = (TreeSize::MAX, leaf_hash(b"x"));
    for index in [0, 1, 1 << 62, max.get() - 1] {
        for len in [0, 61, 62, 63, 64, 65, 1_000] {
            let proof = vec![leaf; len];
            let got = root_from_inclusion(&leaf, LeafIndex(index), max, &proof);
            if let Err(TreeError::ProofLength { expected, .. }) = got {
                assert!((62..=63).contains(&expected));
            } else {
                assert!(got.is_ok() && (62..=63).contains(&len), "leaf {index}, {len} hashes");
            }
        }
    }
    assert!(root_from_inclusion(&leaf, LeafIndex(max.get()), max, &[]).is_err());
    assert!(root_from_inclusion(&leaf, LeafIndex(u64::MAX), max, &[]).is_err());
    assert_eq!(TreeSize::new(1 << 63), None);
    assert_eq!(max.next(), None);
    let old = size(max.get() - 1);
    assert!(verify_consistency(old, &leaf, max, &leaf, &[leaf; 63]).is_err());
}
