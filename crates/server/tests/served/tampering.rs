//! A proxy before a server that tampers: every attack is refused before a tampered byte is released.

use crate::common::{Answer, Stage, ask, chat};
use serde_json::Value;

/// The code of an answer that is withheld as a whole.
fn withheld(answer: &Answer) -> String {
    assert_eq!(answer.status, 502, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["type"], "verification_error");
    assert!(body.get("choices").is_none() && body.get("tally").is_none(), "{body}");
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// The events that a stream released, and the code with which it ended; `None` if it ended well.
fn released(answer: &Answer) -> (Vec<String>, Option<String>) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut events = answer.events();
    let last = events.pop().unwrap();
    if last == "[DONE]" {
        return (events, None);
    }
    assert!(!answer.text().contains("[DONE]"), "{answer:?}");
    let body: Value = serde_json::from_str(&last).unwrap();
    (events, Some(body["error"]["code"].as_str().unwrap().to_owned()))
}

/// Joins events as they stand on the wire.
fn joined(answer: &Answer, events: &[String]) -> Answer {
    let body = events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
    Answer { body: body.into_bytes(), ..answer.clone() }
}

fn replaced(answer: Answer, from: &str, to: &str) -> Answer {
    let text = answer.text();
    assert!(text.contains(from), "nothing to tamper with: {from} in {text}");
    Answer { body: text.replacen(from, to, 1).into_bytes(), ..answer }
}

const STREAM: &str = r#","stream":true"#;

#[tokio::test(flavor = "multi_thread")]
async fn untouched_answers_pass_and_their_receipts_are_kept() {
    let stage = Stage::new().await;
    let answer = chat(stage.proxy, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let two = chat(stage.proxy, r#","n":2"#).await;
    assert_eq!(two.status, 200, "{two:?}");
    let streamed = chat(stage.proxy, STREAM).await;
    let (events, fault) = released(&streamed);
    assert_eq!((events.len(), fault), (8, None), "{streamed:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let text: String = events
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(body["choices"][0]["message"]["content"], text.as_str());
    assert_eq!(stage.kept.0.lock().unwrap().len(), 4);
    for form in ["", r#","stream_options":{"include_usage":true}"#] {
        let several = chat(stage.proxy, &format!(r#","n":3{STREAM}{form}"#)).await;
        assert_eq!(released(&several).1, None, "{several:?}");
    }
    assert_eq!(stage.kept.0.lock().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_answer_is_withheld_as_a_whole() {
    let stage = Stage::new().await;
    for (from, to) in [
        ("\"finish_reason\":\"length\"", "\"finish_reason\":\"stop\""),
        ("\"completion_tokens\":6", "\"completion_tokens\":5"),
        ("\"model\":\"default\"", "\"model\":\"better\""),
        ("\"content\":\"", "\"content\":\"Not "),
        ("chatcmpl-", "chatcmpl_"),
    ] {
        stage.tamper(move |answer| replaced(answer, from, to));
        let code = withheld(&chat(stage.proxy, "").await);
        assert_eq!(code, "expected/response", "{from}");
    }
    assert!(stage.kept.0.lock().unwrap().is_empty(), "nothing is kept of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_log_probability_is_withheld() {
    let stage = Stage::new().await;
    stage.tamper(|answer| replaced(answer, "\"logprob\":-", "\"logprob\":-1"));
    let answer = chat(stage.proxy, r#","logprobs":true,"top_logprobs":2"#).await;
    assert_eq!(withheld(&answer), "expected/response");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_its_receipt_is_withheld() {
    let stage = Stage::new().await;
    stage.tamper(|answer| {
        let text = answer.text();
        let (payload, _) = text.rsplit_once(",\"tally\":").unwrap();
        Answer { body: format!("{payload}}}").into_bytes(), ..answer }
    });
    assert_eq!(withheld(&chat(stage.proxy, "").await), "receipt/missing");
    for member in ["\"receipt\":", "\"openings\":"] {
        stage.tamper(move |answer| replaced(answer, member, "\"x\":"));
        assert_eq!(withheld(&chat(stage.proxy, "").await), "receipt/missing", "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_another_answer_is_refused() {
    let stage = Stage::new().await;
    let other = chat(stage.node, r#","temperature":0"#).await.text();
    let (_, member) = other.rsplit_once(",\"tally\":").unwrap();
    let member = member.to_owned();
    stage.tamper(move |answer| {
        let text = answer.text();
        let (payload, _) = text.rsplit_once(",\"tally\":").unwrap();
        Answer { body: format!("{payload},\"tally\":{member}").into_bytes(), ..answer }
    });
    let code = withheld(&chat(stage.proxy, "").await);
    assert!(code.starts_with("expected/"), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_answer_to_the_same_request_is_refused() {
    let stage = Stage::new().await;
    let nonce = Some("00112233445566778899aabbccddeeff");
    for more in ["", STREAM] {
        let body = format!(
            r#"{{"model":"default","messages":[{{"role":"user","content":"What is a lock?"}}],"max_tokens":6,"seed":7{more}}}"#
        );
        let path = "/v1/chat/completions";
        let old = ask(stage.node, "POST", path, nonce, body.as_bytes()).await;
        assert_eq!(old.status, 200);
        let replay = old.clone();
        stage.tamper(move |_| replay.clone());
        let answer = chat(stage.proxy, more).await;
        if more.is_empty() {
            assert_eq!(withheld(&answer), "expected/nonce");
        } else {
            let (events, code) = released(&answer);
            assert_eq!(events, Vec::<String>::new());
            assert_eq!(code.as_deref(), Some("stream/nonce"), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_two_answers_cannot_be_exchanged_or_left_out() {
    let stage = Stage::new().await;
    stage.tamper(|answer| {
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["tally"]["receipts"].as_array_mut().unwrap().swap(0, 1);
        for name in ["id", "receipt", "openings"] {
            body["tally"][name] = body["tally"]["receipts"][0][name].clone();
        }
        Answer { body: body.to_string().into_bytes(), ..answer }
    });
    assert_eq!(withheld(&chat(stage.proxy, r#","n":2"#).await), "receipt/choice");
    stage.tamper(|answer| {
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["tally"]["receipts"].as_array_mut().unwrap().pop();
        Answer { body: body.to_string().into_bytes(), ..answer }
    });
    assert_eq!(withheld(&chat(stage.proxy, r#","n":2"#).await), "receipt/count");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_stream_is_noticed_at_the_event_that_it_touches() {
    let stage = Stage::new().await;
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, usize, Change); 8] = [
        ("a token changed", 3, |events| {
            let at = events[3].rfind("\"tokens\":[").unwrap() + 10;
            events[3].insert(at, '1');
        }),
        ("a text changed", 3, |events| {
            events[3] = events[3].replacen("\"content\":\"", "\"content\":\"no", 1)
        }),
        ("an event left out", 3, |events| drop(events.remove(3))),
        ("an event repeated", 4, |events| events.insert(4, events[3].clone())),
        ("two events exchanged", 3, |events| events.swap(3, 4)),
        ("the signature cut", 3, |events| {
            let (before, _) = events[3].rsplit_once(",\"signature\":").unwrap();
            events[3] = format!("{before}}}}}");
        }),
        ("the head dropped", 0, |events| drop(events.remove(0))),
        ("the reason of the end changed", 7, |events| {
            let last = events.iter().position(|event| event.contains("\"length\"")).unwrap();
            events[last] = events[last].replacen("\"length\"", "\"stop\"", 1);
        }),
    ];
    for (what, good, change) in changes {
        stage.tamper(move |answer| {
            let mut events = answer.events();
            change(&mut events);
            joined(&answer, &events)
        });
        let answer = chat(stage.proxy, STREAM).await;
        let (events, code) = released(&answer);
        let code = code.unwrap_or_else(|| panic!("{what} passed: {answer:?}"));
        assert_eq!(events.len(), good, "{what}: {code}");
        assert!(code.starts_with("stream/"), "{what}: {code}");
    }
    assert!(stage.kept.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_anywhere_ends_in_an_error() {
    let stage = Stage::new().await;
    let whole = chat(stage.node, STREAM).await;
    let count = whole.events().len();
    for keep in 0..count {
        stage.tamper(move |answer| {
            let events: Vec<String> = answer.events().into_iter().take(keep).collect();
            joined(&answer, &events)
        });
        let (events, code) = released(&chat(stage.proxy, STREAM).await);
        assert_eq!(code.as_deref(), Some("stream/cut"), "after {keep} events");
        assert_eq!(events.len(), keep);
    }
    stage.tamper(|answer| {
        let half = answer.body.len() / 2;
        Answer { body: answer.body[..half].to_vec(), ..answer }
    });
    let (_, code) = released(&chat(stage.proxy, STREAM).await);
    assert_eq!(code.as_deref(), Some("stream/cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_another_stream_is_refused_at_the_last_event() {
    let stage = Stage::new().await;
    let other = chat(stage.node, &format!(r#","temperature":0{STREAM}"#)).await.events();
    let other = other[other.len() - 2].clone();
    stage.tamper(move |answer| {
        let mut events = answer.events();
        let at = events.len() - 2;
        let part = |event: &str, name: &str| {
            let (_, rest) = event.rsplit_once(&format!("\"{name}\":\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        for name in ["receipt", "openings"] {
            let (own, foreign) = (part(&events[at], name), part(&other, name));
            events[at] = events[at].replacen(&own, &foreign, 1);
        }
        joined(&answer, &events)
    });
    let (events, code) = released(&chat(stage.proxy, STREAM).await);
    let code = code.unwrap();
    assert!(code.starts_with("expected/") || code.starts_with("stream/"), "{code}");
    assert_eq!(events.len(), 7, "the last event is not released");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_of_the_form_asked_for_is_withheld() {
    let stage = Stage::new().await;
    stage.tamper(|answer| {
        let head = answer.head.replace("application/json", "text/html");
        Answer { head, ..answer }
    });
    assert_eq!(withheld(&chat(stage.proxy, "").await), "upstream/form");
    let whole = chat(stage.node, "").await;
    stage.tamper(move |_| whole.clone());
    assert_eq!(withheld(&chat(stage.proxy, STREAM).await), "upstream/form");
    stage.tamper(|answer| Answer { body: br#"{"error":{"message":"x"}}"#.to_vec(), ..answer });
    assert_eq!(withheld(&chat(stage.proxy, "").await), "receipt/missing");
    stage.tamper(|answer| Answer { body: vec![b'x'; 2 << 20], ..answer });
    let (events, code) = released(&chat(stage.proxy, STREAM).await);
    assert_eq!((events.len(), code.as_deref()), (0, Some("stream/form")));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_node_pass_with_their_own_words() {
    let stage = Stage::new().await;
    let body = br#"{"model":"none","messages":[{"role":"user","content":"x"}]}"#;
    let answer = ask(stage.proxy, "POST", "/v1/chat/completions", None, body).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.text().contains("model_not_found"));
    stage.tamper(|answer| Answer {
        status: 429,
        head: format!("{}\r\nretry-after: 3", answer.head),
        body: br#"{"error":{"message":"busy","code":"overloaded"},"tally":{"receipt":"forged"}}"#
            .to_vec(),
    });
    let answer = chat(stage.proxy, "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3")));
    assert!(!answer.text().contains("forged"), "an unverified receipt does not pass: {answer:?}");
    stage.leave_alone();
    assert_eq!(chat(stage.proxy, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_unverified_hides_beside_a_receipt() {
    let stage = Stage::new().await;
    for (from, to, code) in [
        ("\"tally\":{", "\"tally\":{\"advice\":\"trust me\",", "receipt/missing"),
        ("\"tally\":{\"id\":\"", "\"tally\":{\"id\":\"0", "receipt/id"),
    ] {
        stage.tamper(move |answer| replaced(answer, from, to));
        assert_eq!(withheld(&chat(stage.proxy, "").await), code, "{to}");
    }
    stage.tamper(|answer| replaced(answer, "\"tally\":{", "\"tally\":{\"advice\":\"trust me\","));
    let (events, fault) = released(&chat(stage.proxy, STREAM).await);
    assert_eq!((events.len(), fault.as_deref()), (0, Some("stream/unsigned")));
    stage.tamper(|answer| replaced(answer, "\"id\":\"", "\"id\":\"0"));
    assert_eq!(withheld(&chat(stage.proxy, "").await), "expected/response");
    stage.tamper(|answer| {
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        let second = body["tally"]["receipts"][1].clone();
        body["tally"]["receipt"] = second["receipt"].clone();
        Answer { body: body.to_string().into_bytes(), ..answer }
    });
    assert_eq!(withheld(&chat(stage.proxy, r#","n":2"#).await), "receipt/count");
}
