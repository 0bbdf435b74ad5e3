//! A launcher that runs the pairing service itself: beside it there are the cloud and the machines, and nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

use serde_json::json;
use worlds::http::Request;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::{boot, filled, stack};
use crate::home::Home;

/// An address of this machine that is not loopback, with a port that is free.
fn address() -> SocketAddr {
    // Nothing is sent: the kernel only looks the route up. The address is one for documentation (RFC 5737).
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket can be made");
    socket.connect("192.0.2.1:9").expect("this machine has a route: give it an address that is not loopback");
    let own = socket.local_addr().expect("it has an address").ip();
    let listener = TcpListener::bind((own, 0)).expect("the address is this machine's");
    listener.local_addr().expect("it has an address")
}

fn start(home: &Home, cloud: &Cloud, address: SocketAddr, scheme: &str, more: &[&str]) -> Api {
    let every = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()).to_string();
    let url = format!("{scheme}://{address}");
    let mut args = vec!["--pairing-listen", &every, "--node-pairing-url", &url];
    args.extend(more);
    Api::serve(home, cloud, &args)
}

#[test]
fn a_cluster_joins_with_nothing_but_the_launcher() {
    let (cloud, home, address) = (Cloud::start(Manners::default()), Home::new(), address());
    let mut api = start(&home, &cloud, address, "http", &["--pairing-metrics-listen", "127.0.0.1:0"]);
    let metrics = api.process.line_after("pairing metrics on http://");
    let metrics: SocketAddr = metrics.trim_end_matches("/metrics").parse().expect("it is an address");
    let launched = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!(launched.status, 201, "{}", launched.text());
    let made = stack(&cloud);
    assert_eq!(filled(&made, "pairing-url"), format!("http://{address}"));
    boot(&made);
    until("it is ready", || (api.show("lab")["state"] == "ready").then_some(()));
    assert_eq!(api.show("lab")["detail"], "3 of 3 nodes are ready");
    let metrics = Request::new("GET", "/metrics").send(metrics).expect("it answers").text();
    assert!(metrics.contains("\ncernvm_pairing_pins 1\n"), "{metrics}");

    // The launcher alone makes pins.
    let foreign = Request::new("POST", "/api/v1/clusters").send(address).expect("it answers");
    assert_eq!(foreign.status, 401, "{}", foreign.text());
    let pin = format!("/api/v1/clusters/{}", filled(&made, "pairing-pin"));
    let status = || Request::new("GET", &pin).send(address).expect("it answers").status;
    assert_eq!(status(), 200);
    assert_eq!(api.ask("DELETE", "/clusters/lab", None).status, 204);
    assert_eq!(status(), 404, "the pin is left");
    assert!(cloud.stacks().is_empty() && home.records().is_empty(), "something is left");
    api.stop();
}

#[test]
fn launches_pins_key_and_token_move_with_the_data_directory() {
    let (cloud, home, address) = (Cloud::start(Manners::default()), Home::new(), address());
    let start = |home: &Home| start(home, &cloud, address, "https", &["--pairing-tls-self-signed"]);
    let mut api = start(&home);
    let launched = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!(launched.status, 201, "{}", launched.text());
    let made = stack(&cloud);
    let trust = filled(&made, "pairing-trust");
    assert!(trust.starts_with("cvm_service_fingerprint=sha256:"), "{trust}");
    api.stop();

    // The machines come up when another launcher has taken over, with the fingerprint and the pin of before.
    let other = Home::new();
    let copied = Command::new("cp").arg("-a").arg(home.path().join("data")).arg(other.path()).status();
    assert!(copied.expect("cp can be started").success());
    drop(home);
    let mut api = start(&other);
    boot(&made);
    until("it is ready", || (api.show("lab")["state"] == "ready").then_some(()));
    until("nothing is amiss", || api.show("lab")["trouble"].is_null().then_some(()));
    let mut second = request(&cloud);
    second["cluster"]["name"] = json!("second");
    let launched = api.ask("POST", "/clusters/", Some(&second));
    assert_eq!(launched.status, 201, "{}", launched.text());
    let stacks = cloud.stacks();
    let second = stacks.iter().find(|made| made.name.starts_with("second--")).expect("it is there");
    assert_eq!(filled(second, "pairing-trust"), trust);
    api.stop();
}

#[test]
fn a_url_that_no_machine_can_use_is_refused_at_the_start() {
    let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
    let refused = |more: &[&str], words: &str| {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--pairing-listen", "127.0.0.1:0"];
        args.extend(more);
        home.run(&cloud, &args).expect(64, words);
    };
    refused(&[], "--node-pairing-url");
    for url in ["http://127.0.0.1:8000", "localhost:8000", "http://[::1]:8000", "http://0.0.0.0:8000"] {
        refused(&["--node-pairing-url", url], "is no URL for other machines");
    }
    refused(&["--node-pairing-url", "http://192.0.2.1:8000", "--pairing-tls-self-signed"], "is not https");
    let both = ["--node-pairing-url", "http://192.0.2.1:8000", "--pairing-url", "http://192.0.2.1:8000"];
    refused(&both, "cannot be used with");
    assert!(!home.path().join("data/pairing").exists(), "a folder is left");
    for flag in ["--listen", "--pairing-listen"] {
        home.run(&cloud, &["serve", flag, "8000"]).expect(64, "write 127.0.0.1:8000");
    }

    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("it has an address").to_string();
    let args = ["serve", "--pairing-listen", &address, "--node-pairing-url", "http://192.0.2.1:8000"];
    home.run(&cloud, &args).expect(74, "Address already in use").expect(74, "give another --pairing-listen");
}
