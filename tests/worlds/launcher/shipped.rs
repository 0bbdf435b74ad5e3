//! The other types that are shipped, launched until every node is ready: the agents run as on the servers, on the user-data
//! that Heat would hand out. What the contexts install is not run here; a boot world does that for Slurm.

use worlds::guest::Agent;
use worlds::machine::{MASTER, Machine};
use worlds::service::Service;
use worlds::wait::until;

use crate::cloud::{Cloud, Manners};
use crate::cluster::{filled, nothing_is_left, stack};
use crate::home::{Home, finish, launch};

/// What a master of a type publishes when its software runs.
const PUBLISHED: [(&str, &str, &str); 2] =
    [("slurm", "munge_key", "bXVuZ2Uta2V5"), ("k3s", "k3s_token", "K10ab::server:cd")];

/// The context of a master whose address is [`MASTER`]: both ends are on loopback here, which is no address of a node.
fn with_address(context: &str) -> String {
    let line =
        context.lines().find(|line| line.ends_with("cvm_cluster_master=yes")).expect("it is a master's");
    let comment = line.trim_end_matches("cvm_cluster_master=yes");
    context.replace(line, &format!("{line}\n{comment}cvm_cluster_master_ip={MASTER}"))
}

/// What cloud-init makes of a context: it runs this.
fn configuration(context: &str) -> &str {
    let (_, config) = context.split_once("#cloud-config").expect("it has one");
    config.split("\n--=").next().unwrap_or_default()
}

#[test]
fn clusters_of_every_type_become_ready_and_their_workers_get_what_the_master_publishes() {
    for (kind, key, value) in PUBLISHED {
        let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
        let url = service.url();
        let mut command = launch("lab", &url, &[]);
        command[1] = kind;
        let running = home.start(&cloud, &command);
        let made = stack(&cloud);
        let contexts = made.stack.contexts();
        let of = |resource: &str| {
            let context = contexts.iter().find(|context| context.resource == resource);
            context.unwrap_or_else(|| panic!("{kind}: {resource} has no context")).user_data.clone()
        };
        let master = Machine::new(with_address(&of("master")), "master");
        let workers = ["worker-0", "worker-1"].map(|name| Machine::new(of("workers"), name));
        let config = |machine: &Machine| {
            format!("/var/lib/cloud/instances/iid-{}/cloud-config.txt", machine.guest.name())
        };
        for worker in &workers {
            worker.guest.write(&config(worker), configuration(&of("workers")));
        }
        let waiting: Vec<Agent> = workers.iter().map(Machine::start).collect();
        master.contextualize().expect(0);
        master.guest.run_with_input(&["publish", key, "-"], value.as_bytes()).expect(0);
        master.is_up().expect(0);
        for agent in waiting {
            agent.finish().expect(0);
        }
        for worker in &workers {
            let run = String::from_utf8_lossy(&worker.guest.read(&config(worker))).into_owned();
            assert!(run.contains(value) && run.contains(MASTER), "{kind}: {run}");
            assert!(!run.contains("PLACEHOLDER###"), "{kind}: {run}");
            worker.is_up().expect(0);
        }
        finish(running).expect(0, "3 of 3 nodes are ready");
        let kept = service.api().value(&filled(&made, "pairing-pin"), key).expect("it is published");
        assert!(!kept.contains(value), "{kind}: it is not sealed");
        home.run(&cloud, &["delete", "lab", "--pairing-url", &url]).expect(0, "nothing is left");
        until("the stack is gone", || cloud.stacks().is_empty().then_some(()));
        nothing_is_left(&cloud, &home, &service, &filled(&made, "pairing-pin"));
    }
}
