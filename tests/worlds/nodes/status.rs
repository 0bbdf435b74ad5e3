//! `status` in a guest: what `watch` shows, of the cluster that the VM's own context names.

use std::process::Command;

use serde_json::Value;
use worlds::binaries;
use worlds::process::Process;
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

use super::machine::{MASTER, Machine};

const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const UNKNOWN_PIN: &str = "enico1qq0oey";

fn come_up(machine: &Machine) {
    machine.contextualize().expect(0);
    machine.is_up().expect(0);
}

/// The JSON objects that were printed.
fn views(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn a_guest_shows_its_cluster_until_it_is_ready() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = Machine::master(&pin, &service.url(), &[]);
    let slave = Machine::slave(&pin, &service.url(), "n1", &[]);
    let start = |options: &[&str]| {
        let mut command = Command::new(binaries::agent());
        command.env_clear().arg("--root").arg(slave.guest.root()).arg("status").args(options);
        Process::start("status", &mut command)
    };
    let (mut lines, mut json) = (start(&["--nodes", "2"]), start(&["--nodes", "2", "--json"]));
    until("both look on", || (lines.stdout().contains("live") && !json.stdout().is_empty()).then_some(()));
    come_up(&master);
    come_up(&slave);
    assert!(lines.wait().success() && json.wait().success(), "{} {}", lines.stderr(), json.stderr());
    let lines = lines.stdout();
    let at = |words: &str| lines.find(words).unwrap_or_else(|| panic!("{words} is not in\n{lines}"));
    assert!(at("waiting for the master") < at(&format!("the master {MASTER} is not ready yet")), "{lines}");
    assert!(at("node n1: slave is joined") < at("ready: 2 of 2"), "{lines}");
    assert!(lines.ends_with("…: ready: 2 of 2") && !lines.contains(&pin), "{lines}");
    let views = views(&json.stdout());
    assert_eq!(views.last().expect("there is one")["master"]["address"], MASTER);

    // It is ready at once for one that asks later, and its nodes are shown all the same.
    let later = master.guest.run(&["status"]);
    later.expect(0);
    assert!(later.stdout.contains("node n1: slave is ready"), "{}", later.stdout);
    // Somewhere else, with the pin.
    let elsewhere = Machine::slave(UNKNOWN_PIN, &service.url(), "other", &[]);
    elsewhere.guest.run(&["status", "--pin", &pin, "--url", &service.url()]).expect(0);
}

#[test]
fn a_sealed_cluster_is_read_with_the_secret_of_the_context() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let sealed = format!("cvm_cluster_secret={SECRET}");
    let master = Machine::master(&pin, &service.url(), &[&sealed]);
    let slave = Machine::slave(&pin, &service.url(), "n1", &[&sealed]);
    [&master, &slave].into_iter().for_each(come_up);
    let shown = slave.guest.run(&["status", "--json", "--nodes", "2"]);
    shown.expect(0);
    let last = views(&shown.stdout).pop().expect("there is one");
    assert_eq!(last["master"]["address"], MASTER);
    assert_eq!(last["nodes"].as_array().map(Vec::len), Some(2), "{last}");
    assert!(!shown.stdout.contains(SECRET) && !shown.stdout.contains(&pin), "{}", shown.stdout);

    // One with another secret believes nothing of it, and says so.
    let other = format!("cvm_cluster_secret={}A", "B".repeat(42));
    let foreign = Machine::slave(&pin, &service.url(), "n2", &[&other]);
    let refused = foreign.guest.run(&["status", "--timeout", "1"]);
    refused.expect(75);
    for words in [
        "the master not sealed with this secret is not ready yet",
        "left out: it was not sealed",
        "2 entries",
    ] {
        assert!(refused.stdout.contains(words), "{words} is not in\n{}", refused.stdout);
    }
}

#[test]
fn an_error_says_what_to_do() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let status = |context: &Machine, options: &[&str]| context.guest.run(&[&["status"], options].concat());
    let waiting = Machine::slave(&pin, &service.url(), "n1", &[]);
    status(&waiting, &["--timeout", "1"])
        .expect(75)
        .says("the master is not ready after 1 s: waiting for the master")
        .says("look at the console of the machines that are missing");
    status(&waiting, &["--timeout", "1", "--nodes", "3"]).expect(75).says("0 of 3 nodes are ready after 1 s");
    let lost = Machine::slave(UNKNOWN_PIN, &service.url(), "lost", &[]);
    status(&lost, &[]).expect(77).says("does not know the pin").says("make a new pin");

    // Nothing listens there.
    let mut gone = Service::start();
    gone.kill();
    let alone = Machine::slave(&pin, &gone.url(), "alone", &[]);
    let refused = status(&alone, &["--timeout", "1"]);
    refused
        .expect(75)
        .says("the service is not there")
        .says("check cvm_service_url, and that TCP 127.0.0.1:");
    assert!(refused.stdout.contains("link: lost"), "{}", refused.stdout);

    // The original has no events.
    let old = relay::old(service.api());
    let early = Machine::slave(&pin, &old.url(), "early", &[]);
    status(&early, &[]).expect(77).says("tells no events").says("cernvm-cluster-agent get master_ip");
    let unknown = Machine::slave(UNKNOWN_PIN, &old.url(), "early", &[]);
    status(&unknown, &[]).expect(77).says("does not know the pin");
    let none = Machine::new("#cloud-config\n".to_owned(), "none");
    status(&none, &[]).expect(65).says("name the file that has both with --user-data");
}

/// The first service of the context is away, the second knows nothing of the pin, the third has the cluster.
#[test]
fn goes_on_at_the_next_service_of_the_context() {
    let (mut away, stranger, service) = (Service::start(), Service::start(), Service::start());
    away.kill();
    let pin = service.api().new_pin();
    come_up(&Machine::master(&pin, &service.url(), &[]));
    let urls = [away.url(), stranger.url(), service.url()].join(",");
    let slave = Machine::slave(&pin, &urls, "n1", &[]);
    slave.guest.run(&["status", "--json"]).expect(0);
    // Where none knows it, that is said at the end.
    let lost = Machine::slave(UNKNOWN_PIN, &[stranger.url(), service.url()].join(","), "lost", &[]);
    lost.guest.run(&["status"]).expect(77).says("does not know the pin");
}

#[test]
fn draws_a_table_on_the_console_of_a_guest() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = Machine::master(&pin, &service.url(), &[]);
    let words =
        format!("{} --root {} status --nodes 1", binaries::agent().display(), master.guest.root().display());
    // script(1) gives it a terminal.
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words, "/dev/null"]).env_remove("NO_COLOR");
    let mut terminal = Process::start("script", &mut command);
    until("it draws", || terminal.stdout().contains("waiting  0").then_some(()));
    come_up(&master);
    assert!(terminal.wait().success(), "{}", terminal.stdout());
    let shown = terminal.stdout();
    assert!(shown.contains("\u{1b}[0J") && shown.contains("\u{1b}[32m"), "{shown:?}");
    let last = shown.rsplit("\u{1b}[0J").next().unwrap_or_default();
    assert!(last.contains("ready: 1 of 1") && last.contains("NODE") && last.contains(MASTER), "{last}");
}
