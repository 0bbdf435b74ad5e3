//! The answers with the pairing page.

pub(super) mod form;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::answer_body::AnswerBody;
use crate::page::{File, Page};

/// SECURITY: the page shows a secret, so nothing foreign may run in it, be loaded by it, or be put around it. Its icon
/// is an empty `data:` URL, which keeps browsers from asking for one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// Where the document is.
const PATH: &str = "/cluster_pairing";
const DOCUMENT: &str = "text/html; charset=utf-8";

fn media_type(file: File) -> &'static str {
    match file {
        File::Document => DOCUMENT,
        File::Style => "text/css; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    }
}

/// A file of the page.
pub(super) fn show(page: &Page, file: File) -> Response<AnswerBody> {
    let mut response = protected(page.file(file), media_type(file));
    // They belong together, so a browser asks anew after an update of the service.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Something of the page, with what keeps other sites out.
fn protected(body: Bytes, media_type: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The form's answer needs the URL of the page. A pin in a link is behind the #, which no request has.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes;
    use crate::testing::Harness;

    /// What is served, by path.
    async fn files() -> Vec<(&'static str, String)> {
        let world = Harness::new().await;
        let mut files = Vec::new();
        for (route, _) in routes::all().filter(|(route, _)| route.path.starts_with("/cluster_pairing")) {
            files.push((route.path, world.ask("GET", route.path, &[], "").await.body));
        }
        files
    }

    #[tokio::test]
    async fn shows_its_files_and_lets_nothing_foreign_in() {
        let world = Harness::new().await;
        for (path, content_type, begins) in [
            ("/cluster_pairing", "text/html; charset=utf-8", "<!doctype html>"),
            ("/cluster_pairing.css", "text/css; charset=utf-8", ":root"),
            ("/cluster_pairing.js", "text/javascript; charset=utf-8", "import "),
            ("/cluster_pairing/cluster.js", "text/javascript; charset=utf-8", "import "),
        ] {
            let asked = world.ask("GET", path, &[("accept", "image/png")], "").await;
            assert_eq!(asked.status, 200, "{path}");
            assert!(asked.body.starts_with(begins), "{path}");
            assert!(asked.header("content-security-policy").starts_with("default-src 'none'; "), "{path}");
            for (name, value) in [
                ("content-type", content_type),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                ("cache-control", "no-cache"),
            ] {
                assert_eq!(asked.header(name), value, "{path}");
            }
            assert_eq!(world.ask("HEAD", path, &[], "").await.status, 200, "{path}");
            let refused = world.ask("DELETE", path, &[], "").await;
            let allow = if path == PATH { "GET, POST, HEAD" } else { "GET, HEAD" };
            assert_eq!((refused.status, refused.header("allow")), (405, allow), "{path}");
        }
    }

    #[tokio::test]
    async fn names_no_other_host_and_has_no_script_or_style_in_line() {
        let files = files().await;
        for (path, text) in &files {
            for foreign in ["http://", "https://", "url(", "@import", "innerHTML", "eval("] {
                assert!(!text.contains(foreign), "{path}: {foreign}");
            }
        }
        let document = &files[0].1;
        for in_line in ["<style", "style=", " onclick", "javascript:"] {
            assert!(!document.contains(in_line), "{in_line}");
        }
        assert_eq!(document.matches("<script").count(), 1);
        assert!(document.contains(r#"<script type="module" src="cluster_pairing.js">"#));
    }

    #[tokio::test]
    async fn serves_each_module_that_a_script_imports_and_no_other() {
        let mut imported = std::collections::BTreeSet::new();
        let files = files().await;
        let scripts = files.iter().filter(|(path, _)| path.ends_with(".js"));
        for (path, text) in scripts.clone() {
            for name in text.split("from \"./").skip(1).chain(text.split("import \"./").skip(1)) {
                let name = name.split('"').next().unwrap();
                imported.insert(if *path == "/cluster_pairing.js" {
                    format!("/{name}")
                } else {
                    format!("/cluster_pairing/{name}")
                });
            }
        }
        let served: std::collections::BTreeSet<_> = scripts
            .map(|(path, _)| (*path).to_owned())
            .filter(|path| path != "/cluster_pairing.js")
            .collect();
        assert_eq!(imported, served);
    }

    #[tokio::test]
    async fn is_light() {
        let page: usize = files().await.iter().map(|(_, text)| text.len()).sum();
        let bytes = page + form::weight();
        assert!(bytes <= 60_000, "{bytes}");
    }
}
