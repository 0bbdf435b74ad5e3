//! The pairing page: files that are part of the program, for people with a browser. It uses nothing but API v1.

use bytes::Bytes;
use protocol::url::ServiceUrl;

/// The page of one service.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// In the order of [`SOURCES`].
    files: [Bytes; SOURCES.len()],
}

/// A file of the page. Those after the script are its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
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
    include_str!("page/index.html"),
    include_str!("page/pairing.css"),
    include_str!("page/pairing.js"),
    include_str!("page/cluster.js"),
    include_str!("page/contexts.js"),
    include_str!("page/follow.js"),
    include_str!("page/launch.js"),
    include_str!("page/picture.js"),
    include_str!("page/seal.js"),
    include_str!("page/service.js"),
    include_str!("page/status.js"),
    include_str!("page/view.js"),
    include_str!("page/watch.js"),
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

    /// A file, as it is served.
    pub(crate) fn file(&self, file: File) -> Bytes {
        self.files[file as usize].clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_its_public_url_to_the_document() {
        let shown = |url: Option<&ServiceUrl>| {
            String::from_utf8(Page::new(url).files[File::Document as usize].to_vec()).unwrap()
        };
        assert!(shown(None).contains(PUBLIC_URL));
        let url = ServiceUrl::parse("https://pair.example.org/x", false).unwrap();
        assert!(shown(Some(&url)).contains(r#"content="https://pair.example.org/x">"#));
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
