//! A point in time as milliseconds since 1970, and its calendar form for people.
//!
//! There is no clock here: time is always an argument.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    reason = "calendar arithmetic on values far below the range of its types"
)]

use core::fmt;

const MS_PER_DAY: u64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_TO_EPOCH: u64 = 719_468;
const DAYS_PER_ERA: u64 = 146_097;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(u64);

/// A date and time of day in UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Civil {
    pub(crate) year: u16,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) ms: u16,
}

impl UnixTime {
    /// Takes milliseconds since 1970.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Takes whole seconds since 1970; the latest time there is for all that lie beyond it.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// The time `ms` later, or the latest time there is.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; zero if it is not earlier.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time of a date; `None` for a date or time of day that does not exist, or before 1970.
    pub(crate) fn from_civil(civil: Civil) -> Option<Self> {
        let Civil { year, month, day, hour, minute, second, ms } = civil;
        if minute >= 60 || second >= 60 || ms >= 1_000 || day == 0 {
            return None;
        }
        // Years begin in March, so that the day that comes and goes is the last one.
        let shifted = u64::from(month) + 9;
        let year_from_march = u64::from(year).checked_sub(u64::from(month <= 2))?;
        let day_of_year = (153 * (shifted % 12) + 2) / 5 + u64::from(day) - 1;
        let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * DAYS_PER_ERA + day_of_era).checked_sub(DAYS_TO_EPOCH)?;
        let minutes = u64::from(hour) * 60 + u64::from(minute);
        let of_day = (minutes * 60 + u64::from(second)) * 1_000 + u64::from(ms);
        let time = Self(days * MS_PER_DAY + of_day);
        // A day, month or hour that does not exist has become another day.
        let (_, found_month, found_day) = time.date();
        (found_month == u64::from(month) && found_day == u64::from(day)).then_some(time)
    }

    /// Year, month and day in UTC.
    const fn date(self) -> (u64, u64, u64) {
        let days = self.0 / MS_PER_DAY + DAYS_TO_EPOCH;
        let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
        let leap_corrected =
            day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096;
        let year_of_era = leap_corrected / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let carry = if month <= 2 { 1 } else { 0 };
        (era * 400 + year_of_era + carry, month, day)
    }
}

impl fmt::Display for UnixTime {
    /// As in RFC 3339, in UTC, with milliseconds where they are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let of_day = self.0 % MS_PER_DAY;
        let (seconds, ms) = (of_day / 1_000, of_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms != 0 {
            write!(f, ".{ms:03}")?;
        }
        f.write_str("Z")
    }
}

/// A duration in milliseconds, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units =
            [(MS_PER_DAY, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
        let exact = units.into_iter().find(|(ms, _)| self.0 != 0 && self.0.is_multiple_of(*ms));
        let (ms, unit) = exact.unwrap_or((1, "millisecond"));
        let count = self.0 / ms;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn civil(year: u16, month: u8, day: u8) -> Civil {
        Civil { year, month, day, hour: 0, minute: 0, second: 0, ms: 0 }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_790_000_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(UnixTime::from_ms(ms).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before_and_comes_back() {
        let mut previous = (1969, 12, 31);
        for number in 0..292_000_u64 {
            let time = UnixTime::from_ms(number * MS_PER_DAY);
            let (year, month, day) = time.date();
            let next_day = (previous.0, previous.1, previous.2 + 1);
            let next_month = (previous.0, previous.1 + 1, 1);
            let next_year = (previous.0 + 1, 1, 1);
            assert!([next_day, next_month, next_year].contains(&(year, month, day)), "{time}");
            let (y, m, d) = (year.try_into(), month.try_into(), day.try_into());
            let back = civil(y.unwrap(), m.unwrap(), d.unwrap());
            assert_eq!(UnixTime::from_civil(back), Some(time));
            previous = (year, month, day);
        }
        assert_eq!(previous, (2769, 6, 20));
    }

    #[test]
    fn days_and_hours_that_do_not_exist_are_refused() {
        let good = Civil { hour: 23, minute: 59, second: 59, ms: 999, ..civil(2024, 2, 29) };
        assert_eq!(UnixTime::from_civil(good), Some(UnixTime::from_ms(1_709_251_199_999)));
        for bad in [
            civil(2023, 2, 29),
            civil(2100, 2, 29),
            civil(2024, 4, 31),
            civil(2024, 0, 1),
            civil(2024, 13, 1),
            civil(2024, 1, 0),
            civil(2024, 1, 32),
            civil(1969, 12, 31),
            civil(0, 1, 1),
            civil(2024, 255, 1),
            Civil { hour: 24, ..good },
            Civil { hour: 24, ..civil(2024, 1, 1) },
            Civil { hour: 255, ..civil(2024, 1, 1) },
            Civil { minute: 60, ..civil(2024, 1, 1) },
            Civil { second: 60, ..civil(2024, 1, 1) },
            Civil { ms: 1_000, ..civil(2024, 1, 1) },
            Civil { minute: 60, ..good },
            Civil { second: 60, ..good },
            Civil { ms: 1_000, ..good },
        ] {
            assert_eq!(UnixTime::from_civil(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let latest = UnixTime::from_ms(u64::MAX);
        assert_eq!(latest.plus_ms(1), latest);
        assert_eq!(UnixTime::from_seconds(u64::MAX), latest);
        assert_eq!(UnixTime::from_seconds(2).as_ms(), 2_000);
        assert_eq!(UnixTime::from_ms(2_999).as_seconds(), 2);
        assert_eq!(UnixTime::from_ms(5).ms_since(UnixTime::from_ms(7)), 0);
        assert_eq!(UnixTime::from_ms(7).ms_since(UnixTime::from_ms(5)), 2);
        assert_eq!(latest.to_string(), "584556019-04-03T14:25:51.615Z");
    }

    #[test]
    fn durations_are_said_in_their_largest_whole_unit() {
        for (ms, text) in [
            (0, "0 milliseconds"),
            (1, "1 millisecond"),
            (1_000, "1 second"),
            (90_000, "90 seconds"),
            (300_000, "5 minutes"),
            (7_200_000, "2 hours"),
            (86_400_000, "1 day"),
        ] {
            assert_eq!(Duration(ms).to_string(), text);
        }
    }
}
