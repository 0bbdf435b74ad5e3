//! Contexts in the shapes that people and tools write, with the mistakes that they make.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A context, and which parts its author means cloud-init to take.
pub(crate) struct Context {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kinds: Vec<String>,
    /// How it was made.
    pub(crate) shape: String,
}

const SECTION: &str = "[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\ncvm_service_url=https://pair.example.org\n[ucernvm-end]\n";
const IP: &str = "###MASTER_IP_PLACEHOLDER###";

/// So many contexts from this seed.
pub(crate) fn make(seed: u64, contexts: usize) -> Vec<Context> {
    let mut random = Rng::with_seed(seed);
    (0..contexts).map(|_| context(&mut random)).collect()
}

fn context(random: &mut Rng) -> Context {
    let (bytes, kinds, shape) = match random.u8(0..4) {
        0 => whole(random),
        1 => archive(random),
        _ => multipart(random),
    };
    let (bytes, wrapped) = wrap(random, bytes);
    Context { bytes, kinds, shape: format!("{shape}, {wrapped}") }
}

/// A payload: its kind, MIME type and bytes, and the mistake in it.
fn payload(random: &mut Rng) -> (&'static str, &'static str, Vec<u8>, &'static str) {
    let commented: String = SECTION.lines().map(|line| format!("#{line}\n")).collect();
    let (kind, mime, first, rest) = match random.u8(0..4) {
        0 | 1 => (
            "CloudConfig",
            "text/cloud-config",
            "#cloud-config\n",
            format!("{commented}runcmd:\n- [ join, \"{IP}\" ]\n"),
        ),
        2 => ("Script", "text/x-shellscript", "#!/bin/sh\n", format!("{commented}join {IP}\n")),
        _ => (
            "Jinja",
            "text/jinja2",
            "## template: jinja\n#cloud-config\n",
            format!("{commented}runcmd: [ \"{IP}\" ]\n"),
        ),
    };
    let text = format!("{first}{rest}");
    let is_config = kind == "CloudConfig";
    let (bytes, mistake) = match random.u8(0..20) {
        0 => (format!("\u{feff}{text}").into_bytes(), "byte order mark"),
        1 => ([text.as_bytes(), b"# caf\xe9\n"].concat(), "Latin-1"),
        2 => (format!("# caf\u{e9}\n{text}").into_bytes(), "comment first"),
        3 if is_config => (text.replace("#cloud", "# cloud").into_bytes(), "blank after #"),
        4 if is_config => (format!("---\n{text}").into_bytes(), "document start first"),
        5 if is_config => (format!("{text}a: b: c\n").into_bytes(), "no YAML"),
        6 if is_config => (format!("{text}\tx: y\n").into_bytes(), "tab"),
        7 if is_config => (format!("#cloud-config\n{commented}- a\n").into_bytes(), "list"),
        8 if is_config => (format!("{text}# caf\u{e9}\n").into_bytes(), "UTF-8"),
        9 if is_config => (format!("\n{text}").into_bytes(), "blank line first"),
        10 if is_config => (text.replace("#cloud-config", "#Cloud-Config").into_bytes(), "capitals"),
        11 if is_config => (
            format!("#cloud-config\n{commented}{{\"runcmd\": [[\"join\", \"{IP}\"]]}}\n").into_bytes(),
            "JSON",
        ),
        12 => (text.replace('\n', "\r\n").into_bytes(), "CRLF"),
        13 if is_config => (format!("#cloud-config\n{SECTION}runcmd: [ls]\n").into_bytes(), "bare section"),
        15 => (format!("{text}# \u{20ac} \u{1f600}\n").into_bytes(), "characters above Latin-1"),
        14 if is_config => {
            (format!("#cloud-config\n{commented}a: {IP}\nruncmd: [ \"{IP}\"\n").into_bytes(), "open bracket")
        }
        _ => (text.into_bytes(), "good"),
    };
    (kind, mime, bytes, mistake)
}

fn whole(random: &mut Rng) -> (Vec<u8>, Vec<String>, String) {
    let (kind, _, bytes, mistake) = payload(random);
    (bytes, vec![kind.to_owned()], format!("whole {kind} ({mistake})"))
}

fn archive(random: &mut Rng) -> (Vec<u8>, Vec<String>, String) {
    let (mut text, mut kinds, mut shape) =
        ("#cloud-config-archive\n".to_owned(), Vec::new(), "archive".to_owned());
    for _ in 0..random.usize(1..4) {
        let (kind, mime, bytes, mistake) = payload(random);
        // An archive is text as a whole; what is not is left to the other shapes.
        let Ok(content) = String::from_utf8(bytes) else { continue };
        if content.contains(['\r', '\t', '\u{feff}']) || content.starts_with('\n') {
            continue;
        }
        kinds.push(kind.to_owned());
        shape += &format!(", {kind} ({mistake})");
        let block: String = content.lines().map(|line| format!("    {line}\n")).collect();
        text += &match random.u8(0..3) {
            0 => format!("- |\n{block}"),
            1 => format!("- content: |\n{block}"),
            _ => format!("- type: {mime}\n  content: |\n{block}"),
        };
    }
    if kinds.is_empty() {
        text += "- |\n    #!/bin/sh\n    ls\n";
        kinds.push("Script".to_owned());
    }
    (text.into_bytes(), kinds, shape)
}

fn multipart(random: &mut Rng) -> (Vec<u8>, Vec<String>, String) {
    let boundary = ["b", "===============1==", "MIMEBOUNDARY", "--x"][random.usize(0..4)];
    let quoted = if random.bool() { format!("\"{boundary}\"") } else { boundary.to_owned() };
    let mut shape = String::from("MIME");
    let (mut kinds, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..random.usize(1..4) {
        let (kind, mime, bytes, mistake) = payload(random);
        let given = match random.u8(0..8) {
            0 => Some("text/plain"),
            1 => None,
            2 => Some("application/octet-stream"),
            3 if kind != "Jinja" => Some("text/x-shellscript"),
            _ => Some(mime),
        };
        shape += &format!(", {kind} as {given:?} ({mistake})");
        kinds.push(kind.to_owned());
        let mut part = given.map_or(String::new(), |given| format!("Content-Type: {given}\n")).into_bytes();
        match random.u8(0..12) {
            0..4 => {
                part.extend(b"Content-Transfer-Encoding: base64\n\n");
                part.extend(STANDARD.encode(bytes).as_bytes().chunks(76).collect::<Vec<_>>().join(&b'\n'));
            }
            4 => {
                shape += " in quoted-printable";
                part.extend(b"Content-Transfer-Encoding: quoted-printable\n\n");
                part.extend(quoted_printable(&bytes));
            }
            5 => {
                shape += " in gzip";
                part = b"Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n".to_vec();
                part.extend(STANDARD.encode(packed(&bytes)).as_bytes());
            }
            _ => {
                part.push(b'\n');
                part.extend(bytes);
            }
        }
        let (part, message) = in_message(random, &part);
        shape += message;
        parts.push(part);
    }
    let mut headers = format!("Content-Type: multipart/mixed; boundary={quoted}\nMIME-Version: 1.0\n");
    let mut dashes = "--";
    let mut end = format!("--{boundary}--\n");
    let mistake = match random.u8(0..24) {
        0 => {
            headers.insert(0, '\n');
            "blank line first"
        }
        1 => {
            headers = headers.replace("MIME-Version: 1.0\n", "");
            "no version"
        }
        2 => {
            headers = headers.replace(&format!("; boundary={quoted}"), "");
            "no boundary"
        }
        3 => {
            dashes = "";
            end.clear();
            "no dashes"
        }
        4 => {
            end.clear();
            "no end"
        }
        5 => {
            headers = headers.replace("\nMIME", "\n\nMIME");
            "blank line between headers"
        }
        6 => {
            headers = headers.replace("Type:", "Type :");
            "blank before colon"
        }
        7 => {
            headers.insert_str(0, "From nobody Thu Nov 26 00:00:00 2026\n");
            "envelope line"
        }
        8 => {
            headers.clear();
            "no headers"
        }
        9 => {
            headers.insert_str(0, "# context\n");
            "comment first"
        }
        10 => {
            headers = headers
                .to_uppercase()
                .replace("MULTIPART/MIXED", "multipart/mixed")
                .replace(&quoted.to_uppercase(), &quoted);
            "capitals"
        }
        11 => {
            headers += "\npreamble\n";
            "preamble"
        }
        _ => "well made",
    };
    let mut bytes = headers.into_bytes();
    bytes.push(b'\n');
    for part in parts {
        bytes.extend(format!("{dashes}{boundary}\n").as_bytes());
        bytes.extend(part);
        bytes.push(b'\n');
    }
    bytes.extend(end.as_bytes());
    (bytes, kinds, format!("{shape}, {mistake}"))
}

/// A part as it is, or as the message of another part.
fn in_message(random: &mut Rng, part: &[u8]) -> (Vec<u8>, &'static str) {
    let (before, after, shape) = match random.u8(0..24) {
        0 => ("Content-Type: message/rfc822\n\n", "", " in a message"),
        1 => (
            "Content-Type: message/rfc822\n\nFrom: a@example.org\nSubject: context\n",
            "",
            " in a message with headers",
        ),
        2 => (
            "Content-Type: message/rfc822\n\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=inner\n\n--inner\n",
            "\n--inner--\n",
            " in a multipart in a message",
        ),
        3 => ("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n", "", " in two messages"),
        _ => ("", "", ""),
    };
    ([before.as_bytes(), part, after.as_bytes()].concat(), shape)
}

/// As Python's `quopri` encodes it, with lines of at most 76 characters.
fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = String::new();
    let mut column = 0;
    for byte in bytes {
        let token = match byte {
            b'\n' => {
                column = 0;
                encoded.push('\n');
                continue;
            }
            b' '..=b'~' if *byte != b'=' => char::from(*byte).to_string(),
            _ => format!("={byte:02X}"),
        };
        if column + token.len() > 75 {
            encoded += "=\n";
            column = 0;
        }
        column += token.len();
        encoded += &token;
    }
    encoded.into_bytes()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

/// What happens to a file as a whole.
fn wrap(random: &mut Rng, bytes: Vec<u8>) -> (Vec<u8>, &'static str) {
    let packed = || packed(&bytes);
    match random.u8(0..24) {
        0 => (packed(), "gzip"),
        1 => ([packed(), b"\n".to_vec()].concat(), "gzip and a line end"),
        2 => ([packed(), vec![0; 7]].concat(), "gzip and zeros"),
        3 => ([b"\n".to_vec(), packed()].concat(), "gzip after a blank line"),
        4 => (STANDARD.encode(&bytes).into_bytes(), "base64"),
        5 => (STANDARD.encode(packed()).into_bytes(), "base64 of gzip"),
        6 => ([b"\xef\xbb\xbf", bytes.as_slice()].concat(), "byte order mark"),
        7 => {
            let text = String::from_utf8_lossy(&bytes);
            (
                std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
                "UTF-16",
            )
        }
        _ => (bytes, "plain"),
    }
}
