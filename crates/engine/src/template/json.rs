//! The filter `tojson` as published templates know it: Python's `json.dumps`, which escapes neither
//! for HTML nor beyond ASCII.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Nesting of a value that is written.
const DEPTH_MAX: usize = 256;
/// Most spaces of one step of indentation.
const INDENT_MAX: usize = 16;

/// Writes a value with the keyword arguments that templates use.
#[expect(clippy::needless_pass_by_value, reason = "filters get their keyword arguments so")]
pub(super) fn tojson(value: &Value, arguments: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    let separators: Option<Vec<String>> = arguments.get("separators")?;
    let ensure_ascii: Option<bool> = arguments.get("ensure_ascii")?;
    let sort_keys: Option<bool> = arguments.get("sort_keys")?;
    arguments.assert_all_used()?;
    if ensure_ascii == Some(true) || indent.is_some_and(|indent| indent > INDENT_MAX) {
        return Err(refuse("tojson takes no ensure_ascii and at most 16 spaces"));
    }
    let default = if indent.is_some() { "," } else { ", " };
    let (between, colon) = match separators.as_deref() {
        None => (default, ": "),
        Some([between, colon]) => (between.as_str(), colon.as_str()),
        Some(_) => return Err(refuse("tojson takes two separators")),
    };
    let sorts = sort_keys.unwrap_or_default();
    let mut writer = Writer { out: String::new(), indent, between, colon, sorts };
    writer.write(value, 0)?;
    Ok(Value::from(writer.out))
}

fn refuse(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

struct Writer<'a> {
    out: String,
    indent: Option<usize>,
    between: &'a str,
    colon: &'a str,
    sorts: bool,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX || self.out.len() > super::RENDERED_BYTES_MAX {
            return Err(refuse("tojson of a value that is too large"));
        }
        match value.kind() {
            ValueKind::Undefined => Err(refuse("tojson of an undefined value")),
            ValueKind::None => {
                self.out.push_str("null");
                Ok(())
            }
            ValueKind::Bool => {
                self.out.push_str(if value.is_true() { "true" } else { "false" });
                Ok(())
            }
            ValueKind::Number => self.write_number(value),
            ValueKind::String => self.write_text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_all('[', ']', &items, depth, |writer, item| {
                    writer.write(item, depth + 1)
                })
            }
            ValueKind::Map => {
                let mut names: Vec<Value> = value.try_iter()?.collect();
                if self.sorts {
                    names.sort();
                }
                self.write_all('{', '}', &names, depth, |writer, name| {
                    let text = name.as_str().ok_or_else(|| refuse("tojson of a name of no text"));
                    writer.write_text(text?)?;
                    writer.out.push_str(writer.colon);
                    writer.write(&value.get_item(name)?, depth + 1)
                })
            }
            _ => Err(refuse("tojson of a value that JSON does not have")),
        }
    }

    /// The items between two brackets, each on a line of its own where there is indentation.
    fn write_all(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        depth: usize,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(self.between);
            }
            self.break_line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.break_line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn break_line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_text(&mut self, text: &str) -> Result<(), Error> {
        let quoted = serde_json::to_string(text).map_err(|_| refuse("tojson of a text"))?;
        self.out.push_str(&quoted);
        Ok(())
    }

    fn write_number(&mut self, value: &Value) -> Result<(), Error> {
        if value.is_integer() {
            self.out.push_str(&value.to_string());
            return Ok(());
        }
        let text = python_float(&value.to_string());
        self.out.push_str(&text.ok_or_else(|| refuse("tojson of a number beyond JSON"))?);
        Ok(())
    }
}

/// A decimal as Python writes it: an exponent below 10^-4 and from 10^16 on.
///
/// Its digits are those that the template engine gives: the fewest that give the number back.
fn python_float(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{places}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_start_matches('0');
    let leading = i32::try_from(all.len() - significant.len()).ok()?;
    let digits = significant.trim_end_matches('0');
    // Where the point stands, counted from the first significant digit.
    let point = i32::try_from(whole.len()).ok()? - leading + exponent.parse::<i32>().ok()?;
    let Some((first, rest)) = digits.split_at_checked(1) else { return Some(format!("{sign}0.0")) };
    if !(-3..=16).contains(&point) {
        let (dot, exponent) = (if rest.is_empty() { "" } else { "." }, point - 1);
        let minus = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{sign}{first}{dot}{rest}e{minus}{:02}", exponent.unsigned_abs()));
    }
    let Ok(len) = usize::try_from(point) else {
        let zeros = "0".repeat(usize::try_from(-point).ok()?);
        return Some(format!("{sign}0.{zeros}{digits}"));
    };
    match digits.split_at_checked(len) {
        Some((whole, "")) => Some(format!("{sign}{whole}.0")),
        Some(("", places)) => Some(format!("{sign}0.{places}")),
        Some((whole, places)) => Some(format!("{sign}{whole}.{places}")),
        None => Some(format!("{sign}{digits}{}.0", "0".repeat(len - digits.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `json.dumps(json.loads(text), ensure_ascii=False)` writes.
    #[test]
    fn values_are_written_as_python_writes_them() {
        for (text, expected) in [
            ("{}", "{}"),
            ("[]", "[]"),
            (r#"{"b":1,"a":[true,null,-7]}"#, r#"{"b": 1, "a": [true, null, -7]}"#),
            (r#"["<é>&'\u0001\n\"\\\u007f"]"#, "[\"<é>&'\\u0001\\n\\\"\\\\\u{7f}\"]"),
            ("[1.0,0.1,1e5,1e-4,12.5]", "[1.0, 0.1, 100000.0, 0.0001, 12.5]"),
            ("[1e16,1e22,1.5e-5,-2e300]", "[1e+16, 1e+22, 1.5e-05, -2e+300]"),
            ("[123456789012345680.0,1e15]", "[1.2345678901234568e+17, 1000000000000000.0]"),
            ("[-0.0,18446744073709551615]", "[-0.0, 18446744073709551615]"),
        ] {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            let value = crate::template::chat::value_of(&json);
            let written = tojson(&value, Kwargs::from_iter::<[(&str, Value); 0]>([])).unwrap();
            assert_eq!(written.as_str(), Some(expected));
        }
    }

    #[test]
    fn indentation_separators_and_order_are_those_of_python() {
        let json = serde_json::json!({"b": [1, {}], "a": "x"});
        let value = crate::template::chat::value_of(&json);
        let with = |arguments: &[(&str, Value)]| {
            tojson(&value, arguments.iter().cloned().collect()).map(|text| text.to_string())
        };
        let indented = with(&[("indent", Value::from(4))]).unwrap();
        assert_eq!(
            indented,
            "{\n    \"b\": [\n        1,\n        {}\n    ],\n    \"a\": \"x\"\n}"
        );
        let tight = with(&[("separators", Value::from(vec![",", ":"]))]).unwrap();
        assert_eq!(tight, r#"{"b":[1,{}],"a":"x"}"#);
        let sorted = with(&[("sort_keys", Value::from(true))]).unwrap();
        assert_eq!(sorted, r#"{"a": "x", "b": [1, {}]}"#);
        assert!(with(&[("ensure_ascii", Value::from(true))]).is_err());
        assert!(with(&[("unknown", Value::from(true))]).is_err());
        assert!(tojson(&Value::UNDEFINED, Kwargs::from_iter::<[(&str, Value); 0]>([])).is_err());
    }
}
