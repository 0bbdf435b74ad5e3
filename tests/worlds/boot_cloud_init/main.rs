//! `check` beside the real cloud-init of three releases: what cloud-init drops or does not see is an error to `check`,
//! what it takes passes, and what it reads in a part is the text that `check` looks at.
//!
//! A context is made of parts of known kinds, in shapes that people and tools write, each with a mistake or none. The
//! seed is fixed. Others, as root:
//!
//!     SEED=7 CONTEXTS=5000 cargo test -p cernvm-cluster-tests --test boot_cloud_init -- --ignored --nocapture

mod boot;
mod schema;
mod shapes;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use context::check::{self, Severity};
use context::document::{Document, PartKind};
use serde_json::Value;
use worlds::boot::debian::{Debian, Release};

/// Runs cloud-init's own `UserDataProcessor`; says what it reads and writes.
const DRIVER: &str = include_str!("parts.py");

/// How many contexts, and from which seed, when the environment names none.
const CONTEXTS: usize = 600;
const SEED: u64 = 9;

#[test]
#[ignore = "needs root: makes Debian roots"]
fn check_says_what_cloud_init_drops_and_passes_what_it_takes() {
    let number = |name: &str| std::env::var(name).ok().map(|said| said.parse().expect("a number"));
    let contexts = shapes::make(
        number("SEED").unwrap_or(SEED),
        number("CONTEXTS").and_then(|n| usize::try_from(n).ok()).unwrap_or(CONTEXTS),
    );
    let directory = tempfile::tempdir().unwrap();
    let says: Vec<bool> =
        contexts.iter().map(|context| has_error(&directory.path().join("f"), &context.bytes)).collect();
    let read: Vec<_> = contexts.iter().map(|context| read(&context.bytes)).collect();
    let mut differing = Vec::new();
    for release in [Release::Bookworm, Release::Trixie, Release::Sid] {
        let taken = taken(&Debian::root_of(release).root(), &contexts);
        assert_eq!(taken.len(), contexts.len(), "{release:?}");
        let mut table = BTreeMap::<(bool, bool), usize>::new();
        let mut other_texts = 0;
        for (((context, taken), says), read) in contexts.iter().zip(&taken).zip(&says).zip(&read) {
            let kinds = taken.as_ref().map(|parts| parts.iter().map(|(kind, _)| kind.clone()).collect());
            let is_whole = kinds.as_ref() == Some(&context.kinds);
            *table.entry((is_whole, *says)).or_default() += 1;
            let has_its_texts = is_among(taken.as_deref().unwrap_or_default(), read);
            other_texts += usize::from(!has_its_texts);
            if is_whole == *says || !has_its_texts {
                differing.push(format!(
                    "{release:?}: {}: meant {:?}, cloud-init takes {taken:?}, check reads {read:?} and says an error: {says}\n{}",
                    context.shape,
                    context.kinds,
                    String::from_utf8_lossy(&context.bytes)
                ));
            }
        }
        let of = |is_whole, says| table.get(&(is_whole, says)).copied().unwrap_or(0);
        println!(
            "{release:?}: taken and passed {}, dropped and said {}, taken but said {}, dropped but passed {}, other texts {}",
            of(true, false),
            of(false, true),
            of(true, true),
            of(false, false),
            other_texts
        );
        assert!(of(true, false) > 0 && of(false, true) > 0, "{release:?}: both happen");
    }
    assert!(
        differing.is_empty(),
        "{} differ; the first: {}",
        differing.len(),
        differing[..differing.len().min(5)].join("\n----\n")
    );
}

fn has_error(path: &Path, bytes: &[u8]) -> bool {
    fs::write(path, bytes).expect("a file can be written");
    check::check(&[path])
        .expect("the file can be read")
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}

/// The kind of a part and its text.
type Part = (String, String);

/// The parts that `check` looks at.
fn read(bytes: &[u8]) -> Vec<Part> {
    // What cannot be read is an error to `check`.
    let Ok(document) = Document::parse("f", bytes.to_vec()) else { return Vec::new() };
    let kind = |kind| match kind {
        PartKind::Early(_) => "Early".to_owned(),
        other => format!("{other:?}"),
    };
    document.reading().parts.into_iter().map(|part| (kind(part.kind), part.text.into_owned())).collect()
}

/// Whether these parts are among the others, in their order.
fn is_among(parts: &[Part], others: &[Part]) -> bool {
    let mut others = others.iter();
    parts.iter().all(|part| others.any(|other| other == part))
}

/// The parts that this root's cloud-init takes of each context; `None` where it gives up.
fn taken(root: &Path, contexts: &[shapes::Context]) -> Vec<Option<Vec<Part>>> {
    let kinds = |parts: &Value| serde_json::from_value(parts.clone()).expect("kinds and texts, or null");
    cloud_init(root, DRIVER, contexts.iter().map(|context| context.bytes.as_slice()))
        .iter()
        .map(kinds)
        .collect()
}

/// What this root's cloud-init makes of each context, by a driver that answers each line of base64 with a line of JSON.
fn cloud_init<'a>(root: &Path, driver: &str, contexts: impl Iterator<Item = &'a [u8]>) -> Vec<Value> {
    let lines: String = contexts.map(|bytes| STANDARD.encode(bytes) + "\n").collect();
    let mut python = Command::new("chroot")
        .arg(root)
        .args(["python3", "-c", driver])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("chroot starts");
    let mut input = python.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("python3 runs");
    writer.join().expect("the writer does not panic").expect("the driver reads its input");
    assert!(output.status.success(), "{}", output.status);
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("the driver writes JSON")).collect()
}
