//! A slave of cloud-init from its first boot on, as `doctor` sees it: what was contextualized, with which address, what
//! ran with literal placeholders, and what repairs that.

use std::os::unix::fs::symlink;

use worlds::api::{Api, key_path};
use worlds::guest::{Finished, Guest};
use worlds::service::Service;

const INSTANCE: &str = "/var/lib/cloud/instances/i-1";
const CLOUD_CONFIG: &str = "/var/lib/cloud/instances/i-1/cloud-config.txt";
const BARE: &str = "#cloud-config\nruncmd:\n- echo '###MASTER_IP_PLACEHOLDER###'\n";
const CONTEXTUALIZE: [&str; 2] = ["contextualize", "--cloud-init"];
const MASTER: &str = "10.77.0.11";
/// Nothing listens there.
const CLOSED: &str = "http://127.0.0.1:9";

fn section(lines: &str) -> String {
    format!("[ucernvm-begin]\n{lines}\ncvm_cluster_timeout=2\n[ucernvm-end]\n")
}

fn slave(url: &str, pin: &str) -> String {
    section(&format!("cvm_cluster_pin={pin}\ncvm_service_url={url}"))
}

fn become_ready(api: Api, pin: &str, address: &str) {
    api.create_key(pin, "master_ip", address);
    api.create_key(pin, "master_ready", address);
}

/// A guest whose network stage is over: cloud-init has laid its files down.
fn guest(section: &str) -> Guest {
    let guest = Guest::with_files("slave", &[]);
    network_stage(&guest, section);
    symlink(INSTANCE, guest.path("/var/lib/cloud/instance")).expect("it can be made");
    guest
}

/// What the network stage does at every boot.
fn network_stage(guest: &Guest, section: &str) {
    guest.write(&format!("{INSTANCE}/user-data.txt"), section);
    guest.write(&format!("{INSTANCE}/user-data.txt.i"), format!("Content-Type: text/plain\n\n{section}"));
    guest.write(CLOUD_CONFIG, BARE);
}

fn boot(guest: &Guest, number: u32, section: &str) {
    println!("boot {number}");
    // It is empty in each boot.
    let _ = std::fs::remove_dir_all(guest.path("/run"));
    network_stage(guest, section);
}

/// What the config and final stages do once per instance: they leave a semaphore.
fn later_stages(guest: &Guest) {
    for module in ["runcmd", "scripts_user"] {
        guest.write(&format!("{INSTANCE}/sem/config_{module}"), "");
    }
}

fn has_run(guest: &Guest) -> bool {
    guest.path(&format!("{INSTANCE}/sem/config_runcmd")).exists()
}

#[track_caller]
fn doctor(guest: &Guest, status: i32, says: &[&str]) -> Finished {
    let finished = guest.run(&["doctor"]);
    finished.expect(status);
    for words in says {
        assert!(finished.stdout.contains(words), "it does not say {words:?}, but:\n{}", finished.stdout);
    }
    finished
}

#[test]
fn a_slave_that_timed_out_is_not_well() {
    let context = slave(CLOSED, "enico1qq0oey");
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(69);
    later_stages(&guest);
    doctor(
        &guest,
        78,
        &[
            "!!    this VM is not contextualized as it should be: cannot reach",
            "!!    runcmd, scripts_user of cloud-init ran with literal placeholders",
            "a reboot does not run them again: `cloud-init clean --reboot`",
            "cloud-config.txt still holds ###MASTER_IP_PLACEHOLDER###",
        ],
    );
}

#[test]
fn a_second_boot_says_what_the_first_has_lost_until_that_is_repaired() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(75);
    later_stages(&guest);
    become_ready(service.api(), &pin, MASTER);
    for number in [2, 3] {
        boot(&guest, number, &context);
        guest
            .run(&CONTEXTUALIZE)
            .expect(78)
            .says("the master")
            .says("runcmd, scripts_user of cloud-init ran with literal placeholders")
            .says("cloud-init clean --reboot");
        assert!(String::from_utf8_lossy(&guest.read(CLOUD_CONFIG)).contains(MASTER), "it is substituted");
        doctor(&guest, 78, &["!!    runcmd, scripts_user of cloud-init ran with literal placeholders"]);
    }
    // As `cloud-init clean` does; then the boot is like a first one.
    std::fs::remove_dir_all(guest.path("/var/lib/cloud/instances")).expect("it is there");
    boot(&guest, 4, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    doctor(
        &guest,
        0,
        &["ok    this VM is contextualized: the master's address 10.77.0.11 is in place since"],
    );
}

#[test]
fn what_ran_with_literal_placeholders_runs_again_where_the_context_asks_for_it() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = slave(&service.url(), &pin)
        .replace("cvm_cluster_timeout", "cvm_cluster_repair=yes\ncvm_cluster_timeout");
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(75);
    later_stages(&guest);
    become_ready(service.api(), &pin, MASTER);
    // The unit's restart in the same boot comes too late for it.
    guest.run(&CONTEXTUALIZE).expect(78).says("reboot: they run again then");
    boot(&guest, 2, &context);
    assert!(!has_run(&guest), "cloud-init runs it again in this boot");
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    doctor(&guest, 0, &["ok    this VM is contextualized"]);
    boot(&guest, 3, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    assert!(has_run(&guest), "once is enough");
}

#[test]
fn a_boot_repairs_the_one_before_at_once() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = slave(&service.url(), &pin)
        .replace("cvm_cluster_timeout", "cvm_cluster_repair=on\ncvm_cluster_timeout");
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(75);
    later_stages(&guest);
    become_ready(service.api(), &pin, MASTER);
    boot(&guest, 2, &context);
    guest.run(&CONTEXTUALIZE).expect(0).says("cloud-init runs runcmd, scripts_user again");
    assert!(!has_run(&guest), "cloud-init runs it again in this boot");
}

#[test]
fn a_first_boot_that_was_well_is_never_called_lost() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    for number in 1..=3 {
        boot(&guest, number, &context);
        guest.run(&CONTEXTUALIZE).expect(0);
        later_stages(&guest);
        let said =
            doctor(&guest, 0, &["ok    this VM is contextualized", "ok    the master, 10.77.0.11, is ready"]);
        assert!(!said.stdout.contains("!!") && !said.stdout.contains("note"), "{}", said.stdout);
    }
}

#[test]
fn an_interrupted_wait_of_the_first_boot_loses_nothing() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = slave(&service.url(), &pin).replace("timeout=2", "timeout=600");
    let guest = guest(&context);
    boot(&guest, 1, &context);
    let mut agent = guest.start(&CONTEXTUALIZE);
    agent.wait_until_it_says("waiting until the master is ready");
    doctor(&guest, 75, &["!!    this VM has been waiting for its values since"]);
    drop(agent);
    // The power was cut, so no later stage ran.
    become_ready(service.api(), &pin, MASTER);
    boot(&guest, 2, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    doctor(&guest, 0, &["ok    this VM is contextualized"]);
}

#[test]
fn a_pin_that_has_expired_does_not_make_a_slave_ill() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    service.api().delete_pin(&pin);
    doctor(&guest, 0, &["ok    this VM is contextualized", "note  ", "new slaves cannot join"]);
    // Nor does a service that is away.
    drop(service);
    doctor(&guest, 0, &["ok    this VM is contextualized", "note  cannot reach"]);
}

#[test]
fn an_address_that_is_no_longer_true_is_wrong_and_a_reboot_is_not_enough() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    for key in ["master_ip", "master_ready"] {
        assert_eq!(service.api().delete(&key_path(&pin, key)).status, 204);
        service.api().create_key(&pin, key, "10.77.0.12");
    }
    doctor(&guest, 78, &["!!    the master is 10.77.0.12 now, and this VM uses 10.77.0.11"]);
    for number in [2, 3] {
        boot(&guest, number, &context);
        guest
            .run(&CONTEXTUALIZE)
            .expect(78)
            .says("runcmd, scripts_user of cloud-init ran with the address 10.77.0.11")
            .says("cvm_cluster_repair=yes");
        let says = ["of cloud-init ran with the address 10.77.0.11", "and the address is 10.77.0.12 now"];
        doctor(&guest, 78, &says);
    }
    // Where the context asks for it, they run again.
    let context = context.replace("cvm_cluster_timeout", "cvm_cluster_repair=yes\ncvm_cluster_timeout");
    boot(&guest, 4, &context);
    guest.run(&CONTEXTUALIZE).expect(0).says("cloud-init runs runcmd, scripts_user again");
    assert!(!has_run(&guest), "cloud-init runs it again in this boot");
    later_stages(&guest);
    boot(&guest, 5, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    assert!(has_run(&guest), "once is enough");
    doctor(&guest, 0, &["ok    this VM is contextualized: the master's address 10.77.0.12"]);
}

#[test]
fn what_does_not_use_the_address_is_not_called_wrong_when_it_changes() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    service.api().create_key(&pin, "token", "abc");
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    for (number, address) in [(1, MASTER), (2, "10.77.0.12")] {
        boot(&guest, number, &context);
        guest.write(CLOUD_CONFIG, BARE.replace("MASTER_IP", "TOKEN"));
        for key in ["master_ip", "master_ready"] {
            let _ = service.api().delete(&key_path(&pin, key));
            service.api().create_key(&pin, key, address);
        }
        guest.run(&CONTEXTUALIZE).expect(0);
        later_stages(&guest);
    }
}

#[test]
fn a_boot_without_the_agent_is_seen() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    let context = slave(&service.url(), &pin);
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(0);
    later_stages(&guest);
    boot(&guest, 2, &context);
    doctor(
        &guest,
        78,
        &["!!    the agent has left no record in this boot", "cloud-config.txt still holds ###MASTER_IP"],
    );
}

#[test]
fn doctor_speaks_to_programs_too() {
    let context = slave(CLOSED, "enico1qq0oey");
    let guest = guest(&context);
    boot(&guest, 1, &context);
    guest.run(&CONTEXTUALIZE).expect(69);
    let said = guest.run(&["doctor", "--json"]);
    said.expect(78);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    assert_eq!(json["status"], 78);
    let findings = json["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|finding| finding["status"] == 69 && finding["next"].is_string()));
}

#[test]
fn the_section_may_stand_in_vendor_data_and_the_user_has_the_last_word() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin, MASTER);
    let guest = guest("#cloud-config\nruncmd: []\n");
    guest.write(&format!("{INSTANCE}/vendor-data.txt"), slave(&service.url(), &pin));
    guest.run(&CONTEXTUALIZE).expect(0).says("the master, 10.77.0.11, is ready");
    assert!(String::from_utf8_lossy(&guest.read(CLOUD_CONFIG)).contains(MASTER));

    // The user's pin beside the image's URL.
    let other = service.api().new_pin();
    become_ready(service.api(), &other, "10.77.0.12");
    network_stage(&guest, &section(&format!("cvm_cluster_pin={other}")));
    guest.run(&CONTEXTUALIZE).expect(0).says("the master, 10.77.0.12, is ready");

    // vendor-data that the user's cloud-config switches off.
    for off in [
        "vendor_data:\n    enabled: false\n",
        "vendor_data: {enabled: false}\n",
        "vendor_data:\n  enabled: 'no'\n",
    ] {
        network_stage(&guest, "#cloud-config\n");
        guest.write(CLOUD_CONFIG, format!("{BARE}{off}"));
        guest.run(&CONTEXTUALIZE).expect(0).says("there is no ucernvm section: nothing to do");
    }
}

#[test]
fn vendor_data2_comes_before_vendor_data_and_is_switched_off_by_itself() {
    let service = Service::start();
    let [first, second] = [MASTER, "10.77.0.12"].map(|address| {
        let pin = service.api().new_pin();
        become_ready(service.api(), &pin, address);
        pin
    });
    let guest = guest("#cloud-config\nruncmd: []\n");
    guest.write(&format!("{INSTANCE}/vendor-data.txt"), slave(&service.url(), &first));
    let message = format!("Content-Type: text/plain\n\n{}", slave(&service.url(), &second));
    guest.write(&format!("{INSTANCE}/vendor-data2.txt.i"), message);
    for (switch, master) in [
        ("", "10.77.0.12"),
        ("vendor_data:\n    enabled: false\n", "10.77.0.12"),
        ("vendor_data2:\n    enabled: false\n", MASTER),
    ] {
        network_stage(&guest, "#cloud-config\nruncmd: []\n");
        guest.write(CLOUD_CONFIG, format!("{BARE}{switch}"));
        guest.run(&CONTEXTUALIZE).expect(0).says(&format!("the master, {master}, is ready"));
        assert!(String::from_utf8_lossy(&guest.read(CLOUD_CONFIG)).contains(master));
        let _ = std::fs::remove_file(guest.path(&format!("{INSTANCE}/cernvm-cluster.json")));
    }
}

#[test]
fn cloud_init_that_is_disabled_is_named() {
    let guest = Guest::with_files("slave", &[]);
    guest.write("/etc/cloud/cloud-init.disabled", "");
    guest.run(&["master-ready"]).expect(0).says("cloud-init is disabled on this VM");
    doctor(&guest, 65, &["!!    cloud-init is disabled on this VM, so nothing has read its user-data"]);
}

#[test]
fn the_original_half_is_named() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let lines = format!("cvm_cluster_pin={pin}\ncvm_service_url={}\n", service.url());
    let context = section(&format!("{lines}cvm_cluster_master=yes\ncvm_cluster_master_ip={MASTER}"));
    let guest = guest(&context);
    guest.write("/etc/cernvm/cloudinit-master-ready-sent", "");
    guest.run(&CONTEXTUALIZE).expect(0);
    guest.run(&["master-ready"]).expect(0).says("the original agent was here").says("is ready");
    doctor(&guest, 0, &["note  the original agent is or was on this VM: its marker"]);
}
