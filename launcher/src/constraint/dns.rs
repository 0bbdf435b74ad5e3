//! Names of hosts and domains (`heat/common/netutils.py`). Heat takes small letters only.

/// The longest name, in bytes.
const MAX_NAME: usize = 255;

/// The longest label, in bytes.
const MAX_LABEL: usize = 63;

pub(super) fn name(value: &str) -> Result<(), String> {
    format(value).map_err(|reason| format!("'{value}' not in valid format. Reason: {reason}"))
}

/// A name without a dot at its end, and short enough that a domain may follow.
pub(super) fn relative_name(value: &str) -> Result<(), String> {
    if value.ends_with('.') {
        return Err(format!("'{value}' is a FQDN. It should be a relative domain name."));
    }
    if value.len() > MAX_NAME - 3 {
        return Err(format!(
            "'{value}' contains '{}' characters. Adding a domain name will cause it to exceed the maximum length of a \
             FQDN of '{MAX_NAME}'.",
            value.len()
        ));
    }
    name(value)
}

/// A name with a dot at its end.
pub(super) fn domain(value: &str) -> Result<(), String> {
    name(value)?;
    if value.is_empty() || value.ends_with('.') {
        Ok(())
    } else {
        Err(format!("'{value}' must end with '.'."))
    }
}

fn format(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Ok(());
    }
    let trimmed = value.strip_suffix('.').unwrap_or(value);
    if trimmed.len() > MAX_NAME {
        return Err(format!("'{trimmed}' exceeds the {MAX_NAME} character FQDN limit"));
    }
    let labels: Vec<&str> = trimmed.split('.').collect();
    for label in &labels {
        if label.is_empty() {
            return Err("Encountered an empty component.".to_owned());
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("Name '{label}' must not start or end with a hyphen."));
        }
        let is_plain = label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if label.len() > MAX_LABEL || !is_plain {
            return Err(format!(
                "Name '{label}' must be 1-{MAX_LABEL} characters long, each of which can only be alphanumeric or a \
                 hyphen."
            ));
        }
    }
    // RFC 1123, 2.1: a top-level domain is not all digits.
    match labels.last() {
        Some(last)
            if value.ends_with('.') && labels.len() > 1 && last.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Err(format!("TLD '{last}' must not be all numeric."))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_names_from_what_is_none() {
        for value in ["", "a", "a.example", "a.example.", "1.2", "a-b"] {
            assert_eq!(name(value), Ok(()), "{value}");
        }
        for (value, words) in [
            ("a..b", "empty component"),
            (".", "empty component"),
            ("a-.b", "hyphen"),
            ("a_b", "alphanumeric"),
            ("1.2.", "all numeric"),
            ("ü", "alphanumeric"),
            ("A.example", "alphanumeric"),
        ] {
            assert!(name(value).unwrap_err().contains(words), "{value}");
        }
        assert!(name(&"a".repeat(64)).is_err() && name(&["a"; 200].join(".")).is_err());
        assert!(relative_name("a.b").is_ok() && relative_name("a.").unwrap_err().contains("FQDN"));
        assert!(domain("example.com.").is_ok() && domain("example.com").unwrap_err().contains("must end"));
    }
}
