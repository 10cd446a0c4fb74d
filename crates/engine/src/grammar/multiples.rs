//! What `multipleOf` in a JSON schema costs: the one keyword whose work no fuel of the engine bounds.
//!
//! To tell the multiples of d apart the engine searches d states for each number of a schema, and
//! for several that hold together their least common multiple. Five numbers whose two divisors are
//! near a thousand take most of a minute. So the schema is measured before it is compiled.

use serde_json::{Number, Value};

use super::GrammarError;

/// Most states that all numbers of a schema take together: about a second of work.
const STATES_MAX: u128 = 1 << 18;
/// Most decimal places, so that scaling stays within integers.
const PLACES_MAX: u32 = 9;

/// A decimal number: `coefficient` / 10^`places`.
#[derive(Clone, Copy)]
struct Decimal {
    coefficient: u64,
    places: u32,
}

/// Refuses a schema whose multiples take too long to tell apart.
pub(super) fn require_few(schema: &Value) -> Result<(), GrammarError> {
    let (mut objects, mut found) = (0_u128, vec![]);
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => {
                objects += 1;
                if let Some(Value::Number(number)) = members.get("multipleOf") {
                    found.push(decimal(number).ok_or_else(|| refused(number))?);
                }
                rest.extend(members.values());
            }
            Value::Array(items) => rest.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let places = found.iter().map(|each| each.places).max().unwrap_or(0);
    let mut common = 1_u128;
    for each in &found {
        let scaled = u128::from(each.coefficient) * 10_u128.pow(places - each.places);
        if scaled > 0 {
            common = common / gcd(common, scaled) * scaled;
        }
        if common * objects > STATES_MAX {
            return Err(GrammarError::TooComplex {
                reason: format!(
                    "`multipleOf` of {} numbers in {objects} schemas has a least common multiple of \
                     {common} units; {STATES_MAX} is the limit of both together",
                    found.len()
                ),
            });
        }
    }
    Ok(())
}

/// The schemas that a Lark grammar holds, each after `%json`; one that cannot be read ends them, and
/// the grammar's engine refuses it in its own words.
pub(super) fn schemas(lark: &str) -> impl Iterator<Item = Value> {
    lark.split("%json").skip(1).filter_map(|text| {
        serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()
    })
}

/// A number as it is written, if it is not negative and has few places.
fn decimal(number: &Number) -> Option<Decimal> {
    let text = number.to_string();
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let coefficient: u64 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()? - exponent;
    let (factor, places) = match u32::try_from(places) {
        Ok(places) => (1, places),
        Err(_) => (10_u64.checked_pow(places.unsigned_abs())?, 0),
    };
    let coefficient = coefficient.checked_mul(factor)?;
    let is_usable = places <= PLACES_MAX && coefficient <= u64::from(u32::MAX);
    is_usable.then_some(Decimal { coefficient, places })
}

fn refused(number: &Number) -> GrammarError {
    GrammarError::TooComplex {
        reason: format!(
            "`multipleOf` is {number}: expected 0 to {} with at most {PLACES_MAX} decimal places",
            u32::MAX
        ),
    }
}

const fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(count: u32, schema: impl Fn(u32) -> Value) -> Value {
        let members = (0..count).map(|index| (format!("k{index}"), schema(index)));
        json!({"type": "object", "properties": members.collect::<serde_json::Map<_, _>>()})
    }

    #[test]
    fn prices_and_minutes_are_few_and_large_or_many_divisors_are_not() {
        for few in [
            json!({"type": "number", "multipleOf": 0.01}),
            numbers(200, |_| json!({"type": "integer", "multipleOf": 15})),
            numbers(20, |index| {
                let divisor = ["0.01", "0.5", "5", "1e2"][index as usize % 4];
                serde_json::from_str(&format!("{{\"multipleOf\": {divisor}}}")).unwrap()
            }),
            json!({"multipleOf": 0}),
            json!({"properties": {"multipleOf": {"type": "integer"}}}),
        ] {
            assert_eq!(require_few(&few), Ok(()), "{few}");
        }
        for many in [
            numbers(50, |index| json!({"type": "integer", "multipleOf": 9000 + index})),
            numbers(5, |_| json!({"allOf": [{"multipleOf": 997}, {"multipleOf": 1009}]})),
            json!({"multipleOf": 1_000_000}),
            json!({"multipleOf": -3}),
            json!({"multipleOf": 1e-10}),
            json!({"multipleOf": 1e300}),
            json!({"multipleOf": u64::MAX}),
        ] {
            let found = require_few(&many);
            assert!(matches!(found, Err(GrammarError::TooComplex { .. })), "{many}: {found:?}");
        }
    }

    #[test]
    fn schemas_within_a_lark_grammar_are_found() {
        let lark = "start: \"<\" call\ncall: %json {\"multipleOf\": 7} \">\"\nb: %json [1, 2";
        let found: Vec<Value> = schemas(lark).collect();
        assert_eq!(found, [json!({"multipleOf": 7})]);
    }
}
