//! Reject vectors of quorums and demands in a policy, and of appraisals that fail.

use super::accept;
use super::reject_policy::{apply, edit};
use super::scenario::{ISSUER_KEY, Scenario, digest, key};
use super::{Vector, hex, reject};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = groups();
    vectors.extend(demands());
    vectors.extend(appraisals());
    vectors
}

/// Groups and quorum.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn groups() -> Vec<Vector> {
    let logged = accept::logged();
    let members = "[\"a\", \"b\", \"c\", \"d\"]";
    let threshold = "threshold = 3";
    let quorum = "quorum = \"all\"";
    let mut vectors = apply(
        &logged,
        vec![
            edit(
                "policy-member-undefined",
                &["P-21"],
                "policy/undefined",
                "a group names a cosigner that is not there",
                members,
                "[\"a\", \"b\", \"c\", \"e\"]",
            ),
            edit(
                "policy-quorum-undefined",
                &["P-21"],
                "policy/undefined",
                "the quorum is a group that is not there",
                quorum,
                "quorum = \"none\"",
            ),
            edit(
                "policy-group-of-itself",
                &["P-21"],
                "policy/undefined",
                "a group is its own member",
                members,
                "[\"a\", \"b\", \"c\", \"all\"]",
            ),
            edit(
                "policy-member-twice",
                &["P-22"],
                "policy/member-twice",
                "a cosigner is a member twice",
                members,
                "[\"a\", \"b\", \"c\", \"a\"]",
            ),
            edit(
                "policy-quorum-is-a-member",
                &["P-22"],
                "policy/member-twice",
                "the quorum is a cosigner that is a member of a group",
                quorum,
                "quorum = \"a\"",
            ),
            edit(
                "policy-own-member",
                &["P-23"],
                "policy/own-member",
                "the operator's own cosigner is a member",
                members,
                "[\"a\", \"b\", \"c\", \"own\"]",
            ),
            edit(
                "policy-own-quorum",
                &["P-23"],
                "policy/own-member",
                "the operator's own cosigner is the quorum",
                quorum,
                "quorum = \"own\"",
            ),
            edit(
                "policy-threshold-zero",
                &["P-24"],
                "policy/threshold",
                "no member needs to vouch",
                threshold,
                "threshold = 0",
            ),
            edit(
                "policy-threshold-too-low",
                &["P-24"],
                "policy/threshold",
                "one of four, where one may lie about the time",
                threshold,
                "threshold = \"any\"",
            ),
            edit(
                "policy-threshold-too-high",
                &["P-24"],
                "policy/threshold",
                "five of four",
                threshold,
                "threshold = 5",
            ),
            edit(
                "policy-threshold-word",
                &["P-5"],
                "policy/type",
                "the threshold is a word other than `any` and `all`",
                threshold,
                "threshold = \"most\"",
            ),
            edit(
                "policy-group-empty",
                &["P-9"],
                "policy/empty",
                "a group has no member",
                members,
                "[]",
            ),
            edit(
                "policy-group-name-twice",
                &["P-15"],
                "policy/duplicate",
                "a group has the name of a cosigner",
                "name = \"all\"",
                "name = \"a\"",
            ),
        ],
    );
    let operator = logged
        .with_policy("\n[[log]]", "operator = \"One\"\n\n[[log]]")
        .with_policy("name = \"d\"\n", "name = \"d\"\noperator = \"One\"\n");
    vectors.push(reject(
        "policy-member-of-issuers-operator",
        &["P-23"],
        "policy/own-member",
        "a member is run by the issuer's operator",
        &operator,
    ));
    vectors
}

/// Demands.
fn demands() -> Vec<Vector> {
    let local = Scenario::local();
    let demands = "[\"signed\", \"self-cosigned\"]";
    let own = "[[cosigner]]\nname = \"own\"";
    let mut vectors = apply(
        &local,
        vec![
            edit(
                "policy-unknown-assurance",
                &["P-19"],
                "policy/assurance",
                "a demand for something that is no assurance",
                demands,
                "[\"signed\", \"valid\"]",
            ),
            edit(
                "policy-without-signed",
                &["P-6"],
                "policy/missing-field",
                "the signature is not demanded",
                demands,
                "[\"self-cosigned\"]",
            ),
            edit(
                "policy-logged-without-quorum",
                &["P-20"],
                "policy/unattainable",
                "a demand for logged receipts, and no quorum",
                demands,
                "[\"signed\", \"logged\"]",
            ),
        ],
    );
    let (before, _) = local.policy.split_once(own).unwrap_or_default();
    let without_cosigner = Scenario { policy: before.to_owned(), ..local.clone() };
    vectors.push(reject(
        "policy-self-cosigned-without-cosigner",
        &["P-20"],
        "policy/unattainable",
        "a demand for a cosigner, and there is none",
        &without_cosigner,
    ));
    let logged = accept::logged();
    let (start, rest) = logged.policy.split_once("[[log]]").unwrap_or_default();
    let (_, end) = rest.split_once("[[cosigner]]").unwrap_or_default();
    let without_log = Scenario { policy: format!("{start}[[cosigner]]{end}"), ..logged.clone() };
    vectors.push(reject(
        "policy-logged-without-log",
        &["P-20"],
        "policy/unattainable",
        "a demand for logged receipts, and no log",
        &without_log,
    ));
    vectors
}

/// Good receipts that a good policy does not accept.
fn appraisals() -> Vec<Vector> {
    let local = Scenario::local();
    let rotated = accept::rotated_key();
    let root = digest("model").to_string();
    let mut vectors = apply(
        &rotated,
        vec![
            edit(
                "key-not-yet-valid",
                &["P-26"],
                "policy/key-not-yet-valid",
                "the key is accepted from a millisecond after the logged time",
                "13:40Z",
                "13:40.001Z",
            ),
            edit(
                "key-expired",
                &["P-27"],
                "policy/key-expired",
                "the key is accepted until the logged time",
                "valid_from = 2026-09-21T14:13:40Z\nvalid_until = 2026-09-21T15:00:00+00:00",
                "valid_until = 2026-09-21T16:13:40+02:00",
            ),
            edit(
                "key-revoked",
                &["P-28", "R-55"],
                "policy/key-revoked",
                "the key is revoked from the logged time on",
                "13:40.001Z",
                "13:40.000Z",
            ),
        ],
    );
    vectors.extend(apply(&local, vec![
        edit("key-revoked-and-not-logged", &["P-29"], "policy/key-revoked-unlogged", "the key is revoked a year later, and nobody but the issuer says when the receipt was made", "\n[[log]]", "revoked_from = 2027-09-21T00:00:00Z\n\n[[log]]"),
        edit("key-expired-at-statement", &["P-27"], "policy/key-expired", "the key is accepted until the statement's own time", "\n[[log]]", "valid_until = 2026-09-21T14:13:20Z\n\n[[log]]"),
        edit("model-not-accepted", &["P-32"], "policy/model", "the policy accepts another model", &root, digest("another model").to_string()),
        edit("arithmetic-not-accepted", &["P-33"], "policy/arithmetic", "the policy accepts another arithmetic", "ra-1-draft.1", "ra-1-draft.2"),
        edit("issuer-not-in-policy", &["P-25"], "policy/issuer", "the policy's only issuer has another key", &hex(key(ISSUER_KEY).public_key().as_bytes()), hex(key(2).public_key().as_bytes())),
    ]));
    vectors
}
