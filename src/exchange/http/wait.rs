//! How long to wait before a server is asked again.

use crate::time::Timestamp;
use std::time::Duration;

/// The first pause lasts at most this long.
const FIRST: Duration = Duration::from_secs(1);

/// No pause is longer: a partner that comes back is asked again within this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// A server that asks for a longer pause is asked again after this one all the same: what it said
/// may be a mistake, and a sensor that waits for a week protects nobody.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Doublings beyond which the pause is the longest anyway.
const MOST_DOUBLINGS: u32 = 16;

/// How long to wait before attempt number `attempt` (the first repetition is 1).
///
/// Anything from nothing to a bound that doubles with each attempt ("full jitter"), so that many
/// sensors do not come back at once. `seed` chooses within it: the same seed, the same pause.
pub fn backoff(attempt: u32, seed: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(MOST_DOUBLINGS);
    let bound = FIRST.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let random = mix(seed ^ mix(u64::from(attempt)));
    Duration::from_nanos(random % bound.saturating_add(1))
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is held against `now`.
///
/// At most [`LONGEST_RETRY_AFTER`]; a date that is past means at once. `None`: it is neither.
pub fn read_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if digits {
        value.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        read_date(value)?.since(now)
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// A bijection that spreads its input over all bits (the finaliser of SplitMix64).
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Reads a date of HTTP in any of its three forms (RFC 9110, 5.6.7).
pub(super) fn read_date(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text
        .split([' ', ',', '-'])
        .filter(|w| !w.is_empty())
        .collect();
    let (day, month, year, time) = match words.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT · Sunday, 06-Nov-94 08:49:37 GMT
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        // Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let day: u32 = day.parse().ok()?;
    let year = match (year.len(), year.parse::<u32>().ok()?) {
        // years of two digits are those of our time: nobody waits until the next century
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    Timestamp::parse_rfc3339(&format!("{year:04}-{month:02}-{day:02}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded_grow_and_are_spread() {
        for attempt in [0, 1, 2, 3, 9, 40, u32::MAX] {
            let bound = FIRST * (1 << attempt.saturating_sub(1).min(9));
            let bound = bound.min(LONGEST_BACKOFF);
            let waits: Vec<Duration> = (0..1_000).map(|seed| backoff(attempt, seed)).collect();
            assert!(waits.iter().all(|wait| *wait <= bound), "{attempt}");
            let above = waits.iter().filter(|wait| **wait > bound / 2).count();
            assert!(
                (400..600).contains(&above),
                "{attempt}: {above} in the upper half"
            );
            let low = waits.iter().filter(|wait| **wait < bound / 10).count();
            assert!(
                (50..150).contains(&low),
                "{attempt}: {low} in the lowest tenth"
            );
        }
        assert_eq!(backoff(3, 7), backoff(3, 7));
        assert_ne!(backoff(3, 7), backoff(4, 7));
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = Timestamp::parse_rfc3339("2026-11-25T12:00:00Z").unwrap();
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, wait) in [
            ("0", seconds(0)),
            (" 120 ", seconds(120)),
            ("3601", seconds(3_600)),
            ("99999999999999999999999999", seconds(3_600)),
            ("Wed, 25 Nov 2026 12:00:30 GMT", seconds(30)),
            ("Wednesday, 25-Nov-26 12:00:30 GMT", seconds(30)),
            ("Wed Nov 25 12:00:30 2026", seconds(30)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(0)),
            ("Wed, 25 Nov 2037 12:00:30 GMT", seconds(3_600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Wed, 31 Feb 2026 12:00:30 GMT", None),
            ("Wed, 25 Nov 2026 25:00:30 GMT", None),
            ("Wed, 4294967295 Nov 9999999999 12:00:30 GMT", None),
        ] {
            assert_eq!(read_retry_after(value, now), wait, "{value}");
        }
    }
}
