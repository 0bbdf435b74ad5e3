//! What fuzzers throw at contexts. `docs/fuzzing.md` says how.
//!
//! An input is a context, which may have lines before it that say how to pack it: what a fuzzer changes inside gzip
//! would otherwise end at the checksum, and inside base64 at the first character that is none. In front of all stand
//! the values to put in, if they are to be others than `10.77.0.2` and the like.

mod decoders;
mod layers;
mod substitution;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::bufread::GzEncoder;

pub use layers::layers;
pub use substitution::substitution;

/// Before the value of a key: `%value k3s_token=K10`.
const VALUE: &[u8] = b"%value ";
/// What packs the rest of the input.
const GZIP: &[u8] = b"%gzip\n";
/// What makes the rest of the input the one part of a MIME document, in base64.
const PART: &[u8] = b"%part\n";

/// The values and the context of an input.
fn unfold(input: &[u8]) -> (BTreeMap<String, String>, Vec<u8>) {
    let mut values = BTreeMap::new();
    let mut rest = input;
    while let Some((line, after)) = rest.strip_prefix(VALUE).and_then(|rest| divide(rest, b'\n')) {
        rest = after;
        let Some((key, value)) = divide(line, b'=') else { continue };
        values.insert(String::from_utf8_lossy(key).into(), String::from_utf8_lossy(value).into());
    }
    if values.is_empty() {
        let usual = [("master_ip", "10.77.0.2"), ("k3s_token", "K10=:a/b"), ("a", "")];
        values = usual.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    }
    (values, pack(rest).into_owned())
}

fn divide(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn pack(input: &[u8]) -> Cow<'_, [u8]> {
    if let Some(rest) = input.strip_prefix(GZIP) {
        let mut packed = Vec::new();
        let rest = pack(rest);
        let read = GzEncoder::new(&*rest, Compression::fast()).read_to_end(&mut packed);
        read.expect("reading from memory cannot fail");
        packed.into()
    } else if let Some(rest) = input.strip_prefix(PART) {
        let body = BASE64_STANDARD.encode(pack(rest));
        format!("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n{body}\n").into_bytes().into()
    } else {
        input.into()
    }
}

/// The contexts that are in the tree: as they are, packed, and with Windows' line ends.
///
/// # Panics
/// Where there is no tree.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seeds = Vec::new();
    for directory in ["tests/fixtures", "tests/fixtures/contexts", "cloud-init/examples"] {
        let directory = root.join(directory);
        let files = directory.read_dir().unwrap_or_else(|err| panic!("{}: {err}", directory.display()));
        let mut paths: Vec<_> = files.filter_map(|file| file.ok().map(|file| file.path())).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            let text = std::fs::read(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
            for before in [&b""[..], GZIP, PART, b"%value master_ip=a-b.example\n%value k3s_token=##A\n"] {
                seeds.push([before, &text].concat());
            }
            let windows = String::from_utf8_lossy(&text).replace('\n', "\r\n");
            seeds.push(windows.into_bytes());
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn hold_for_every_seed() {
        let seeds = seeds();
        for seed in &seeds {
            layers(seed);
            substitution(seed);
        }
        let sections =
            seeds.iter().filter_map(|seed| Document::parse("f", unfold(seed).1).ok()?.section().ok()?);
        assert!(sections.count() > 20);
    }

    #[test]
    fn unfolds_values_and_layers() {
        let (values, context) = unfold(b"%value a=1=2\n%value b\n%gzip\n%part\ntext");
        assert_eq!(values, [("a".to_owned(), "1=2".to_owned())].into());
        let document = Document::parse("f", context).unwrap();
        let runs = document.text.runs();
        assert!(runs.iter().any(|run| run.bytes == b"text" && run.name == "f (unpacked) part 1"));
    }
}
