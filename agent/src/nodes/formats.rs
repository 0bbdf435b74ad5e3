//! Nodes as text: a table for people, JSON for programs, and what other programs read (hosts, `known_hosts`, a hostfile).
//!
//! What goes into a file that other programs trust is checked here once more: a node does not get to say what `localhost` is, and of
//! two nodes with one name the file has the one that reported first in the order of their identifiers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::json;

use crate::address::is_global;
use client::members::{Member, Members};
use protocol::node::NodeRole;

/// How nodes are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeFormat {
    /// A table.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// Lines of hosts(5).
    Hosts,
    /// Lines of sshd(8)'s `known_hosts`.
    KnownHosts,
    /// A name in each line, as MPI's `--hostfile` takes it.
    Hostfile,
}

impl NodeFormat {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Table, "table"),
        (Self::Json, "json"),
        (Self::Hosts, "hosts"),
        (Self::KnownHosts, "known_hosts"),
        (Self::Hostfile, "hostfile"),
    ];

    /// Whether other programs go by it: then it may go into a file between marker lines.
    #[must_use]
    pub fn is_block(self) -> bool {
        matches!(self, Self::Hosts | Self::KnownHosts | Self::Hostfile)
    }
}

/// Nodes in a format.
#[must_use]
pub fn render(members: &Members, format: NodeFormat) -> String {
    match format {
        NodeFormat::Table => table(members),
        NodeFormat::Json => as_json(members),
        NodeFormat::Hosts => lines(members, |name, addresses, _| {
            let short = name.split('.').next().filter(|short| *short != name);
            let names = short.map_or_else(|| name.to_owned(), |short| format!("{name} {short}"));
            addresses.iter().map(|address| format!("{address} {names}")).collect()
        }),
        NodeFormat::KnownHosts => lines(members, |name, addresses, member| {
            let short = name.split('.').next().filter(|short| *short != name);
            let addresses = addresses.iter().map(ToString::to_string);
            let hosts: Vec<String> =
                [name].into_iter().chain(short).map(str::to_owned).chain(addresses).collect();
            member.report.ssh_host_keys.iter().map(|key| format!("{} {key}", hosts.join(","))).collect()
        }),
        NodeFormat::Hostfile => lines(members, |name, _, _| vec![name.to_owned()]),
    }
}

/// The lines of all nodes that others can use: they have joined, have a name of their own, and an address.
fn lines(members: &Members, of: impl Fn(&str, &[IpAddr], &Member) -> Vec<String>) -> String {
    let (mut seen, mut text) = (BTreeSet::new(), String::new());
    // The master first, as in every other list of a cluster.
    let mut nodes: Vec<_> = members.nodes.iter().filter(|(_, member)| member.has_joined()).collect();
    nodes.sort_by_key(|(_, member)| {
        (member.report.role != NodeRole::Master, member.report.name.to_ascii_lowercase())
    });
    for (id, member) in nodes {
        let name = member.report.name.to_ascii_lowercase();
        let addresses = member.report.addresses.iter().filter_map(|address| address.parse().ok());
        let addresses: Vec<IpAddr> = addresses.filter(|address| is_global(*address)).collect();
        if name.is_empty() || is_every_machines(&name) || addresses.is_empty() {
            log::warn!("the node {} is left out: it has no name of its own, or no address", member.label(id));
            continue;
        }
        if !seen.insert(name.clone()) {
            log::warn!("the node {id} is left out: another is called {name} too");
            continue;
        }
        for line in of(&name, &addresses, member) {
            text += &line;
            text.push('\n');
        }
    }
    text
}

/// Whether each machine has this name for itself: no other may have it.
fn is_every_machines(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    first.starts_with("localhost")
        || first.starts_with("ip6-")
        || name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn table(members: &Members) -> String {
    let mut rows = vec![["NAME", "ROLE", "STATE", "ADDRESS", "REPORTED", "DETAIL"].map(str::to_owned)];
    for (id, member) in &members.nodes {
        let report = &member.report;
        rows.push([
            member.label(id).to_owned(),
            report.role.as_str().to_owned(),
            report.state.as_str().to_owned(),
            report.addresses.first().map(ToString::to_string).unwrap_or_default(),
            format!("{} ago", span(member.age)),
            report.detail.to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        line += &row[5];
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A time as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn as_json(members: &Members) -> String {
    let nodes: Vec<_> = members
        .nodes
        .iter()
        .map(|(id, member)| {
            json!({"id": id, "reported": member.reported, "age": member.age, "report": member.report})
        })
        .collect();
    let refused: Vec<_> = members.refused.iter().map(|(id, why)| json!({"id": id, "why": why})).collect();
    json!({"nodes": nodes, "refused": refused}).to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::testing::{list, node};
    use super::*;

    fn members(nodes: &[serde_json::Value]) -> Members {
        let mut members = Members::default();
        members.take_in(&list(true, nodes), None).unwrap();
        members
    }

    fn cluster() -> Members {
        let mut slave = node("n2.example", "slave", "ready", &["10.0.0.3", "fd00::3"]);
        slave["report"]["ssh_host_keys"] = serde_json::json!([
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n",
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB"
        ]);
        let mut failed = node("n3", "slave", "failed", &["10.0.0.4"]);
        failed["report"]["detail"] = "the master was not ready".into();
        failed["age"] = 7200.into();
        members(&[slave, failed, node("zm", "master", "ready", &["10.0.0.2"])])
    }

    #[test]
    fn a_table_shows_every_node() {
        let expected = "\
NAME        ROLE    STATE   ADDRESS   REPORTED  DETAIL
n2.example  slave   ready   10.0.0.3  5 s ago
n3          slave   failed  10.0.0.4  2 h ago   the master was not ready
zm          master  ready   10.0.0.2  5 s ago
";
        assert_eq!(render(&cluster(), NodeFormat::Table), expected);
    }

    #[test]
    fn files_have_those_that_have_joined_the_master_first() {
        let hosts = "10.0.0.2 zm\n10.0.0.3 n2.example n2\nfd00::3 n2.example n2\n";
        assert_eq!(render(&cluster(), NodeFormat::Hosts), hosts);
        let known = "\
n2.example,n2,10.0.0.3,fd00::3 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n
n2.example,n2,10.0.0.3,fd00::3 ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB
";
        assert_eq!(render(&cluster(), NodeFormat::KnownHosts), known);
        assert_eq!(render(&cluster(), NodeFormat::Hostfile), "zm\nn2.example\n");
    }

    #[test]
    fn no_node_takes_a_name_or_an_address_that_is_not_its_own() {
        let mut double = node("b", "slave", "ready", &["10.0.0.9"]);
        double["report"]["name"] = "A".into();
        let mut nodes = vec![node("a", "slave", "ready", &["10.0.0.1"]), double];
        for (id, name) in
            [("c", "localhost"), ("d", "ip6-allnodes"), ("e", "10.0.0.1"), ("f", "localhost.localdomain")]
        {
            let mut bad = node(id, "slave", "ready", &["10.0.0.7"]);
            bad["report"]["name"] = name.into();
            nodes.push(bad);
        }
        nodes.push(node("g", "slave", "ready", &["127.0.0.1", "::1", "0.0.0.0"]));
        nodes.push(node("h", "slave", "ready", &[]));
        assert_eq!(render(&members(&nodes), NodeFormat::Hosts), "10.0.0.1 a\n");
    }

    #[test]
    fn json_has_everything() {
        let json: serde_json::Value = serde_json::from_str(&render(&cluster(), NodeFormat::Json)).unwrap();
        assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(json["nodes"][1]["report"]["detail"], "the master was not ready");
    }
}
