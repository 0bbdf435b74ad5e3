//! Old and new mix: our agent and a shell client such as the original agent, with our service and with one that knows
//! the original API only.

use std::path::Path;
use std::process::{Command, Stdio};

use worlds::fixtures;
use worlds::guest::{Agent, Guest, USER_DATA};
use worlds::mock_server::MockServer;
use worlds::process::Process;
use worlds::relay;
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
        pair(&wire, &service, master, slave, false, if slave == Ours { 1 } else { 2 });
    });
}

#[test]
fn every_master_brings_up_every_slave_on_the_old_service() {
    let service = Service::with(&["--max-value-length", "1000"]);
    let wire = relay::old(service.api());
    together([(Ours, Ours), (Ours, Curl), (Curl, Ours), (BusyboxWget, Ours)], |(master, slave)| {
        pair(&wire, &service, master, slave, false, 2);
    });
}

/// What the old service knows of a sealed cluster are values like any others, of at most 1000 characters.
#[test]
fn a_sealed_cluster_comes_up_on_either_service() {
    let service = Service::with(&["--max-value-length", "1000"]);
    for (wire, looks) in [(relay::recorded(service.api()), 1), (relay::old(service.api()), 2)] {
        pair(&wire, &service, Ours, Ours, true, looks);
        let pin = service.api().new_pin();
        let master = Guest::new("master", sealed(&fixtures::master(&pin, &wire.url())));
        let slave = Guest::new("slave", sealed(&fixtures::slave(&pin, &wire.url())));
        let longest = "x".repeat(719);
        master.run(&["publish", "a_key", &longest]).expect(0);
        assert_eq!(service.api().value(&pin, "a_key").map(|value| value.len()), Some(999));
        assert_eq!(slave.run(&["get", "a_key"]).expect(0).stdout, longest);
        let refused = master.run(&["publish", "a_key", &format!("{longest}x")]);
        refused.expect(65).says("sealed, the value has 1001 characters");
        assert_eq!(slave.run(&["get", "a_key"]).expect(0).stdout, longest);
    }
}

/// What the documentation warns of: every node of a sealed cluster needs our agent.
#[test]
fn an_old_agent_in_a_sealed_cluster_breaks_it_and_ours_says_so() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let url = service.url();
    let context = sealed(&fixtures::master(&pin, &url));
    let context = fixtures::with_settings(&context, &[&format!("cvm_cluster_master_ip={ADDRESS}")]);
    let master = Guest::new("master", context);
    Ours.push_address(&master, &url, &pin);
    Ours.say_ready(&master, &url, &pin);
    let old_slave = Guest::new("slave", sealed(&fixtures::slave(&pin, &url)));
    Curl.start_slave(&old_slave, &url, &pin).finish();
    assert!(old_slave.context().contains("my_master_ip=v1."), "{}", old_slave.context());

    let pin = service.api().new_pin();
    let old_master = Guest::new("master", sealed(&fixtures::master(&pin, &url)));
    Curl.push_address(&old_master, &url, &pin);
    Curl.say_ready(&old_master, &url, &pin);
    let context = sealed(&fixtures::slave(&pin, &url));
    let slave = Guest::new("slave", &context);
    slave.run(&["contextualize"]).expect(77).says("is not sealed").says("this agent on every node");
    assert_eq!(slave.context(), context);
}

/// 32 bytes, in base64url.
const SECRET: &str = "0ldAndNewTogether_-AAAAAAAAAAAAAAAAAAAAAAAA";

fn sealed(context: &str) -> String {
    fixtures::with_settings(context, &[&format!("cvm_cluster_secret={SECRET}")])
}

/// The slave first, as it may happen, then the master, then its readiness. A slave that has looked for readiness so
/// often waits: ours asks a service that can wait once, all others ask again and again.
fn pair(service: &MockServer, state: &Service, master: Kind, slave: Kind, is_sealed: bool, looks: usize) {
    let state = state.api();
    println!("-- a master by {master:?} and a slave by {slave:?}");
    let pin = state.new_pin();
    let with_secret = |context: String| if is_sealed { sealed(&context) } else { context };
    let before = with_secret(fixtures::slave(&pin, &service.url()));
    let slave_guest = Guest::new("slave", &before);
    let waiting = slave.start_slave(&slave_guest, &service.url(), &pin);
    until("the slave waits", || (polls(service, &pin) >= looks).then_some(()));

    let context = with_secret(fixtures::master(&pin, &service.url()));
    let context = fixtures::with_settings(&context, &[&format!("cvm_cluster_master_ip={ADDRESS}")]);
    let master_guest = Guest::new("master", context);
    master.push_address(&master_guest, &service.url(), &pin);
    let stored = state.value(&pin, "master_ip").expect("it is there");
    assert_eq!(stored == ADDRESS, !is_sealed, "{stored}");
    assert_eq!(state.value(&pin, "master_ready"), None);
    assert_eq!(slave_guest.context(), before, "not before the master is ready");

    master.say_ready(&master_guest, &service.url(), &pin);
    waiting.finish();
    let after = before.replace("###MASTER_IP_PLACEHOLDER###", ADDRESS);
    assert_eq!(slave_guest.context(), after);
}

/// How often a slave has looked whether the master is ready.
fn polls(service: &MockServer, pin: &str) -> usize {
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
