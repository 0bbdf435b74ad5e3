//! A master is ready when what its slaves need answers, not when its boot is over.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use worlds::fixtures;
use worlds::guest::Guest;
use worlds::process::Process;
use worlds::service::Service;

/// An address that every machine holds, and that slaves of this test reach.
const ADDRESS: &str = "127.0.0.1";

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind((ADDRESS, 0)).expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn master(pin: &str, url: &str, settings: &[&str]) -> Guest {
    let address = format!("cvm_cluster_master_ip={ADDRESS}");
    let settings = [&[address.as_str()], settings].concat();
    Guest::new("master", fixtures::with_settings(&fixtures::master(pin, url), &settings))
}

#[test]
fn slaves_wait_until_a_server_that_starts_late_answers() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let port = free_port();
    let when = format!("cvm_master_ready_when=tcp:{port}, file:/run/ready");
    let master = master(&pin, &service.url(), &[&when]);
    master.run(&["contextualize"]).expect(0);
    let slave = Guest::new("slave", fixtures::slave(&pin, &service.url()));
    let mut waiting = slave.start(&["contextualize"]);
    waiting.wait_until_it_says("waiting until the master is ready");

    let mut ready = master.start(&["master-ready"]);
    ready.wait_until_it_says(&format!("waiting for tcp:{port}, file:/run/ready before this master is ready"));
    let mut server = Process::start(
        "server",
        Command::new("python3").stdin(Stdio::null()).args([
            "-u",
            "-m",
            "http.server",
            "--bind",
            ADDRESS,
            &port.to_string(),
        ]),
    );
    assert!(!server.has_ended());
    ready.wait_until_it_says("waiting for file:/run/ready before");
    assert_eq!(service.api().value(&pin, "master_ready"), None);
    assert!(waiting.is_running());
    master.write("/run/ready", "");
    ready.finish().expect(0);
    waiting.finish().expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={ADDRESS}")));
    server.kill();
}

#[test]
fn a_master_whose_server_never_answers_is_not_said_to_be_ready() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let port = free_port();
    let when = format!("cvm_master_ready_when=tcp:{port}");
    let master = master(&pin, &service.url(), &[&when, "cvm_cluster_timeout=2"]);
    master.run(&["contextualize"]).expect(0);
    let ready = master.run(&["master-ready"]);
    ready.expect(75).says(&format!("since tcp:{port} is not there")).says("cvm_master_ready_when");
    assert_eq!(service.api().value(&pin, "master_ready"), None);
    // A later run, as the unit makes it, finds it.
    let _server = TcpListener::bind((ADDRESS, port)).expect("the port is still free");
    master.run(&["master-ready"]).expect(0);
    assert_eq!(service.api().value(&pin, "master_ready").as_deref(), Some(ADDRESS));
}

#[test]
fn doctor_names_what_a_master_still_waits_for() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = fixtures::master(&pin, &service.url());
    let settings = [&*format!("cvm_cluster_master_ip={ADDRESS}"), "cvm_master_ready_when=file:/run/ready"];
    let context = fixtures::with_settings(&context, &settings);
    let instance = "/var/lib/cloud/instances/iid-master";
    let user_data = format!("{instance}/user-data.txt");
    let guest = Guest::with_files("master", &[(&user_data, context.as_bytes())]);
    symlink(instance, guest.path("/var/lib/cloud/instance")).expect("a link can be made");
    guest.run(&["contextualize", "--cloud-init"]).expect(0);
    let waits = "!!    file:/run/ready is not there, which cvm_master_ready_when waits for";
    let diagnosis = guest.run(&["doctor"]);
    assert!(diagnosis.expect(75).stdout.contains(waits), "{}", diagnosis.stdout);
    guest.write("/run/ready", "");
    guest.run(&["master-ready"]).expect(0);
    let diagnosis = guest.run(&["doctor"]);
    assert!(!diagnosis.expect(0).stdout.contains("cvm_master_ready_when"), "{}", diagnosis.stdout);
}

#[test]
fn what_could_never_be_met_is_named_with_its_line() {
    let service = Service::start();
    let pin = service.api().new_pin();
    for (item, says) in [
        ("tcp:0", "which is no port"),
        ("unit:$(touch /run/x).service", "which is no unit of systemd"),
        ("cmd:touch /run/x", "which is none of tcp:PORT, unit:NAME and file:/PATH"),
        ("file:/tmp/ready", "use /run"),
    ] {
        let guest = master(&pin, &service.url(), &[&format!("cvm_master_ready_when=tcp:1,{item}")]);
        for command in ["contextualize", "master-ready"] {
            guest.run(&[command]).expect(65).says("cvm_master_ready_when has ").says(says);
        }
    }
    assert_eq!(service.api().value(&pin, "master_ip"), None);
}
