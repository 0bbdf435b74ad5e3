//! The access log: one line for each request, and no pin in it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use hyper::{Request, StatusCode};
use protocol::Pin;

use crate::http::normalize;

/// What the log says of a request, noted before it is answered.
pub(crate) struct AccessEntry {
    client: IpAddr,
    method: String,
    path: String,
    since: Instant,
}

impl AccessEntry {
    pub(crate) fn new<B>(client: IpAddr, request: &Request<B>) -> Self {
        Self {
            client,
            method: without_pins(request.method().as_str()),
            path: masked(request.uri().path()),
            since: Instant::now(),
        }
    }

    pub(crate) fn log(&self, status: StatusCode) {
        let Self { client, method, path, since } = self;
        let (status, micros) =
            (status.as_u16(), u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        log::info!(client:%, method:%, path:%, status, micros; "{client} {method} {path} {status} {micros} us");
    }

    /// What the log says, now that it was answered with this.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn line(&self, status: StatusCode) -> String {
        let Self { client, method, path, since } = self;
        let micros = since.elapsed().as_micros();
        format!("{client} {method} {path} {} {micros} us", status.as_u16())
    }
}

/// The path with every pin in it masked: what stands where a pin belongs, and what may hold one elsewhere.
fn masked(path: &str) -> String {
    let path = normalize(path);
    let mut shown = String::with_capacity(path.len());
    let mut before = "";
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            shown.push('/');
        }
        match Pin::parse(segment) {
            Ok(pin) if before == "clusters" => {
                let _ = write!(shown, "{pin}");
            }
            Err(_) if before == "clusters" => shown.push('…'),
            _ => shown.push_str(&without_pins(segment)),
        }
        before = segment;
    }
    shown
}

/// A text in which whatever is of a pin's letters, and long enough for one, is cut short. It may be longer than a pin:
/// in `%2fenico1qq0oey` a reader sees where the pin begins. What is not ASCII is encoded, as it should have come: some
/// of it a terminal obeys.
fn without_pins(text: &str) -> String {
    let is_of_a_pin = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(|c| !is_of_a_pin(c)) {
        let (letters, other) = word.split_at(word.trim_end_matches(|c| !is_of_a_pin(c)).len());
        if letters.len() < Pin::MADE_LENGTH {
            shown.push_str(letters);
        } else {
            shown.extend([&letters[..4], "…"]);
        }
        if other.bytes().all(|byte| byte.is_ascii_graphic()) {
            shown.push_str(other);
        } else {
            shown.extend(other.bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masks_pins_wherever_they_are() {
        for (path, shown) in [
            ("/api/v1/clusters", "/api/v1/clusters"),
            ("/api/v1/clusters/enico1qq0oey", "/api/v1/clusters/enic…"),
            ("/api/v1/clusters/enico1qq0oey/keys/master_ip", "/api/v1/clusters/enic…/keys/master_ip"),
            ("/api/v1/%63lusters/%65nico1qq0oey/keys", "/api/v1/clusters/enic…/keys"),
            ("/api/v1/clusters/enico1qq0oe", "/api/v1/clusters/enic…"),
            ("/api/v1/clusters/enico1!qq0oey", "/api/v1/clusters/…"),
            ("/api/v1/cluster/enico1qq0oey", "/api/v1/cluster/enic…"),
            ("/enico1qq0oey", "/enic…"),
            ("/api/v1/clusters%2Fenico1qq0oey", "/api/v1/clusters%2Fenic…"),
            ("/api/v1/clusters%2fenico1qq0oey%20", "/api/v1/clusters%2fen…%20"),
            ("/a;enico1qq0oey.b", "/a;enic….b"),
            ("/enico1qq0oeyenico1qq0oey", "/enic…"),
            ("/api/v1/openapi.json", "/api/v1/openapi.json"),
            ("/MASTER_IP_master_ip", "/MASTER_IP_master_ip"),
            ("/\u{9b}2J/ü", "/%C2%9B2J/%C3%BC"),
            ("/", "/"),
        ] {
            assert_eq!(masked(path), shown, "{path}");
        }
    }

    #[test]
    fn logs_no_pin_in_the_place_of_a_method() {
        let request = Request::builder().method("enico1qq0oey").uri("/").body(()).unwrap();
        let line = AccessEntry::new([127, 0, 0, 1].into(), &request).line(StatusCode::NOT_FOUND);
        assert!(line.starts_with("127.0.0.1 enic… / 404 "), "{line}");
    }

    proptest! {
        #[test]
        fn shows_no_pin_whatever_stands_around_it(before in "(/[a-z0-9%]{0,8}){0,4}/[a-z0-9A-Z%;.]{0,5}", after in "[a-zA-Z%;.]{0,5}(/[a-z]{0,5}){0,3}") {
            let shown = masked(&format!("{before}enico1qq0oey{after}"));
            prop_assert!(!shown.contains("enico1qq0oey"), "{}", shown);
        }
    }
}
