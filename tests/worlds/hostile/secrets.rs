//! Contexts that do not agree about the secret, and where a secret may come from.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use worlds::fixtures;
use worlds::guest::{Guest, USER_DATA};
use worlds::process::Process;

use crate::cluster::{Cluster, MOVED_TO, PIN, SECRET, TOKEN};
use crate::service::Hostile;

/// Another secret than the cluster's.
const ANOTHER: &str = "An0therSecret_-BBBBBBBBBBBBBBBBBBBBBBBBBBBE";

/// Everything that a command says when the context has another secret than the master's, or none.
#[test]
fn each_command_names_what_is_wrong_with_the_secret() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let clear = cluster.clear_slave_context();
    let other = fixtures::with_settings(&clear, &[&format!("cvm_cluster_secret={ANOTHER}")]);
    for (context, says) in [
        (&clear, "is sealed; this context has no cvm_cluster_secret"),
        (&other, "does not open: it was sealed with another cvm_cluster_secret"),
    ] {
        let guest = Guest::new("slave", context);
        for args in [
            &["contextualize"][..],
            &["contextualize", "--no-wait"],
            &["get", "k3s_token"],
            &["get", "--wait", "k3s_token"],
        ] {
            let finished = guest.run(args);
            finished.expect(77).says(says);
            assert_eq!(finished.stdout, "", "{args:?}");
            assert_eq!(&guest.context(), context, "{args:?}");
        }
        for args in [&["doctor"][..], &["doctor", "--json"]] {
            // The literal placeholders weigh more.
            let diagnosis = guest.run(args).expect(78).stdout.clone();
            assert!(diagnosis.contains(says), "{diagnosis}");
            assert!(!diagnosis.contains(SECRET) && !diagnosis.contains(ANOTHER), "{diagnosis}");
        }
        let master = Guest::new(
            "another-master",
            context.replace(
                "cvm_cluster_pin=",
                "cvm_cluster_master=yes\ncvm_cluster_master_ip=192.0.2.13\ncvm_cluster_pin=",
            ),
        );
        master.run(&["contextualize"]).expect(77).says(says);
        master.run(&["master-ready"]).expect(77).says(says);
        master.run(&["master-ready", "--withdraw"]).expect(77).says(says);
    }
    cluster.slave().run(&["contextualize"]).expect(0);
}

#[test]
fn doctor_says_that_the_values_open() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let finished = cluster.slave().run(&["doctor"]);
    let words = "ok    the values there are sealed, and open with this context's cvm_cluster_secret";
    assert!(finished.stdout.contains(words), "{}", finished.stdout);
    assert!(finished.stdout.contains(&format!("the master, {MOVED_TO}, is ready")), "{}", finished.stdout);
    assert!(!finished.stdout.contains(SECRET));
}

/// A secret that is wrong in itself: nothing is asked of any service.
#[test]
fn a_secret_that_is_none_ends_every_command_at_its_line() {
    let service = Hostile::start();
    let cluster = Cluster::at(&service, PIN);
    for (value, says) in [
        (SECRET[1..].to_owned(), "it has 42 characters, and a secret has 43"),
        (format!("{SECRET}="), "it has a character in it that base64url has not"),
        (format!("{}!", &SECRET[1..]), "it has a character in it that base64url has not"),
        (String::new(), "has no value"),
        (format!("{SECRET}\ncvm_cluster_secret={ANOTHER}"), "stands in"),
    ] {
        let context = cluster.clear_slave_context();
        let context = fixtures::with_settings(&context, &[&format!("cvm_cluster_secret={value}")]);
        let lines: Vec<_> = context.lines().collect();
        let line =
            lines.iter().rposition(|line| line.starts_with("cvm_cluster_secret=")).expect("it is there") + 1;
        let guest = Guest::new("slave", &context);
        for args in [&["contextualize"][..], &["get", "a"], &["publish", "a", "b"], &["master-ready"]] {
            let finished = guest.run(args);
            finished.expect(65).says(&format!("line {line}: cvm_cluster_secret")).says(says);
            assert!(!finished.stderr.contains(&SECRET[2..20]), "{}", finished.stderr);
        }
        let checked = check(&[&guest.path(USER_DATA)]);
        let shown = format!("{}{}", checked.stdout(), checked.stderr());
        assert!(shown.contains(&format!("line {line}: error: cvm_cluster_secret")), "{shown}");
        assert!(shown.contains(says) && !shown.contains(&SECRET[2..20]), "{shown}");
    }
    assert_eq!(service.requests(), 0);
}

/// What `check` sees of the contexts of one cluster before any of its VMs boots.
#[test]
fn check_sees_a_secret_that_one_context_lacks_or_that_others_can_read() {
    let service = Hostile::start();
    let cluster = Cluster::at(&service, PIN);
    let clear = cluster.clear_slave_context();
    let with = |context: &str, secret: &str| {
        fixtures::with_settings(context, &[&format!("cvm_cluster_secret={secret}")])
    };
    let guest = Guest::new("desk", "");
    let (master, slave) = (guest.path("/master"), guest.path("/slave"));
    let masters = fixtures::with_settings(&clear, &["cvm_cluster_master=yes"]);
    for (of_master, of_slave, mode, status, says) in [
        (with(&masters, SECRET), clear.clone(), 0o600, 65, "it has no cvm_cluster_secret, unlike"),
        (masters.clone(), with(&clear, SECRET), 0o600, 65, "it has a cvm_cluster_secret, unlike"),
        (with(&masters, SECRET), with(&clear, ANOTHER), 0o600, 65, "it has another cvm_cluster_secret than"),
        (with(&masters, SECRET), with(&clear, SECRET), 0o604, 0, "every user of this machine can read it"),
        (with(&masters, SECRET), with(&clear, SECRET), 0o600, 0, "this cluster is sealed"),
    ] {
        for (file, context) in [(&master, of_master), (&slave, of_slave)] {
            std::fs::write(file, context).expect("it is the test's own");
            std::fs::set_permissions(file, Permissions::from_mode(mode)).expect("it is the test's own");
        }
        let mut checked = check(&[&master, &slave]);
        let shown = format!("{}{}", checked.stdout(), checked.stderr());
        assert_eq!(checked.wait().code(), Some(status), "{shown}");
        assert!(shown.contains(says), "{shown}");
        let warns = shown.contains("every user of this machine can read it");
        assert_eq!(warns, mode == 0o604, "{shown}");
        for secret in [SECRET, ANOTHER] {
            assert!(!shown.contains(&secret[..10]), "{shown}");
        }
    }
    assert_eq!(service.requests(), 0);
}

/// `check` as a user runs it on the machine where the contexts are made.
fn check(files: &[&Path]) -> Process {
    let mut command = Command::new(worlds::binaries::agent());
    command.env_clear().arg("check").args(files).stdin(Stdio::null());
    let mut checked = Process::start("check", &mut command);
    checked.wait();
    checked
}

/// Outside a guest the section may have no secret, and a file has it.
#[test]
fn publish_and_get_take_the_secret_from_a_file() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let guest = Guest::new("desk", cluster.clear_slave_context());
    guest.write("/secret", format!("{SECRET}\n"));
    let get = ["get", "--secret-file", "/secret", "k3s_token"];
    assert_eq!(guest.run(&get).expect(0).stdout, TOKEN);
    guest.run(&["publish", "--secret-file", "/secret", "k3s_token", "from-the-desk"]).expect(0);
    assert_eq!(guest.run(&get).expect(0).stdout, "from-the-desk");
    assert_eq!(cluster.slave().run(&["get", "k3s_token"]).expect(0).stdout, "from-the-desk");
    assert!(!service.everything_seen().contains("from-the-desk"));

    guest.write("/another", ANOTHER);
    guest.run(&["get", "--secret-file", "/another", "k3s_token"]).expect(77);
    let sealed = cluster.slave();
    sealed.write("/another", ANOTHER);
    let finished = sealed.run(&["get", "--secret-file", "/another", "k3s_token"]);
    finished.expect(65).says("it is not the cvm_cluster_secret of the context");
    for content in ["", "\n", "short", &format!("{SECRET}{SECRET}"), &format!("{SECRET} {SECRET}")] {
        guest.write("/wrong", content);
        let finished = guest.run(&["get", "--secret-file", "/wrong", "k3s_token"]);
        finished.expect(65).says("line 1: there is no secret in it");
        assert!(!finished.stderr.contains(&SECRET[..10]));
    }
    guest.run(&["get", "--secret-file", "/nothing", "k3s_token"]).expect(74).says("/nothing");
}

#[test]
fn a_value_that_is_too_long_once_sealed_is_refused_before_it_is_sent() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    let master = cluster.master(MOVED_TO, "master");
    let longest = "x".repeat(49_121);
    master.run_with_input(&["publish", "k3s_token", "-"], longest.as_bytes()).expect(0);
    assert_eq!(cluster.slave().run(&["get", "k3s_token"]).expect(0).stdout, longest);
    let before = service.requests();
    let finished = master.run_with_input(&["publish", "k3s_token", "-"], format!("{longest}x").as_bytes());
    finished.expect(65).says("is longer than 49121 characters, the most that can be sealed");
    assert_eq!(service.requests(), before);
}
