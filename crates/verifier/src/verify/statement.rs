//! What a statement may not say, whoever signs it: claims that contradict each other.

use tally_core::{
    computation::FinishReason,
    receipt::{Answer, Kind, SeedSource, Statement},
};

use crate::rejection::Rejection;

/// Verifies that the claims do not contradict each other.
pub(super) fn verify(statement: &Statement) -> Result<(), Rejection> {
    let Ok(answer) = &statement.outcome else { return Ok(()) };
    let has_template = answer.preparation.template.is_some();
    if has_template != matches!(statement.kind, Kind::Chat) {
        return Err(Rejection::Template { kind: statement.kind, found: has_template });
    }
    if matches!(answer.seed_source, SeedSource::Derived) && statement.nonce.is_none() {
        return Err(Rejection::SeedWithoutNonce);
    }
    verify_stops(answer)?;
    let (found, limit) =
        (answer.computation.output_count, answer.computation.parameters.max_tokens);
    if found > limit {
        return Err(Rejection::OutputAboveMax { limit, found });
    }
    Ok(())
}

fn verify_stops(answer: &Answer) -> Result<(), Rejection> {
    let computation = &answer.computation;
    let stops = &computation.parameters.stop_tokens;
    for (previous, found) in stops.iter().zip(stops.iter().skip(1)) {
        if found <= previous {
            return Err(Rejection::StopOrder { previous: *previous, found: *found });
        }
    }
    let stopped = matches!(computation.finish, FinishReason::Stop);
    if stopped && (stops.is_empty() || computation.output_count == 0) {
        let (output_count, stop_count) = (computation.output_count, stops.len());
        return Err(Rejection::StopWithoutToken { output_count, stop_count });
    }
    Ok(())
}
