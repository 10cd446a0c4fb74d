//! Speeds of every scaling against `f64`, and edges.
#![expect(clippy::cast_precision_loss, reason = "the oracle is in f64 and its bounds say so")]

use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn plain(theta: i64) -> Rotation {
    Rotation { theta: decimal(&theta.to_string()), scaling: RotationScaling::None }
}

/// Radians per position that `rotation` gives each pair.
fn speeds(rotation: &Rotation, head_dim: u32) -> Vec<f64> {
    let rope = RopeFrequencies::new(rotation, head_dim).unwrap();
    rope.steps.iter().map(|step| *step as f64 * 2_f64.powi(-110) * std::f64::consts::TAU).collect()
}

fn llama3(factor: &str, low: &str, high: &str, original_context: u32) -> RotationScaling {
    RotationScaling::Llama3 {
        factor: decimal(factor),
        low_freq_factor: decimal(low),
        high_freq_factor: decimal(high),
        original_context,
    }
}

#[test]
fn scaled_speeds_agree_with_the_published_formulas_in_f64() {
    let base = |pair: usize| 500_000_f64.powf(-(pair as f64) / 64.0);
    let with = |scaling| Rotation { theta: decimal("500000"), scaling };
    let linear = with(RotationScaling::Linear { factor: decimal("2.5") });
    for (pair, speed) in speeds(&linear, 128).into_iter().enumerate() {
        assert!((speed * 2.5 / base(pair) - 1.0).abs() < 1e-10, "{pair}");
    }
    // Factors of 1, 1.5, 2, ... in F32's form, and one above 2^32.
    let mut factors: Vec<_> = (0..64).map(|i| Dyadic { mantissa: 2 + i, exponent: -1 }).collect();
    factors[63] = Dyadic { mantissa: 3, exponent: 40 };
    let listed = speeds(&with(RotationScaling::Factors(factors)), 128);
    for (pair, speed) in listed[..63].iter().enumerate() {
        let factor = 1.0 + pair as f64 / 2.0;
        assert!((speed * factor / base(pair) - 1.0).abs() < 1e-10, "{pair}");
    }
    assert!(listed[63] > 0.0 && listed[63] < 1e-17);
    // As in `transformers.modeling_rope_utils`, with all three zones met.
    let (factor, low, high, old) = (32.0, 1.0, 4.0, 8192.0);
    let mut zones = [0; 3];
    let found = speeds(&with(llama3("32", "1.0", "4", 8192)), 128);
    for (pair, speed) in found.into_iter().enumerate() {
        let wavelength = std::f64::consts::TAU / base(pair);
        let smooth = (old / wavelength - low) / (high - low);
        let (zone, expected) = match wavelength {
            long if long > old / low => (0, base(pair) / factor),
            short if short < old / high => (2, base(pair)),
            _ => (1, (1.0 - smooth) * base(pair) / factor + smooth * base(pair)),
        };
        zones[zone] += 1;
        assert!((speed / expected - 1.0).abs() < 1e-9, "{pair}: {speed} {expected}");
    }
    assert!(zones.iter().all(|count| *count > 2), "{zones:?}");
}

#[test]
fn scalings_out_of_range_are_refused() {
    let new = |scaling| {
        let rotation = Rotation { theta: decimal("10000"), scaling };
        RopeFrequencies::new(&rotation, 4)
    };
    let one = Dyadic { mantissa: 1, exponent: 0 };
    let pair = |factor| new(RotationScaling::Factors(vec![one, factor]));
    assert_eq!(pair(one), new(RotationScaling::None));
    assert_eq!(pair(Dyadic { mantissa: 1 << 52, exponent: -52 }), new(RotationScaling::None));
    assert!(pair(Dyadic { mantissa: 1, exponent: 62 }).is_some());
    for (mantissa, exponent) in [(0, 0), (-1, 0), (1, -1), (1, 63), ((1 << 52) - 1, -52)] {
        assert_eq!(pair(Dyadic { mantissa, exponent }), None, "{mantissa} {exponent}");
    }
    for count in [0, 1, 3] {
        assert_eq!(new(RotationScaling::Factors(vec![one; count])), None);
    }
    for factor in ["0", "0.999", "1e19"] {
        assert_eq!(new(RotationScaling::Linear { factor: decimal(factor) }), None, "{factor}");
        assert_eq!(new(llama3(factor, "1", "4", 8192)), None, "{factor}");
    }
    assert_eq!(new(RotationScaling::Linear { factor: decimal("1") }), new(RotationScaling::None));
    assert!(new(llama3("8", "0", "65536", u32::MAX)).is_some());
    for (low, high) in [("1", "1"), ("4", "1"), ("1", "65537")] {
        assert_eq!(new(llama3("8", low, high, 8192)), None, "{low} {high}");
    }
}

/// The reduction in `f64` loses about 2^-35 at position 2^17, so the comparison allows 2^-18 of
/// one unit in the last place beyond the half that rounding takes.
#[test]
fn rotations_are_within_half_a_unit_of_f64_up_to_the_last_position() {
    for (theta, head_dim) in [(10_000_i64, 64_u32), (500_000, 128), (1_000_000, 96)] {
        let rope = RopeFrequencies::new(&plain(theta), head_dim).unwrap();
        let positions = (0..40).chain([511, 4_095, 65_537, 131_071, ROPE_POSITION_MAX]);
        for (position, pair) in
            positions.flat_map(|at| (0..rope.pair_count()).map(move |p| (at, p)))
        {
            let exponent = -2.0 * pair as f64 / f64::from(head_dim);
            let angle = f64::from(position) * (theta as f64).powf(exponent);
            for bits in [14, 15] {
                let unit = f64::from(1 << bits);
                let (cosine, sine) = rope.cos_sin(position, pair, bits).unwrap();
                for (found, value) in [(cosine, angle.cos()), (sine, angle.sin())] {
                    let expected = (value * unit).min(32_767.0);
                    let error = (f64::from(found) - expected).abs();
                    assert!(error <= 0.5 + 4e-6, "{position} {pair} {bits}: {error}");
                }
            }
        }
    }
}

#[test]
fn rotations_refuse_what_is_out_of_range_and_keep_one_in_sixteen_bits() {
    let rope = RopeFrequencies::new(&plain(10_000), 64).unwrap();
    assert_eq!(rope.cos_sin(0, 0, 15), Some((32_767, 0)));
    assert_eq!(rope.cos_sin(0, 31, 14), Some((16_384, 0)));
    assert_eq!(rope.cos_sin(0, 32, 14), None);
    assert_eq!(rope.cos_sin(0, 0, 16), None);
    assert_eq!(rope.cos_sin(ROPE_POSITION_MAX + 1, 0, 14), None);
    for (theta, head_dim) in [("0.5", 64), ("2", 0), ("2", 3), ("2", 4_098), ("1e19", 64)] {
        let rotation = Rotation { theta: decimal(theta), scaling: RotationScaling::None };
        assert_eq!(RopeFrequencies::new(&rotation, head_dim), None);
    }
    assert!(RopeFrequencies::new(&plain(1), ROPE_HEAD_DIM_MAX).is_some());
}
