//! A node among strangers: grammars that never end, and pages in a browser.

use serde_json::{Value, json};

use crate::common::Running;

fn chat(node: &Running, schema: &Value, choices: u32) -> String {
    let body = json!({
        "model": "default",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 8,
        "n": choices,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    });
    node.post("/v1/chat/completions", &body.to_string())
}

#[test]
fn a_grammar_that_takes_too_much_is_refused_and_the_node_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let node = Running::start(home.path(), &["serve", "--cache-mib", "16"]);
    let divisors = [7, 11, 13, 17, 19, 23].map(|it| json!({"type": "integer", "multipleOf": it}));
    let letters: Vec<Value> = ('a'..='z')
        .map(|letter| json!({"type": "string", "pattern": format!("(.*{letter}){{3}}")}))
        .collect();
    for schema in [
        json!({"allOf": divisors}),
        json!({"allOf": letters}),
        json!({"type": "string", "pattern": ".?".repeat(50_000)}),
    ] {
        let answer = chat(&node, &schema, 1);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:.300}");
        assert!(answer.contains("grammar/refused"), "{answer:.300}");
        assert!(answer.contains("\"tally\":"), "a refusal has its receipt: {answer:.300}");
    }
    let price = json!({"type": "object", "properties": {"price": {"type": "number", "multipleOf": 0.01}}, "required": ["price"], "additionalProperties": false});
    let answer = chat(&node, &price, 2);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.300}");
}

#[test]
fn a_page_in_a_browser_is_not_answered() {
    let home = tempfile::tempdir().unwrap();
    let node = Running::start(home.path(), &["serve", "--cache-mib", "16"]);
    let proxy = Running::start(home.path(), &["proxy", "--upstream", &node.url]);
    let body = r#"{"model":"default","prompt":"A","max_tokens":1}"#;
    for server in [&node, &proxy] {
        for (headers, status) in [
            ("", "200"),
            ("Origin: http://localhost:3000\r\n", "200"),
            ("Origin: http://evil.example\r\n", "403"),
            ("Origin: null\r\n", "403"),
        ] {
            let answer = server.post_with("/v1/completions", headers, body);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer:.300}");
        }
    }
}
