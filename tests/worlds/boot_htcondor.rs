//! An HTCondor pool from the shipped example: its password travels sealed, and a job runs on each of three machines.

use std::collections::BTreeSet;

use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;
use worlds::boot::worked::WorkedCluster;
use worlds::wait::until;

/// One job for each machine, which says where it runs.
const JOBS: &str = "\
executable = /bin/hostname
output = /tmp/$(name).out
log = /tmp/jobs.log
request_cpus = 1
request_memory = 16
request_disk = 1024
requirements = Machine == \"$(name)\"
queue name in (master, n1, n2)
";

#[test]
#[ignore = "needs root: boots machines"]
fn jobs_run_on_the_three_machines_of_the_example() {
    let debian = Debian::root_with(Release::Trixie, &["condor"]);
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let mut cluster = WorkedCluster::new(&lab, &debian, &service, "htcondor");
    for machine in cluster.slaves.iter().chain([&cluster.master]) {
        machine.root().sh("systemctl --quiet enable condor");
    }
    cluster.boot();

    let password = cluster.master.sh("cat /root/pool-password");
    let kept = service.ask(|api| api.value(&cluster.pin, "pool_password")).expect("it was published");
    assert!(kept.starts_with("v1.") && !kept.contains(&password));
    for slave in &cluster.slaves {
        assert_eq!(slave.sh("cat /root/pool-password").trim(), password.trim());
    }

    println!(
        "# cernvm-cluster-agent wait --nodes 3\n{}",
        cluster.master.sh("cernvm-cluster-agent wait --nodes 3")
    );
    let names: BTreeSet<&str> = BTreeSet::from(["master", "n1", "n2"]);
    until("three machines are in the pool", || {
        let known = cluster.master.sh("condor_status -autoformat Machine 2>&1 || :");
        (known.lines().collect::<BTreeSet<_>>() == names).then_some(())
    });
    println!("# condor_status\n{}", cluster.master.sh("condor_status"));
    let user =
        "adduser --quiet --disabled-password --gecos '' user 2>/dev/null || useradd --create-home user";
    cluster.master.sh(user);
    cluster.master.root().write("/tmp/jobs.sub", JOBS);
    cluster.master.sh("su user -c 'cd /tmp && condor_submit jobs.sub && condor_wait -wait 100 jobs.log'");
    let ran = cluster.master.sh("cat /tmp/master.out /tmp/n1.out /tmp/n2.out");
    println!("# cat *.out\n{ran}");
    assert_eq!(ran.lines().collect::<BTreeSet<_>>(), names);
}
