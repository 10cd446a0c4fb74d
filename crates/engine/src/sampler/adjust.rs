//! What a request changes about logits before anything else: biases, penalties of repetition, and
//! tokens that are not allowed (`spec/arithmetic.md`, A-40).

use std::collections::BTreeMap;

use tally_core::computation::{BIAS_MAX, Micro, SamplingParameters, SignedMicro, TokenId};

use super::SamplerError;
use crate::grammar::is_in;

/// Greatest magnitude of an adjusted logit, that of logits.
pub const LOGIT_MAX: i32 = 1 << 30;

static NO_COUNTS: BTreeMap<TokenId, u32> = BTreeMap::new();

/// What one draw depends on beside logits, parameters, seed and position.
#[derive(Clone, Copy, Debug)]
pub struct Adjustments<'a> {
    /// How often each token stands in the output so far; the input does not count.
    pub counts: &'a BTreeMap<TokenId, u32>,
    /// What is added to the logits of single tokens, in strictly increasing order of tokens.
    pub bias: &'a [(TokenId, SignedMicro)],
    /// The tokens that may be drawn, if not all: token t is bit t mod 32 of word ⌊t/32⌋.
    pub allowed: Option<&'a [u32]>,
}

impl Adjustments<'static> {
    /// No adjustment.
    pub const NONE: Self = Self { counts: &NO_COUNTS, bias: &[], allowed: None };
}

impl Adjustments<'_> {
    /// Whether a token may be drawn.
    pub(super) fn allows(&self, token: TokenId) -> bool {
        self.allowed.is_none_or(|allowed| is_in(allowed, token))
    }
}

/// Writes the adjusted logits to `adjusted`, unless all stay as they are: whether it did.
pub(super) fn adjust(
    logits: &[i32],
    fraction_bits: u32,
    parameters: &SamplingParameters,
    adjustments: &Adjustments<'_>,
    adjusted: &mut Vec<i32>,
    totals: &mut Vec<(TokenId, i64)>,
) -> Result<bool, SamplerError> {
    let Adjustments { counts, bias, .. } = *adjustments;
    appraise_bias(bias)?;
    let presence = i64::from(parameters.presence_penalty.millionths());
    let frequency = i64::from(parameters.frequency_penalty.millionths());
    totals.clear();
    if presence != 0 || frequency != 0 {
        let held = counts.iter().filter(|(_, count)| **count > 0);
        let penalty = |count: &u32| -(presence + frequency * i64::from(*count));
        totals.extend(held.map(|(token, count)| (*token, penalty(count))));
    }
    totals.extend(bias.iter().map(|(token, bias)| (*token, i64::from(bias.millionths()))));
    if totals.is_empty() {
        return Ok(false);
    }
    totals.sort_by_key(|(token, _)| *token);
    adjusted.clear();
    adjusted.extend_from_slice(logits);
    // A token's bias and penalties are rounded together.
    for of_token in totals.chunk_by(|(one, _), (other, _)| one == other) {
        let (found, count) = (of_token[0].0, logits.len());
        let index = usize::try_from(found).unwrap_or(usize::MAX);
        let logit = adjusted.get_mut(index).ok_or(SamplerError::Token { found, count })?;
        let total = of_token.iter().map(|(_, total)| total).sum();
        *logit = adjusted_logit(*logit, total, fraction_bits);
    }
    Ok(true)
}

/// clamp(l + ⌊total · 2^Λ / 10^6 + 1/2⌋).
fn adjusted_logit(logit: i32, total: i64, fraction_bits: u32) -> i32 {
    let million = i128::from(Micro::ONE.millionths());
    let scaled = (i128::from(total) << (fraction_bits + 1)) + million;
    let sum = i128::from(logit) + scaled.div_euclid(2 * million);
    let limit = i128::from(LOGIT_MAX);
    i32::try_from(sum.clamp(-limit, limit)).unwrap_or(LOGIT_MAX)
}

fn appraise_bias(bias: &[(TokenId, SignedMicro)]) -> Result<(), SamplerError> {
    let is_beyond = |(_, bias): &&(_, SignedMicro)| bias.millionths().unsigned_abs() > BIAS_MAX;
    if let Some((token, found)) = bias.iter().find(is_beyond) {
        return Err(SamplerError::Bias { token: *token, found: *found });
    }
    match bias.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        Some(pair) => Err(SamplerError::BiasOrder { token: pair[1].0 }),
        None => Ok(()),
    }
}
