//! Whole documents: the contexts of CernVM's documentation, what cloud-init's tools make, and anything at all.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use protocol::error::Status;

use super::codec::Codec;
use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/contexts/", $name)).to_vec()
    };
}

const IP: &str = "###MASTER_IP_PLACEHOLDER###";
const TOKEN: &str = "###K3S_TOKEN_PLACEHOLDER###";

fn parse(bytes: Vec<u8>) -> Document {
    Document::parse("f", bytes).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn values() -> BTreeMap<String, String> {
    [("master_ip", "10.77.0.2"), ("k3s_token", "K10=:a/b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// What can be read in a document, decoded.
fn readable(document: &Document) -> Vec<Vec<u8>> {
    document.text.runs().iter().map(|run| run.bytes.to_vec()).collect()
}

/// As `sed` would do it for one key after the other, where no value holds a placeholder.
fn naive(bytes: &[u8], values: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    'text: while let Some(first) = rest.first() {
        for (key, value) in values {
            let placeholder = format!("###{}_PLACEHOLDER###", key.to_uppercase());
            if let Some(after) = rest.strip_prefix(placeholder.as_bytes()) {
                out.extend_from_slice(value.as_bytes());
                rest = after;
                continue 'text;
            }
        }
        out.push(*first);
        rest = &rest[1..];
    }
    out
}

mod sections {
    use super::*;

    fn check(bytes: Vec<u8>, place: &str) {
        let section = parse(bytes).section().unwrap().expect("there is a section");
        assert_eq!(section.place(), place);
        let pin = section.entries().iter().find(|entry| entry.key == "cvm_cluster_pin").unwrap();
        assert_eq!(pin.value, "enico1qq0oey");
    }

    #[test]
    fn are_found_in_every_kind_of_context() {
        check(fixture!("amiconfig-slave"), "f line 17");
        check(fixture!("amiconfig-master"), "f line 14");
        check(fixture!("cloud-config-commented.yaml"), "f line 2");
        check(fixture!("make-mime"), "f part 1 (cluster.txt) line 1");
        check(fixture!("every-encoding"), "f line 10");
    }

    #[test]
    fn are_found_behind_gzip_windows_line_ends_and_a_byte_order_mark() {
        let text = String::from_utf8(fixture!("amiconfig-slave")).unwrap();
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        check(windows.clone().into_bytes(), "f line 17");
        check(gzip(windows.as_bytes()), "f (unpacked) line 17");
        check(gzip(&fixture!("make-mime")), "f (unpacked) part 1 (cluster.txt) line 1");
        check(
            b"\xef\xbb\xbf[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]".to_vec(),
            "f line 1",
        );
    }

    #[test]
    fn may_be_missing() {
        for bytes in [&b""[..], b"#cloud-config\n", b"\0\xff\xfe\x80", b"MIME-Version: 1.0\n\n", &gzip(b"")] {
            assert_eq!(parse(bytes.to_vec()).section().unwrap(), None);
        }
    }

    #[test]
    fn end_with_their_part() {
        let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n[ucernvm-begin]\n--b\n\n[ucernvm-end]\n--b--\n";
        let section = parse(text.into()).section().unwrap().unwrap();
        assert_eq!(
            (section.place(), section.missing_end()),
            ("f line 5".into(), Some(MissingEnd::EndOfFile))
        );
    }

    #[test]
    fn with_a_marker_that_is_nearly_right_are_an_error_beside_a_placeholder() {
        let misspelt = "[ucernvm_begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm_end]\n";
        assert_eq!(parse(misspelt.into()).section().unwrap(), None);
        let error = parse(format!("{misspelt}###MASTER_IP_PLACEHOLDER###").into()).section().unwrap_err();
        assert!(error.to_string().starts_with("f line 1: \"[ucernvm_begin]\" is not the line"), "{error}");
    }

    #[test]
    fn count_only_once() {
        let of = |pin: &str| format!("[ucernvm-begin]\ncvm_cluster_pin={pin}\n[ucernvm-end]\n");
        check(format!("{}{}", of("enico1qq0oey"), of("second")).into(), "f line 1");
        // What follows the one that counts is of no interest, be it broken.
        check(format!("{}[ucernvm-begin]", of("enico1qq0oey")).into(), "f line 1");
    }
}

mod limits {
    use super::*;

    fn refuses(bytes: Vec<u8>, expected: &str) {
        let error = Document::parse("f", bytes).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.status(), Status::BadContext);
    }

    #[test]
    fn stop_a_gzip_bomb() {
        let bomb = gzip(&vec![b'x'; MAX_DECODED_BYTES + 1]);
        refuses(bomb.clone(), "f (unpacked): it unpacks to more than 32 MiB");
        refuses(gzip(&bomb), "f (unpacked) (unpacked): it unpacks to more than 32 MiB");
    }

    #[test]
    fn stop_bombs_that_share_the_work() {
        let half = gzip(&vec![b'x'; MAX_DECODED_BYTES / 2 + 1]);
        let part = [b"--b\n\n".to_vec(), half].concat();
        let text = [b"Content-Type: multipart/mixed; boundary=b\n\n", &part[..], b"\n", &part].concat();
        refuses(text, "f part 2: it unpacks to more than 32 MiB");
    }

    #[test]
    fn stop_layers_upon_layers() {
        refuses((0..9).fold(b"x".to_vec(), |inner, _| gzip(&inner)), "f (unpacked)");
    }

    #[test]
    fn say_when_gzip_is_damaged() {
        let mut packed = gzip(b"[ucernvm-begin]\n[ucernvm-end]\n");
        packed.truncate(20);
        refuses(packed, "f: it is gzip, but damaged or cut short");
    }

    #[test]
    fn leave_room_for_ten_megabytes() {
        let mut text = fixture!("amiconfig-slave");
        text.resize(10 << 20, b'\n');
        let document = parse(gzip(&text));
        assert!(document.section().unwrap().is_some());
        let substituted = document.substitute(&values()).unwrap();
        let wanted = String::from_utf8(text).unwrap().replace(IP, "10.77.0.2");
        assert!(readable(&parse(substituted.bytes)).concat() == wanted.as_bytes());
    }

    #[test]
    fn hold_for_what_values_add() {
        let huge: BTreeMap<_, _> = [("a".to_owned(), "x".repeat(65_536))].into();
        let text = format!("\n{}", "###A_PLACEHOLDER###".repeat(513)).into_bytes();
        let error = parse(text).substitute(&huge).unwrap_err();
        assert!(error.to_string().starts_with("f line 2: with the values put in"), "{error}");
    }

    #[test]
    fn hold_for_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("user-data");
        let file = File::create(&path).unwrap();
        file.set_len(u64::try_from(MAX_FILE_BYTES).unwrap() + 1).unwrap();
        let error = Document::read(&path).unwrap_err();
        assert!(error.to_string().ends_with("user-data: it is larger than 16 MiB"), "{error}");
        file.set_len(3).unwrap();
        assert_eq!(Document::read(&path).unwrap().bytes(), [0; 3]);
        for path in [directory.path(), &directory.path().join("missing"), Path::new("/dev/zero")] {
            assert_eq!(Document::read(path).unwrap_err().status(), Status::File, "{}", path.display());
        }
    }
}

mod substitution {
    use super::*;

    fn keys(placeholders: &BTreeSet<Placeholder>) -> Vec<String> {
        placeholders.iter().map(Placeholder::key).collect()
    }

    /// Every readable run is what a naive replacement makes of it, and every placeholder is found.
    fn check(bytes: Vec<u8>, expected: &[&str]) -> Vec<u8> {
        let before = parse(bytes);
        assert_eq!(keys(&before.placeholders()), expected);
        let substituted = before.substitute(&values()).unwrap();
        assert_eq!(keys(&substituted.replaced), expected);
        assert!(substituted.left.is_empty());
        let after = parse(substituted.bytes.clone());
        let wanted: Vec<_> = readable(&before).iter().map(|run| naive(run, &values())).collect();
        assert_eq!(readable(&after), wanted);
        assert!(after.placeholders().is_empty());
        assert_eq!(after.substitute(&values()).unwrap().bytes, after.bytes());
        substituted.bytes
    }

    #[test]
    fn reaches_every_part_of_every_kind_of_context() {
        check(fixture!("amiconfig-master"), &[]);
        check(fixture!("amiconfig-slave"), &["master_ip"]);
        check(fixture!("cloud-config-commented.yaml"), &["k3s_token", "master_ip"]);
        check(fixture!("make-mime"), &["k3s_token", "master_ip"]);
        check(gzip(&fixture!("make-mime")), &["k3s_token", "master_ip"]);
        check(gzip(&fixture!("amiconfig-slave")), &["master_ip"]);
    }

    #[test]
    fn changes_only_the_lines_that_it_must() {
        let before = String::from_utf8(fixture!("every-encoding")).unwrap();
        let after = String::from_utf8(check(before.clone().into(), &["k3s_token", "master_ip"])).unwrap();
        let gone: Vec<_> = before.lines().filter(|line| !after.lines().any(|l| l == *line)).collect();
        let new: Vec<_> = after.lines().filter(|line| !before.lines().any(|l| l == *line)).collect();
        assert_eq!(
            new[..4],
            [
                "    content: \"10.77.0.2\\n\"",
                "  - [ join, \"--server=10.77.0.2:6443\", \"--token=K10=:a/b\" ]",
                "echo \"10.77.0.2 master\" >> /etc/hosts",
                "biBjaG9vc2UgYmFzZTY0IG9yIHF1b3RlZC1wcmludGFibGUuCmVjaG8gIjEwLjc3LjAuMiBtYXN0",
            ]
        );
        // Besides these, the two lines of base64 from the placeholder on, and the three of the packed script.
        let text = |line: &&&str| line.contains(['#', ' ']);
        assert_eq!((gone.iter().filter(text).count(), gone.len()), (4, 4 + 2 + 3), "{gone:?}");
    }

    #[test]
    fn keeps_windows_line_ends() {
        let text = String::from_utf8(fixture!("every-encoding")).unwrap().replace('\n', "\r\n");
        let after = String::from_utf8(check(text.into(), &["k3s_token", "master_ip"])).unwrap();
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    }

    #[test]
    fn names_what_it_has_no_value_for() {
        let document = parse(format!("{IP} ###DB_PLACEHOLDER### {TOKEN}").into());
        let substituted = document.substitute(&values()).unwrap();
        assert_eq!(substituted.bytes, b"10.77.0.2 ###DB_PLACEHOLDER### K10=:a/b");
        assert_eq!(keys(&substituted.left), ["db"]);
    }

    #[test]
    fn takes_a_placeholder_in_a_value_for_text() {
        let values: BTreeMap<_, _> =
            [("a".to_owned(), "###B_PLACEHOLDER###".to_owned()), ("b".to_owned(), "b".to_owned())].into();
        let document = parse(b"###A_PLACEHOLDER### ###B_PLACEHOLDER###".to_vec());
        assert_eq!(document.substitute(&values).unwrap().bytes, b"###B_PLACEHOLDER### b");
    }

    #[test]
    fn takes_sed_syntax_in_a_value_for_text() {
        let values: BTreeMap<_, _> = [("master_ip".to_owned(), r"&/\1$&".to_owned())].into();
        assert_eq!(parse(IP.into()).substitute(&values).unwrap().bytes, br"&/\1$&");
    }

    #[test]
    fn refuses_a_value_that_is_a_boundary() {
        for boundary in ["--b", "--b--"] {
            let values: BTreeMap<_, _> = [("master_ip".to_owned(), boundary.to_owned())].into();
            let text = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n{IP}\ny\n--b--\n");
            for bytes in [gzip(text.as_bytes()), text.into_bytes()] {
                let error = parse(bytes).substitute(&values).unwrap_err();
                assert!(error.to_string().contains("boundary"), "{error}");
            }
        }
    }

    #[test]
    fn refuses_a_value_that_ends_headers() {
        let values: BTreeMap<_, _> = [("master_ip".to_owned(), "A a".to_owned())].into();
        let text = |part: &str| format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{part}\n--b--\n");
        let error = parse(text(&format!("{IP}X: y\nA: b\n\nz")).into()).substitute(&values).unwrap_err();
        assert!(error.to_string().contains("headers"), "{error}");
        // One that was a multipart without parts before, and a part after.
        let empty = text(&format!("{IP}Content-Type: multipart/mixed; boundary=c\n"));
        assert!(parse(empty.into()).substitute(&values).is_err());
        assert!(parse(text(&format!("X: {IP}\n\nz")).into()).substitute(&values).is_ok());
    }

    #[test]
    fn takes_a_part_that_is_not_what_it_claims_as_it_stands() {
        let text = format!("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n#!/bin/sh {IP}\n");
        assert!(check(text.into(), &["master_ip"]).ends_with(b"\n\n#!/bin/sh 10.77.0.2\n"));
    }
}

/// Lines that make structure, text that fills it, and placeholders.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"--b\n".to_vec()),
        Just(b"--bc\r\n".to_vec()),
        Just(b"--b--\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"Content-Type: multipart/mixed; boundary=\"bc\"\n".to_vec()),
        Just(b"Content-Transfer-Encoding: base64\n\n".to_vec()),
        Just(b"Content-Transfer-Encoding: quoted-printable\n\n".to_vec()),
        Just(IP.into()),
        Just(TOKEN.into()),
        Just(b"#".to_vec()),
        Just(b"=".to_vec()),
        Just(b"###MASTER_IP_=\nPLACEHOLDER###".to_vec()),
        Just(b"[ucernvm-begin]\n".to_vec()),
        Just(b"[ucernvm-end]\n".to_vec()),
        Just(b"cvm_cluster_pin=a\n".to_vec()),
        Just(b"IyMjTUFTVEVSX0lQX1BMQUNFSE9MREVSIyMj\n".to_vec()),
        Just(gzip(IP.as_bytes())),
        prop::collection::vec(any::<u8>(), 0..5),
        "[ -~]{0,8}\n?".prop_map(String::into_bytes),
    ]
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(piece(), 0..30).prop_map(|pieces| pieces.concat());
    (prop::bool::weighted(0.8), pieces, prop::bool::weighted(0.2)).prop_map(|(is_mime, rest, packed)| {
        let top = if is_mime {
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        } else {
            ""
        };
        let text = [top.as_bytes(), &rest].concat();
        if packed { gzip(&text) } else { text }
    })
}

proptest! {
    #[test]
    fn replacing_then_decoding_is_decoding_then_replacing(
        bytes in document(), ip in "[0-9A-Za-z=~-][0-9a-f=. -]{0,9}[0-9A-Fa-z=]",
    ) {
        let before = parse(bytes);
        // Text that claims to be base64 may be just that once a value is in it.
        prop_assume!(before.opaque_parts().is_empty());
        let values: BTreeMap<_, _> = [("master_ip".to_owned(), ip)].into();
        // A value that is a boundary is refused.
        if let Ok(substituted) = before.substitute(&values) {
            let after = parse(substituted.bytes);
            let wanted: Vec<_> = readable(&before).iter().map(|run| naive(run, &values)).collect();
            prop_assert_eq!(readable(&after), wanted);
        }
    }

    #[test]
    fn nothing_changes_where_there_is_no_value(bytes in document()) {
        let before = parse(bytes);
        let substituted = before.substitute(&BTreeMap::new()).unwrap();
        prop_assert_eq!(&substituted.bytes, before.bytes());
        prop_assert_eq!(substituted.left, before.placeholders());
    }

    #[test]
    fn bytes_outside_placeholders_of_a_plain_text_stay(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6),
    ) {
        let text = parts.join(IP.as_bytes());
        prop_assume!(Codec::of(&text).is_none() && !parts.iter().any(|p| p.ends_with(b"#")));
        let substituted = parse(text).substitute(&values()).unwrap();
        prop_assert_eq!(substituted.bytes, parts.join(&b"10.77.0.2"[..]));
    }

    #[test]
    fn any_bytes_are_a_document_or_an_error(
        bytes in document(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(document) = Document::parse("f", bytes) {
            let _ = document.section();
            let _ = document.substitute(&values());
        }
    }
}

mod one_finder {
    //! The section is found in every shape, also in those that cloud-init drops: what is wrong with them can then be said.

    use super::*;
    use ::base64::Engine as _;
    use ::base64::prelude::BASE64_STANDARD;

    const SECTION: &str = "[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]\n";
    const MIME: &str = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n";

    fn commented() -> String {
        SECTION.lines().map(|line| format!("#{line}\n")).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        use std::io::Read as _;
        let mut out = Vec::new();
        flate2::bufread::GzEncoder::new(bytes, flate2::Compression::default()).read_to_end(&mut out).unwrap();
        out
    }

    #[track_caller]
    fn found(bytes: impl Into<Vec<u8>>, place: &str) {
        let section = Document::parse("f", bytes.into()).unwrap().section().unwrap().expect("a section");
        assert_eq!((section.place().as_str(), section.entries().len()), (place, 1));
    }

    #[test]
    fn in_plain_texts_and_parts() {
        found(SECTION, "f line 1");
        found(format!("#!/bin/sh\n{}", commented()), "f line 2");
        found(format!("{MIME}{SECTION}--b\n\n#!/bin/sh\n--b--\n"), "f line 4");
        found(format!("{MIME}--b\n\n#!/bin/sh\n--b--\n{SECTION}"), "f line 8");
        found(format!("{MIME}--b\n\n{SECTION}--b--\n"), "f line 6");
        found(format!("{MIME}--b\nContent-Type: message/rfc822\n\nA: b\n\n{SECTION}--b--\n"), "f line 9");
        found(format!("#include\n{}http://pair.example.org/x\n", commented()), "f line 2");
        found(format!("## template: jinja\n#cloud-config\n{}", commented()), "f line 3");
    }

    #[test]
    fn in_archives() {
        let block: String = SECTION.lines().map(|line| format!("    {line}\n")).collect();
        found(format!("#cloud-config-archive\n{}- '#!/bin/sh'\n", commented()), "f line 2");
        found(format!("#cloud-config-archive\n- content: |\n{block}"), "f line 3");
        let escaped = SECTION.replace('\n', "\\n");
        found(format!("#cloud-config-archive\n- \"#!/bin/sh\\n{escaped}\"\n"), "f line 3");
    }

    #[test]
    fn in_what_is_encoded() {
        found(packed(SECTION.as_bytes()), "f (unpacked) line 1");
        found([b"\n".to_vec(), packed(SECTION.as_bytes())].concat(), "f (decoded) (unpacked) line 1");
        found([packed(SECTION.as_bytes()), b"\n".to_vec()].concat(), "f (unpacked) line 1");
        found(BASE64_STANDARD.encode(SECTION), "f (decoded) line 1");
        found(BASE64_STANDARD.encode(packed(SECTION.as_bytes())), "f (decoded) (unpacked) line 1");
        let mime = format!(
            "{MIME}--b\nContent-Transfer-Encoding: base64\n\n{}\n--b--\n",
            BASE64_STANDARD.encode(SECTION)
        );
        found(mime, "f part 1 line 1");
        let utf16: Vec<u8> = format!("\u{feff}{SECTION}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        found(utf16, "f (decoded) line 1");
        found(format!("\u{feff}{SECTION}"), "f line 1");
        found([SECTION.as_bytes(), b"# caf\xe9\n"].concat(), "f line 1");
    }
}
