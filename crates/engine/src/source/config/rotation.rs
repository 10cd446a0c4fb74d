//! The rotation of `config.json`, in both of its spellings.

use super::{FILE, POSITIONS_MAX, Rotation, RotationScaling};
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
    parameters.refuse_rest(&[])?;
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
    let mut divisor = |name: &'static str| {
        let found = parameters.decimal(name)?;
        found.ok_or_else(|| parameters.missing(name))
    };
    match new.or(old).as_deref().unwrap_or("default") {
        "default" => Ok(RotationScaling::None),
        "linear" => Ok(RotationScaling::Linear { factor: divisor("factor")? }),
        "llama3" => Ok(RotationScaling::Llama3 {
            factor: divisor("factor")?,
            low_freq_factor: divisor("low_freq_factor")?,
            high_freq_factor: divisor("high_freq_factor")?,
            original_context: original
                .ok_or_else(|| parameters.missing("original_max_position_embeddings"))?,
        }),
        other => Err(refused(other)),
    }
}
