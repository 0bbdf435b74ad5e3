//! What becomes of the files that `write_files` has made: beside other programs, after a power cut, and where the agent
//! cannot do its work.

use crate::instance::{ADDRESS, IP, Instance, SECRET, TOKEN, dump};

/// What cloud-init has written for an entry.
fn written(instance: &Instance, path: &str, content: &str) {
    instance.guest.write(path, content);
}

#[test]
fn what_other_programs_write_during_the_wait_is_kept() {
    let hosts = format!("127.0.0.1 localhost\n{IP} master\n");
    let instance = Instance::new(&dump(&[("/etc/hosts", &hosts, "")]));
    written(&instance, "/etc/hosts", &hosts);
    instance.lay_down();
    let mut agent = instance.start();
    agent.wait_until_it_says("waiting until the master is ready");
    written(&instance, "/etc/hosts", &format!("127.0.0.1 localhost\n{IP} master alias\n192.0.2.9 printer\n"));
    instance.master_is_ready();
    agent.finish().expect(0);
    instance.has("/etc/hosts", &format!("127.0.0.1 localhost\n{ADDRESS} master alias\n192.0.2.9 printer\n"));
}

#[test]
fn a_placeholder_that_the_context_did_not_write_stays() {
    let own = format!("master={IP}\n");
    let instance = Instance::new(&dump(&[
        ("/home/alice/app.conf", &own, "owner: alice:alice"),
        ("/etc/token", &format!("{TOKEN}\n"), "permissions: '0600'"),
    ]));
    written(&instance, "/home/alice/app.conf", &format!("{own}steal={TOKEN}\n"));
    written(&instance, "/etc/token", &format!("{TOKEN}\n"));
    instance.master_is_ready();
    for _ in 0..2 {
        instance.boot().expect(0);
        instance.has("/home/alice/app.conf", &format!("master={ADDRESS}\nsteal={TOKEN}\n"));
        instance.has("/etc/token", &format!("{SECRET}\n"));
    }
}

#[test]
fn a_file_that_cannot_be_handled_prevents_no_other() {
    let instance = Instance::new(&dump(&[("/etc/app", IP, ""), ("/etc/blob", "x", "")]));
    written(&instance, "/etc/app", IP);
    let large = vec![b'x'; 17 << 20];
    let blob = b"\x1f\x8b\x08\0no gzip";
    instance.guest.write("/etc/blob", &large);
    instance.guest.write(&instance.file("scripts/large"), &large);
    instance.guest.write(&instance.file("scripts/blob"), blob);
    instance.guest.write(&instance.file("scripts/script"), format!("#!/bin/sh\necho {IP}\n"));
    instance.master_is_ready();
    let finished = instance.boot();
    finished.expect(0).says("scripts/large: it is larger than 16 MiB").says("scripts/blob");
    instance.has("/etc/app", ADDRESS);
    instance.has(&instance.file("scripts/script"), &format!("#!/bin/sh\necho {ADDRESS}\n"));
    assert_eq!(instance.guest.read(&instance.file("scripts/blob")), blob);

    // One that has a placeholder is a failure; it is named, and costs neither the others nor the cache.
    instance.guest.write(&instance.file("scripts/large"), [&large[..], IP.as_bytes()].concat());
    instance.guest.write("/etc/app", IP);
    instance.boot().expect(74).says("scripts/large");
    instance.has("/etc/app", ADDRESS);
    assert!(instance.guest.path(&instance.file("cernvm-cluster.json")).exists());
}

#[test]
fn every_kind_of_entry_is_found() {
    let folded = "/srv/a path with blanks that is longer than eighty columns wide, which is folded/app";
    let hidden = base64("token=###JOIN_TOKEN_PLACEHOLDER###\n");
    let config = format!(
        "#cloud-config\n\n---\nwrite_files:\n-   content: '{IP}'\n    path: {}\n        {}\n-   content: {hidden}\n    \
         defer: true\n    encoding: b64\n    path: /etc/deferred\n-   content: {hidden}\n    encoding: b64\n    path: /etc/encoded\n...\n",
        &folded[..folded.find(" which").expect("it is in there")],
        &folded[folded.find("which").expect("it is in there")..],
    );
    let instance = Instance::new(&config);
    written(&instance, folded, IP);
    written(&instance, "/etc/encoded", &format!("token={TOKEN}\n"));
    instance.master_is_ready();
    instance.boot().expect(0);
    instance.has(folded, ADDRESS);
    instance.has("/etc/encoded", &format!("token={SECRET}\n"));
    // cloud-init's final stage writes this one from the configuration.
    let encoded = base64(&format!("token={SECRET}\n"));
    let config = instance.text(&instance.file("cloud-config.txt"));
    assert!(config.contains(&encoded), "{config}");
}

#[test]
fn entries_of_vendor_data_are_found_where_the_user_has_none() {
    let vendor = dump(&[("/etc/vendor", IP, "")]);
    for (user, after) in [("#cloud-config\n{}\n", ADDRESS), (&*dump(&[("/etc/user", "x", "")]), IP)] {
        let instance = Instance::new(user);
        instance.guest.write(&instance.file("vendor-cloud-config.txt"), &vendor);
        written(&instance, "/etc/vendor", IP);
        written(&instance, "/etc/user", "x");
        instance.master_is_ready();
        let _ = instance.boot();
        instance.has("/etc/vendor", after);
    }
}

#[test]
fn a_file_that_a_power_cut_emptied_is_written_again() {
    let content = format!("first\nip={IP}\n");
    let entries =
        [("/etc/emptied", content.as_str(), "permissions: '0640'"), ("/etc/cut", "no placeholder\n", "")];
    let instance = Instance::new(&dump(&entries));
    written(&instance, "/etc/emptied", "");
    written(&instance, "/etc/cut", "no pla");
    instance.master_is_ready();
    instance
        .boot()
        .expect(0)
        .says("/etc/emptied: it was empty or cut off")
        .says("/etc/cut: it was empty or cut off");
    instance.has("/etc/emptied", &format!("first\nip={ADDRESS}\n"));
    instance.has("/etc/cut", "no placeholder\n");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = instance.guest.path("/etc/emptied").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);

    // After a success the file is the machine's own: what empties it then means it.
    written(&instance, "/etc/emptied", "");
    instance.boot().expect(0);
    instance.has("/etc/emptied", "");
}

#[test]
fn success_is_not_claimed_where_only_the_copy_for_people_was_changed() {
    let instance = Instance::new("#cloud-config\n{}\n");
    instance.master_is_ready();
    instance.boot().expect(65).says("nothing that cloud-init's later stages read has a placeholder");
}

#[test]
fn a_missing_file_of_an_entry_is_named() {
    let instance = Instance::new(&dump(&[("/etc/missing", IP, ""), ("/etc/deferred", IP, "defer: true")]));
    instance.master_is_ready();
    let finished = instance.boot();
    finished.expect(0).says("/etc/missing: write_files of the context has an entry for it");
    assert!(!finished.stderr.contains("/etc/deferred: write_files"), "{}", finished.stderr);
}

#[test]
fn a_placeholder_that_is_to_stay_stays() {
    let instance = Instance::with_setting(
        "cvm_cluster_literal=master_ip",
        &dump(&[("/etc/token", TOKEN, ""), ("/etc/launch", IP, "")]),
    );
    written(&instance, "/etc/token", TOKEN);
    written(&instance, "/etc/launch", IP);
    instance.master_is_ready();
    // It stays in a second run too, and is none that was forgotten.
    for _ in 0..2 {
        instance.boot().expect(0);
        instance.has("/etc/token", SECRET);
        instance.has("/etc/launch", IP);
    }
    let doctor = instance.guest.run(&["doctor"]);
    assert!(!doctor.stdout.contains(IP), "{}", doctor.stdout);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
