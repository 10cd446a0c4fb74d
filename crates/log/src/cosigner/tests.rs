//! The rules of tlog-witness, each with the answer that it demands.

use tally_core::{checkpoint::Checkpoint, note::SignatureType, tree};
use tempfile::TempDir;

use super::*;
use crate::log::tests::{key, storage};

fn size(n: u64) -> TreeSize {
    TreeSize::new(n).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds).unwrap()
}

/// A tree whose leaves are the bytes of `text`, and a log that signs any part of it.
struct Tree {
    leaves: Vec<Digest>,
    key: NamedKey,
}

impl tree::Nodes for Tree {
    type Error = core::convert::Infallible;

    fn node(&self, id: tree::NodeId) -> Result<Digest, Self::Error> {
        let width = 1 << id.level;
        let start = usize::try_from(id.index).unwrap() * width;
        Ok(tree::root(&self.leaves[start..start + width]))
    }
}

impl Tree {
    fn new(text: &str) -> Self {
        let leaves = text.bytes().map(|byte| tree::leaf_hash(&[byte])).collect();
        Self { leaves, key: key("log.example", 1) }
    }

    fn signed(&self, n: u64) -> SignedCheckpoint {
        let root = tree::root(&self.leaves[..usize::try_from(n).unwrap()]);
        let checkpoint = Checkpoint::new(Origin::from(&self.key.name), size(n), root);
        SignedCheckpoint::sign(checkpoint, &self.key.name, &self.key.key).unwrap()
    }

    fn proof(&self, old: u64, new: u64) -> Vec<Digest> {
        tree::prove_consistency(self, size(old), size(new)).unwrap().unwrap()
    }
}

fn cosigner(folder: &TempDir) -> Cosigner {
    let key = key("cosigner.example", 2);
    let mut cosigner = Cosigner::create(storage(folder), key.clone())
        .or_else(|_| Cosigner::open(storage(folder), key))
        .unwrap();
    cosigner.trust(Tree::new("").key.log_verifier()).unwrap();
    cosigner
}

fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

#[test]
fn growth_is_cosigned_step_by_step_and_across_openings() {
    let folder = folder();
    let tree = Tree::new("abcdefgh");
    let mut old = 0;
    for new in [0, 1, 1, 3, 8] {
        let mut cosigner = cosigner(&folder);
        let line = cosigner.cosign(size(old), &tree.signed(new), &tree.proof(old, new), at(new));
        let mut signed = tree.signed(new);
        signed.push(line.unwrap()).unwrap();
        let verified = cosignature::verify(signed.note(), &cosigner.verifier());
        assert_eq!(verified, Ok(at(new)));
        let origin = signed.checkpoint().origin().clone();
        assert_eq!(cosigner.newest(&origin).unwrap(), Some(signed));
        old = new;
    }
}

#[test]
fn each_refusal_is_that_of_tlog_witness_and_changes_nothing() {
    let folder = folder();
    let mut cosigner = cosigner(&folder);
    let (tree, fork) = (Tree::new("abcdefgh"), Tree::new("abXdefgh"));
    cosigner.cosign(size(0), &tree.signed(4), &[], at(1)).unwrap();
    let mut ask = |old: u64, signed: &SignedCheckpoint, proof: &[Digest]| {
        cosigner.cosign(size(old), signed, proof, at(2)).unwrap_err()
    };
    let good = tree.proof(4, 6);
    // 409 with the size, for every other old size.
    for old in [0, 1, 3, 5, 6] {
        let refused = ask(old, &tree.signed(6), &good);
        assert!(matches!(refused, CosignError::Conflict { size: s, .. } if s == size(4)), "{old}");
    }
    // 400.
    assert!(matches!(ask(7, &tree.signed(6), &good), CosignError::OldSize { .. }));
    assert!(matches!(ask(4, &tree.signed(3), &[]), CosignError::OldSize { .. }));
    // 409 for another tree of the same size.
    assert!(matches!(ask(4, &fork.signed(4), &[]), CosignError::Fork { .. }));
    // 422.
    assert!(matches!(ask(4, &fork.signed(6), &fork.proof(4, 6)), CosignError::Proof(_)));
    assert!(matches!(ask(4, &tree.signed(6), &[]), CosignError::Proof(_)));
    assert!(matches!(ask(4, &tree.signed(7), &good), CosignError::Proof(_)));
    // 404 and 403.
    let stranger = Tree { key: key("other.example", 1), ..Tree::new("abcdefgh") };
    assert!(matches!(ask(4, &stranger.signed(6), &good), CosignError::UnknownOrigin { .. }));
    let impostor = Tree { key: key("log.example", 3), ..Tree::new("abcdefgh") };
    assert!(matches!(ask(4, &impostor.signed(6), &good), CosignError::Unsigned(_)));
    let mut other_key = impostor.signed(6);
    let line = tree.signed(5).note().signatures()[0].clone();
    other_key.push(line).unwrap();
    assert!(matches!(ask(4, &other_key, &good), CosignError::Unsigned(_)));

    assert!(cosigner.cosign(size(4), &tree.signed(6), &good, at(3)).is_ok());
}

#[test]
fn a_first_checkpoint_needs_no_proof_and_must_have_none() {
    let tree = Tree::new("abcd");
    let folder = folder();
    let mut cosigner = cosigner(&folder);
    let proof = [tree.leaves[0]];
    assert!(matches!(
        cosigner.cosign(size(0), &tree.signed(4), &proof, at(1)),
        Err(CosignError::Proof(_))
    ));
    assert!(cosigner.cosign(size(0), &tree.signed(4), &[], at(1)).is_ok());
}

#[test]
fn an_empty_tree_with_another_root_is_a_fork() {
    let folder = folder();
    let key = Tree::new("").key;
    let checkpoint = Checkpoint::new(Origin::from(&key.name), size(0), Digest::of_content(b"x"));
    let signed = SignedCheckpoint::sign(checkpoint, &key.name, &key.key).unwrap();
    let refused = cosigner(&folder).cosign(size(0), &signed, &[], at(1));
    assert!(matches!(refused, Err(CosignError::Fork { .. })));
}

#[test]
fn signatures_by_others_are_not_kept() {
    let folder = folder();
    let mut cosigner = cosigner(&folder);
    let tree = Tree::new("ab");
    let mut crowded = tree.signed(2);
    for number in 0..60 {
        let other = key(&format!("crowd{number}.example"), number);
        let line = cosignature::cosign(crowded.checkpoint(), at(1), &other.name, &other.key);
        crowded.push(line).unwrap();
    }
    cosigner.cosign(size(0), &crowded, &[], at(1)).unwrap();
    let kept = cosigner.newest(crowded.checkpoint().origin()).unwrap().unwrap();
    assert_eq!(kept.note().signatures().len(), 2);
}

#[test]
fn damaged_state_is_never_taken_for_no_state() {
    let folder = folder();
    let tree = Tree::new("abcd");
    let origin = tree.signed(1).checkpoint().origin().clone();
    let path = folder.path().join(state_path(&origin));
    cosigner(&folder).cosign(size(0), &tree.signed(2), &[], at(1)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let mut opened = Cosigner::open(storage(&folder), key("cosigner.example", 2)).unwrap();
        let trusted = opened.trust(tree.key.log_verifier());
        assert!(matches!(trusted, Err(LogError::Damaged { .. })), "{len} bytes");
        assert!(opened.newest(&origin).is_err());
    }
    // A checkpoint that the log signed and this cosigner did not.
    std::fs::write(&path, tree.signed(1).encode()).unwrap();
    let mut opened = Cosigner::open(storage(&folder), key("cosigner.example", 2)).unwrap();
    assert!(opened.trust(tree.key.log_verifier()).is_err());
}

#[test]
fn one_folder_has_one_cosigner_with_one_key() {
    let folder = folder();
    let first = cosigner(&folder);
    let second = Cosigner::open(storage(&folder), key("cosigner.example", 2));
    assert!(matches!(second, Err(LogError::Locked { .. })));
    drop(first);
    let other = Cosigner::open(storage(&folder), key("cosigner.example", 9));
    assert!(matches!(other, Err(LogError::Damaged { .. })));
    let again = Cosigner::create(storage(&folder), key("cosigner.example", 2));
    assert!(matches!(again, Err(LogError::Exists { .. })));
    assert_eq!(cosigner(&folder).verifier().kind(), SignatureType::CosignatureV1);
}

#[test]
fn a_cosigner_whose_write_failed_answers_nothing_until_it_is_opened_again() {
    use crate::dangerous::{Fault, Faulty};

    let tree = Tree::new("abcd");
    let folder = folder();
    drop(cosigner(&folder));
    for step in 0.. {
        // Steps 0 to 3 open the cosigner and read its state; then come the five of a replacement.
        let faulty = Faulty::new(storage(&folder), step + 4, Fault::With);
        let counter = faulty.beside(storage(&folder));
        let key = key("cosigner.example", 2);
        let mut cosigner = Cosigner::open(Arc::new(faulty), key).unwrap();
        if cosigner.trust(tree.key.log_verifier()).is_err() {
            continue;
        }
        let origin = tree.signed(1).checkpoint().origin().clone();
        let old = cosigner.newest(&origin).unwrap();
        let old = old.map_or(size(0), |old| old.checkpoint().size());
        let proof = tree.proof(old.get(), 4);
        let first = cosigner.cosign(old, &tree.signed(4), &proof, at(1));
        if !counter.has_failed() {
            assert!(first.is_ok() && step > 5, "step {step}");
            return;
        }
        assert!(matches!(first, Err(CosignError::Storage(_))), "step {step}");
        let second = cosigner.cosign(old, &tree.signed(4), &proof, at(2));
        assert!(matches!(second, Err(CosignError::Poisoned)), "step {step}");
        assert!(matches!(cosigner.newest(&origin), Err(LogError::Poisoned)));
    }
}
