//! Decimals of at most six places, carried exactly as whole millionths.

use core::fmt;

/// A non-negative decimal of at most six places, carried exactly as millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micro(pub(super) u32);

impl Micro {
    /// 1.000000
    pub const ONE: Self = Self(1_000_000);
    /// 0.000000
    pub const ZERO: Self = Self(0);

    /// Takes a number of millionths.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// The number of millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Parses a plain decimal such as `0.7`: digits, then perhaps a point and one to six digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, places) = match text.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, places)) => (whole, places),
            None => (text, ""),
        };
        let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || places.len() > 6 || !are_digits(whole) || !are_digits(places) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let digits = places.bytes().chain(core::iter::repeat(b'0')).take(6);
        let millionths = digits.fold(0_u32, |value, digit| {
            value.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
        });
        Some(Self(whole.checked_mul(1_000_000)?.checked_add(millionths)?))
    }
}

impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(1_000_000).unwrap_or_default();
        let places = self.0.checked_rem(1_000_000).unwrap_or_default();
        if places == 0 {
            return write!(f, "{whole}");
        }
        let digits = alloc::format!("{places:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A decimal of at most six places and either sign, carried exactly as millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedMicro(pub(super) i32);

impl SignedMicro {
    /// 0.000000
    pub const ZERO: Self = Self(0);

    /// Takes a number of millionths.
    #[must_use]
    pub const fn from_millionths(millionths: i32) -> Self {
        Self(millionths)
    }

    /// The number of millionths.
    #[must_use]
    pub const fn millionths(self) -> i32 {
        self.0
    }

    /// Parses a plain decimal such as `-0.7`: perhaps a minus, then what [`Micro::parse`] takes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let magnitude = Micro::parse(text.strip_prefix('-').unwrap_or(text))?;
        let millionths = i64::from(magnitude.0);
        let signed = if text.starts_with('-') { millionths.checked_neg()? } else { millionths };
        i32::try_from(signed).ok().map(Self)
    }
}

impl fmt::Display for SignedMicro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", Micro(self.0.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn decimals_of_six_places_are_exact_and_everything_else_is_refused() {
        for (text, millionths, shown) in [
            ("0", 0, "0"),
            ("0.7", 700_000, "0.7"),
            ("1.000001", 1_000_001, "1.000001"),
            ("12.50", 12_500_000, "12.5"),
        ] {
            let value = Micro::parse(text).unwrap();
            assert_eq!(value.millionths(), millionths);
            assert_eq!(value.to_string(), shown);
        }
        for text in ["", ".5", "1.", "-1", "+1", "1e3", "0.0000001", "1,5", " 1", "4295", "1.2.3"] {
            assert_eq!(Micro::parse(text), None, "{text}");
        }
        assert_eq!(Micro::parse("4294.967295"), Some(Micro(u32::MAX)));
        assert_eq!(Micro::parse("4294.967296"), None);
    }

    #[test]
    fn a_signed_decimal_has_at_most_one_minus_and_the_whole_range_of_32_bits() {
        for (text, millionths, shown) in [
            ("0", 0, "0"),
            ("-0", 0, "0"),
            ("-0.000001", -1, "-0.000001"),
            ("2", 2_000_000, "2"),
            ("-1.50", -1_500_000, "-1.5"),
            ("2147.483647", i32::MAX, "2147.483647"),
            ("-2147.483648", i32::MIN, "-2147.483648"),
        ] {
            let value = SignedMicro::parse(text).unwrap();
            assert_eq!(value.millionths(), millionths);
            assert_eq!(value.to_string(), shown);
        }
        for text in ["", "-", "--1", "+1", "-.5", "1-", "2147.483648", "-2147.483649", "-1e3"] {
            assert_eq!(SignedMicro::parse(text), None, "{text}");
        }
    }
}
