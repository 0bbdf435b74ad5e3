//! The contexts that `cernvm-pairing-server contexts` makes, from the command to two guests that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use worlds::binaries;
use worlds::guest::Guest;
use worlds::relay;
use worlds::service::Service;

/// What the contexts name, since a loopback address would be refused.
const PUBLIC_URL: &str = "http://192.0.2.1:8000";
const ADDRESS: &str = "192.0.2.77";

fn server(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binaries::server());
    command.env_clear().current_dir(dir).args(args).output().expect("the server's program starts")
}

/// The value of a setting in a context.
fn setting(context: &str, name: &str) -> Option<String> {
    context.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

/// Every byte below a directory, but for its sockets.
fn bytes_below(dir: &Path) -> Vec<u8> {
    let entries = fs::read_dir(dir).expect("it can be read");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let paths = paths.filter(|path| path.is_dir() || path.is_file());
    let bytes = |path: PathBuf| match path.is_dir() {
        true => bytes_below(&path),
        false => fs::read(path).expect("it can be read"),
    };
    paths.flat_map(bytes).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn contexts_are_sealed_with_a_secret_that_the_service_never_gets() {
    let service = Service::with(&["--access-log", "--log", "debug"]);
    let wire = relay::recorded(service.api());
    let dir = tempfile::tempdir().expect("there is room");
    let made = server(dir.path(), &["contexts", "--url", &wire.url(), "--public-url", PUBLIC_URL]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(said.contains("every node needs cernvm-cluster-agent"), "{said}");
    let context = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it was written");
    let [master, slave] = ["master-context.txt", "slave-context.txt"].map(context);
    let secret = setting(&master, "cvm_cluster_secret").expect("there is one");
    assert_eq!(setting(&slave, "cvm_cluster_secret").as_ref(), Some(&secret));
    assert_eq!(secret.len(), 43);
    assert!(!said.contains(&secret), "{said}");

    let checked = server(dir.path(), &["check", "--strict", "master-context.txt", "slave-context.txt"]);
    let findings = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && findings.ends_with("2 files, 0 errors, 0 warnings\n"), "{findings}");
    assert!(findings.contains("note: this cluster is sealed") && !findings.contains(&secret), "{findings}");

    let here = |context: &str| context.replace(PUBLIC_URL, &wire.url());
    let master =
        here(&master).replace("[ucernvm-end]", &format!("cvm_cluster_master_ip={ADDRESS}\n[ucernvm-end]"));
    let master = Guest::new("master", master);
    master.run(&["contextualize"]).expect(0);
    master.run_with_input(&["publish", "a_token", "-"], b"the-token").expect(0);
    master.run(&["master-ready"]).expect(0);
    let slave = Guest::new("slave", here(&slave));
    slave.run(&["contextualize"]).expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={ADDRESS}")), "{}", slave.context());
    assert_eq!(slave.run(&["get", "a_token"]).expect(0).stdout, "the-token");

    let seen = format!(
        "{:?}",
        wire.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect::<Vec<_>>()
    );
    let disk = bytes_below(&service.data_dir());
    assert!(seen.contains("master_ready") && holds(&disk, "master_ready"));
    for hidden in [&secret, ADDRESS, "the-token"] {
        assert!(!seen.contains(hidden), "{hidden} went over the wire");
        assert!(!holds(&disk, hidden), "{hidden} is on the service's disk");
        assert!(!service.log().contains(hidden), "{hidden} is in the service's log");
    }
}

#[test]
fn contexts_for_other_agents_have_no_secret() {
    let service = Service::start();
    let dir = tempfile::tempdir().expect("there is room");
    let url = service.url();
    let args = ["contexts", "--no-seal", "--url", &url, "--public-url", PUBLIC_URL];
    assert!(server(dir.path(), &args).status.success());
    for name in ["master-context.txt", "slave-context.txt"] {
        let context = fs::read_to_string(dir.path().join(name)).expect("it was written");
        assert_eq!(setting(&context, "cvm_cluster_secret"), None);
    }
    let checked = server(dir.path(), &["check", "master-context.txt", "slave-context.txt"]);
    let findings = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(findings.contains("warning: the service is used over plain http"), "{findings}");
}
