//! The launcher on a real OpenStack, Debian's: clusters of the shipped types are launched, and what goes wrong is said.
//!
//! Nova's driver is its fake one, so that servers do not boot. Their machines are booted beside it, under systemd-nspawn,
//! with the user-data that Heat has handed to Nova, with their addresses and with their ids.
//!
//!     make test-openstack

mod cloud;
mod notified;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

use cloud::{Cloud, DEMO, POOR, Server, User};
use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;
use worlds::process::Process;
use worlds::wait::until;

/// Answers to the parameters of the shipped types.
const ANSWERS: [&str; 5] =
    ["image=tiny", "key=key", "master-flavour=m1.tiny", "worker-flavour=m1.tiny", "external-network=outside"];
/// The packages are in the root already and there is no mirror to reach.
const NO_MIRROR: &str = "apt: {preserve_sources_list: true}\n";

/// A lab with a pairing service, an OpenStack, and what the launcher keeps.
struct World<'lab> {
    lab: &'lab Lab,
    service: LabService<'lab>,
    cloud: Cloud<'lab>,
    types: PathBuf,
}

impl<'lab> World<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let types = lab.dir().join("types");
        let enabled = types.join("cluster-types-enabled");
        std::fs::create_dir_all(&enabled).expect("there is room");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples/cluster-types");
        let shipped = shipped.canonicalize().expect("it is in the repository");
        for id in ["workers", "slurm", "k3s"] {
            std::os::unix::fs::symlink(shipped.join(id), enabled.join(id)).expect("a link can be made");
        }
        Self { lab, service: LabService::up(lab), cloud: Cloud::in_lab(lab), types }
    }

    fn launcher(&self, user: User<'_>, args: &[&str]) -> std::process::Command {
        let mut command = self.cloud.command(&binaries::launcher(), user);
        command.args(args).arg("--data-dir").arg(self.lab.dir().join("launches"));
        command.args(["--pairing-url", &self.service.url()]);
        if args[0] == "launch" {
            command.arg("--types").arg(&self.types);
        }
        command
    }

    fn launch(&self, user: User<'_>, kind: &str, name: &str, more: &[&str]) -> std::process::Command {
        let answers = ANSWERS.iter().flat_map(|answer| ["--set", answer]);
        let args: Vec<&str> =
            ["launch", kind, "--name", name].into_iter().chain(answers).chain(more.iter().copied()).collect();
        self.launcher(user, &args)
    }

    fn run(&self, user: User<'_>, args: &[&str]) -> Output {
        self.launcher(user, args).output().expect("nsenter starts")
    }

    /// The servers of a cluster, once Nova has as many with their addresses.
    fn servers_of(&self, name: &str, count: usize) -> Vec<Server> {
        until("Nova has the servers", || {
            let mut servers = self.cloud.servers();
            servers.retain(|server| {
                server.name.starts_with(&format!("{name}--"))
                    && server.status == "ACTIVE"
                    && server.address.is_some()
            });
            (servers.len() == count).then_some(servers)
        })
    }

    /// A machine that boots as this server would.
    fn machine(&self, debian: &Debian, server: &Server, name: &str) -> Machine<'lab> {
        let machine = Machine::new(self.lab, debian, name, server.address.expect("it has one"));
        machine.root().install("agent", &binaries::static_agent());
        machine
            .root()
            .sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
        machine.root().write("/etc/cloud/cloud.cfg.d/90-no-mirror.cfg", NO_MIRROR);
        machine.root().write("/etc/apt/sources.list", "");
        machine.seed(&server.id, server.user_data());
        machine
    }

    fn assert_nothing_is_left(&self, name: &str) {
        until("the servers are gone", || {
            let prefix = format!("{name}--");
            self.cloud.servers().iter().all(|server| !server.name.starts_with(&prefix)).then_some(())
        });
        let listed = self.run(DEMO, &["list", "--json"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!listed.contains(&format!("\"{name}\"")), "{listed}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[ignore = "needs root and an OpenStack: make test-openstack"]
fn a_cluster_is_launched_joins_is_shown_and_goes() {
    let lab = Lab::new();
    let world = World::new(&lab);
    let debian = Debian::root_of(Release::Bookworm);
    let began = Instant::now();
    let mut launch = Process::start("launch", &mut world.launch(DEMO, "workers", "lab", &[]));
    let servers = world.servers_of("lab", 3);
    println!("# {:?} after the request Nova has {} servers", began.elapsed(), servers.len());
    let mut workers = 0;
    let mut machines: Vec<_> = servers
        .iter()
        .map(|server| {
            let name = if server.name.ends_with("-master") {
                "master".to_owned()
            } else {
                workers += 1;
                format!("worker{workers}")
            };
            world.machine(&debian, server, &name)
        })
        .collect();
    machines.iter_mut().for_each(Machine::boot);
    for machine in &mut machines {
        machine.wait_until_booted();
    }
    let status = launch.wait();
    println!(
        "# the launch ends after {:?}: {status}\n{}\n{}",
        began.elapsed(),
        launch.stderr(),
        launch.stdout()
    );
    assert!(status.success(), "{}", launch.stderr());

    let shown = world.run(DEMO, &["show", "lab"]);
    println!("# cernvm-cluster-launcher show lab\n{}", text(&shown.stdout));
    let json = text(&world.run(DEMO, &["show", "lab", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["state"], "ready", "{json}");
    let master = servers.iter().find(|server| server.name.ends_with("-master")).expect("there is one");
    let master = master.address.expect("it has one");
    for worker in machines.iter().filter(|machine| machine.address() != master) {
        assert_eq!(worker.sh("cat /etc/cluster/master").trim(), master.to_string());
    }

    let again = world.launch(DEMO, "workers", "lab", &[]).output().expect("nsenter starts");
    assert!(again.status.success(), "the launch of a cluster that is there: {}", text(&again.stderr));
    assert_eq!(world.servers_of("lab", 3).len(), 3, "nothing was launched twice");
    let deleted = world.run(DEMO, &["delete", "lab"]);
    assert!(deleted.status.success(), "{}", text(&deleted.stderr));
    world.assert_nothing_is_left("lab");
}

/// The stacks of the other types: as far as a cloud goes that boots nothing.
#[test]
#[ignore = "needs root and an OpenStack: make test-openstack"]
fn every_shipped_type_is_built() {
    let lab = Lab::new();
    let world = World::new(&lab);
    for kind in ["slurm", "k3s"] {
        let began = Instant::now();
        // No node of it boots, so that the launch ends with who is missing.
        let mut launch = world.launch(
            DEMO,
            kind,
            kind,
            &["--timeout", "60", "--keep-on-failure", "--set", "worker-count=1"],
        );
        let ended = launch.output().expect("nsenter starts");
        println!("# {kind} after {:?}: {}\n{}", began.elapsed(), ended.status, text(&ended.stderr));
        assert_eq!(ended.status.code(), Some(75), "{}", text(&ended.stderr));
        let servers = world.servers_of(kind, 2);
        for server in &servers {
            let context = text(&server.user_data());
            assert!(context.contains("cvm_cluster_secret=") && !context.contains("<pin>"), "{}", server.name);
        }
        assert!(world.run(DEMO, &["delete", kind]).status.success());
        world.assert_nothing_is_left(kind);
    }
}

/// What goes wrong: one clear sentence each, a status that tells it apart, and nothing left behind.
#[test]
#[ignore = "needs root and an OpenStack: make test-openstack"]
fn what_goes_wrong_is_said_and_leaves_nothing_behind() {
    let lab = Lab::new();
    let world = World::new(&lab);
    let mut wrong = Vec::new();
    let mut refused = |what: &str, user: User<'_>, more: &[&str], status: i32, says: &str| {
        let began = Instant::now();
        let ended = world.launch(user, "workers", "bad", more).output().expect("nsenter starts");
        let said = text(&ended.stderr);
        println!("# {what}: {:?}, {}\n{said}", began.elapsed(), ended.status);
        let has_secret = said.contains("cvm_cluster_secret") || said.contains("password=");
        if ended.status.code() != Some(status) || !said.contains(says) || has_secret {
            wrong.push(format!("{what}: {}, {said}", ended.status));
        }
    };
    // Keystone does not tell these two apart.
    refused("wrong password", User { password: "wrong", ..DEMO }, &[], 77, "refuses the credentials");
    refused("unknown project", User { project: "nowhere", ..DEMO }, &[], 77, "refuses the credentials");
    refused("quota", POOR, &[], 77, "limit");
    refused("unknown flavour", DEMO, &["--set", "worker-flavour=m9.none"], 65, "m9.none");
    refused("unknown image", DEMO, &["--set", "image=none"], 65, "none");
    refused("a value out of range", DEMO, &["--set", "worker-count=0"], 65, "1 to 100 workers");
    world.assert_nothing_is_left("bad");
    // The last takes no request for a network, so that the stack fails half-way.
    for (service, status, says) in
        [("heat-api", 69, "Heat "), ("keystone", 69, "Keystone "), ("neutron", 69, "Heat answers 500")]
    {
        let broken = world.cloud.without(service);
        refused(&format!("{service} is down"), DEMO, &[], status, says);
        drop(broken);
        world.assert_nothing_is_left("bad");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
