//! The rotation of `config.json`, in both of its spellings.

use super::{FILE, POSITIONS_MAX, Rotation, RotationScaling};
use crate::fixed::{Fixed, ROPE_TURNS_MAX};
use crate::source::decimal::Decimal;
use crate::source::error::{SourceError, shown};
use crate::source::json::Fields;

/// `rope_theta` with `rope_scaling`, or `rope_parameters` that has both; 10,000 if it is silent.
pub(super) fn parse(fields: &mut Fields) -> Result<Rotation, SourceError> {
    let theta = fields.decimal("rope_theta")?;
    let default = Decimal::new(1, 4).ok_or_else(|| fields.missing("rope_theta"))?;
    let scaling = fields.object("rope_scaling")?;
    let parameters = fields.object("rope_parameters")?;
    let parameters = match (scaling, parameters) {
        (Some(_), Some(_)) => {
            let (field, found) = ("rope_scaling", "an object beside rope_parameters".to_owned());
            let supported = "one of the two";
            return Err(SourceError::Feature { file: FILE.to_owned(), field, found, supported });
        }
        (one, other) => one.or(other),
    };
    let Some(mut parameters) = parameters else {
        return Ok(Rotation { theta: theta.unwrap_or(default), scaling: RotationScaling::None });
    };
    let nested = parameters.decimal("rope_theta")?;
    let scaling = scaling_of(&mut parameters)?;
    parameters.refuse_unless("partial_rotary_factor", &["1", "1.0"], "1")?;
    parameters.refuse_rest(&[], &[])?;
    Ok(Rotation { theta: nested.or(theta).unwrap_or(default), scaling })
}

fn scaling_of(parameters: &mut Fields) -> Result<RotationScaling, SourceError> {
    let field = "rope_type";
    let new = parameters.optional::<String>(field, "a text")?;
    let old = parameters.optional::<String>("type", "a text")?;
    let refused = |found: &str| SourceError::Feature {
        file: FILE.to_owned(),
        field,
        found: shown(found),
        supported: "default, linear or llama3",
    };
    if let (Some(new), Some(old)) = (&new, &old)
        && new != old
    {
        return Err(refused(&format!("{new} and {old}")));
    }
    let original = parameters.integer("original_max_position_embeddings", 1, POSITIONS_MAX)?;
    let mut number = |name: &'static str, is_legal: &dyn Fn(Decimal) -> bool, supported| {
        let found = parameters.decimal(name)?.ok_or_else(|| parameters.missing(name))?;
        let refused = || SourceError::Feature {
            file: FILE.to_owned(),
            field: name,
            found: found.to_string(),
            supported,
        };
        is_legal(found).then_some(found).ok_or_else(refused)
    };
    let is_divisor = |found: Decimal| {
        found.ratio().is_some_and(|(over, under)| i128::from(over) >= i128::from(under))
    };
    let divisor = "a number of at least 1 and below 2^63";
    match new.or(old).as_deref().unwrap_or("default") {
        "default" => Ok(RotationScaling::None),
        "linear" => Ok(RotationScaling::Linear { factor: number("factor", &is_divisor, divisor)? }),
        "llama3" => {
            let factor = number("factor", &is_divisor, divisor)?;
            let is_turns = |found: Decimal| {
                let limit = Fixed::from_ratio(ROPE_TURNS_MAX, 1);
                found.fixed().is_some() && found.fixed() <= limit
            };
            let low = number("low_freq_factor", &is_turns, "a number of at most 65,536")?;
            let is_above = |found: Decimal| is_turns(found) && found.fixed() > low.fixed();
            let supported = "a number above low_freq_factor and at most 65,536";
            let high = number("high_freq_factor", &is_above, supported)?;
            Ok(RotationScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_context: original
                    .ok_or_else(|| parameters.missing("original_max_position_embeddings"))?,
            })
        }
        other => Err(refused(other)),
    }
}
