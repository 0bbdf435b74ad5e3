//! An HTCondor pool from the shipped example: the pool's password travels sealed, every machine joins, and a job runs on
//! each of the three.

use std::collections::BTreeSet;

use worlds::api::keys;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;
use worlds::boot::worked::WorkedCluster;
use worlds::wait::until;

/// What a context's `packages` install.
const PACKAGES: &[&str] = &["htcondor"];
const PASSWORD: &str = "/etc/condor/passwords.d/POOL";
/// The full names that HTCondor gives the machines.
const MACHINES: [&str; 3] = ["master.cluster", "n1.cluster", "n2.cluster"];
/// A job for each machine, of a user who is not root, which prints where it runs.
const JOBS: &str = "
    useradd --create-home user
    cd /home/user
    cat >jobs <<'END'
executable = /bin/hostname
transfer_executable = false
should_transfer_files = yes
output = $(machine).out
log = log
requirements = Machine == \"$(machine)\"
queue machine in (master.cluster, n1.cluster, n2.cluster)
END
    su user -c 'condor_submit jobs && condor_wait -wait 120 log' >&2 || { cat log >&2; exit 1; }
    for machine in master n1 n2; do
        printf '%s: ' \"$machine.cluster\"
        cat \"$machine.cluster.out\"
    done
";

#[test]
#[ignore = "needs root: boots machines"]
fn a_job_runs_on_each_machine_of_the_example() {
    let debian = Debian::root_with(Release::Trixie, PACKAGES);
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let mut cluster = WorkedCluster::new(&lab, &debian, &service, "htcondor");
    for machine in cluster.slaves.iter().chain([&cluster.master]) {
        // As the package's installation leaves it.
        machine.root().sh("systemctl --quiet enable condor");
        assert_eq!(machine.root().read(PASSWORD), None);
    }
    cluster.boot();

    // The password has come through a service that could not read it.
    let password = cluster.master.root().read(PASSWORD).expect("the master has made it");
    assert!(password.len() >= 64, "{} characters", password.len());
    let kept = service.ask(|api| api.value(&cluster.pin, "condor_pool")).expect("it was published");
    assert!(kept.starts_with("v1."), "condor_pool is sealed");
    let all = service.ask(|api| api.get(&keys(&cluster.pin)).text());
    assert!(!all.contains(&password), "the service has the password nowhere");
    for slave in &cluster.slaves {
        assert_eq!(slave.root().read(PASSWORD).as_ref(), Some(&password));
        assert_eq!(slave.sh(&format!("stat --format '%U %a' {PASSWORD}")), "root 600\n");
    }

    until("every machine has joined the pool", || {
        let joined = cluster.master.sh("condor_status -autoformat Machine || :");
        (joined.lines().collect::<BTreeSet<_>>() == BTreeSet::from(MACHINES)).then_some(())
    });
    println!("# condor_status\n{}", cluster.master.sh("condor_status"));
    let ran = cluster.master.sh(JOBS);
    println!("# jobs\n{ran}");
    assert_eq!(ran, "master.cluster: master\nn1.cluster: n1\nn2.cluster: n2\n");
}
