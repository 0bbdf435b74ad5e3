//! The one table of what there is: path, methods, handlers.

use hyper::Method;
use percent_encoding::percent_decode_str;

use super::page::File;

/// What answers a method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    ListTypes,
    ShowType,
    Launch,
    ListClusters,
    ShowCluster,
    DeleteCluster,
    Describe,
    Alive,
    Metrics,
    /// A file of the pages.
    Page(File),
}

/// What there is at a path.
pub(super) struct Route {
    /// With `{id}` for what may stand there.
    pub(super) path: &'static str,
    pub(super) methods: &'static [(Method, Handler, AllowedCallers)],
}

/// Who may use a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AllowedCallers {
    /// Everyone, or those that the handler lets in.
    Everyone,
    /// Those who show a token. To others the method is as if it were not there, as in the original, which has none such.
    TokenHolders,
}

#[rustfmt::skip]
pub(super) static ROUTES: [Route; 16] = {
    use Handler::*;
    use AllowedCallers::*;
    [
        Route { path: "/cluster-types/", methods: &[(Method::GET, ListTypes, Everyone)] },
        Route { path: "/cluster-types/{id}", methods: &[(Method::GET, ShowType, Everyone)] },
        Route { path: "/clusters/", methods: &[(Method::POST, Launch, Everyone), (Method::GET, ListClusters, TokenHolders)] },
        Route { path: "/clusters/{id}", methods: &[(Method::GET, ShowCluster, TokenHolders), (Method::DELETE, DeleteCluster, TokenHolders)] },
        Route { path: "/openapi.json", methods: &[(Method::GET, Describe, Everyone)] },
        Route { path: "/healthz", methods: &[(Method::GET, Alive, Everyone)] },
        Route { path: "/metrics", methods: &[(Method::GET, Metrics, Everyone)] },
        Route { path: "/view/", methods: &[(Method::GET, Page(File::Document), Everyone)] },
        Route { path: "/view/style.css", methods: &[(Method::GET, Page(File::Style), Everyone)] },
        Route { path: "/view/view.js", methods: &[(Method::GET, Page(File::Script), Everyone)] },
        Route { path: "/view/token.js", methods: &[(Method::GET, Page(File::Token), Everyone)] },
        Route { path: "/view/api", methods: &[(Method::GET, Page(File::Api), Everyone)] },
        Route { path: "/view/api.js", methods: &[(Method::GET, Page(File::ApiScript), Everyone)] },
        Route { path: "/view/description.js", methods: &[(Method::GET, Page(File::Description), Everyone)] },
        Route { path: "/view/field.js", methods: &[(Method::GET, Page(File::Field), Everyone)] },
        Route { path: "/view/make.js", methods: &[(Method::GET, Page(File::Make), Everyone)] },
    ]
};

/// Where a request leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RouteMatch {
    /// To this handler, with what stands for `{id}`.
    Handler(Handler, String),
    /// To this path instead.
    Elsewhere(String),
    /// OPTIONS: these methods are there.
    Options(String),
    /// Another method than these.
    NotAllowed(String),
    /// Nowhere.
    Nothing,
}

/// Finds what answers a method at a path.
pub(super) fn find(method: &Method, path: &str, has_token: bool) -> RouteMatch {
    // Slashes at the front are one, in the middle and at the end they lead to the path with one.
    let path = format!("/{}", path.trim_start_matches('/'));
    if path.contains("//") {
        return RouteMatch::Elsewhere(merged(&path));
    }
    let Ok(decoded) = percent_decode_str(&path).decode_utf8() else { return RouteMatch::Nothing };
    for route in &ROUTES {
        let Some(id) = matches(route.path, &decoded) else { continue };
        let methods =
            || route.methods.iter().filter(|(_, _, who)| has_token || *who == AllowedCallers::Everyone);
        if methods().next().is_none() {
            return RouteMatch::Nothing;
        }
        let is = |wanted: &&(Method, Handler, AllowedCallers)| {
            wanted.0 == *method || (*method == Method::HEAD && wanted.0 == Method::GET)
        };
        if let Some((_, handler, _)) = methods().find(is) {
            return RouteMatch::Handler(*handler, id.to_owned());
        }
        let mut names: Vec<&str> = methods().map(|(method, ..)| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        let names = names.join(", ");
        return if *method == Method::OPTIONS {
            RouteMatch::Options(names)
        } else {
            RouteMatch::NotAllowed(names)
        };
    }
    let with_slash = format!("{path}/");
    if ROUTES.iter().any(|route| route.path == with_slash) {
        return RouteMatch::Elsewhere(with_slash);
    }
    RouteMatch::Nothing
}

/// What stands for `{id}`; empty in a route without one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.strip_suffix("{id}") {
        Some(before) => path.strip_prefix(before).filter(|id| !id.is_empty() && !id.contains('/')),
        None => (pattern == path).then_some(""),
    }
}

fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_handlers_ids_and_other_paths() {
        let get = |path: &str| find(&Method::GET, path, false);
        let handler = |handler, id: &str| RouteMatch::Handler(handler, id.to_owned());
        assert_eq!(get("/cluster-types/"), handler(Handler::ListTypes, ""));
        assert_eq!(get("//cluster-types/"), handler(Handler::ListTypes, ""));
        assert_eq!(get("/cluster-types/a%20b"), handler(Handler::ShowType, "a b"));
        for path in ["/", "/cluster-types/a/", "/cluster-types/a%2fb", "/cluster-types/%ff", "/x"] {
            assert_eq!(get(path), RouteMatch::Nothing, "{path}");
        }
        for (path, wanted) in [
            ("/cluster-types", "/cluster-types/"),
            ("/clusters", "/clusters/"),
            ("/cluster-types//a", "/cluster-types/a"),
            ("/cluster-types//", "/cluster-types/"),
        ] {
            assert_eq!(get(path), RouteMatch::Elsewhere(wanted.to_owned()), "{path}");
        }
    }

    #[test]
    fn without_a_token_the_view_is_not_there() {
        let find = |method: Method, path: &str, token| find(&method, path, token);
        let not_allowed = |names: &str| RouteMatch::NotAllowed(names.to_owned());
        assert_eq!(find(Method::GET, "/clusters/", false), not_allowed("POST, OPTIONS"));
        assert_eq!(
            find(Method::OPTIONS, "/clusters/", false),
            RouteMatch::Options("POST, OPTIONS".to_owned())
        );
        assert_eq!(find(Method::PUT, "/clusters/", true), not_allowed("POST, GET, HEAD, OPTIONS"));
        assert_eq!(find(Method::GET, "/clusters/x", false), RouteMatch::Nothing);
        assert_eq!(
            find(Method::GET, "/clusters/x", true),
            RouteMatch::Handler(Handler::ShowCluster, "x".to_owned())
        );
    }
}
