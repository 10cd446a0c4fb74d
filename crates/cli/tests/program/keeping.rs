//! Receipts that are kept, handed on and forgotten, and policies, as the program handles them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::common::{Running, complaint, tally, text};

/// Asks something and returns the digest of its receipt, which the home keeps.
fn ask(home: &Path, question: &str) -> String {
    let output = tally(home, &["ask", question, "--max-tokens", "4", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    told["receipt_digest"].as_str().unwrap().to_owned()
}

#[test]
fn kept_receipts_are_listed_newest_first_and_named_by_the_beginning_of_their_digest() {
    let home = tempfile::tempdir().unwrap();
    let empty = tally(home.path(), &["receipt", "list"]);
    assert_eq!(empty.status.code(), Some(2), "there is no home yet");
    let [first, second] = ["What is a lock?", "What is a table?"].map(|it| ask(home.path(), it));
    let listed = tally(home.path(), &["receipt", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let digests: Vec<_> = listed["receipts"].as_array().unwrap().iter().collect();
    assert_eq!(digests[0]["receipt_digest"], second.as_str());
    assert_eq!(digests[1]["receipt_digest"], first.as_str());
    assert_eq!(digests[0]["model"], "default");
    let shown = text(&tally(home.path(), &["receipt", "list", "--limit", "1"]));
    assert!(shown.contains(&second[..16]) && shown.contains("and 1 older"), "{shown}");
    for command in ["verify", "replay", "inspect"] {
        let output = tally(home.path(), &[command, &first[..12]]);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", complaint(&output));
    }
    let id = digests[0]["id"].as_str().unwrap();
    assert_eq!(tally(home.path(), &["verify", &id[..12]]).status.code(), Some(0));
    let unknown = tally(home.path(), &["verify", "00000000000000000000"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(complaint(&unknown).contains("tally receipt list"), "{}", complaint(&unknown));
}

#[test]
fn what_is_no_receipt_is_named_and_hides_nothing() {
    let home = tempfile::tempdir().unwrap();
    let digest = ask(home.path(), "What is a lock?");
    fs::write(home.path().join("receipts/broken.receipt"), "not a receipt").unwrap();
    let output = tally(home.path(), &["receipt", "list"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains(&digest[..16]));
    assert!(complaint(&output).contains("broken.receipt"), "{}", complaint(&output));
}

#[test]
fn the_words_are_shown_and_each_field_is_printed_byte_for_byte() {
    let home = tempfile::tempdir().unwrap();
    let digest = ask(home.path(), "What is a lock?");
    let shown = text(&tally(home.path(), &["receipt", "show", &digest]));
    assert!(shown.contains("user: What is a lock?"), "{shown}");
    let request = tally(home.path(), &["receipt", "show", &digest, "--field", "request"]);
    let request: Value = serde_json::from_slice(&request.stdout).unwrap();
    assert_eq!(request["messages"][0]["content"], "What is a lock?");
    let seed = tally(home.path(), &["receipt", "show", &digest, "--field", "seed"]);
    assert_eq!(seed.stdout.len(), 32);
    let none = tally(home.path(), &["receipt", "show", &digest, "--field", "controls"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(complaint(&none).contains("does not open its controls"), "{}", complaint(&none));
}

#[test]
fn a_copy_reveals_what_was_chosen_and_still_verifies() {
    let home = tempfile::tempdir().unwrap();
    let digest = ask(home.path(), "What is a lock?");
    let export = |reveal: &str, name: &str| {
        let out = home.path().join(name);
        let arguments =
            ["receipt", "export", &digest, "--reveal", reveal, "--out", out.to_str().unwrap()];
        (tally(home.path(), &arguments), out)
    };
    let words = b"What is a lock?";
    let holds =
        |path: &Path| fs::read(path).unwrap().windows(words.len()).any(|window| window == words);
    let (output, bare) = export("none", "bare.receipt");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert!(!holds(&bare));
    let bare = bare.to_str().unwrap();
    assert_eq!(tally(home.path(), &["verify", bare]).status.code(), Some(0));
    assert_eq!(tally(home.path(), &["replay", bare]).status.code(), Some(2));
    let (output, part) = export("request,response", "part.receipt");
    assert!(
        text(&output).contains("hides    input, seed, output, attribution\n"),
        "{}",
        text(&output)
    );
    assert!(holds(&part));
    let mode = fs::metadata(&part).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = text(&tally(home.path(), &["receipt", "show", part.to_str().unwrap()]));
    assert!(shown.contains("user: What is a lock?"), "{shown}");
    let (output, whole) = export("all", "whole.receipt");
    assert_eq!(output.status.code(), Some(0));
    let whole = whole.to_str().unwrap();
    assert_eq!(tally(home.path(), &["replay", whole]).status.code(), Some(0));
    let (again, _) = export("all", "whole.receipt");
    assert_eq!(again.status.code(), Some(2), "an existing file stays");
    let (closed, path) = export("controls", "closed.receipt");
    assert_eq!(closed.status.code(), Some(2));
    assert!(!path.exists());
    assert_eq!(export("words", "x.receipt").0.status.code(), Some(2), "no such field");
}

#[test]
fn forgetting_takes_a_yes_and_leaves_nothing_of_the_words() {
    let home = tempfile::tempdir().unwrap();
    let [first, second] = ["What is a lock?", "What is a table?"].map(|it| ask(home.path(), it));
    let path = |digest: &str| home.path().join(format!("receipts/{}.receipt", &digest[..16]));
    fs::copy(path(&first), home.path().join("receipts/again.receipt")).unwrap();
    let asked = tally(home.path(), &["receipt", "forget", &first]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(path(&first).exists() && complaint(&asked).contains("--yes"));
    let done = tally(home.path(), &["receipt", "forget", &first, "--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    assert!(!path(&first).exists());
    assert!(!home.path().join("receipts/again.receipt").exists(), "the copy goes as well");
    let unknown = tally(home.path(), &["receipt", "forget", &second, &first, "--yes"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(path(&second).exists(), "all are found before any is erased");
    let words = tally(home.path(), &["receipt", "forget", &second, "--words-only", "--yes"]);
    assert_eq!(words.status.code(), Some(0));
    assert_eq!(tally(home.path(), &["verify", &second]).status.code(), Some(0));
    let shown = text(&tally(home.path(), &["receipt", "show", &second]));
    assert!(shown.contains("opens nothing") && !shown.contains("What is a table?"), "{shown}");
    let left = Command::new("grep")
        .args(["-rlE", "What is a (lock|table)\\?"])
        .arg(home.path())
        .output()
        .unwrap();
    assert_eq!(text(&left), "", "the words are nowhere else in the home");
}

#[test]
fn inspect_and_verify_draw_the_ladder_and_colour_needs_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let digest = ask(home.path(), "What is a lock?");
    let judged = text(&tally(home.path(), &["verify", &digest]));
    for line in ["✓ signed ", "✓ self-cosigned ", "– logged ", "– attested ", "– replayed "]
    {
        assert!(judged.contains(line), "{line} in {judged}");
    }
    let unjudged = text(&tally(home.path(), &["inspect", &digest]));
    for line in ["? signed ", "? logged ", "– proved ", "? replayed "] {
        assert!(unjudged.contains(line), "{line} in {unjudged}");
    }
    assert!(!unjudged.contains('✓'), "nothing is established by reading");
    assert!(!judged.contains('\u{1b}') && !unjudged.contains('\u{1b}'));
}

#[test]
fn a_strangers_node_is_trusted_by_its_keys_and_its_receipts_are_completed_from_it() {
    let [theirs, ours] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Running::start(theirs.path(), &["serve", "--cache-mib", "16"]);
    let policy = ours.path().join("node.toml");
    let policy = policy.to_str().unwrap();
    let new = ["policy", "new", "--node", &node.url, "--out", policy];
    let written = tally(ours.path(), &new);
    assert_eq!(written.status.code(), Some(0), "{}", complaint(&written));
    assert!(complaint(&written).contains("own word"), "{}", complaint(&written));
    assert_eq!(tally(ours.path(), &new).status.code(), Some(2), "an existing policy stays");
    let shown = text(&tally(ours.path(), &["policy", "show", policy]));
    assert!(shown.contains("demands self-cosigned") && shown.contains("models: any"), "{shown}");

    let folder = ours.path().join("receipts");
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let proxy = Running::start(
        ours.path(),
        &["proxy", "--upstream", &node.url, "--policy", policy, "--receipts", folder],
    );
    let body = r#"{"model":"default","messages":[{"role":"user","content":"What is a lock?"}],"max_tokens":4}"#;
    let answer = proxy.post("/v1/chat/completions", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let kept: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept = kept[0].to_str().unwrap();
    let verified = tally(ours.path(), &["verify", kept, "--policy", policy]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let before = fs::read(kept).unwrap();
    let completed =
        tally(ours.path(), &["receipt", "complete", kept, "--node", &node.url, "--policy", policy]);
    assert_eq!(completed.status.code(), Some(0), "{}", complaint(&completed));
    assert!(text(&completed).contains("nothing to add"), "{}", text(&completed));
    assert_eq!(fs::read(kept).unwrap(), before);

    // Whoever asks without a proxy makes a receipt file of the answer.
    for form in ["", r#","stream":true"#, r#","n":2"#] {
        let body = body.replace(r#","max_tokens""#, &format!(r#"{form},"max_tokens""#));
        let wire = node.post("/v1/chat/completions", &body);
        let answer = ours.path().join("answer");
        fs::write(&answer, unchunked(&wire)).unwrap();
        let imported = tally(ours.path(), &["receipt", "import", answer.to_str().unwrap()]);
        assert_eq!(imported.status.code(), Some(0), "{}", complaint(&imported));
        for digest in text(&imported).lines() {
            let verified = tally(ours.path(), &["verify", digest, "--policy", policy]);
            assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
            assert_eq!(tally(ours.path(), &["replay", digest]).status.code(), Some(0));
        }
    }
    what_is_kept_is_never_less_afterwards(&node, ours.path(), body);
    let nonsense = tally(ours.path(), &["receipt", "import", policy]);
    assert_eq!(nonsense.status.code(), Some(2));

    // A receipt that lost its evidence gets it back, and no other node can give it.
    let bare = ours.path().join("bare.receipt");
    strip_evidence(Path::new(kept), &bare);
    let bare = bare.to_str().unwrap();
    assert_eq!(tally(ours.path(), &["verify", bare, "--policy", policy]).status.code(), Some(1));
    let stranger = tally(ours.path(), &["receipt", "complete", bare]);
    assert_eq!(stranger.status.code(), Some(2));
    let unknown = tally(ours.path(), &["receipt", "complete", bare, "--node", &node.url]);
    assert_eq!(unknown.status.code(), Some(2), "no policy names the log");
    let completed =
        tally(ours.path(), &["receipt", "complete", bare, "--node", &node.url, "--policy", policy]);
    assert!(text(&completed).contains("added a proof"), "{}", complaint(&completed));
    assert_eq!(tally(ours.path(), &["verify", bare, "--policy", policy]).status.code(), Some(0));
}

/// Imports an answer, and then a copy of it that opens nothing.
fn what_is_kept_is_never_less_afterwards(node: &Running, home: &Path, body: &str) {
    let wire = node.post("/v1/chat/completions", body);
    let mut whole: Value = serde_json::from_str(&unchunked(&wire)).unwrap();
    let answer = home.join("answer");
    let answer = answer.to_str().unwrap();
    let import = |whole: &Value| {
        fs::write(answer, whole.to_string()).unwrap();
        let imported = tally(home, &["receipt", "import", answer]);
        assert_eq!(imported.status.code(), Some(0), "{}", complaint(&imported));
        text(&imported).trim_end().to_owned()
    };
    let digest = import(&whole);
    whole["tally"]["openings"] = "oA".into();
    assert_eq!(import(&whole), digest);
    assert_eq!(tally(home, &["replay", &digest]).status.code(), Some(0));
}

/// The body of an answer on the wire, in one piece.
fn unchunked(wire: &str) -> String {
    let (head, body) = wire.split_once("\r\n\r\n").unwrap();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}

/// Writes a receipt again without its evidence.
fn strip_evidence(from: &Path, to: &Path) {
    use tally_core::{cbor::Cbor as _, receipt::Bundle};
    let mut bundle = Bundle::parse(&fs::read(from).unwrap()).unwrap();
    bundle.evidence.clear();
    fs::write(to, bundle.encode()).unwrap();
}

#[test]
fn a_policy_is_made_of_keys_and_demands_the_most_that_they_allow() {
    let home = tempfile::tempdir().unwrap();
    let key = tally(home.path(), &["key", "--json"]);
    let key: Value = serde_json::from_slice(&key.stdout).unwrap();
    let issuer = format!("A \"node\"={}", key["receipt"]["public_key"].as_str().unwrap());
    let log = key["log"]["vkey"].as_str().unwrap();
    let cosigner = key["cosigner"]["vkey"].as_str().unwrap();
    let new = |further: &[&str]| {
        let arguments = [&["policy", "new", "--issuer", &issuer][..], further].concat();
        tally(home.path(), &arguments)
    };
    let signed = new(&[]);
    assert!(text(&signed).contains("required = [\"signed\"]"), "{}", text(&signed));
    let own = new(&["--log", log, "--own-cosigner", cosigner, "--age-days", "30"]);
    assert!(text(&own).contains("\"self-cosigned\""), "{}", text(&own));
    assert!(text(&own).contains("age_max_s = 2592000"), "{}", text(&own));
    let logged = new(&["--log", log, "--cosigner", cosigner, "--model", "default"]);
    assert!(text(&logged).contains("\"logged\""), "{}", text(&logged));
    let path = home.path().join("logged.toml");
    fs::write(&path, &logged.stdout).unwrap();
    let shown = tally(home.path(), &["policy", "show", path.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0), "{}", complaint(&shown));
    for (further, expected) in [
        (&["--cosigner", cosigner][..], "--log VKEY"),
        (&["--log", "nonsense"], "verifier key `nonsense`"),
        (&["--log", log, "--cosigner", cosigner, "--quorum", "2"], "threshold"),
    ] {
        let output = new(further);
        assert_eq!(output.status.code(), Some(2), "{further:?}");
        assert!(complaint(&output).contains(expected), "{}", complaint(&output));
    }
    let none = tally(home.path(), &["policy", "new"]);
    assert_eq!(none.status.code(), Some(2), "a policy that trusts nobody is of no use");
}

#[test]
fn what_stands_at_a_path_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let there = home.path().join("there");
    fs::write(&there, "kept").unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&there, &link).unwrap();
    for path in [&there, &link] {
        for option in ["--receipt", "--request-out"] {
            let output = tally(home.path(), &["ask", "Hi", option, path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(2));
            assert!(complaint(&output).contains("is there already"), "{}", complaint(&output));
        }
    }
    assert_eq!(fs::read_to_string(&there).unwrap(), "kept");
}

#[test]
fn a_policy_accepts_a_further_model_and_stays_as_it_was_otherwise() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(tally(home.path(), &["key"]).status.code(), Some(0));
    let path = home.path().join("policy.toml");
    let before = fs::read_to_string(&path).unwrap();
    let root = "ab".repeat(32);
    let before = format!("# not {root}\n{before}");
    fs::write(&path, &before).unwrap();
    let accepted = tally(home.path(), &["policy", "accept", &root]);
    assert_eq!(accepted.status.code(), Some(0), "{}", complaint(&accepted));
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after.replace(&format!("\n  \"{root}\","), ""), before);
    assert_eq!(tally(home.path(), &["policy", "accept", &root]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), after, "once is enough");
    assert_eq!(tally(home.path(), &["policy", "accept", "no-such"]).status.code(), Some(2));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let digest = ask(home.path(), "What is a lock?");
    let program = env!("CARGO_BIN_EXE_tally");
    let piped = format!("{program} verify {digest} | true; {program} verify {digest} | head -n 1");
    let output = Command::new("bash").args(["-c", &piped]).env("TALLY_HOME", home.path()).output();
    let output = output.unwrap();
    assert_eq!(complaint(&output), "");
}
