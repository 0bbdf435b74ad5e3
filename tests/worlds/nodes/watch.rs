//! `watch`: real agents come up while a person looks on, and what is shown goes by the service.

use std::fs;
use std::process::Command;

use worlds::binaries;
use worlds::fixtures;
use worlds::process::Process;
use worlds::service::Service;
use worlds::wait::until;

use super::machine::{MASTER, Machine};

fn watch(service: &Service, pin: &str, options: &[&str]) -> Command {
    let mut command = Command::new(binaries::server());
    command.args(["watch", "--url", &service.url(), pin]).args(options);
    command
}

/// Runs a master and a slave to their ends.
fn bring_up(service: &Service, pin: &str, settings: &[&str]) {
    for machine in
        [Machine::master(pin, &service.url(), settings), Machine::slave(pin, &service.url(), "n1", settings)]
    {
        machine.contextualize().expect(0);
        machine.is_up().expect(0);
    }
}

#[test]
fn ends_when_as_many_nodes_are_ready_as_were_wanted() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut lines = Process::start("watch", &mut watch(&service, &pin, &["--nodes", "2"]));
    let mut json = Process::start("watch --json", &mut watch(&service, &pin, &["--nodes", "2", "--json"]));
    until("both watch", || (lines.stdout().contains("live") && !json.stdout().is_empty()).then_some(()));
    bring_up(&service, &pin, &[]);
    assert!(lines.wait().success() && json.wait().success());

    let lines = lines.stdout();
    let at = |words: &str| lines.find(words).unwrap_or_else(|| panic!("{words} is not in\n{lines}"));
    assert!(at("waiting for the master") < at(&format!("the master {MASTER} is not ready yet")), "{lines}");
    assert!(at("is not ready yet") < at("ready: 2 of 2"), "{lines}");
    assert!(!lines.contains(&pin), "{lines}");

    let views: Vec<serde_json::Value> =
        json.stdout().lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let (first, last) = (&views[0], views.last().expect("there is one"));
    assert_eq!((&first["master"]["address"], &first["live"]), (&serde_json::Value::Null, &true.into()));
    assert_eq!(last["master"]["address"], MASTER);
    let states: Vec<_> =
        last["nodes"].as_array().expect("a list").iter().map(|node| node["state"].clone()).collect();
    assert_eq!(states, ["ready", "ready"]);
}

#[test]
fn comes_back_by_itself_when_the_service_does() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    let mut watch = Process::start("watch", &mut watch(&service, &pin, &[]));
    until("it watches", || watch.stdout().contains("live").then_some(()));
    service.kill();
    until("it says that the service is gone", || watch.stdout().contains("link: lost").then_some(()));
    service.resume();
    bring_up(&service, &pin, &[]);
    assert!(watch.wait().success(), "{}", watch.stdout());
    assert!(watch.stdout().matches("link: live").count() == 2, "{}", watch.stdout());
}

#[test]
fn says_why_it_ends_without_a_cluster() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let run = |pin: &str, options: &[&str]| {
        let ended = watch(&service, pin, options).output().expect("it runs");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (status, said) = run(&pin, &["--timeout", "1s"]);
    assert_eq!(status, Some(75), "{said}");
    assert!(said.contains("the master is not ready after 1 s: waiting for the master"), "{said}");
    let (status, said) = run("enico1qq0oey", &[]);
    assert_eq!(status, Some(77), "{said}");
    assert!(said.contains("does not know the pin"), "{said}");

    let mut watching = Process::start("watch", &mut watch(&service, &pin, &[]));
    until("it watches", || watching.stdout().contains("live").then_some(()));
    service.api().delete_pin(&pin);
    assert_eq!(watching.wait().code(), Some(77), "{}", watching.stderr());
}

/// With the secret it reads what the nodes of a sealed cluster report; without it, it says that they are sealed.
#[test]
fn reads_a_sealed_cluster_with_its_secret() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    bring_up(&service, &pin, &[&format!("cvm_cluster_secret={secret}")]);
    let file = tempfile::NamedTempFile::new().expect("there is room");
    fs::write(file.path(), secret).expect("there is room");
    let path = file.path().display().to_string();
    let shown =
        watch(&service, &pin, &["--nodes", "2", "--json", "--secret-file", &path]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(r#""state":"ready""#) && !shown.contains(secret), "{shown}");
    let without = watch(&service, &pin, &["--json"]).output().expect("it runs");
    let without = String::from_utf8_lossy(&without.stdout).into_owned();
    assert!(without.contains(r#""address":"sealed""#) && !without.contains(r#""state""#), "{without}");
}

#[test]
fn draws_a_table_over_itself_on_a_terminal() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let words = format!("{} watch --url {} {pin} --nodes 2", binaries::server().display(), service.url());
    // script(1) gives it a terminal.
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words, "/dev/null"]).env_remove("NO_COLOR");
    let mut terminal = Process::start("script", &mut command);
    until("it draws", || terminal.stdout().contains("waiting  0").then_some(()));
    bring_up(&service, &pin, &[]);
    assert!(terminal.wait().success(), "{}", terminal.stdout());
    let shown = terminal.stdout();
    assert!(shown.contains("\u{1b}[0J") && shown.contains("\u{1b}[32m"), "{shown:?}");
    let last = shown.rsplit("\u{1b}[0J").next().unwrap_or_default();
    assert!(last.contains("ready: 2 of 2") && last.contains("NODE") && last.contains(MASTER), "{last}");
}

/// What `new` writes and prints is all that it takes.
#[test]
fn a_new_cluster_comes_up_from_its_files_and_is_watched_by_the_printed_command() {
    const PUBLIC_URL: &str = "http://pair.example.org";
    let service = Service::start();
    let dir = tempfile::tempdir().expect("there is room");
    let run = || {
        let mut command = Command::new(binaries::server());
        command.current_dir(dir.path()).args([
            "new",
            "lab",
            "--url",
            &service.url(),
            "--public-url",
            PUBLIC_URL,
        ]);
        command.output().expect("it runs")
    };
    let made = run();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let here = |file: &str| {
        let text = fs::read_to_string(dir.path().join(file)).expect("it was written");
        text.replace(PUBLIC_URL, &service.url())
    };
    let watch = said.lines().find(|line| line.contains(" watch ")).expect("it is printed");
    let program = binaries::server();
    let mut command = Command::new("sh");
    command.current_dir(dir.path());
    command.args(["-c", &watch.replace("cernvm-pairing-server", &program.display().to_string())]);
    let mut watch = Process::start("watch", &mut command);
    until("it watches", || watch.stdout().contains("live").then_some(()));
    let address = format!("cvm_cluster_master_ip={MASTER}");
    let master = fixtures::with_settings(&here("lab-master.txt"), &[&address]);
    for machine in [Machine::new(master, "master"), Machine::new(here("lab-slave.txt"), "n1")] {
        machine.contextualize().expect(0);
        machine.is_up().expect(0);
    }
    assert!(watch.wait().success(), "{} {}", watch.stdout(), watch.stderr());

    let again = run();
    assert_eq!(again.status.code(), Some(73), "nothing is written over");
}
