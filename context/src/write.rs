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
pub struct Cluster<'a> {
    /// The pin.
    pub pin: &'a Pin,
    /// What its values are sealed with; `None` leaves them in the clear.
    pub secret: Option<&'a Secret>,
    /// The service as the VMs reach it.
    pub service: &'a ServiceUrl,
    /// How it is known.
    pub trust: ServiceIdentity,
}

impl Cluster<'_> {
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
mod tests {
    use super::*;
    use crate::yaml;

    const PIN: &str = "ipfkrhe25pku";

    fn written(context: &str, role: Role) -> Result<String, Error> {
        let pin = Pin::parse(PIN).unwrap();
        let service = ServiceUrl::parse("https://pair.example.org", false).unwrap();
        let trust = ServiceIdentity::Fingerprint(format!("sha256:{}", "ab".repeat(32)));
        Cluster { pin: &pin, secret: None, service: &service, trust }.write("f", context, role)
    }

    fn sealed(context: &str, secret: &Secret) -> String {
        let pin = Pin::parse(PIN).unwrap();
        let service = ServiceUrl::parse("http://pair.example.org", false).unwrap();
        let cluster =
            Cluster { pin: &pin, secret: Some(secret), service: &service, trust: ServiceIdentity::Public };
        cluster.write("f", context, Role::Master).unwrap()
    }

    #[test]
    fn writes_the_secret_and_leaves_no_earlier_one() {
        let [secret, another] = [[1; 32], [2; 32]].map(Secret::from_bytes);
        let text = sealed("x\n", &secret);
        let line = |secret: &Secret| format!("cvm_cluster_secret={}\n", secret.reveal());
        assert!(text.contains(&line(&secret)), "{text}");
        let text = sealed(&text, &another);
        assert!(text.contains(&line(&another)) && !text.contains(&secret.reveal()), "{text}");
        let clear = written(&text, Role::Slave).unwrap();
        assert!(!clear.contains("cvm_cluster_secret"), "{clear}");
    }

    /// One section, the new settings and no old ones, and whatever was YAML stays YAML with the same tree.
    #[track_caller]
    fn check(context: &str) -> String {
        let mut slaves = String::new();
        for role in [Role::Master, Role::Slave] {
            let text = written(context, role).unwrap();
            assert_eq!(text.matches(BEGIN).count(), 1, "{text}");
            assert_eq!(text.matches(PIN).count(), 1, "{text}");
            assert!(!text.contains("<pin>") && !text.contains("enico1qq0oey"), "{text}");
            assert_eq!(text.contains("cvm_cluster_master"), role == Role::Master, "{text}");
            // Written once more, it stays the same.
            assert_eq!(written(&text, role).unwrap(), text);
            if context.starts_with("#cloud-config") {
                let tree =
                    |text: &str| format!("{:?}", yaml::parse(text).unwrap().as_ref().map(without_places));
                assert_eq!(tree(context), tree(&text));
            }
            slaves = text;
        }
        slaves
    }

    fn without_places(node: &yaml::Node) -> Vec<String> {
        match node {
            yaml::Node::Scalar(scalar) => vec![scalar.text.clone()],
            yaml::Node::Sequence(items) => items.iter().flat_map(without_places).collect(),
            yaml::Node::Mapping(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| [vec![key.text.clone()], without_places(value)].concat())
                .collect(),
        }
    }

    #[test]
    fn writes_into_every_shipped_example() {
        for (name, context) in [
            ("htcondor-master", include_str!("../../cloud-init/examples/htcondor-master.mime")),
            ("htcondor-slave", include_str!("../../cloud-init/examples/htcondor-slave.mime")),
            ("k3s-master", include_str!("../../cloud-init/examples/k3s-master.yaml")),
            ("k3s-slave", include_str!("../../cloud-init/examples/k3s-slave.yaml")),
            ("slurm-master", include_str!("../../cloud-init/examples/slurm-master.mime")),
            ("slurm-slave", include_str!("../../cloud-init/examples/slurm-slave.mime")),
            ("amiconfig-master", include_str!("../../cloud-init/examples/amiconfig-master.txt")),
            ("amiconfig-slave", include_str!("../../cloud-init/examples/amiconfig-slave.txt")),
        ] {
            check(context);
            // Without a section it gets one.
            let section: String = context
                .split_inclusive('\n')
                .filter(|line| !line.contains("ucernvm-") && !line.contains("cvm_cluster_"))
                .collect();
            let text = check(&section);
            assert_eq!(text.contains("#[ucernvm-begin]"), context.starts_with('#'), "{name}");
        }
    }

    #[test]
    fn replaces_old_values_and_keeps_the_other_settings() {
        let old = "x\n[ucernvm-begin]\nCVM_CLUSTER_PIN = enico1qq0oey\ncvm_cluster_timeout=5\n#cvm_x\ncvm_service_ca=AA\n[ucernvm-end]\ny\n[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]\nz\n";
        let text = check(old);
        assert_eq!(
            text,
            format!(
                "x\n[ucernvm-begin]\ncvm_cluster_pin={PIN}\ncvm_service_url=https://pair.example.org\ncvm_service_fingerprint=sha256:{}\ncvm_cluster_timeout=5\n#cvm_x\n[ucernvm-end]\ny\nz\n",
                "ab".repeat(32)
            )
        );
        check("#cloud-config\n # [ucernvm-begin]\n # cvm_cluster_pin=enico1qq0oey\n # [ucernvm-end]\na: b\n");
    }

    #[test]
    fn finds_a_place_in_every_format() {
        assert!(check("").starts_with(BEGIN));
        assert!(check("[amiconfig]\nplugins=cernvm").contains("cernvm\n\n[ucernvm-begin]"));
        assert!(check("#!/bin/sh\necho\n").starts_with("#!/bin/sh\n#[ucernvm-begin]"));
        assert!(check("#cloud-config").starts_with("#cloud-config\n#[ucernvm-begin]"));
        let mime = "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n\nx\n--b--\n";
        assert!(check(mime).contains("x\n--b\nContent-Type: text/ucernvm"));
    }

    /// Every file of the tests' cases, which have errors of many kinds: the writer refuses it with what to do, or writes
    /// what its reader takes, and adds no error of `check` to those that the file has.
    #[test]
    fn writes_into_every_case_or_refuses_it() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cases");
        let (mut wrote, mut refused) = (0, Vec::new());
        let directories = [directory.join("mime"), directory];
        for entry in directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap()) {
            let path = entry.unwrap().path();
            // `contexts` refuses what is no UTF-8.
            let Ok(context) = std::fs::read_to_string(&path) else { continue };
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            for role in [Role::Master, Role::Slave] {
                let text = match written(&context, role) {
                    Ok(text) => text,
                    Err(error) => {
                        refused.push(format!("{name}: {}", error.problem()));
                        continue;
                    }
                };
                wrote += 1;
                assert_eq!(written(&text, role).unwrap(), text, "{name}: a second run changes nothing");
                assert_eq!(text.matches(PIN).count(), 1, "{name}: {text}");
                let errors = |text: &str| {
                    let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
                    let findings = crate::check::check_document(&document);
                    let errors = findings.into_iter().filter(|f| f.severity == crate::check::Severity::Error);
                    errors.map(|finding| finding.what).collect::<Vec<_>>()
                };
                let before = errors(&context);
                let added: Vec<_> = errors(&text).into_iter().filter(|what| !before.contains(what)).collect();
                assert!(added.is_empty(), "{name} {role:?}: {added:?}\n{text}");
            }
        }
        assert!(wrote > 60, "{wrote}");
        refused.sort();
        refused.dedup();
        // The section of nearly all MIME cases is in base64.
        let is_encoded = |refused: &String| refused.contains("this section is encoded");
        assert!(
            refused.iter().any(|refused| refused.starts_with("03-base64-whole.txt") && is_encoded(refused))
        );
        refused.retain(|refused| !is_encoded(refused));
        let beginnings = [
            "22d-nbsp-before-marker.txt: \"\\u{a0}[ucernvm-begin]\" is not the line",
            "22l-timeout-25m.txt: cvm_cluster_timeout is not",
            "22m-hostname-master.txt: cvm_cluster_master_ip is no",
            "single-quoted.mime: its last boundary",
        ];
        assert!(
            refused.len() == beginnings.len()
                && refused.iter().zip(beginnings).all(|(refused, beginning)| refused.starts_with(beginning)),
            "{refused:?}"
        );
    }

    #[test]
    fn refuses_what_it_cannot_write_into() {
        for context in [
            "[ucernvm-begin]\ncvm_cluster_pin=x\n",
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n",
        ] {
            assert!(written(context, Role::Slave).is_err(), "{context}");
        }
    }
}
