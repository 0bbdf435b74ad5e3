//! The pages of the clusters and of the API: files that are part of the program, in the style of the pairing page.

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use super::answers::{self, Answer};

/// A file of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Document,
    Style,
    Script,
    Token,
    Api,
    ApiScript,
    Description,
    Field,
    Make,
}

/// SECURITY: a token is typed into the pages, so nothing foreign may run in them, be loaded by them, or be put around them.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// `GET /view/` and what belongs to it.
pub(super) fn show(file: File) -> Answer {
    const HTML: &str = "text/html; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (kind, text) = match file {
        File::Document => (HTML, include_str!("page/index.html")),
        // The style is the pairing page's own.
        File::Style => ("text/css; charset=utf-8", include_str!("../../../server/src/page/pairing.css")),
        File::Script => (SCRIPT, include_str!("page/view.js")),
        File::Token => (SCRIPT, include_str!("page/token.js")),
        File::Api => (HTML, include_str!("page/api.html")),
        File::ApiScript => (SCRIPT, include_str!("page/api.js")),
        File::Description => (SCRIPT, include_str!("page/description.js")),
        File::Field => (SCRIPT, include_str!("page/field.js")),
        File::Make => (SCRIPT, include_str!("page/make.js")),
    };
    let mut answer = answers::typed(StatusCode::OK, kind, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // They belong together, so a browser asks anew after an update of the launcher.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt as _;

    use super::super::routes::{Handler, ROUTES};
    use super::*;

    /// What is served, by path.
    async fn files() -> Vec<(&'static str, String)> {
        let mut files = Vec::new();
        for route in &ROUTES {
            for (_, handler, _) in route.methods {
                if let Handler::Page(file) = handler {
                    let body = show(*file).into_body().collect().await.unwrap().to_bytes();
                    files.push((route.path, String::from_utf8(body.to_vec()).unwrap()));
                }
            }
        }
        files
    }

    #[tokio::test]
    async fn names_no_other_host_and_has_no_script_or_style_in_line() {
        for (path, text) in files().await {
            for foreign in ["http://", "https://", "url(", "@import", "innerHTML", "eval("] {
                assert!(!text.contains(foreign), "{path}: {foreign}");
            }
            if text.starts_with("<!doctype html>") {
                for in_line in ["<style", "style=", " onclick", "javascript:"] {
                    assert!(!text.contains(in_line), "{path}: {in_line}");
                }
                assert_eq!(text.matches("<script").count(), 1, "{path}");
                assert!(text.contains(r#"<script type="module" src=""#), "{path}");
            }
        }
    }

    #[tokio::test]
    async fn serves_each_file_that_another_names_and_no_other() {
        let files = files().await;
        let mut named = BTreeSet::from(["/view/".to_owned()]);
        for (_, text) in &files {
            for before in
                ["from \"./", "<script type=\"module\" src=\"", "rel=\"stylesheet\" href=\"", "<a href=\"api"]
            {
                for part in text.split(before).skip(1) {
                    let name = part.split('"').next().unwrap();
                    let api = if before.ends_with("api") { "api" } else { "" };
                    named.insert(format!("/view/{api}{name}"));
                }
            }
        }
        let served: BTreeSet<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(named, served);
    }
}
