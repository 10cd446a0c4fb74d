//! The oracle of the Gumbel variate, in `f64`: what the sampler's integers are held against.

use tally_engine::sampler::gumbel::{GUMBEL_FRACTION_BITS, gumbel};

/// The worst case of [`gumbel_sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GumbelSweep {
    /// Largest distance of a variate from the real number.
    pub(crate) worst_error: f64,
    /// The word at which it occurs.
    pub(crate) worst_word: u32,
    /// How many words have a lower variate than the word before them.
    pub(crate) decreases: u64,
}

impl GumbelSweep {
    /// Whether the engine's documented bound holds, and the order that its sampler relies on.
    pub(crate) fn is_within_bound(&self) -> bool {
        self.worst_error <= 2_f64.powi(-23) && self.decreases == 0
    }
}

/// Compares every `stride`th word's variate with the real number; a stride of 1 is all 2^32.
pub(crate) fn gumbel_sweep(stride: u32) -> GumbelSweep {
    let mut sweep = GumbelSweep::default();
    let mut last = i32::MIN;
    for word in (0..=u32::MAX).step_by(stride.max(1) as usize) {
        let variate = gumbel(word);
        sweep.decreases += u64::from(variate < last);
        last = variate;
        let unit = f64::from(1_u32 << GUMBEL_FRACTION_BITS);
        let error = (f64::from(variate) / unit - exact_gumbel(word)).abs();
        if error > sweep.worst_error {
            (sweep.worst_error, sweep.worst_word) = (error, word);
        }
    }
    sweep
}

/// −ln(−ln u) for u = (2·word + 1)/2^33, accurate in both tails.
fn exact_gumbel(word: u32) -> f64 {
    let odd = 2.0 * f64::from(word) + 1.0;
    let unit = 2_f64.powi(33);
    let inner = if odd < unit / 2.0 { -(odd / unit).ln() } else { -(-(unit - odd) / unit).ln_1p() };
    -inner.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sixty_five_thousandth_variate_is_within_two_to_the_minus_23() {
        let sweep = gumbel_sweep(65_537);
        assert!(sweep.is_within_bound(), "{sweep:?}");
    }
}
