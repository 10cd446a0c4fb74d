//! Log-probabilities of tokens as the model sees them: at temperature one, before any adjustment
//! (`spec/arithmetic.md`, A-41).

use std::fmt;

use tally_core::computation::{Micro, TokenId};

use super::gumbel::negative_log;
use super::tables::{LOG_FRACTION_BITS, SamplerTables};
use super::weight::{WEIGHT_BITS, WeightScale};
use super::{LOGIT_FRACTION_BITS_MAX, SamplerError, VOCABULARY_MAX};

/// Most alternatives that are given with a token.
pub const LOGPROBS_MAX: u8 = 20;

/// The natural logarithm of a probability in millionths, never above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogProbability(i64);

impl LogProbability {
    /// Millionths.
    #[must_use]
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

impl fmt::Display for LogProbability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let million = u64::from(Micro::ONE.millionths());
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, places) = (magnitude / million, magnitude % million);
        let digits = format!("{places:06}");
        write!(
            f,
            "{sign}{whole}.{}",
            match digits.trim_end_matches('0') {
                "" => "0",
                digits => digits,
            }
        )
    }
}

/// How likely a token was, and what else was likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLogprobs {
    /// The token.
    pub token: TokenId,
    /// Its log-probability.
    pub log_probability: LogProbability,
    /// The likeliest tokens, in the order of their logits and then of their ids.
    pub top: Vec<(TokenId, LogProbability)>,
}

/// The log-probability of a token and those of the `count` likeliest.
///
/// # Errors
/// Logits beyond the sampler's limits, a token without a logit, or a count above [`LOGPROBS_MAX`].
pub fn logprobs(
    logits: &[i32],
    fraction_bits: u32,
    token: TokenId,
    count: u8,
) -> Result<TokenLogprobs, SamplerError> {
    if count > LOGPROBS_MAX {
        return Err(SamplerError::Logprobs { found: count });
    }
    if logits.len() > VOCABULARY_MAX {
        return Err(SamplerError::Vocabulary { found: logits.len() });
    }
    if fraction_bits > LOGIT_FRACTION_BITS_MAX {
        return Err(SamplerError::FractionBits { found: fraction_bits });
    }
    let vocabulary = SamplerError::Vocabulary { found: logits.len() };
    let highest = logits.iter().copied().max().ok_or(vocabulary)?;
    let index = usize::try_from(token).unwrap_or(usize::MAX);
    let beyond = SamplerError::Token { found: token, count: logits.len() };
    let logit = *logits.get(index).ok_or(beyond)?;
    let scale = WeightScale::new(fraction_bits, Micro::ONE.millionths());
    let weights = logits.iter().map(|logit| scale.weight(highest.abs_diff(*logit).into()));
    let total: u64 = weights.sum();
    let base = i128::from(negative_log(SamplerTables::get(), total, WEIGHT_BITS));
    let of = |logit: i32| {
        let distance = i128::from(highest.abs_diff(logit)) << (LOG_FRACTION_BITS - fraction_bits);
        let scaled = (base - distance) * i128::from(Micro::ONE.millionths());
        let rounded = ((scaled >> (LOG_FRACTION_BITS - 1)) + 1) >> 1;
        LogProbability(i64::try_from(rounded).unwrap_or(i64::MIN))
    };
    let top = likeliest(logits, usize::from(count));
    let top = top.into_iter().map(|(token, logit)| (token, of(logit))).collect();
    Ok(TokenLogprobs { token, log_probability: of(logit), top })
}

/// The `count` tokens of the highest logits, the highest first and then the lowest id.
fn likeliest(logits: &[i32], count: usize) -> Vec<(TokenId, i32)> {
    let mut top: Vec<(TokenId, i32)> = Vec::with_capacity(count + 1);
    for (token, logit) in (0..).zip(logits.iter().copied()) {
        if top.len() == count && top.last().is_none_or(|(_, least)| logit <= *least) {
            continue;
        }
        let place = top.partition_point(|(_, other)| *other >= logit);
        top.insert(place, (token, logit));
        top.truncate(count);
    }
    top
}
