//! Reject vectors of the chapter of `spec/policy.md` on form: policies that cannot be read.

use tally_core::note::SignatureType;
use tally_verifier::policy::{NAME_BYTES_MAX, POLICY_BYTES_MAX};

use super::scenario::{ISSUER_KEY, LOG_KEY, ORIGIN, OWN_KEY, Scenario, digest, key, vkey};
use super::{Vector, hex, reject};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = shapes();
    vectors.extend(fields());
    vectors.extend(names());
    vectors
}

/// A change of the home policy: the piece that is replaced and what stands there instead.
pub(super) struct Edit {
    name: &'static str,
    clauses: &'static [&'static str],
    code: &'static str,
    what: &'static str,
    from: String,
    to: String,
}

pub(super) fn edit(
    name: &'static str,
    clauses: &'static [&'static str],
    code: &'static str,
    what: &'static str,
    from: &str,
    to: impl Into<String>,
) -> Edit {
    Edit { name, clauses, code, what, from: from.to_owned(), to: to.into() }
}

pub(super) fn apply(scenario: &Scenario, edits: Vec<Edit>) -> Vec<Vector> {
    let vector = |edit: Edit| {
        let scenario = scenario.clone().with_policy(&edit.from, &edit.to);
        reject(edit.name, edit.clauses, edit.code, edit.what, &scenario)
    };
    edits.into_iter().map(vector).collect()
}

/// Size, syntax, version, unknown and missing fields.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn shapes() -> Vec<Vector> {
    let local = Scenario::local();
    let room = POLICY_BYTES_MAX - local.policy.len();
    let version = "version = 1\n";
    let vectors = vec![
        edit(
            "policy-too-large",
            &["P-1"],
            "policy/size",
            "the file is one byte above the limit",
            version,
            format!("{version}#{}\n", "x".repeat(room - 1)),
        ),
        edit(
            "policy-not-toml",
            &["P-2"],
            "policy/syntax",
            "a text lacks its closing quote",
            "name = \"own\"",
            "name = \"own",
        ),
        edit(
            "policy-field-twice",
            &["P-2"],
            "policy/syntax",
            "a field stands there twice",
            version,
            "version = 1\nversion = 1\n",
        ),
        edit(
            "policy-version",
            &["P-3"],
            "policy/version",
            "the version is 2",
            version,
            "version = 2\n",
        ),
        edit(
            "policy-without-version",
            &["P-6"],
            "policy/missing-field",
            "there is no version",
            version,
            "",
        ),
        edit(
            "policy-unknown-field",
            &["P-4"],
            "policy/unknown-field",
            "a field that does not exist",
            version,
            "version = 1\nage_maximum_s = 5\n",
        ),
        edit(
            "policy-unknown-issuer-field",
            &["P-4"],
            "policy/unknown-field",
            "an issuer has a field that does not exist",
            "[[log]]",
            "revoked = 2026-01-01T00:00:00Z\n\n[[log]]",
        ),
        edit(
            "policy-unknown-cosigner-field",
            &["P-4"],
            "policy/unknown-field",
            "a cosigner has a field that does not exist",
            "own = true",
            "self = true",
        ),
        edit(
            "policy-version-as-text",
            &["P-5"],
            "policy/type",
            "the version is a text",
            version,
            "version = \"1\"\n",
        ),
        edit(
            "policy-negative-age",
            &["P-5"],
            "policy/type",
            "the greatest age is negative",
            version,
            "version = 1\nage_max_s = -1\n",
        ),
        edit(
            "policy-own-as-number",
            &["P-5"],
            "policy/type",
            "whether a cosigner is its operator's own is a number",
            "own = true",
            "own = 1",
        ),
        edit(
            "policy-group-as-text",
            &["P-5"],
            "policy/type",
            "a list of groups holds a text",
            version,
            "version = 1\ngroup = [\"me\"]\n",
        ),
        edit(
            "policy-demands-as-text",
            &["P-5"],
            "policy/type",
            "the demands are a text",
            "[\"signed\", \"self-cosigned\"]",
            "\"signed\"",
        ),
        edit(
            "policy-demand-as-number",
            &["P-5"],
            "policy/type",
            "a demand is a number",
            "[\"signed\", \"self-cosigned\"]",
            "[\"signed\", 2]",
        ),
        edit(
            "policy-validity-as-text",
            &["P-5"],
            "policy/type",
            "a time is a text",
            "[[log]]",
            "valid_from = \"2026-01-01T00:00:00Z\"\n\n[[log]]",
        ),
        edit(
            "policy-without-issuer",
            &["P-6"],
            "policy/missing-field",
            "there is no issuer",
            "\n[[issuer]]\nname = \"this node\"\npublic_key",
            "\n#public_key",
        ),
        edit(
            "policy-attestation-section",
            &["P-7"],
            "policy/unsupported",
            "a section on attestation, which this release cannot appraise",
            "[[log]]",
            "[[attestation]]\nkind = \"tdx\"\n\n[[log]]",
        ),
        edit(
            "policy-auditor-section",
            &["P-7"],
            "policy/unsupported",
            "a section on auditors, which this release cannot appraise",
            "[[log]]",
            "[[auditor]]\nname = \"x\"\n\n[[log]]",
        ),
        edit(
            "policy-demands-attested",
            &["P-7"],
            "policy/unsupported",
            "a demand for attestation, which this release cannot appraise",
            "\"self-cosigned\"]",
            "\"attested\"]",
        ),
    ];
    let mut vectors = apply(&local, vectors);
    let models = format!("models = [\n  \"{}\",\n]\n", digest("model"));
    let missing = edit(
        "policy-without-models",
        &["P-6"],
        "policy/missing-field",
        "nothing says which models are accepted",
        &models,
        "",
    );
    vectors.extend(apply(&local, vec![missing]));
    vectors
}

/// Values of single fields.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn fields() -> Vec<Vector> {
    let local = Scenario::local();
    let version = "version = 1\n";
    let logs = "[[log]]\n".repeat(33);
    let root = digest("model").to_string();
    let issuer = hex(key(ISSUER_KEY).public_key().as_bytes());
    let log = vkey(ORIGIN, SignatureType::Ed25519, LOG_KEY).encode();
    let cosigner = vkey("cosigner.example/own", SignatureType::CosignatureV1, OWN_KEY).encode();
    let small_order = format!("01{}", "00".repeat(31));
    let with_time = |time: &str| format!("valid_from = {time}\n\n[[log]]");
    apply(
        &local,
        vec![
            edit(
                "policy-too-many-logs",
                &["P-8"],
                "policy/count",
                "33 logs",
                "[[log]]\n",
                logs.clone() + "[[log]]\n",
            ),
            edit(
                "policy-no-model",
                &["P-9"],
                "policy/empty",
                "the list of accepted models is empty",
                &format!("\n  \"{root}\",\n"),
                "",
            ),
            edit(
                "policy-model-upper-case",
                &["P-11"],
                "policy/hexadecimal",
                "a model root has capital letters",
                &root,
                root.to_uppercase(),
            ),
            edit(
                "policy-model-short",
                &["P-11"],
                "policy/hexadecimal",
                "a model root has 63 digits",
                &root,
                &root[1..],
            ),
            edit(
                "policy-some-arithmetic",
                &["P-12"],
                "policy/not-any",
                "the accepted arithmetic is a word other than `any`",
                "[\"ra-1-draft.1\"]",
                "\"ra-1-draft.1\"",
            ),
            edit(
                "policy-key-short",
                &["P-13"],
                "policy/key",
                "the issuer's key has 62 digits",
                &issuer,
                &issuer[2..],
            ),
            edit(
                "policy-key-of-small-order",
                &["P-13"],
                "policy/key",
                "the issuer's key is a point of small order",
                &issuer,
                small_order,
            ),
            edit(
                "policy-log-key-id",
                &["P-13"],
                "policy/key",
                "the log's key id is another than name and key yield",
                &log,
                log.replacen('+', "+0", 1)
                    .replacen("+0", "+", 1)
                    .replace(log.split('+').nth(1).unwrap_or_default(), "00000000"),
            ),
            edit(
                "policy-log-key-of-cosigner-type",
                &["P-13"],
                "policy/key",
                "the log's key is of the type of a cosigner",
                &log,
                vkey(ORIGIN, SignatureType::CosignatureV1, LOG_KEY).encode(),
            ),
            edit(
                "policy-cosigner-key-of-log-type",
                &["P-13"],
                "policy/key",
                "the cosigner's key is of the type of a log",
                &cosigner,
                vkey("cosigner.example/own", SignatureType::Ed25519, OWN_KEY).encode(),
            ),
            edit(
                "policy-origin-not-key-name",
                &["P-14"],
                "policy/origin",
                "the log's origin is not its key's name",
                "origin = \"log.example/one\"",
                "origin = \"log.example/two\"",
            ),
            edit(
                "policy-time-without-offset",
                &["P-16"],
                "policy/time",
                "a time has no offset",
                "[[log]]",
                with_time("2026-01-01T00:00:00"),
            ),
            edit(
                "policy-date-alone",
                &["P-16"],
                "policy/time",
                "a time is a date alone",
                "[[log]]",
                with_time("2026-01-01"),
            ),
            edit(
                "policy-time-before-1970",
                &["P-16"],
                "policy/time",
                "a time lies before 1970 in UTC",
                "[[log]]",
                with_time("1970-01-01T00:30:00+01:00"),
            ),
            edit(
                "policy-interval-empty",
                &["P-17"],
                "policy/interval",
                "a key's validity ends when it begins",
                "[[log]]",
                "valid_from = 2026-01-01T01:00:00+01:00\nvalid_until = 2026-01-01T00:00:00Z\n\n[[log]]",
            ),
            edit(
                "policy-tolerance-too-long",
                &["P-18"],
                "policy/duration",
                "the tolerance for clocks is a second above a day",
                version,
                "version = 1\nclock_tolerance_s = 86401\n",
            ),
            edit(
                "policy-age-too-long",
                &["P-18"],
                "policy/duration",
                "the greatest age is a second above a hundred years",
                version,
                "version = 1\nage_max_s = 3_155_760_001\n",
            ),
        ],
    )
}

/// Names, and keys that stand there twice.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn names() -> Vec<Vector> {
    let local = Scenario::local();
    let issuer = hex(key(ISSUER_KEY).public_key().as_bytes());
    let other = hex(key(2).public_key().as_bytes());
    let node = "\"this node\"";
    let long = format!("\"{}\"", "x".repeat(NAME_BYTES_MAX + 1));
    let second_issuer = |name: &str, key: &str| {
        format!("[[issuer]]\nname = \"{name}\"\npublic_key = \"{key}\"\n\n[[log]]")
    };
    let log = vkey(ORIGIN, SignatureType::Ed25519, 22).encode();
    let own_key = vkey("cosigner.example/two", SignatureType::CosignatureV1, OWN_KEY).encode();
    let log_as_cosigner =
        vkey("cosigner.example/own", SignatureType::CosignatureV1, LOG_KEY).encode();
    let cosigner = vkey("cosigner.example/own", SignatureType::CosignatureV1, OWN_KEY).encode();
    apply(
        &local,
        vec![
            edit(
                "policy-name-empty",
                &["P-10"],
                "policy/name",
                "an issuer's name is empty",
                node,
                "\"\"",
            ),
            edit(
                "policy-name-long",
                &["P-10"],
                "policy/name",
                "an issuer's name has 129 bytes",
                node,
                long,
            ),
            edit(
                "policy-name-control",
                &["P-10"],
                "policy/name",
                "an issuer's name holds a line feed",
                node,
                "\"this\\nnode\"",
            ),
            edit(
                "policy-issuer-name-twice",
                &["P-15"],
                "policy/duplicate",
                "two issuers have one name",
                "[[log]]",
                second_issuer("this node", &other),
            ),
            edit(
                "policy-issuer-key-twice",
                &["P-15"],
                "policy/duplicate",
                "two issuers have one key",
                "[[log]]",
                second_issuer("other node", &issuer),
            ),
            edit(
                "policy-log-twice",
                &["P-15"],
                "policy/duplicate",
                "two logs have one origin",
                "[[cosigner]]",
                format!("[[log]]\norigin = \"{ORIGIN}\"\nvkey = \"{log}\"\n\n[[cosigner]]"),
            ),
            edit(
                "policy-cosigner-key-twice",
                &["P-15"],
                "policy/duplicate",
                "one cosigner's key has two names, and could count twice",
                "[[cosigner]]",
                format!("[[cosigner]]\nname = \"two\"\nvkey = \"{own_key}\"\n\n[[cosigner]]"),
            ),
            edit(
                "policy-log-key-as-cosigner",
                &["P-15"],
                "policy/duplicate",
                "the log's key is the cosigner's too",
                &cosigner,
                log_as_cosigner,
            ),
            edit(
                "policy-demand-twice",
                &["P-15"],
                "policy/duplicate",
                "a demand stands there twice",
                "\"self-cosigned\"]",
                "\"signed\"]",
            ),
        ],
    )
}
