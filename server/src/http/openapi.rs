//! `/api/v1/openapi.json`: the API for programs that read such things (OpenAPI 3.1). The tests hold it to the routes.

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::stream::AnswerBody;

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
    use crate::http::routes::{self, Route};
    use crate::metrics::Place;
    use crate::service::testing::World;

    /// The paths of the document, and what it says of each.
    fn paths() -> serde_json::Map<String, Value> {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        document["paths"].as_object().unwrap().clone()
    }

    #[tokio::test]
    async fn describes_every_route_and_no_other() {
        let world = World::new().await;
        let mut seen = BTreeSet::new();
        for (template, described) in paths() {
            let path = template.replace("{pin}", world.pin.reveal()).replace("{key}", "master_ip");
            let route = routes::find(&path).unwrap_or_else(|| panic!("there is no {template}"));
            seen.insert(format!("{:?}", route.place()));
            let methods: BTreeSet<String> = match &route {
                Route::Api(endpoint) => {
                    let allowed = endpoint.headers().methods().to_lowercase();
                    let allowed = allowed.split(", ").map(str::to_owned);
                    allowed.filter(|method| !matches!(method.as_str(), "head" | "options")).collect()
                }
                _ => BTreeSet::from(["get".to_owned()]),
            };
            let named = described.as_object().unwrap().keys().filter(|name| *name != "parameters");
            assert_eq!(named.cloned().collect::<BTreeSet<_>>(), methods, "{template}");
        }
        // The page is for people, and nothing is nowhere.
        let places = Place::ALL.iter().map(|(place, _)| *place);
        let places = places.filter(|place| !matches!(place, Place::Page | Place::Nowhere));
        assert_eq!(seen, places.map(|place| format!("{place:?}")).collect());
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
        let world = World::new().await;
        let asked = world.ask("GET", PATH, &[], "").await;
        assert_eq!((asked.status, asked.header("content-type")), (200, "application/json"));
        assert_eq!(asked.body, DOCUMENT);
        assert_eq!(world.ask("POST", PATH, &[], "").await.status, 405);
    }
}
