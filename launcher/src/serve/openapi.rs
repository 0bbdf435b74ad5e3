//! The API for programs.

use hyper::StatusCode;

use super::answers::{self, Answer};

/// The description, an OpenAPI document.
const DESCRIPTION: &str = include_str!("../../openapi.json");

/// `GET /openapi.json`.
pub(super) fn show() -> Answer {
    answers::typed(StatusCode::OK, "application/json", DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::Value;

    use super::super::routes::{self, ROUTES, RouteMatch};
    use super::*;

    #[test]
    fn describes_every_route_for_programs_and_no_other() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let mut described: Vec<_> = paths.keys().map(String::as_str).collect();
        let mut there: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
        // The pages are for people.
        there.retain(|path| !path.starts_with("/view/"));
        described.sort_unstable();
        there.sort_unstable();
        assert_eq!(described, there);
        for (path, operations) in paths {
            for method in ["get", "post", "put", "patch", "delete"] {
                let name = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                let found = routes::find(&name, &path.replace("{id}", "x"), true);
                let is_there = matches!(found, RouteMatch::Handler(..));
                assert_eq!(operations.get(method).is_some(), is_there, "{method} {path}");
            }
        }
    }
}
