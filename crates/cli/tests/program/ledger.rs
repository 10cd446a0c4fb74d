//! From three contributors' own homes over an answer that repeats their words to statements of
//! earnings that each of them verifies alone; and what an audit finds where an operator cheats.
//!
//! The texts are cut from an answer that the model gave before, so that the second answer repeats
//! them for certain: this tests the accounting, and says nothing of how often answers quote.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Running, tally, told, told_with};

/// The tariff's price of a request; tokens cost more.
const REQUEST: u64 = 1_000;
/// Seconds for which a receipt can be disputed.
const CHALLENGE_S: u64 = 3_600;
const QUESTION: &str = "Tell me about sorting algorithms.";
const TOKENS: &str = "40";

fn number(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

fn name_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A node, three contributors with homes of their own, and an answer that repeats them.
struct Stage {
    folder: TempDir,
    node: PathBuf,
    /// The contributors' names.
    dids: Vec<String>,
    key: String,
    log: String,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        let opened = folder.path().join("opened");
        fs::create_dir_all(&opened).unwrap();
        let first = opened.join("before-there-were-prices.receipt");
        let ask = [&ask_arguments()[..], &["--receipt", name_of(&first)]].concat();
        let words = told(&node, &ask)["text"].as_str().unwrap().to_owned();
        let dids = contribute(folder.path(), &node, &words);
        let policy = node.join("split.toml");
        told(&node, &["split", "new", "--out", name_of(&policy)]);
        let prices = fs::read_to_string(&policy).unwrap();
        let prices = prices
            .replace("request = 0", &format!("request = {REQUEST}"))
            .replace("output_token = 0", "output_token = 100003")
            .replace("challenge_s = 604800", &format!("challenge_s = {CHALLENGE_S}"));
        fs::write(&policy, prices).unwrap();
        let keys = told(&node, &["key"]);
        let key = keys["receipt"]["public_key"].as_str().unwrap().to_owned();
        let log = keys["log"]["vkey"].as_str().unwrap().to_owned();
        Self { folder, node, dids, key, log }
    }

    /// Asks again; the receipt is kept in the folder of opened receipts. Returns what was said of it.
    fn ask(&self, name: &str) -> Value {
        let receipt = self.path("opened").join(format!("{name}.receipt"));
        let mut arguments = ask_arguments();
        arguments.extend(["--receipt", name_of(&receipt)]);
        told(&self.node, &arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ledger(&self, arguments: &[&str]) -> Value {
        self.ledger_with(0, arguments)
    }

    fn ledger_with(&self, status: i32, arguments: &[&str]) -> Value {
        let mut all = vec!["ledger"];
        all.extend(arguments);
        told_with(status, &self.node, &all)
    }

    fn audit_with(&self, status: i32) -> Value {
        let opened = self.path("opened");
        self.ledger_with(status, &["audit", "--epoch", "0", "--receipts", name_of(&opened)])
    }

    /// When the home's receipts were issued, in milliseconds, newest first.
    fn times(&self) -> Vec<u64> {
        let shown = told(&self.node, &["receipt", "list"]);
        let times = shown["receipts"].as_array().unwrap().iter();
        times.map(|it| it["time_ms"].as_u64().unwrap()).collect()
    }

    /// A time at which nothing that was asked until now can be disputed any more.
    fn later(&self) -> String {
        (self.times()[0] + CHALLENGE_S * 1_000).to_string()
    }
}

fn ask_arguments() -> Vec<&'static str> {
    vec!["ask", QUESTION, "--max-tokens", TOKENS, "--temperature", "0"]
}

/// Three contributors sign a third of the words each, with words of their own around; the node
/// registers them with their texts. Returns the contributors' names.
fn contribute(folder: &Path, node: &Path, words: &str) -> Vec<String> {
    let characters: Vec<char> = words.chars().collect();
    let len = characters.len() / 3;
    assert!(len >= 40, "the answer is too short to be cut: {words}");
    let cut = |(number, part): (usize, &[char])| {
        let part: String = part.iter().collect();
        let home = folder.join(format!("contributor-{number}"));
        let texts = folder.join(format!("essay-{number}.txt"));
        fs::write(&texts, format!("Essay {number} begins. {part} And so it ends.")).unwrap();
        let manifest = folder.join(format!("essay-{number}.contribution"));
        let name = format!("Essay {number}");
        let arguments = ["contribute", "dataset", name_of(&texts), "--name", &name];
        let signed = [&arguments[..], &["--licence", "CC-BY-4.0", "--out", name_of(&manifest)]];
        let signed = told(&home, &signed.concat());
        told(node, &["register", name_of(&manifest), "--texts", name_of(&texts)]);
        signed["contributor"].as_str().unwrap().to_owned()
    };
    characters.chunks(len).take(3).enumerate().map(cut).collect()
}

#[test]
fn what_answers_charge_reaches_those_whose_words_they_repeat_and_each_verifies_it_alone() {
    let stage = Stage::new();
    let charged: u128 = ["first", "second"].map(|name| verify_answer(&stage, name)).iter().sum();
    assert_nothing_is_posted_early(&stage, charged);

    let closed = stage.ledger(&["epoch", "close", "--now", &stage.later()]);
    assert_eq!(closed["settled"]["posted"], 2, "{closed}");
    assert_eq!((closed["epoch"].as_u64(), number(&closed["total"])), (Some(0), charged));
    let balances = stage.ledger(&["balance"]);
    assert_eq!(number(&balances["charged"]), charged);
    let accounts = balances["accounts"].as_array().unwrap();
    let sum: u128 = accounts.iter().map(|it| number(&it["earned"])).sum();
    assert_eq!(sum, charged, "balances are not what was charged: {balances}");

    let (record, proof) = publish(&stage, &closed);
    for did in &stage.dids {
        let path = state(&stage, did);
        assert_statement_verifies_alone(&stage, did, &path, &record, &proof);
        assert_a_claim_is_booked_once(&stage, did);
    }
    let paid = stage.ledger(&["balance"]);
    let accounts = paid["accounts"].as_array().unwrap();
    assert!(number(&paid["paid"]) > 0);
    assert_eq!(accounts.iter().map(|it| number(&it["earned"])).sum::<u128>(), charged);

    let audit = stage.audit_with(0);
    assert_eq!((audit["clean"].as_bool(), audit["opened"].as_u64()), (Some(true), Some(2)));
    assert_eq!((number(&audit["total"]), &audit["root"]), (charged, &audit["stated_root"]));
    let again = stage.ledger(&["settle", "--now", &stage.later()]);
    assert_eq!((again["booked"].as_u64(), again["posted"].as_u64()), (Some(0), Some(0)));
}

/// Asks, verifies the receipt with span proofs of every word, and returns what it charges.
fn verify_answer(stage: &Stage, name: &str) -> u128 {
    let answer = stage.ask(name);
    let receipt = stage.path("opened").join(format!("{name}.receipt"));
    assert_eq!(told(&stage.node, &["verify", name_of(&receipt)])["satisfied"], true);
    let proved = stage.path(&format!("{name}-proved"));
    let traced = told(&stage.node, &["trace", name_of(&receipt), "--prove", name_of(&proved)]);
    for did in &stage.dids {
        let sources = traced["sources"].as_array().unwrap();
        assert!(sources.iter().any(|it| it["contributor"] == *did), "{did}: {traced}");
    }
    let verified = told(&stage.node, &["verify", name_of(&proved)]);
    let is_shown = |it: &Value| it["code"] == "spans";
    assert!(verified["established"].as_array().unwrap().iter().any(is_shown), "{verified}");
    let amount = traced["price"]["amount"].as_u64().unwrap();
    let tokens = answer["output_tokens"].as_u64().unwrap();
    assert_eq!(amount, REQUEST + tokens * 100_003);
    let transfers = traced["price"]["transfers"].as_array().unwrap();
    let sum: u64 = transfers.iter().map(|it| it["amount"].as_u64().unwrap()).sum();
    assert_eq!(sum, amount);
    amount.into()
}

fn assert_nothing_is_posted_early(stage: &Stage, charged: u128) {
    let settled = stage.ledger(&["settle"]);
    assert_eq!((settled["booked"].as_u64(), settled["posted"].as_u64()), (Some(2), Some(0)));
    let balances = stage.ledger(&["balance"]);
    assert_eq!((number(&balances["pending"]), number(&balances["charged"])), (charged, 0));
    // The last second in which even the older of the two can be disputed.
    let early = ((stage.times()[1] / 1_000 + CHALLENGE_S - 1) * 1_000 + 999).to_string();
    assert_eq!(stage.ledger(&["settle", "--now", &early])["posted"], 0);
    assert!(stage.ledger(&["epoch", "list"])["epochs"].as_array().unwrap().is_empty());
}

/// Writes the record and the log's proof of it, as others get them.
fn publish(stage: &Stage, closed: &Value) -> (PathBuf, PathBuf) {
    let (record, proof) = (stage.path("0.epoch"), stage.path("0.proof"));
    stage.ledger(&["epoch", "show", "0", "--out", name_of(&record)]);
    let digest = closed["record_digest"].as_str().unwrap();
    let shown = told(&stage.node, &["log", "proof", digest]);
    assert_eq!(shown["index"], closed["log_index"]);
    fs::write(&proof, shown["proof"].as_str().unwrap()).unwrap();
    (record, proof)
}

fn state(stage: &Stage, did: &str) -> PathBuf {
    let path = stage.path(&format!("{}.earnings", &did[12..20]));
    stage.ledger(&["statement", "--of", did, "--out", name_of(&path)]);
    path
}

fn assert_statement_verifies_alone(
    stage: &Stage,
    did: &str,
    path: &Path,
    record: &Path,
    proof: &Path,
) {
    let nowhere = stage.path("no-home");
    let verify = ["ledger", "verify", name_of(path), "--key", &stage.key];
    let alone = told(&nowhere, &verify);
    assert_eq!((&alone["account"], &alone["satisfied"]), (&Value::from(did), &Value::Bool(true)));
    assert!(number(&alone["amount"]) > 0);
    assert_eq!(alone["established"].as_array().unwrap().len(), 2);
    let logged = ["--record", name_of(record), "--proof", name_of(proof), "--log", &stage.log];
    let logged = told(&nowhere, &[&verify[..], &logged].concat());
    assert_eq!(logged["established"].as_array().unwrap().len(), 4);
    assert!(!nowhere.exists(), "to verify takes no home");

    let other = told(&stage.path("contributor-0"), &["key"]);
    let other = other["receipt"]["public_key"].as_str().unwrap().to_owned();
    let foreign = ["ledger", "verify", name_of(path), "--key", &other];
    assert_eq!(told_with(1, &nowhere, &foreign)["satisfied"], false);
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    let changed = stage.path("changed.earnings");
    fs::write(&changed, &bytes).unwrap();
    let changed = tally(&nowhere, &["ledger", "verify", name_of(&changed), "--key", &stage.key]);
    assert_ne!(changed.status.code(), Some(0));
}

fn assert_a_claim_is_booked_once(stage: &Stage, did: &str) {
    let claim = ["claim", "--of", did, "--epoch", "0"];
    let first = stage.ledger(&claim);
    let after = stage.ledger(&["balance", "--of", did]);
    let second = stage.ledger(&claim);
    assert_eq!((&first["is_new"], &second["is_new"]), (&true.into(), &false.into()));
    assert_eq!(first["amount"], second["amount"]);
    assert_eq!(after, stage.ledger(&["balance", "--of", did]));
    assert_eq!(after["accounts"][0]["paid"], first["amount"]);
    assert_eq!(after["accounts"][0]["due"], "0");
}

#[test]
fn an_audit_names_receipts_that_were_left_out_and_those_that_nobody_opened() {
    let stage = Stage::new();
    let omitted = stage.ask("omitted");
    // An operator that forgets what it owes: what is kept for the ledger is gone before it settles.
    fs::remove_file(stage.node.join("statements")).unwrap();
    let unopened = stage.ask("unopened");
    let whole = stage.path("opened").join("unopened.receipt");
    let bare = stage.path("bare.receipt");
    let arguments =
        ["receipt", "export", name_of(&whole), "--reveal", "none", "--out", name_of(&bare)];
    told(&stage.node, &arguments);
    stage.ledger(&["epoch", "close", "--now", &stage.later()]);

    let found = |audit: &Value, name: &str| audit[name]["log_indices"].clone();
    let index = |answer: &Value| Value::from(vec![answer["log_index"].clone()]);
    let audit = stage.audit_with(1);
    assert_eq!(found(&audit, "omitted"), index(&omitted), "{audit}");
    assert_eq!(audit["unopened"]["count"], 0);
    assert_ne!(audit["root"], audit["stated_root"]);
    fs::rename(&bare, &whole).unwrap();
    let audit = stage.audit_with(1);
    assert_eq!(found(&audit, "omitted"), index(&omitted));
    assert_eq!(found(&audit, "unopened"), index(&unopened), "{audit}");
    assert!(number(&audit["unopened_amount"]) > 0);
}

#[test]
fn a_receipt_that_is_taken_back_counts_for_nobody_pending_or_posted() {
    let stage = Stage::new();
    let receipts = ["pending", "posted", "kept"].map(|name| stage.ask(name));
    let [pending, posted, kept] = receipts.each_ref().map(|it| &it["receipt_digest"]);
    let digits = |digest: &Value| digest.as_str().unwrap()[..12].to_owned();
    stage.ledger(&["settle"]);
    let voided = stage.ledger(&["void", &digits(pending), "--reason", "replay differs"]);
    assert_eq!((&voided["was_posted"], &voided["is_new"]), (&false.into(), &true.into()));
    stage.ledger(&["settle", "--now", &stage.later()]);
    let before = number(&stage.ledger(&["balance"])["charged"]);
    let corrected = stage.ledger(&["void", &digits(posted), "--reason", "replay differs"]);
    assert_eq!(corrected["was_posted"], true);
    let after = stage.ledger(&["balance"]);
    assert_eq!(number(&after["charged"]) * 2, before, "both answers cost the same");
    let again = stage.ledger(&["void", &digits(posted), "--reason", "replay differs"]);
    assert_eq!(again["is_new"], false);
    let other = stage.ledger_with(2, &["void", &digits(posted), "--reason", "another"]);
    assert!(other["error"].as_str().unwrap().contains("was taken back for reason"), "{other}");
    let reason = voided["reason_digest"].as_str().unwrap();
    let words = stage.node.join(format!("reasons/{reason}.txt"));
    assert_eq!(fs::read_to_string(words).unwrap(), "replay differs");

    stage.ledger(&["epoch", "close", "--now", &stage.later()]);
    let audit = stage.audit_with(0);
    assert_eq!((audit["voided"]["count"].as_u64(), audit["free"].as_u64()), (Some(2), Some(1)));
    assert_eq!(audit["root"], audit["stated_root"], "the kept receipt {kept} alone counts");
}

#[test]
fn what_a_served_answer_owes_is_there_after_the_node_is_killed() {
    let stage = Stage::new();
    let body = format!(
        r#"{{"model":"default","max_tokens":{TOKENS},"temperature":0,"messages":[{{"role":"user","content":"{QUESTION}"}}]}}"#
    );
    let answer = {
        let server = Running::start(&stage.node, &["serve"]);
        // Dropping it kills it, with no time to clear up.
        server.post("/v1/chat/completions", &body)
    };
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let settled = stage.ledger(&["settle"]);
    assert_eq!(settled["booked"], 1, "{settled}");
    let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
    let pending = number(&stage.ledger(&["balance"])["pending"]);
    assert_eq!(pending, u128::from(REQUEST + tokens * 100_003));
}

#[test]
fn looking_at_a_ledger_makes_none_and_every_refusal_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let refused = told_with(2, &home, &["ledger", "balance"]);
    assert!(refused["hint"].is_string(), "{refused}");
    assert!(!home.exists());
    told(&home, &["key"]);
    for arguments in [&["ledger", "balance"][..], &["ledger", "epoch", "list"]] {
        let refused = told_with(2, &home, arguments);
        assert!(refused["hint"].as_str().unwrap().contains("tally ledger settle"), "{refused}");
    }
    assert!(!home.join("ledger.redb").exists());
    let settled = told(&home, &["ledger", "settle"]);
    assert_eq!(settled["booked"], 0);
    let nothing = told_with(2, &home, &["ledger", "epoch", "close"]);
    assert!(nothing["error"].as_str().unwrap().contains("nothing to close"), "{nothing}");
    let refused = told_with(2, &home, &["ledger", "epoch", "show"]);
    assert!(refused["hint"].as_str().unwrap().contains("epoch close"), "{refused}");
    let unknown = ["ledger", "void", &"0".repeat(64), "--reason", "x"];
    let refused = told_with(2, &home, &unknown);
    assert!(refused["error"].as_str().unwrap().ends_with("is not booked"), "{refused}");
    assert!(refused["hint"].is_string());
    let refused = told_with(2, &home, &["ledger", "void", "abc", "--reason", "x"]);
    assert!(refused["error"].as_str().unwrap().contains("at least 4"), "{refused}");
}

#[test]
fn nothing_is_answered_for_a_price_that_the_book_could_never_take_in() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    told(&home, &["key"]);
    told(&home, &["ledger", "settle"]);
    let policy = home.join("split.toml");
    told(&home, &["split", "new", "--out", name_of(&policy)]);
    let free = fs::read_to_string(&policy).unwrap().replace("asset = \"USD\"", "asset = \"EUR\"");
    fs::write(&policy, &free).unwrap();
    let ask = ["ask", QUESTION, "--max-tokens", "2"];
    told(&home, &ask);
    fs::write(&policy, free.replace("request = 0", "request = 1")).unwrap();
    let entries = told(&home, &["log", "fsck"])["entries"].clone();
    let refused = told_with(2, &home, &ask);
    assert!(refused["error"].as_str().unwrap().contains("asset"), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("another home"), "{refused}");
    assert_eq!(told(&home, &["log", "fsck"])["entries"], entries, "nothing was logged");
}
