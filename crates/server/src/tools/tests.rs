//! Calls that are read out of a text, wherever it is cut.

use super::*;

fn read(pieces: &[&str]) -> (Vec<Said>, bool) {
    let mut reader = CallReader::default();
    let mut said: Vec<Said> = pieces.iter().flat_map(|piece| reader.push(piece, "ab")).collect();
    said.extend(reader.finish());
    let mut joined: Vec<Said> = vec![];
    for each in said {
        match (joined.last_mut(), each) {
            (Some(Said::Text(before)), Said::Text(text)) => before.push_str(&text),
            (_, each) => joined.push(each),
        }
    }
    (joined, reader.has_calls())
}

fn call(index: u32, name: &str, arguments: &str) -> Said {
    Said::Call(AnswerCall {
        index: Some(index),
        id: format!("call_ab_{index}"),
        r#type: "function",
        function: AnswerFunction { name: name.into(), arguments: arguments.into() },
    })
}

#[test]
fn calls_are_read_wherever_the_text_is_cut() {
    let text = "Let me see.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1.50}}\n</tool_call>\n<tool_call>{\"name\":\"g\"}</tool_call>";
    let expected =
        vec![Said::Text("Let me see.".into()), call(0, "f", "{\"a\": 1.50}"), call(1, "g", "{}")];
    for cut in 0..=text.len() {
        assert_eq!(read(&[&text[..cut], &text[cut..]]), (expected.clone(), true), "cut at {cut}");
    }
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(read(&pieces), (expected, true));
}

#[test]
fn text_that_only_looks_like_a_call_passes_unchanged() {
    for text in [
        "",
        "plain",
        "a <tool_cal b",
        "<tool_call>no json</tool_call>",
        "<tool_call>{\"name\":\"f\"",
        "<tool_call>{\"name\":\"f\",\"x\":1}</tool_call> behind",
        "ends in <tool_ca",
    ] {
        let expected = if text.is_empty() { vec![] } else { vec![Said::Text(text.into())] };
        assert_eq!(read(&[text]), (expected, false), "{text}");
    }
}

#[test]
fn text_behind_a_call_keeps_its_white_space_if_it_is_more_than_that() {
    let text = "<tool_call>{\"name\":\"f\"}</tool_call>\n and then";
    assert_eq!(read(&[text]).0, vec![call(0, "f", "{}"), Said::Text("\n and then".into())]);
}
