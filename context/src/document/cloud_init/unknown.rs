//! Texts that cloud-init does not know, and that were probably meant for it: what is wrong with them.

use super::kind::{PartKind, VAGUE, of_text};
use super::{Reading, without_mark};
use crate::document::base64;
use crate::document::codec::Codec;
use crate::placeholder;

impl Reading<'_> {
    /// A text that cloud-init does not know, which may have been meant for it.
    pub(super) fn unknown(&mut self, name: &str, line: usize, text: &str, declared: Option<&str>) {
        if let Some(declared) = declared.filter(|declared| !VAGUE.contains(declared)) {
            let is_meant =
                declared == "application/octet-stream" && placeholder::find(text.as_bytes()).next().is_some();
            if is_meant || of_text(without_mark(text)) != PartKind::Unknown {
                self.add_problem(
                    format!("{name} line {line}"),
                    format!(
                        "cloud-init does not know the type {declared}, and does not look at how this part begins"
                    ),
                    "give the part the type of what it is: text/x-shellscript, text/cloud-config, …",
                );
            }
            return;
        }
        let text = without_mark(text);
        if let Ok(decoded) = base64::decode(text.as_bytes()) {
            let lossy = String::from_utf8_lossy(&decoded);
            let is_context = Codec::of(&decoded).is_some()
                || of_text(without_mark(&lossy)) != PartKind::Unknown
                || ["mime-version:", "content-type: multipart/", "[ucernvm-begin]"]
                    .iter()
                    .any(|sign| lossy.to_ascii_lowercase().contains(sign))
                || begins_with_boundary(&lossy)
                || placeholder::find(&decoded).next().is_some();
            if is_context {
                self.add_problem(
                    name,
                    "the whole file is base64, and cloud-init does not decode it",
                    "give your cloud the decoded text, or the flag that says it is encoded",
                );
                return;
            }
        }
        let is_header = |line: &str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("content-type:") || line.starts_with("mime-version:")
        };
        let header = text.lines().take(20).position(is_header);
        if let Some(number) = header.or_else(|| begins_with_boundary(text).then_some(0)) {
            self.add_problem(
                format!("{name} line {}", line + number),
                "this is MIME, but its headers are not the file's first lines, so that cloud-init sees no part",
                "begin the file with MIME-Version and Content-Type, without a blank line before or between them",
            );
            return;
        }
        for (number, said) in text.lines().enumerate() {
            let before_is_comment =
                || text.lines().take(number).all(|line| line.is_empty() || line.starts_with('#'));
            if said.starts_with("#!/") && before_is_comment() {
                self.add_problem(
                    format!("{name} line {}", line + number),
                    "cloud-init takes this for no script, since something stands before #!",
                    "begin it with #!, in the first column of the first line",
                );
                return;
            }
            if is_nearly_cloud_config(said) {
                self.add_problem(
                    format!("{name} line {}", line + number),
                    "this is no cloud-config to cloud-init, which asks for #cloud-config at the beginning",
                    "write #cloud-config as the first line",
                );
                return;
            }
        }
    }
}

/// Whether a text begins with a boundary of MIME parts, and not with YAML's document start.
fn begins_with_boundary(text: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default();
    first.starts_with("--") && first.trim() != "---" && !first.starts_with("--- ")
}

/// Whether a line was probably meant to make a cloud-config of its file: `# cloud-config`, `#cloud_config`, or
/// `#cloud-config` itself, too late.
fn is_nearly_cloud_config(line: &str) -> bool {
    let Some(rest) = line.trim().strip_prefix('#') else { return false };
    let letters: String =
        rest.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    letters == "cloudconfig"
}
