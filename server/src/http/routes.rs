//! Which endpoint a path means. The contract's table, and nothing of methods or answers.

use std::borrow::Cow;
use std::sync::LazyLock;

use protocol::Pin;
use protocol::key::is_addressable;

use super::answers::Headers;
use super::negotiation::Format;
use super::openapi;
use super::page::File;
use crate::metrics::Place;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// An endpoint of the API.
    Api(Endpoint<'a>),
    /// `/healthz`: the process answers.
    Health,
    /// `/readyz`: the store would take a write.
    Ready,
    /// `/`: leads to the page.
    Root,
    /// `/api/v1/openapi.json`: what there is, for programs.
    Description,
    /// A file of the page.
    Page(File),
}

impl Route<'_> {
    /// What it is counted as.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Api(Endpoint::Clusters) => Place::Clusters,
            Self::Api(Endpoint::Cluster(_)) => Place::Cluster,
            Self::Api(Endpoint::Events(_)) => Place::Events,
            Self::Api(Endpoint::Keys(_)) => Place::Keys,
            Self::Api(Endpoint::Key(..)) => Place::Key,
            Self::Description => Place::Description,
            Self::Health | Self::Ready => Place::Health,
            Self::Root | Self::Page(_) => Place::Page,
        }
    }
}

/// An endpoint of the API, with what its path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// `/api/v1/clusters`
    Clusters,
    /// `/api/v1/clusters/<pin>`
    Cluster(Pin),
    /// `/api/v1/clusters/<pin>/events`
    Events(Pin),
    /// `/api/v1/clusters/<pin>/keys`
    Keys(Pin),
    /// `/api/v1/clusters/<pin>/keys/<key>`
    Key(Pin, &'a str),
}

impl Endpoint<'_> {
    /// The forms that it answers in, the default first.
    pub(super) fn formats(&self) -> &'static [Format] {
        match self {
            Self::Clusters | Self::Cluster(_) | Self::Keys(_) => &[Format::Json],
            Self::Events(_) => &[Format::Events],
            Self::Key(..) => &[Format::Text, Format::Json],
        }
    }

    /// The headers of its answers, which list its methods.
    pub(super) fn headers(&self) -> &'static Headers {
        static CLUSTERS: LazyLock<Headers> = LazyLock::new(|| Headers::new("POST, OPTIONS"));
        static CLUSTER: LazyLock<Headers> = LazyLock::new(|| Headers::new("GET, DELETE, HEAD, OPTIONS"));
        static EVENTS: LazyLock<Headers> = LazyLock::new(|| Headers::new("GET, HEAD, OPTIONS"));
        static KEYS: LazyLock<Headers> = LazyLock::new(|| Headers::new("GET, POST, HEAD, OPTIONS"));
        static KEY: LazyLock<Headers> =
            LazyLock::new(|| Headers::new("GET, PUT, PATCH, DELETE, HEAD, OPTIONS"));
        match self {
            Self::Clusters => &CLUSTERS,
            Self::Cluster(_) => &CLUSTER,
            Self::Events(_) => &EVENTS,
            Self::Keys(_) => &KEYS,
            Self::Key(..) => &KEY,
        }
    }
}

/// What a path means; `None` when nothing has that path. A path that ends in a slash is another path.
pub(super) fn find(path: &str) -> Option<Route<'_>> {
    match path.strip_prefix("/api/v1/clusters") {
        Some(rest) => endpoint(rest).map(Route::Api),
        None => match path {
            openapi::PATH => Some(Route::Description),
            "/healthz" => Some(Route::Health),
            "/readyz" => Some(Route::Ready),
            "/" => Some(Route::Root),
            _ => File::at(path).map(Route::Page),
        },
    }
}

/// The endpoint of a path from behind `/api/v1/clusters` on.
fn endpoint(rest: &str) -> Option<Endpoint<'_>> {
    if rest.is_empty() {
        return Some(Endpoint::Clusters);
    }
    let (pin, rest) = rest.strip_prefix('/')?.split_at_checked(Pin::MADE_LENGTH)?;
    let pin = Pin::parse_made(pin)?;
    match rest {
        "" => Some(Endpoint::Cluster(pin)),
        "/events" => Some(Endpoint::Events(pin)),
        "/keys" => Some(Endpoint::Keys(pin)),
        _ => {
            let key = rest.strip_prefix("/keys/")?;
            is_addressable(key).then_some(Endpoint::Key(pin, key))
        }
    }
}

/// The path with the percent-encoding of unreserved characters undone, as RFC 3986 section 6.2.2.2 lets anybody do
/// on the way. Everything else stays encoded, so that no `%2F` becomes a slash; no route has a `%`.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match unreserved(&rest.as_bytes()[at + 1..]) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The unreserved character (RFC 3986 section 2.3) whose two hexadecimal digits come first.
fn unreserved(digits: &[u8]) -> Option<u8> {
    let nibble = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    let byte = u8::try_from(nibble(0)? * 16 + nibble(1)?).ok()?;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "enico1qq0oey";

    fn pin() -> Pin {
        Pin::parse_made(PIN).unwrap()
    }

    #[test]
    fn finds_what_the_contract_lists() {
        for (path, route) in [
            ("/api/v1/clusters", Route::Api(Endpoint::Clusters)),
            ("/api/v1/clusters/enico1qq0oey", Route::Api(Endpoint::Cluster(pin()))),
            ("/api/v1/clusters/enico1qq0oey/events", Route::Api(Endpoint::Events(pin()))),
            ("/api/v1/clusters/enico1qq0oey/keys", Route::Api(Endpoint::Keys(pin()))),
            ("/api/v1/clusters/enico1qq0oey/keys/master_ip", Route::Api(Endpoint::Key(pin(), "master_ip"))),
            ("/api/v1/clusters/enico1qq0oey/keys/keys", Route::Api(Endpoint::Key(pin(), "keys"))),
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/", Route::Root),
            ("/cluster_pairing", Route::Page(File::Document)),
        ] {
            assert_eq!(find(path), Some(route), "{path}");
        }
    }

    #[test]
    fn knows_no_other_path() {
        for path in [
            "",
            "*",
            "//",
            "/api/v1/clusters/",
            "//api/v1/clusters",
            "/api/v2/clusters",
            "/api/v1/clusters/short",
            "/api/v1/clusters/ENICO1QQ0OEY",
            "/api/v1/clusters/enico1qq0oey/",
            "/api/v1/clusters/enico1qq0oey/keys/",
            "/api/v1/clusters/enico1qq0oey/keys/a.b",
            "/api/v1/clusters/enico1qq0oey/keys/a%2Fb",
            "/api/v1/clusters/enico1qq0oey/keys/a/b",
            "/api/v1/clusters/enico1qq0oey/keys/a/b/c/d/e/f",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn undoes_the_encoding_of_unreserved_characters_only() {
        for (path, normal) in [
            ("/a", "/a"),
            ("/%61pi/%7E%2D", "/api/~-"),
            ("/%6Beys", "/keys"),
            ("/a%2Fb%20%25%C3%BC", "/a%2Fb%20%25%C3%BC"),
            ("/%", "/%"),
            ("/%6", "/%6"),
            ("/%zz%ü", "/%zz%ü"),
            ("/%2561", "/%2561"),
        ] {
            assert_eq!(normalize(path), normal, "{path}");
        }
    }
}
