//! Sampling in integers: what a request adds to logits and forbids, then temperature, then top-k,
//! then top-p, then Gumbel-max (`spec/arithmetic.md`, Sampling).
//!
//! The token is a function of (logits, fraction bits, parameters, adjustments, key, position) alone.
//! The draw maximises logit/T + g with one Gumbel variate g per token, made from the Philox word of
//! (position, token, choice): so tokens can be left out or taken in any order without moving the
//! others' words. Nothing is divided: the comparison is of g·T·2^a against (max − logit)·10^6·2^24
//! over the integers, with T in millionths and a the logits' fraction bits, so the only rounding of
//! a draw is that of g itself. Ties go to the lowest id, everywhere.

use thiserror::Error;

use tally_core::computation::{
    Micro, PENALTY_MAX, SamplingParameters, SignedMicro, TEMPERATURE_MAX, TokenId,
};
pub use tally_core::philox::SamplerKey;

mod adjust;
pub mod gumbel;
pub mod logprobs;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod weight;

pub use adjust::{Adjustments, LOGIT_MAX};
pub use logprobs::{LOGPROBS_MAX, LogProbability, TokenLogprobs};

use gumbel::GUMBEL_FRACTION_BITS;
use weight::WeightScale;

/// Most logits: with weights of 40 bits their sum stays below 2^61.
pub const VOCABULARY_MAX: usize = 1 << 20;
/// Most fraction bits of a logit.
pub const LOGIT_FRACTION_BITS_MAX: u32 = 31;
/// Candidates that top-p sorts first; each further portion is four times as large.
const FIRST_PORTION: usize = 256;

/// Why no token was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// No logits, or more than [`VOCABULARY_MAX`].
    #[error("{found} logits, expected 1 to {VOCABULARY_MAX}")]
    Vocabulary {
        /// How many there are.
        found: usize,
    },
    /// More fraction bits than [`LOGIT_FRACTION_BITS_MAX`].
    #[error("logits have {found} fraction bits, at most {LOGIT_FRACTION_BITS_MAX} are defined")]
    FractionBits {
        /// How many they have.
        found: u32,
    },
    /// A temperature above the limit.
    #[error("temperature is {found}, at most {TEMPERATURE_MAX} is allowed")]
    Temperature {
        /// The temperature.
        found: Micro,
    },
    /// A top-p above one.
    #[error("top-p is {found}, at most 1 is allowed")]
    TopP {
        /// The value.
        found: Micro,
    },
    /// A bias beyond its range.
    #[error("the bias of token {token} is {found}, at most 100 in magnitude is allowed")]
    Bias {
        /// The token.
        token: TokenId,
        /// Its bias.
        found: SignedMicro,
    },
    /// Biases that are not in strictly increasing order of their tokens.
    #[error("the bias of token {token} is not behind those of lower tokens")]
    BiasOrder {
        /// The first token out of order.
        token: TokenId,
    },
    /// A penalty beyond its range.
    #[error("a penalty is {found}, at most 2 in magnitude is allowed")]
    Penalty {
        /// The penalty.
        found: SignedMicro,
    },
    /// A token without a logit has a bias, a count, or is asked for.
    #[error("token id {found} is not in the vocabulary of {count}")]
    Token {
        /// The token.
        found: TokenId,
        /// How many logits there are.
        count: usize,
    },
    /// No token is allowed.
    #[error("none of {count} tokens is allowed")]
    NothingAllowed {
        /// How many logits there are.
        count: usize,
    },
    /// More alternatives than [`LOGPROBS_MAX`] are asked for.
    #[error("{found} log-probabilities are asked for, at most {LOGPROBS_MAX} are given")]
    Logprobs {
        /// How many.
        found: u8,
    },
}

/// Memory that one draw leaves for the next; it carries no state.
#[derive(Clone, Debug, Default)]
pub struct SamplerScratch {
    candidates: Vec<Candidate>,
    adjusted: Vec<i32>,
    totals: Vec<(TokenId, i64)>,
}

/// Draws the token for one position.
///
/// `logits` (vocabulary,) are integers in units of 2^−`fraction_bits`. A temperature of zero is the
/// first maximum of what is allowed, whatever top-k and top-p say.
///
/// # Errors
/// See [`SamplerError`]; none depends on the logits' values.
pub fn sample(
    logits: &[i32],
    fraction_bits: u32,
    parameters: &SamplingParameters,
    adjustments: &Adjustments<'_>,
    key: SamplerKey,
    position: u32,
    scratch: &mut SamplerScratch,
) -> Result<TokenId, SamplerError> {
    appraise(logits.len(), fraction_bits, parameters)?;
    let SamplerScratch { candidates, adjusted, totals } = scratch;
    let changed = adjust::adjust(logits, fraction_bits, parameters, adjustments, adjusted, totals)?;
    let logits = if changed { adjusted.as_slice() } else { logits };
    let allowed = (0..).zip(logits.iter().copied());
    let allowed = allowed.filter(|(token, _)| adjustments.allows(*token));
    let first_of_higher = |best: (TokenId, i32), next: (TokenId, i32)| {
        if next.1 > best.1 { next } else { best }
    };
    let nothing = SamplerError::NothingAllowed { count: logits.len() };
    let (best, highest) = allowed.clone().reduce(first_of_higher).ok_or(nothing)?;
    if parameters.temperature == Micro::ZERO {
        return Ok(best);
    }
    let draw = Draw::new(parameters, fraction_bits, key, position);
    let all = allowed.map(|(token, logit)| Candidate::new(token, highest, logit));
    let top_k = usize::try_from(parameters.top_k).unwrap_or(usize::MAX);
    let is_cut = (1..logits.len()).contains(&top_k) || parameters.top_p < Micro::ONE;
    if !is_cut {
        return Ok(draw.winner(best, all, gumbel::gumbel));
    }
    candidates.clear();
    candidates.extend(all);
    keep_top_k(candidates, top_k);
    keep_top_p(candidates, parameters.top_p, &WeightScale::new(fraction_bits, draw.temperature));
    Ok(draw.winner(best, candidates.iter().copied(), gumbel::gumbel))
}

/// The logits that a draw begins with: what biases and penalties make of them.
///
/// # Errors
/// As [`sample`], but that nothing may be drawn is none here.
pub fn adjusted_logits(
    logits: &[i32],
    fraction_bits: u32,
    parameters: &SamplingParameters,
    adjustments: &Adjustments<'_>,
) -> Result<Vec<i32>, SamplerError> {
    appraise(logits.len(), fraction_bits, parameters)?;
    let (mut adjusted, mut totals) = (vec![], vec![]);
    let adjusted_to = &mut adjusted;
    let changed =
        adjust::adjust(logits, fraction_bits, parameters, adjustments, adjusted_to, &mut totals)?;
    Ok(if changed { adjusted } else { logits.to_vec() })
}

/// Refuses what is out of range whatever the logits are.
fn appraise(
    logit_count: usize,
    fraction_bits: u32,
    parameters: &SamplingParameters,
) -> Result<(), SamplerError> {
    if !(1..=VOCABULARY_MAX).contains(&logit_count) {
        return Err(SamplerError::Vocabulary { found: logit_count });
    }
    if fraction_bits > LOGIT_FRACTION_BITS_MAX {
        return Err(SamplerError::FractionBits { found: fraction_bits });
    }
    if parameters.temperature > TEMPERATURE_MAX {
        return Err(SamplerError::Temperature { found: parameters.temperature });
    }
    if parameters.top_p > Micro::ONE {
        return Err(SamplerError::TopP { found: parameters.top_p });
    }
    let penalties = [parameters.presence_penalty, parameters.frequency_penalty];
    let is_beyond = |penalty: &SignedMicro| penalty.millionths().unsigned_abs() > PENALTY_MAX;
    match penalties.into_iter().find(is_beyond) {
        Some(found) => Err(SamplerError::Penalty { found }),
        None => Ok(()),
    }
}

/// A token and how far its logit lies below the highest; ordered by that distance, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

impl Candidate {
    fn new(token: TokenId, highest: i32, logit: i32) -> Self {
        Self(u64::from(highest.abs_diff(logit)) << 32 | u64::from(token))
    }

    /// max − logit.
    fn distance(self) -> u64 {
        self.0 >> 32
    }

    fn token(self) -> TokenId {
        TokenId::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(TokenId::MAX)
    }
}

/// Keeps the `top_k` likeliest candidates, in any order; zero keeps all.
fn keep_top_k(candidates: &mut Vec<Candidate>, top_k: usize) {
    if (1..candidates.len()).contains(&top_k) {
        candidates.select_nth_unstable(top_k - 1);
        candidates.truncate(top_k);
    }
}

/// Keeps the shortest run of likeliest candidates whose weights sum to at least `top_p` of all:
/// the candidate that crosses the border stays, and so does always the first.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: Micro, scale: &WeightScale) {
    if top_p >= Micro::ONE {
        return;
    }
    let total: u64 = candidates.iter().map(|each| scale.weight(each.distance())).sum();
    let border = u128::from(total) * u128::from(top_p.millionths());
    let mut sum = 0_u64;
    let (mut start, mut portion) = (0, FIRST_PORTION);
    while let Some(rest) = candidates.get_mut(start..).filter(|rest| !rest.is_empty()) {
        let sorted = if rest.len() > portion {
            rest.select_nth_unstable(portion - 1);
            &mut rest[..portion]
        } else {
            rest
        };
        sorted.sort_unstable();
        for (index, candidate) in sorted.iter().enumerate() {
            sum += scale.weight(candidate.distance());
            if u128::from(sum) * u128::from(Micro::ONE.millionths()) >= border {
                candidates.truncate(start + index + 1);
                return;
            }
        }
        start += portion;
        portion *= 4;
    }
}

/// What one draw's scores depend on beside the candidates.
struct Draw {
    key: SamplerKey,
    position: u32,
    choice: u32,
    /// Millionths, 1 to 10^8.
    temperature: u32,
    fraction_bits: u32,
}

impl Draw {
    fn new(
        parameters: &SamplingParameters,
        fraction_bits: u32,
        key: SamplerKey,
        position: u32,
    ) -> Self {
        let temperature = parameters.temperature.millionths();
        Self { key, position, choice: parameters.choice, temperature, fraction_bits }
    }

    /// The candidate of the highest score; `first` is one of them at distance zero.
    ///
    /// A candidate that would lose even with the highest variate that there is, or that its word's
    /// leading ones leave possible, is passed over: `gumbel` never decreases.
    fn winner(
        &self,
        first: TokenId,
        candidates: impl Iterator<Item = Candidate>,
        gumbel: impl Fn(u32) -> i32,
    ) -> TokenId {
        let word = |token| self.key.word(self.position, token, self.choice);
        let highest_words = (0..32).map(|ones| !(1 << (31 - ones))).chain([u32::MAX]);
        let bounds: Vec<i128> = highest_words.map(|word| self.noise(gumbel(word))).collect();
        let (mut best, mut winner) = (self.noise(gumbel(word(first))), first);
        for candidate in candidates {
            let penalty = self.penalty(candidate.distance());
            if bounds[32] - penalty < best {
                continue;
            }
            let token = candidate.token();
            let word = word(token);
            if bounds[word.leading_ones() as usize] - penalty < best {
                continue;
            }
            let score = self.noise(gumbel(word)) - penalty;
            if score > best || (score == best && token < winner) {
                (best, winner) = (score, token);
            }
        }
        winner
    }

    /// g · T · 2^a: below 2^87.
    fn noise(&self, gumbel: i32) -> i128 {
        (i128::from(gumbel) * i128::from(self.temperature)) << self.fraction_bits
    }

    /// (max − logit) · 10^6 · 2^24: below 2^76.
    fn penalty(&self, distance: u64) -> i128 {
        i128::from(distance) * (i128::from(Micro::ONE.millionths()) << GUMBEL_FRACTION_BITS)
    }
}
