//! Cron expressions, as croniter reads them: five columns, or six with the seconds at the end.

/// The columns: lowest and highest value, and the names that stand for values, from the lowest on.
const COLUMNS: [(u32, u32, &[&str]); 6] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    (0, 59, &[]),
];

/// The column of the day of the month, where `l` is the last one.
const DAY: usize = 2;

/// The column of the day of the week, where `fri#2` is the second Friday and `l5` the last.
const WEEKDAY: usize = 4;

/// Words for a whole expression.
const ALIASES: [&str; 6] = ["@midnight", "@hourly", "@daily", "@weekly", "@monthly", "@yearly"];

pub(super) fn expression(value: &str) -> Result<(), String> {
    let lower = value.to_lowercase();
    if lower.is_empty() || ALIASES.contains(&lower.as_str()) || lower == "@annually" {
        return Ok(());
    }
    let columns: Vec<&str> = lower.split_whitespace().collect();
    if !(5..=6).contains(&columns.len()) {
        return Err(
            "Invalid CRON expression: Exactly 5 or 6 columns has to be specified for iterator expression."
                .to_owned(),
        );
    }
    for (index, column) in columns.iter().enumerate() {
        if !column.split(',').all(|part| is_part(index, part)) {
            let is_number = column.bytes().all(|byte| byte.is_ascii_digit());
            let why = if is_number { ", out of range" } else { "" };
            return Err(format!("Invalid CRON expression: [{value}] is not acceptable{why}"));
        }
    }
    Ok(())
}

fn is_part(column: usize, part: &str) -> bool {
    let (min, max, names) = COLUMNS[column];
    let value = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| *name == text).and_then(|index| u32::try_from(index).ok());
        let value = named.map(|index| min + index).or_else(|| text.parse().ok())?;
        (min..=max).contains(&value).then_some(value)
    };
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if step
        .is_some_and(|step| step.parse::<u32>().is_ok_and(|step| step == 0) || step.parse::<u32>().is_err())
    {
        return false;
    }
    match range {
        "*" | "?" => return true,
        "l" => return column == DAY,
        _ => {}
    }
    if column == WEEKDAY {
        if let Some((day, nth)) = range.split_once('#') {
            return value(day).is_some() && nth.parse().is_ok_and(|nth: u32| (1..=5).contains(&nth));
        }
        if let Some(day) = range.strip_prefix('l') {
            return value(day).is_some();
        }
    }
    match range.split_once('-') {
        Some((from, to)) => value(from).is_some() && value(to).is_some(),
        None => value(range).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_expressions_from_what_is_none() {
        for value in [
            "* * * * *",
            "*/5 * * * *",
            "0 4 1,15 * mon-FRI",
            "0 0 l * *",
            "0 0 * jan 7",
            "0 0 * * fri#2 30",
            "@daily",
            "",
            "1-10/3 * * * *",
        ] {
            assert_eq!(expression(value), Ok(()), "{value}");
        }
        for value in [
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "x * * * *",
            "*/0 * * * *",
            "* * * * * * *",
            "1, * * * *",
        ] {
            assert!(expression(value).is_err(), "{value}");
        }
    }
}
