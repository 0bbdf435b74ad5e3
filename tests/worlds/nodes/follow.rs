//! A slave that runs follows its master to another address.

use std::os::unix::fs::PermissionsExt as _;

use worlds::api::key_path;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

use crate::machine::{MASTER, Machine};

const NEXT: &str = "192.0.2.2";
const HOOK: &str = "/etc/cernvm-cluster/changed.d/10-note";

#[test]
fn a_running_slave_renders_its_files_for_another_master_and_runs_the_hooks() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    api.create_key(&pin, "master_ip", MASTER);
    api.create_key(&pin, "master_ready", MASTER);
    let follows = "cvm_cluster_follow=/etc/x.conf,/etc/mine.conf,/etc/none.conf";
    let slave = Machine::slave(&pin, &service.url(), "n1", &[follows]);
    slave.guest.write("/etc/x.conf", "server ###MASTER_IP_PLACEHOLDER###\n");
    slave.guest.write("/etc/mine.conf", "peer ###MASTER_IP_PLACEHOLDER###\n");
    let note = slave.guest.path("/note");
    let hook = format!("#!/bin/sh\necho \"$CVM_MASTER_IP_BEFORE>$CVM_MASTER_IP\" >>{}\n", note.display());
    slave.guest.write(HOOK, hook);
    for path in [HOOK, "/etc/cernvm-cluster/changed.d"] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(slave.guest.path(path), mode).expect("it is the test's own");
    }
    slave.contextualize().expect(0).says("/etc/none.conf");

    let text = |path: &str| String::from_utf8(slave.guest.read(path)).expect("it is text");
    let mut agent = slave.guest.start(&["follow"]);
    until("the files have the first master", || {
        (text("/etc/x.conf").contains(MASTER) && text("/etc/mine.conf").contains(MASTER)).then_some(())
    });
    until("the hook has run", || note.exists().then_some(()));
    slave.guest.write("/etc/mine.conf", format!("peer {MASTER} # changed by hand\n"));

    // Another master: its address first, then that it is ready.
    let set = |key: &str| {
        let body = serde_json::json!({"key": key, "value": NEXT});
        assert_eq!(api.ask(&Request::new("PUT", &key_path(&pin, key)).json(&body)).status, 200);
    };
    set("master_ip");
    assert!(agent.is_running());
    assert!(text("/etc/x.conf").contains(MASTER), "not before it is ready");
    set("master_ready");
    until("the file has the next master", || text("/etc/x.conf").contains(NEXT).then_some(()));
    let expected = format!("{MASTER}>{NEXT}\n");
    until("the hook has run again", || {
        std::fs::read_to_string(&note).is_ok_and(|text| text.ends_with(&expected)).then_some(())
    });
    assert_eq!(text("/etc/mine.conf"), format!("peer {MASTER} # changed by hand\n"));
    agent.wait_until_it_says("/etc/mine.conf: it was edited since the agent wrote it, so it is left alone");
    // With the pin it ends, and well.
    api.delete_pin(&pin);
    agent.finish().expect(0).says("the pin has expired");
    assert!(text("/etc/x.conf").contains(NEXT));
}

#[test]
fn follows_nothing_where_there_is_nothing_to_follow() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = Machine::master(&pin, &service.url(), &["cvm_cluster_follow=/etc/x.conf"]);
    master.guest.run(&["follow"]).expect(0).says("this VM is the master");
    let slave = Machine::slave(&pin, &service.url(), "n1", &[]);
    slave.guest.run(&["follow"]).expect(0).says("no cvm_cluster_follow");
    let wrong = Machine::slave(&pin, &service.url(), "n2", &["cvm_cluster_follow=x.conf"]);
    wrong.guest.run(&["follow"]).expect(65).says("no absolute path");
}
