//! What cloud-init takes a part of a context for (its `handlers/__init__.py` and `user_data.py`): the MIME type says,
//! and where that is vague, how the text begins.

use crate::document::{Run, RunRole};

/// What cloud-init does with a part, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is YAML.
    CloudConfig,
    /// It is run while the parts are handed out.
    Early(&'static str),
    /// It is a script for the final stage.
    Script,
    /// It is something else, or nothing to cloud-init.
    Other,
}

/// Types that cloud-init looks behind.
const VAGUE: [&str; 5] =
    ["text/plain", "text/x-not-multipart", "application/octet-stream", "text/x-shellscript", "text/jinja2"];

/// What cloud-init makes of this.
pub(super) fn kind(run: &Run<'_>) -> Kind {
    let content_type = match run.role {
        RunRole::Between => return Kind::Other,
        RunRole::Whole => None,
        RunRole::Part(headers) => headers.content_type.as_deref(),
    };
    match content_type.filter(|given| !VAGUE.contains(given)) {
        None => of_text(run.bytes),
        Some("text/cloud-config") => Kind::CloudConfig,
        Some("text/cloud-boothook") => Kind::Early("boothook"),
        Some("text/part-handler") => Kind::Early("part-handler"),
        Some(given) if given.starts_with("text/x-shellscript-") => Kind::Script,
        Some(_) => Kind::Other,
    }
}

fn of_text(bytes: &[u8]) -> Kind {
    let text = bytes.trim_ascii_start();
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default().to_ascii_lowercase();
    let begins = |marker: &str| first.starts_with(marker.as_bytes());
    if begins("## template: jinja") {
        return of_text(text.get(first.len() + 1..).unwrap_or_default());
    }
    if begins("#cloud-config-archive") {
        Kind::Other
    } else if begins("#cloud-config") {
        Kind::CloudConfig
    } else if begins("#cloud-boothook") {
        Kind::Early("boothook")
    } else if begins("#part-handler") {
        Kind::Early("part-handler")
    } else if begins("#!") {
        Kind::Script
    } else {
        Kind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn check(text: &str, expected: Kind) {
        let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
        let kinds: Vec<_> = document.runs().iter().map(kind).filter(|kind| *kind != Kind::Other).collect();
        assert_eq!(kinds.first().copied().unwrap_or(Kind::Other), expected, "{text}");
    }

    #[test]
    fn goes_by_how_a_text_begins() {
        check("#cloud-config\na: b", Kind::CloudConfig);
        check("\n#Cloud-Config\n", Kind::CloudConfig);
        check("## template: jinja\n#cloud-config\n", Kind::CloudConfig);
        check("## template: jinja", Kind::Other);
        check("#cloud-config-archive\n", Kind::Other);
        check("#cloud-boothook\n", Kind::Early("boothook"));
        check("#part-handler\n", Kind::Early("part-handler"));
        check("#!/bin/sh\n", Kind::Script);
        check("[amiconfig]\n", Kind::Other);
    }

    #[test]
    fn goes_by_the_type_of_a_part_unless_that_is_vague() {
        let part = |content_type: &str, text: &str| {
            format!("MIME-Version: 1.0\nContent-Type: {content_type}\n\n{text}")
        };
        check(&part("text/cloud-config", "a: b"), Kind::CloudConfig);
        check(&part("text/cloud-boothook", ""), Kind::Early("boothook"));
        check(&part("text/x-shellscript-per-boot", ""), Kind::Script);
        check(&part("text/x-shellscript", "#cloud-config\n"), Kind::CloudConfig);
        check(&part("text/plain", "#!/bin/sh\n"), Kind::Script);
        check(&part("text/x-ucernvm", "#cloud-config\n"), Kind::Other);
    }
}
