//! Capture time. Nothing below the edges reads a clock: time is an argument.

use serde::Deserialize;
use serde::Serialize;
use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Covers 1970 to 2554; instants outside are clamped to the nearest end.
/// Serialises as that number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

const SECOND: u64 = 1_000_000_000;

impl Timestamp {
    /// The start of 1970.
    pub const MIN: Self = Self(0);
    /// The latest instant that can be said; stands for "never" as an end.
    pub const MAX: Self = Self(u64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch and nanoseconds beyond them.
    pub const fn from_parts(seconds: u64, nanos: u64) -> Self {
        Self(seconds.saturating_mul(SECOND).saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Reads an RFC 3339 timestamp: `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`.
    ///
    /// Fractions beyond nanoseconds are cut off; a leap second counts as the
    /// second before it. `None` for anything else.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let b = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = b.get(from..to)?;
            digits.iter().try_fold(0_i64, |n, c| {
                c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0'))
            })
        };
        let is = |at: usize, c: &[u8]| b.get(at).is_some_and(|x| c.contains(x));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month)
            || !(1..=days_in_month(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let mut at = 19;
        let mut nanos: u64 = 0;
        if is(at, b".") {
            at += 1;
            let start = at;
            let mut unit = SECOND / 10;
            while let Some(c) = b.get(at).filter(|c| c.is_ascii_digit()) {
                nanos += u64::from(c - b'0') * unit;
                unit /= 10;
                at += 1;
            }
            if at == start {
                return None;
            }
        }
        let offset_minutes = match (b.get(at)?, b.len() - at) {
            (b'Z' | b'z', 1) => 0,
            (sign @ (b'+' | b'-'), 6) if is(at + 3, b":") => {
                let (h, m) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
                if h > 23 || m > 59 {
                    return None;
                }
                if *sign == b'+' {
                    h * 60 + m
                } else {
                    -(h * 60 + m)
                }
            }
            _ => return None,
        };
        let days = days_from_civil(year, month, day);
        let seconds =
            days * 86_400 + hour * 3_600 + minute * 60 + second.min(59) - offset_minutes * 60;
        Some(match u64::try_from(seconds) {
            Ok(seconds) => Self::from_parts(seconds, nanos),
            Err(_) => Self::MIN,
        })
    }

    /// RFC 3339 in UTC with `digits` fractional digits (0 to 9), cut off, not rounded.
    pub fn to_rfc3339(self, digits: usize) -> String {
        use fmt::Write as _;
        let digits = digits.min(9);
        let (seconds, nanos) = (self.0 / SECOND, self.0 % SECOND);
        let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
        let rest = seconds % 86_400;
        let mut out = String::with_capacity(30);
        // writing to a String cannot fail
        let _ = write!(
            out,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            rest / 3_600,
            rest / 60 % 60,
            rest % 60
        );
        if digits > 0 {
            let cut = nanos / 10_u64.pow(9 - digits as u32);
            let _ = write!(out, ".{cut:0digits$}");
        }
        out.push('Z');
        out
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339(6))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc3339() {
        for (text, nanos, digits) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000, 1),
            ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001_000, 6),
            (
                "2024-12-31T00:00:00.123456789Z",
                1_735_603_200_123_456_789,
                9,
            ),
        ] {
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Some(Timestamp(nanos)),
                "{text}"
            );
            assert_eq!(Timestamp(nanos).to_rfc3339(digits), text);
        }
    }

    #[test]
    fn applies_offsets_and_clamps() {
        assert_eq!(
            Timestamp::parse_rfc3339("2024-01-01T02:00:00+02:00"),
            Timestamp::parse_rfc3339("2024-01-01T00:00:00Z")
        );
        assert_eq!(
            Timestamp::parse_rfc3339("1960-01-01T00:00:00Z"),
            Some(Timestamp::MIN)
        );
        assert_eq!(
            Timestamp::parse_rfc3339("9999-12-31T23:59:59Z"),
            Some(Timestamp::MAX)
        );
    }

    #[test]
    fn refuses_what_is_no_timestamp() {
        for text in [
            "",
            "2024",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+2:00",
            "2024-01-0xT00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }
}
