//! The pairing page: three files that are part of the program, for people with a browser. It uses nothing but API v1.

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::answer_body::AnswerBody;

/// The page of one service.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    document: Bytes,
}

/// Where the document takes the lines for the ucernvm section.
const SETTINGS: &str = r#"<meta name="cvm-settings" content="">"#;

impl Page {
    /// The page that gives these settings of the ucernvm section to every context: where the service is and how to know
    /// it. Without the former, the page goes by its own URL.
    pub(crate) fn new(settings: &[String]) -> Self {
        // A URL or fingerprint has none of these characters; a document must stay one whatever comes.
        let safe = |line: &String| !line.contains(['"', '&', '<', '>']);
        let content: Vec<_> = settings.iter().filter(|line| safe(line)).map(String::as_str).collect();
        let filled = format!(r#"<meta name="cvm-settings" content="{}">"#, content.join(" "));
        Self { document: include_str!("../page/index.html").replacen(SETTINGS, &filled, 1).into() }
    }

    fn bytes(&self, file: File) -> AnswerBody {
        match file {
            File::Document => AnswerBody::from(self.document.clone()),
            File::Style => AnswerBody::from(&include_bytes!("../page/pairing.css")[..]),
            File::Script => AnswerBody::from(&include_bytes!("../page/pairing.js")[..]),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Document,
    Style,
    Script,
}

/// SECURITY: the page shows a secret, so nothing foreign may run in it, be loaded by it, or be put around it. Its icon
/// is an empty `data:` URL, which keeps browsers from asking for one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

impl File {
    fn media_type(self) -> &'static str {
        match self {
            Self::Document => "text/html; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }
}

/// A file of the page.
pub(super) fn show(page: &Page, file: File) -> Response<AnswerBody> {
    let mut response = Response::new(page.bytes(file));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The three belong together, so a browser asks anew after an update of the service.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use crate::testing::Harness;

    #[tokio::test]
    async fn shows_its_files_and_lets_nothing_foreign_in() {
        let world = Harness::new().await;
        for (path, content_type, begins) in [
            ("/cluster_pairing", "text/html; charset=utf-8", "<!doctype html>"),
            ("/cluster_pairing.css", "text/css; charset=utf-8", ":root"),
            ("/cluster_pairing.js", "text/javascript; charset=utf-8", "\"use strict\""),
        ] {
            let asked = world.ask("GET", path, &[("accept", "image/png")], "").await;
            assert_eq!(asked.status, 200, "{path}");
            assert!(asked.body.starts_with(begins), "{path}");
            assert!(asked.header("content-security-policy").starts_with("default-src 'none'; "), "{path}");
            for (name, value) in [
                ("content-type", content_type),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-cache"),
            ] {
                assert_eq!(asked.header(name), value, "{path}");
            }
            assert_eq!(world.ask("HEAD", path, &[], "").await.status, 200, "{path}");
            let refused = world.ask("POST", path, &[], "").await;
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"), "{path}");
        }
    }

    #[test]
    fn gives_its_settings_to_the_document() {
        let shown = |settings: &[&str]| {
            let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
            String::from_utf8(super::Page::new(&settings).document.to_vec()).unwrap()
        };
        assert!(shown(&[]).contains(super::SETTINGS));
        let document =
            shown(&["cvm_service_url=https://pair/x", "cvm_service_fingerprint=sha256:00", "\"><script>"]);
        let meta = r#"content="cvm_service_url=https://pair/x cvm_service_fingerprint=sha256:00">"#;
        assert!(document.contains(meta) && !document.contains("\"><script>"), "{document}");
    }

    #[test]
    fn names_no_other_host_and_has_no_script_or_style_in_line() {
        let document = include_str!("../page/index.html");
        let everything = [document, include_str!("../page/pairing.css"), include_str!("../page/pairing.js")];
        for foreign in ["http://", "https://", "url(", "@import"] {
            assert!(!everything.iter().any(|file| file.contains(foreign)), "{foreign}");
        }
        for in_line in ["<style", "style=", " onclick", "javascript:"] {
            assert!(!document.contains(in_line), "{in_line}");
        }
        assert_eq!(document.matches("<script").count(), document.matches("<script src=").count());
    }
}
