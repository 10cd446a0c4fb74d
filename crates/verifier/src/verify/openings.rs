//! Openings: that every revealed value is the one committed to, and says what the claims say.

use alloc::vec::Vec;

use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::{Field, Opening, OutputChain},
    computation::{
        Controls, FinishReason, TokenId, derived_seed, inputs_from_bytes, tokens_from_bytes,
        vectors_from_bytes,
    },
    receipt::{Answer, Bundle, EmbeddingAnswer, Openings, Outcome, SeedSource, Statement},
};

use super::{Findings, attribution, shown};
use crate::{gap::Gap, rejection::Rejection, verdict::Established};

/// Verifies every opening against the statement.
pub(super) fn verify(
    bundle: &Bundle,
    statement: &Statement,
    signer: &Digest,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    let openings = &bundle.openings;
    if let Some(opening) = openings.get(&Field::Request) {
        verify_commitment(Field::Request, opening, &statement.request)?;
    }
    let foreign = openings.keys().find(|field| !is_committed(statement, **field));
    if let Some(field) = foreign {
        return Err(Rejection::OpeningWithoutClaim { field: *field });
    }
    match &statement.outcome {
        Outcome::Answer(answer) => verify_answer(openings, statement, answer, findings)?,
        Outcome::Embedding(embedding) => verify_embedding(openings, embedding, findings)?,
        Outcome::Refusal(_) => {}
    }
    if let (Some(opening), Some(commitment)) =
        (openings.get(&Field::Attribution), &statement.attribution)
    {
        verify_commitment(Field::Attribution, opening, commitment)?;
        attribution::verify(&opening.value, &bundle.evidence, statement, signer, findings)?;
    }
    for field in Field::ALL {
        match openings.contains_key(&field) {
            true => findings.establish(Established::Opened(field)),
            false if is_committed(statement, field) => {
                findings.miss(Gap::NotOpened(field));
            }
            false => {}
        }
    }
    Ok(())
}

/// Whether a statement commits to a field.
fn is_committed(statement: &Statement, field: Field) -> bool {
    match (&statement.outcome, field) {
        (_, Field::Request) => true,
        (_, Field::Attribution) => statement.attribution.is_some(),
        (Outcome::Refusal(_), _) => false,
        (_, Field::Response | Field::Input | Field::Output) => true,
        (outcome, Field::Seed) => outcome.answer().is_some(),
        (outcome, Field::Controls) => {
            outcome.answer().is_some_and(|answer| answer.computation.controls.is_some())
        }
    }
}

fn verify_answer(
    openings: &Openings,
    statement: &Statement,
    answer: &Answer,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    let claims = &answer.computation;
    if let Some(opening) = openings.get(&Field::Response) {
        verify_commitment(Field::Response, opening, &answer.response)?;
    }
    let input = match openings.get(&Field::Input) {
        None => None,
        Some(opening) => {
            verify_commitment(Field::Input, opening, &claims.input)?;
            let tokens = tokens(Field::Input, opening)?;
            let (expected, found) = (claims.input_count, tokens.len());
            if u32::try_from(found) != Ok(expected) {
                return Err(Rejection::InputCount { expected, found });
            }
            Some(tokens)
        }
    };
    if let Some(opening) = openings.get(&Field::Output) {
        verify_output(opening, answer)?;
    }
    if let (Some(opening), Some(controls)) = (openings.get(&Field::Controls), &claims.controls) {
        verify_controls(opening, controls, claims.finish)?;
    }
    let seed = match openings.get(&Field::Seed) {
        None => None,
        Some(opening) => {
            verify_commitment(Field::Seed, opening, &claims.seed)?;
            let found = opening.value.len();
            let seed = Digest::from_slice(&opening.value);
            Some(seed.ok_or(Rejection::SeedLength { found })?)
        }
    };
    findings.miss(Gap::InputOfRequest);
    findings.miss(Gap::ResponseOfOutput);
    verify_seed(answer.seed_source, statement.nonce.as_deref(), input, seed, findings)
}

fn verify_commitment(field: Field, opening: &Opening, expected: &Digest) -> Result<(), Rejection> {
    let computed = opening.salt.commit(&opening.value);
    if computed != *expected {
        return Err(Rejection::Opening { field, expected: *expected, computed });
    }
    Ok(())
}

fn tokens(field: Field, opening: &Opening) -> Result<Vec<TokenId>, Rejection> {
    tokens_from_bytes(&opening.value).map_err(|cause| Rejection::OpenedTokens { field, cause })
}

/// Verifies the opened output against chain, count and finish reason.
fn verify_output(opening: &Opening, answer: &Answer) -> Result<(), Rejection> {
    let claims = &answer.computation;
    let tokens = tokens(Field::Output, opening)?;
    let computed = OutputChain::of(&opening.salt, &tokens).link();
    if computed != claims.output {
        return Err(Rejection::OutputChain { expected: claims.output, computed });
    }
    let (expected, found) = (claims.output_count, tokens.len());
    if u32::try_from(found) != Ok(expected) {
        return Err(Rejection::OutputCount { expected, found });
    }
    let Some((last, before)) = tokens.split_last() else { return Ok(()) };
    let stops = &claims.parameters.stop_tokens;
    if let Some(place) = before.iter().position(|token| stops.contains(token)) {
        let token = before.get(place).copied().unwrap_or_default();
        return Err(Rejection::StopPassed { place, token });
    }
    if matches!(claims.finish, FinishReason::Stop) && !stops.contains(last) {
        return Err(Rejection::StopNotLast { last: *last });
    }
    Ok(())
}

/// Verifies that the opened controls are controls, and hold a stop string where one was completed.
fn verify_controls(
    opening: &Opening,
    expected: &Digest,
    finish: FinishReason,
) -> Result<(), Rejection> {
    verify_commitment(Field::Controls, opening, expected)?;
    let controls =
        Controls::parse(&opening.value).map_err(|cause| Rejection::OpenedControls { cause })?;
    if matches!(finish, FinishReason::StopString) && controls.stop.is_empty() {
        return Err(Rejection::NoStopString);
    }
    Ok(())
}

/// Verifies the openings of embeddings: as many texts as vectors, as many tokens as is stated.
fn verify_embedding(
    openings: &Openings,
    embedding: &EmbeddingAnswer,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    let claims = &embedding.computation;
    if let Some(opening) = openings.get(&Field::Response) {
        verify_commitment(Field::Response, opening, &embedding.response)?;
    }
    let count = |field, found: usize| match u32::try_from(found) == Ok(claims.vector_count) {
        true => Ok(()),
        false => Err(Rejection::VectorCount { field, expected: claims.vector_count, found }),
    };
    if let Some(opening) = openings.get(&Field::Input) {
        let field = Field::Input;
        verify_commitment(field, opening, &claims.input)?;
        let inputs = inputs_from_bytes(&opening.value)
            .map_err(|cause| Rejection::OpenedTokens { field, cause })?;
        let (expected, found) = (claims.input_count, inputs.iter().map(Vec::len).sum());
        if u32::try_from(found) != Ok(expected) {
            return Err(Rejection::InputCount { expected, found });
        }
        count(field, inputs.len())?;
    }
    if let Some(opening) = openings.get(&Field::Output) {
        verify_commitment(Field::Output, opening, &claims.output)?;
        let vectors = vectors_from_bytes(&opening.value)
            .map_err(|cause| Rejection::OpenedVectors { cause })?;
        count(Field::Output, vectors.len())?;
    }
    findings.miss(Gap::InputOfRequest);
    findings.miss(Gap::ResponseOfOutput);
    Ok(())
}

/// Derives the seed again where it is said to be derived; says what stays open where it is not.
fn verify_seed(
    source: SeedSource,
    nonce: Option<&[u8]>,
    input: Option<Vec<TokenId>>,
    seed: Option<Digest>,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    match (source, nonce, input, seed) {
        (SeedSource::Client, ..) => findings.miss(Gap::SeedOfClient),
        (SeedSource::Issuer, ..) => findings.miss(Gap::SeedOfIssuer),
        (SeedSource::Derived, Some(nonce), Some(input), Some(expected)) => {
            let computed = shown(derived_seed(nonce, &input));
            if computed != expected {
                return Err(Rejection::DerivedSeed { expected, computed });
            }
            findings.establish(Established::SeedDerived);
        }
        (SeedSource::Derived, ..) => findings.miss(Gap::SeedNotDerived),
    }
    Ok(())
}
