//! Bodies at the borders of what is known and in range.

use serde_json::json;

use super::{asked::Asked, error::ApiError};

/// A chat with a field set to something else, or more.
fn chat(field: &str, value: serde_json::Value) -> Result<Asked, ApiError> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body[field] = value;
    Asked::parse_chat(body.to_string().as_bytes())
}

fn refusal(body: &str) -> (u16, &'static str, Option<String>) {
    let error = Asked::parse_chat(body.as_bytes()).unwrap_err();
    (error.status, error.code, error.param)
}

#[test]
fn the_least_chat_gets_the_defaults_of_the_api() {
    let asked = chat("user", json!("me")).unwrap();
    assert_eq!(asked.sampling.temperature.to_string(), "1");
    assert_eq!(asked.sampling.top_p.to_string(), "1");
    assert_eq!(asked.sampling.max_tokens, None);
    assert_eq!((asked.per_prompt, asked.logprobs, asked.stream), (1, None, None));
    assert!(asked.controls.is_empty());
}

#[test]
fn every_field_out_of_range_is_refused_by_its_name() {
    for (field, good, bad) in [
        ("temperature", json!(100), json!(100.000001)),
        ("temperature", json!(0), json!(-0.1)),
        ("temperature", json!(0.000001), json!(0.0000001)),
        ("temperature", json!(1), json!("1")),
        ("top_p", json!(1), json!(1.000001)),
        ("max_tokens", json!(1), json!(0)),
        ("max_tokens", json!(1_048_576), json!(1_048_577)),
        ("max_tokens", json!(1), json!(1.5)),
        ("n", json!(128), json!(129)),
        ("n", json!(1), json!(0)),
        ("presence_penalty", json!(-2), json!(-2.1)),
        ("frequency_penalty", json!(2), json!(2.1)),
        ("stop", json!("x"), json!("")),
        ("stop", json!(vec!["x"; 16]), json!(vec!["x"; 17])),
        ("stop", json!("x".repeat(256)), json!("x".repeat(257))),
        ("logit_bias", json!({ "5": -100 }), json!({ "5": -100.1 })),
        ("logit_bias", json!({ "0": 1 }), json!({ "05": 1 })),
        ("logit_bias", json!({}), json!({ "x": 1 })),
        ("response_format", json!({ "type": "text" }), json!({ "type": "json_schema" })),
        ("response_format", json!({ "type": "json_object" }), json!({ "type": "yaml" })),
        ("seed", json!(u64::MAX), json!(-1)),
    ] {
        assert!(chat(field, good.clone()).is_ok(), "{field} {good}");
        let error = chat(field, bad.clone()).unwrap_err();
        assert_eq!(error.status, 400, "{field} {bad}");
        let param = error.param.unwrap_or_default();
        assert!(param.starts_with(field), "{field} {bad}: {param}: {}", error.message);
    }
}

#[test]
fn what_is_unknown_missing_or_twice_is_named() {
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    let invalid = |param: &str| (400, "invalid_value", Some(param.to_owned()));
    let unknown = |param: &str| (400, "unsupported_parameter", Some(param.to_owned()));
    assert_eq!(refusal(&format!(r#"{{"model":"m",{messages},"min_p":1}}"#)), unknown("min_p"));
    assert_eq!(refusal(r#"{"model":"m"}"#), invalid("messages"));
    assert_eq!(
        refusal(r#"{"model":"m","messages":[{"role":"user","content":"x","mood":1}]}"#),
        unknown("messages[0].mood")
    );
    assert_eq!(
        refusal(r#"{"model":"m","messages":[{"role":"king","content":"x"}]}"#),
        invalid("messages[0].role")
    );
    let twice = refusal(&format!(r#"{{"model":"m","model":"n",{messages}}}"#));
    assert_eq!((twice.0, twice.2), (400, Some("model".into())));
    assert_eq!(refusal("{").1, "invalid_json");
    assert_eq!(refusal(&format!(r#"{{"model":"m",{messages}}} x"#)).1, "invalid_json");
    assert_eq!(refusal("[]").0, 400);
}

#[test]
fn wishes_that_contradict_each_other_are_refused() {
    let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
    let ask = |more: serde_json::Value| {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        Asked::parse_chat(body.to_string().as_bytes())
    };
    for (more, param) in [
        (json!({ "max_tokens": 1, "max_completion_tokens": 1 }), "max_tokens"),
        (json!({ "top_logprobs": 1 }), "top_logprobs"),
        (json!({ "stream_options": {} }), "stream_options"),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "tools": tool, "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "tools": tool, "parallel_tool_calls": false }), "parallel_tool_calls"),
        (
            json!({ "tools": tool, "tool_choice": { "type": "function", "function": { "name": "g" } } }),
            "tool_choice.function.name",
        ),
    ] {
        assert_eq!(ask(more.clone()).unwrap_err().param.as_deref(), Some(param), "{more}");
    }
    let forced =
        ask(json!({ "tools": tool, "tool_choice": "required", "parallel_tool_calls": false }));
    assert!(forced.unwrap().controls.grammar.is_some());
}

#[test]
fn numbers_are_exact_however_they_are_written() {
    let body = |number: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"temperature":{number}}}"#
        )
    };
    for (number, shown) in [
        ("1e-06", "0.000001"),
        ("7.0E-1", "0.7"),
        ("1.5e+1", "15"),
        ("0.70000000", "0.7"),
        ("100.0", "100"),
        ("0e9", "0"),
        ("-0.0", "0"),
    ] {
        let asked = Asked::parse_chat(body(number).as_bytes()).unwrap();
        assert_eq!(asked.sampling.temperature.to_string(), shown, "{number}");
    }
    for number in
        ["0.30000000000000004", "1e-7", "1e99", "1e999999999999999999999", "-1e-6", "true"]
    {
        let error = Asked::parse_chat(body(number).as_bytes()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("temperature"), "{number}");
    }
}
