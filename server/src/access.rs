//! The access log: one line for each request, and no pin in it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use hyper::{Method, Request, StatusCode};
use protocol::Pin;

use crate::http::normalize;

/// What the log says of a request, noted before it is answered.
pub(crate) struct Noted {
    client: IpAddr,
    method: Method,
    path: String,
    since: Instant,
}

impl Noted {
    pub(crate) fn now<B>(client: IpAddr, request: &Request<B>) -> Self {
        Self {
            client,
            method: request.method().clone(),
            path: masked(request.uri().path()),
            since: Instant::now(),
        }
    }

    pub(crate) fn log(self, status: StatusCode) {
        let Self { client, method, path, since } = self;
        let micros = since.elapsed().as_micros();
        log::info!("{client} {method} {path} {} {micros} us", status.as_u16());
    }
}

/// The path with every pin in it masked: what stands where a pin belongs, and what looks like one elsewhere.
fn masked(path: &str) -> String {
    let path = normalize(path);
    let mut shown = String::with_capacity(path.len());
    let mut before = "";
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            shown.push('/');
        }
        match Pin::parse(segment) {
            Ok(pin) if before == "clusters" || pin.looks_made() => {
                let _ = write!(shown, "{pin}");
            }
            Err(_) if before == "clusters" => shown.push('…'),
            _ => shown.push_str(segment),
        }
        before = segment;
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
            ("/", "/"),
        ] {
            assert_eq!(masked(path), shown, "{path}");
        }
    }

    proptest! {
        #[test]
        fn shows_no_pin_whatever_stands_around_it(before in "(/[a-z0-9%]{0,8}){0,4}", after in "(/[a-z]{0,5}){0,3}") {
            let shown = masked(&format!("{before}/enico1qq0oey{after}"));
            prop_assert!(!shown.contains("enico"), "{}", shown);
        }
    }
}
