//! How long the regular expressions of a grammar are.

use serde_json::Value;

use super::{GrammarError, PATTERN_BYTES_MAX};

/// That a regular expression is not too long.
pub(super) const fn require_short(pattern: &str) -> Result<(), GrammarError> {
    match pattern.len() {
        found if found > PATTERN_BYTES_MAX => Err(GrammarError::PatternTooLong { found }),
        _ => Ok(()),
    }
}

/// That none in a JSON schema is.
pub(super) fn require_short_in(schema: &Value) -> Result<(), GrammarError> {
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("pattern", Value::String(pattern)) => require_short(pattern)?,
                        ("patternProperties", Value::Object(patterns)) => {
                            patterns.keys().try_for_each(|pattern| require_short(pattern))?;
                        }
                        _ => {}
                    }
                    rest.push(value);
                }
            }
            Value::Array(items) => rest.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// That a Lark grammar is not too long apart from its schemas, and none in those is.
///
/// A schema stands after `%json`; what cannot be read as one counts as part of the grammar.
pub(super) fn require_short_in_lark(text: &str) -> Result<(), GrammarError> {
    let mut found = text.len();
    for rest in text.split("%json").skip(1) {
        let mut schemas = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        if let Some(Ok(schema)) = schemas.next() {
            require_short_in(&schema)?;
            found -= schemas.byte_offset();
        }
    }
    match found {
        found if found > PATTERN_BYTES_MAX => Err(GrammarError::PatternTooLong { found }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_patterns_are_found_wherever_they_stand() {
        let [short, long] = [PATTERN_BYTES_MAX, PATTERN_BYTES_MAX + 1].map(|len| "a".repeat(len));
        let within = |pattern: &str| {
            [
                json!({"pattern": pattern}),
                json!({"properties": {"a": {"anyOf": [{"pattern": pattern}]}}}),
                json!({"patternProperties": {pattern: {}}}),
            ]
        };
        for schema in within(&short) {
            assert_eq!(require_short_in(&schema), Ok(()));
        }
        for schema in within(&long) {
            let found = PATTERN_BYTES_MAX + 1;
            assert_eq!(require_short_in(&schema), Err(GrammarError::PatternTooLong { found }));
        }
        assert_eq!(
            require_short_in(&json!({"const": long, "properties": {"pattern": {}}})),
            Ok(())
        );
    }

    #[test]
    fn the_schemas_of_a_lark_grammar_count_for_themselves() {
        let [short, long] = [100, 4_000].map(|len| "a".repeat(len));
        let lark = |constant: &str, pattern: &str, rest: &str| {
            let schema = json!({"anyOf": [{"const": constant}, {"pattern": pattern}]});
            format!("start: \"<\" call\ncall: %json {schema} \">\"\n{rest}")
        };
        assert_eq!(require_short_in_lark(&lark(&long, &short, &short)), Ok(()));
        for text in
            [lark(&short, &long, &short), lark(&short, &short, &long), format!("%json [{long}")]
        {
            assert!(require_short_in_lark(&text).is_err());
        }
    }
}
