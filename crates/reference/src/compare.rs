//! How far exact results are from float ones.

/// Sums over the positions of a text, exact logits beside float ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Positions compared.
    pub positions: u64,
    /// Positions at which both think the same token likeliest.
    pub agreements: u64,
    /// Sum of the divergences, in nats.
    pub divergence_sum: f64,
    /// Largest divergence, in nats.
    pub divergence_max: f64,
    /// Positions whose next token is known.
    pub predictions: u64,
    /// Sum of −ln p(next token) in exact arithmetic.
    pub exact_surprise: f64,
    /// Sum of −ln p(next token) in floats.
    pub float_surprise: f64,
}

impl Comparison {
    /// Adds one position; `next` is the token that follows, if the text goes on.
    pub fn add(&mut self, float: &[f64], exact: &[f64], next: Option<u32>) {
        let divergence = divergence(float, exact);
        self.positions += 1;
        self.agreements += u64::from(likeliest(float) == likeliest(exact));
        self.divergence_sum += divergence;
        self.divergence_max = self.divergence_max.max(divergence);
        if let Some(next) = next {
            self.predictions += 1;
            self.exact_surprise += surprise(exact, next);
            self.float_surprise += surprise(float, next);
        }
    }

    /// Share of the positions at which both think the same token likeliest.
    #[must_use]
    pub fn agreement(&self) -> f64 {
        self.agreements as f64 / self.positions as f64
    }

    /// Mean divergence of exact from float predictions, in nats.
    #[must_use]
    pub fn divergence_mean(&self) -> f64 {
        self.divergence_sum / self.positions as f64
    }

    /// Perplexity in exact arithmetic.
    #[must_use]
    pub fn exact_perplexity(&self) -> f64 {
        (self.exact_surprise / self.predictions as f64).exp()
    }

    /// Perplexity in floats.
    #[must_use]
    pub fn float_perplexity(&self) -> f64 {
        (self.float_surprise / self.predictions as f64).exp()
    }

    /// By how many percent the exact perplexity is above the float one.
    #[must_use]
    pub fn growth_percent(&self) -> f64 {
        let excess = self.exact_surprise - self.float_surprise;
        ((excess / self.predictions as f64).exp() - 1.0) * 100.0
    }
}

/// Integer logits as real numbers.
#[must_use]
pub fn exact_logits(logits: &[i32], fraction_bits: u32) -> Vec<f64> {
    let unit = f64::from(fraction_bits).exp2();
    logits.iter().map(|logit| f64::from(*logit) / unit).collect()
}

/// Float logits as wider ones.
#[must_use]
pub fn float_logits(logits: &[f32]) -> Vec<f64> {
    logits.iter().copied().map(f64::from).collect()
}

/// The divergence of Kullback and Leibler, Σ p·(ln p − ln q), of two rows of logits, in nats.
#[must_use]
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let (p_total, q_total) = (log_sum(p), log_sum(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (p, q) = (p - p_total, q - q_total);
        p.exp() * (p - q)
    });
    terms.sum()
}

/// −ln of the probability that logits give a token; infinite for one that they lack.
#[must_use]
pub fn surprise(logits: &[f64], token: u32) -> f64 {
    let own = logits.get(token as usize);
    own.map_or(f64::INFINITY, |logit| log_sum(logits) - logit)
}

/// The cosine of the angle between two vectors.
#[must_use]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// ln Σ e^logit
fn log_sum(logits: &[f64]) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    highest + logits.iter().map(|logit| (logit - highest).exp()).sum::<f64>().ln()
}

/// The token of the largest logit, the lowest of equal ones.
fn likeliest(logits: &[f64]) -> Option<usize> {
    let later = |best: (usize, f64), next: (usize, &f64)| {
        if *next.1 > best.1 { (next.0, *next.1) } else { best }
    };
    let first = logits.first()?;
    Some(logits.iter().enumerate().fold((0, *first), later).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_do_not_diverge_however_they_are_shifted() {
        let logits = [1.0, -2.0, 0.5];
        let shifted = logits.map(|logit| logit + 700.0);
        assert!(divergence(&logits, &shifted).abs() < 1e-12);
        assert_eq!(exact_logits(&[3, -1], 1), [1.5, -0.5]);
    }

    #[test]
    fn the_divergence_of_a_coin_is_the_known_one() {
        let found = divergence(&[0.0, 0.0], &[0.0, 3_f64.ln()]);
        let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
        assert!((found - expected).abs() < 1e-12, "{found}, {expected}");
    }

    #[test]
    fn surprise_is_the_logarithm_of_the_choices_and_infinite_outside_them() {
        assert!((surprise(&[3.0; 8], 5) - 8_f64.ln()).abs() < 1e-12);
        assert!(surprise(&[0.0, 100.0], 1) < 1e-12);
        assert!(surprise(&[0.0], 1).is_infinite());
    }

    #[test]
    fn a_comparison_counts_agreement_and_the_growth_of_perplexity() {
        let mut comparison = Comparison::default();
        comparison.add(&[0.0, 1.0], &[0.0, 1.0], Some(1));
        assert_eq!((comparison.growth_percent(), comparison.agreement()), (0.0, 1.0));
        comparison.add(&[0.0, 1.0], &[1.0, 0.0], Some(1));
        assert!((comparison.agreement() - 0.5).abs() < 1e-12);
        assert!(((comparison.growth_percent() / 100.0 + 1.0).ln() - 0.5).abs() < 1e-12);
        assert_eq!((comparison.positions, comparison.predictions), (2, 2));
        assert_eq!(likeliest(&[1.0, 2.0, 2.0]), Some(1));
    }

    #[test]
    fn cosines_of_known_angles_are_the_known_ones() {
        assert!((cosine(&[1.0, 0.0], &[2.0, 2.0]) - 0.5_f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[1.0, 2.0], &[-2.0, -4.0]) + 1.0).abs() < 1e-12);
    }
}
