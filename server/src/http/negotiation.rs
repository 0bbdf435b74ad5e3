//! Which of the forms that an endpoint offers the client's `Accept` asks for (RFC 9110 section 12.5.1), with the
//! original service's ways where the RFC leaves a choice: of two forms that the client likes the same, the one that
//! it names more precisely wins, then the one that the endpoint names first.

use std::fmt;

use hyper::header::{ACCEPT, HeaderMap, HeaderValue};

/// A form that an answer can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain`: the line `key: value`; an error has no body at all.
    Text,
    /// `application/json`
    Json,
    /// `text/event-stream`: Server-Sent Events; an error is JSON.
    Events,
}

impl Format {
    /// Its two halves, and the whole.
    fn media_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain", "text/plain"),
            Self::Json => ("application", "json", "application/json"),
            Self::Events => ("text", "event-stream", "text/event-stream"),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type().2)
    }
}

/// One member of an `Accept` list.
struct MediaRange<'a> {
    main: &'a [u8],
    sub: &'a [u8],
    parameters: bool,
    weight: f32,
}

/// How often `Accept` is there, and what it says.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Accept<'a> {
    /// It is not there.
    #[default]
    Anything,
    /// It is there once.
    Once(&'a [u8]),
    /// It is there several times.
    Again,
}

impl<'a> Accept<'a> {
    /// With one more of this value.
    pub(super) fn and(self, value: &'a HeaderValue) -> Self {
        match self {
            Self::Anything => Self::Once(value.as_bytes()),
            Self::Once(_) | Self::Again => Self::Again,
        }
    }
}

/// How well a form is liked: its weight, from 0 for not at all to 1, then how precisely it was named.
type Preference = (f32, u8);

/// The form to answer in; `None` when the client takes none of those that are offered.
pub(super) fn negotiate(accept: Accept<'_>, headers: &HeaderMap, offered: &[Format]) -> Option<Format> {
    // What nearly every client sends; the rules below have the same result.
    match accept {
        Accept::Anything | Accept::Once(b"*/*") => return offered.first().copied(),
        Accept::Once(one) => {
            if let Some(format) = offered.iter().find(|format| format.media_type().2.as_bytes() == one) {
                return Some(*format);
            }
        }
        Accept::Again => {}
    }
    let mut best: Option<(Preference, Format)> = None;
    for &format in offered {
        let liking = liking(headers, format);
        if liking.0 > 0.0 && best.is_none_or(|(other, _)| liking > other) {
            best = Some((liking, format));
        }
    }
    best.map(|(_, format)| format)
}

/// The liking of the most precise range that covers the form.
fn liking(headers: &HeaderMap, format: Format) -> Preference {
    let mut found: Preference = (0.0, 0);
    for list in headers.get_all(ACCEPT) {
        for range in list.as_bytes().split(|&byte| byte == b',').filter_map(MediaRange::parse) {
            if let Some(precision) = range.covers(format)
                && precision > found.1
            {
                found = (range.weight, precision);
            }
        }
    }
    found
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = text.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let (main, sub) = halves(parts.next()?, b'/')?;
        let mut range = Self { main, sub, parameters: false, weight: 1.0 };
        for part in parts {
            match halves(part, b'=') {
                Some((name, value)) if name.eq_ignore_ascii_case(b"q") => range.weight = weight(value),
                _ => range.parameters = true,
            }
        }
        Some(range)
    }

    /// How precisely the range names the form, from 1 for `*/*` up; `None` when it does not cover it.
    fn covers(&self, format: Format) -> Option<u8> {
        let (main, sub, _) = format.media_type();
        if self.main == b"*" && self.sub == b"*" {
            Some(1)
        } else if !self.main.eq_ignore_ascii_case(main.as_bytes()) {
            None
        } else if self.sub == b"*" {
            Some(2)
        } else {
            // Parameters such as a charset narrow what the client asks for to what we send anyway.
            let precision = if self.parameters { 4 } else { 3 };
            self.sub.eq_ignore_ascii_case(sub.as_bytes()).then_some(precision)
        }
    }
}

/// What stands before and behind the first such byte.
fn halves(text: &[u8], between: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == between)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The weight after `q=`. A malformed weight counts as 1, the default.
fn weight(text: &[u8]) -> f32 {
    let weight = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[Format] = &[Format::Text, Format::Json];

    fn check(accept: &[&str], offered: &[Format], expected: Option<Format>) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        let noted = headers.values().fold(Accept::default(), Accept::and);
        assert_eq!(negotiate(noted, &headers, offered), expected, "{accept:?}");
    }

    #[test]
    fn chooses_as_the_original_service_does() {
        use Format::{Json, Text};
        for (accept, chosen) in [
            ("*/*", Some(Text)),
            ("text/plain", Some(Text)),
            ("application/json", Some(Json)),
            ("text/*", Some(Text)),
            ("application/*", Some(Json)),
            ("text/plain, application/json", Some(Text)),
            ("application/json, text/plain", Some(Text)),
            ("application/json, */*", Some(Json)),
            ("application/xml", None),
            ("text/html", None),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Text)),
            ("application/json;q=0.9", Some(Json)),
            ("application/json;q=0.9, */*;q=0.1", Some(Json)),
            ("Application/JSON; charset=utf-8", Some(Json)),
        ] {
            check(&[accept], KEY, chosen);
        }
        check(&[], KEY, Some(Text));
        check(&["text/plain"], &[Json], None);
        check(&["text/plain, application/json"], &[Json], Some(Json));
    }

    #[test]
    fn looks_at_the_weights_unlike_the_original() {
        use Format::{Json, Text};
        for (accept, chosen) in [
            ("application/json;q=0.9, text/plain;q=0.1", Some(Json)),
            ("application/json;q=0.5, text/plain;q=0.50", Some(Text)),
            ("text/plain;q=0, */*", Some(Json)),
            ("text/plain;q=0", None),
            ("*/*;q=0.0", None),
            ("application/json; q=1.000, text/plain;q=0.999", Some(Json)),
            ("application/json;q=rubbish, text/plain;q=0.9", Some(Json)),
        ] {
            check(&[accept], KEY, chosen);
        }
    }

    #[test]
    fn reads_several_accept_headers_as_one_list_and_survives_rubbish() {
        check(&["application/xml", "application/json"], KEY, Some(Format::Json));
        check(&["", ",,;;", "json"], KEY, None);
    }
}
