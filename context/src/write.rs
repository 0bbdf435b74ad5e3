//! Writing the ucernvm section into a context: a user's own, a template, or an empty one.
//!
//! The rest of the context stays as it is. A section that is there keeps its place, its form and its other settings; a
//! second one is taken out, since only the first counts. Without one the section goes where the format allows it.

use std::fmt::Write as _;

use protocol::error::Error;
use protocol::url::ServiceUrl;
use protocol::{Pin, Secret};

use crate::document::Document;
use crate::settings::{FoundSection, Role, Setting, Settings};

/// What a slave's context is made from where the user has none: the address goes where the placeholder is, which is for the
/// user to move.
pub const SLAVE_STARTER: &str = "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n";
/// What a master's context is made from where the user has none.
pub const MASTER_STARTER: &str = "";

const BEGIN: &str = "[ucernvm-begin]";
const END: &str = "[ucernvm-end]";
/// What a role, a pin, a secret and a service decide, so that no earlier value may stay.
const WRITTEN: [Setting; 6] = [
    Setting::Pin,
    Setting::Master,
    Setting::Secret,
    Setting::ServiceUrl,
    Setting::ServiceCa,
    Setting::ServiceFingerprint,
];

/// How the agents know the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceIdentity {
    /// By a public certificate, or not at all over http.
    Public,
    /// By this authority: PEM in base64.
    Ca(String),
    /// By the certificate's fingerprint.
    Fingerprint(String),
}

/// What goes into the contexts of a cluster.
#[derive(Debug)]
pub struct ContextWriter<'a> {
    /// The pin.
    pub pin: &'a Pin,
    /// What its values are sealed with; `None` leaves them in the clear.
    pub secret: Option<&'a Secret>,
    /// The service as the VMs reach it.
    pub service: &'a ServiceUrl,
    /// How it is known.
    pub trust: ServiceIdentity,
}

impl ContextWriter<'_> {
    /// A context with the section of this cluster's master or slaves.
    ///
    /// # Errors
    /// `Context` when a section has no end or another setting that cannot be read, or when the format has no place for one.
    pub fn write(&self, name: &str, context: &str, role: Role) -> Result<String, Error> {
        let written = if has_section(context) {
            self.replace(name, context, role)?
        } else if let Some(encoded) = Document::parse(name, context.into())?.sections().first() {
            return Err(Error::context(
                encoded.place(),
                "this section is encoded, and the new one does not count beside it",
                "take it out, or leave its part unencoded",
            ));
        } else {
            self.insert(name, context, role)?
        };
        let section = Document::parse(name, written.clone().into_bytes())?.section()?;
        // Another setting of the section may be what cannot be read.
        let found = section.map(|section| Settings::from_sections(&[section])).transpose()?;
        if let Some(FoundSection::Cluster(settings)) = found
            && settings.pin == *self.pin
            && settings.role == role
            && settings.secret.as_ref() == self.secret
        {
            return Ok(written);
        }
        Err(Error::context(
            name,
            "the section cannot be written into this format",
            "put [ucernvm-begin] and [ucernvm-end] where the section is to be, each on a line of its own",
        ))
    }

    /// The lines of the section, without its markers; each begins with `start`.
    fn lines(&self, start: &str, role: Role) -> String {
        let mut lines = String::new();
        let mut set = |setting: Setting, value: &str| {
            let _ = writeln!(lines, "{start}{}={value}", setting.name());
        };
        if role == Role::Master {
            set(Setting::Master, "yes");
        }
        set(Setting::Pin, self.pin.reveal());
        if let Some(secret) = self.secret {
            set(Setting::Secret, &secret.reveal());
        }
        set(Setting::ServiceUrl, &self.service.to_string());
        match &self.trust {
            ServiceIdentity::Public => {}
            ServiceIdentity::Ca(pem) => set(Setting::ServiceCa, pem),
            ServiceIdentity::Fingerprint(digest) => set(Setting::ServiceFingerprint, digest),
        }
        lines
    }

    fn whole(&self, start: &str, role: Role) -> String {
        format!("{start}{BEGIN}\n{}{start}{END}\n", self.lines(start, role))
    }

    /// With the first section's settings replaced, and the others taken out.
    fn replace(&self, name: &str, context: &str, role: Role) -> Result<String, Error> {
        let mut written = String::with_capacity(context.len());
        let mut is_first = true;
        let mut lines = context.split_inclusive('\n').zip(1..);
        while let Some((line, number)) = lines.next() {
            if !is_marker(line, BEGIN) {
                written.push_str(line);
                continue;
            }
            let start = &line[..line.find(BEGIN).unwrap_or_default()];
            let is_commented = start.contains('#');
            if is_first {
                written.push_str(line);
                written.push_str(&self.lines(start, role));
            }
            loop {
                let Some((line, _)) = lines.next().filter(|(line, _)| !is_marker(line, BEGIN)) else {
                    return Err(Error::context(
                        format!("{name} line {number}"),
                        "[ucernvm-begin] has no [ucernvm-end]",
                        "end the section with a line [ucernvm-end]",
                    ));
                };
                let is_end = is_marker(line, END);
                if is_first && (is_end || !is_written(line, is_commented)) {
                    written.push_str(line);
                }
                if is_end {
                    break;
                }
            }
            is_first = false;
        }
        Ok(written)
    }

    /// With a section where there was none.
    fn insert(&self, name: &str, context: &str, role: Role) -> Result<String, Error> {
        if context.trim().is_empty() {
            return Ok(self.whole("", role));
        }
        if let Some(boundary) = boundary(context) {
            let end = format!("--{boundary}--");
            let at = context
                .rmatch_indices(&end)
                .map(|(at, _)| at)
                .find(|at| *at == 0 || context[..*at].ends_with('\n'))
                .ok_or_else(|| {
                    Error::context(
                        name,
                        format!("its last boundary {end} is not there"),
                        "end its parts with it",
                    )
                })?;
            let part = format!(
                "--{boundary}\nContent-Type: text/ucernvm; charset=\"us-ascii\"\nMIME-Version: 1.0\n\n{}\n",
                self.whole("", role)
            );
            return Ok(format!("{}{part}{}", &context[..at], &context[at..]));
        }
        if context.starts_with('#') {
            // The first line says what it is, and after `## template: jinja` the second.
            let heads = if context.starts_with("## template:") { 2 } else { 1 };
            let at = context.split_inclusive('\n').take(heads).map(str::len).sum();
            let (head, rest) = context.split_at(at);
            let end = if head.ends_with('\n') { "" } else { "\n" };
            return Ok(format!("{head}{end}{}{rest}", self.whole("#", role)));
        }
        let end = if context.ends_with('\n') { "\n" } else { "\n\n" };
        Ok(format!("{context}{end}{}", self.whole("", role)))
    }
}

fn has_section(context: &str) -> bool {
    context.lines().any(|line| is_marker(line, BEGIN))
}

/// As the reader of sections takes a marker.
fn is_marker(line: &str, marker: &str) -> bool {
    let line = line.trim();
    line.strip_prefix('#').unwrap_or(line).trim() == marker
}

/// Whether a line sets what is written anew.
fn is_written(line: &str, is_commented: bool) -> bool {
    let line = line.trim();
    let line = if is_commented { line.strip_prefix('#').unwrap_or(line).trim() } else { line };
    let key = line.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    WRITTEN.iter().any(|setting| setting.name() == key)
}

/// The boundary of a MIME multipart that is not encoded.
fn boundary(context: &str) -> Option<&str> {
    let headers = context.split("\n\n").next()?;
    if !headers.to_ascii_lowercase().contains("content-type: multipart/") {
        return None;
    }
    let (_, rest) = headers.split_once("boundary=")?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([';', '\n', '\r', ' ']).next(),
    }
}

#[cfg(test)]
mod tests;
