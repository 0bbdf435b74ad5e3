//! What `packaging/examples` shows, run as its readers would run it.

use std::net::Ipv4Addr;
use std::path::Path;

use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::{BRIDGE, Lab};
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;
use worlds::process::Process;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
/// Where the machines download the agent's package from.
const DOWNLOADS: u16 = 8080;

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The agent's package, as `packaging/packages` made it.
fn package() -> Vec<u8> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/packages/out");
    let listed = std::fs::read_dir(&out).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
    let mut paths = listed.map(|entry| entry.expect("the directory can be read").path());
    let agent = paths.find(|path| {
        let name = path.file_name().expect("it has a name").to_string_lossy();
        name.starts_with("cernvm-cluster-agent_") && name.ends_with("_amd64.deb")
    });
    std::fs::read(agent.expect("packaging/packages makes it")).expect("it can be read")
}

#[test]
#[ignore = "needs root: boots machines"]
fn vendor_data_installs_the_agent_in_time_on_debian_12() {
    vendor_data_installs_the_agent_in_time(Release::Bookworm);
}

#[test]
#[ignore = "needs root: boots machines"]
fn vendor_data_installs_the_agent_in_time_on_debian_13() {
    vendor_data_installs_the_agent_in_time(Release::Trixie);
}

fn vendor_data_installs_the_agent_in_time(release: Release) {
    let lab = Lab::new();
    let package = package();
    std::fs::create_dir(lab.dir().join("www")).expect("a directory can be made");
    std::fs::write(lab.dir().join("www/agent.deb"), &package).expect("it can be written");
    let mut httpd = lab.command("busybox");
    httpd.args(["httpd", "-f", "-p", &format!("{BRIDGE}:{DOWNLOADS}"), "-h"]).arg(lab.dir().join("www"));
    let _httpd = Process::start("downloads", &mut httpd);

    let sum = lab.sh("sha256sum \"$1\" | cut -d ' ' -f 1", &[lab.dir().join("www/agent.deb").as_os_str()]);
    let vendor_data: String = example("vendor-data/vendor-data")
        .lines()
        .map(|line| match line.split_once('=') {
            Some(("URL", _)) => format!("URL=http://{BRIDGE}:{DOWNLOADS}/agent.deb\n"),
            Some(("SHA256", _)) => format!("SHA256={sum}"),
            _ => format!("{line}\n"),
        })
        .collect();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    let debian = Debian::root_of(release);
    let machine = |name, address, role: &str| {
        let machine = Machine::new(&lab, &debian, name, address);
        let context = format!(
            "#cloud-config\n# [ucernvm-begin]\n# cvm_cluster_pin={pin}\n# cvm_service_url={}\n{role}# [ucernvm-end]\n\
             write_files:\n- path: /etc/cluster.conf\n  content: |\n    master=###MASTER_IP_PLACEHOLDER###\n\
             runcmd:\n- 'echo ran with ###MASTER_IP_PLACEHOLDER### >/etc/ran'\n",
            service.url()
        );
        machine.seed("i-1", context);
        machine.root().write("/var/lib/cloud/seed/nocloud/vendor-data", &vendor_data);
        machine
    };
    let mut slave = machine("slave", SLAVE, "");
    let mut master = machine("master", MASTER, "# cvm_cluster_master=yes\n");
    slave.boot();
    master.boot();
    master.wait_until_booted();
    slave.wait_until_booted();
    for machine in [&master, &slave] {
        assert_eq!(machine.sh("cat /etc/cluster.conf"), format!("master={MASTER}\n"));
        assert_eq!(machine.sh("cat /etc/ran"), format!("ran with {MASTER}\n"));
    }

    // From now on it boots as a machine that always had the agent.
    slave.power_off();
    slave.boot();
    slave.wait_until_booted();
    assert_eq!(slave.sh("cernvm-cluster-agent doctor >/dev/null; echo $?").trim(), "0");
}
