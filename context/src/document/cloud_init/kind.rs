//! What cloud-init takes a text for: by its MIME type, or by how it begins (`handlers/__init__.py`).

/// What cloud-init takes a part for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// YAML, merged with that of other parts.
    CloudConfig,
    /// Run while the parts are handed out: a boothook or a part-handler.
    Early(&'static str),
    /// A list of parts in YAML.
    Archive,
    /// A script for the final stage.
    Script,
    /// A list of addresses that are fetched before anything runs.
    Include,
    /// A template: it is rendered, then taken for what it then begins with.
    Jinja,
    /// A JSON patch of the cloud-config.
    JsonPatch,
    /// Nothing that cloud-init knows.
    Unknown,
}

/// Types that say nothing (`TYPE_NEEDED`), or are given to anything: how the text begins counts then.
pub(super) const VAGUE: [&str; 3] = ["text/plain", "text/x-not-multipart", "text/x-shellscript"];
/// What cloud-init takes a payload for.
pub(super) fn kind_of(text: &str, declared: Option<&str>) -> Kind {
    match declared {
        Some(declared) if !VAGUE.contains(&declared) => of_type(declared),
        Some("text/x-shellscript") if of_text(text) == Kind::Unknown => Kind::Script,
        _ => of_text(text),
    }
}

pub(super) fn of_type(declared: &str) -> Kind {
    match declared {
        "text/cloud-config" => Kind::CloudConfig,
        "text/cloud-config-archive" => Kind::Archive,
        "text/cloud-config-jsonp" => Kind::JsonPatch,
        "text/cloud-boothook" => Kind::Early("boothook"),
        "text/part-handler" => Kind::Early("part-handler"),
        "text/x-include-url" | "text/x-include-once-url" => Kind::Include,
        "text/jinja2" => Kind::Jinja,
        _ if declared.starts_with("text/x-shellscript") => Kind::Script,
        _ => Kind::Unknown,
    }
}

/// `type_from_starts_with`.
pub(crate) fn of_text(text: &str) -> Kind {
    const PREFIXES: [(&str, Kind); 9] = [
        ("#cloud-config-archive", Kind::Archive),
        ("#cloud-config-jsonp", Kind::JsonPatch),
        ("#cloud-config", Kind::CloudConfig),
        ("#cloud-boothook", Kind::Early("boothook")),
        ("#part-handler", Kind::Early("part-handler")),
        ("#include", Kind::Include),
        ("#!", Kind::Script),
        ("## template: jinja", Kind::Jinja),
        ("text/x-shellscript-per-", Kind::Script),
    ];
    let start = text.trim_start().chars().take(30).collect::<String>().to_lowercase();
    PREFIXES.iter().find(|(prefix, _)| start.starts_with(prefix)).map_or(Kind::Unknown, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn check(text: &str, expected: Kind) {
        let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
        let kinds: Vec<_> = document.reading().parts.iter().map(|part| part.kind).collect();
        assert_eq!(kinds, [expected], "{text}");
    }

    #[test]
    fn goes_by_how_a_text_begins() {
        check("#cloud-config\na: b", Kind::CloudConfig);
        check("\n#Cloud-Config\n", Kind::CloudConfig);
        check("## template: jinja\n#cloud-config\n", Kind::Jinja);
        check("#cloud-boothook\n", Kind::Early("boothook"));
        check("#part-handler\n", Kind::Early("part-handler"));
        check("#include-once\n", Kind::Include);
        check("#cloud-config-jsonp\n", Kind::JsonPatch);
        check("#!/bin/sh\n", Kind::Script);
        check("[amiconfig]\n", Kind::Unknown);
    }

    #[test]
    fn goes_by_the_type_of_a_part_unless_that_is_vague() {
        let part = |given: &str, text: &str| format!("MIME-Version: 1.0\nContent-Type: {given}\n\n{text}");
        check(&part("text/cloud-config", "a: b"), Kind::CloudConfig);
        check(&part("text/cloud-boothook", ""), Kind::Early("boothook"));
        check(&part("text/x-shellscript-per-boot", ""), Kind::Script);
        check(&part("text/x-shellscript", "#cloud-config\n"), Kind::CloudConfig);
        check(&part("text/x-shellscript", "echo\n"), Kind::Script);
        check(&part("text/plain", "#!/bin/sh\n"), Kind::Script);
        check(&part("application/octet-stream", "#!/bin/sh\n"), Kind::Unknown);
        check(&part("text/x-ucernvm", "#cloud-config\n"), Kind::Unknown);
    }
}
