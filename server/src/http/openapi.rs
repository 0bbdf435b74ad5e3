//! `/api/v1/openapi.json`: the API for programs that read such things (OpenAPI 3.1). The tests hold it to the routes.

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::answer_body::AnswerBody;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/openapi.json";
const DOCUMENT: &str = include_str!("../openapi.json");

/// The description.
pub(super) fn show() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(DOCUMENT.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::routes;
    use crate::testing::Harness;

    /// The paths of the document, and what it says of each.
    fn paths() -> serde_json::Map<String, Value> {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        document["paths"].as_object().unwrap().clone()
    }

    #[test]
    fn describes_every_route_and_no_other() {
        let described = paths();
        let mut undescribed: BTreeSet<_> = described.keys().cloned().collect();
        for (route, allowed) in routes::all() {
            // The page is for people.
            if route.path == "/" || route.path.starts_with("/cluster_pairing") {
                continue;
            }
            let said =
                &described.get(route.path).unwrap_or_else(|| panic!("{} is not described", route.path));
            let named = said.as_object().unwrap().keys().filter(|name| *name != "parameters").cloned();
            let allowed = allowed.to_lowercase();
            let methods = allowed.split(", ").filter(|method| !matches!(*method, "head" | "options"));
            let methods: BTreeSet<_> = methods.map(str::to_owned).collect();
            assert_eq!(named.collect::<BTreeSet<_>>(), methods, "{}", route.path);
            undescribed.remove(route.path);
        }
        assert!(undescribed.is_empty(), "there is no {undescribed:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut found = 0;
        for part in DOCUMENT.split("\"$ref\": \"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > 50, "{found}");
    }

    #[tokio::test]
    async fn is_there_to_be_read() {
        let world = Harness::new().await;
        let asked = world.ask("GET", PATH, &[], "").await;
        assert_eq!((asked.status, asked.header("content-type")), (200, "application/json"));
        assert_eq!(asked.body, DOCUMENT);
        assert_eq!(world.ask("POST", PATH, &[], "").await.status, 405);
    }
}
