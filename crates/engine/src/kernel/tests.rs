//! Every kernel equals the law, on chosen shapes and on extreme values.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "random bits are cut to the width that a test needs"
)]

use super::{Activation, Kernels, portable};

mod equal;

/// Reproducible numbers, a third of them extremes of their type.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From zero to before `limit`.
    fn below(&mut self, limit: u64) -> i64 {
        (self.next() % limit) as i64
    }

    fn some<T: Copy>(&mut self, len: usize, extremes: [T; 4], make: fn(u64) -> T) -> Vec<T> {
        let one = |_| match self.next() % 3 {
            0 => extremes[(self.next() % 4) as usize],
            _ => make(self.next()),
        };
        (0..len).map(one).collect()
    }

    /// Elements of rows and of the cache: −127 to 127.
    fn int8(&mut self, len: usize) -> Vec<i8> {
        self.some(len, [127, -127, 0, -1], |bits| (bits as i8).max(-127))
    }

    fn int16(&mut self, len: usize) -> Vec<i16> {
        self.some(len, [i16::MAX, i16::MIN, 0, -1], |bits| bits as i16)
    }

    /// Below 2^31 in magnitude.
    fn int32(&mut self, len: usize) -> Vec<i32> {
        self.some(len, [i32::MAX, -i32::MAX, 0, -1], |bits| (bits as i32).max(-i32::MAX))
    }

    fn int64(&mut self, len: usize) -> Vec<i64> {
        self.some(len, [i64::MAX, -i64::MAX, 0, -1], |bits| bits as i64)
    }
}

fn activation(values: &[i16]) -> Activation {
    let mut x = Activation::default();
    x.fill(values.len(), |out| {
        out.copy_from_slice(values);
        0
    });
    x
}

#[test]
fn rounding_is_floor_of_x_plus_a_half_for_every_sign_and_shift() {
    for shift in 0..=64 {
        for x in [0, 1, -1, 2, -2, 3, -3, 5, -5, 1 << 20, (1 << 29) - 1, -(1 << 29) + 1] {
            let expected = if shift == 0 {
                i128::from(x)
            } else {
                (2 * i128::from(x) + (1 << shift)).div_euclid(1 << (shift + 1))
            };
            assert_eq!(i128::from(portable::round_shift(x, shift)), expected, "{x} {shift}");
        }
    }
}

#[test]
fn the_least_exponent_is_least_and_within_its_limit() {
    for limit in [portable::INT8_MAX, portable::INT16_MAX, portable::NORM_MAX] {
        for bits in 0..61 {
            for max in
                [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1, (2 << bits) - (1 << bits) / 128]
            {
                let e = portable::least_exponent(max, limit);
                let rounded = |e| portable::round_shift(max.cast_signed(), e).unsigned_abs();
                assert!(rounded(e) <= limit, "{max} {limit}");
                assert!(e == 0 || rounded(e - 1) > limit, "{max} {limit}");
            }
        }
    }
    // The bit length alone would say 1 here, and the result would be 32,768.
    assert_eq!(portable::least_exponent(65_535, portable::INT16_MAX), 2);
}

#[test]
fn the_inverse_root_satisfies_its_two_inequalities() {
    let mut numbers = Numbers::new(2);
    let mut next = || numbers.next();
    for width in [1, 2, 64, 255, 256, 257, 16_384] {
        for shift in [0, 1, 8, 9] {
            for _ in 0..200 {
                let squares = next() >> (4 + next() % 60);
                let epsilon = next() >> (4 + next() % 60);
                let squares = squares + portable::epsilon_of(epsilon, 2 * shift);
                let (root, half_k) = portable::inverse_root(width, squares);
                let v = u128::from(squares).max(1);
                let target = u128::from(width) << (2 * half_k);
                let root = root as u128;
                assert!((1 << 15..1 << 16).contains(&root));
                assert!(v * root * root <= target && target < v * (root + 1) * (root + 1));
                assert!(u128::from(width) << (2 * half_k + 2) >= v << 32, "k is not the largest");
            }
        }
    }
    assert_eq!(portable::inverse_root(1, 0), (32_768, 15));
}

#[test]
fn a_norm_of_one_repeated_value_is_its_gain() {
    // Every channel has the root mean square itself, so the output is the gain: 3/4 here.
    let (mut scratch, mut out) = (vec![0; 256], vec![0; 256]);
    for kernels in Kernels::available() {
        for value in [1, 1000, 1 << 22, i32::MAX] {
            let gains = vec![3 << 12; 256];
            let bits = kernels.norm(&vec![value; 256], &gains, 0, 0, &mut scratch, &mut out) + 14;
            let found = f64::from(out[0]) / f64::from(bits).exp2();
            assert!((found - 0.75).abs() < 1e-4, "{value} {found}");
            assert!(out.iter().all(|x| *x == out[0]));
        }
        assert_eq!(kernels.norm(&[0; 256], &[1; 256], 0, 0, &mut scratch, &mut out), 11);
        assert!(out.iter().all(|x| *x == 0));
    }
}

#[test]
fn attention_division_rounds_half_up_and_vanishes_beyond_a_lag_of_sixteen() {
    let mut out = [0; 4];
    for kernels in Kernels::available() {
        kernels.divide(&[127 * 65_535, -127 * 65_535, 1, 0], 65_535, 0, &mut out);
        assert_eq!(out, [127 * 256, -127 * 256, 0, 0]);
        kernels.divide(&[1, -1, 3, -3], 2, 8, &mut out);
        assert_eq!(out, [1, 0, 2, -1]);
        for lag in [16, 24, 25, 1000] {
            kernels.divide(&[127 * 65_535, -127 * 65_535, 1, 0], 65_535, lag, &mut out);
            assert_eq!(out, [0; 4], "{lag}");
        }
    }
}

#[test]
fn a_left_shift_beyond_every_bound_reports_it() {
    let mut residual = [i32::MAX, 0];
    for kernels in Kernels::available() {
        assert_eq!(kernels.add_scaled(&[1, 0], 0, &mut residual.clone()), 1 << 31);
        assert_eq!(kernels.add_scaled(&[-1, 0], 0, &mut residual), (1 << 31) - 2);
        assert!(kernels.add_scaled(&[0, 1], -200, &mut residual) >= 1 << 32);
        let mut out = [0; 2];
        assert_eq!(kernels.rescale(&[0, 0], -200, &mut out), 0);
        assert_eq!(kernels.rescale(&[1, -1], -30, &mut out), 1 << 30);
        assert_eq!(out, [1 << 30, -(1 << 30)]);
        residual = [i32::MAX, 0];
    }
}
