//! Machines without the agent: the slaves' stock cloud-init gets its context from the service with `#include-once`.

use std::net::Ipv4Addr;
use std::path::Path;

use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::{BRIDGE, Lab};
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;
use worlds::process::Process;
use worlds::wait::until;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
const PROXIED_SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 22);
const STRAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 23);
const LONELY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 24);
/// Where the proxy listens.
const PROXY: u16 = 8080;
const CONTEXT: &str = "\
#cloud-config
write_files:
- path: /etc/cluster.conf
  content: |
    master=###MASTER_IP_PLACEHOLDER###
runcmd:
- 'echo ran with ###MASTER_IP_PLACEHOLDER### >>/etc/ran'
";

/// A proxy that cuts a connection on which nothing comes for so many seconds: less than the slaves wait, as 60 s are
/// less than a master takes.
fn proxy(lab: &Lab, seconds: u32) -> Process {
    let dir = lab.dir().join("nginx");
    std::fs::create_dir(&dir).expect("a directory can be made");
    let dir = dir.display();
    let conf = format!(
        "daemon off; pid {dir}/pid; error_log stderr; events {{}}
        http {{
            access_log off;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
            uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
            server {{
                listen {BRIDGE}:{PROXY};
                location / {{
                    proxy_pass http://{BRIDGE}:8000;
                    proxy_http_version 1.1;
                    proxy_read_timeout {seconds}s;
                }}
            }}
        }}"
    );
    let file = lab.dir().join("nginx.conf");
    std::fs::write(&file, conf).expect("it can be written");
    let mut nginx = lab.command("nginx");
    nginx.arg("-c").arg(file);
    Process::start("nginx", &mut nginx)
}

/// The contexts that `contexts --agentless` writes: the master's and the slaves'.
fn contexts(lab: &Lab, service: &LabService<'_>) -> (String, String) {
    let path = |name: &str| lab.dir().join(name);
    std::fs::write(path("context"), CONTEXT).expect("it can be written");
    let made = lab
        .command(binaries::server())
        .args(["contexts", "--agentless", "--url", &service.url()])
        .arg("--from")
        .arg(path("context"))
        .arg("--master")
        .arg(path("master-context"))
        .arg("--slave")
        .arg(path("slave-context"))
        .output()
        .expect("nsenter starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |path: &Path| std::fs::read_to_string(path).expect("contexts has written it");
    (read(&path("master-context")), read(&path("slave-context")))
}

/// What the service, or the proxy, has sent to a machine that is connected to this port, in bytes.
fn sent(lab: &Lab, port: u16, to: Ipv4Addr) -> Option<u64> {
    let script = "ss -H -t -i -n state established \"sport = :$1 and dst $2\" | \
        sed -n 's/.*bytes_sent:\\([0-9]*\\).*/\\1/p'";
    let said = lab.sh(script, &[port.to_string().as_ref(), to.to_string().as_ref()]);
    said.lines().next().map(|number| number.parse().expect("ss tells bytes"))
}

/// Waits until a machine waits for its context and has been sent so many comments since.
fn wait_for_comments(lab: &Lab, port: u16, to: Ipv4Addr, comments: u32) {
    // A comment and what HTTP puts around a chunk.
    const COMMENT_BYTES: u64 = "18\r\n# It is not ready yet.\n\r\n".len() as u64;
    let first = until("a slave asks for its context", || sent(lab, port, to));
    until("a slave is sent comments", || {
        let more = sent(lab, port, to)?.saturating_sub(first);
        (more >= COMMENT_BYTES * u64::from(comments)).then_some(())
    });
}

/// How often cloud-init has opened the URL of a context so far.
fn requests(machine: &Machine<'_>) -> usize {
    let log = machine.root().read("/var/log/cloud-init.log").expect("cloud-init writes it");
    log.lines().filter(|line| line.contains("] open 'http") && line.contains("/c/")).count()
}

fn check(machine: &Machine<'_>) {
    let read = |path| machine.root().read(path);
    assert_eq!(read("/etc/cluster.conf").as_deref(), Some("master=10.77.0.11\n"));
    assert_eq!(read("/etc/ran").as_deref(), Some("ran with 10.77.0.11\n"));
    assert_eq!(requests(machine), 1);
}

/// Boots the slaves, directly and through a proxy that cuts what is idle for `idle` seconds, has them wait longer than
/// that, then boots the master.
fn slaves_get_their_context(release: Release, idle: u32) {
    let debian = Debian::root_of(release);
    let lab = Lab::new();
    let mut service = LabService::up(&lab);
    let _proxy = proxy(&lab, idle);
    let (for_master, for_slaves) = contexts(&lab, &service);
    let machine = |name, address, context: &str| {
        let machine = Machine::new(&lab, &debian, name, address);
        machine.seed(&format!("i-{name}"), context);
        machine
    };
    let mut slave = machine("slave", SLAVE, &for_slaves);
    let through_proxy = for_slaves.replace(":8000/", &format!(":{PROXY}/"));
    let mut proxied = machine("proxied", PROXIED_SLAVE, &through_proxy);
    slave.boot();
    proxied.boot();
    wait_for_comments(&lab, 8000, SLAVE, idle / 3 + 1);
    wait_for_comments(&lab, PROXY, PROXIED_SLAVE, idle / 3 + 1);
    let mut master = machine("master", MASTER, &for_master);
    master.boot();
    master.wait_until_booted();
    for machine in [&mut slave, &mut proxied] {
        machine.wait_until_booted();
        check(machine);
    }

    // A reboot needs no service: nothing is asked for again.
    slave.power_off();
    service.stop();
    slave.boot();
    slave.wait_until_booted();
    check(&slave);
}

#[test]
#[ignore = "needs root: boots machines"]
fn slaves_get_their_context_on_debian_12() {
    slaves_get_their_context(Release::Bookworm, 5);
}

#[test]
#[ignore = "needs root: boots machines"]
fn slaves_get_their_context_on_debian_13_also_when_they_wait_for_more_than_a_minute() {
    slaves_get_their_context(Release::Trixie, 60);
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_slave_says_on_its_console_why_it_has_no_context() {
    let debian = Debian::root_of(Release::Bookworm);
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let (_, for_slaves) = contexts(&lab, &service);
    let mut lonely = Machine::new(&lab, &debian, "lonely", LONELY);
    lonely.seed("i-lonely", format!("{}?timeout=5\n", for_slaves.trim_end()));
    let mut stray = Machine::new(&lab, &debian, "stray", STRAY);
    stray.seed("i-stray", format!("#include-once\n{}/c/{}\n", service.url(), "0".repeat(32)));
    lonely.boot();
    stray.boot();
    for (machine, words) in [
        (&mut lonely, "cernvm-cluster: the cluster has no usable master_ready after 5 s"),
        (&mut stray, "cernvm-cluster: the pairing service knows no context of this token"),
    ] {
        machine.wait_until_console_says(words);
        machine.wait_until_booted();
        // The rest of cloud-init has had its turn: a user can log in.
        assert!(machine.root().read("/etc/ssh/ssh_host_ed25519_key.pub").is_some());
        assert_eq!(machine.root().read("/etc/cluster.conf"), None);
    }
}
