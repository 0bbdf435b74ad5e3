//! The start of a server, and copies: what is wrong with the flags, with etcd or with what is in it has one sentence, an exit
//! status and a next step.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use worlds::binaries;
use worlds::etcd::{Member, free, is_installed};
use worlds::process::Process;
use worlds::service::Service;
use worlds::tls::Certified;
use worlds::wait::until;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::server());
    let output = command.env_clear().args(arguments).stdin(Stdio::null()).output();
    output.expect("the service's program can be started")
}

/// Starts a server that must end with this status and these words, and say what to do next.
#[track_caller]
fn refused(arguments: &[&str], status: i32, words: &str) {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--etcd-timeout", "2s"];
    let output = run(&[&serve[..], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert!(said.contains(words) && said.contains("\n  next: "), "{arguments:?}: {said}");
    let errors = said.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(errors, 1, "one sentence: {said}");
}

#[test]
fn says_what_keeps_it_from_using_etcd() {
    if !is_installed() {
        return;
    }
    let (one, other) = (Member::start(&[]), Member::start(&[]));
    refused(&["--etcd", "http://nowhere.invalid:2379"], 69, "failed to lookup address");
    refused(&["--etcd", "http://127.0.0.1:1"], 69, "Connection refused");
    refused(
        &["--etcd", &format!("{},{}", one.url(), other.url())],
        78,
        "are members of different etcd clusters",
    );
    refused(&["--etcd", &one.url(), "--etcd-ca", "/nowhere"], 64, "is http");

    one.etcdctl(&["put", "/theirs/key", "value"]);
    let theirs = ["--etcd", &one.url(), "--etcd-prefix", "/theirs/"];
    refused(&theirs, 78, "keys of another application below /theirs/");
    one.etcdctl(&["put", "/later/format", "2"]);
    let later = ["--etcd", &one.url(), "--etcd-prefix", "/later/"];
    refused(&later, 78, "has format 2, this release reads format 1");
    // One member of a cluster is enough.
    let urls = format!("http://127.0.0.1:1,{}", one.url());
    drop(Service::with(&["--etcd", &urls]));

    one.etcdctl(&["user", "add", "root:secret"]);
    one.etcdctl(&["user", "grant-role", "root", "root"]);
    one.etcdctl(&["auth", "enable"]);
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let password = dir.path().join("password");
    let user = ["--etcd", &one.url(), "--etcd-user", "root", "--etcd-password-file"];
    fs::write(&password, "wrong\n").expect("it can be written");
    let file = password.to_str().expect("it is UTF-8");
    refused(&[&user[..], &[file]].concat(), 78, "refuses the user root: authentication failed");
    refused(&["--etcd", &one.url()], 78, "refuses a client without a user's name");
    fs::write(&password, "secret\n").expect("it can be written");
    let service = Service::with(&[&user[..], &[file]].concat());
    assert!(service.api().value(&service.pin_by_command(), "k").is_none());
}

#[test]
fn believes_only_the_authority_that_it_is_told_of() {
    if !is_installed() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| dir.path().join(name).to_str().expect("it is UTF-8").to_owned();
    let (certificate, key, wrong) = (path("certificate"), path("key"), path("wrong"));
    Certified::new("127.0.0.1").write(Path::new(&certificate), Path::new(&key));
    Certified::new("127.0.0.1").write(Path::new(&wrong), Path::new(&path("other")));
    let etcd = Member::with_tls(&["--cert-file", &certificate, "--key-file", &key]);
    refused(&["--etcd", &etcd.url()], 64, "takes --etcd-ca");
    refused(&["--etcd", &etcd.url(), "--etcd-ca", &wrong], 78, "no TLS with etcd");
    refused(&["--etcd", &etcd.url(), "--etcd-ca", &key], 78, "not the PEM");
    let service = Service::with(&["--etcd", &etcd.url(), "--etcd-ca", &certificate]);
    assert_eq!(service.pin_by_command().len(), 12);
}

#[test]
fn a_store_is_copied_into_etcd_and_back() {
    if !is_installed() {
        return;
    }
    let etcd = Member::start(&[]);
    let mut before = Service::start();
    let pins: Vec<_> = (0..20).map(|_| before.api().new_pin()).collect();
    for (number, pin) in pins.iter().enumerate() {
        before.api().create_key(pin, "master_ip", &format!("10.0.0.{number}"));
        before.api().create_key(pin, "Ünïcode", "☃");
    }
    // More keys than one transaction takes.
    for number in 0..150 {
        before.api().create_key(&pins[0], &format!("key{number}"), &number.to_string());
    }
    let list = |service: &Service| -> Vec<String> {
        let get = |pin: &String| service.api().get(&worlds::api::keys(pin)).text();
        pins.iter().map(get).collect()
    };
    let shown = list(&before);
    before.stop();
    let data = before.data_dir();
    let data = data.to_str().expect("it is UTF-8");
    let copy = |from: &str, to: &str| run(&["copy", "--from", from, "--to", to, "--etcd", &etcd.url()]);
    let said = |output: &Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    };

    let copied = copy(data, "etcd");
    assert_eq!(said(&copied), "copied: pins 20, keys 190, nodes 0; left out: expired pins 0\n");
    let in_etcd = Service::with(&["--etcd", &etcd.url()]);
    assert_eq!(list(&in_etcd), shown);
    in_etcd.api().create_key(&pins[1], "new", "1");
    let shown = list(&in_etcd);

    // While a server runs.
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let (file, back) = (dir.path().join("file"), dir.path().join("back"));
    let copied = copy("etcd", file.to_str().expect("it is UTF-8"));
    assert_eq!(said(&copied), "copied: pins 20, keys 191, nodes 0; left out: expired pins 0\n");
    fs::create_dir(&back).expect("it can be made");
    let copied = copy(file.to_str().expect("it is UTF-8"), back.to_str().expect("it is UTF-8"));
    assert!(copied.status.success(), "{}", said(&copied));
    assert_eq!(list(&Service::on(&back, &[])), shown);

    // Nothing is written over.
    for (from, to, status) in [
        (data, "etcd", 78),
        ("etcd", file.to_str().expect("it is UTF-8"), 73),
        ("etcd", "etcd", 64),
        ("/nowhere", "etcd", 74),
    ] {
        let output = copy(from, to);
        assert_eq!(output.status.code(), Some(status), "{from} to {to}: {}", said(&output));
        assert!(said(&output).contains("\n  next: "), "{}", said(&output));
    }
}

#[test]
fn a_server_that_is_earlier_than_its_etcd_waits_for_it() {
    if !is_installed() {
        return;
    }
    let address = free();
    let mut command = Command::new(binaries::server());
    command.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--etcd-timeout", "100s"]);
    command.args(["--etcd", &format!("http://{address}")]).stdin(Stdio::null());
    let mut server = Process::start("server", &mut command);
    until("it says that it waits", || {
        assert!(!server.has_ended());
        server.stderr().contains("etcd does not answer; trying for 100 s").then_some(())
    });
    let _etcd = Member::listening(address);
    assert!(server.line_after("listening on ").starts_with("http://"));
}

/// What its admin asks a server with its store in etcd, by the socket in its data directory.
#[test]
fn says_whether_it_is_ready_and_how_its_store_is_backed_up() {
    if !is_installed() {
        return;
    }
    let etcd = Member::start(&[]);
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| dir.path().join(name).to_str().expect("it is UTF-8").to_owned();
    let (data, copy, snapshot) = (path("data"), path("copy"), path("snapshot"));
    fs::create_dir(&data).expect("it can be made");
    let server = Service::on(Path::new(&data), &["--etcd", &etcd.url()]);
    let health = || run(&["health", "--data-dir", &data]);
    assert_eq!((health().status.code(), &health().stdout[..]), (Some(0), &b"ready\n"[..]));
    // Another server that was given the same directory does not take the socket away.
    let other = Service::on(Path::new(&data), &["--etcd", &etcd.url()]);
    other.logs("another service listens there");
    drop(other);
    assert_eq!(health().status.code(), Some(0));

    let backup = run(&["backup", "--data-dir", &data, &copy]);
    let said = String::from_utf8_lossy(&backup.stderr);
    assert_ne!(backup.status.code(), Some(0));
    assert!(said.contains("backed up by `copy --from etcd`") && !Path::new(&copy).exists(), "{said}");
    let pin = server.pin_by_command();
    server.api().create_key(&pin, "master_ip", "10.0.0.1");
    etcd.etcdctl(&["snapshot", "save", &snapshot]);

    etcd.signal(Signal::SIGSTOP);
    let refused = until("it is not ready", || Some(health()).filter(|health| !health.status.success()));
    assert_eq!(refused.status.code(), Some(69), "{}", String::from_utf8_lossy(&refused.stderr));
    drop((server, etcd));
    let refused = health();
    assert_eq!(refused.status.code(), Some(69), "{}", String::from_utf8_lossy(&refused.stderr));

    // What etcd has restored is the store of a server that starts then.
    let restored = Member::restored(Path::new(&snapshot));
    let server = Service::with(&["--etcd", &restored.url()]);
    assert_eq!(server.api().value(&pin, "master_ip").as_deref(), Some("10.0.0.1"));
    server.api().create_key(&pin, "master_ready", "10.0.0.1");
}
