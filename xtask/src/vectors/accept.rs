//! Accept vectors: what is established in each, and what is not.

use tally_core::commitment::Field;
use tally_core::computation::{FinishReason, SamplingParameters};
use tally_core::note::SignatureType;
use tally_core::receipt::{Adjustment, Evidence, EvidenceKind, Kind, Price, SeedSource, Statement};
use tally_verifier::{Expected, Policy, UnixTime, verify};

use super::scenario::{MADE_MS, MADE_S, Proof, Scenario, digest, vkey};
use super::{Vector, Verdict};

/// Independent cosigners: name in the policy, name of the key, seed.
pub(super) const COSIGNERS: [(&str, &str, u8); 7] = [
    ("a", "cosigner.example/a", 11),
    ("b", "cosigner.example/b", 12),
    ("c", "cosigner.example/c", 13),
    ("d", "cosigner.example/d", 14),
    ("e", "cosigner.example/e", 15),
    ("f", "cosigner.example/f", 16),
    ("g", "cosigner.example/g", 17),
];

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
pub(super) fn vectors() -> Vec<Vector> {
    vec![
        accept(
            "local",
            &["R-2", "R-35", "R-62"],
            "an answer with everything opened, in the operator's own log",
            &Scenario::local(),
        ),
        accept(
            "signed-only",
            &["R-21"],
            "a statement alone, and a policy that demands no more",
            &Scenario::signed_only(),
        ),
        accept(
            "logged",
            &["R-53", "R-55"],
            "four independent cosigners, of which three have cosigned",
            &logged(),
        ),
        accept(
            "nested-quorum",
            &["P-24", "R-53"],
            "two of three and one of three, and both groups",
            &nested(),
        ),
        accept(
            "refusal",
            &["R-29"],
            "a request that was admitted and refused",
            &Scenario::refusal(),
        ),
        accept(
            "unknown-evidence",
            &["R-45"],
            "evidence of a kind that this release does not know, and evidence that is held elsewhere",
            &unknown_evidence(),
        ),
        accept(
            "completed-later",
            &["R-56"],
            "a second proof was added later, and the earlier one counts",
            &completed_later(),
        ),
        accept(
            "foreign-log",
            &["R-47"],
            "one more proof of a log that the policy does not name",
            &foreign_log(),
        ),
        accept(
            "completion",
            &["R-26"],
            "a completion without template, nonce and stop, with the issuer's seed, everything rewritten and declared",
            &completion(),
        ),
        accept(
            "rotated-key",
            &["P-26", "P-27", "P-28"],
            "a key that was accepted when the receipt was logged, and is no longer",
            &rotated_key(),
        ),
        accept(
            "edges",
            &["P-30", "P-31"],
            "times that are just within what the policy allows",
            &edges(),
        ),
        accept(
            "any-model",
            &["P-32", "P-33"],
            "a policy that accepts any model and arithmetic, and a proof without cosignature",
            &any_model(),
        ),
        accept(
            "client-seed",
            &["R-39"],
            "the seed is the client's, and only some fields are opened",
            &client_seed(),
        ),
        accept(
            "receipt-digest",
            &["R-22"],
            "the caller names the receipt by its digest",
            &receipt_digest(),
        ),
        accept(
            "cosigned-ahead",
            &["R-59"],
            "the cosigner's clock is ahead by just what the policy tolerates",
            &cosigned_ahead(),
        ),
        accept(
            "two-proofs-of-one-time",
            &["R-56"],
            "two proofs have one logged time, and the first counts",
            &two_proofs_of_one_time(),
        ),
    ]
}

pub(super) fn accept(
    name: &'static str,
    clauses: &'static [&'static str],
    what: &str,
    scenario: &Scenario,
) -> Vector {
    let inputs = scenario.inputs(scenario.bundle_bytes());
    let policy = Policy::parse(&inputs.policy).expect("the policies of accept vectors parse");
    let known = |field| inputs.expected.get(field).map(Vec::as_slice);
    let expected = Expected {
        nonce: known("nonce"),
        request: known("request"),
        response: known("response"),
        receipt_digest: known("receipt_digest").and_then(tally_core::Digest::from_slice),
    };
    let verified = verify(&inputs.receipt, &policy, &expected, UnixTime::from_ms(inputs.now_ms))
        .unwrap_or_else(|rejection| panic!("accept vector {name}: {rejection}"));
    let established = verified.established().iter().map(|found| found.code()).collect();
    let not_established = verified.not_established().iter().map(|gap| gap.code()).collect();
    let verdict = Verdict::Accept { established, not_established };
    Vector { name, clauses, what: what.to_owned(), inputs, verdict }
}

/// The policy of a relying party with the first `count` independent cosigners.
pub(super) fn independent_policy(count: usize, rest: &str) -> String {
    let home = super::scenario::home_policy();
    let home = home.replace("[\"signed\", \"self-cosigned\"]", "[\"signed\", \"logged\"]");
    let home = home.replace("\n[[issuer]]", "quorum = \"all\"\n\n[[issuer]]");
    let cosigners = COSIGNERS.iter().take(count).map(|(name, key_name, seed)| {
        let vkey = vkey(key_name, SignatureType::CosignatureV1, *seed).encode();
        format!("\n[[cosigner]]\nname = \"{name}\"\nvkey = \"{vkey}\"\n")
    });
    format!("{home}{}{rest}", cosigners.collect::<String>())
}

/// A proof that these independent cosigners cosigned, so many seconds after the statement.
pub(super) fn cosigned(by: &[(usize, u64)]) -> Proof {
    let cosigners = by.iter().map(|(place, after)| {
        let (_, name, seed) = COSIGNERS[*place];
        (name, seed, MADE_S + after)
    });
    Proof { cosigners: cosigners.collect(), ..Proof::own() }
}

pub(super) fn logged() -> Scenario {
    let group =
        "\n[[group]]\nname = \"all\"\nthreshold = 3\nmembers = [\"a\", \"b\", \"c\", \"d\"]\n";
    Scenario {
        accepted_as: "003-logged",
        policy: independent_policy(4, group),
        proofs: vec![cosigned(&[(0, 10), (1, 30), (3, 20)])],
        ..Scenario::local()
    }
}

pub(super) fn nested() -> Scenario {
    let groups = "
[[group]]
name = \"x\"
threshold = 2
members = [\"a\", \"b\", \"c\"]

[[group]]
name = \"y\"
threshold = \"any\"
members = [\"d\", \"e\", \"f\"]

[[group]]
name = \"all\"
threshold = \"all\"
members = [\"x\", \"y\"]
";
    Scenario {
        accepted_as: "004-nested-quorum",
        policy: independent_policy(6, groups),
        proofs: vec![cosigned(&[(0, 10), (2, 11), (4, 12)])],
        ..Scenario::local()
    }
}

pub(super) fn unknown_evidence() -> Scenario {
    let elsewhere =
        Evidence { kind: EvidenceKind::Inclusion, digest: digest("elsewhere"), value: None };
    Scenario {
        accepted_as: "006-unknown-evidence",
        evidence: vec![Evidence::new(EvidenceKind::Unknown(77), b"?".to_vec()), elsewhere],
        ..Scenario::local()
    }
}

pub(super) fn completed_later() -> Scenario {
    let later = Proof { index: 5, size: 30, ..cosigned(&[(0, 910), (1, 930), (2, 915), (3, 920)]) };
    let logged = logged();
    let mut proofs = vec![later];
    proofs.extend(logged.proofs.clone());
    Scenario { accepted_as: "007-completed-later", proofs, now_ms: MADE_MS + 3_600_000, ..logged }
}

fn foreign_log() -> Scenario {
    let foreign = Proof { origin: "log.example/two", log_key: 21, ..Proof::own() };
    Scenario {
        accepted_as: "008-foreign-log",
        proofs: vec![foreign, Proof::own()],
        ..Scenario::local()
    }
}

pub(super) fn completion() -> Scenario {
    let scenario = Scenario::local().with_answer(|answer| {
        answer.preparation.template = None;
        answer.preparation.adjustments = vec![
            Adjustment::Added("a token that begins every text".into()),
            Adjustment::Dropped("the first 3 tokens".into()),
            Adjustment::Rewrote("line ends".into()),
        ];
        answer.seed_source = SeedSource::Issuer;
        answer.computation.finish = FinishReason::Length;
        answer.computation.parameters = SamplingParameters {
            max_tokens: 3,
            stop_tokens: vec![],
            ..answer.computation.parameters.clone()
        };
    });
    let statement = Statement {
        kind: Kind::Completion,
        nonce: None,
        price: Some(Price { asset: "USD".into(), amount: 1_000 }),
        attribution: Some(digest("attribution")),
        trace_root: Some(digest("trace")),
        keyset: Some(digest("keyset")),
        ..scenario.statement.clone()
    };
    let mut expected = scenario.expected.clone();
    expected.remove("nonce");
    Scenario { accepted_as: "009-completion", statement, expected, ..scenario }
}

/// The quorum's time is 20 seconds after the statement.
pub(super) fn rotated_key() -> Scenario {
    Scenario { accepted_as: "010-rotated-key", now_ms: MADE_MS + 86_400_000, ..logged() }
        .with_policy(
            "\n[[log]]",
            "valid_from = 2026-09-21T14:13:40Z\nvalid_until = 2026-09-21T15:00:00+00:00\n\
             revoked_from = 2026-09-21 14:13:40.001Z\n\n[[log]]",
        )
}

/// Issued 60 seconds ahead of the clock, cosigned 59 seconds before it was made.
pub(super) fn edges() -> Scenario {
    let proof = cosigned(&[(0, 10), (1, 30), (3, 20)]);
    let early = Proof {
        cosigners: proof
            .cosigners
            .iter()
            .map(|(name, seed, time)| (*name, *seed, time - 80))
            .collect(),
        ..proof
    };
    Scenario { accepted_as: "011-edges", now_ms: MADE_MS - 60_000, proofs: vec![early], ..logged() }
        .with_policy(
            "\nquorum",
            "\nage_max_s = 0\nlogging_delay_max_s = 0\nclock_tolerance_s = 60\nquorum",
        )
}

fn any_model() -> Scenario {
    let model = format!("models = [\n  \"{}\",\n]", digest("model"));
    Scenario {
        accepted_as: "012-any-model",
        proofs: vec![Proof { cosigners: vec![], ..Proof::own() }],
        ..Scenario::local()
    }
    .with_policy(", \"self-cosigned\"", "")
    .with_policy(&model, "models = \"any\"")
    .with_policy("[\"ra-1-draft.1\"]", "\"any\"")
}

fn client_seed() -> Scenario {
    let scenario = Scenario::local().with_answer(|answer| answer.seed_source = SeedSource::Client);
    let mut openings = scenario.openings.clone();
    openings.remove(&Field::Input);
    openings.remove(&Field::Output);
    Scenario { accepted_as: "013-client-seed", openings, ..scenario }
}

fn receipt_digest() -> Scenario {
    let scenario = Scenario { accepted_as: "014-receipt-digest", ..Scenario::signed_only() };
    let digest = scenario.signed().digest().as_bytes().to_vec();
    scenario.with(|scenario| {
        scenario.expected.insert("receipt_digest", digest);
    })
}

/// 300 seconds from now, which is 60 seconds after the statement.
fn cosigned_ahead() -> Scenario {
    let mut proof = Proof::own();
    proof.cosigners[0].2 = MADE_S + 360;
    Scenario { accepted_as: "015-cosigned-ahead", proofs: vec![proof], ..Scenario::local() }
}

fn two_proofs_of_one_time() -> Scenario {
    let larger = Proof { size: 12, ..Proof::own() };
    Scenario {
        accepted_as: "016-two-proofs-of-one-time",
        proofs: vec![Proof::own(), larger],
        ..Scenario::local()
    }
}
