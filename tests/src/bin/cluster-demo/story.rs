//! What happens, in its order.

use std::net::UdpSocket;

use worlds::fixtures;
use worlds::guest::{Agent, Guest};
use worlds::service::Service;

use crate::show;

const MASTER_IP: &str = "###MASTER_IP_PLACEHOLDER###";
const TOKEN: &str = "###K3S_TOKEN_PLACEHOLDER###";
/// A join token as k3s makes them, near enough.
const TOKEN_OF_THE_DAY: &str = "K10f00dfeed::server:0123456789abcdef";

/// Tells the whole story.
///
/// # Panics
/// When a part of it does not come true.
pub(crate) fn tell() {
    show::headline("A pairing service, and a pin for one cluster");
    let service = Service::start();
    let pin = new_pin(&service);

    show::headline(
        "Three contexts carry it: two of CernVM's documentation, and a cloud-config with a second key",
    );
    let master = Guest::new("master", master_context(&pin, &service.url()));
    let slaves = [
        Guest::new("slave", fixtures::slave(&pin, &service.url())),
        Guest::new("k3s-node", fixtures::cloud_config(&pin, &service.url())),
    ];
    let before: Vec<_> = slaves.iter().map(Guest::context).collect();
    show::context("master", &master.context());
    for (slave, context) in slaves.iter().zip(&before) {
        show::context(slave.name(), context);
    }

    show::headline("The slaves boot first, and wait");
    for slave in &slaves {
        show::command(slave.name(), "cernvm-cluster-agent contextualize");
    }
    let mut waiting: Vec<_> = slaves.iter().map(|slave| slave.start(&["contextualize"])).collect();
    waiting.iter_mut().for_each(|agent| agent.wait_until_it_says("wait"));

    show::headline("The master boots: it pushes its address, then the token that its nodes need");
    run(&master, &["contextualize"], None);
    run(&master, &["publish", "k3s_token", "-"], Some(TOKEN_OF_THE_DAY));
    assert!(waiting.iter_mut().all(Agent::is_running), "a slave did not wait until the master is ready");

    show::headline("The master has booted, and says so");
    run(&master, &["master-ready"], None);
    for agent in waiting {
        let finished = agent.finish();
        assert_eq!(finished.status, 0, "a slave's agent failed");
    }

    show::headline("What the slaves' contexts have become");
    let address = service.api().value(&pin, "master_ip").expect("the master has pushed its address");
    for (slave, before) in slaves.iter().zip(&before) {
        let after = slave.context();
        show::changes(slave.name(), before, &after);
        let expected = before.replace(MASTER_IP, &address).replace(TOKEN, TOKEN_OF_THE_DAY);
        assert!(
            *before != expected && after == expected,
            "the context of {} is not as it should be",
            slave.name()
        );
    }
    assert_eq!(master.context(), master_context(&pin, &service.url()), "the master's context has changed");

    show::headline("Every placeholder was replaced, and not a byte besides");
}

fn new_pin(service: &Service) -> String {
    show::command("you", &format!("cernvm-pairing-server pin --url {}", service.url()));
    let pin = service.pin_by_command();
    println!("{pin}");
    pin
}

/// The documentation's master finds its own address. A machine without any route has none to find, so there the context
/// says one.
fn master_context(pin: &str, url: &str) -> String {
    // Nothing is sent: the kernel only looks the route up. The address is one for documentation (RFC 5737).
    let routed = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9"));
    let context = fixtures::master(pin, url);
    if routed.is_ok() {
        context
    } else {
        fixtures::with_settings(&context, &["cvm_cluster_master_ip=10.10.25.5"])
    }
}

fn run(guest: &Guest, args: &[&str], input: Option<&str>) {
    let typed = format!("cernvm-cluster-agent {}", args.join(" "));
    let finished = match input {
        None => {
            show::command(guest.name(), &typed);
            guest.run(args)
        }
        Some(input) => {
            show::command(guest.name(), &format!("print-token | {typed}"));
            guest.run_with_input(args, input.as_bytes())
        }
    };
    assert_eq!(finished.status, 0, "`{typed}` failed in {}", guest.name());
}
