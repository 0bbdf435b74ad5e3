//! From a type to a joined cluster, by the command line.

use serde_json::Value;
use worlds::guest::Agent;
use worlds::machine::{MASTER, Machine};
use worlds::service::Service;
use worlds::wait::until;

use crate::cloud::{Cloud, Made, Manners};
use crate::home::{Home, finish, launch};

/// The machines of a stack, as Nova would boot them: with the user-data that Heat makes of the template.
pub(crate) fn machines(made: &Made) -> (Machine, [Machine; 2]) {
    let contexts = made.stack.contexts();
    let of = |resource: &str| {
        let context = contexts.iter().find(|context| context.resource == resource);
        context.unwrap_or_else(|| panic!("{resource} has no context")).user_data.clone()
    };
    // Both ends are on loopback, so the address says nothing.
    let setting = format!("#cvm_cluster_master_ip={MASTER}\n#[ucernvm-end]");
    let master = Machine::new(of("master").replace("#[ucernvm-end]", &setting), "master");
    let worker = of("workers");
    (master, [Machine::new(worker.clone(), "worker-0"), Machine::new(worker, "worker-1")])
}

/// Boots them.
pub(crate) fn boot(made: &Made) {
    let (master, workers) = machines(made);
    let waiting: Vec<Agent> = workers.iter().map(Machine::start).collect();
    master.contextualize().expect(0);
    master.is_up().expect(0);
    for agent in waiting {
        agent.finish().expect(0);
    }
    for worker in &workers {
        worker.is_up().expect(0);
    }
}

/// The first stack of a cloud, as soon as it is there.
pub(crate) fn stack(cloud: &Cloud) -> Made {
    until("there is a stack", || cloud.stacks().into_iter().next())
}

/// What pairing has filled in.
pub(crate) fn filled(made: &Made, parameter: &str) -> String {
    made.stack.parameters[parameter].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_launch_ends_with_the_last_node_and_a_delete_leaves_nothing() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    let command = launch("lab", &url, &[]);
    let running = home.start(&cloud, &command);
    let made = stack(&cloud);
    assert!(made.name.starts_with("lab--"), "{}", made.name);
    let (pin, secret) = (filled(&made, "pairing-pin"), filled(&made, "pairing-secret"));
    assert_eq!((pin.len(), secret.len(), filled(&made, "pairing-url")), (12, 43, url.clone()));
    until("the stack is complete", || running.stderr().contains("CREATE_COMPLETE").then_some(()));
    boot(&made);
    let done = finish(running);
    done.expect(0, "state   ready: 3 of 3 nodes are ready");
    for words in ["stack: CREATE_IN_PROGRESS", "node master (master): ready", "node worker-1 (slave): ready"]
    {
        done.expect(0, words);
    }
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(!said.contains(&pin) && !said.contains(&secret), "{said}");

    // Again with the same name: the same cluster.
    home.run(&cloud, &command).expect(0, "going on with the cluster lab");
    assert_eq!(cloud.created(), 1);

    let list = home.run(&cloud, &["list", "--json", "--pairing-url", &url]);
    let list: Value = serde_json::from_str(&list.expect(0, "").stdout).expect("it is JSON");
    assert_eq!((&list[0]["cluster"], &list[0]["state"]), (&"lab".into(), &"ready".into()));
    assert_eq!(list[0]["nodes"].as_array().map(Vec::len), Some(3));
    assert!(!list.to_string().contains(&pin) && !list.to_string().contains(&secret));
    home.run(&cloud, &["show", "lab", "--pairing-url", &url]).expect(0, "worker-0");

    home.run(&cloud, &["delete", "lab", "--pairing-url", &url]).expect(0, "nothing is left");
    nothing_is_left(&cloud, &home, &service, &pin);
    home.run(&cloud, &["show", "lab", "--pairing-url", &url]).expect(64, "no cluster lab");
    service_log_has_no(&service, &secret);
}

#[test]
fn a_launch_that_was_killed_goes_on_with_the_same_stack_and_pin() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    let command = launch("lab", &url, &[]);
    let mut killed = home.start(&cloud, &command);
    let made = stack(&cloud);
    killed.kill();
    // With one node less than there are, it does not end by itself.
    home.run(&cloud, &launch("lab", &url, &["--timeout", "0"]))
        .expect(75, "no ready node is called master, worker-0, worker-1");
    let running = home.start(&cloud, &command);
    boot(&made);
    finish(running).expect(0, "3 of 3 nodes are ready");
    assert_eq!((cloud.created(), home.records().len()), (1, 1));
}

#[test]
fn a_stack_that_came_without_an_answer_is_found_by_its_name() {
    use crate::cloud::Create;
    let (service, cloud, home) = (
        Service::start(),
        Cloud::start(Manners { create: Some(Create::Silent), ..Manners::default() }),
        Home::new(),
    );
    let url = service.url();
    let command = launch("lab", &url, &[]);
    let done = home.run_with(&cloud, &command, &[("CERNVM_LAUNCHER_CLOUD_TIMEOUT", "1")]);
    done.expect(75, "Heat does not answer: there was no whole answer in time");
    let made = stack(&cloud);
    cloud.behave(|manners| manners.create = None);
    let running = home.start(&cloud, &command);
    boot(&made);
    finish(running).expect(0, "3 of 3 nodes are ready");
    assert_eq!(cloud.created(), 1);
    home.run(&cloud, &["delete", "lab", "--pairing-url", &url]).expect(0, "nothing is left");
}

#[test]
fn a_token_that_ends_in_the_middle_is_renewed() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    let running = home.start(&cloud, &launch("lab", &url, &[]));
    let made = stack(&cloud);
    cloud.expire_tokens();
    boot(&made);
    finish(running).expect(0, "3 of 3 nodes are ready");
    assert_eq!(cloud.logins(), 2);
    assert!(cloud.lines().iter().all(|line| !line.contains("password")), "a secret is in an address");
}

/// Nothing of a launch is at the cloud, at the pairing service or here.
pub(crate) fn nothing_is_left(cloud: &Cloud, home: &Home, service: &Service, pin: &str) {
    assert!(cloud.stacks().is_empty(), "a stack is left");
    assert_eq!(home.records(), Vec::<std::path::PathBuf>::new());
    assert_eq!(service.api().get(&format!("/api/v1/clusters/{pin}")).status, 404, "the pin is left");
}

fn service_log_has_no(service: &Service, secret: &str) {
    assert!(!service.log().contains(secret), "the service got the secret");
}
