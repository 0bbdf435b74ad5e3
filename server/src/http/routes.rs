//! The one table of what there is: path, metric label, formats, methods and their handlers.

use std::borrow::Cow;
use std::sync::LazyLock;

use hyper::Method;
use protocol::Pin;
use protocol::key::is_addressable;

use super::headers::Headers;
use super::negotiation::Format;
use super::openapi;
use crate::metrics::RouteLabel;
use crate::page::File;
use crate::slave_contexts;

/// Where the API's clusters are.
const CLUSTERS: &str = "/api/v1/clusters";
/// What the paths of one cluster begin with.
const UNDER_PIN: &str = "/api/v1/clusters/{pin}";

/// Where the slaves' contexts are, by token.
const CONTEXT: &str = "/c/{token}";

/// What answers a method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    CreateCluster,
    ShowCluster,
    DeleteCluster,
    WatchCluster,
    ListKeys,
    CreateKey,
    ShowKey,
    ReplaceKey,
    ChangeKey,
    DeleteKey,
    ListNodes,
    PutNode,
    DeleteNode,
    MakeContexts,
    /// `/healthz`: the process answers.
    Alive,
    /// `/readyz`: the store would take a write.
    Ready,
    /// `/`: leads to the page.
    Home,
    /// The API for programs.
    Describe,
    /// The slaves' context, for VMs without the agent.
    SlaveContext,
    /// A file of the page.
    Page(File),
    /// The page's form, for browsers that run no script.
    CreateByForm,
}

/// What there is at a path.
pub(super) struct Route {
    /// With `{pin}`, `{key}`, `{id}` and `{token}` for what may stand there; a path that ends in a slash is another path.
    pub(super) path: &'static str,
    /// What its requests are counted as.
    pub(super) label: RouteLabel,
    /// The forms that it answers in, the default first; none outside the API, where `Accept` is not looked at.
    pub(super) formats: &'static [Format],
    methods: &'static [(Method, Handler)],
}

#[rustfmt::skip]
static ROUTES: [Route; 26] = {
    use Handler::*;
    const JSON: &[Format] = &[Format::Json];
    [
        Route { path: "/api/v1/clusters/{pin}/keys/{key}", label: RouteLabel::Key, formats: &[Format::Text, Format::Json], methods: &[
            (Method::GET, ShowKey), (Method::PUT, ReplaceKey), (Method::PATCH, ChangeKey), (Method::DELETE, DeleteKey),
        ] },
        Route { path: "/api/v1/clusters/{pin}/keys", label: RouteLabel::Keys, formats: JSON, methods: &[(Method::GET, ListKeys), (Method::POST, CreateKey)] },
        Route { path: "/api/v1/clusters/{pin}/nodes/{id}", label: RouteLabel::Node, formats: JSON, methods: &[(Method::PUT, PutNode), (Method::DELETE, DeleteNode)] },
        Route { path: "/api/v1/clusters/{pin}/nodes", label: RouteLabel::Nodes, formats: JSON, methods: &[(Method::GET, ListNodes)] },
        Route { path: "/api/v1/clusters/{pin}/events", label: RouteLabel::Events, formats: &[Format::Events], methods: &[(Method::GET, WatchCluster)] },
        Route { path: "/api/v1/clusters/{pin}", label: RouteLabel::Cluster, formats: JSON, methods: &[(Method::GET, ShowCluster), (Method::DELETE, DeleteCluster)] },
        Route { path: CLUSTERS, label: RouteLabel::Clusters, formats: JSON, methods: &[(Method::POST, CreateCluster)] },
        Route { path: "/api/v1/contexts", label: RouteLabel::Contexts, formats: JSON, methods: &[(Method::POST, MakeContexts)] },
        Route { path: openapi::PATH, label: RouteLabel::Description, formats: &[], methods: &[(Method::GET, Describe)] },
        Route { path: CONTEXT, label: RouteLabel::SlaveContext, formats: &[], methods: &[(Method::GET, SlaveContext)] },
        Route { path: "/", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Home)] },
        Route { path: "/cluster_pairing", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Document)), (Method::POST, CreateByForm)] },
        Route { path: "/cluster_pairing.css", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Style))] },
        Route { path: "/cluster_pairing.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Script))] },
        Route { path: "/cluster_pairing/cluster.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Cluster))] },
        Route { path: "/cluster_pairing/contexts.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Contexts))] },
        Route { path: "/cluster_pairing/follow.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Follow))] },
        Route { path: "/cluster_pairing/launch.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Launch))] },
        Route { path: "/cluster_pairing/picture.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Picture))] },
        Route { path: "/cluster_pairing/seal.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Seal))] },
        Route { path: "/cluster_pairing/service.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Service))] },
        Route { path: "/cluster_pairing/status.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Status))] },
        Route { path: "/cluster_pairing/view.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::View))] },
        Route { path: "/cluster_pairing/watch.js", label: RouteLabel::Page, formats: &[], methods: &[(Method::GET, Page(File::Watch))] },
        Route { path: "/healthz", label: RouteLabel::Health, formats: &[], methods: &[(Method::GET, Alive)] },
        Route { path: "/readyz", label: RouteLabel::Health, formats: &[], methods: &[(Method::GET, Ready)] },
    ]
};

/// The headers of each route's answers, put together once.
static HEADERS: LazyLock<[Headers; ROUTES.len()]> =
    LazyLock::new(|| std::array::from_fn(|at| ROUTES[at].headers()));

/// A route, and what its path names.
pub(super) struct Target<'a> {
    at: usize,
    /// There on routes with `{pin}`.
    pub(super) pin: Option<Pin>,
    /// The key, the identifier of a node, or the token of a context; empty on routes without.
    pub(super) key: &'a str,
}

impl Route {
    /// What answers a method; `HEAD` is answered as `GET`, whose body hyper leaves out.
    pub(super) fn handler(&self, method: &Method) -> Option<Handler> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.methods.iter().find(|(known, _)| known == method).map(|(_, handler)| *handler)
    }

    fn headers(&self) -> Headers {
        Headers::new(&self.allow(), self.path.starts_with(UNDER_PIN))
    }

    /// Its methods as `Allow` lists them.
    pub(super) fn allow(&self) -> String {
        let mut names: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        names.extend(names.contains(&"GET").then_some("HEAD"));
        names.extend((!self.formats.is_empty()).then_some("OPTIONS"));
        names.join(", ")
    }
}

impl Target<'_> {
    pub(super) fn route(&self) -> &'static Route {
        &ROUTES[self.at]
    }

    /// The headers of its answers.
    pub(super) fn headers(&self) -> &'static Headers {
        &HEADERS[self.at]
    }
}

/// What a path means; `None` when nothing has that path.
pub(super) fn find(path: &str) -> Option<Target<'_>> {
    if let Some(token) =
        path.strip_prefix(slave_contexts::PATH).filter(|token| slave_contexts::is_token(token))
    {
        let at = ROUTES.iter().position(|route| route.path == CONTEXT)?;
        return Some(Target { at, pin: None, key: token });
    }
    let under_pin = path.strip_prefix(CLUSTERS).and_then(|rest| rest.strip_prefix('/'));
    let Some((pin, rest)) = under_pin.and_then(|rest| rest.split_at_checked(Pin::MADE_LENGTH)) else {
        let at = ROUTES.iter().position(|route| route.path == path && !path.contains('{'))?;
        return Some(Target { at, pin: None, key: "" });
    };
    let pin = Pin::parse_made(pin)?;
    let (tail, key) = if let Some(key) = rest.strip_prefix("/keys/") {
        ("/keys/{key}", Some(key).filter(|key| is_addressable(key))?)
    } else if let Some(id) = rest.strip_prefix("/nodes/") {
        // A malformed identifier is refused by the handler, with the rule in the error.
        ("/nodes/{id}", Some(id).filter(|id| !id.is_empty() && !id.contains('/'))?)
    } else {
        (rest, "")
    };
    let at = ROUTES.iter().position(|route| route.path.strip_prefix(UNDER_PIN) == Some(tail))?;
    Some(Target { at, pin: Some(pin), key })
}

/// Every route, for the tests that compare them with what is said of them elsewhere.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static Route, String)> {
    ROUTES.iter().map(|route| (route, route.allow()))
}
/// The path with the percent-encoding of unreserved characters undone, as RFC 3986 section 6.2.2.2 allows
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
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn finds_every_route_and_what_its_path_names() {
        for (route, _) in all() {
            let path =
                route.path.replace("{pin}", PIN).replace("{key}", "master_ip").replace("{id}", "master_ip");
            let path = path.replace("{token}", TOKEN);
            let found = find(&path).unwrap_or_else(|| panic!("there is no {path}"));
            assert_eq!(found.route().path, route.path);
            assert_eq!(found.pin.is_some(), route.path.contains("{pin}"), "{path}");
            let key = match route.path.rsplit('/').next() {
                Some("{key}" | "{id}") => "master_ip",
                Some("{token}") => TOKEN,
                _ => "",
            };
            assert_eq!(found.key, key);
        }
        assert_eq!(find("/api/v1/clusters/enico1qq0oey/keys/keys").unwrap().key, "keys");
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
            "/api/v1/clusters/{pin}",
            "/api/v1/clusters/{pin}/keys",
            "/api/v1/clusters/ENICO1QQ0OEY",
            "/api/v1/clusters/enico1qq0oey/",
            "/api/v1/clusters/enico1qq0oey/keys/",
            "/api/v1/clusters/enico1qq0oey/keys/{key}",
            "/api/v1/clusters/enico1qq0oey/keys/a.b",
            "/api/v1/clusters/enico1qq0oey/nodes/",
            "/api/v1/clusters/enico1qq0oey/nodes/a/b",
            "/api/v1/clusters/enico1qq0oey/keys/a%2Fb",
            "/api/v1/clusters/enico1qq0oey/keys/a/b",
            "/c/",
            "/c/enico1qq0oey",
            "/c/{token}",
            "/c/0123456789ABCDEF0123456789ABCDEF",
            "/c/0123456789abcdef0123456789abcdef/",
            "/api/v1/clusters/enico1qq0oey/keys/a/b/c/d/e/f",
        ] {
            assert!(find(path).is_none(), "{path}");
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
