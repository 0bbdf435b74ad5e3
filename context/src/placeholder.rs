//! Placeholders: `###<NAME>_PLACEHOLDER###`, NAME of `[A-Z][A-Z0-9_]*`, stands for the value of the key `<name>` in
//! lower case.
//!
//! One pass from left to right over bytes, literal, no regular expression: the text around a placeholder may be
//! anything. A placeholder takes the three hashes next to its name, so of `####MASTER_IP_PLACEHOLDER####` one hash
//! stays on either side (as the original's `sed` had it), and hashes that one placeholder took are not there for the
//! next: `###A_PLACEHOLDER###B_PLACEHOLDER###` is one placeholder and some text. A NAME longer than the longest key
//! is text, since no such key can exist.

use std::fmt;
use std::ops::Range;

use protocol::limits::KEY_MAX_CHARS;

const HASHES: &[u8] = b"###";
const SUFFIX: &[u8] = b"_PLACEHOLDER";
/// What makes a near miss look like a placeholder.
const WORD: &[u8] = b"PLACEHOLDER";

/// A placeholder, by its NAME.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placeholder(String);

impl Placeholder {
    /// The name of the key whose value it stands for.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// As it stands in a context.
impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "###{}_PLACEHOLDER###", self.0)
    }
}

/// A placeholder and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPlaceholder {
    /// Its bytes, hashes included.
    pub span: Range<usize>,
    /// Which one it is.
    pub placeholder: Placeholder,
}

/// Every placeholder in `bytes`, in order; they do not overlap. Takes time linear in the length.
pub fn find(bytes: &[u8]) -> impl Iterator<Item = FoundPlaceholder> {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(token) = next_token(bytes, from) {
            let end = token.end + HASHES.len();
            if bytes[token.end..].starts_with(HASHES)
                && let Some(name) = name_in(&bytes[token.clone()])
            {
                from = end;
                let placeholder = Placeholder(name.to_owned());
                return Some(FoundPlaceholder { span: token.start - HASHES.len()..end, placeholder });
            }
            from = token.end;
        }
        None
    })
}

/// The next run of `[A-Z0-9_]` at or after `from` that has three hashes before it, none of them before `from`.
fn next_token(bytes: &[u8], mut from: usize) -> Option<Range<usize>> {
    loop {
        let hash = from + bytes[from..].iter().position(|b| *b == b'#')?;
        let start = end_of_run(bytes, hash, |b| b == b'#');
        let end = end_of_run(bytes, start, |b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
        if start - hash >= HASHES.len() && end > start {
            return Some(start..end);
        }
        from = end;
    }
}

/// What was probably meant to be a placeholder and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// As it stands there.
    pub text: String,
    /// The placeholder that it looks like, if one can be made of it.
    pub meant: Option<Placeholder>,
}

/// The words that are no placeholder, and look like one: those with `PLACEHOLDER` in them, in any case, that have two
/// hashes or more beside them; `MASTER_IP_PLACEHOLDER` without hashes outside a comment; `###MASTER_IP###`.
pub fn near_misses(line: &[u8]) -> Vec<NearMiss> {
    let mut placeholders = find(line).map(|found| found.span).peekable();
    // Where the last placeholder ends: its hashes are not there for the next word.
    let mut taken = 0;
    let is_comment = line.trim_ascii_start().starts_with(b"#");
    let mut misses = Vec::new();
    let mut from = 0;
    while let Some(length) = line[from..].iter().position(|b| is_word(*b)) {
        let start = from + length;
        from = end_of_run(line, start, is_word);
        while let Some(span) = placeholders.next_if(|span| span.start < from) {
            taken = span.end;
        }
        if taken > start {
            continue;
        }
        let word = line[start..from].to_ascii_uppercase();
        let text = &line[start - hashes_before(&line[taken..start])..from + hashes_after(&line[from..])];
        let is_named_so = word.windows(WORD.len()).any(|window| window == WORD);
        let hashes = text.iter().filter(|b| **b == b'#').count();
        let is_near = if is_named_so {
            // One hash makes a comment.
            hashes >= 2 || hashes == 0 && !is_comment && name_in(&line[start..from]).is_some()
        } else {
            is_in_hashes(line, start..from) && word.contains(&b'_')
        };
        if !is_near {
            continue;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        let mut name = String::from_utf8_lossy(&word).replace('-', "_");
        if !is_named_so {
            name.push_str("_PLACEHOLDER");
        }
        let meant = name_in(name.as_bytes()).map(|name| Placeholder(name.to_owned()));
        misses.push(NearMiss { text, meant });
    }
    misses
}

/// Whether a word has a placeholder's hashes right before and after it.
fn is_in_hashes(line: &[u8], word: Range<usize>) -> bool {
    line[..word.start].ends_with(HASHES) && line[word.end..].starts_with(HASHES)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_between(byte: u8) -> bool {
    byte == b' ' || byte == b'\\'
}

/// How many of the last bytes are hashes, escaped or not, and the blanks between them and the end.
fn hashes_before(bytes: &[u8]) -> usize {
    let blanks = bytes.iter().rev().take_while(|b| is_between(**b)).count();
    let hashes =
        bytes[..bytes.len() - blanks].iter().rev().take_while(|b| matches!(**b, b'#' | b'\\')).count();
    if hashes == 0 { 0 } else { blanks + hashes }
}

/// How many of the first bytes are hashes, and the blanks before them.
fn hashes_after(bytes: &[u8]) -> usize {
    let blanks = bytes.iter().take_while(|b| is_between(**b)).count();
    let hashes = bytes[blanks..].iter().take_while(|b| matches!(**b, b'#' | b'\\')).count();
    if hashes == 0 { 0 } else { blanks + hashes }
}

fn end_of_run(bytes: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[start..].iter().position(|b| !belongs(*b)).map_or(bytes.len(), |length| start + length)
}

/// The NAME of a run of `[A-Z0-9_]` that is a placeholder's inside.
fn name_in(token: &[u8]) -> Option<&str> {
    let name = token.strip_suffix(SUFFIX)?;
    let fits = name.first()?.is_ascii_uppercase() && name.len() <= KEY_MAX_CHARS;
    fits.then(|| std::str::from_utf8(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<_> = find(text.as_bytes()).map(|f| &text[f.span]).collect();
        assert_eq!(found, expected, "{text}");
        for (found, expected) in find(text.as_bytes()).zip(expected) {
            assert_eq!(found.placeholder.to_string(), *expected);
        }
    }

    #[test]
    fn finds_what_is_a_placeholder() {
        check("ip=###MASTER_IP_PLACEHOLDER###", &["###MASTER_IP_PLACEHOLDER###"]);
        check(
            "###K3S_TOKEN_PLACEHOLDER###:###A_PLACEHOLDER###",
            &["###K3S_TOKEN_PLACEHOLDER###", "###A_PLACEHOLDER###"],
        );
        check("###A_PLACEHOLDER######B_PLACEHOLDER###", &["###A_PLACEHOLDER###", "###B_PLACEHOLDER###"]);
        check("###A__PLACEHOLDER_PLACEHOLDER###", &["###A__PLACEHOLDER_PLACEHOLDER###"]);
        check("x###X###A_PLACEHOLDER###", &["###A_PLACEHOLDER###"]);
    }

    #[test]
    fn takes_the_three_hashes_next_to_the_name() {
        check("####MASTER_IP_PLACEHOLDER####", &["###MASTER_IP_PLACEHOLDER###"]);
        assert_eq!(find(b"####MASTER_IP_PLACEHOLDER####").next().unwrap().span, 1..28);
        check("###A_PLACEHOLDER###B_PLACEHOLDER###", &["###A_PLACEHOLDER###"]);
        check("###A_PLACEHOLDER#####B_PLACEHOLDER###", &["###A_PLACEHOLDER###"]);
    }

    #[test]
    fn leaves_what_is_none() {
        for text in [
            "",
            "###",
            "###MASTER_IP_PLACEHOLDER##",
            "##MASTER_IP_PLACEHOLDER###",
            "###MASTER_IP_PLACEHOLDER",
            "###master_ip_PLACEHOLDER###",
            "###MASTER-IP_PLACEHOLDER###",
            "###_PLACEHOLDER###",
            "###PLACEHOLDER###",
            "###__PLACEHOLDER###",
            "###1A_PLACEHOLDER###",
            "### MASTER_IP_PLACEHOLDER ###",
            "###MASTER_IP_PLACEHOLDER_###",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn takes_no_name_that_no_key_can_have() {
        let (longest, longer) = ("A".repeat(100), "A".repeat(101));
        assert_eq!(find(format!("###{longest}_PLACEHOLDER###").as_bytes()).count(), 1);
        assert_eq!(find(format!("###{longer}_PLACEHOLDER###").as_bytes()).count(), 0);
    }

    #[test]
    fn finds_near_misses() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let misses = near_misses(text.as_bytes());
            let found: Vec<_> = misses
                .iter()
                .map(|m| (m.text.as_str(), m.meant.as_ref().map_or(String::new(), ToString::to_string)))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(text, meant)| (*text, (*meant).to_owned())).collect();
            assert_eq!(found, expected, "{text}");
        };
        let ip = "###MASTER_IP_PLACEHOLDER###";
        check("ip=###MASTER_IP_PLACEHOLDER##", &[("###MASTER_IP_PLACEHOLDER##", ip)]);
        check("ip=##MASTER_IP_PLACEHOLDER###;", &[("##MASTER_IP_PLACEHOLDER###", ip)]);
        check("ip=###master_ip_placeholder###", &[("###master_ip_placeholder###", ip)]);
        check("ip=###MASTER-IP-PLACEHOLDER###", &[("###MASTER-IP-PLACEHOLDER###", ip)]);
        check("ip=### MASTER_IP_PLACEHOLDER ###", &[("### MASTER_IP_PLACEHOLDER ###", ip)]);
        check("###PLACEHOLDER###", &[("###PLACEHOLDER###", "")]);
        check("###A_PLACEHOLDER###B_PLACEHOLDER###", &[("B_PLACEHOLDER###", "###B_PLACEHOLDER###")]);
        check("###A_PLACEHOLDER### ####A_PLACEHOLDER####", &[]);
        check("# MASTER_IP_PLACEHOLDER is the master's", &[]);
        check("h=###MASTER_IP###", &[("###MASTER_IP###", ip)]);
        check("h=MASTER_IP_PLACEHOLDER", &[("MASTER_IP_PLACEHOLDER", ip)]);
        check(r"h=\#\#\#MASTER_IP_PLACEHOLDER\#\#\#", &[(r"\#\#\#MASTER_IP_PLACEHOLDER\#\#\#", ip)]);
        for text in ["### MASTER_IP ###", "###TODO###", "a MASTER_IP b", "the PLACEHOLDER", "###"] {
            check(text, &[]);
        }
    }

    #[test]
    fn names_the_key_in_lower_case() {
        let found = find(b"###K3S_TOKEN_PLACEHOLDER###").next().unwrap();
        assert_eq!(found.placeholder.key(), "k3s_token");
    }

    proptest! {
        #[test]
        fn finds_it_in_any_surroundings(before in ".*[^#]|", name in "[A-Z][A-Z0-9_]{0,99}", after in "([^#].*)?") {
            let whole = format!("###{name}_PLACEHOLDER###");
            let text = format!("{before}{whole}{after}");
            let spans: Vec<_> = find(text.as_bytes()).map(|f| f.span).collect();
            prop_assert!(spans.contains(&(before.len()..before.len() + whole.len())), "{spans:?}");
        }

        #[test]
        fn takes_any_bytes(bytes in "[#A_PLACEHOLDER]{0,60}") {
            let mut end = 0;
            for found in find(bytes.as_bytes()) {
                prop_assert!(found.span.start >= end);
                end = found.span.end;
                prop_assert_eq!(&bytes[found.span], found.placeholder.to_string());
            }
        }
    }
}
