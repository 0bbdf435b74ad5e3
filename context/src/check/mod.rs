//! `check`: what is wrong with a context, before anyone boots it. It reads files and nothing else.
//!
//! An error is what will not work; a warning is what may not be meant. Where it names what cloud-init does, it goes by
//! releases 22.4 to 26.2.

mod cloud_config;
mod kind;
mod section;
mod yaml;

use std::fmt;
use std::path::Path;

use crate::document::{Document, Run, Section};
use crate::placeholder::{self, Placeholder};
use kind::{Kind, kind};
use protocol::error::{Error, Status};

/// Most that is said of one file: what is wrong a hundred times is wrong in one way.
const MAX_FINDINGS: usize = 100;
/// What Amazon EC2 takes for user-data, in bytes (EC2 user guide, "Run commands when you launch an instance").
const EC2_BYTES: usize = 16 * 1024;
/// What OpenStack takes: 65535 characters of base64 (nova's `MAX_USERDATA_SIZE`).
const OPENSTACK_BYTES: usize = 65_535 / 4 * 3;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It may not be meant.
    Warning,
    /// It will not work.
    Error,
}

/// Something that is wrong with a context. Shows no pin.
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

/// As it is printed: `FILE line 7: warning: …`, and what to do on a line of its own.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity}: {}\n  next: {}", self.place, self.what, self.next)
    }
}

/// Looks at each file by itself.
///
/// # Errors
/// `File` for the first that cannot be read.
pub fn check(files: &[impl AsRef<Path>]) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for file in files {
        let mut report = Report::default();
        match Document::read(file.as_ref()) {
            Ok(document) => check_document(&document, &mut report),
            Err(error) if error.status() == Status::File => return Err(error),
            Err(error) => report.problem(&error),
        }
        findings.append(&mut report.findings);
    }
    Ok(findings)
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

fn check_document(document: &Document, report: &mut Report) {
    check_whole(document, report);
    let runs = document.runs();
    let mut sections = Vec::new();
    for run in &runs {
        let mut of_run: Vec<_> = run.sections().take(MAX_FINDINGS).collect();
        check_run(run, &of_run, report);
        sections.append(&mut of_run);
    }
    check_sections(document, &sections, report);
}

fn check_whole(document: &Document, report: &mut Report) {
    let (name, bytes) = (document.name().to_owned(), document.bytes());
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        report.error(name, "this is UTF-16, which nothing on the guest reads", "save it as UTF-8");
        return;
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        report.warning(
            name.clone(),
            "it begins with a byte order mark, so that cloud-init does not see what it is",
            "save it as UTF-8 without one",
        );
    }
    if bytes.len() > EC2_BYTES {
        let limit = if bytes.len() > OPENSTACK_BYTES {
            "Amazon EC2 takes 16 KiB at most, OpenStack 48 KiB"
        } else {
            "Amazon EC2 takes 16 KiB at most (OpenStack 48 KiB)"
        };
        report.warning(
            name.clone(),
            format!("it has {} bytes, and {limit}", bytes.len()),
            "gzip it, which cloud-init and the CernVM boot loader unpack, or fetch what is large at boot",
        );
    }
    if document.is_unversioned_multipart() {
        report.warning(
            name,
            "it has MIME parts, but no MIME-Version: without that cloud-init does not look for parts",
            "add a line `MIME-Version: 1.0` to the first headers",
        );
    }
    for (part, why) in document.opaque_parts() {
        report.warning(part, format!("it {why}, and is taken as it stands"), "encode it again");
    }
}

fn check_run(run: &Run<'_>, sections: &[Section], report: &mut Report) {
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
    match kind(run) {
        Kind::CloudConfig => cloud_config::check(run, sections, report),
        Kind::Early(name) => {
            for (number, line) in run.bytes.split(|b| *b == b'\n').enumerate() {
                if let Some(found) = placeholder::find(line).next() {
                    report.warning(
                        run.place(number),
                        format!(
                            "cloud-init runs a {name} in the network stage, before {} can be replaced",
                            found.placeholder
                        ),
                        "use a script, which runs later, or switch on early mode",
                    );
                }
            }
        }
        Kind::Script if run.bytes.split(|b| *b == b'\n').next().is_some_and(|line| line.ends_with(b"\r")) => {
            report.error(
                run.place(0),
                "this script has Windows line ends, so that its interpreter is not found",
                "save it with Unix line ends",
            );
        }
        Kind::Script | Kind::Other => {}
    }
}

fn check_sections(document: &Document, sections: &[Section], report: &mut Report) {
    let placeholders: Vec<Placeholder> = document.placeholders().into_iter().collect();
    let Some(first) = sections.first() else {
        if let Some(error) = document.marker_near_miss() {
            report.problem(&error);
        } else if !report.findings.iter().any(|f| f.severity == Severity::Error) {
            report.warning(
                document.name().to_owned(),
                "it has no ucernvm section, so that the agent has nothing to do",
                "add the lines [ucernvm-begin], cvm_cluster_pin=…, [ucernvm-end]",
            );
        }
        return;
    };
    for other in &sections[1..] {
        report.warning(
            other.place(),
            format!("this is another section; only that of {} counts", first.place()),
            "put all settings in one",
        );
    }
    section::check(first, &placeholders, report);
}

/// Looks at a context that is in memory already.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_parsed(document: &Document) -> Vec<Finding> {
    let mut report = Report::default();
    check_document(document, &mut report);
    report.findings
}

#[cfg(test)]
mod tests;
