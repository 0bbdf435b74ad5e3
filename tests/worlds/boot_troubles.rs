//! What can be wrong at a boot, as the agent sees it: it ends in bounded time, says why, and leaves whole files.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Output;

use worlds::api::Api;
use worlds::binaries;
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;
use worlds::guest::Guest;
use worlds::process::Process;
use worlds::service::Service;
use worlds::wait::until;

const CLOUD: &str = "/var/lib/cloud";
const CLOUD_CONFIG: &str = "/var/lib/cloud/instances/i-1/cloud-config.txt";
const BARE: &str = "#cloud-config\nruncmd:\n- echo '###MASTER_IP_PLACEHOLDER###'\n";
const CONTEXTUALIZE: [&str; 2] = ["contextualize", "--cloud-init"];
const MASTER: &str = "10.77.0.11";
/// Reserved for documentation (RFC 5737), so no host has it.
const NOWHERE: &str = "http://192.0.2.1:8000";

fn section(url: &str, pin: &str) -> String {
    format!(
        "[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={url}\ncvm_cluster_timeout=5\n[ucernvm-end]\n"
    )
}

/// A guest whose network stage is over.
fn guest_of_cloud_init(section: &str) -> Guest {
    let guest = Guest::new("slave", section);
    guest.write("/var/lib/cloud/instances/i-1/user-data.txt", section);
    guest.write(
        "/var/lib/cloud/instances/i-1/user-data.txt.i",
        format!("Content-Type: text/plain\n\n{section}"),
    );
    guest.write(CLOUD_CONFIG, BARE);
    symlink("/var/lib/cloud/instances/i-1", guest.path("/var/lib/cloud/instance")).expect("it can be made");
    guest
}

fn become_ready(api: Api, pin: &str) {
    api.create_key(pin, "master_ip", MASTER);
    api.create_key(pin, "master_ready", MASTER);
}

#[test]
fn without_cloud_inits_directory_there_is_nothing_to_do() {
    let guest = Guest::new("slave", "");
    guest.run(&CONTEXTUALIZE).expect(0).says("cloud-init has no instance with user-data: nothing to do");
    guest.write("/var/lib/cloud/instances/other/user-data.txt", "");
    guest.run(&CONTEXTUALIZE).expect(0).says("nothing to do");
    symlink("/var/lib/cloud/instances/gone", guest.path("/var/lib/cloud/instance")).expect("it can be made");
    guest.run(&CONTEXTUALIZE).expect(0).says("nothing to do");
}

#[test]
fn an_instance_without_user_data_has_nothing_to_do() {
    let guest = guest_of_cloud_init("");
    for name in ["user-data.txt", "user-data.txt.i"] {
        guest.write(&format!("/var/lib/cloud/instances/i-1/{name}"), "");
    }
    guest.run(&CONTEXTUALIZE).expect(0).says("nothing to do");
    for name in ["user-data.txt", "user-data.txt.i"] {
        std::fs::remove_file(guest.path(&format!("/var/lib/cloud/instances/i-1/{name}")))
            .expect("it is there");
    }
    guest.run(&CONTEXTUALIZE).expect(0).says("nothing to do");
    assert_eq!(guest.read(CLOUD_CONFIG), BARE.as_bytes());
}

#[test]
fn a_boot_loader_without_user_data_has_nothing_to_do_and_leaves_its_marker() {
    let guest = Guest::new("slave", "");
    std::fs::remove_file(guest.path("/user-data")).expect("it is there");
    let root = guest.root().to_str().expect("its name is plain").to_owned();
    let run = std::process::Command::new(binaries::agent())
        .args(["--root", &root, "contextualize", "--bootloader"])
        .output()
        .expect("the agent starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("found no user-data: nothing to do"), "{said}");
    assert!(guest.path("/ami-contextualized").exists());
}

#[test]
fn a_service_that_dies_and_comes_back_is_waited_for() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    let long = section(&service.url(), &pin).replace("timeout=5", "timeout=300");
    let guest = guest_of_cloud_init(&long);
    let mut agent = guest.start(&CONTEXTUALIZE);
    agent.wait_until_it_says("waiting until the master is ready");
    service.kill();
    agent.wait_until_it_says("trying again");
    service.resume();
    become_ready(service.api(), &pin);
    agent.finish().expect(0).says("the master, 10.77.0.11, is ready");
    assert_eq!(guest.read(CLOUD_CONFIG), BARE.replace("###MASTER_IP_PLACEHOLDER###", MASTER).as_bytes());
}

#[test]
fn a_master_that_never_comes_is_not_waited_for_for_ever() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let guest = guest_of_cloud_init(&section(&service.url(), &pin));
    guest
        .run(&CONTEXTUALIZE)
        .expect(75)
        .says("the master is not ready yet")
        .says("look at the master's console");
    assert_eq!(guest.read(CLOUD_CONFIG), BARE.as_bytes());
}

/// Runs the agent in a lab on a guest's root.
fn contextualize(lab: &Lab, guest: &Guest) -> (i32, String) {
    let mut command = lab.command(binaries::agent());
    let Output { status, stderr, .. } =
        command.arg("--root").arg(guest.root()).args(CONTEXTUALIZE).output().expect("nsenter starts");
    (status.code().expect("it ends by itself"), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
#[ignore = "needs root: makes a network without a way out"]
fn without_a_network_the_boot_goes_on() {
    let lab = Lab::new();
    let guest = guest_of_cloud_init(&section(NOWHERE, "enico1qq0oey"));
    let (status, said) = contextualize(&lab, &guest);
    assert_eq!(status, 69, "{said}");
    assert!(said.contains(&format!("cannot reach the pairing service {NOWHERE} (")), "{said}");
    assert!(said.contains("nreachable"), "{said}");
    assert_eq!(guest.read(CLOUD_CONFIG), BARE.as_bytes());
}

#[test]
#[ignore = "needs root: makes a network"]
fn a_service_that_is_cut_off_gives_its_turn_to_the_next() {
    let lab = Lab::new();
    let mut service = LabService::up(&lab);
    let pin = service.new_pin();
    service.stop();
    // A second service with the same pin, as from one store.
    let [first, second] = ["service", "second"].map(|name| lab.dir().join(name));
    lab.sh("cp -a \"$1\" \"$2\"", &[first.as_os_str(), second.as_os_str()]);
    service.start();
    let mut command = lab.resident("next", binaries::server());
    command.args(["serve", "--listen", "10.77.0.1:8001", "--data-dir"]).arg(&second);
    let mut next = Process::start("next", &mut command);
    let next_url = next.line_after("listening on ");

    let urls = format!("{},{next_url}", service.url());
    let guest = guest_of_cloud_init(&section(&urls, &pin).replace("timeout=5", "timeout=90"));
    let mut command = lab.command(binaries::agent());
    command.arg("--root").arg(guest.root()).args(CONTEXTUALIZE);
    let mut agent = Process::start("slave", &mut command);
    let says = |agent: &mut Process, words: &str| {
        until(&format!("the agent says {words:?}"), || {
            let ended = agent.has_ended();
            assert!(agent.stderr().contains(words) || !ended, "{}", agent.stderr());
            agent.stderr().contains(words).then_some(())
        });
    };
    says(&mut agent, "waiting until the master is ready");
    // Nothing comes back from there any more, not even that the connection has ended.
    lab.sh(
        "nft add table inet cut
        nft add chain inet cut input '{ type filter hook input priority 0; }'
        nft add rule inet cut input tcp dport 8000 drop",
        &[],
    );
    says(&mut agent, "connection timed out");
    says(&mut agent, "asking the next service");
    lab.connected(|| become_ready(Api(SocketAddr::from(([10, 77, 0, 1], 8001))), &pin));
    assert!(agent.wait().success(), "{}", agent.stderr());
    assert_eq!(guest.read(CLOUD_CONFIG), BARE.replace("###MASTER_IP_PLACEHOLDER###", MASTER).as_bytes());
    lab.signal("next", "TERM");
    next.wait();
}

#[test]
#[ignore = "needs root: makes a network without a way out"]
fn doctor_says_that_there_is_no_route() {
    let lab = Lab::new();
    let guest = guest_of_cloud_init(&section(NOWHERE, "enico1qq0oey"));
    let output = lab.command(binaries::agent()).arg("--root").arg(guest.root()).arg("doctor").output();
    let output = output.expect("nsenter starts");
    let said = String::from_utf8_lossy(&output.stdout);
    // The placeholders that are still in its files weigh more than the service that is not reached.
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("no route leads to 192.0.2.1") && said.contains("see `ip route`"), "{said}");
}

#[test]
#[ignore = "needs root: mounts a small file system"]
fn a_full_disk_leaves_whole_files_and_the_boot_goes_on() {
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    service.ask(|api| become_ready(api, &pin));
    let guest = guest_of_cloud_init(&section(&service.url(), &pin));
    // The guest's cloud directory on a disk that has no block left.
    let cloud = guest.path(CLOUD);
    lab.sh(
        "cp -a \"$1\" \"$1.copy\"
        mount -t tmpfs -o size=64k tmpfs \"$1\"
        cp -a \"$1.copy/.\" \"$1\"
        ! dd if=/dev/zero of=\"$1/fill\" bs=4k 2>/dev/null",
        &[cloud.as_os_str()],
    );
    let (status, said) = contextualize(&lab, &guest);
    assert_eq!(status, 74, "{said}");
    assert!(said.contains("cloud-config.txt") && said.contains("No space left"), "{said}");
    assert!(said.contains("writable and has room"), "{said}");
    let left = lab.sh("cat \"$1/instances/i-1/cloud-config.txt\"", &[cloud.as_os_str()]);
    assert_eq!(left, BARE);
    let names = lab.sh("ls -A \"$1/instances/i-1\"", &[cloud.as_os_str()]);
    assert_eq!(names, "cloud-config.txt\nuser-data.txt\nuser-data.txt.i\n");
    let output = lab.command(binaries::agent()).arg("--root").arg(guest.root()).arg("doctor").output();
    let output = output.expect("nsenter starts");
    let diagnosis = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(74), "{diagnosis}");
    for words in [
        "has no room left",
        "next: make room on it",
        "cloud-config.txt still holds ###MASTER_IP_PLACEHOLDER###",
    ] {
        assert!(diagnosis.contains(words), "{words}: {diagnosis}");
    }

    // With room again, the next boot does what this one could not.
    lab.sh("rm \"$1/fill\"", &[cloud.as_os_str()]);
    let (status, said) = contextualize(&lab, &guest);
    assert_eq!(status, 0, "{said}");
    let config = lab.sh("cat \"$1/instances/i-1/cloud-config.txt\"", &[cloud.as_os_str()]);
    assert!(config.contains(MASTER), "{config}");
    let output = lab.command(binaries::agent()).arg("--root").arg(guest.root()).arg("doctor").output();
    let output = output.expect("nsenter starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
