//! Every kernel equals the law, on chosen shapes and on extreme values.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "random bits are cut to the width that a test needs"
)]

use proptest::prelude::*;

use super::{Activation, Kernels, Rows, portable};

fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
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

fn linear(kernels: Kernels, rows: &[i8], width: usize, xs: &[Activation]) -> Vec<Vec<i64>> {
    let sums: Vec<i32> =
        rows.chunks(width).map(|row| row.iter().map(|w| i32::from(*w)).sum()).collect();
    let mut outs = vec![vec![i64::MIN; sums.len()]; xs.len()];
    let mut slices: Vec<&mut [i64]> = outs.iter_mut().map(Vec::as_mut_slice).collect();
    kernels.linear(
        Rows::Int8 { values: rows, sums: &sums },
        &xs.iter().collect::<Vec<_>>(),
        &mut slices,
    );
    outs
}

#[test]
fn linear_equals_the_sum_of_products_for_every_kernel_shape_and_extreme() {
    let mut next = generator(1);
    for kernels in Kernels::available() {
        for width in [1, 2, 63, 64, 65, 128, 511, 512, 513, 1024, 1030] {
            for (rows, tokens) in [(1, 1), (3, 2), (4, 1), (5, 3), (8, 5)] {
                for extreme in [false, true] {
                    let weights: Vec<i8> = (0..rows * width)
                        .map(|_| {
                            if extreme {
                                [127, -127][(next() & 1) as usize]
                            } else {
                                (next() as i8).max(-127)
                            }
                        })
                        .collect();
                    let xs: Vec<Vec<i16>> = (0..tokens)
                        .map(|_| {
                            (0..width)
                                .map(|_| {
                                    if extreme {
                                        [32_767, -32_767, 0, -1][(next() & 3) as usize]
                                    } else {
                                        next() as i16
                                    }
                                })
                                .collect()
                        })
                        .collect();
                    let found = linear(
                        kernels,
                        &weights,
                        width,
                        &xs.iter().map(|x| activation(x)).collect::<Vec<_>>(),
                    );
                    for (t, x) in xs.iter().enumerate() {
                        for (n, row) in weights.chunks(width).enumerate() {
                            let expected: i64 =
                                row.iter().zip(x).map(|(w, x)| i64::from(*w) * i64::from(*x)).sum();
                            assert_eq!(found[t][n], expected, "{kernels:?} {width} {n} {t}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn linear_is_exact_at_the_widest_row_with_every_product_at_its_extreme() {
    for kernels in Kernels::available() {
        for (w, x) in [(127_i8, 32_767_i16), (-127, 32_767), (127, -32_767), (-127, -32_767)] {
            let width = 65_536;
            let found = linear(kernels, &vec![w; width], width, &[activation(&vec![x; width])]);
            assert_eq!(found[0][0], 65_536 * i64::from(w) * i64::from(x), "{kernels:?}");
        }
    }
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
    let mut next = generator(2);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_other_operation_equals_the_law(seed in any::<u64>(), half in 1_usize..=128, keys in 1_usize..=700) {
        let mut next = generator(seed);
        let head_dim = 2 * half;
        let wide: Vec<i32> = (0..head_dim).map(|_| (next() as i32) >> (2 + next() % 29)).collect();
        let sums: Vec<i64> = (0..head_dim).map(|_| (next() as i64) >> (5 + next() % 50)).collect();
        let query: Vec<i16> = (0..head_dim).map(|_| (next() as i16).max(-32_767)).collect();
        let gains: Vec<i16> = (0..head_dim).map(|_| next() as i16).collect();
        let cosines: Vec<i16> = (0..half).map(|_| (next() as i16) >> 1).collect();
        let cache: Vec<i8> = (0..keys * head_dim).map(|_| (next() as i8).max(-127)).collect();
        let bits: Vec<i16> = (0..keys).map(|_| (next() % 24) as i16).collect();
        let table: Vec<u16> = (0..65_536_u64).map(|i| (65_535 >> (i / 4096)) as u16).collect();
        let psi: Vec<i16> = (0..65_536_u64).map(|i| -((i % 1141) as i16)).collect();
        let shift = (next() % 80) as i32 - 20;
        let run = |kernels: Kernels| {
            let mut out16 = vec![0_i16; head_dim];
            let mut out8 = vec![0_i8; head_dim];
            let mut out32 = vec![0_i32; head_dim];
            let mut out64 = vec![0_i64; head_dim];
            let mut log = vec![];
            let mut note = |number: u64, values: String| log.push((number, values));
            note(kernels.narrow_sums(&sums, &mut out16).into(), format!("{out16:?}"));
            note(kernels.narrow(&wide, &mut out16).into(), format!("{out16:?}"));
            note(kernels.narrow_to_int8(&wide, &mut out8).into(), format!("{out8:?}"));
            kernels.products(&query, &gains, &mut out32);
            note(0, format!("{out32:?}"));
            let mut residual = wide.clone();
            note(kernels.add_scaled(&wide, shift.max(-1), &mut residual), format!("{residual:?}"));
            note(kernels.rescale(&wide, shift.max(-1), &mut out32), format!("{out32:?}"));
            kernels.activate(&mut out32, &psi);
            note(0, format!("{out32:?}"));
            let up = kernels.norm(&wide, &gains, seed >> 20, 0, &mut out64, &mut out16);
            note(u64::from(up.unsigned_abs()), format!("{out16:?}"));
            kernels.rotate(&query, &cosines, &cosines, &mut out32);
            note(0, format!("{out32:?}"));
            let mut scores = vec![0; keys];
            kernels.scores(&query, &cache, &mut scores);
            note(0, format!("{scores:?}"));
            note(kernels.align_scores(&mut scores, &bits, shift, 12), format!("{scores:?}"));
            let mut weights = vec![0; keys];
            let least = bits.iter().copied().min().unwrap();
            let total = kernels.weights(&scores, &bits, least, &table, &mut weights);
            note(total, format!("{weights:?}"));
            kernels.weighted_sum(&weights, &cache, &mut out64);
            note(0, format!("{out64:?}"));
            kernels.divide(&out64, total, (seed % 20) as u32, &mut out16);
            note(0, format!("{out16:?}"));
            log
        };
        let law = run(Kernels::PORTABLE);
        for kernels in Kernels::available() {
            prop_assert_eq!(&run(kernels), &law);
        }
    }
}
