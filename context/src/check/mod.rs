//! `check`: what is wrong with a context, before a VM boots with it. It reads files and nothing else.
//!
//! An error is what will not work; a warning is what may not be meant; a note is good to know. Where it names what cloud-init does, it goes by
//! releases 22.4 to 26.2.

mod cloud_config;
mod pair;
mod part;
mod read_later;
mod section;
mod taken;

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::document::{Document, Part, PartKind, Reading, Run, Section};
use crate::placeholder::{self, Placeholder};
use crate::settings::{FoundSection, Role, Setting, Settings};
use protocol::error::{Error, Status};

/// Maximum number of findings for one file.
const MAX_FINDINGS: usize = 100;
/// What Amazon EC2 takes for user-data, in bytes (EC2 user guide, "Run commands when you launch an instance").
const EC2_BYTES: usize = 16 * 1024;
/// The permission of others to read a file.
const OTHERS_READ: u32 = 0o004;
/// What OpenStack takes: 65535 characters of base64 (nova's `MAX_USERDATA_SIZE`).
const OPENSTACK_BYTES: usize = 65_535 / 4 * 3;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It is as it should be, and good to know.
    Note,
    /// It may not be meant.
    Warning,
    /// It will not work.
    Error,
}

impl Severity {
    /// Its name, as findings are printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something to say of a context. Shows no pin and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// File, part and line, as far as they can be named.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

impl Finding {
    /// The line of a file, counted from 1. `None` when the finding is about another file, about all of the file, or about
    /// a part that is encoded.
    #[must_use]
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.place.strip_prefix(name)?.strip_prefix(" line ")?.parse().ok()
    }
}

/// As it is printed: `FILE line 7: warning: …`, and what to do on a line of its own.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}\n  next: {}", self.place, self.severity.name(), self.what, self.next)
    }
}

pub use taken::{TakenUserData, check_taken};

/// Looks at each file by itself, and then at what those of one cluster do not have in common.
///
/// # Errors
/// `File` for the first that cannot be read.
pub fn check(files: &[impl AsRef<Path>]) -> Result<Vec<Finding>, Error> {
    let mut report = Report::default();
    let mut documents = Vec::new();
    for file in files {
        match Document::read(file.as_ref()) {
            Ok(document) => {
                report.findings.extend(check_document(&document));
                check_readers(&document, file.as_ref(), &mut report);
                documents.push(document);
            }
            Err(error) if error.status() == Status::File => return Err(error),
            Err(error) => report.problem(&error),
        }
    }
    pair::check(&documents, &mut report);
    Ok(report.findings)
}

/// Looks at each of the contexts of one cluster by itself, and then at what they do not have in common.
#[must_use]
pub fn check_documents(documents: &[Document]) -> Vec<Finding> {
    let findings = documents.iter().flat_map(check_document).collect();
    let mut report = Report { findings };
    pair::check(documents, &mut report);
    report.findings
}

/// What is wrong with a context by itself.
#[must_use]
pub fn check_document(document: &Document) -> Vec<Finding> {
    let mut report = Report::default();
    let sections = document.sections();
    let settings = settings(&sections);
    let reading = document.reading();
    check_whole(document, &reading, &mut report);
    check_parts(document, &reading, settings.as_ref(), &mut report);
    check_sections(document, &sections, settings.as_ref(), &reading, &mut report);
    report.findings
}

/// The findings of one file.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn error(&mut self, place: String, what: impl Into<String>, next: impl Into<String>) {
        self.add(Finding { severity: Severity::Error, place, what: what.into(), next: next.into() });
    }

    fn note(&mut self, place: String, what: impl Into<String>, next: impl Into<String>) {
        self.add(Finding { severity: Severity::Note, place, what: what.into(), next: next.into() });
    }

    fn warning(&mut self, place: String, what: impl Into<String>, next: impl Into<String>) {
        self.add(Finding { severity: Severity::Warning, place, what: what.into(), next: next.into() });
    }

    /// What would stop the agent.
    fn problem(&mut self, error: &Error) {
        let place = error.place().unwrap_or("context").to_owned();
        self.error(place, error.problem(), error.next_step());
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

/// The settings of the section that counts, where they can be read.
fn settings(sections: &[Section]) -> Option<Settings> {
    match Settings::from_sections(sections.get(..1)?) {
        Ok(FoundSection::Cluster(settings)) => Some(settings),
        _ => None,
    }
}

fn check_parts(document: &Document, reading: &Reading<'_>, settings: Option<&Settings>, report: &mut Report) {
    let before = report.findings.len();
    for problem in &reading.problems {
        report.error(problem.place.clone(), problem.what.clone(), problem.next.clone());
    }
    for run in &document.runs() {
        check_near_misses(run, report);
    }
    let is_early = settings.is_some_and(|settings| settings.early);
    let sections = document.sections();
    for part in &reading.parts {
        let without = settings.and_then(|settings| without_literals(part, settings));
        part::check_part(without.as_ref().unwrap_or(part), &sections, is_early, report);
    }
    // What else is wrong says more.
    if let Some(settings) = settings.filter(|settings| settings.role == Role::Slave)
        && !is_early
        && report.findings.len() == before
    {
        read_later::check(document, reading, settings, report);
    }
}

/// The part without the placeholders that are to stay: small letters make them no placeholders, and no line longer.
fn without_literals<'p>(part: &'p Part<'_>, settings: &Settings) -> Option<Part<'p>> {
    let stays = |name: &Placeholder| settings.literal.contains(&name.key());
    let names: Vec<_> = placeholder::find(part.text.as_bytes()).map(|found| found.placeholder).collect();
    let text = names.iter().filter(|name| stays(name)).fold(None, |text: Option<String>, name| {
        let name = name.to_string();
        Some(text.as_deref().unwrap_or(&part.text).replace(&name, &name.to_ascii_lowercase()))
    });
    text.map(|text| part.with_text(text))
}

fn check_whole(document: &Document, reading: &Reading<'_>, report: &mut Report) {
    let (name, bytes) = (document.name().to_owned(), document.bytes());
    if bytes.len() > EC2_BYTES {
        let limit = if bytes.len() > OPENSTACK_BYTES {
            "Amazon EC2 takes 16 KiB at most, OpenStack 48 KiB"
        } else {
            "Amazon EC2 takes 16 KiB at most (OpenStack 48 KiB)"
        };
        report.warning(
            name,
            format!("it has {} bytes, and {limit}", bytes.len()),
            "gzip it, which cloud-init and the CernVM boot loader unpack, or fetch what is large at boot",
        );
    }
    if bytes.starts_with(b"\xef\xbb\xbf") && reading.problems.is_empty() {
        report.warning(
            document.name().to_owned(),
            "it begins with a byte order mark, which not every program takes for one",
            "save it as UTF-8 without one",
        );
    }
    for (part, why) in document.opaque_parts() {
        report.warning(part, format!("it {why}, and is taken as it stands"), "encode it again");
    }
}

/// Which users can read the secret in a context on this disk.
fn check_readers(document: &Document, file: &Path, report: &mut Report) {
    let Some(section) = document.section().ok().flatten() else { return };
    let has_secret = section.entries().iter().any(|entry| entry.key == Setting::Secret.name());
    let mode = file.metadata().map_or(0, |metadata| metadata.permissions().mode());
    if has_secret && mode & OTHERS_READ != 0 {
        report.warning(
            document.name().to_owned(),
            "every user of this machine can read it, and with it the cluster's secret",
            "chmod 600, and make a new pin and secret if the machine has other users",
        );
    }
}

fn check_near_misses(run: &Run<'_>, report: &mut Report) {
    for (number, line) in run.bytes.split(|b| *b == b'\n').enumerate() {
        for miss in placeholder::near_misses(line) {
            let next = match &miss.meant {
                Some(meant) => format!("write {meant}, if that is what you meant"),
                None => "a placeholder is ###NAME_PLACEHOLDER### with NAME in capitals".to_owned(),
            };
            let shown: String = miss.text.chars().take(60).collect();
            report.warning(run.place(number), format!("{shown} is no placeholder"), next);
        }
    }
}

fn check_sections(
    document: &Document,
    sections: &[Section],
    settings: Option<&Settings>,
    reading: &Reading<'_>,
    report: &mut Report,
) {
    let placeholders: Vec<Placeholder> = document.placeholders().into_iter().collect();
    let Some(first) = sections.first() else {
        if let Some(error) = document.marker_near_miss() {
            report.problem(&error);
        } else if !report.findings.iter().any(|finding| finding.severity == Severity::Error) {
            report.warning(
                document.name().to_owned(),
                "it has no ucernvm section, so that the agent has nothing to do",
                "add the lines [ucernvm-begin], cvm_cluster_pin=…, [ucernvm-end]",
            );
        }
        return;
    };
    for other in sections[1..].iter().take(MAX_FINDINGS) {
        report.warning(
            other.place(),
            format!("this is another section; only that of {} counts", first.place()),
            "put all settings in one",
        );
    }
    section::check(first, &placeholders, report);
    // A file with a section alone is a part that something includes.
    let has = |kind| reading.parts.iter().any(|part| part.kind == kind);
    let does_something = !has(PartKind::Include) && (has(PartKind::CloudConfig) || has(PartKind::Script))
        || read_later::is_for_amiconfig(&String::from_utf8_lossy(document.bytes()));
    let Some(settings) = settings else { return };
    if settings.role == Role::Slave && placeholders.is_empty() && does_something && report.findings.is_empty()
    {
        report.warning(
            first.place(),
            "this is a slave's context without any placeholder, so that the master's address goes nowhere",
            "put ###MASTER_IP_PLACEHOLDER### where the address belongs, or cvm_cluster_master=yes for a master",
        );
    }
    if settings.secret.is_some() {
        report.note(
            first.place(),
            "this cluster is sealed: over plain http too the service and the network learn no value, and every node \
             needs cernvm-cluster-agent",
            "nothing, where all images have it; other agents put the sealed text into the context",
        );
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
