//! The pairing page: files that are part of the program, for people with a browser. It uses nothing but API v1.

pub(super) mod form;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use protocol::url::ServiceUrl;

use super::answer_body::AnswerBody;

/// The page of one service.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// In the order of [`SOURCES`].
    files: [Bytes; SOURCES.len()],
}

/// A file of the page. Those after the script are its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Document,
    Style,
    Script,
    Cluster,
    Contexts,
    Follow,
    Launch,
    Picture,
    Seal,
    Service,
    Status,
    View,
    Watch,
}

/// What the files are made from, in the order of [`File`].
const SOURCES: [&str; 13] = [
    include_str!("../page/index.html"),
    include_str!("../page/pairing.css"),
    include_str!("../page/pairing.js"),
    include_str!("../page/cluster.js"),
    include_str!("../page/contexts.js"),
    include_str!("../page/follow.js"),
    include_str!("../page/launch.js"),
    include_str!("../page/picture.js"),
    include_str!("../page/seal.js"),
    include_str!("../page/service.js"),
    include_str!("../page/status.js"),
    include_str!("../page/view.js"),
    include_str!("../page/watch.js"),
];

/// Where the document takes the URL by which VMs reach the service.
const PUBLIC_URL: &str = r#"<meta name="public-url" content="">"#;

impl Page {
    /// The page of a service with this public URL. Without one, the page goes by its own URL.
    pub(crate) fn new(public_url: Option<&ServiceUrl>) -> Self {
        let url = public_url.map(ServiceUrl::to_string).unwrap_or_default();
        // A URL has none of these characters; a document must stay one whatever comes.
        let url = if url.contains(['"', '&', '<', '>']) { "" } else { &url };
        let filled = format!(r#"<meta name="public-url" content="{url}">"#);
        // Only the document has it.
        let mut files = SOURCES.map(|source| compact(&source.replacen(PUBLIC_URL, &filled, 1)));
        for (at, file) in files.iter_mut().enumerate() {
            match at {
                _ if at == File::Document as usize => {}
                _ if at == File::Style as usize => *file = tight_style(file),
                _ => *file = tight_script(file),
            }
        }
        Self { files: files.map(Bytes::from) }
    }
}

/// A file without its comments and indentation, which are for those who read the source.
fn compact(source: &str) -> String {
    let lines =
        source.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A style sheet without the blanks that no browser needs. It has none of these characters in a string.
fn tight_style(style: &str) -> String {
    let mut style = style.to_owned();
    for (from, to) in [
        ("\n", " "),
        (" {", "{"),
        ("{ ", "{"),
        ("; ", ";"),
        (": ", ":"),
        (", ", ","),
        ("} ", "}"),
        (" }", "}"),
        (";}", "}"),
        (" > ", ">"),
    ] {
        style = style.replace(from, to);
    }
    style
}

/// A script without the ends of lines that end no statement. It has none of them in a string.
fn tight_script(script: &str) -> String {
    ['{', '(', '[', ',', ';']
        .iter()
        .fold(script.to_owned(), |script, end| script.replace(&format!("{end}\n"), &end.to_string()))
}

impl Default for Page {
    fn default() -> Self {
        Self::new(None)
    }
}

/// SECURITY: the page shows a secret, so nothing foreign may run in it, be loaded by it, or be put around it. Its icon
/// is an empty `data:` URL, which keeps browsers from asking for one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// Where the document is.
const PATH: &str = "/cluster_pairing";
const DOCUMENT: &str = "text/html; charset=utf-8";

impl File {
    fn media_type(self) -> &'static str {
        match self {
            Self::Document => DOCUMENT,
            Self::Style => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        }
    }
}

/// A file of the page.
pub(super) fn show(page: &Page, file: File) -> Response<AnswerBody> {
    let mut response = protected(page.files[file as usize].clone(), file.media_type());
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
    use protocol::url::ServiceUrl;

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

    #[test]
    fn gives_its_public_url_to_the_document() {
        let shown = |url: Option<&ServiceUrl>| {
            String::from_utf8(Page::new(url).files[File::Document as usize].to_vec()).unwrap()
        };
        assert!(shown(None).contains(PUBLIC_URL));
        let url = ServiceUrl::parse("https://pair.example.org/x", false).unwrap();
        assert!(shown(Some(&url)).contains(r#"content="https://pair.example.org/x">"#));
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

    #[test]
    fn a_script_loses_ends_of_lines_and_nothing_else() {
        assert_eq!(tight_script("f({\na,\nb: [\n1\n]\n});\ng()\n"), "f({a,b: [1\n]\n});g()\n");
        for script in &SOURCES[File::Script as usize..] {
            let (tight, source) = (tight_script(&compact(script)), compact(script));
            assert_eq!(tight.replace('\n', ""), source.replace('\n', ""));
            for line in source.lines() {
                assert!(line.matches('`').count() % 2 == 0, "a string has the end of a line: {line}");
                assert!(!line.contains(" //"), "a comment after code would swallow the next line: {line}");
            }
        }
    }

    #[test]
    fn a_style_sheet_loses_blanks_and_nothing_else() {
        let source = "a > b, #c :hover {\n  margin: 0 auto; color: var(--x);\n}\n@media (x: y) { p::before { content: \"\"; } }\n";
        let expected = "a>b,#c :hover{margin:0 auto;color:var(--x)}@media (x:y){p::before{content:\"\"}}";
        assert_eq!(tight_style(&compact(source)), expected);
        let words = |text: &str| text.replace([' ', '\n'], "").replace(";}", "}");
        let style = SOURCES[File::Style as usize];
        assert_eq!(words(&tight_style(&compact(style))), words(style));
        assert!(style.split('"').skip(1).step_by(2).all(str::is_empty), "strings keep their blanks");
    }
}
