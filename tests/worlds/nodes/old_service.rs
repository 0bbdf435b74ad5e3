//! The original service and what our settings add: it sees the same requests, whatever the contexts ask for.

use worlds::relay;
use worlds::service::Service;

use crate::machine::{MASTER, Machine};

/// 32 bytes, in base64url.
const SECRET: &str = "cvm_cluster_secret=oLdS3rv1ceOfTheCluster_-AAAAAAAAAAAAAAAAAAA";

/// What a master and a slave ask for in a boot and its shutdown. The pin is left out.
fn requests(settings: &[&str]) -> Vec<String> {
    let service = Service::with(&["--max-value-length", "1000"]);
    let pin = service.api().new_pin();
    let old = relay::old(service.api());
    let master = Machine::master(&pin, &old.url(), settings);
    let slave = Machine::slave(&pin, &old.url(), "n1", settings);
    master.guest.write("/run/ready", "");
    master.contextualize().expect(0);
    master.is_up().expect(0);
    slave.contextualize().expect(0).says(&format!("the master, {MASTER}, is ready"));
    slave.is_up().expect(0);
    slave.shuts_down();
    master.shuts_down();
    old.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path.replace(&pin, "PIN"))).collect()
}

#[test]
fn no_setting_brings_the_old_service_another_request() {
    let before = requests(&[]);
    let known = ["/api/v1/clusters/PIN", "/api/v1/clusters/PIN/keys"];
    for request in &before {
        let (_, path) = request.split_once(' ').expect("a method and a path");
        let is_key = path.strip_prefix("/api/v1/clusters/PIN/keys/");
        let is_known = known.contains(&path) || is_key.is_some_and(|key| key.starts_with("master_"));
        assert!(is_known, "the original has no route for {request}");
    }
    for settings in [
        &["cvm_cluster_nodes=yes"][..],
        &["cvm_cluster_nodes=no"],
        &["cvm_master_ready_when=file:/run/ready"],
        &[SECRET],
        &[SECRET, "cvm_cluster_nodes=yes", "cvm_master_ready_when=file:/run/ready"],
    ] {
        assert_eq!(requests(settings), before, "{settings:?}");
    }
}
