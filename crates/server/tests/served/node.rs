//! A node by itself: its limits, its refusals, and clients that go away.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::common::{Stage, ask, chat};
use serde_json::Value;
use tally_core::{
    cbor::Cbor as _,
    computation::FinishReason,
    receipt::{Bundle, ProtectedHeader, Statement},
};
use tally_server::{http::keys::NodeKeyList, node::Limits};

const CHAT: &str = "/v1/chat/completions";

fn statement_of(bundle: &[u8]) -> Statement {
    Statement::parse(&Bundle::parse(bundle).unwrap().statement.payload).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_turned_away_before_it_is_admitted_has_no_receipt() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let stage = Stage::with(limits).await;
    let large = vec![b' '; 1001];
    for (body, status) in
        [(&large[..], 413), (b"{", 400), (b"", 400), (br#"{"model":"default","x":1}"#, 400)]
    {
        let answer = ask(stage.node, "POST", CHAT, None, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("tally-receipt"), None);
    }
    let body = br#"{"model":"default","messages":[{"role":"user","content":"x"}]}"#;
    for nonce in ["00", "zz", "0011223344556"] {
        assert_eq!(ask(stage.node, "POST", CHAT, Some(nonce), body).await.status, 400, "{nonce}");
    }
    assert_eq!(ask(stage.node, "GET", CHAT, None, b"").await.status, 405);
    assert_eq!(ask(stage.node, "GET", "/nothing", None, b"").await.status, 404);
    assert_eq!(ask(stage.node, "GET", "/log/../keys", None, b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_request_that_is_refused_has_a_receipt_that_says_so() {
    let stage = Stage::new().await;
    let long = format!(
        r#"{{"model":"default","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "word ".repeat(3000)
    );
    let answer = ask(stage.node, "POST", CHAT, None, long.as_bytes()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "context/length");
    let id = answer.header("tally-receipt").unwrap();
    assert_eq!(body["tally"]["id"], id);
    let fetched = ask(stage.node, "GET", &format!("/v1/receipts/{id}"), None, b"").await;
    assert_eq!(fetched.status, 200);
    let statement = statement_of(&fetched.body);
    assert_eq!(statement.outcome.refusal().unwrap().code, "context/length");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_still_gets_a_receipt_for_what_was_computed() {
    let stage = Stage::new().await;
    let body = r#"{"model":"default","messages":[{"role":"user","content":"Tell me of locks."}],"stream":true,"temperature":2}"#;
    let head = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let node = stage.node;
    let id = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(node).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let line = text.lines().find(|line| line.to_lowercase().starts_with("tally-receipt: "));
        line.unwrap()["tally-receipt: ".len()..].to_owned()
    })
    .await
    .unwrap();
    // The connection is closed: the receipt comes as soon as that is noticed.
    for _ in 0..200 {
        let fetched = ask(stage.node, "GET", &format!("/v1/receipts/{id}"), None, b"").await;
        if fetched.status == 200 {
            let statement = statement_of(&fetched.body);
            let answer = statement.outcome.answer().unwrap();
            // The toy model may come to its end before anybody notices.
            assert!(answer.computation.output_count > 0);
            let finish = answer.computation.finish;
            assert!(matches!(
                finish,
                FinishReason::Cancelled | FinishReason::Length | FinishReason::Stop
            ));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no receipt for {id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_is_told_when_to_come_again() {
    let limits = Limits { requests_max: 1, ..Limits::default() };
    let stage = Stage::with(limits).await;
    let held = stage.server.places.clone().acquire_owned().await.unwrap();
    let answer = chat(stage.node, "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{answer:?}");
    drop(held);
    assert_eq!(chat(stage.node, "").await.status, 200);
    assert!(stage.server.settle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let limits = Limits { receive_time_max: Duration::from_millis(300), ..Limits::default() };
    let stage = Stage::with(limits).await;
    let node = stage.node;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(node).unwrap();
        let head = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: 100\r\n\r\n{{");
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.0 408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_objects_of_a_receipt_can_be_read() {
    let stage = Stage::new().await;
    let answer = chat(stage.node, "").await;
    let id = answer.header("tally-receipt").unwrap();
    stage.server.desk.node().publish(1_790_000_000).unwrap();
    let checkpoint = ask(stage.node, "GET", "/log/checkpoint", None, b"").await;
    assert_eq!(checkpoint.status, 200);
    assert!(checkpoint.text().starts_with("log.tally.local/"), "{checkpoint:?}");
    let tile = ask(stage.node, "GET", "/log/tile/entries/000.p/1", None, b"").await;
    assert_eq!((tile.status, tile.body.len()), (200, 2 + 54));
    let fetched = ask(stage.node, "GET", &format!("/v1/receipts/{id}"), None, b"").await;
    let bundle = Bundle::parse(&fetched.body).unwrap();
    assert_eq!((bundle.evidence.len(), bundle.openings.len()), (1, 0));
    let digest = bundle.statement.digest();
    let object = ask(stage.node, "GET", &format!("/objects/{digest}"), None, b"").await;
    assert_eq!(object.body, bundle.statement.encode());
    let preparation = statement_of(&fetched.body).outcome.answer().unwrap().preparation.clone();
    for digest in [preparation.tokenizer, preparation.template.unwrap()] {
        let object = ask(stage.node, "GET", &format!("/objects/{digest}"), None, b"").await;
        assert_eq!(object.status, 200);
        assert_eq!(tally_core::Digest::of_content(&object.body), digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go() {
    let limits = Limits { receive_time_max: Duration::from_millis(300), ..Limits::default() };
    let stage = Stage::with(limits).await;
    let mut stream = TcpStream::connect(stage.node).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    // Far more answers than any socket's buffers hold, and none of them is read.
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(64);
    let flooding = tokio::task::spawn_blocking(move || {
        loop {
            if let Err(error) = stream.write_all(&request) {
                return error.kind();
            }
        }
    });
    let ended = flooding.await.unwrap();
    assert!(matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_its_keys_and_they_are_those_of_its_receipts() {
    let stage = Stage::new().await;
    let answer = ask(stage.node, "GET", "/v1/keys", None, b"").await;
    assert_eq!(answer.status, 200);
    let keys: NodeKeyList = serde_json::from_slice(&answer.body).unwrap();
    let receipt = chat(stage.proxy, "").await;
    assert_eq!(receipt.status, 200, "{receipt:?}");
    let kept = stage.kept.0.lock().unwrap();
    let header = ProtectedHeader::parse(&kept[0].statement.protected).unwrap();
    assert_eq!(header.key_id.to_string(), keys.issuer.key_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_the_log_cannot_have_is_not_found() {
    let stage = Stage::new().await;
    for path in ["/v1/models/%", "/v1/models/%f", "/v1/models/%ff", "/log/%zz"] {
        let answer = ask(stage.node, "GET", path, None, b"").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("\"error\""), "{answer:?}");
    }
    for path in [&format!("/log/tile/{}", "1".repeat(256)), "/log/tile/0/000/1", "/log/lock"] {
        assert_eq!(ask(stage.node, "GET", path, None, b"").await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_by_name() {
    let stage = Stage::new().await;
    let tool = |function: &str| {
        format!(r#","tools":[{{"type":"function","function":{{"name":"f",{function}}}}}]"#)
    };
    let forced = r#","tool_choice":"required""#;
    for (form, name) in [
        (tool(r#""strict":true"#), "tools[0].function.strict"),
        (tool(r##""parameters":{"$ref":"#"}"##) + forced, "tools[0].function.parameters"),
    ] {
        let answer = chat(stage.node, &form).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["param"], name);
    }
    let array = ask(stage.node, "POST", CHAT, None, br#"["default",[]]"#).await;
    assert_eq!(array.status, 400, "{array:?}");
}
