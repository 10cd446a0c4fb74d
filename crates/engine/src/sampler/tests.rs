//! Tables and variates against `f64`, edges, and chi-squared against exact softmax.
//!
//! Keys are fixed, so every test is deterministic; its threshold is the 1 − 10^−6 quantile, so a
//! correct sampler would fail under one key in a million.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the oracle is in f64, and the integers of these tests are small"
)]

use tally_core::computation::SignedMicro;

use super::tables::SamplerTables;
use super::*;

mod distribution;

fn parameters(temperature: u32, top_k: u32, top_p: u32) -> SamplingParameters {
    SamplingParameters {
        max_tokens: 1,
        temperature: Micro::from_millionths(temperature),
        top_k,
        top_p: Micro::from_millionths(top_p),
        stop_tokens: Vec::new(),
        choice: 0,
        presence_penalty: SignedMicro::ZERO,
        frequency_penalty: SignedMicro::ZERO,
    }
}

fn draw(logits: &[i32], parameters: &SamplingParameters, position: u32) -> TokenId {
    let key = SamplerKey::from_seed(b"a seed for tests");
    sample(
        logits,
        16,
        parameters,
        &Adjustments::NONE,
        key,
        position,
        &mut SamplerScratch::default(),
    )
    .unwrap()
}

#[test]
fn the_tables_are_the_pinned_ones_and_round_the_real_numbers() {
    let tables = SamplerTables::get();
    assert_eq!(
        tables.digest().to_string(),
        "9745c403d48e86f520def50fb326718d05aebc6480fb113f91ead3b7bb140a8f"
    );
    let unit = (1_u64 << 40) as f64;
    for (i, entry) in tables.log.iter().enumerate() {
        assert!((*entry as f64 - (i as f64 / 4_096.0).ln_1p() * unit).abs() < 0.51, "{i}");
    }
    for (i, entry) in tables.tail.iter().enumerate().skip(1) {
        let v = i as f64 / 2_048.0;
        assert!((*entry as f64 - (-(-v).ln_1p() / v).ln() * unit).abs() < 0.51, "{i}");
    }
    for (i, entry) in tables.exp_whole.iter().enumerate() {
        let expected = (-(i as f64)).exp();
        assert!((*entry as f64 - expected * 2_f64.powi(51)).abs() <= 1.01, "{i}");
    }
    for (j, table) in (1..).zip(&tables.exp_byte) {
        for (i, entry) in table.iter().enumerate() {
            let expected = (-(i as f64) * 2_f64.powi(-8 * j)).exp();
            assert!((*entry as f64 - expected * 2_f64.powi(51)).abs() <= 1.01, "{j} {i}");
        }
    }
}

/// −ln(−ln u) in `f64`, accurate in both tails.
fn exact_gumbel(word: u32) -> f64 {
    let odd = 2.0 * f64::from(word) + 1.0;
    let unit = 2_f64.powi(33);
    let inner = if odd < unit / 2.0 { -(odd / unit).ln() } else { -(-(unit - odd) / unit).ln_1p() };
    -inner.ln()
}

/// Both tails wholly, every bit length, both sides of one half, and a stride of 2^32/φ^k over the
/// rest; `cargo xtask soak` sweeps all 2^32 words.
#[test]
fn variates_are_within_two_to_the_minus_23_and_never_decrease() {
    let tails = (0..1 << 14).chain((1 << 31) - 4_096..(1 << 31) + 4_096);
    let tails = tails.chain(u32::MAX - (1 << 14)..=u32::MAX);
    let lengths =
        (0..32).flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit, !(1 << bit), u32::MAX >> bit]);
    let spread = (0..200_000_u32).map(|i| i.wrapping_mul(0x9e37_79b9));
    let mut worst = 0_f64;
    for word in tails.chain(lengths).chain(spread) {
        let error = (f64::from(gumbel::gumbel(word)) / 2_f64.powi(24) - exact_gumbel(word)).abs();
        assert!(error < 2_f64.powi(-23), "{word}: {error}");
        worst = worst.max(error);
        assert!(gumbel::gumbel(word.saturating_add(1)) >= gumbel::gumbel(word), "{word}");
    }
    println!("worst error of a variate: 2^{:.2}", worst.log2());
    assert!(worst > 2_f64.powi(-26), "the comparison sees rounding");
    assert_eq!((gumbel::gumbel(0), gumbel::gumbel(u32::MAX)), (-52_512_596, 383_759_639));
}

#[test]
fn weights_agree_with_f64_and_are_total() {
    for (fraction_bits, temperature) in [(16, 1_000_000), (0, 1), (31, 100_000_000), (20, 700_001)]
    {
        let scale = WeightScale::new(fraction_bits, temperature);
        assert_eq!(scale.weight(0), 1 << 40);
        let per_unit = 1e6 / (f64::from(temperature) * f64::from(fraction_bits).exp2());
        let distances = (0..2_000).chain((0..33).map(|bit| (1 << bit) - 1)).chain([1 << 20]);
        for distance in distances {
            let expected = 2_f64.powi(40) * (-(distance as f64) * per_unit).exp();
            let error = (scale.weight(distance) as f64 - expected).abs();
            assert!(error <= 0.502 + expected * 2_f64.powi(-31), "{distance}: {error}");
        }
    }
}

#[test]
fn arguments_out_of_range_are_refused_and_their_neighbours_are_not() {
    let key = SamplerKey::from_seed(b"");
    let mut scratch = SamplerScratch::default();
    let mut run = |logits: &[i32], bits, parameters: &SamplingParameters| {
        sample(logits, bits, parameters, &Adjustments::NONE, key, 0, &mut scratch)
    };
    let plain = parameters(1_000_000, 0, 1_000_000);
    assert_eq!(run(&[], 16, &plain), Err(SamplerError::Vocabulary { found: 0 }));
    assert_eq!(run(&[7], 16, &plain), Ok(0));
    let many = vec![0; VOCABULARY_MAX + 1];
    let found = many.len();
    assert_eq!(run(&many, 16, &plain), Err(SamplerError::Vocabulary { found }));
    assert!(run(&many[1..], 16, &plain).is_ok());
    assert_eq!(run(&[0, 1], 32, &plain), Err(SamplerError::FractionBits { found: 32 }));
    assert!(run(&[i32::MIN, i32::MAX], 31, &plain).is_ok());
    assert!(run(&[i32::MIN, i32::MAX], 0, &parameters(100_000_000, 2, 0)).is_ok());
    let hot = parameters(100_000_001, 0, 1_000_000);
    assert_eq!(run(&[0, 1], 16, &hot), Err(SamplerError::Temperature { found: hot.temperature }));
    let wide = parameters(1, 0, 1_000_001);
    assert_eq!(run(&[0, 1], 16, &wide), Err(SamplerError::TopP { found: wide.top_p }));
}

#[test]
fn greedy_decoding_takes_the_first_maximum_whatever_else_is_set() {
    for (logits, expected) in
        [(&[3, 9, -4, 9][..], 1), (&[i32::MIN; 3], 0), (&[i32::MIN, i32::MAX], 1)]
    {
        for (top_k, top_p) in [(0, 1_000_000), (1, 0), (2, 500_000)] {
            assert_eq!(draw(logits, &parameters(0, top_k, top_p), 5), expected);
        }
    }
}

#[test]
fn top_k_of_one_is_the_first_maximum_and_one_beyond_the_vocabulary_is_no_limit() {
    let logits: Vec<i32> = (0..600).map(|i| (i * 7_919) % 50_021).collect();
    let ties = [5, 8, 8, 8, 1];
    for position in 0..200 {
        assert_eq!(draw(&ties, &parameters(5_000_000, 1, 1_000_000), position), 1);
        let all = draw(&logits, &parameters(800_000, 0, 1_000_000), position);
        for top_k in [600, 601, u32::MAX] {
            assert_eq!(draw(&logits, &parameters(800_000, top_k, 1_000_000), position), all);
        }
        // Of equals at the border the lower ids stay.
        assert!([1, 2].contains(&draw(&ties, &parameters(100_000_000, 2, 1_000_000), position)));
    }
}

/// Four tokens of probability 1/2, 1/4, 1/8, 1/8 in another order, with 24 fraction bits.
#[test]
fn top_p_keeps_the_token_that_crosses_and_drops_the_next() {
    let bit = 11_629_080; // ln 2 · 2^24
    let logits = [-3 * bit, -bit, -3 * bit, -2 * bit];
    let key = SamplerKey::from_seed(b"top-p");
    let reached = |top_p: u32| {
        let parameters = parameters(1_000_000, 0, top_p);
        let mut seen = [false; 4];
        for position in 0..400 {
            let mut scratch = SamplerScratch::default();
            let token =
                sample(&logits, 24, &parameters, &Adjustments::NONE, key, position, &mut scratch)
                    .unwrap();
            seen[token as usize] = true;
        }
        seen
    };
    assert_eq!(reached(0), [false, true, false, false]);
    assert_eq!(reached(1), [false, true, false, false]);
    assert_eq!(reached(499_999), [false, true, false, false]);
    assert_eq!(reached(500_001), [false, true, false, true]);
    assert_eq!(reached(749_999), [false, true, false, true]);
    // Of the two equal ones the lower id is taken first.
    assert_eq!(reached(750_001), [true, true, false, true]);
    assert_eq!(reached(875_001), [true; 4]);
    assert_eq!(reached(1_000_000), [true; 4]);
}

/// The portions that top-p sorts must not show: compared with a whole sort, on sizes about them.
#[test]
fn top_p_over_portions_equals_top_p_over_a_whole_sort() {
    let scale = WeightScale::new(10, 1_000_000);
    for count in [1_u32, 255, 256, 257, 1_279, 1_280, 1_281, 6_000] {
        let all: Vec<_> = (0..count)
            .map(|token| Candidate::new(token, 0, -((token.wrapping_mul(40_503) % 997) as i32)))
            .collect();
        for top_p in [0, 10_000, 200_000, 900_000, 999_999, 1_000_000] {
            let mut found = all.clone();
            keep_top_p(&mut found, Micro::from_millionths(top_p), &scale);
            found.sort_unstable();
            let mut expected = all.clone();
            expected.sort_unstable();
            let weights: Vec<u128> =
                expected.iter().map(|each| scale.weight(each.distance()).into()).collect();
            let border = weights.iter().sum::<u128>() * u128::from(top_p);
            let mut sum = 0;
            let dropped = weights.iter().position(|weight| {
                sum += weight * 1_000_000;
                sum >= border
            });
            let kept = if top_p < 1_000_000 { dropped.unwrap() + 1 } else { expected.len() };
            assert_eq!(found, expected[..kept], "{count} {top_p}");
        }
    }
}

/// Leaving out what cannot win must not show: compared with scoring every token.
#[test]
fn passing_over_hopeless_tokens_never_changes_the_winner() {
    let key = SamplerKey::from_words([1, 2]);
    let logits: Vec<i32> =
        (0..2_000_u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 11) as i32).collect();
    let highest = *logits.iter().max().unwrap();
    for temperature in [1, 300_000, 1_000_000, 100_000_000] {
        for position in 0..50 {
            let parameters = parameters(temperature, 0, 1_000_000);
            let score = |token: u32| {
                let noise = gumbel::gumbel(key.word(position, token, 0));
                let distance = i128::from(highest - logits[token as usize]);
                ((i128::from(noise) * i128::from(temperature)) << 16)
                    - ((distance * 1_000_000) << GUMBEL_FRACTION_BITS)
            };
            let expected = (0..2_000).rev().max_by_key(|token| score(*token)).unwrap();
            let mut scratch = SamplerScratch::default();
            let found =
                sample(&logits, 16, &parameters, &Adjustments::NONE, key, position, &mut scratch);
            assert_eq!(found, Ok(expected));
        }
    }
}
