//! Reject vectors of the chapter on evidence, and of what follows from logged times.

use tally_core::entry::{Entry, EntryKind, HourBucket};
use tally_core::note::{NoteSignature, SignatureType};
use tally_core::receipt::{Evidence, EvidenceKind};
use tally_core::tlog_proof::TlogProof;
use tally_core::tree::LeafIndex;

use super::accept::{self, COSIGNERS, cosigned};
use super::scenario::{MADE_MS, MADE_S, OWN_KEY, Proof, Scenario, digest, inclusion, vkey};
use super::{Vector, reject};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = items();
    vectors.extend(proofs());
    vectors.extend(checkpoints());
    vectors.extend(quorums());
    vectors.extend(times());
    vectors
}

/// The scenario with one piece of evidence instead of its proofs.
fn instead(scenario: &Scenario, evidence: Evidence) -> Scenario {
    Scenario { proofs: vec![], evidence: vec![evidence], ..scenario.clone() }
}

/// The scenario with its proof's text changed.
fn with_text(scenario: &Scenario, edit: impl FnOnce(String) -> String) -> Scenario {
    let text = edit(scenario.proof(&scenario.proofs[0]).encode());
    instead(scenario, Evidence::new(EvidenceKind::Inclusion, text.into_bytes()))
}

/// The scenario with its proof changed.
fn with_proof(scenario: &Scenario, edit: impl FnOnce(&mut TlogProof)) -> Scenario {
    let mut proof = scenario.proof(&scenario.proofs[0]);
    edit(&mut proof);
    instead(scenario, inclusion(&proof))
}

/// Evidence items by themselves.
fn items() -> Vec<Vector> {
    let local = Scenario::local();
    let whole = inclusion(&local.proof(&local.proofs[0]));
    let altered = |edit: &dyn Fn(&mut Evidence)| {
        let mut evidence = whole.clone();
        edit(&mut evidence);
        instead(&local, evidence)
    };
    let twice = local.clone().with(|s| s.evidence = vec![whole.clone()]);
    let elsewhere = altered(&|evidence| evidence.value = None);
    let unknown = instead(&local, Evidence::new(EvidenceKind::Unknown(77), b"?".to_vec()));
    vec![
        reject(
            "evidence-digest",
            &["R-43"],
            "receipt/evidence-digest",
            "evidence is named by another digest",
            &altered(&|e| e.digest = digest("another")),
        ),
        reject(
            "evidence-value",
            &["R-43"],
            "receipt/evidence-digest",
            "a byte of the evidence is another",
            &altered(&|e| e.value.iter_mut().flatten().take(1).for_each(|b| *b ^= 1)),
        ),
        reject(
            "evidence-kind",
            &["R-43"],
            "receipt/evidence-digest",
            "the evidence is said to be of another kind",
            &altered(&|e| e.kind = EvidenceKind::Unknown(2)),
        ),
        reject(
            "evidence-twice",
            &["R-44"],
            "receipt/evidence-twice",
            "the same evidence stands there twice",
            &twice,
        ),
        reject(
            "evidence-stripped",
            &["P-34"],
            "log/no-proof",
            "there is no evidence, and the policy demands it",
            &local.clone().with(|s| s.proofs.clear()),
        ),
        reject(
            "evidence-elsewhere",
            &["P-34"],
            "log/no-proof",
            "the evidence is named and not there",
            &elsewhere,
        ),
        reject(
            "evidence-of-unknown-kind",
            &["R-45"],
            "log/no-proof",
            "all the evidence is of a kind that nobody knows",
            &unknown,
        ),
    ]
}

/// Inclusion proofs.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn proofs() -> Vec<Vector> {
    let local = Scenario::local();
    let digest_of = |scenario: &Scenario| scenario.signed().digest();
    let other = local.clone().with(|s| s.statement.id = [0xa2; 16]);
    let of_entry = |entry: Entry| instead(&local, inclusion(&local.proofs[0].make(&entry)));
    let entry = local.entry(digest_of(&local));
    let hour = HourBucket(entry.hour.0 + 1);
    let kind = EntryKind::new(2).unwrap_or(EntryKind::RECEIPT);
    let mut small = Proof::own();
    small.size = 10;
    let checkpoint_of_other_size =
        with_proof(&local, |p| p.checkpoint = local.proof(&small).checkpoint);
    let root = "log/inclusion-root";
    vec![
        reject(
            "proof-not-a-proof",
            &["R-46"],
            "log/proof-form",
            "the first line is of another version",
            &with_text(&local, |t| t.replace("proof@v1", "proof@v2")),
        ),
        reject(
            "proof-without-checkpoint",
            &["R-46"],
            "log/proof-form",
            "the text ends before the checkpoint",
            &with_text(&local, |t| t.split("\n\n").take(1).collect()),
        ),
        reject(
            "proof-index-with-zero",
            &["R-46"],
            "log/proof-form",
            "the index is written `05`",
            &with_text(&local, |t| t.replace("index 5\n", "index 05\n")),
        ),
        reject(
            "leaf-beyond-tree",
            &["R-49"],
            "log/leaf-index",
            "the index is the tree's size",
            &with_proof(&local, |p| p.index = LeafIndex(11)),
        ),
        reject(
            "proof-too-short",
            &["R-50"],
            "log/inclusion-length",
            "the last hash is missing",
            &with_proof(&local, |p| {
                p.hashes.pop();
            }),
        ),
        reject(
            "proof-too-long",
            &["R-50"],
            "log/inclusion-length",
            "there is one hash more",
            &with_proof(&local, |p| p.hashes.push(digest("more"))),
        ),
        reject(
            "proof-of-another-size",
            &["R-51"],
            root,
            "the checkpoint is of the log one entry earlier",
            &checkpoint_of_other_size,
        ),
        reject(
            "proof-of-another-leaf",
            &["R-51"],
            root,
            "the index is that of the entry beside it",
            &with_proof(&local, |p| p.index = LeafIndex(4)),
        ),
        reject(
            "proof-hash-flipped",
            &["R-51"],
            root,
            "the first hash is another",
            &with_proof(&local, |p| p.hashes[0] = digest("another")),
        ),
        reject(
            "proof-of-another-receipt",
            &["R-51"],
            root,
            "statement and evidence are of different receipts",
            &of_entry(other.entry(digest_of(&other))),
        ),
        reject(
            "entry-of-another-hour",
            &["R-51"],
            root,
            "the log's entry is of the hour after the statement's",
            &of_entry(Entry { hour, ..entry }),
        ),
        reject(
            "entry-of-another-kind",
            &["R-51"],
            root,
            "the log's entry is not that of a receipt",
            &of_entry(Entry { kind, ..entry }),
        ),
    ]
}

/// Checkpoints: origin, the log's signature, cosignatures.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn checkpoints() -> Vec<Vector> {
    let local = Scenario::local();
    let planned = |edit: &dyn Fn(&mut Proof)| local.clone().with(|s| edit(&mut s.proofs[0]));
    let without_line = |name: &str| {
        let start = format!("\u{2014} {name} ");
        with_text(&local, |t| t.split_inclusive('\n').filter(|l| !l.starts_with(&start)).collect())
    };
    let repeated = |start: &str| {
        with_text(&local, |text| {
            let line = text.split_inclusive('\n').find(|line| line.starts_with(start));
            let line = line.map(str::to_owned).unwrap_or_default();
            text + &line
        })
    };
    // A line by the own cosigner, its name and key id right and its signature by another key.
    let forged = planned(&|p| p.cosigners[0].1 = 99);
    let forged = with_proof(&forged, |proof| {
        let own = vkey("cosigner.example/own", SignatureType::CosignatureV1, OWN_KEY);
        let text = proof.checkpoint.encode();
        let (note, line) = text.trim_end().rsplit_once('\n').unwrap_or_default();
        let parsed = NoteSignature::parse_lines(&format!("{line}\n")).unwrap_or_default();
        let lines = parsed.into_iter().map(|line| NoteSignature { key_id: own.id(), ..line });
        let lines: String = lines.map(|line| line.encode()).collect();
        let checkpoint = format!("{note}\n{lines}");
        proof.checkpoint = tally_core::checkpoint::SignedCheckpoint::parse(checkpoint.as_bytes())
            .expect("a forged line has the form of a line");
    });
    vec![
        reject(
            "checkpoint-of-another-origin",
            &["R-47"],
            "log/origin",
            "the proof is of a log that the policy does not name",
            &planned(&|p| p.origin = "log.example/two"),
        ),
        reject(
            "checkpoint-unsigned-by-log",
            &["R-48"],
            "log/signature",
            "the log's own signature is missing",
            &without_line("log.example/one"),
        ),
        reject(
            "checkpoint-signed-by-another-key",
            &["R-48"],
            "log/signature",
            "the checkpoint is signed with another key of that name",
            &planned(&|p| p.log_key = 21),
        ),
        reject(
            "checkpoint-signed-twice",
            &["R-48"],
            "log/signature",
            "the log's signature stands there twice",
            &repeated("\u{2014} log.example/one "),
        ),
        reject(
            "checkpoint-text-altered",
            &["R-48"],
            "log/signature",
            "the tree size in the checkpoint is another",
            &with_text(&local, |t| t.replace("\n11\n", "\n12\n")),
        ),
        reject(
            "cosignature-refused",
            &["R-52"],
            "log/cosignature",
            "a cosignature is not by the key that it names",
            &forged,
        ),
        reject(
            "cosigner-twice",
            &["R-54"],
            "log/cosigner-twice",
            "the same cosigner stands there twice",
            &repeated("\u{2014} cosigner.example/own "),
        ),
        reject(
            "not-cosigned",
            &["P-34"],
            "log/not-cosigned",
            "the log alone signed, and the policy demands its cosigner",
            &planned(&|p| p.cosigners.clear()),
        ),
        reject(
            "cosigned-by-a-stranger",
            &["R-53"],
            "log/not-cosigned",
            "the cosigner is one that the policy does not name",
            &planned(&|p| p.cosigners[0] = ("cosigner.example/own", 98, MADE_S + 1)),
        ),
    ]
}

/// Quorums.
fn quorums() -> Vec<Vector> {
    let logged = accept::logged();
    let with_proofs =
        |scenario: &Scenario, proofs: Vec<Proof>| Scenario { proofs, ..scenario.clone() };
    let own = ("cosigner.example/own", OWN_KEY, MADE_S + 12);
    let mut own_third = cosigned(&[(0, 10), (1, 30)]);
    own_third.cosigners.push(own);
    let mut renamed = cosigned(&[(0, 10), (1, 30)]);
    renamed.cosigners.push(("cosigner.example/c", COSIGNERS[0].2, MADE_S + 12));
    let halves =
        vec![cosigned(&[(0, 10), (1, 30)]), Proof { size: 12, ..cosigned(&[(2, 10), (3, 30)]) }];
    let nested = accept::nested();
    vec![
        reject(
            "quorum-short-by-one",
            &["R-53"],
            "log/quorum",
            "two independent cosigners where three are demanded",
            &with_proofs(&logged, vec![cosigned(&[(0, 10), (1, 30)])]),
        ),
        reject(
            "quorum-of-nobody",
            &["P-34"],
            "log/quorum",
            "no cosigner at all",
            &with_proofs(&logged, vec![cosigned(&[])]),
        ),
        reject(
            "quorum-with-own-cosigner",
            &["R-57"],
            "log/quorum",
            "the operator's own cosigner is the third",
            &with_proofs(&logged, vec![own_third]),
        ),
        reject(
            "quorum-with-one-key-under-two-names",
            &["R-54"],
            "log/quorum",
            "the third cosignature is by the first cosigner's key under another's name",
            &with_proofs(&logged, vec![renamed]),
        ),
        reject(
            "quorum-over-two-checkpoints",
            &["R-53"],
            "log/quorum",
            "two cosigners on one checkpoint and two on another",
            &with_proofs(&logged, halves),
        ),
        reject(
            "nested-group-short",
            &["R-53"],
            "log/quorum",
            "the first group has one of three, the second has three",
            &with_proofs(&nested, vec![cosigned(&[(0, 1), (3, 1), (4, 1), (5, 1)])]),
        ),
        reject(
            "nested-group-missing",
            &["R-53"],
            "log/quorum",
            "the first group has three of three, the second has none",
            &with_proofs(&nested, vec![cosigned(&[(0, 1), (1, 1), (2, 1)])]),
        ),
        reject(
            "logged-demanded-of-nobody",
            &["P-34"],
            "log/no-proof",
            "there is no proof, and the policy demands a logged receipt",
            &with_proofs(&logged, vec![]),
        ),
    ]
}

/// Times of statement, log and now.
fn times() -> Vec<Vector> {
    let local = Scenario::local();
    let edges = accept::edges();
    let later = accept::completed_later();
    let at = |scenario: &Scenario, now_ms: u64| Scenario { now_ms, ..scenario.clone() };
    let own_at = |time: u64| local.clone().with(|s| s.proofs[0].cosigners[0].2 = time);
    let earlier = |scenario: &Scenario| {
        scenario.clone().with(|s| {
            s.proofs[0].cosigners.iter_mut().for_each(|(_, _, time)| *time -= 1);
        })
    };
    let aged = |scenario: Scenario| scenario.with_policy("\nquorum", "\nage_max_s = 3579\nquorum");
    vec![
        reject(
            "logged-time-before-statement",
            &["R-58"],
            "log/before-statement",
            "the quorum's time is 61 seconds before the statement's, 60 are tolerated",
            &at(&earlier(&edges), MADE_MS - 60_000),
        ),
        reject(
            "cosigned-before-statement",
            &["R-58"],
            "log/before-statement",
            "the own cosigner's time is 301 seconds before the statement's",
            &own_at(MADE_S - 301),
        ),
        reject(
            "cosigned-in-the-future",
            &["R-59"],
            "log/future",
            "the own cosigner's time is 301 seconds from now",
            &own_at(MADE_S + 361),
        ),
        reject(
            "statement-in-the-future",
            &["P-30"],
            "policy/future",
            "the statement is dated 60.001 seconds from now, 60 are tolerated",
            &at(&edges, MADE_MS - 60_001),
        ),
        reject(
            "older-than-allowed",
            &["P-31"],
            "policy/age",
            "the receipt is a millisecond older than allowed",
            &at(&edges, MADE_MS - 59_999),
        ),
        reject(
            "earlier-proof-counts",
            &["R-56"],
            "policy/age",
            "the later proof alone would be fresh enough, and the earlier one counts",
            &aged(later),
        ),
        reject(
            "logged-too-late",
            &["P-35"],
            "log/delay",
            "20 seconds from statement to log, 19 are allowed",
            &accept::logged().with_policy("\nquorum", "\nlogging_delay_max_s = 19\nquorum"),
        ),
        reject(
            "logged-time-is-not-the-smallest",
            &["R-55"],
            "log/delay",
            "one of four cosigners may lie, so the second smallest time is the logged one, and it is too late",
            &accept::logged().with_policy("\nquorum", "\nlogging_delay_max_s = 10\nquorum"),
        ),
    ]
}
