use std::io::Read as _;

use ::base64::Engine as _;
use ::base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::bufread::GzEncoder;

use super::*;

fn document(bytes: impl Into<Vec<u8>>) -> Document {
    Document::parse("f", bytes.into()).unwrap()
}

fn check(text: &str, expected: &[PartKind]) {
    let document = document(text);
    let kinds: Vec<_> = document.reading().parts.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, expected, "{text}");
}

fn lost(bytes: impl Into<Vec<u8>>, expected: &str) {
    let document = document(bytes);
    let problems = document.reading().problems;
    assert!(problems.iter().any(|loss| loss.what.contains(expected)), "{expected}: {problems:?}");
}

#[test]
fn goes_by_how_a_text_begins() {
    check("#cloud-config\na: b", &[PartKind::CloudConfig]);
    check("\n#Cloud-Config\n", &[PartKind::CloudConfig]);
    check("## template: jinja\n#cloud-config\n", &[PartKind::Jinja]);
    check("#cloud-boothook\n", &[PartKind::Early("boothook")]);
    check("#part-handler\n", &[PartKind::Early("part-handler")]);
    check("#include-once\n", &[PartKind::Include]);
    check("#cloud-config-jsonp\n", &[PartKind::JsonPatch]);
    check("#!/bin/sh\n", &[PartKind::Script]);
    check("[amiconfig]\n", &[PartKind::Unknown]);
}

#[test]
fn goes_by_the_type_of_a_part_unless_that_is_vague() {
    let part = |given: &str, text: &str| format!("MIME-Version: 1.0\nContent-Type: {given}\n\n{text}");
    check(&part("text/cloud-config", "a: b"), &[PartKind::CloudConfig]);
    check(&part("text/cloud-boothook", ""), &[PartKind::Early("boothook")]);
    check(&part("text/x-shellscript-per-boot", ""), &[PartKind::Script]);
    check(&part("text/x-shellscript", "#cloud-config\n"), &[PartKind::CloudConfig]);
    check(&part("text/x-shellscript", "echo\n"), &[PartKind::Script]);
    check(&part("text/plain", "#!/bin/sh\n"), &[PartKind::Script]);
    check(&part("application/octet-stream", "#!/bin/sh\n"), &[PartKind::Unknown]);
    check(&part("text/x-ucernvm", "#cloud-config\n"), &[PartKind::Unknown]);
}

#[test]
fn looks_into_archives() {
    check(
        "#cloud-config-archive\n- '#!/bin/sh'\n- content: 'a: b'\n- {type: text/cloud-boothook, content: x}\n",
        &[PartKind::Script, PartKind::CloudConfig, PartKind::Early("boothook")],
    );
    lost("#cloud-config-archive\na: b\n", "no list");
    lost("#cloud-config-archive\n- [\n", "no YAML");
}

#[test]
fn says_what_cloud_init_does_not_see() {
    lost(
        "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\nb\n\n#!/bin/sh\n",
        "begins no line",
    );
    lost(
        "\nContent-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n\n#!/bin/sh\n",
        "the file's first lines",
    );
    lost("MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n#!/bin/sh\n", "names no boundary");
    lost("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n#!/bin/sh\n", "no MIME-Version");
    lost("\u{feff}#cloud-config\n", "byte order mark");
    lost(&b"#cloud-config\n# caf\xe9\n"[..], "column 6 is not UTF-8");
    lost("# cloud-config\nruncmd: []\n", "no cloud-config");
    lost("---\n#cloud-config\nruncmd: []\n", "no cloud-config");
    lost("I2Nsb3VkLWNvbmZpZwo=\n", "whole file is base64");
    // Content-Type: multipart/mixed; boundary=b
    lost("Q29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PWIKCi0tYgoKeAo=\n", "whole file is base64");
    lost(&b"\n\x1f\x8b\x08rest"[..], "before the gzip");
    let part = "MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n#cloud-config\n# caf\u{e9}\n";
    lost(part, "drops a MIME part with one in it");
    lost(gzip_part("#cloud-config\n# caf\u{e9}\n"), "drops a MIME part with one in it");
}

fn gzip_part(text: &str) -> String {
    let mut packed = Vec::new();
    let mut packer = GzEncoder::new(text.as_bytes(), Compression::fast());
    packer.read_to_end(&mut packed).unwrap();
    format!(
        "MIME-Version: 1.0\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n{}\n",
        BASE64_STANDARD.encode(packed)
    )
}

#[test]
fn reads_high_characters_of_a_part_that_is_gzip_or_not_encoded_as_escapes() {
    let text = "#!/bin/sh\necho \u{20ac}\u{1f600}\n";
    let escaped = "#!/bin/sh\necho \\u20ac\\U0001f600\n";
    let part = format!("MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n{text}");
    let encoded = format!(
        "MIME-Version: 1.0\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n{}\n",
        BASE64_STANDARD.encode(text)
    );
    for (context, expected, line) in [
        (part, escaped, Some(1)),
        (gzip_part(text), escaped, Some(1)),
        (encoded, text, None),
        (text.to_owned(), text, None),
    ] {
        let document = document(context.as_str());
        let parts = document.reading().parts;
        assert_eq!(parts.len(), 1, "{context}");
        assert_eq!((parts[0].text.as_ref(), parts[0].escaped_line), (expected, line), "{context}");
    }
}
