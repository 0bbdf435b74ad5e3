//! A Slurm cluster from the launcher's type, whose contexts are those of the shipped example: munge's key travels sealed, the
//! nodes find one another by the names that they have reported, and a job runs on all three.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use cluster_launcher::catalogue::Catalogue;
use serde_json::{Map, Value, json};
use worlds::api::{key_path, keys};
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;
use worlds::boot::worked::WorkedCluster;
use worlds::wait::until;

/// What a context's `packages` install.
const PACKAGES: &[&str] = &["munge", "slurmctld", "slurmd", "slurm-client"];
/// What the package's installation does on each machine: a key of its own, and services that start at boot.
const INSTALLED: &str = "
    head --bytes 128 /dev/urandom >/etc/munge/munge.key
    chown munge:munge /etc/munge/munge.key
    chmod 0400 /etc/munge/munge.key
    systemctl --quiet enable munge slurmd
";
const HASH_OF_KEY: &str = "sha256sum </etc/munge/munge.key";
/// A secret: 32 bytes in base64url.
const SECRET: &str = "c2VhbHMgYSBjbHVzdGVyIG9mIFNsdXJtIGluIGEgbGE";

/// What Heat hands out to the servers of a cluster of the type `slurm`: to the master, and to each worker.
fn contexts(lab: &Lab, service: &LabService<'_>) -> [String; 2] {
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples/cluster-types");
    let types = types.canonicalize().expect("it is in the repository");
    symlink(types, lab.dir().join("cluster-types-enabled")).expect("a link can be made");
    let found = Catalogue::new(lab.dir().to_owned()).find("slurm").expect("it is valid");
    let map = |value: Value| value.as_object().cloned().expect("it is an object");
    let answers = map(json!({
        "image": "i", "key": "k", "master-flavour": "f", "worker-flavour": "f", "external-network": "n",
    }));
    let filled = map(json!({
        "pairing-pin": service.new_pin(), "pairing-secret": SECRET, "pairing-url": service.url(),
    }));
    let stack = found.stack(&answers, &Map::new(), &filled).expect("it makes a stack");
    ["master", "workers"].map(|resource| {
        let found = stack.contexts().into_iter().find(|context| context.resource == resource);
        found.expect("it has a context").user_data
    })
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_job_runs_on_the_three_nodes_of_the_type() {
    let debian = Debian::root_with(Release::Bookworm, PACKAGES);
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let [for_master, for_slaves] = contexts(&lab, &service);
    let mut cluster = WorkedCluster::of_contexts(&lab, &debian, &for_master, &for_slaves);
    cluster.master.root().sh(INSTALLED);
    cluster.master.root().sh("systemctl --quiet enable slurmctld");
    let key = cluster.master.root().sh(HASH_OF_KEY);
    for slave in &cluster.slaves {
        slave.root().sh(INSTALLED);
        assert_ne!(slave.root().sh(HASH_OF_KEY), key);
    }
    cluster.boot();

    // The key has come through a service that could not read it.
    let plain = cluster.master.sh("base64 --wrap=0 /etc/munge/munge.key");
    let kept = service.ask(|api| api.value(&cluster.pin, "munge_key")).expect("it was published");
    assert!(kept.starts_with("v1.") && !kept.contains(plain.trim()), "{}", key_path("…", "munge_key"));
    let all = service.ask(|api| api.get(&keys(&cluster.pin)).text());
    assert!(!all.contains("10.77.0.11"), "the master's address is sealed too");
    for slave in &cluster.slaves {
        assert_eq!(slave.sh(HASH_OF_KEY), key);
    }

    let barrier = cluster.master.sh("cernvm-cluster-agent wait --nodes 3");
    println!("# cernvm-cluster-agent wait --nodes 3\n{barrier}");
    for machine in cluster.slaves.iter().chain([&cluster.master]) {
        until("every node is in the machine's /etc/hosts", || {
            let hosts = machine.root().read("/etc/hosts")?;
            cluster.addresses().all(|address| hosts.contains(&format!("{address} "))).then_some(())
        });
    }
    until("three nodes are idle", || {
        let idle = cluster.master.sh("sinfo --noheader --Node --states=idle --format=%N || :");
        (idle.lines().collect::<BTreeSet<_>>().len() == 3).then_some(())
    });
    println!("# sinfo\n{}", cluster.master.sh("sinfo"));
    let names = cluster.master.sh("timeout 60 srun -N3 hostname");
    println!("# srun -N3 hostname\n{names}");
    assert_eq!(names.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["master", "n1", "n2"]));
}
