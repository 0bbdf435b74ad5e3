//! Old and new mix: our agent and a shell client such as the original agent, with our service and with one that knows
//! the original API only.

use std::path::Path;
use std::process::{Command, Stdio};

use worlds::fixtures;
use worlds::guest::{Agent, Guest, USER_DATA};
use worlds::process::Process;
use worlds::relay;
use worlds::scripted::Scripted;
use worlds::service::Service;
use worlds::together::together;
use worlds::wait::until;

/// Where documentation keeps its addresses (RFC 5737).
const ADDRESS: &str = "192.0.2.77";

/// Who plays a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Agent,
    Curl,
    BusyboxWget,
}

use Kind::{Agent as Ours, BusyboxWget, Curl};

#[test]
fn every_master_brings_up_every_slave_on_the_new_service() {
    let service = Service::start();
    let wire = relay::recorded(service.api());
    let kinds = [Ours, Curl, BusyboxWget];
    together(kinds.iter().flat_map(|master| kinds.map(|slave| (*master, slave))), |(master, slave)| {
        pair(&wire, &service, master, slave, if slave == Ours { 1 } else { 2 });
    });
}

#[test]
fn every_master_brings_up_every_slave_on_the_old_service() {
    let service = Service::with(&["--max-value-length", "1000"]);
    let wire = relay::old(service.api());
    together([(Ours, Ours), (Ours, Curl), (Curl, Ours), (BusyboxWget, Ours)], |(master, slave)| {
        pair(&wire, &service, master, slave, 2);
    });
}

/// The slave first, as it may happen, then the master, then its readiness. A slave that has looked for readiness so
/// often waits: ours asks a service that can wait once, all others ask again and again.
fn pair(service: &Scripted, state: &Service, master: Kind, slave: Kind, looks: usize) {
    let state = state.api();
    println!("-- a master by {master:?} and a slave by {slave:?}");
    let pin = state.new_pin();
    let before = fixtures::slave(&pin, &service.url());
    let slave_guest = Guest::new("slave", &before);
    let waiting = slave.start_slave(&slave_guest, &service.url(), &pin);
    until("the slave waits", || (polls(service, &pin) >= looks).then_some(()));

    let context = fixtures::master(&pin, &service.url());
    let context = fixtures::with_settings(&context, &[&format!("cvm_cluster_master_ip={ADDRESS}")]);
    let master_guest = Guest::new("master", context);
    master.push_address(&master_guest, &service.url(), &pin);
    assert_eq!(state.value(&pin, "master_ip").as_deref(), Some(ADDRESS));
    assert_eq!(state.value(&pin, "master_ready"), None);
    assert_eq!(slave_guest.context(), before, "not before the master is ready");

    master.say_ready(&master_guest, &service.url(), &pin);
    waiting.finish();
    let after = before.replace("###MASTER_IP_PLACEHOLDER###", ADDRESS);
    assert_eq!(slave_guest.context(), after);
}

/// How often a slave has looked whether the master is ready.
fn polls(service: &Scripted, pin: &str) -> usize {
    let path = format!("/api/v1/clusters/{pin}/keys/master_ready");
    service.seen().iter().filter(|seen| seen.path == path).count()
}

enum Waiting {
    Ours(Agent),
    Shell(Process),
}

impl Waiting {
    fn finish(self) {
        match self {
            Self::Ours(agent) => {
                agent.finish().expect(0);
            }
            Self::Shell(mut process) => assert!(process.wait().success(), "{}", process.stderr()),
        }
    }
}

impl Kind {
    fn start_slave(self, guest: &Guest, url: &str, pin: &str) -> Waiting {
        if self == Ours {
            return Waiting::Ours(guest.start(&["contextualize"]));
        }
        let file = guest.path(USER_DATA);
        let file = file.to_str().expect("temporary directories have plain names");
        Waiting::Shell(Process::start("shell slave", &mut self.shell(&["slave", url, pin, file])))
    }

    fn push_address(self, guest: &Guest, url: &str, pin: &str) {
        if self == Ours {
            guest.run(&["contextualize"]).expect(0);
        } else {
            self.run_shell(&["master", url, pin, ADDRESS]);
        }
    }

    fn say_ready(self, guest: &Guest, url: &str, pin: &str) {
        if self == Ours {
            guest.run(&["master-ready"]).expect(0);
        } else {
            self.run_shell(&["ready", url, pin]);
        }
    }

    fn run_shell(self, args: &[&str]) {
        let mut process = Process::start("shell master", &mut self.shell(args));
        assert!(process.wait().success(), "{}", process.stderr());
    }

    fn shell(self, args: &[&str]) -> Command {
        let client = match self {
            Curl => "curl",
            BusyboxWget => "wget",
            Ours => unreachable!("it is no shell script"),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shell-agent");
        let mut command = Command::new(script);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        command.arg(client).args(args);
        command
    }
}
