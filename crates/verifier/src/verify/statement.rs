//! What a statement may not say, whoever signs it: claims that contradict each other.

use tally_core::{
    computation::FinishReason,
    receipt::{Answer, Kind, SeedSource, Statement},
};

use crate::rejection::Rejection;

/// Verifies that the claims do not contradict each other.
pub(super) fn verify(statement: &Statement) -> Result<(), Rejection> {
    let kind = statement.kind;
    let Some(preparation) = statement.outcome.preparation() else { return Ok(()) };
    let is_embedding = statement.outcome.embedding().is_some();
    if is_embedding != matches!(kind, Kind::Embedding) {
        return Err(Rejection::OutcomeKind { kind, is_embedding });
    }
    let has_template = preparation.template.is_some();
    if has_template != matches!(kind, Kind::Chat) {
        return Err(Rejection::Template { kind, found: has_template });
    }
    let Some(answer) = statement.outcome.answer() else { return Ok(()) };
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
    let is_string = matches!(computation.finish, FinishReason::StopString);
    if is_string && (computation.controls.is_none() || computation.output_count == 0) {
        let (output_count, has_controls) =
            (computation.output_count, computation.controls.is_some());
        return Err(Rejection::StopStringWithoutControls { output_count, has_controls });
    }
    Ok(())
}
