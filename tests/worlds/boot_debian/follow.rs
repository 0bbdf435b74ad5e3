//! A slave that runs under `cernvm-cluster-follow.service` follows when another VM takes the master's place.

use worlds::boot::debian::{Debian, RELEASES};
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;
use worlds::wait::until;

use crate::{MASTER, OTHER_MASTER, SLAVE, become_ready, machine, section};

const FOLLOWED: &str = "/etc/followed.conf";
const EDITED: &str = "/etc/edited.conf";
const NOTE: &str = "/root/changes";
/// A hook of the administrator, which writes down what it is told.
const HOOK: &str = "
    systemctl --quiet enable cernvm-cluster-follow
    mkdir -p /etc/cernvm-cluster/changed.d
    printf '#!/bin/sh\\necho \"$CVM_MASTER_IP_BEFORE to $CVM_MASTER_IP\" >>/root/changes\\n' >/etc/cernvm-cluster/changed.d/10-note
    chmod 0755 /etc/cernvm-cluster /etc/cernvm-cluster/changed.d /etc/cernvm-cluster/changed.d/10-note
";

#[test]
#[ignore = "needs root: boots machines"]
fn a_running_slave_follows_to_the_master_that_takes_the_place() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let pin = service.new_pin();
        become_ready(&service, &pin, MASTER);
        let context = |more: &str| {
            format!("#cloud-config\nlocale: false\n{}", comment(&section(&service.url(), &pin, more)))
        };

        let mut slave = machine(&lab, &debian, "slave", SLAVE);
        slave.root().write(FOLLOWED, "server ###MASTER_IP_PLACEHOLDER###\n");
        slave.root().write(EDITED, "peer ###MASTER_IP_PLACEHOLDER###\n");
        slave.root().sh(HOOK);
        slave.seed("i-slave", context(&format!("cvm_cluster_follow={FOLLOWED},{EDITED}")));
        slave.boot();
        slave.wait_until_booted();
        let has =
            |path: &str, text: &str| slave.root().read(path).is_some_and(|found| found == text).then_some(());
        until("the files have the first master's address", || {
            has(FOLLOWED, &format!("server {MASTER}\n"))?;
            has(EDITED, &format!("peer {MASTER}\n"))
        });
        let by_hand = format!("peer {MASTER} # by hand\n");
        slave.sh(&format!("printf '%s' '{by_hand}' >{EDITED}"));

        let mut other = machine(&lab, &debian, "master2", OTHER_MASTER);
        other.seed("i-other", context("cvm_cluster_master=yes"));
        other.boot();
        other.wait_until_booted();
        other.wait_until_console_says("takes its place");
        let change = format!("{MASTER} to {OTHER_MASTER}\n");
        until("the hook has run for the other master", || {
            slave.root().read(NOTE).is_some_and(|note| note.ends_with(&change)).then_some(())
        });

        assert_eq!(slave.root().read(FOLLOWED), Some(format!("server {OTHER_MASTER}\n")));
        assert_eq!(slave.root().read(EDITED), Some(by_hand));
        let note = slave.root().read(NOTE).expect("the hook has run");
        assert_eq!(note.matches(&change).count(), 1, "{note}");
        let log = slave.sh(
            "systemctl is-active cernvm-cluster-follow; journalctl --no-pager --unit cernvm-cluster-follow",
        );
        let left_alone = format!("{EDITED}: it was edited since the agent wrote it, so it is left alone");
        assert!(log.starts_with("active\n") && log.contains(&left_alone), "{log}");
        println!("# {release:?}\n{log}{note}");
    }
}

/// A section in lines that YAML does not read.
fn comment(section: &str) -> String {
    section.lines().map(|line| format!("#{line}\n")).collect()
}
