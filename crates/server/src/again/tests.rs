//! What a response says of one of several choices.

use super::*;

#[test]
fn the_choices_of_lines_are_told_apart_by_their_index() {
    let lines =
        br#"{"id":"chatcmpl-01010101010101010101010101010101","choices":[{"index":0,"a":1}]}
{"choices":[{"index":1,"a":2}]}
{"choices":[{"index":0,"a":3}]}
{"choices":[],"usage":{}}
"#;
    let values = |texts: &[&str]| -> Option<Vec<Value>> {
        Some(texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect())
    };
    assert_eq!(choices_of(lines, 0), values(&[r#"{"index":0,"a":1}"#, r#"{"index":0,"a":3}"#]));
    assert_eq!(choices_of(lines, 1), values(&[r#"{"index":1,"a":2}"#]));
    assert_eq!(choices_of(lines, 2), values(&[]));
    assert_eq!(choices_of(b"no json", 0), None);
    assert_eq!(id_of(lines), Some([1; 16]));
    assert_eq!(id_of(b"{}"), None);
}
