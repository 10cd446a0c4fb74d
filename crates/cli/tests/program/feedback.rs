//! From two raters' own homes over a node that takes ratings to what each of them has earned: used or
//! not, right or wrong about gold, capped, and computed again by an audit.
//!
//! Every stop of the node is a kill, so whatever a client was told of must be there afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Running, complaint, tally, told, told_with};

const CHALLENGE_S: u64 = 3_600;
/// What the cap leaves one account of the pool, in basis points.
const CAP_BPS: u128 = 5_000;

fn name_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

/// A node with prices, and two answers that it gave.
struct Stage {
    folder: TempDir,
    node: PathBuf,
    /// What the node answered, receipts among it.
    answers: Vec<Value>,
    /// Digests of the receipts.
    receipts: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        told(&node, &["key"]);
        let policy = node.join("split.toml");
        told(&node, &["split", "new", "--out", name_of(&policy)]);
        let prices = fs::read_to_string(&policy).unwrap();
        let prices = prices
            .replace("request = 0", "request = 1000003")
            .replace("node = 4000", "node = 3200")
            .replace("feedback = 200", "feedback = 1000")
            .replace("feedback_cap_bps = 100", &format!("feedback_cap_bps = {CAP_BPS}"))
            .replace("challenge_s = 604800", &format!("challenge_s = {CHALLENGE_S}"));
        fs::write(&policy, prices).unwrap();
        let server = Running::start(&node, &["serve"]);
        let answers: Vec<Value> = ["locks", "sorting"].map(|it| ask(&server, it)).into();
        drop(server);
        let mut stage = Self { folder, node, answers, receipts: vec![] };
        for name in ["a", "b"] {
            stage.receipts = stage.import(name);
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Keeps the answers' receipts in a rater's home; yields their digests.
    fn import(&self, rater: &str) -> Vec<String> {
        let keep = |(place, answer): (usize, &Value)| {
            let file = self.path(&format!("answer-{place}.json"));
            fs::write(&file, answer.to_string()).unwrap();
            let kept = told(&self.path(rater), &["receipt", "import", name_of(&file)]);
            kept["receipts"][0].as_str().unwrap().to_owned()
        };
        self.answers.iter().enumerate().map(keep).collect()
    }

    /// A rating by a rater of its own name, sent to a running node.
    fn give(&self, server: &Running, rater: &str, receipt: usize, score: &str) -> Value {
        let receipt = &self.receipts[receipt][..16];
        let give = ["feedback", "give", receipt, "--score", score, "--to", &server.url];
        told(&self.path(rater), &give)
    }

    /// What a client posts that lets the node sign.
    fn body(&self, receipt: usize, score: u64) -> Value {
        let tally = &self.answers[receipt]["tally"];
        json!({ "receipt": tally["id"], "openings": tally["openings"], "score": score })
    }

    fn later(&self) -> String {
        let shown = told(&self.path("a"), &["receipt", "list"]);
        let times = shown["receipts"].as_array().unwrap().iter();
        let last = times.map(|it| it["time_ms"].as_u64().unwrap()).max().unwrap();
        (last + CHALLENGE_S * 1_000).to_string()
    }

    fn pay(&self) -> Value {
        told(&self.node, &["ledger", "feedback", "--now", &self.later()])
    }

    fn earned(&self, of: &str) -> u128 {
        let shown = told(&self.node, &["ledger", "balance", "--of", of]);
        number(&shown["accounts"][0]["earned"])
    }

    fn audit(&self, status: i32) -> Value {
        let opened = self.path("a").join("receipts");
        let audit = ["ledger", "audit", "--epoch", "0", "--receipts", name_of(&opened)];
        told_with(status, &self.node, &audit)
    }
}

fn ask(server: &Running, about: &str) -> Value {
    let body = json!({
        "model": "default", "max_tokens": 8, "temperature": 0,
        "messages": [{ "role": "user", "content": format!("Tell me about {about}.") }],
    });
    let (status, answer) = post(server, "/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Posts JSON; status and body of the answer.
fn post(server: &Running, path: &str, body: &Value) -> (u16, Value) {
    let answer = server.post(path, &body.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

fn refused(server: &Running, body: &Value) -> (u16, String) {
    let (status, answer) = post(server, "/v1/feedback", body);
    (status, answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
}

#[test]
fn ratings_earn_what_use_gold_and_cap_leave_them_and_raters_verify_it_alone() {
    let stage = Stage::new();
    let gold = ["feedback", "gold", &stage.receipts[0], "--from", "80", "--to", "100"];
    assert_eq!(told(&stage.node, &gold)["rated_before"], 0);
    let given = rate(&stage);
    let listed = told(&stage.node, &["feedback", "list"]);
    assert_eq!(listed["ratings"].as_array().unwrap().len(), 6, "{listed}");

    let unused = stage.pay();
    assert_eq!((&unused["event"], &unused["payments"]), (&Value::Null, &json!([])), "{unused}");
    let pool = stage.earned("feedback");
    assert!(pool > 100_000, "two answers bring a tenth of their price: {pool}");

    let batch = stage.path("batch.jsonl");
    fs::write(&batch, "what was trained on\n").unwrap();
    // Of the right rater one of two ratings, of the others both.
    let mut used = vec!["feedback", "use", "--batch", name_of(&batch)];
    used.extend(given.iter().filter(|it| it.0 != "a" || it.1 == 0).map(|it| it.2.as_str()));
    assert_eq!(told(&stage.node, &used)["ratings"].as_array().unwrap().len(), 5);
    let again = tally(&stage.node, &used);
    assert!(complaint(&again).contains("was used before"), "{}", complaint(&again));

    let paid = stage.pay();
    let did = |rater: &str| {
        let rater = given.iter().find(|it| it.0 == rater).unwrap();
        rater.3.clone()
    };
    assert_eq!(number(&paid["pool"]), pool);
    let cap = pool * CAP_BPS / 10_000;
    let third = stage.earned(&did("a"));
    assert!(third == pool / 3 || third == pool.div_ceil(3), "{third} of {pool}");
    let payment = |account: &str| {
        let payments = paid["payments"].as_array().unwrap().iter();
        payments.filter(|it| it["account"] == account).map(|it| number(&it["amount"])).sum::<u128>()
    };
    assert_eq!(payment(&did("a")), third);
    assert_eq!(payment(&did("b")), 0, "who is wrong about gold earns nothing");
    assert_eq!(payment("commons"), cap, "the node's raters share one cap, and are nobody known");
    assert_eq!(stage.earned("feedback"), pool - third - cap);
    assert_eq!(number(&paid["paid"]), third + cap);
    let replayed = stage.pay();
    assert_eq!((&replayed["event"], stage.earned(&did("a"))), (&Value::Null, third));

    close_and_verify(&stage, &did("a"), third);
}

/// Two raters and the node rate two receipts. Who, which receipt, the rating, and the rater's name.
fn rate(stage: &Stage) -> Vec<(&'static str, usize, String, String)> {
    let server = Running::start(&stage.node, &["serve"]);
    let mut given = vec![];
    let mut note = |who, receipt, answer: &Value| {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        assert_eq!(answer["is_new"], true, "{answer}");
        given.push((who, receipt, text("rating"), text("rater")));
    };
    for (who, receipt, score) in [("a", 0, "90"), ("a", 1, "40"), ("b", 0, "10"), ("b", 1, "70")] {
        note(who, receipt, &stage.give(&server, who, receipt, score));
    }
    for (receipt, score) in [(0, 85), (1, 60)] {
        let (status, answer) = post(&server, "/v1/feedback", &stage.body(receipt, score));
        assert_eq!(status, 200, "{answer}");
        note("node", receipt, &answer);
    }
    given
}

fn close_and_verify(stage: &Stage, did: &str, amount: u128) {
    let closed = told(&stage.node, &["ledger", "epoch", "close", "--now", &stage.later()]);
    let balances = told(&stage.node, &["ledger", "balance"]);
    assert_eq!(closed["total"], balances["charged"]);
    let accounts = balances["accounts"].as_array().unwrap();
    let sum: u128 = accounts.iter().map(|it| number(&it["earned"])).sum();
    assert_eq!(sum, number(&balances["charged"]));

    let statement = stage.path("a.earnings");
    told(&stage.node, &["ledger", "statement", "--of", did, "--out", name_of(&statement)]);
    let keys = told(&stage.node, &["key"]);
    let key = keys["receipt"]["public_key"].as_str().unwrap();
    let nowhere = stage.path("no-home");
    let verified = told(&nowhere, &["ledger", "verify", name_of(&statement), "--key", key]);
    assert_eq!((&verified["satisfied"], number(&verified["amount"])), (&true.into(), amount));
    let pool = ["ledger", "claim", "--of", "feedback", "--epoch", "0"];
    let claimed = told_with(2, &stage.node, &pool);
    assert!(claimed["error"].as_str().unwrap().contains("claimed by nobody"), "{claimed}");

    let audit = stage.audit(0);
    assert_eq!((&audit["clean"], &audit["unfounded"]["count"]), (&true.into(), &0.into()));
    assert_eq!(audit["root"], audit["stated_root"]);
    // An operator that no longer shows what it paid for.
    fs::rename(stage.node.join("feedback"), stage.path("hidden")).unwrap();
    let audit = stage.audit(1);
    assert_eq!(audit["unfounded"]["count"], 1, "{audit}");
    assert_eq!(audit["closed_feedback"].as_array().unwrap().len(), 8, "{audit}");
    assert_ne!(audit["root"], audit["stated_root"]);
}

#[test]
fn only_who_holds_a_receipt_rates_it_and_only_once() {
    let stage = Stage::new();
    let server = Running::start(&stage.node, &["serve"]);
    let body = stage.body(0, 70);
    let with = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let foreign = stage.answers[1]["tally"]["openings"].clone();
    let cases = [
        (with("openings", foreign), 400, "invalid_value"),
        (with("openings", "oA".into()), 400, "invalid_value"),
        (with("openings", "?".into()), 400, "invalid_value"),
        (with("receipt", "0".repeat(32).into()), 404, "receipt_not_found"),
        (with("receipt", "0".repeat(64).into()), 404, "receipt_not_found"),
        (with("receipt", "x".into()), 400, "invalid_value"),
        (with("score", 101.into()), 400, "invalid_value"),
        (with("comment", "".into()), 400, "invalid_value"),
        (with("rating", "oA".into()), 400, "invalid_value"),
        (with("other", 1.into()), 400, "unsupported_parameter"),
        (json!({ "openings": body["openings"], "rating": "oA" }), 400, "invalid_value"),
        (json!({ "openings": body["openings"], "score": 1 }), 400, "invalid_value"),
    ];
    for (body, status, code) in cases {
        assert_eq!(refused(&server, &body), (status, code.to_owned()), "{body}");
    }
    let (_, first) = post(&server, "/v1/feedback", &body);
    let by_digest = with("receipt", stage.receipts[0].clone().into());
    let (status, second) = post(&server, "/v1/feedback", &by_digest);
    assert_eq!((status, &second["is_new"]), (200, &false.into()));
    assert_eq!((&first["rating"], &first["log_index"]), (&second["rating"], &second["log_index"]));
    assert_eq!(refused(&server, &with("score", 71.into())), (409, "rated_otherwise".into()));
    let mine = stage.give(&server, "a", 0, "50");
    assert_ne!(mine["rater"], first["rater"]);
    assert_eq!(stage.give(&server, "a", 0, "50")["rating"], mine["rating"]);
    let give = ["feedback", "give", &stage.receipts[0][..16], "--score", "51", "--to", &server.url];
    let other = told_with(2, &stage.path("a"), &give);
    assert!(other["error"].as_str().unwrap().contains("409"), "{other}");
    drop(server);

    // The node was killed: what it told is in its log, and counts after it starts again.
    let shown = told(&stage.node, &["log", "proof", first["rating"].as_str().unwrap()]);
    assert_eq!(shown["index"], first["log_index"]);
    let server = Running::start(&stage.node, &["serve"]);
    let (status, again) = post(&server, "/v1/feedback", &body);
    assert_eq!((status, &again["rating"]), (200, &first["rating"]));
}

#[test]
fn a_home_rates_what_its_own_node_answered_and_every_refusal_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (home, receipt) = (folder.path().join("home"), folder.path().join("a.receipt"));
    told(&home, &["ask", "What is a lock?", "--max-tokens", "4", "--receipt", name_of(&receipt)]);
    let give = ["feedback", "give", name_of(&receipt), "--score", "77", "--comment", "short"];
    let given = told(&home, &give);
    assert_eq!((&given["score"], &given["is_new"]), (&77.into(), &true.into()));
    assert_eq!(told(&home, &give)["is_new"], false);
    let list = told(&home, &["feedback", "list"]);
    assert_eq!(
        (&list["ratings"][0]["comment"], &list["ratings"][0]["is_used"]),
        (&"short".into(), &false.into())
    );
    let late = ["feedback", "gold", name_of(&receipt), "--from", "0", "--to", "9"];
    assert_eq!(told(&home, &late)["rated_before"], 1);

    let refusals: [(&[&str], &str); 5] = [
        (&["feedback", "give", name_of(&receipt), "--score", "78"], "already, otherwise"),
        (&["feedback", "gold", name_of(&receipt), "--from", "9", "--to", "8"], "no score"),
        (&["feedback", "use", "0000", "--digest", &"0".repeat(64)], "no rating begins"),
        (&["feedback", "use", "00", "--digest", &"0".repeat(64)], "at least 4"),
        (
            &["feedback", "gold", &"0".repeat(64), "--from", "1", "--to", "2"],
            "not in this home's log",
        ),
    ];
    for (arguments, words) in refusals {
        let refused = told_with(2, &home, arguments);
        assert!(refused["error"].as_str().unwrap().contains(words), "{refused}");
    }
    let bare = folder.path().join("bare.receipt");
    let export =
        ["receipt", "export", name_of(&receipt), "--reveal", "none", "--out", name_of(&bare)];
    told(&home, &export);
    let out = folder.path().join("rating.json");
    let other = folder.path().join("other");
    let closed = ["feedback", "give", name_of(&bare), "--score", "1", "--out", name_of(&out)];
    let refused = told_with(2, &other, &closed);
    assert!(refused["error"].as_str().unwrap().contains("opens nothing"), "{refused}");
    let open = ["feedback", "give", name_of(&receipt), "--score", "1", "--out", name_of(&out)];
    told(&other, &open);
    let body: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
    assert!(body["rating"].is_string() && body["openings"].is_string());
    assert!(body["openings"].as_str().unwrap().len() < 400, "the smallest opening suffices");
}
