//! Openings: that every revealed value is the one committed to, and says what the claims say.

use alloc::vec::Vec;

use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::{Field, Opening, OutputChain},
    computation::{Controls, FinishReason, TokenId, derived_seed, tokens_from_bytes},
    receipt::{Answer, Openings, SeedSource, Statement},
};

use super::{Findings, shown};
use crate::{gap::Gap, rejection::Rejection, verdict::Established};

/// Verifies every opening against the statement.
pub(super) fn verify(
    openings: &Openings,
    statement: &Statement,
    findings: &mut Findings,
) -> Result<(), Rejection> {
    if let Some(opening) = openings.get(&Field::Request) {
        verify_commitment(Field::Request, opening, &statement.request)?;
    }
    match &statement.outcome {
        Ok(answer) => verify_answer(openings, statement, answer, findings)?,
        Err(_) => {
            let foreign = openings.keys().find(|field| **field != Field::Request);
            if let Some(field) = foreign {
                return Err(Rejection::OpeningWithoutClaim { field: *field });
            }
        }
    }
    for field in Field::ALL {
        let is_committed = match (&statement.outcome, field) {
            (_, Field::Request) => true,
            (Ok(answer), Field::Controls) => answer.computation.controls.is_some(),
            (outcome, _) => outcome.is_ok(),
        };
        match openings.contains_key(&field) {
            true => findings.establish(Established::Opened(field)),
            false if is_committed => findings.miss(Gap::NotOpened(field)),
            false => {}
        }
    }
    Ok(())
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
    if let Some(opening) = openings.get(&Field::Controls) {
        let field = Field::Controls;
        let expected = claims.controls.ok_or(Rejection::OpeningWithoutClaim { field })?;
        verify_commitment(field, opening, &expected)?;
        Controls::parse(&opening.value)
            .map_err(|cause| Rejection::OpenedTokens { field, cause })?;
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
