//! What this VM reports of itself: that it waits, has joined, is ready, or has failed and why.
//!
//! A report is sent to the service that a run has kept anyway, and only where that has told that it takes reports: an
//! earlier service, or the original, never gets a request that it does not know. There is one try with a short limit, and
//! after one that failed no other in the same run. So reporting never delays a boot by more than [`LIMIT`], and never
//! fails it. That no service knows the pin cannot be reported: there is no service that would keep it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use context::settings::{Role, Settings};
use protocol::node::{self, NodeReport, NodeRole, NodeState};

use crate::address;
use crate::record;
use crate::root::Root;
use client::{Outcome, Request, Service};

/// Longest time for one report.
pub const LIMIT: Duration = Duration::from_secs(2);
/// Longest report before it is sealed: sealed it has at most [`node::REPORT_MAX_BYTES`].
const CLEAR_MAX_BYTES: usize = 1400;
/// Where sshd's public keys lie, those first that are shortest.
const HOST_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssh/ssh_host_ecdsa_key.pub", "/etc/ssh/ssh_host_rsa_key.pub"];
/// Where the host name stands, the kernel's first.
const HOST_NAMES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];
/// Names that every machine has for itself.
const NO_NAMES: [&str; 2] = ["localhost", "(none)"];

/// Reports of this VM.
#[derive(Debug)]
pub struct Reporter {
    root: Root,
    id: String,
    role: NodeRole,
    /// The address that others use, where it is not the one by which the service is reached.
    pub(crate) address: Option<IpAddr>,
    /// A report has failed: no more in this run.
    failed: bool,
}

impl Reporter {
    /// For a VM with these settings; `None` where it is not to report, or where nothing tells it from a clone.
    #[must_use]
    pub fn new(root: &Root, settings: &Settings, instance: Option<&str>) -> Option<Self> {
        let instance = instance.filter(|_| settings.nodes)?;
        let id = node_id(instance, settings);
        Some(Self { root: root.clone(), id, role: role(settings.role), address: None, failed: false })
    }

    /// Reports to a service that takes reports.
    pub(crate) fn report(&mut self, service: &mut impl Service, state: NodeState, detail: &str) {
        if self.failed {
            return;
        }
        let reached = service.reached().filter(|reached| !reached.through_proxy).map(|reached| reached.local);
        let report = self.describe(state, detail, self.address.or(reached));
        let sent = service.send(&Request::Report { id: &self.id, report: &report }, LIMIT);
        match sent {
            Ok(answer) if answer.outcome == Outcome::Done => {
                log::debug!("{} knows that this node is {}", service.url(), state.as_str());
            }
            Ok(_) => {
                log::debug!("{} does not take the report of this node", service.url());
                self.failed = true;
            }
            Err(failure) => {
                log::debug!("{} has not taken the report of this node: {failure}", service.url());
                self.failed = true;
            }
        }
    }

    /// The report in JSON. What is too much for one is left out: the last keys, the last addresses, the end of the detail.
    fn describe(&self, state: NodeState, detail: &str, first: Option<IpAddr>) -> String {
        let mut report = NodeReport {
            name: host_name(&self.root).into(),
            role: self.role,
            state,
            addresses: addresses(first),
            since: Some(record::now()),
            detail: one_line(detail).into(),
            ssh_host_keys: host_keys(&self.root),
        };
        loop {
            let json = serde_json::to_string(&report).expect("texts and numbers serialize");
            let left_out = json.len() > CLEAR_MAX_BYTES
                && (report.ssh_host_keys.pop().is_some()
                    || report.addresses.pop().is_some()
                    || report.detail.to_mut().pop().is_some());
            if !left_out {
                return json;
            }
        }
    }
}

/// What identifies a VM under its pin: the same at every boot, and nothing that a service could trace back.
fn node_id(instance: &str, settings: &Settings) -> String {
    client::digest(&["cernvm-cluster-node", settings.pin.reveal(), instance])[..32].to_owned()
}

fn role(role: Role) -> NodeRole {
    match role {
        Role::Master => NodeRole::Master,
        Role::Slave => NodeRole::Slave,
    }
}

fn host_name(root: &Root) -> String {
    let names = HOST_NAMES.iter().filter_map(|path| std::fs::read_to_string(root.path(path)).ok());
    let mut names = names.map(|name| name.trim().to_owned());
    names.find(|name| node::is_host_name(name) && !NO_NAMES.contains(&name.as_str())).unwrap_or_default()
}

/// This machine's addresses, this one first if others can use it.
fn addresses(first: Option<IpAddr>) -> Vec<Cow<'static, str>> {
    let mut addresses = address::held().unwrap_or_default();
    if let Some(first) = first.filter(|first| address::is_global(*first)) {
        addresses.retain(|address| *address != first);
        addresses.insert(0, first);
    }
    addresses.truncate(node::ADDRESSES_MAX);
    addresses.iter().map(|address| address.to_string().into()).collect()
}

/// sshd's public keys, as far as they are there: it makes them late in the first boot.
fn host_keys(root: &Root) -> Vec<Cow<'static, str>> {
    let texts = HOST_KEYS.iter().filter_map(|path| std::fs::read_to_string(root.path(path)).ok());
    let keys = texts.filter_map(|text| {
        let mut words = text.split_whitespace();
        let key = format!("{} {}", words.next()?, words.next()?);
        node::is_host_key(&key).then_some(key.into())
    });
    keys.collect()
}

/// A detail as a report may have it.
fn one_line(detail: &str) -> String {
    let clean = detail.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(node::DETAIL_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, Reply, done, failed, missing, value, waited};
    use crate::slave;
    use client::FailureKind;

    fn reporter(root: &Root) -> Reporter {
        Reporter { root: root.clone(), id: "n".into(), role: NodeRole::Slave, address: None, failed: false }
    }

    fn write(root: &Root, path: &str, text: &str) {
        let path = root.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn describes_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::from(dir.path());
        let read = |json: &str| -> NodeReport<'static> {
            let report: NodeReport<'_> = serde_json::from_str(json).unwrap();
            report.check().unwrap();
            report.into_owned()
        };
        let empty = read(&reporter(&root).describe(NodeState::Waiting, "", None));
        assert_eq!((&*empty.name, empty.ssh_host_keys.len()), ("", 0));
        for (name, expected) in [("localhost\n", ""), ("bad_name\n", ""), ("node-1\n", "node-1")] {
            write(&root, "/etc/hostname", name);
            assert_eq!(host_name(&root), expected);
        }
        write(&root, HOST_KEYS[0], "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n root@node-1\n");
        write(&root, HOST_KEYS[1], "no key at all\n");
        let detail = "first\nsecond\u{7}";
        let report = read(&reporter(&root).describe(NodeState::Failed, detail, None));
        assert_eq!(report.ssh_host_keys, ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n"]);
        assert_eq!((&*report.detail, report.state), ("first second ", NodeState::Failed));
        assert!(report.since.is_some());
    }

    #[test]
    fn leaves_out_what_is_too_much_for_a_sealed_report() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::from(dir.path());
        write(&root, HOST_KEYS[0], "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n\n");
        write(&root, HOST_KEYS[2], &format!("ssh-rsa {}\n", "A".repeat(1600)));
        let long = reporter(&root).describe(NodeState::Failed, &"\"".repeat(1000), None);
        assert!(long.len() <= CLEAR_MAX_BYTES);
        assert!(client::seal::sealed_length(CLEAR_MAX_BYTES) <= node::REPORT_MAX_BYTES);
        let report: NodeReport<'_> = serde_json::from_str(&long).unwrap();
        assert_eq!((report.ssh_host_keys.len(), report.check()), (1, Ok(())));
    }

    /// What a service was asked in a slave's run to a master that comes after a wait, as it answers reports like this.
    fn asked(host: &'static str, reply: fn() -> Reply) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let reporter = reporter(&Root::from(dir.path()));
        let mut waits = 3;
        let mut fake = FakeSession::new(&[host], 1500, move |line| {
            match line.split(' ').skip(1).collect::<Vec<_>>()[..] {
                ["cluster"] => done(),
                ["report", ..] => reply(),
                ["get", "master_ready", ..] if waits > 0 => {
                    waits -= 1;
                    waited(50, 50)
                }
                ["get", ..] => value("10.0.0.5"),
                _ => panic!("{line}"),
            }
        });
        fake.session = fake.session.reporting(Some(reporter));
        slave::gather(&mut fake.session, &[]).unwrap();
        fake.session.report(NodeState::Joined, "");
        fake.session.report(NodeState::Ready, "");
        let seen = fake.seen().into_iter().filter(|seen| seen.line.contains(" report "));
        seen.map(|seen| {
            assert!(seen.limit <= LIMIT);
            let json = seen.line.splitn(4, ' ').nth(3).unwrap().to_owned();
            let report: NodeReport<'_> = serde_json::from_str(&json).unwrap();
            report.state.as_str().to_owned()
        })
        .collect()
    }

    #[test]
    fn a_slave_says_that_it_waits_once_a_minute_and_what_comes_of_it() {
        assert_eq!(asked("nodes", done), ["waiting", "waiting", "joined", "ready"]);
    }

    #[test]
    fn a_report_that_fails_is_not_tried_again_and_fails_nothing() {
        for reply in [
            (|| failed(FailureKind::Connect)) as fn() -> Reply,
            || failed(FailureKind::Status(503, None)),
            missing,
            || (done().0, 3600),
        ] {
            assert_eq!(asked("nodes", reply), ["waiting"]);
        }
    }

    #[test]
    fn a_service_that_has_not_told_of_nodes_gets_no_report() {
        assert_eq!(asked("pair", done), [""; 0]);
    }
}
