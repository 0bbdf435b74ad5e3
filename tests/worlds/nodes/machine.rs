//! A VM of cloud-init, as far as the agent can see one.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;
use worlds::api::Api;
use worlds::fixtures;
use worlds::guest::{Agent, Finished, Guest};
use worlds::http::Request;
use worlds::process::Process;

/// Where documentation keeps its addresses (RFC 5737).
pub(crate) const MASTER: &str = "192.0.2.1";

/// A VM with a host name.
pub(crate) struct Machine {
    pub(crate) guest: Guest,
    context: String,
    name: &'static str,
    boots: u32,
}

impl Machine {
    pub(crate) fn new(context: String, name: &'static str) -> Self {
        let guest = Guest::with_files(name, &[("/etc/hostname", name.as_bytes())]);
        let link = guest.path("/var/lib/cloud/instance");
        guest.write(&format!("/var/lib/cloud/instances/iid-{name}/boot-finished"), "");
        symlink(format!("/var/lib/cloud/instances/iid-{name}"), link).expect("a link can be made");
        let mut machine = Self { guest, context, name, boots: 0 };
        machine.lay_down();
        machine
    }

    pub(crate) fn master(pin: &str, url: &str, settings: &[&str]) -> Self {
        let address = format!("cvm_cluster_master_ip={MASTER}");
        let context = fixtures::with_settings(&fixtures::master(pin, url), &[&address]);
        Self::new(fixtures::with_settings(&context, settings), "master")
    }

    pub(crate) fn slave(pin: &str, url: &str, name: &'static str, settings: &[&str]) -> Self {
        Self::new(fixtures::with_settings(&fixtures::slave(pin, url), settings), name)
    }

    /// What cloud-init does at every boot before the agent runs.
    pub(crate) fn lay_down(&mut self) {
        self.boots += 1;
        for file in ["user-data.txt", "user-data.txt.i"] {
            self.guest.write(&format!("/var/lib/cloud/instances/iid-{}/{file}", self.name), &self.context);
        }
        let config = "#cloud-config\nruncmd:\n- join ###MASTER_IP_PLACEHOLDER###\n";
        self.guest.write(&format!("/var/lib/cloud/instances/iid-{}/cloud-config.txt", self.name), config);
        // Empty at each boot but for what the boot itself puts there.
        self.guest.write("/run/cernvm-cluster/boot-id", format!("boot-{}", self.boots));
    }

    pub(crate) fn start(&self) -> Agent {
        self.guest.start(&["contextualize", "--cloud-init"])
    }

    pub(crate) fn contextualize(&self) -> Finished {
        self.guest.run(&["contextualize", "--cloud-init"])
    }

    /// What the unit after the boot does.
    pub(crate) fn is_up(&self) -> Finished {
        self.guest.run(&["master-ready"])
    }

    /// What that unit does at shutdown.
    pub(crate) fn shuts_down(&self) {
        self.guest.run(&["master-ready", "--withdraw"]).expect(0);
    }
}

/// The nodes of a pin as the service lists them.
pub(crate) fn listed(api: Api, pin: &str) -> Vec<Value> {
    let answer = api.get(&nodes(pin));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["nodes"].as_array().expect("there is a list").clone()
}

/// What a node of this name has reported, if any.
pub(crate) fn report(api: Api, pin: &str, name: &str) -> Option<Value> {
    listed(api, pin).into_iter().map(|node| node["report"].clone()).find(|report| report["name"] == name)
}

/// The state of a node; empty where there is none.
pub(crate) fn state(api: Api, pin: &str, name: &str) -> String {
    report(api, pin, name)
        .map(|report| report["state"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

pub(crate) fn nodes(pin: &str) -> String {
    format!("/api/v1/clusters/{pin}/nodes")
}

/// Reports a node as its agent would.
pub(crate) fn put(api: Api, pin: &str, id: &str, report: &Value) {
    let answer = api.ask(&Request::new("PUT", &format!("{}/{id}", nodes(pin))).json(report));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// A user's command on a machine that belongs to no cluster.
pub(crate) fn outside(args: &[&str]) -> Process {
    let mut command = Command::new(worlds::binaries::agent());
    command.env_clear().args(args).stdin(Stdio::null());
    Process::start("outside", &mut command)
}
