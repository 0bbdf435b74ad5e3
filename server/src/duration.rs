//! Durations on the command line.

use std::time::Duration;

/// Reads a duration such as `90s`, `30m`, `24h` or `7d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let explain = || format!("{text:?} is not a number with s, m, h or d behind it, such as 24h");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(explain()),
    };
    let number: u32 = number.parse().map_err(|_| explain())?;
    if number == 0 {
        return Err("it must be more than nothing".to_owned());
    }
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "h", "-1h", "0s", "1y", "1.5h", "24ü"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
