//! The files that cloud-init's `write_files` made before the agent ran.
//!
//! The network stage writes them with the placeholders still in (`cc_write_files`, cloud-init 22.4 to 26.2), once per
//! instance. So the agent substitutes in the written files themselves. Running the module again would append a second
//! time where an entry says `append: true`, and would undo what else has changed the file since.
//!
//! The paths come from `instance/cloud-config.txt`, which is cloud-init's own dump of the merged configuration
//! (`safeyaml.dumps`: block style, `indent=4`), so a line scanner is enough; the user's own YAML never comes here.

/// The `path:` of each entry of the top-level `write_files` list, in order, absolute ones only.
///
/// PyYAML with `indent=4` begins an entry with a dash in the first column and its keys in the fifth; whatever belongs
/// to a scalar of several lines stands further to the right.
#[must_use]
pub(super) fn paths(cloud_config: &str) -> Vec<String> {
    let entries = cloud_config.lines().skip_while(|line| line.trim_end() != "write_files:").skip(1);
    entries
        .take_while(|line| line.is_empty() || line.starts_with([' ', '-']))
        .filter_map(|line| line.strip_prefix("-   ").or_else(|| line.strip_prefix("    ")))
        .filter_map(|key| unquoted(key.strip_prefix("path: ")?))
        .filter(|path| path.starts_with('/'))
        .collect()
}

/// A YAML scalar on one line (YAML 1.2 section 7.3): plain, single-quoted or double-quoted without escapes.
fn unquoted(scalar: &str) -> Option<String> {
    if let Some(inner) = scalar.strip_prefix('\'') {
        return Some(inner.strip_suffix('\'')?.replace("''", "'"));
    }
    if let Some(inner) = scalar.strip_prefix('"') {
        // Escapes mean a path with control or non-ASCII characters: that file is left alone, as is one whose long
        // path with blanks was folded.
        return inner.strip_suffix('"').filter(|inner| !inner.contains('\\')).map(str::to_owned);
    }
    Some(scalar.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_paths_in_cloud_inits_dump() {
        let dump = "#cloud-config\n\n# from 1 files\n# part-001\n\n---\nruncmd:\n- path: /not/this\nwrite_files:\n\
            -   content: 'a: ###MASTER_IP_PLACEHOLDER###\n\n        path: /not/in/a/content\n\n        '\n    path: /etc/one\n\
            -   append: true\n    content: x\n    path: '/etc/it''s'\n    permissions: '0600'\n\
            -   path: \"/etc/three\"\n-   path: relative\n-   path: \"/odd\\x07\"\nssh:\n-   path: /nor/this\n...\n";
        assert_eq!(paths(dump), ["/etc/one", "/etc/it's", "/etc/three"]);
    }

    #[test]
    fn finds_none_where_there_is_none() {
        for dump in
            ["", "#cloud-config\n{}\n", "write_files: []\n", "write_files:\n", "\u{0}write_files:\n- path"]
        {
            assert_eq!(paths(dump), Vec::<String>::new(), "{dump:?}");
        }
    }
}
