//! Known answers (computed with 300 bits), bounds against `f64`, edges.
#![expect(clippy::cast_precision_loss, reason = "the oracle is in f64 and its bounds say so")]

use super::*;

fn fixed(numerator: i64, denominator: u64) -> Fixed {
    Fixed::from_ratio(numerator, denominator).unwrap()
}

#[track_caller]
fn assert_near(found: Fixed, expected: i128, bound: i128) {
    assert!((found.0 - expected).abs() <= bound, "{} is {} off", expected, found.0 - expected);
}

#[test]
fn logarithms_equal_known_answers_within_the_bound() {
    let bound = 1 << (FRACTION_BITS - 57);
    assert_near(fixed(2, 1).ln().unwrap(), LN_2, bound);
    assert_near(fixed(3, 1).ln().unwrap(), 5_066_454_931_323_234_910, bound);
    assert_near(fixed(10, 1).ln().unwrap(), 10_618_799_479_599_967_255, bound);
    assert_near(fixed(1, 10).ln().unwrap(), -10_618_799_479_599_967_255, bound);
    assert_near(fixed(500_000, 1).ln().unwrap(), 60_516_219_716_299_139_615, bound);
    assert_eq!(Fixed::ONE.ln(), Some(Fixed::ZERO));
    assert_near(Fixed(1).ln().unwrap(), -62 * LN_2, 62);
    assert_eq!(Fixed::ZERO.ln(), None);
    assert_eq!(fixed(-1, 1).ln(), None);
}

#[test]
fn exponentials_equal_known_answers_within_the_bound() {
    let bound = 1 << (FRACTION_BITS - 58);
    assert_eq!(Fixed::ZERO.exp(), Some(Fixed::ONE));
    assert_near(fixed(1, 1).exp().unwrap(), 12_535_862_302_449_814_171, 3 * bound);
    assert_near(fixed(-1, 1).exp().unwrap(), 1_696_544_475_317_221_319, bound);
    assert_near(fixed(1, 3).exp().unwrap(), 6_436_126_307_913_059_395, 2 * bound);
    assert_near(fixed(-20, 1).exp().unwrap(), 9_505_393_342, bound);
    assert_eq!(fixed(-60, 1).exp(), Some(Fixed::ZERO));
    assert_eq!(fixed(i64::MIN / 2, 1).exp(), Some(Fixed::ZERO));
    assert!(Fixed(EXP_MAX).exp().is_some());
    assert_eq!(Fixed(EXP_MAX + 1).exp(), None);
}

#[test]
fn sines_and_cosines_equal_known_answers_within_the_bound() {
    let bound = 1 << (FRACTION_BITS - 58);
    for (phase, sine, cosine) in [
        (1 << 61, 3_260_954_456_333_195_553, 3_260_954_456_333_195_553),
        (0x0123_4567_89ab_cdef, 128_765_830_913_063_342, 4_609_887_991_410_195_028),
        (0xfedc_ba98_7654_3210, -128_765_830_913_063_343, 4_609_887_991_410_195_028),
        (1 << 60, 1_764_815_834_521_887_442, 4_260_642_322_793_532_497),
        (1 << 62, ONE, 0),
        (1 << 63, 0, -ONE),
        (3 << 62, -ONE, 0),
    ] {
        let found = Fixed::sin_cos_of_turn(phase);
        assert_near(found.0, sine, bound);
        assert_near(found.1, cosine, bound);
    }
    assert_eq!(Fixed::sin_cos_of_turn(0), (Fixed::ZERO, Fixed::ONE));
}

#[test]
fn products_and_ratios_round_once_and_refuse_overflow() {
    assert_eq!(fixed(3, 2).times(fixed(-5, 4)), Some(fixed(-15, 8)));
    assert_eq!(fixed(1 << 31, 1).times(fixed(1 << 31, 1)), Some(fixed(1 << 62, 1)));
    assert_eq!(fixed(1 << 31, 1).times(fixed((1 << 31) + 1, 1)), None);
    assert_eq!(fixed(1 << 62, 1).plus(Fixed(1)), None);
    assert_eq!(Fixed::from_ratio((1 << 62) + 1, 1), None);
    assert_eq!(Fixed::from_ratio(1, 0), None);
    assert_eq!(fixed(-1, 2).scaled(1), 0);
    assert_eq!(fixed(1, 2).scaled(1), 1);
    assert_eq!(fixed(-3, 2).scaled(1), -1);
    assert_eq!(fixed(5, 2).scaled(1 << 40), 5 << 39);
}

#[test]
fn powers_and_sigmoid_agree_with_f64() {
    let as_f64 = |value: Fixed| value.0 as f64 / ONE as f64;
    for (base, numerator, denominator) in [(10_000, -2, 64), (500_000, -126, 128), (2, 1, 2)] {
        let found = as_f64(fixed(base, 1).pow_ratio(numerator, denominator).unwrap());
        let expected = (base as f64).powf(numerator as f64 / denominator as f64);
        assert!((found - expected).abs() < 4e-16, "{found} {expected}");
    }
    for x in -3_000..=3_000 {
        let expected = 1.0 / (1.0 + (-f64::from(x) / 100.0).exp());
        assert!((as_f64(fixed(x.into(), 100).sigmoid()) - expected).abs() < 1e-15);
    }
    assert_eq!(fixed(i64::MIN / 2, 1).sigmoid(), Fixed::ZERO);
    assert_eq!(fixed(i64::MAX / 2, 1).sigmoid(), Fixed::ONE);
}
