//! What cloud-init takes a text for: by its MIME type, or by how it begins (`handlers/__init__.py`).

/// What cloud-init takes a part for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
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
pub(super) fn kind_of(text: &str, declared: Option<&str>) -> PartKind {
    match declared {
        Some(declared) if !VAGUE.contains(&declared) => of_type(declared),
        Some("text/x-shellscript") if of_text(text) == PartKind::Unknown => PartKind::Script,
        _ => of_text(text),
    }
}

pub(super) fn of_type(declared: &str) -> PartKind {
    match declared {
        "text/cloud-config" => PartKind::CloudConfig,
        "text/cloud-config-archive" => PartKind::Archive,
        "text/cloud-config-jsonp" => PartKind::JsonPatch,
        "text/cloud-boothook" => PartKind::Early("boothook"),
        "text/part-handler" => PartKind::Early("part-handler"),
        "text/x-include-url" | "text/x-include-once-url" => PartKind::Include,
        "text/jinja2" => PartKind::Jinja,
        _ if declared.starts_with("text/x-shellscript") => PartKind::Script,
        _ => PartKind::Unknown,
    }
}

/// `type_from_starts_with`.
pub(crate) fn of_text(text: &str) -> PartKind {
    const PREFIXES: [(&str, PartKind); 9] = [
        ("#cloud-config-archive", PartKind::Archive),
        ("#cloud-config-jsonp", PartKind::JsonPatch),
        ("#cloud-config", PartKind::CloudConfig),
        ("#cloud-boothook", PartKind::Early("boothook")),
        ("#part-handler", PartKind::Early("part-handler")),
        ("#include", PartKind::Include),
        ("#!", PartKind::Script),
        ("## template: jinja", PartKind::Jinja),
        ("text/x-shellscript-per-", PartKind::Script),
    ];
    let start = text.trim_start().chars().take(30).collect::<String>().to_lowercase();
    PREFIXES.iter().find(|(prefix, _)| start.starts_with(prefix)).map_or(PartKind::Unknown, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn check(text: &str, expected: PartKind) {
        let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
        let kinds: Vec<_> = document.reading().parts.iter().map(|part| part.kind).collect();
        assert_eq!(kinds, [expected], "{text}");
    }

    #[test]
    fn goes_by_how_a_text_begins() {
        check("#cloud-config\na: b", PartKind::CloudConfig);
        check("\n#Cloud-Config\n", PartKind::CloudConfig);
        check("## template: jinja\n#cloud-config\n", PartKind::Jinja);
        check("#cloud-boothook\n", PartKind::Early("boothook"));
        check("#part-handler\n", PartKind::Early("part-handler"));
        check("#include-once\n", PartKind::Include);
        check("#cloud-config-jsonp\n", PartKind::JsonPatch);
        check("#!/bin/sh\n", PartKind::Script);
        check("[amiconfig]\n", PartKind::Unknown);
    }

    #[test]
    fn goes_by_the_type_of_a_part_unless_that_is_vague() {
        let part = |given: &str, text: &str| format!("MIME-Version: 1.0\nContent-Type: {given}\n\n{text}");
        check(&part("text/cloud-config", "a: b"), PartKind::CloudConfig);
        check(&part("text/cloud-boothook", ""), PartKind::Early("boothook"));
        check(&part("text/x-shellscript-per-boot", ""), PartKind::Script);
        check(&part("text/x-shellscript", "#cloud-config\n"), PartKind::CloudConfig);
        check(&part("text/x-shellscript", "echo\n"), PartKind::Script);
        check(&part("text/plain", "#!/bin/sh\n"), PartKind::Script);
        check(&part("application/octet-stream", "#!/bin/sh\n"), PartKind::Unknown);
        check(&part("text/x-ucernvm", "#cloud-config\n"), PartKind::Unknown);
    }
}
