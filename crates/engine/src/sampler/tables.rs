//! The sampler's tables: made once, of integers, total by construction.
//!
//! Every entry is the correctly rounded real number (no value lies close enough to a rounding
//! boundary for the generator's error to matter), so anyone can make them again from the formulas
//! below; a test pins the SHA-256 of their bytes, and a change of one entry is a new arithmetic.

use std::sync::LazyLock;

use tally_core::Digest;

use crate::fixed::Fixed;

/// Fraction bits of the logarithm tables.
pub const LOG_FRACTION_BITS: u32 = 40;
/// log2 of the number of cells of [`SamplerTables::log`].
pub const LOG_CELL_BITS: u32 = 12;
/// log2 of the number of cells of [`SamplerTables::tail`].
pub const TAIL_CELL_BITS: u32 = 10;
/// Fraction bits of the exponential tables: odd, since with an even number the square term of
/// e^−x puts some entries within 2^−26 of a rounding boundary.
pub const EXP_FRACTION_BITS: u32 = 51;
/// Entries of [`SamplerTables::exp_whole`].
pub const EXP_WHOLE_COUNT: u64 = 32;

/// The tables, each at most 2^13 entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerTables {
    /// log\[i\] = round(2^40 · ln(1 + i/4096)), i = 0..=4096.
    pub log: Vec<i64>,
    /// tail\[i\] = round(2^40 · ln(−ln(1 − v)/v)) with v = i/2048, i = 0..=1024; tail\[0\] = 0.
    pub tail: Vec<i64>,
    /// round(2^40 · ln 2).
    pub log_2: i64,
    /// exp_whole\[i\] = round(2^51 · e^−i), i = 0..32.
    pub exp_whole: Vec<u64>,
    /// exp_byte\[j\]\[i\] = round(2^51 · e^(−i · 2^(−8(j+1)))), i = 0..256, j = 0..4.
    pub exp_byte: [Vec<u64>; 4],
}

impl SamplerTables {
    /// The tables, made at first use.
    #[must_use]
    pub fn get() -> &'static Self {
        static TABLES: LazyLock<SamplerTables> = LazyLock::new(SamplerTables::new);
        &TABLES
    }

    fn new() -> Self {
        let log = (0..=1_u64 << LOG_CELL_BITS).map(|i| log_of(4_096 + i, 4_096)).map(to_q40);
        let tail = (0..=1_u64 << TAIL_CELL_BITS).map(tail_of).map(to_q40);
        let exp_byte = [8, 16, 24, 32].map(|bits| (0..256).map(|i| exp_of(i, 1 << bits)).collect());
        Self {
            log: log.collect(),
            tail: tail.collect(),
            log_2: to_q40(log_of(2, 1)),
            exp_whole: (0..EXP_WHOLE_COUNT).map(|i| exp_of(i, 1)).collect(),
            exp_byte,
        }
    }

    /// SHA-256 of all entries in the order of the fields, each as eight little-endian bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed = self.log.iter().chain(&self.tail).chain([&self.log_2]);
        let unsigned = self.exp_whole.iter().chain(self.exp_byte.iter().flatten());
        let bytes: Vec<u8> = signed
            .flat_map(|entry| entry.to_le_bytes())
            .chain(unsigned.flat_map(|entry| entry.to_le_bytes()))
            .collect();
        Digest::of_content(&bytes)
    }
}

/// ln(numerator/denominator), both positive.
fn log_of(numerator: u64, denominator: u64) -> Fixed {
    let logarithm = |value: u64| Fixed::from_ratio(i64::try_from(value).ok()?, 1)?.ln();
    let difference = || logarithm(numerator)?.plus(logarithm(denominator)?.negated());
    difference().expect("the tables take logarithms of small positive integers")
}

/// ln(−ln(1 − v)/v) with v = i/2048, and its limit at zero.
fn tail_of(i: u64) -> Fixed {
    if i == 0 {
        return Fixed::ZERO;
    }
    let inner = log_of(2_048, 2_048 - i);
    let outer = || inner.ln()?.plus(log_of(2_048, i));
    outer().expect("the inner logarithm is positive")
}

/// round(2^51 · e^(−i/unit)).
fn exp_of(i: u64, unit: u64) -> u64 {
    let power = || Fixed::from_ratio(-i64::try_from(i).ok()?, unit)?.exp();
    let power = power().expect("no positive power is tabulated");
    let scaled = power.scaled(1 << EXP_FRACTION_BITS);
    u64::try_from(scaled).expect("an exponential is positive")
}

fn to_q40(value: Fixed) -> i64 {
    let scaled = value.scaled(1 << LOG_FRACTION_BITS);
    i64::try_from(scaled).expect("a tabulated logarithm is below eight")
}
