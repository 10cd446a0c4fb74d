//! One test per operation: every kernel of the machine equals the law on chosen lengths and values.

use super::{Numbers, activation};
use crate::kernel::{Activation, GROUP, Kernels, Rows, portable};

/// Around every width that a kernel takes at once.
const LENGTHS: [usize; 18] =
    [1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 1023];
/// Around every number of tokens that a kernel takes at once.
const TOKENS: [usize; 13] = [1, 2, 3, 4, 6, 7, 8, 11, 12, 13, 16, 17, 33];
/// Around every number of rows that a kernel takes at once.
const ROWS: [usize; 9] = [1, 3, 4, 5, 16, 17, 31, 32, 33];

/// Calls `act` with each kernel but the law itself.
fn each(mut act: impl FnMut(Kernels)) {
    for kernels in Kernels::available().into_iter().filter(|one| *one != Kernels::PORTABLE) {
        act(kernels);
    }
}

#[test]
fn every_kernel_has_a_name_that_finds_it() {
    for kernels in Kernels::available() {
        assert_eq!(Kernels::named(kernels.name()).unwrap(), kernels);
    }
    assert!(Kernels::named("none").is_err());
    assert_eq!(Kernels::available().last(), Some(&Kernels::detect()));
}

/// int4 rows of chosen bytes and scales, with their sums.
struct Int4 {
    nibbles: Vec<u8>,
    scales: Vec<u8>,
    sums: Vec<i32>,
}

impl Int4 {
    fn new(nibbles: Vec<u8>, scales: Vec<u8>, rows: usize) -> Self {
        let groups = nibbles.chunks(GROUP / 2).zip(&scales).map(|(bytes, scale)| {
            let elements =
                bytes.iter().map(|byte| i32::from(byte & 15) + i32::from(byte >> 4) - 16);
            elements.sum::<i32>() * i32::from(*scale)
        });
        let groups: Vec<i32> = groups.collect();
        let sums = groups.chunks(scales.len() / rows).map(|row| row.iter().sum()).collect();
        Self { nibbles, scales, sums }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::Int4 { nibbles: &self.nibbles, group_scales: &self.scales, sums: &self.sums }
    }
}

fn linear(kernels: Kernels, rows: Rows<'_>, xs: &[Activation]) -> Vec<Vec<i64>> {
    let mut outs = vec![vec![i64::MIN; rows.count()]; xs.len()];
    let mut slices: Vec<&mut [i64]> = outs.iter_mut().map(Vec::as_mut_slice).collect();
    kernels.linear(rows, &xs.iter().collect::<Vec<_>>(), &mut slices);
    outs
}

fn compare_linear(rows: Rows<'_>, xs: &[Activation], what: &str) {
    let law = linear(Kernels::PORTABLE, rows, xs);
    each(|kernels| {
        assert_eq!(
            linear(kernels, rows, xs),
            law,
            "{kernels:?} {what} {} {}",
            rows.count(),
            xs.len()
        );
    });
}

fn int8_sums(values: &[i8], width: usize) -> Vec<i32> {
    values.chunks(width).map(|row| row.iter().map(|w| i32::from(*w)).sum()).collect()
}

#[test]
fn linear_layers_of_int8_rows_are_equal() {
    let mut numbers = Numbers::new(1);
    for (index, width) in LENGTHS.into_iter().enumerate() {
        for (count, tokens) in ROWS.into_iter().zip(TOKENS.into_iter().cycle().skip(index)) {
            let values = numbers.int8(count * width);
            let sums = int8_sums(&values, width);
            let xs: Vec<_> = (0..tokens).map(|_| activation(&numbers.int16(width))).collect();
            compare_linear(Rows::Int8 { values: &values, sums: &sums }, &xs, &format!("{width}"));
        }
    }
}

#[test]
fn linear_layers_of_int4_rows_are_equal() {
    let mut numbers = Numbers::new(2);
    for (index, width) in [32, 64, 96, 128, 160, 192, 256, 1024, 1056].into_iter().enumerate() {
        for (count, tokens) in ROWS.into_iter().zip(TOKENS.into_iter().cycle().skip(index)) {
            let scales = (0..count * width / GROUP).map(|_| numbers.below(127) as u8 + 1).collect();
            let nibbles = (0..count * width / 2).map(|_| numbers.below(256) as u8).collect();
            let rows = Int4::new(nibbles, scales, count);
            let xs: Vec<_> = (0..tokens).map(|_| activation(&numbers.int16(width))).collect();
            compare_linear(rows.rows(), &xs, &format!("{width}"));
        }
    }
}

/// Sums of int8 rows in groups.
fn group_sums(values: &[i8], scales: &[u8], count: usize) -> Vec<i32> {
    let groups = values
        .chunks(GROUP)
        .zip(scales)
        .map(|(group, scale)| group.iter().map(|q| i32::from(*q)).sum::<i32>() * i32::from(*scale));
    let groups: Vec<i32> = groups.collect();
    groups.chunks(groups.len() / count).map(|row| row.iter().sum()).collect()
}

#[test]
fn linear_layers_of_int8_rows_in_groups_are_equal() {
    let mut numbers = Numbers::new(14);
    for (index, width) in [32, 64, 96, 128, 160, 192, 256, 1024, 1056].into_iter().enumerate() {
        for (count, tokens) in ROWS.into_iter().zip(TOKENS.into_iter().cycle().skip(index)) {
            let group_scales: Vec<u8> =
                (0..count * width / GROUP).map(|_| numbers.below(127) as u8 + 1).collect();
            let values = numbers.int8(count * width);
            let sums = group_sums(&values, &group_scales, count);
            let rows =
                Rows::Int8Groups { values: &values, group_scales: &group_scales, sums: &sums };
            let xs: Vec<_> = (0..tokens).map(|_| activation(&numbers.int16(width))).collect();
            compare_linear(rows, &xs, &format!("{width}"));
        }
    }
}

#[test]
fn linear_layers_are_equal_for_every_count_of_tokens() {
    let mut numbers = Numbers::new(3);
    let (width, count) = (96, 37);
    let values = numbers.int8(count * width);
    let sums = int8_sums(&values, width);
    let scales = (0..count * width / GROUP).map(|_| numbers.below(127) as u8 + 1).collect();
    let int4 = Int4::new(
        (0..count * width / 2).map(|_| numbers.below(256) as u8).collect(),
        scales,
        count,
    );
    let all: Vec<_> = (0..40).map(|_| activation(&numbers.int16(width))).collect();
    for tokens in 0..=all.len() {
        compare_linear(Rows::Int8 { values: &values, sums: &sums }, &all[..tokens], "int8");
        compare_linear(int4.rows(), &all[..tokens], "int4");
    }
}

#[test]
fn linear_layers_are_equal_where_rows_fill_more_than_one_block() {
    let mut numbers = Numbers::new(4);
    let (width, count) = (4096, 200);
    let values = numbers.int8(count * width);
    let sums = int8_sums(&values, width);
    let xs: Vec<_> = (0..18).map(|_| activation(&numbers.int16(width))).collect();
    compare_linear(Rows::Int8 { values: &values, sums: &sums }, &xs, "int8");
}

#[test]
fn linear_layers_are_exact_at_the_widest_row_with_every_product_at_its_extreme() {
    let width = 65_536;
    for x in [32_767_i16, -32_767] {
        let token = activation(&vec![x; width]);
        let tokens = vec![token; 13];
        for w in [127_i8, -127] {
            let sums = [i32::from(w) * 65_536];
            let values = vec![w; width];
            for kernels in Kernels::available() {
                for tokens in [&tokens[..1], &tokens[..]] {
                    let found =
                        linear(kernels, Rows::Int8 { values: &values, sums: &sums }, tokens);
                    assert_eq!(found[0][0], 65_536 * i64::from(w) * i64::from(x), "{kernels:?}");
                }
            }
        }
        for q in [127_i8, -127] {
            let (values, scales) = (vec![q; width], vec![127; width / GROUP]);
            let sums = [i32::from(q) * 127 * 65_536];
            let rows = Rows::Int8Groups { values: &values, group_scales: &scales, sums: &sums };
            for kernels in Kernels::available() {
                for tokens in [&tokens[..1], &tokens[..]] {
                    let found = linear(kernels, rows, tokens);
                    let expected = 65_536 * 127 * i64::from(q) * i64::from(x);
                    assert_eq!(found[0][0], expected, "{kernels:?}");
                }
            }
        }
        for (byte, q) in [(0xff, 7), (0x00, -8)] {
            let rows = Int4::new(vec![byte; width / 2], vec![127; width / GROUP], 1);
            for kernels in Kernels::available() {
                for tokens in [&tokens[..1], &tokens[..]] {
                    let found = linear(kernels, rows.rows(), tokens);
                    assert_eq!(found[0][0], 65_536 * 127 * q * i64::from(x), "{kernels:?}");
                }
            }
        }
    }
}

#[test]
fn narrowings_are_equal() {
    let mut numbers = Numbers::new(5);
    for len in LENGTHS {
        for shift in 0..62 {
            let sums: Vec<i64> = numbers.int64(len).iter().map(|x| x >> (2 + shift)).collect();
            let values: Vec<i32> =
                numbers.int32(len).iter().map(|x| x >> (2 + shift % 30)).collect();
            let run = |kernels: Kernels| {
                let (mut a, mut b, mut c) = (vec![1; len], vec![1; len], vec![1; len]);
                let shifts = [
                    kernels.narrow_sums(&sums, &mut a),
                    kernels.narrow(&values, &mut b),
                    kernels.narrow_to_int8(&values, &mut c),
                ];
                (shifts, a, b, c)
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {len}"));
        }
    }
    each(|kernels| {
        let mut out = [0; 3];
        assert_eq!(kernels.narrow_sums(&[65_535, -65_535, 0], &mut out), 2);
        assert_eq!(out, [16_384, -16_384, 0]);
        assert_eq!(kernels.narrow_sums(&[], &mut []), 0);
    });
}

#[test]
fn products_biases_and_rescalings_are_equal() {
    let mut numbers = Numbers::new(6);
    for len in LENGTHS {
        let (a, b) = (numbers.int16(len), numbers.int16(len));
        let values: Vec<i32> = numbers.int32(len).iter().map(|x| x >> 2).collect();
        let bias: Vec<i32> = numbers.int32(len).iter().map(|x| x >> 3).collect();
        for shift in [-200, -33, -32, -3, -1, 0, 1, 2, 7, 30, 31, 32, 61, 62, 63, 200] {
            let run = |kernels: Kernels| {
                let (mut product, mut scaled) = (vec![0; len], vec![0; len]);
                kernels.products(&a, &b, &mut product);
                let (mut residual, mut biased) = (product.clone(), values.clone());
                let found = [
                    kernels.rescale(&values, shift, &mut scaled),
                    kernels.add_scaled(&values, shift, &mut residual),
                ];
                let bits = kernels.add_bias(&mut biased, shift, &bias, 3);
                (product, scaled, residual, biased, found, bits)
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {shift}"));
        }
    }
}

#[test]
fn norms_are_equal() {
    let mut numbers = Numbers::new(7);
    for len in LENGTHS {
        for quiet in [0, 1, 8, 20, 31] {
            let values: Vec<i32> = numbers.int32(len).iter().map(|x| x >> quiet).collect();
            let gains: Vec<i16> = numbers.int16(len).iter().map(|x| (*x).max(-32_767)).collect();
            let run = |kernels: Kernels| {
                let (mut scratch, mut out, mut wide) = (vec![0; len], vec![0; len], vec![0; len]);
                let bits = [
                    kernels.norm(&values, &gains, 1 << 30, 2, &mut scratch, &mut out),
                    kernels.layer_norm(&values, &gains, 1 << 40, &mut scratch, &mut wide),
                ];
                (bits, out, wide)
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {len}"));
        }
    }
}

#[test]
fn rotations_are_equal() {
    let mut numbers = Numbers::new(8);
    for half in LENGTHS.into_iter().filter(|half| *half <= 128) {
        let x: Vec<i16> = numbers.int16(2 * half).iter().map(|x| (*x).max(-32_767)).collect();
        let mut turns = || -> Vec<i16> {
            let entries = (0..half).map(|_| numbers.below(32_769) - 16_384);
            entries.map(|entry| entry as i16).collect()
        };
        let (cosines, sines) = (turns(), turns());
        let run = |kernels: Kernels| {
            let mut out = vec![0; 2 * half];
            kernels.rotate(&x, &cosines, &sines, &mut out);
            out
        };
        each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {half}"));
    }
}

#[test]
fn scores_and_their_alignment_are_equal() {
    let mut numbers = Numbers::new(9);
    for head_dim in [2, 8, 10, 16, 30, 32, 34, 48, 64, 80, 96, 128, 256] {
        for keys in LENGTHS {
            let query: Vec<i16> =
                numbers.int16(head_dim).iter().map(|x| (*x).max(-32_767)).collect();
            let cache = numbers.int8(keys * head_dim);
            let bits: Vec<i16> = (0..keys).map(|_| numbers.below(24) as i16).collect();
            for query_bits in [-300, -20, -3, 0, 12, 30, 43, 500] {
                let run = |kernels: Kernels| {
                    let mut scores = vec![0; keys];
                    kernels.scores(&query, &cache, &mut scores);
                    let raw = scores.clone();
                    let max = kernels.align_scores(&mut scores, &bits, query_bits, 12);
                    // Beyond its bound a score is void.
                    let aligned = if max > u64::from(u32::MAX) { vec![] } else { scores };
                    (raw, max, aligned)
                };
                each(|kernels| {
                    assert_eq!(
                        run(kernels),
                        run(Kernels::PORTABLE),
                        "{kernels:?} {head_dim} {keys}"
                    );
                });
            }
        }
    }
}

#[test]
fn numerators_are_equal_at_both_ends_of_the_table_and_beyond_it() {
    let mut numbers = Numbers::new(10);
    let table: Vec<u16> = (0..65_536_u32).map(|i| (65_535 - i * 3 / 4) as u16).collect();
    for keys in LENGTHS {
        for spread in [1_i64, 1 << 12, (1 << 16) + 2, 1 << 20, 1 << 31] {
            let mut scores: Vec<i32> = (0..keys)
                .map(|_| (numbers.below(spread.unsigned_abs()) - spread / 2) as i32 / 2)
                .collect();
            // The last entry, and the first index that has none.
            for (score, below) in scores.iter_mut().zip([0, 65_535, 65_536, 65_534]) {
                *score = 9 - below;
            }
            let bits: Vec<i16> = (0..keys).map(|_| numbers.below(40) as i16 - 9).collect();
            let run = |kernels: Kernels| {
                let mut out = vec![1; keys];
                (kernels.weights(&scores, &bits, -9, &table, &mut out), out)
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {keys}"));
        }
    }
}

#[test]
fn weighted_sums_are_equal_and_exact_at_their_extremes() {
    let mut numbers = Numbers::new(11);
    for head_dim in [1, 2, 10, 15, 16, 17, 48, 63, 64, 65, 80, 128, 130, 256] {
        for keys in LENGTHS {
            let weights: Vec<u16> = numbers.int16(keys).iter().map(|x| x.cast_unsigned()).collect();
            let values = numbers.int8(keys * head_dim);
            let run = |kernels: Kernels| {
                let mut out = vec![7; head_dim];
                kernels.weighted_sum(&weights, &values, &mut out);
                out
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {keys}"));
        }
    }
    for keys in [509, 65_537, 131_072] {
        for value in [127, -127] {
            for kernels in Kernels::available() {
                let mut out = [0; 16];
                kernels.weighted_sum(&vec![u16::MAX; keys], &vec![value; 16 * keys], &mut out);
                assert_eq!(out, [keys as i64 * 65_535 * i64::from(value); 16], "{kernels:?}");
            }
        }
    }
}

#[test]
fn divisions_are_equal() {
    let mut numbers = Numbers::new(12);
    for len in LENGTHS {
        for lag in [0, 1, 7, 8, 9, 15, 16, 17, 24, 400] {
            let total = numbers.below(1 << 33).unsigned_abs() + 1;
            let sums: Vec<i64> =
                numbers.int64(len).iter().map(|x| x % (127 * total as i64)).collect();
            let run = |kernels: Kernels| {
                let mut out = vec![0; len];
                kernels.divide(&sums, total, lag, &mut out);
                out
            };
            each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {lag}"));
        }
    }
}

#[test]
fn activations_are_equal_at_both_ends_of_the_table_and_beyond_it() {
    let mut numbers = Numbers::new(13);
    let table: Vec<i16> = (0..65_536_i64).map(|i| -((i * 7 % 1141) as i16)).collect();
    for len in LENGTHS {
        let mut values: Vec<i32> = numbers.int32(len).iter().map(|x| x >> (1 + len % 20)).collect();
        let edges = [0, 65_535, -65_535, 65_536, -65_536, 1 << 30, -(1 << 30), -1, 1];
        for (value, edge) in values.iter_mut().zip(edges) {
            *value = edge;
        }
        let run = |kernels: Kernels| {
            let mut values = values.clone();
            kernels.activate(&mut values, &table);
            values
        };
        each(|kernels| assert_eq!(run(kernels), run(Kernels::PORTABLE), "{kernels:?} {len}"));
    }
    assert_eq!(portable::least_exponent(0, 127), 0);
}
