//! Chi-squared of draws against exact softmax, and of wrong samplers that must fail it.

use super::*;

const FRACTION_BITS: u32 = 16;

/// The logit in Q16 nearest to ln(weight), and the weight that this logit really has.
fn logit_of(weight: f64) -> (i32, f64) {
    let logit = (weight.ln() * 65_536.0).round();
    (logit as i32, (logit / 65_536.0).exp())
}

/// Exact softmax of logits in Q16 at a temperature.
fn softmax(logits: &[i32], temperature: f64) -> Vec<f64> {
    let highest = *logits.iter().max().unwrap();
    let weight = |logit: &i32| (f64::from(logit - highest) / 65_536.0 / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    logits.iter().map(|logit| weight(logit) / total).collect()
}

/// The statistic and its 1 − 10^−6 quantile (Wilson and Hilferty) for counts against
/// probabilities; bins must each expect five draws or more.
fn chi_squared(counts: &[u32], probabilities: &[f64]) -> (f64, f64) {
    let draws: u32 = counts.iter().sum();
    let mut statistic = 0.0;
    for (count, probability) in counts.iter().zip(probabilities) {
        let expected = probability * f64::from(draws);
        assert!(expected >= 5.0, "a bin expects {expected} draws");
        statistic += (f64::from(*count) - expected).powi(2) / expected;
    }
    let freedom = (counts.len() - 1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    (statistic, freedom * (1.0 - spread + 4.753_424 * spread.sqrt()).powi(3))
}

/// Draws `draws` tokens and bins them; `bin_of` maps a token to its bin.
fn binned(
    logits: &[i32],
    parameters: &SamplingParameters,
    draws: u32,
    bins: usize,
    bin_of: impl Fn(usize) -> usize,
    gumbel: impl Fn(u32) -> i32,
) -> Vec<u32> {
    let key = SamplerKey::from_seed(b"chi-squared");
    let highest = *logits.iter().max().unwrap();
    let first = logits.iter().position(|logit| *logit == highest).unwrap();
    let mut counts = vec![0; bins];
    for position in 0..draws {
        let draw = Draw::new(parameters, FRACTION_BITS, key, position);
        let all = (0..).zip(logits).map(|(token, logit)| Candidate::new(token, highest, *logit));
        let token = draw.winner(first as u32, all, &gumbel);
        counts[bin_of(token as usize)] += 1;
    }
    counts
}

fn sums(probabilities: &[f64], bins: usize, bin_of: impl Fn(usize) -> usize) -> Vec<f64> {
    let mut sums = vec![0.0; bins];
    for (token, probability) in probabilities.iter().enumerate() {
        sums[bin_of(token)] += probability;
    }
    sums
}

/// One token at 0.9, 131,071 that share the rest evenly.
fn head_and_flat_tail() -> Vec<i32> {
    let mut logits = vec![0; 131_072];
    logits[77_777] = logit_of(0.9 / 0.1 * 131_071.0).0;
    logits
}

/// The head in bin 16, the tail in 16 bins by id.
fn head_or_sixteenth(token: usize) -> usize {
    if token == 77_777 { 16 } else { token / 8_192 }
}

/// A uniform table: 4,096 cells of u with linear interpolation between their midpoints.
fn uniform_cell_gumbel(word: u32) -> i32 {
    let cell = |i: u32| exact_gumbel((i << 20) + (1 << 19));
    let at = f64::from(word.saturating_sub(1 << 19)) / f64::from(1 << 20);
    let i = (at.floor() as u32).min(4_094);
    let place = at - f64::from(i);
    ((cell(i) * (1.0 - place) + cell(i + 1) * place) * 2_f64.powi(24)) as i32
}

/// 1,500 draws: at a false alarm of 10^-6 a head whose probability is off by 0.05 is found with
/// more than 0.9 probability, and any tail bin off by a factor of three.
#[test]
fn one_token_at_nine_tenths_above_a_flat_tail_keeps_its_share() {
    let logits = head_and_flat_tail();
    let exact = sums(&softmax(&logits, 1.0), 17, head_or_sixteenth);
    let plain = parameters(1_000_000, 0, 1_000_000);
    let counts = binned(&logits, &plain, 1_500, 17, head_or_sixteenth, gumbel::gumbel);
    let (statistic, threshold) = chi_squared(&counts, &exact);
    println!("head and flat tail: {statistic:.1} of {threshold:.1}, head {}", counts[16]);
    assert!(statistic < threshold);

    let counts = binned(&logits, &plain, 500, 17, head_or_sixteenth, uniform_cell_gumbel);
    println!("uniform cells: head {} of 500", counts[16]);
    let two = |counts: &[u32]| [counts[..16].iter().sum(), counts[16]];
    let exact = [exact[..16].iter().sum(), exact[16]];
    let (statistic, threshold) = chi_squared(&two(&counts), &exact);
    println!("uniform cells: {statistic:.1} of {threshold:.1}");
    assert!(statistic > threshold, "a uniform table must fail");
}

/// Zipf over 50,000 tokens: the first 24 alone, the rest in bins of ids that double in width.
#[test]
fn zipf_over_fifty_thousand_tokens_is_drawn_as_it_is() {
    let logits: Vec<i32> = (0..50_000).map(|rank| logit_of(1.0 / f64::from(rank + 1)).0).collect();
    let bin_of = |token: usize| {
        if token < 24 { token } else { 24 + ((token / 24).ilog2() as usize).min(10) }
    };
    let bins = bin_of(49_999) + 1;
    let plain = parameters(1_000_000, 0, 1_000_000);
    let counts = binned(&logits, &plain, 3_000, bins, bin_of, gumbel::gumbel);
    let exact = sums(&softmax(&logits, 1.0), bins, bin_of);
    let (statistic, threshold) = chi_squared(&counts, &exact);
    println!("Zipf: {statistic:.1} of {threshold:.1}");
    assert!(statistic < threshold);
    let wrong = sums(&softmax(&logits, 1.2), bins, bin_of);
    let (statistic, threshold) = chi_squared(&counts, &wrong);
    assert!(statistic > threshold, "another temperature must fail: {statistic} of {threshold}");
}

#[test]
fn temperature_top_k_and_top_p_draw_from_the_softmax_that_remains() {
    let logits: Vec<i32> = (0..64).map(|rank| logit_of(0.9_f64.powi(rank)).0).collect();
    for (temperature, top_k, top_p, kept) in [
        (1_000_000, 0, 1_000_000, 64),
        (500_000, 0, 1_000_000, 64),
        (2_500_001, 0, 1_000_000, 64),
        (1_000_000, 7, 1_000_000, 7),
        // 1 − 0.9^11 = 0.686, 1 − 0.9^12 = 0.718, of 1 − 0.9^64 = 0.9988
        (1_000_000, 0, 700_000, 12),
        // Of the first 20 (0.878) the first eight hold 0.648, the first nine 0.697.
        (1_000_000, 20, 670_000, 9),
    ] {
        let parameters = parameters(temperature, top_k, top_p);
        let exact = softmax(&logits[..kept], f64::from(temperature) / 1e6);
        let draws = 20_000;
        let mut counts = vec![0; logits.len()];
        for position in 0..draws {
            counts[draw(&logits, &parameters, position) as usize] += 1;
        }
        assert!(counts[kept..].iter().all(|count| *count == 0), "{top_k} {top_p}");
        // Join the rarest tokens in one bin.
        let alone = exact.iter().take_while(|each| **each * f64::from(draws) >= 10.0).count() - 1;
        let bin_of = |token: usize| token.min(alone);
        let mut joined = vec![0; alone + 1];
        counts.iter().enumerate().for_each(|(token, count)| joined[bin_of(token)] += count);
        let (statistic, threshold) = chi_squared(&joined, &sums(&exact, alone + 1, bin_of));
        println!("T {temperature} k {top_k} p {top_p}: {statistic:.1} of {threshold:.1}");
        assert!(statistic < threshold, "{temperature} {top_k} {top_p}");
    }
}

/// Pairs of draws that differ in choice, or in position, over a 4 × 4 table.
#[test]
fn choices_and_positions_are_independent_draws() {
    let logits: Vec<i32> = [0.4, 0.3, 0.2, 0.1].map(|weight| logit_of(weight).0).to_vec();
    let exact = softmax(&logits, 1.0);
    let pairs: Vec<f64> = exact.iter().flat_map(|a| exact.iter().map(move |b| a * b)).collect();
    let first = parameters(1_000_000, 0, 1_000_000);
    let second = SamplingParameters { choice: 1, ..first.clone() };
    let (mut by_choice, mut by_position) = (vec![0; 16], vec![0; 16]);
    for position in 0..20_000 {
        let one = draw(&logits, &first, 2 * position) as usize;
        by_choice[4 * one + draw(&logits, &second, 2 * position) as usize] += 1;
        by_position[4 * one + draw(&logits, &first, 2 * position + 1) as usize] += 1;
    }
    for counts in [by_choice, by_position] {
        let (statistic, threshold) = chi_squared(&counts, &pairs);
        println!("pairs: {statistic:.1} of {threshold:.1}");
        assert!(statistic < threshold);
    }
}
