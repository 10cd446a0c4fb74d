//! What a response may say of one of several choices, and what it may not.

use super::{
    several::{are_events, is_body},
    *,
};

const BODY: &str = r#"{"id":"chatcmpl-01","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

/// What one choice alone makes.
fn made(choice: u32) -> String {
    let own = ["a", "b"].map(|text| text.to_owned());
    let text = |index: u32| if index == choice { own[index as usize].as_str() } else { "" };
    format!(
        r#"{{"id":"chatcmpl-01","object":"chat.completion","created":5,"model":"m","choices":[{{"index":0,"text":"{}"}},{{"index":1,"text":"{}"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}}}"#,
        text(0),
        text(1)
    )
}

#[test]
fn a_body_is_compared_where_one_choice_determines_it() {
    for choice in [0, 1] {
        let made = made(choice);
        assert_eq!(is_body(BODY.as_bytes(), made.as_bytes(), choice, 2), Some(true), "{choice}");
    }
    let own_second = BODY.replace("\"created\":5", "\"created\":4");
    assert_eq!(is_body(own_second.as_bytes(), made(1).as_bytes(), 1, 2), Some(true));
    for (from, to) in [
        ("\"created\":5", "\"created\":6"),
        ("\"created\":5", "\"created\":3"),
        ("\"created\":5", "\"created\":{\"x\":\"EVIL\"}"),
        ("chatcmpl-01", "chatcmpl-02"),
    ] {
        let lie = BODY.replacen(from, to, 1);
        assert_ne!(is_body(lie.as_bytes(), made(1).as_bytes(), 1, 2), Some(true), "{to}");
    }
    let other = BODY.replace("\"text\":\"b\"", "\"text\":\"c\"");
    assert_eq!(is_body(other.as_bytes(), made(0).as_bytes(), 0, 2), Some(true));
    assert_eq!(is_body(other.as_bytes(), made(1).as_bytes(), 1, 2), Some(false));
    for (from, to) in [
        ("\"text\":\"a\"", "\"text\":\"x\""),
        ("\"model\":\"m\"", "\"model\":\"gpt-9\""),
        ("chatcmpl-01", "chatcmpl-02"),
        ("\"total_tokens\":8", "\"total_tokens\":99999"),
        (
            "\"completion_tokens\":5,\"total_tokens\":8",
            "\"completion_tokens\":1,\"total_tokens\":4",
        ),
        ("\"prompt_tokens\":3", "\"prompt_tokens\":4"),
        ("\"choices\":[", "\"choices\":[{\"index\":0,\"text\":\"EVIL\"}],\"choices\":["),
        (",{\"index\":1,\"text\":\"b\"}", ""),
        (
            ",{\"index\":1,\"text\":\"b\"}",
            ",{\"index\":1,\"text\":\"b\"},{\"index\":7,\"text\":\"EVIL\"}",
        ),
        (",{\"index\":1", ",{\"index\":0"),
        ("\"model\":\"m\"", "\"model\":\"m\",\"note\":\"EVIL\""),
        ("\"model\":\"m\"", "\"model\": \"m\""),
    ] {
        let lie = BODY.replacen(from, to, 1);
        assert_ne!(lie, BODY);
        let found = is_body(lie.as_bytes(), made(0).as_bytes(), 0, 2);
        assert_ne!(found, Some(true), "{lie}");
    }
}

/// Events of two choices, the first's texts apart.
fn events(first: &str, second: &str) -> String {
    let event = |choices: &str, usage: &str| {
        format!(r#"{{"id":"chatcmpl-01","created":5,"choices":[{choices}],"usage":{usage}}}"#)
    };
    [
        event(&format!(r#"{{"index":0,"text":"{first}"}}"#), "null"),
        event(&format!(r#"{{"index":1,"text":"{second}"}}"#), "null"),
        event(r#"{"index":0,"text":""}"#, "null"),
        event("", r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}"#),
    ]
    .map(|event| format!("{event}\n"))
    .concat()
}

#[test]
fn events_are_compared_where_one_choice_determines_them() {
    let whole = events("a", "b");
    let own: String = whole
        .lines()
        .filter(|line| !line.contains("\"index\":1"))
        .map(|line| format!("{line}\n"))
        .collect();
    let is_own = |response: &str| are_events(response.as_bytes(), own.as_bytes(), 0, 2);
    assert_eq!(is_own(&whole), Some(true));
    assert_eq!(is_own(&events("a", "c")), Some(true), "the other choice has its own receipt");
    assert_eq!(is_own(&events("x", "b")), Some(false));
    let lines: Vec<&str> = whole.lines().collect();
    let joined =
        |order: &[usize]| order.iter().map(|at| format!("{}\n", lines[*at])).collect::<String>();
    for order in
        [&[0, 1, 2][..], &[0, 2, 3], &[2, 1, 0, 3], &[0, 1, 2, 2, 3], &[0, 1, 2, 3, 1], &[3]]
    {
        assert_ne!(is_own(&joined(order)), Some(true), "{order:?}");
    }
    for (from, to) in [
        ("\"index\":1", "\"index\":2"),
        ("\"created\":5", "\"created\":6"),
        ("\"total_tokens\":8", "\"total_tokens\":9"),
        ("\n", ""),
    ] {
        assert_ne!(is_own(&whole.replacen(from, to, 1)), Some(true), "{from}");
    }
}

#[test]
fn the_id_of_an_answer_is_found_in_its_first_line() {
    let id = "01".repeat(16);
    let line = format!("{{\"id\":\"chatcmpl-{id}\",\"choices\":[]}}\n{{}}\n");
    assert_eq!(id_of(line.as_bytes()), Some([1; 16]));
    assert_eq!(id_of(b"{}"), None);
    assert_eq!(id_of(b"\xff"), None);
}
