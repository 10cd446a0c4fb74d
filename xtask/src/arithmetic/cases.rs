//! The inputs of every operation: extreme values first, then some without a pattern.

use serde_json::{Value, json};

use super::integers::{one, packed};
use super::{Case, Group};

mod attention;
mod controls;
mod linear;
mod norms;
mod outputs;
mod sampling;

/// Every operation's inputs.
pub(super) fn groups() -> Vec<Group> {
    let mut all = linear::groups();
    all.extend(norms::groups());
    all.extend(attention::groups());
    all.extend(outputs::groups());
    all.extend(sampling::groups());
    all.extend(controls::groups());
    all
}

/// SplitMix64: numbers without a pattern, the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `least` to `most`.
    fn within(&mut self, least: i64, most: i64) -> i64 {
        let span = (i128::from(most) - i128::from(least) + 1).unsigned_abs();
        let offset = u128::from(self.next()) % span;
        i64::try_from(i128::from(least) + offset.cast_signed()).unwrap_or(most)
    }

    fn list(&mut self, len: usize, least: i64, most: i64) -> Vec<i64> {
        (0..len).map(|_| self.within(least, most)).collect()
    }
}

/// A list as the vectors write it.
fn p(values: &[i64]) -> Value {
    packed(values)
}

/// One value many times.
fn run(value: i64, count: usize) -> Value {
    packed(&vec![value; count])
}
