//! A VM of cloud-init, as far as the agent can see one.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::api::Api;
use crate::fixtures;
use crate::guest::{Agent, Finished, Guest};
use crate::http::Request;
use crate::process::Process;

/// Where documentation keeps its addresses (RFC 5737).
pub const MASTER: &str = "192.0.2.1";

/// A VM with a host name.
#[derive(Debug)]
pub struct Machine {
    /// Its files.
    pub guest: Guest,
    context: String,
    name: &'static str,
    boots: u32,
}

impl Machine {
    /// A VM with this context and host name, before its first boot.
    ///
    /// # Panics
    /// When its files cannot be written.
    #[must_use]
    pub fn new(context: String, name: &'static str) -> Self {
        let guest = Guest::with_files(name, &[("/etc/hostname", name.as_bytes())]);
        let link = guest.path("/var/lib/cloud/instance");
        guest.write(&format!("/var/lib/cloud/instances/iid-{name}/boot-finished"), "");
        symlink(format!("/var/lib/cloud/instances/iid-{name}"), link).expect("a link can be made");
        let mut machine = Self { guest, context, name, boots: 0 };
        machine.lay_down();
        machine
    }

    /// A master at [`MASTER`], with further settings.
    #[must_use]
    pub fn master(pin: &str, url: &str, settings: &[&str]) -> Self {
        let address = format!("cvm_cluster_master_ip={MASTER}");
        let context = fixtures::with_settings(&fixtures::master(pin, url), &[&address]);
        Self::new(fixtures::with_settings(&context, settings), "master")
    }

    /// A slave, with further settings.
    #[must_use]
    pub fn slave(pin: &str, url: &str, name: &'static str, settings: &[&str]) -> Self {
        Self::new(fixtures::with_settings(&fixtures::slave(pin, url), settings), name)
    }

    /// What cloud-init does at every boot before the agent runs.
    pub fn lay_down(&mut self) {
        self.boots += 1;
        for file in ["user-data.txt", "user-data.txt.i"] {
            self.guest.write(&format!("/var/lib/cloud/instances/iid-{}/{file}", self.name), &self.context);
        }
        let config = "#cloud-config\nruncmd:\n- join ###MASTER_IP_PLACEHOLDER###\n";
        self.guest.write(&format!("/var/lib/cloud/instances/iid-{}/cloud-config.txt", self.name), config);
        // Empty at each boot but for what the boot itself puts there.
        self.guest.write("/run/cernvm-cluster/boot-id", format!("boot-{}", self.boots));
    }

    /// Starts the agent as a boot does.
    #[must_use]
    pub fn start(&self) -> Agent {
        self.guest.start(&["contextualize", "--cloud-init"])
    }

    /// Runs the agent as a boot does, to its end.
    #[must_use]
    pub fn contextualize(&self) -> Finished {
        self.guest.run(&["contextualize", "--cloud-init"])
    }

    /// What the unit after the boot does.
    #[must_use]
    pub fn is_up(&self) -> Finished {
        self.guest.run(&["master-ready"])
    }

    /// What that unit does at shutdown.
    pub fn shuts_down(&self) {
        self.guest.run(&["master-ready", "--withdraw"]).expect(0);
    }
}

/// The nodes of a pin as the service lists them.
///
/// # Panics
/// When it lists none.
#[must_use]
pub fn listed(api: Api, pin: &str) -> Vec<Value> {
    let answer = api.get(&nodes(pin));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["nodes"].as_array().expect("there is a list").clone()
}

/// What a node of this name has reported, if any.
#[must_use]
pub fn report(api: Api, pin: &str, name: &str) -> Option<Value> {
    listed(api, pin).into_iter().map(|node| node["report"].clone()).find(|report| report["name"] == name)
}

/// The state of a node; empty where there is none.
#[must_use]
pub fn state(api: Api, pin: &str, name: &str) -> String {
    report(api, pin, name)
        .map(|report| report["state"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// The path of a pin's nodes.
#[must_use]
pub fn nodes(pin: &str) -> String {
    format!("/api/v1/clusters/{pin}/nodes")
}

/// Reports a node as its agent would.
///
/// # Panics
/// When the service refuses.
pub fn put(api: Api, pin: &str, id: &str, report: &Value) {
    let answer = api.ask(&Request::new("PUT", &format!("{}/{id}", nodes(pin))).json(report));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// A user's command on a machine that belongs to no cluster.
#[must_use]
pub fn outside(args: &[&str]) -> Process {
    let mut command = Command::new(crate::binaries::agent());
    command.env_clear().args(args).stdin(Stdio::null());
    Process::start("outside", &mut command)
}
