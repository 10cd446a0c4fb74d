//! What is lost without a part: leave-one-out differences and Shapley values, exactly.
//!
//! A value is given for sets of parts; here it is divided among them in integers, with one common
//! denominator and no rounding. What is valued, and how, is the caller's: nothing here knows of
//! texts or models.

use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Most parts among which Shapley values are divided: each further one doubles the sets to value.
pub const SHAPLEY_PARTS_MAX: u32 = 8;
/// Most parts of all.
pub const PARTS_MAX: u32 = 64;

/// Which parts are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subset(u64);

impl Subset {
    /// No part.
    pub const NONE: Self = Self(0);

    /// The first `parts` parts, at most [`PARTS_MAX`].
    #[must_use]
    pub const fn whole(parts: u32) -> Self {
        // Part 0 is the highest bit, so that sets with the same first parts are neighbours.
        match u64::MAX.checked_shr(parts) {
            Some(rest) => Self(!rest),
            None => Self(u64::MAX),
        }
    }

    /// Whether a part is there.
    #[must_use]
    pub const fn contains(self, part: u32) -> bool {
        self.0 & bit(part) != 0
    }

    /// The set without a part.
    #[must_use]
    pub const fn without(self, part: u32) -> Self {
        Self(self.0 & !bit(part))
    }

    /// How many parts are there.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

const fn bit(part: u32) -> u64 {
    match (1_u64 << 63).checked_shr(part) {
        Some(bit) => bit,
        None => 0,
    }
}

/// The sets that have to be valued, in an order in which neighbours begin with the same parts: all
/// of up to [`SHAPLEY_PARTS_MAX`] parts; of more the whole, each without one part, and none.
#[must_use]
pub fn subsets(parts: u32) -> Vec<Subset> {
    let parts = parts.min(PARTS_MAX);
    if parts <= SHAPLEY_PARTS_MAX {
        let highest = |number: u64| Subset(number.checked_shl(64 - parts).unwrap_or(0));
        return (0..1_u64 << parts).map(highest).collect();
    }
    let whole = Subset::whole(parts);
    let mut found: Vec<Subset> = (0..parts).map(|part| whole.without(part)).collect();
    found.extend([Subset::NONE, whole]);
    found.sort_unstable();
    found
}

/// A fraction: `numerator` / `denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// Above the line.
    pub numerator: i128,
    /// Below it: the number of orders of all parts.
    pub denominator: u64,
}

impl Fraction {
    /// The nearest whole number, halves upwards.
    #[must_use]
    pub fn rounded(self) -> i128 {
        let denominator = i128::from(self.denominator);
        (2 * self.numerator + denominator).div_euclid(2 * denominator)
    }
}

/// The values of sets of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    parts: u32,
    values: BTreeMap<Subset, i64>,
}

impl Values {
    /// Asks for the value of every set of [`subsets`], in its order; parts beyond [`PARTS_MAX`] are
    /// not there.
    ///
    /// # Errors
    /// The first that `value` meets.
    pub fn of<E>(parts: u32, value: &mut dyn FnMut(Subset) -> Result<i64, E>) -> Result<Self, E> {
        let parts = parts.min(PARTS_MAX);
        let valued = subsets(parts).into_iter().map(|subset| Ok((subset, value(subset)?)));
        Ok(Self { parts, values: valued.collect::<Result<_, E>>()? })
    }

    /// The value of all parts together.
    #[must_use]
    pub fn whole(&self) -> i64 {
        self.at(Subset::whole(self.parts))
    }

    /// The value without any part.
    #[must_use]
    pub fn none(&self) -> i64 {
        self.at(Subset::NONE)
    }

    /// How much less the whole is worth without each part.
    #[must_use]
    pub fn leave_one_out(&self) -> Vec<i128> {
        let whole = Subset::whole(self.parts);
        (0..self.parts).map(|part| self.gain(whole, part)).collect()
    }

    /// Each part's gain, averaged over all orders in which the parts can be added; nothing of more
    /// than [`SHAPLEY_PARTS_MAX`] parts. Their sum is the whole's value less that of none.
    #[must_use]
    pub fn shapley(&self) -> Option<Vec<Fraction>> {
        if self.parts > SHAPLEY_PARTS_MAX {
            return None;
        }
        let denominator = factorial(self.parts);
        let of = |part: u32| {
            let with = self.values.keys().filter(|subset| subset.contains(part));
            let gains = with.map(|subset| {
                let (before, after) = (subset.count() - 1, self.parts - subset.count());
                let orders = factorial(before) * factorial(after);
                i128::from(orders) * self.gain(*subset, part)
            });
            Fraction { numerator: gains.sum(), denominator }
        };
        Some((0..self.parts).map(of).collect())
    }

    /// What a part adds to the others of a set that has it.
    fn gain(&self, subset: Subset, part: u32) -> i128 {
        i128::from(self.at(subset)) - i128::from(self.at(subset.without(part)))
    }

    /// Every set that is asked for was valued.
    fn at(&self, subset: Subset) -> i64 {
        self.values.get(&subset).copied().unwrap_or_default()
    }
}

fn factorial(number: u32) -> u64 {
    (1..=u64::from(number)).product()
}
