//! Decimal numbers of a JSON text, exactly.

use std::fmt;

use crate::fixed::Fixed;

/// Largest magnitude of a decimal exponent: beyond it no field of a model has any meaning.
pub const DECIMAL_EXPONENT_MAX: i32 = 64;

/// A number digits · 10^exponent ≥ 0 in lowest terms: digits do not end in zero, and zero has the
/// exponent zero. So equal numbers are equal values, however they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// The number digits · 10^exponent; `None` beyond [`DECIMAL_EXPONENT_MAX`].
    #[must_use]
    pub fn new(mut digits: u64, mut exponent: i32) -> Option<Self> {
        if digits == 0 {
            return Some(Self { digits: 0, exponent: 0 });
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent = exponent.checked_add(1)?;
        }
        let is_in_range = exponent.unsigned_abs() <= DECIMAL_EXPONENT_MAX.unsigned_abs();
        is_in_range.then_some(Self { digits, exponent })
    }

    /// Parses a JSON number of at most 19 significant digits that is not negative.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let is_number = !whole.is_empty()
            && number.split_once('.').is_none_or(|(_, places)| !places.is_empty());
        if !is_number || text.len() > 64 {
            return None;
        }
        // Zeros that end the places cost no digits.
        let places = places.trim_end_matches('0');
        let digits = whole.bytes().chain(places.bytes()).try_fold(0_u64, |digits, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            digits.checked_mul(10)?.checked_add(digit)
        })?;
        Self::new(digits, power.checked_sub(i32::try_from(places.len()).ok()?)?)
    }

    /// The shortest decimal that rounds to an IEEE 754 number of 32 bits, and of those the
    /// nearest: what was written before it was stored. `None` unless the number is zero or lies
    /// in 2^−64..2^64.
    #[must_use]
    pub fn from_float_bits(bits: u32) -> Option<Self> {
        if bits == 0 {
            return Self::new(0, 0);
        }
        let (biased, fraction) = (bits >> 23, bits & ((1 << 23) - 1));
        let exponent = i32::try_from(biased).ok()? - 150;
        // A sign would count as part of the exponent.
        if !(-64..64).contains(&(exponent + 23)) {
            return None;
        }
        // In units of a quarter of the last place.
        let number = 4 * u128::from(fraction | 1 << 23);
        let (low, high) = (number - if fraction == 0 { 1 } else { 2 }, number + 2);
        let is_even = fraction.is_multiple_of(2);
        (-30..=20).rev().find_map(|power: i32| {
            let ten = 10_u128.checked_pow(power.unsigned_abs())?;
            let two = 1_u128 << (exponent - 2).unsigned_abs();
            // number · 2^(exponent − 2) / 10^power = number · up / down.
            let (mut up, mut down) = if power < 0 { (ten, 1) } else { (1, ten) };
            if exponent < 2 {
                down = two.checked_mul(down)?
            } else {
                up = two.checked_mul(up)?
            }
            let scaled = number.checked_mul(up)?;
            let floor = scaled / down;
            let rest = scaled % down;
            let nearest = floor + u128::from(rest >= down - rest);
            let found = nearest.checked_mul(down)?;
            let (low, high) = (low.checked_mul(up)?, high.checked_mul(up)?);
            let is_inside =
                if is_even { low <= found && found <= high } else { low < found && found < high };
            is_inside.then(|| Self::new(u64::try_from(nearest).ok()?, power))?
        })
    }

    /// The digits of digits · 10^exponent.
    #[must_use]
    pub const fn digits(self) -> u64 {
        self.digits
    }

    /// The exponent of digits · 10^exponent.
    #[must_use]
    pub const fn exponent(self) -> i32 {
        self.exponent
    }

    /// The number as a ratio of integers; `None` when one exceeds 63 bits.
    #[must_use]
    pub fn ratio(self) -> Option<(i64, u64)> {
        let power = 10_u64.checked_pow(self.exponent.unsigned_abs())?;
        if self.exponent < 0 {
            return Some((i64::try_from(self.digits).ok()?, power));
        }
        Some((i64::try_from(self.digits.checked_mul(power)?).ok()?, 1))
    }

    /// The number rounded to a fixed-point one; `None` when it or its ratio is out of range.
    #[must_use]
    pub fn fixed(self) -> Option<Fixed> {
        let (numerator, denominator) = self.ratio()?;
        Fixed::from_ratio(numerator, denominator)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exponent {
            0 => write!(f, "{}", self.digits),
            exponent => write!(f, "{}e{exponent}", self.digits),
        }
    }
}
