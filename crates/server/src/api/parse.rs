//! From a body's bytes to a request: every field known, none twice, numbers exact.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tally_core::computation::{Micro, SignedMicro};
use utoipa::{PartialSchema, ToSchema};

use super::error::ApiError;

/// Longest decimal, and largest exponent, that is looked at.
const DECIMAL_LEN_MAX: u64 = 40;

/// Parses a body.
///
/// # Errors
/// What is not JSON, and a field that is unknown, missing, given twice or of another type: each
/// refusal names its field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // The library would take an array of all fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let text = "the body is an array, expected an object";
        return Err(ApiError::of_status(400, "invalid_json", text));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let parsed = parsed.map_err(|error| refusal(&error))?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(parsed)
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::of_status(400, "invalid_json", format!("the body is no JSON: {error}"))
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if !inner.is_data() {
        return not_json(inner);
    }
    let path = error.path().to_string();
    let message = inner.to_string();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    let twice = message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`'));
    // The path of a field that is not there is that of what should hold it.
    let place = path.trim_end_matches('?').trim_end_matches('.');
    let inside = |name: &str| match place {
        "" => name.to_owned(),
        place if place.ends_with(name) => place.to_owned(),
        place => format!("{place}.{name}"),
    };
    if let Some((name, _)) = twice {
        let text = format!("`{}` stands there twice", inside(name));
        return ApiError::invalid(inside(name), text);
    }
    match (unknown, missing) {
        (Some((name, _)), _) => ApiError::unsupported(
            inside(name),
            format!("`{}` is no parameter of this endpoint", inside(name)),
        ),
        (_, Some((name, _))) => {
            ApiError::invalid(inside(name), format!("`{}` is missing", inside(name)))
        }
        _ if place.is_empty() => ApiError::of_status(400, "invalid_json", message),
        _ => ApiError::invalid(place, format!("`{place}`: {message}")),
    }
}

/// A number that was a decimal in the text, exact to millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(SignedMicro);

impl Decimal {
    /// The number, if it lies between zero and `limit`.
    ///
    /// # Errors
    /// A number outside.
    pub fn up_to(self, param: &str, limit: Micro) -> Result<Micro, ApiError> {
        let millionths = u32::try_from(self.0.millionths()).ok().map(Micro::from_millionths);
        millionths.filter(|value| *value <= limit).ok_or_else(|| {
            ApiError::invalid(param, format!("`{param}` is {}, expected 0 to {limit}", self.0))
        })
    }

    /// The number, if its magnitude is at most `limit`.
    ///
    /// # Errors
    /// A number outside.
    pub fn within(self, param: &str, limit: Micro) -> Result<SignedMicro, ApiError> {
        if self.0.millionths().unsigned_abs() <= limit.millionths() {
            return Ok(self.0);
        }
        let text = format!("`{param}` is {}, expected -{limit} to {limit}", self.0);
        Err(ApiError::invalid(param, text))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let plain = plain(raw.get());
        plain.and_then(|plain| SignedMicro::parse(&plain)).map(Self).ok_or_else(|| {
            let shown: String = raw.get().chars().take(40).collect();
            D::Error::custom(format!("found {shown}, expected a decimal of at most six places"))
        })
    }
}

/// A JSON number without exponent and without zeros at its end, `None` if it is none or too long.
fn plain(number: &str) -> Option<String> {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent.unsigned_abs() > DECIMAL_LEN_MAX || mantissa.len() as u64 > DECIMAL_LEN_MAX {
        return None;
    }
    let digits = format!("{whole}{places}");
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let before = usize::try_from(-point).unwrap_or_default();
    let digits = format!("{}{digits}", "0".repeat(before));
    let point = usize::try_from(point).unwrap_or_default();
    let behind = point.saturating_sub(digits.len());
    let digits = format!("{digits}{}", "0".repeat(behind));
    let (whole, places) = digits.split_at(point);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match places.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        places => format!("{sign}{whole}.{places}"),
    })
}

impl ToSchema for Decimal {}

impl PartialSchema for Decimal {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        f64::schema()
    }
}

/// Numbers by token id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Biases(pub Vec<(u32, Decimal)>);

impl<'de> Deserialize<'de> for Biases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(u32, Decimal)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with token ids as its keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = vec![];
                while let Some((key, value)) = map.next_entry::<String, Decimal>()? {
                    let token = key.parse().ok().filter(|token: &u32| token.to_string() == key);
                    let unknown = || A::Error::custom(format!("`{key}` is no token id"));
                    pairs.push((token.ok_or_else(unknown)?, value));
                }
                Ok(pairs)
            }
        }
        let mut pairs = deserializer.deserialize_map(Pairs)?;
        pairs.sort_unstable_by_key(|(token, _)| *token);
        match pairs.array_windows().find(|[a, b]| a.0 == b.0) {
            Some([(token, _), _]) => {
                Err(D::Error::custom(format!("token id {token} stands there twice")))
            }
            None => Ok(Self(pairs)),
        }
    }
}

impl ToSchema for Biases {}

impl PartialSchema for Biases {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        std::collections::BTreeMap::<String, f64>::schema()
    }
}

/// JSON that is passed on as it was written.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl ToSchema for Json {}

impl PartialSchema for Json {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::Object::new().into()
    }
}

/// One, or a list of them.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}
