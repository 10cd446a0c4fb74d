//! The methods of Python's texts and maps that published chat templates call.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

/// Calls `method` on a text or map; anything not listed here stays unknown.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => call_on_text(text, method, arguments),
        (ValueKind::Map, _) => match method {
            "items" => {
                let () = from_args(arguments)?;
                state.apply_filter("items", std::slice::from_ref(value))
            }
            "get" => {
                let (key, default): (Value, Option<Value>) = from_args(arguments)?;
                let found = value.get_item(&key)?;
                let absent = || default.unwrap_or_else(|| Value::from(()));
                Ok(if found.is_undefined() { absent() } else { found })
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        },
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn call_on_text(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let stripped = |from_start: bool, from_end: bool| -> Result<Value, Error> {
        let (chars,): (Option<String>,) = from_args(arguments)?;
        let is_stripped = |char: char| match &chars {
            Some(chars) => chars.contains(char),
            None => char.is_whitespace(),
        };
        let text = if from_start { text.trim_start_matches(is_stripped) } else { text };
        Ok(Value::from(if from_end { text.trim_end_matches(is_stripped) } else { text }))
    };
    match method {
        "strip" => stripped(true, true),
        "lstrip" => stripped(true, false),
        "rstrip" => stripped(false, true),
        "startswith" => from_args(arguments).map(|(part,): (&str,)| text.starts_with(part).into()),
        "endswith" => from_args(arguments).map(|(part,): (&str,)| text.ends_with(part).into()),
        "lower" => from_args(arguments).map(|()| text.to_lowercase().into()),
        "upper" => from_args(arguments).map(|()| text.to_uppercase().into()),
        "split" => {
            let (part,): (Option<&str>,) = from_args(arguments)?;
            let parts: Vec<&str> = match part {
                Some("") => return Err(ErrorKind::InvalidOperation.into()),
                Some(part) => text.split(part).collect(),
                None => text.split_whitespace().collect(),
            };
            Ok(parts.into_iter().map(Value::from).collect())
        }
        "replace" => {
            let (from, to): (&str, &str) = from_args(arguments)?;
            if to.len() > from.len()
                && text.len().saturating_mul(to.len()) > super::RENDERED_BYTES_MAX
            {
                return Err(ErrorKind::InvalidOperation.into());
            }
            Ok(text.replace(from, to).into())
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}
