//! Every attack on a slave, and what comes of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use client::seal::Seal;
use protocol::{Pin, Secret};
use worlds::http::Headers;
use worlds::mock_server::Reply;
use worlds::together::together;

use crate::cluster::{Cluster, MOVED_TO, OLD_ADDRESS, OLD_TOKEN, TOKEN};
use crate::service::{Attack, Hostile, Kept, answer, first, honest, last};

/// What must become of a slave.
enum Becomes {
    /// It ends with this status and says this, and its context is what it was.
    Refused(i32, &'static str),
    /// It takes this address and this token.
    Contextualized(&'static str, &'static str),
}

use Becomes::{Contextualized, Refused};

/// Answers this instead of the honest value of some keys.
fn changed(kept: &Kept, pin: &str, key: &str, of: &[&str], change: impl FnOnce(String) -> String) -> Reply {
    let value = last(kept, pin, key).unwrap_or_default();
    if of.contains(&key) { answer(key, &change(value)) } else { answer(key, &value) }
}

/// The value of another key in the place of each of two.
fn swapped(kept: &Kept, pin: &str, key: &str, two: [&str; 2]) -> Reply {
    let of = match key {
        key if key == two[0] => two[1],
        key if key == two[1] => two[0],
        key => key,
    };
    answer(key, &last(kept, pin, of).unwrap_or_default())
}

/// A key of another pin of a cluster with the same secret.
fn of_another_pin(kept: &Kept, pin: &str, key: &str) -> String {
    let of = |(of_pin, of_key): &&(String, String)| of_pin != pin && of_key == key;
    let another = kept.keys().find(of).expect("there is another cluster");
    last(kept, &another.0, key).unwrap_or_default()
}

/// A value as another secret seals it.
fn sealed_otherwise(pin: &str, key: &str, value: &str) -> String {
    Seal::new(&Secret::from_bytes([7; 32]), &Pin::parse(pin).expect("it is a pin")).seal(key, value)
}

const MASTERS: [&str; 2] = ["master_ip", "master_ready"];

/// What the attacker does, in words for a table, how, and what must come of it.
const ATTACKS: [(&str, Attack, Becomes); 27] = [
    ("none", honest, Contextualized(MOVED_TO, TOKEN)),
    (
        "answers addresses in the clear",
        |kept, pin, key| changed(kept, pin, key, &MASTERS, |_| "203.0.113.66".to_owned()),
        Refused(77, "'master_ready' that is not sealed"),
    ),
    (
        "answers `yes` as the original's master did, and an address in the clear",
        |kept, pin, key| {
            changed(kept, pin, key, &MASTERS, |_| {
                if key == "master_ip" { "203.0.113.66" } else { "yes" }.to_owned()
            })
        },
        Refused(77, "'master_ready' that is not sealed"),
    ),
    (
        "answers one published key in the clear",
        |kept, pin, key| changed(kept, pin, key, &["k3s_token"], |_| "evil".to_owned()),
        Refused(77, "'k3s_token' that is not sealed"),
    ),
    (
        "answers the empty value",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |_| String::new()),
        Refused(77, "'master_ip' that is not sealed"),
    ),
    (
        "strips the seal: leaves out the version",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |value| value.replacen("v1.", "", 1)),
        Refused(77, "'master_ip' that is not sealed"),
    ),
    (
        "writes another version before it",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |value| value.replacen("v1.", "v2.", 1)),
        Refused(77, "'master_ip' that is not sealed"),
    ),
    (
        "adds a line end",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |value| value + "\n"),
        Refused(77, "'master_ip' that is not sealed"),
    ),
    (
        "adds a second value after a blank",
        |kept, pin, key| changed(kept, pin, key, &["k3s_token"], |value| format!("{value} {value}")),
        Refused(77, "'k3s_token' that is not sealed"),
    ),
    (
        "answers random bytes in the form of a sealed value",
        |kept, pin, key| {
            changed(kept, pin, key, &["master_ready"], |_| {
                format!("v1.{}", BASE64_URL_SAFE_NO_PAD.encode([0x5a; 36]))
            })
        },
        Refused(77, "'master_ready' that does not open: it was sealed with another cvm_cluster_secret"),
    ),
    (
        "seals with a secret of its own",
        |kept, pin, key| changed(kept, pin, key, &MASTERS, |_| sealed_otherwise(pin, key, "203.0.113.66")),
        Refused(77, "'master_ready' that does not open: it was sealed with another cvm_cluster_secret"),
    ),
    (
        "seals one of two values with a secret of its own",
        |kept, pin, key| {
            changed(kept, pin, key, &["master_ip"], |_| sealed_otherwise(pin, key, "203.0.113.66"))
        },
        Refused(77, "'master_ip' that does not open, though another value of this pin did"),
    ),
    (
        "changes one bit",
        |kept, pin, key| {
            changed(kept, pin, key, &["master_ip"], |value| {
                let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&value[3..]).expect("it is sealed");
                bytes[14] ^= 1;
                format!("v1.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
            })
        },
        Refused(77, "'master_ip' that does not open, though another value of this pin did"),
    ),
    (
        "cuts the value by a byte",
        |kept, pin, key| {
            changed(kept, pin, key, &["k3s_token"], |value| {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(&value[3..]).expect("it is sealed");
                format!("v1.{}", BASE64_URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() - 1]))
            })
        },
        Refused(77, "'k3s_token' that does not open, though another value of this pin did"),
    ),
    (
        "cuts the value to a few characters",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |value| value[..11].to_owned()),
        Refused(77, "'master_ip' that is no whole sealed value"),
    ),
    (
        "swaps master_ip and master_ready",
        |kept, pin, key| swapped(kept, pin, key, MASTERS),
        Refused(77, "'master_ready' that was sealed for the key 'master_ip'"),
    ),
    (
        "swaps two published keys",
        |kept, pin, key| swapped(kept, pin, key, ["k3s_token", "another_token"]),
        Refused(77, "'another_token' that does not open, though another value of this pin did"),
    ),
    (
        "answers the master's address as a published key",
        |kept, pin, key| swapped(kept, pin, key, ["k3s_token", "master_ip"]),
        Refused(77, "'master_ip' that does not open, though another value of this pin did"),
    ),
    (
        "replays the values of another pin",
        |kept, pin, key| answer(key, &of_another_pin(kept, pin, key)),
        Refused(77, "'master_ready' that does not open: it was sealed with another cvm_cluster_secret"),
    ),
    (
        "replays one value of another pin",
        |kept, pin, key| {
            let another = of_another_pin(kept, pin, key);
            changed(kept, pin, key, &["k3s_token"], |_| another)
        },
        Refused(77, "'k3s_token' that does not open, though another value of this pin did"),
    ),
    (
        "sends a value of 64 MiB",
        |_, _, key| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{key}: v1.", 64 << 20);
            Reply::Flood(head.into_bytes(), 64 << 20)
        },
        Refused(76, ""),
    ),
    (
        "sends the longest value that a service may",
        |kept, pin, key| changed(kept, pin, key, &["master_ip"], |_| format!("v1.{}", "A".repeat(65_532))),
        Refused(77, "'master_ip' that does not open, though another value of this pin did"),
    ),
    (
        "withholds that the master is ready",
        |kept, pin, key| {
            if key == "master_ready" { Reply::status(404) } else { honest(kept, pin, key) }
        },
        Refused(75, "the master is not ready yet"),
    ),
    (
        "replays the old address alone",
        |kept, pin, key| {
            let old = first(kept, pin, key);
            changed(kept, pin, key, &["master_ip"], |_| old)
        },
        Refused(75, "the master is not ready yet"),
    ),
    (
        "replays the old readiness alone",
        |kept, pin, key| {
            let old = first(kept, pin, key);
            changed(kept, pin, key, &["master_ready"], |_| old)
        },
        Refused(75, "the master is not ready yet"),
    ),
    (
        "replays the old address and its readiness",
        |kept, pin, key| {
            let old = first(kept, pin, key);
            changed(kept, pin, key, &MASTERS, |_| old)
        },
        Contextualized(OLD_ADDRESS, TOKEN),
    ),
    (
        "replays an old published key",
        |kept, pin, key| {
            let old = first(kept, pin, key);
            changed(kept, pin, key, &["k3s_token"], |_| old)
        },
        Contextualized(MOVED_TO, OLD_TOKEN),
    ),
];

/// The table: `cargo test --test hostile -- --nocapture attacks` prints it.
#[test]
fn each_attack_leaves_the_context_as_it_is_or_does_what_the_documentation_says() {
    together(ATTACKS, |(attack, does, becomes)| {
        let service = Hostile::start();
        let cluster = Cluster::that_has_moved(&service);
        service.play(does);
        let slave = cluster.slave();
        let before = slave.context();
        let finished = slave.run(&["contextualize"]);
        let after = match becomes {
            Refused(status, says) => {
                finished.expect(status).says(says);
                before
            }
            Contextualized(address, token) => {
                finished.expect(0);
                let after = before.replace("###MASTER_IP_PLACEHOLDER###", address);
                after
                    .replace("###K3S_TOKEN_PLACEHOLDER###", token)
                    .replace("###ANOTHER_TOKEN_PLACEHOLDER###", "other")
            }
        };
        assert!(slave.context() == after, "{attack}: the context is\n{}", slave.context());
        let said = finished.stderr.lines().last().unwrap_or_default();
        println!("TABLE | {attack} | {} | {said} |", finished.status);
    });
}

/// The same attacks on `get`, which prints nothing then.
#[test]
fn get_prints_no_value_that_does_not_open() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let slave = cluster.slave();
    assert_eq!(slave.run(&["get", "k3s_token"]).expect(0).stdout, TOKEN);
    let attacks: [Attack; 4] = [
        |_, _, key| answer(key, "evil"),
        |_, pin, key| answer(key, &sealed_otherwise(pin, key, "evil")),
        |kept, pin, key| answer(key, &of_another_pin(kept, pin, key)),
        |kept, pin, key| swapped(kept, pin, key, ["k3s_token", "another_token"]),
    ];
    for attack in attacks {
        service.play(attack);
        for args in [&["get", "k3s_token"][..], &["get", "--wait", "k3s_token"]] {
            assert_eq!(slave.run(args).expect(77).stdout, "");
        }
    }
}

/// A forged answer is a verdict: the agent does not ask until the service has found a better one.
#[test]
fn a_forged_value_is_not_asked_for_again() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    service.play(|_, _, key| answer(key, "evil"));
    let before = service.requests();
    cluster.slave().run(&["contextualize"]).expect(77);
    assert_eq!(service.requests() - before, 2, "the pin, and master_ready once");
}

/// What a service makes a master believe.
#[test]
fn a_master_does_not_give_way_to_a_forged_address() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let held = service.value(&cluster.pin, "master_ip");
    service.play(|kept, pin, key| changed(kept, pin, key, &["master_ip"], |_| "203.0.113.66".to_owned()));
    let master = cluster.master(MOVED_TO, "master-2");
    master.run(&["contextualize"]).expect(77).says("'master_ip' that is not sealed");
    master.run(&["master-ready"]).expect(77).says("'master_ip' that is not sealed");
    assert_eq!(service.value(&cluster.pin, "master_ip"), held, "nothing was written over it");
    // What lies there for good is deleted on demand.
    service.play(honest);
    cluster.clear_master("203.0.113.66").run(&["master-ready", "--force"]).expect(0);
    cluster.slave().run(&["contextualize"]).expect(77);
    master.run(&["master-ready"]).expect(77).says("'master_ip' that is not sealed");
    master.run(&["master-ready", "--force"]).expect(0);
    cluster.slave().run(&["contextualize"]).expect(0);
}

/// An answer without a type or with a wrong one is no way round the seal either.
#[test]
fn headers_say_nothing_of_the_seal() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    service.play(|_, _, key| {
        let headers = Headers(vec![("X-Sealed".into(), "v1".into())]);
        Reply::Answer(200, headers, format!("{key}: 203.0.113.66").into_bytes())
    });
    let slave = cluster.slave();
    let before = slave.context();
    slave.run(&["contextualize"]).expect(77);
    assert_eq!(slave.context(), before);
}
