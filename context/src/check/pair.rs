//! What several contexts of one cluster do not have in common.

use std::collections::BTreeSet;

use protocol::key::{self, MASTER_IP};

use super::Report;
use crate::document::Document;
use crate::nearest::nearest;
use crate::placeholder::Placeholder;
use crate::settings::{AwaitedKeys, Role, Settings};

/// What counts of a context when it is compared with others.
struct Context<'d> {
    name: &'d str,
    settings: Settings,
    document: &'d Document,
}

impl<'d> Context<'d> {
    /// `None` when it has no section that can be read; that is said elsewhere.
    fn of(document: &'d Document) -> Option<Self> {
        Some(Self { name: document.name(), settings: super::settings(&document.sections())?, document })
    }
}

impl Context<'_> {
    /// The keys that it waits for besides the master's address.
    fn awaited(&self) -> BTreeSet<String> {
        let mut keys: BTreeSet<_> = match &self.settings.keys {
            AwaitedKeys::WithPlaceholder => {
                self.document.placeholders().iter().map(Placeholder::key).collect()
            }
            AwaitedKeys::Only(names) => names.iter().cloned().collect(),
        };
        keys.remove(MASTER_IP);
        keys
    }
}

/// Compares each context with the first one.
pub(super) fn check(documents: &[Document], report: &mut Report) {
    let contexts: Vec<_> = documents.iter().filter_map(Context::of).collect();
    let [first, rest @ ..] = contexts.as_slice() else { return };
    for other in rest {
        if first.settings.pin != other.settings.pin {
            report.error(
                other.name.to_owned(),
                format!("its pin is not that of {}, so that they are two clusters", first.name),
                "write the same cvm_cluster_pin into both",
            );
        }
        let problem = match (&first.settings.secret, &other.settings.secret) {
            (Some(of_first), Some(of_other)) if of_first != of_other => {
                Some("another cvm_cluster_secret than")
            }
            (Some(_), None) => Some("no cvm_cluster_secret, unlike"),
            (None, Some(_)) => Some("a cvm_cluster_secret, unlike"),
            _ => None,
        };
        if let Some(problem) = problem {
            report.error(
                other.name.to_owned(),
                format!("it has {problem} {}, so that neither takes the values of the other", first.name),
                "write the same cvm_cluster_secret into both, or leave it out of both",
            );
        }
        if services(first) != services(other) {
            report.error(
                other.name.to_owned(),
                format!("its services ({}) are not those of {} ({})", shown(other), first.name, shown(first)),
                "write the same cvm_service_url into both",
            );
        }
    }
    if rest.is_empty() {
        return;
    }
    let masters: Vec<_> = contexts.iter().filter(|c| c.settings.role == Role::Master).collect();
    match masters.as_slice() {
        [master] => check_keys(master, &contexts, report),
        [] => report.warning(
            first.name.to_owned(),
            "none of these contexts is a master's, so the slaves time out",
            "add cvm_cluster_master=yes to one of them",
        ),
        [_, second, ..] => report.warning(
            second.name.to_owned(),
            format!("it is a master's context, and so is {}; a cluster has one master", masters[0].name),
            "take cvm_cluster_master out of one of them",
        ),
    }
}

/// Whether the master publishes each key that a slave waits for, as far as its context tells.
fn check_keys(master: &Context<'_>, contexts: &[Context<'_>], report: &mut Report) {
    let Some(published) = published(master.document) else { return };
    let names: Vec<&str> = published.iter().map(String::as_str).collect();
    for slave in contexts.iter().filter(|context| context.settings.role == Role::Slave) {
        for key in slave.awaited().iter().filter(|key| !published.contains(*key)) {
            let next = match nearest(key, &names) {
                Some(meant) => {
                    format!("write ###{}_PLACEHOLDER###, or publish {key}", meant.to_ascii_uppercase())
                }
                None => format!("add `… | cernvm-cluster-agent publish {key} -` to the master's context"),
            };
            report.warning(
                slave.name.to_owned(),
                format!("it waits for {key}, and nothing in {} publishes that", master.name),
                next,
            );
        }
    }
}

/// The keys that a context publishes by name; `None` where it publishes one whose name is not known before it runs.
fn published(document: &Document) -> Option<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for run in document.runs() {
        let text = String::from_utf8_lossy(run.bytes);
        let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '"' | '\'');
        let words: Vec<_> = text.split(is_between).filter(|word| !word.is_empty()).collect();
        for call in
            words.windows(3).filter(|call| call[0].ends_with("cernvm-cluster-agent") && call[1] == "publish")
        {
            keys.insert(
                key::is_addressable(call[2])
                    .then(|| call[2].to_owned())
                    .filter(|key| !key.starts_with('-'))?,
            );
        }
    }
    Some(keys)
}

fn services(context: &Context<'_>) -> BTreeSet<String> {
    context.settings.services.iter().map(ToString::to_string).collect()
}

fn shown(context: &Context<'_>) -> String {
    services(context).into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(master: &str, slave: &str) -> Vec<String> {
        let context = |name: &str, line: &str, rest: &str| {
            let text = format!(
                "#!/bin/sh\n#[ucernvm-begin]\n#cvm_cluster_pin=enico1qq0oey\n{line}#[ucernvm-end]\n{rest}\n"
            );
            Document::parse(name, text.into_bytes()).unwrap()
        };
        let mut report = Report::default();
        check(&[context("m", "#cvm_cluster_master=yes\n", master), context("s", "", slave)], &mut report);
        report.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn compares_what_is_published_with_what_is_awaited() {
        let slave = "join ###MASTER_IP_PLACEHOLDER### ###K3S_TOKEN_PLACEHOLDER###";
        for master in [
            "cernvm-cluster-agent publish k3s_token - </token",
            "- [ /usr/bin/cernvm-cluster-agent, publish, \"k3s_token\", '@/token' ]",
            // Not known before it runs.
            "cernvm-cluster-agent publish \"$name\" -",
            "cernvm-cluster-agent publish --secret-file f k3s_token -",
        ] {
            assert_eq!(found(master, slave), [""; 0], "{master}");
        }
        let waits = "s: warning: it waits for k3s_token, and nothing in m publishes that\n  next: ";
        let other = found("cernvm-cluster-agent publish k3s_tokn -", slave);
        assert_eq!(other, [format!("{waits}write ###K3S_TOKN_PLACEHOLDER###, or publish k3s_token")]);
        let none = found("ls", slave);
        assert_eq!(none.len(), 1);
        assert!(none[0].starts_with(&format!("{waits}add `")), "{none:?}");
        assert_eq!(found("ls", "join ###MASTER_IP_PLACEHOLDER###"), [""; 0]);
    }
}
