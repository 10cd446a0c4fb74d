//! The gradient of an answer's loss in exact integers: what estimates of influence start from.
//!
//! It is the gradient with respect to a bias of the head, one number for each token of the
//! vocabulary: how likely the model held the token, summed over the answer, less how often it stands
//! there (`spec/attribution.md`, Estimates). Like everything that the engine computes it is equal,
//! never close, on every kernel, thread count and chunking. What it is compared with, and what that
//! is worth, is not here.

use tally_core::computation::{Micro, TokenId};

use crate::error::EngineError;
use crate::generate::CHUNK_LEN;
use crate::sampler::SamplerError;
use crate::sampler::weight::WeightScale;
use crate::session::{Engine, Span, Wanted};

#[cfg(test)]
mod tests;

/// Fraction bits of a gradient.
pub const GRADIENT_BITS: u32 = 24;

impl Engine {
    /// The gradient of the loss of all tokens from index `from` on, each given those before it.
    ///
    /// (vocabulary,) with [`GRADIENT_BITS`] fraction bits. The loss is that of the model's own
    /// prediction: at temperature one, before any adjustment. Within the largest context, 2^17
    /// tokens, magnitudes stay below 2^42.
    ///
    /// # Errors
    /// A text without a token before `from`, or without one from there on; a token outside the
    /// vocabulary, a text longer than the context, an encoder, or a value beyond a bound of the
    /// arithmetic.
    pub fn bias_gradient(&self, tokens: &[TokenId], from: usize) -> Result<Vec<i64>, EngineError> {
        if from == 0 || from >= tokens.len() {
            return Err(EngineError::EmptyInput);
        }
        let configuration = self.model().configuration();
        let scale = WeightScale::new(configuration.logit_bits, Micro::ONE.millionths());
        let mut gradient = vec![0; configuration.vocabulary as usize];
        let (mut sequence, mut logits) = (self.sequence(), vec![]);
        let (before, rest) = tokens[..tokens.len() - 1].split_at(from - 1);
        for tokens in before.chunks(CHUNK_LEN) {
            let span = Span { sequence: &mut sequence, tokens, wanted: Wanted::Nothing };
            self.extend(&mut [span], &mut logits)?;
        }
        for chunk in rest.chunks(CHUNK_LEN) {
            let next = sequence.len() + 1;
            let span = Span { sequence: &mut sequence, tokens: chunk, wanted: Wanted::All };
            self.extend(&mut [span], &mut logits)?;
            for (logits, token) in logits.iter().zip(&tokens[next..]) {
                add(&scale, logits, *token, &mut gradient)?;
            }
        }
        Ok(gradient)
    }
}

/// Adds one token's part: round(2^24 · weight / sum of weights) for each token, less 2^24 for this.
fn add(
    scale: &WeightScale,
    logits: &[i32],
    token: TokenId,
    gradient: &mut [i64],
) -> Result<(), EngineError> {
    let found = logits.len();
    let highest = logits.iter().copied().max().ok_or(SamplerError::Vocabulary { found })?;
    let beyond = SamplerError::Token { found: token, count: found };
    let index = usize::try_from(token).ok().filter(|index| *index < found).ok_or(beyond)?;
    let weight = |logit: &i32| scale.weight(highest.abs_diff(*logit).into());
    let weights: Vec<u64> = logits.iter().map(weight).collect();
    // The likeliest token weighs 2^40 and there are at most 2^20 tokens: between 2^40 and 2^60.
    let total: u64 = weights.iter().sum();
    let divisor = u128::from(total.max(1));
    for (sum, weight) in gradient.iter_mut().zip(weights) {
        let part = ((u128::from(weight) << (GRADIENT_BITS + 1)) + divisor) / (2 * divisor);
        *sum += i64::try_from(part).unwrap_or(i64::MAX);
    }
    gradient[index] -= 1 << GRADIENT_BITS;
    Ok(())
}
