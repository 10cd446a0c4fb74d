//! Policies at their limits, what they say of themselves, and quorums against a count by hand.

use std::{
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use tally_core::{
    ed25519::SigningKey,
    note::{KeyName, SignatureType, VerifierKey},
};

use super::*;

fn public_key(seed: u8, second: u8) -> PublicKey {
    let mut bytes = [seed; 32];
    bytes[1] = second;
    SigningKey::from_seed(&bytes).public_key()
}

fn vkey(name: &str, kind: SignatureType, seed: u8) -> VerifierKey {
    VerifierKey::new(KeyName::parse(name).unwrap(), kind, public_key(seed, 0))
}

fn issuer(name: &str, seed: u8) -> String {
    let key: String =
        public_key(seed, 1).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[issuer]]\nname = \"{name}\"\npublic_key = \"{key}\"\n")
}

fn log(number: u8) -> String {
    let origin = format!("log.example/{number}");
    let key = vkey(&origin, SignatureType::Ed25519, number).encode();
    format!("[[log]]\norigin = \"{origin}\"\nvkey = \"{key}\"\n")
}

fn cosigner(number: u8) -> String {
    let key = vkey("cosigner.example", SignatureType::CosignatureV1, 100 + number).encode();
    format!("[[cosigner]]\nname = \"c{number}\"\nvkey = \"{key}\"\n")
}

fn head(rest: &str) -> String {
    format!("version = 1\nrequired = [\"signed\"]\nmodels = \"any\"\narithmetics = \"any\"\n{rest}")
}

fn code(text: &str) -> Option<&'static str> {
    Policy::parse(text).err().map(|error| error.code())
}

fn repeat(count: usize, item: impl Fn(u8) -> String) -> String {
    (0..count).map(|number| item(u8::try_from(number).unwrap())).collect()
}

/// A policy with one group of `count` cosigners.
fn group(threshold: &str, count: usize) -> String {
    let members: Vec<_> = (0..count).map(|number| format!("\"c{number}\"")).collect();
    let (cosigners, members) = (repeat(count, cosigner), members.join(", "));
    format!(
        "{}{}{}{cosigners}[[group]]\nname = \"g\"\nthreshold = {threshold}\nmembers = [{members}]\n",
        head("quorum = \"g\"\n"),
        issuer("i", 1),
        log(1),
    )
}

#[test]
fn lists_at_their_limit_are_read_and_one_more_is_not() {
    let one_issuer = issuer("i", 200);
    let issuers = |count| head(&repeat(count, |n| issuer(&format!("i{n}"), n)));
    let logs = |count| head(&(one_issuer.clone() + &repeat(count, log)));
    let cosigners = |count| head(&(one_issuer.clone() + &repeat(count, cosigner)));
    let groups = |count| {
        let group = |n| {
            let member = if n == 0 { "c0".to_string() } else { format!("g{}", n - 1) };
            format!("[[group]]\nname = \"g{n}\"\nthreshold = 1\nmembers = [\"{member}\"]\n")
        };
        head(&(one_issuer.clone() + &cosigner(0) + &repeat(count, group)))
    };
    let arithmetics = |count: usize| {
        let ids = vec!["\"x\""; count].join(",");
        head(&one_issuer).replace("arithmetics = \"any\"", &format!("arithmetics = [{ids}]"))
    };
    let all: [(&dyn Fn(usize) -> String, usize); 5] = [
        (&issuers, ISSUERS_MAX),
        (&logs, LOGS_MAX),
        (&cosigners, COSIGNERS_MAX),
        (&groups, GROUPS_MAX),
        (&arithmetics, ACCEPTED_MAX),
    ];
    for (text, limit) in all {
        assert_eq!(code(&text(limit)), None, "{limit}");
        assert_eq!(code(&text(limit + 1)), Some("policy/count"), "{limit}");
    }
}

#[test]
fn sizes_names_and_durations_at_their_limit_are_read_and_one_more_is_not() {
    let padded = |size: usize| {
        let text = head(&issuer("i", 1));
        let room = size - text.len() - 2;
        format!("{text}#{}\n", "x".repeat(room))
    };
    assert_eq!(code(&padded(POLICY_BYTES_MAX)), None);
    assert_eq!(code(&padded(POLICY_BYTES_MAX + 1)), Some("policy/size"));
    for (length, expected) in
        [(0, Some("policy/name")), (1, None), (128, None), (129, Some("policy/name"))]
    {
        assert_eq!(code(&head(&issuer(&"x".repeat(length), 1))), expected, "{length}");
    }
    for (field, limit) in [
        ("age_max_s", DURATION_MAX_S),
        ("logging_delay_max_s", DURATION_MAX_S),
        ("clock_tolerance_s", CLOCK_TOLERANCE_MAX_S),
    ] {
        let text = |seconds| head(&format!("{field} = {seconds}\n{}", issuer("i", 1)));
        assert_eq!(code(&text(0)), None);
        assert_eq!(code(&text(limit)), None);
        assert_eq!(code(&text(limit + 1)), Some("policy/duration"));
    }
}

#[test]
fn what_is_read_is_what_the_file_says() {
    let rest = "age_max_s = 7\nlogging_delay_max_s = 8\nclock_tolerance_s = 0x09\n";
    let times = "operator = \"o\"\nvalid_from = 1970-01-01T01:00:00.0015+01:00\n\
                 valid_until = 1970-01-01 00:00:02Z\nrevoked_from = 1970-01-01T00:00:03-00:00\n";
    let policy =
        Policy::parse(&head(&format!("{rest}{}{times}{}", issuer("i", 1), log(1)))).unwrap();
    assert_eq!(policy.age_max_ms(), Some(7_000));
    assert_eq!(policy.logging_delay_max_ms(), Some(8_000));
    assert_eq!(policy.clock_tolerance_ms(), 9_000);
    let issuer = policy.issuers().first().unwrap();
    assert_eq!(issuer.operator.as_deref(), Some("o"));
    assert_eq!(issuer.valid_from, Some(UnixTime::from_ms(1)));
    assert_eq!(issuer.valid_until, Some(UnixTime::from_ms(2_000)));
    assert_eq!(issuer.revoked_from, Some(UnixTime::from_ms(3_000)));
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.logs().first().unwrap().origin.as_str(), "log.example/1");
    assert_eq!(policy.required(), [Requirement::Signed]);
    assert!(policy.cosigners().is_empty() && policy.quorum().is_none());
    assert_eq!(policy.models(), &Accepted::Any);
    assert_eq!(policy.arithmetics(), &Accepted::Any);
    let bare = Policy::parse(&head(&super::tests::issuer("i", 1))).unwrap();
    assert_eq!(bare.clock_tolerance_ms(), 300_000);
    assert_eq!((bare.age_max_ms(), bare.logging_delay_max_ms()), (None, None));
}

#[test]
fn an_error_names_line_and_field() {
    let text = head(&(issuer("i", 1) + &log(1) + "operator = 5\n"));
    let error = Policy::parse(&text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy line 11: `log[0].operator` is of type integer, expected a text"
    );
    let text = head(&(issuer("i", 1) + &issuer("j", 2) + "opperator = \"x\"\n"));
    let error = Policy::parse(&text).unwrap_err();
    assert_eq!(error.to_string(), "policy line 11: there is no field `issuer[1].opperator`");
    let error = Policy::parse("version = 1\n\nrequired = [\n").unwrap_err();
    assert!(matches!(error, PolicyError::Syntax { line: 3 | 4, .. }), "{error}");
    let missing = head("[[issuer]]\nname = \"i\"\n");
    let error = Policy::parse(&missing).unwrap_err();
    assert_eq!(error.to_string(), "policy line 5: `issuer[0].public_key` is missing");
    let times = "valid_from = 2026-01-01T00:00:00Z\nvalid_until = 2026-01-01T00:00:00Z\n";
    let error = Policy::parse(&head(&(issuer("i", 1) + times))).unwrap_err();
    assert_eq!(error.to_string(), "policy line 5: `issuer[0].valid_until` ends before it begins");
    let empty = head(&(issuer("i", 1) + "[[group]]\nname = \"g\"\nthreshold = 1\nmembers = []\n"));
    assert_eq!(
        Policy::parse(&empty).unwrap_err().to_string(),
        "policy line 8: `group[0].members` is empty"
    );
}

#[test]
fn thresholds_of_a_third_to_all_are_read_and_their_neighbours_are_not() {
    for (count, lowest) in
        [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3), (10, 4), (64, 22)]
    {
        for (threshold, expected) in [
            (lowest - 1, Some("policy/threshold")),
            (lowest, None),
            (count, None),
            (count + 1, Some("policy/threshold")),
        ] {
            let text = group(&threshold.to_string(), count);
            assert_eq!(code(&text), expected, "{threshold} of {count}");
        }
        assert_eq!(code(&group("\"all\"", count)), None);
        assert_eq!(code(&group("\"any\"", count)).is_none(), lowest == 1);
    }
}

#[test]
fn a_group_vouches_from_its_threshold_on_at_the_second_smallest_time_of_four() {
    let policy = Policy::parse(&group("2", 4)).unwrap();
    let quorum = policy.quorum().unwrap();
    let at = |times: [u64; 4]| {
        quorum.time(&times.map(|ms| (ms != 0).then(|| UnixTime::from_ms(ms)))).map(UnixTime::as_ms)
    };
    assert_eq!(at([0, 0, 0, 0]), None);
    assert_eq!(at([0, 0, 0, 9]), None);
    assert_eq!(at([7, 0, 0, 9]), Some(9));
    assert_eq!(at([9, 8, 7, 6]), Some(7));
    assert_eq!(at([5, 5, 7, 6]), Some(5));
    assert_eq!(quorum.time(&[]), None);
    assert_eq!(quorum.cosigners(), [0, 1, 2, 3]);
    assert_eq!(quorum.to_string(), "2 of 4 (c0, c1, c2, c3)");
    assert!(matches!(quorum.root(), Member::Group { threshold: 2, .. }));
}

#[test]
fn the_time_of_seven_withstands_two_liars() {
    let policy = Policy::parse(&group("5", 7)).unwrap();
    let times = [1, 1, 50, 60, 70, 80, 90].map(|ms| Some(UnixTime::from_ms(ms)));
    assert_eq!(policy.quorum().unwrap().time(&times), Some(UnixTime::from_ms(50)));
}

#[test]
fn a_cosigner_of_an_issuers_or_logs_operator_is_its_own() {
    let text = |operator: &str| {
        head(&format!(
            "{}operator = \"I\"\n{}operator = \"L\"\n{}operator = \"{operator}\"\n",
            issuer("i", 1),
            log(1),
            cosigner(1)
        ))
    };
    for (operator, is_own) in [("I", true), ("L", true), ("C", false)] {
        let policy = Policy::parse(&text(operator)).unwrap();
        assert_eq!(policy.cosigners().first().unwrap().is_own, is_own, "{operator}");
    }
    let not_own = head(&(issuer("i", 1) + &cosigner(1) + "own = false\n"));
    assert!(!Policy::parse(&not_own).unwrap().cosigners().first().unwrap().is_own);
}

#[test]
fn a_single_independent_cosigner_can_be_the_quorum() {
    let text = head(&format!("quorum = \"c1\"\n{}{}{}", issuer("i", 1), log(1), cosigner(1)));
    let text = text.replace("[\"signed\"]", "[\"self-cosigned\", \"logged\", \"signed\"]");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(
        policy.quorum().unwrap().time(&[Some(UnixTime::from_ms(3))]),
        Some(UnixTime::from_ms(3))
    );
    assert_eq!(policy.quorum().unwrap().to_string(), "c1");
    let [first, second, third] = policy.required() else { panic!("three demands") };
    assert_eq!([first.word(), second.word(), third.word()], ["self-cosigned", "logged", "signed"]);
    assert_eq!(third.to_string(), "signed");
}

#[test]
fn a_policy_says_what_it_trusts_demands_and_leaves_open() {
    let text = group("3", 4)
        .replace("[\"signed\"]", "[\"signed\", \"logged\"]")
        .replace("name = \"c1\"", "name = \"c1\"\noperator = \"University\"");
    let policy = Policy::parse(&text).unwrap();
    let key = policy.issuers().first().unwrap().key_id;
    assert_eq!(
        policy.describe(),
        [
            "demands signed: the signature of a trusted issuer",
            "demands logged: inclusion in a trusted log, cosigned by the quorum of independent cosigners",
            &format!("trusts issuer `i`, key {key}"),
            "trusts log `log.example/1`",
            "knows cosigner `c0`, independent",
            "knows cosigner `c1` run by `University`, independent",
            "knows cosigner `c2`, independent",
            "knows cosigner `c3`, independent",
            "counts as logged what is cosigned by 3 of 4 (c0, c1, c2, c3)",
            "fewer than 2 lying cosigners cannot hide a second history",
            "accepts models: any",
            "accepts arithmetic: any",
            "accepts receipts of any age",
            "accepts any time from statement to log",
            "tolerates a difference of 5 minutes between clocks",
        ]
    );
}

#[test]
fn a_policy_says_how_many_lying_cosigners_its_quorum_withstands() {
    let described = |text: &str| Policy::parse(text).unwrap().describe().join("\n");
    let single = "a single cosigner that lies could hide";
    let none = "two quorums need not share a cosigner";
    assert!(described(&group("2", 4)).contains(none));
    assert!(described(&group("1", 1)).contains(single));
    assert!(described(&group("2", 3)).contains(single));
    assert!(described(&group("5", 7)).contains("fewer than 3 lying cosigners cannot"));
    let nested = group("3", 4).replace("quorum = \"g\"", "quorum = \"h\"")
        + "[[group]]\nname = \"h\"\nthreshold = 1\nmembers = [\"g\"]\n";
    let nested = described(&nested);
    assert!(nested.contains("1 of 1 (3 of 4 (c0, c1, c2, c3))"));
    assert!(!nested.contains("history") && !nested.contains("share"));
    let cosigner_alone = group("3", 3).replace("quorum = \"g\"", "quorum = \"c9\"").replacen(
        "[[cosigner]]",
        &format!("{}[[cosigner]]", cosigner(9)),
        1,
    );
    assert!(described(&cosigner_alone).contains(single));
}

#[test]
fn a_policy_with_every_field_describes_them() {
    let text = head(
        &("age_max_s = 86400\nlogging_delay_max_s = 60\nclock_tolerance_s = 1\n".to_string()
            + &issuer("i", 1)
            + "operator = \"I\"\nvalid_from = 2026-01-01T00:00:00Z\nvalid_until = 2027-01-01T00:00:00Z\n\
               revoked_from = 2026-06-01T00:00:00Z\n"
            + &log(1)
            + &cosigner(1)
            + "own = true\n"),
    )
    .replace("[\"signed\"]", "[\"signed\", \"self-cosigned\"]")
    .replace("arithmetics = \"any\"", "arithmetics = [\"a\", \"b\"]");
    let described = Policy::parse(&text).unwrap().describe().join("\n");
    for line in [
        "demands self-cosigned: inclusion in a trusted log, cosigned at least by the operator's own cosigner",
        "trusts issuer `i` run by `I`, key ",
        ", from 2026-01-01T00:00:00Z, until 2027-01-01T00:00:00Z, revoked from 2026-06-01T00:00:00Z\n",
        "knows cosigner `c1`, the operator's own",
        "has no quorum: no receipt counts as logged",
        "accepts arithmetic: a, b\n",
        "accepts receipts no older than 1 day\n",
        "accepts at most 1 minute from statement to log\n",
        "tolerates a difference of 1 second between clocks",
    ] {
        assert!(described.contains(line), "{line}\n{described}");
    }
}

#[test]
fn a_home_policy_is_read_back_with_any_name() {
    for name in ["node", "a \"quoted\" \\ name", "größer"] {
        let log = vkey("log.example/\"x\"", SignatureType::Ed25519, 1);
        let cosigner = vkey("cosigner.example", SignatureType::CosignatureV1, 2);
        let models = [Digest::from_bytes([7; 32]), Digest::from_bytes([8; 32])];
        let text = HomePolicy {
            issuer_name: name,
            issuer_key: &public_key(3, 0),
            log: &log,
            cosigner: &cosigner,
            models: &models,
            arithmetics: &["a", "b"],
        }
        .encode();
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.issuers().first().unwrap().name, name);
        assert_eq!(policy.issuers().first().unwrap().key, public_key(3, 0));
        assert_eq!(policy.logs().first().unwrap().key, log);
        assert_eq!(policy.cosigners().first().unwrap().key, cosigner);
        assert!(policy.cosigners().first().unwrap().is_own);
        assert_eq!(policy.models(), &Accepted::Listed(models.to_vec()));
        assert_eq!(policy.arithmetics(), &Accepted::Listed(vec!["a".into(), "b".into()]));
        assert!(
            policy.requires(Requirement::SelfCosigned) && !policy.requires(Requirement::Logged)
        );
    }
    // Control characters are quoted, and then refused as names.
    let text = HomePolicy {
        issuer_name: "a\nb",
        issuer_key: &public_key(3, 0),
        log: &vkey("log.example", SignatureType::Ed25519, 1),
        cosigner: &vkey("cosigner.example", SignatureType::CosignatureV1, 2),
        models: &[],
        arithmetics: &["a"],
    }
    .encode();
    assert!(text.contains("name = \"a\\u000Ab\"\n"));
    assert_eq!(code(&text), Some("policy/name"));
}
