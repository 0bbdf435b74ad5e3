//! Moments as the wire shows them: RFC 3339 in UTC, with `Z`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// 9999-12-31T23:59:59Z: RFC 3339 has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Microseconds since 1970-01-01 UTC. It prints itself with microseconds unless they are zero, the form in which the
/// original service shows times. A moment after the year 9999 is shown as if its second were the first of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub u64);

impl Utc {
    /// The time now, by the machine's clock; the beginning of 1970 where that is before it.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Reads what a service shows, to the second. `None` for another form, or a year before 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
        let has_form = marks.iter().all(|&(at, mark)| text.get(at..=at) == Some(mark)) && text.ends_with('Z');
        let [year, month, day] = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
        let [hour, minute, second] = [number(11, 13)?, number(14, 16)?, number(17, 19)?];
        let is_date = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !has_form || !is_date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = days(year, month, day) * SECONDS_PER_DAY + (hour * 60 + minute) * 60 + second;
        Some(Self(seconds * 1_000_000))
    }

    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = if self.seconds() > LAST_SECOND { 0 } else { self.seconds() };
        let (year, month, day) = date(seconds / SECONDS_PER_DAY);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.0 % 1_000_000 {
            0 => f.write_str("Z"),
            micros => write!(f, ".{micros:06}Z"),
        }
    }
}

// Days and dates by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": a year begins in March, so that the
// leap day is its last; an era is 400 years, after which the calendar repeats.

/// Days from 1970-01-01 to the year 0, March 1.
const EPOCH: u64 = 719_468;
const DAYS_PER_ERA: u64 = 146_097;

/// Days since 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// Year, month and day of so many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_times_as_the_original_does() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_478_001_296_123_456, "2016-11-01T11:54:56.123456Z"),
            (1_582_934_400_000_001, "2020-02-29T00:00:00.000001Z"),
            (LAST_SECOND * 1_000_000, "9999-12-31T23:59:59Z"),
            (u64::MAX, "1970-01-01T00:00:00.551615Z"),
        ] {
            assert_eq!(Utc(micros).to_string(), shown);
        }
    }

    /// Each day of the four digits: the next one is the next day of its month, or the first of the next month.
    #[test]
    fn knows_every_day() {
        let mut before = (1969, 12, 31);
        for number in 0..=LAST_SECOND / SECONDS_PER_DAY {
            let (year, month, day) = date(number);
            assert_eq!(days(year, month, day), number);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            assert!(day <= last[usize::try_from(month).unwrap() - 1], "{year}-{month}-{day}");
            let follows = match before {
                (y, m, d) if (y, m) == (year, month) => day == d + 1,
                (y, 12, 31) => (year, month, day) == (y + 1, 1, 1),
                (y, m, d) => (year, month, day) == (y, m + 1, 1) && d >= 28,
            };
            assert!(follows, "{before:?}, then {year}-{month}-{day}");
            before = (year, month, day);
        }
    }

    #[test]
    fn reads_what_a_service_shows() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2016-11-01T11:54:56.123456Z", Some(1_478_001_296)),
            ("2016-11-01T11:54:56Z", Some(1_478_001_296)),
            ("2016-11-01 11:54:56Z", None),
            ("2016-11-01T11:54:56", None),
            ("2016-11-01T11:54:56+01:00", None),
            ("2016-13-01T11:54:56Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("+016-11-01T11:54:56Z", None),
            ("2016-11-01T24:54:56Z", None),
            ("20é6-11-01T11:54:56Z", None),
            ("", None),
            ("Z", None),
        ] {
            assert_eq!(Utc::parse(text).map(Utc::seconds), seconds, "{text}");
        }
        assert!(Utc::now() > Utc::parse("2026-01-01T00:00:00Z").unwrap());
    }
}
