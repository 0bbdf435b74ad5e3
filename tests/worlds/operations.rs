//! What an admin does to a service that is in use: restarts it, stops it, gives it another certificate, has systemd
//! hold its socket. No client loses anything by it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use worlds::api::{Api, key_path, keys};
use worlds::binaries;
use worlds::http::Request;
use worlds::process::Process;
use worlds::service::Service;
use worlds::tls::{Certified, answers};
use worlds::wait::until;

const RESTARTS: usize = 10;
const WRITERS: usize = 8;
const WAITERS: usize = 8;
/// Writes between two restarts.
const WRITES: usize = 100;

/// Asks until it is answered, as an agent does.
fn insist(api: Api, request: &Request, retries: &AtomicUsize) -> u16 {
    until("the service answers", || match api.send(request) {
        Ok(answer) if answer.status < 500 => Some(answer.status),
        Ok(answer) => {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.headers.get("Retry-After").is_some());
            retries.fetch_add(1, Ordering::SeqCst);
            None
        }
        Err(_) => {
            retries.fetch_add(1, Ordering::SeqCst);
            None
        }
    })
}

#[test]
fn loses_nothing_and_nobody_over_restarts_under_load() {
    let mut service = Service::start();
    let api = service.api();
    let pins: Vec<String> = (0..WRITERS).map(|_| api.new_pin()).collect();
    let waited_for = api.new_pin();
    let (written, retries, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let mut stored = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = pins
            .iter()
            .map(|pin| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stop.load(Ordering::SeqCst) && count < 256 {
                        let body =
                            serde_json::json!({ "key": format!("k{count}"), "value": format!("v{count}") });
                        let status = insist(api, &Request::new("POST", &keys(pin)).json(&body), &retries);
                        // 409: it was written, and the answer was lost.
                        assert!(status == 201 || status == 409, "{status}");
                        count += 1;
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                    count
                })
            })
            .collect();
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                let wait =
                    Request::new("GET", &key_path(&waited_for, "master_ready")).header("Prefer", "wait=50");
                scope.spawn(|| {
                    let wait = wait;
                    insist(api, &wait, &retries)
                })
            })
            .collect();
        for _ in 0..RESTARTS {
            let enough = written.load(Ordering::SeqCst) + WRITES;
            let all = WRITERS * 256;
            until("enough is written", || (written.load(Ordering::SeqCst) >= enough.min(all)).then_some(()));
            assert!(service.stop().success());
            service.resume();
        }
        stop.store(true, Ordering::SeqCst);
        stored.extend(writers.into_iter().map(|writer| writer.join().expect("no request fails for good")));
        api.create_key(&waited_for, "master_ready", "192.0.2.1");
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no request fails for good"), 200);
        }
    });
    for (pin, count) in pins.iter().zip(stored) {
        for n in 0..count {
            assert_eq!(api.value(pin, &format!("k{n}")), Some(format!("v{n}")));
        }
    }
    let (written, retries) = (written.into_inner(), retries.into_inner());
    println!("{RESTARTS} restarts, {written} writes, {retries} retries, nothing lost");
    assert!(retries >= WAITERS, "the restarts must be felt");
}

#[test]
fn finishes_the_writes_that_are_under_way_before_it_ends() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    let body = r#"{"key":"late","value":"1"}"#;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        keys(&pin),
        body.len()
    );
    let mut writing = TcpStream::connect(service.address()).expect("it accepts");
    let mut idle = TcpStream::connect(service.address()).expect("it accepts");
    writing.write_all(head.as_bytes()).expect("it reads");
    let mut said = [0; 25];
    writing.read_exact(&mut said).expect("it wants the body");
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");

    service.signal(Signal::SIGTERM);
    // The end has begun when idle connections are closed.
    assert_eq!(idle.read(&mut [0]).expect("it closes in good order"), 0);
    writing.write_all(body.as_bytes()).expect("it still reads");
    let mut answer = String::new();
    writing.read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("connection: close"), "{answer}");
    assert!(service.ended().success());
    service.resume();
    assert_eq!(service.api().value(&pin, "late").as_deref(), Some("1"));
}

#[test]
fn takes_a_new_certificate_on_sighup_and_keeps_its_connections() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let old = Certified::new("127.0.0.1");
    old.write(&certificate, &key);
    let flag = |path: &Path| path.to_str().expect("its name is plain").to_owned();
    let service = Service::with(&["--tls-cert", &flag(&certificate), "--tls-key", &flag(&key)]);
    let mut before = old.connect(service.address());
    assert!(answers(&mut before));

    let new = Certified::new("127.0.0.1");
    new.write(&certificate, &key);
    assert!(!answers(&mut new.connect(service.address())), "it still has the old one");
    service.signal(Signal::SIGHUP);
    service.logs("certificate read again, with ANOTHER key: key sha256:");
    assert!(answers(&mut new.connect(service.address())));
    assert!(answers(&mut before), "a connection was lost");

    std::fs::write(&certificate, "rubbish").expect("it can be written");
    service.signal(Signal::SIGHUP);
    until("it says what is wrong", || {
        let log = service.log();
        let line = log.lines().find(|line| line.contains("the old certificate stays in use: "))?;
        assert!(line.contains(&flag(&certificate)), "{line}");
        Some(())
    });
    assert!(answers(&mut before));
}

#[test]
fn takes_a_new_token_on_sighup_and_says_what_it_has_read() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let write = |token: &str| std::fs::write(file.path(), token).expect("it can be written");
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    write(old);
    let path = file.path().to_str().expect("its name is plain");
    let service = Service::with(&["--create-token-file", path]);
    let makes = |token: &str| {
        let request = Request::new("POST", "/api/v1/clusters");
        service.api().ask(&request.header("Authorization", &format!("Bearer {token}"))).status
    };
    assert_eq!((makes(old), makes(new)), (201, 401));
    service.signal(Signal::SIGHUP);
    service.logs(&format!("{path} read again, with the same token"));
    write(new);
    service.signal(Signal::SIGHUP);
    service.logs(&format!("{path} read again, with ANOTHER token"));
    assert_eq!((makes(old), makes(new)), (401, 201));
    write("short");
    service.signal(Signal::SIGHUP);
    service.logs(&format!("the old token stays in use: {path}"));
    assert_eq!(makes(new), 201);
    assert!(![old, new, "short"].iter().any(|token| service.log().contains(token)), "{}", service.log());

    let service = Service::start();
    service.signal(Signal::SIGHUP);
    service.logs("SIGHUP: nothing to read again");
    assert_eq!(service.api().ask(&Request::new("POST", "/api/v1/clusters")).status, 201);
}

/// A service on a socket that another process holds, as systemd hands it over (sd_listen_fds(3)).
fn activated(socket: &TcpListener, data: &Path) -> Process {
    let handed = OwnedFd::from(socket.try_clone().expect("a socket can be shared"));
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@" 3<&0 </dev/null"#])
        .arg(binaries::server())
        .args(["serve", "--listen", "127.0.0.1:1", "--data-dir"])
        .arg(data)
        .stdin(Stdio::from(handed));
    Process::start("service", &mut command)
}

#[test]
fn serves_on_the_socket_that_systemd_holds_and_a_restart_refuses_nobody() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    let mut service = activated(&socket, dir.path());
    assert_eq!(service.line_after("listening on "), format!("http://{address}"));
    let api = Api(address);
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    service.terminate();
    assert!(service.wait().success());

    // A client connects before the service has started.
    let mut early = TcpStream::connect(address).expect("systemd holds the socket");
    let _service = activated(&socket, dir.path());
    assert!(answers(&mut early));
    assert_eq!(api.value(&pin, "a").as_deref(), Some("1"));
}

/// A log that is not read holds up neither a request nor the end.
#[test]
fn goes_on_and_ends_while_its_log_is_not_read() {
    let mut command = Command::new(binaries::server());
    command.env_clear().args(["--log-format", "json", "serve", "--in-memory", "--access-log"]);
    command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("asked for above")).lines();
    let mut after = |beginning: &str| {
        let line = lines.find_map(|line| line.ok()?.strip_prefix(beginning).map(str::to_owned));
        line.expect("it says where it listens")
    };
    let metrics = after("metrics on http://").trim_end_matches("/metrics").parse().expect("an address");
    let address = after("listening on http://").parse().expect("an address");
    // Beyond the pipe and the queue together.
    let long = format!("/{}", "A".repeat(7000));
    let dropped = || {
        let shown = Request::new("GET", "/metrics").send(metrics).expect("it answers").text();
        let count =
            shown.lines().find_map(|line| line.strip_prefix("cernvm_pairing_log_lines_dropped_total "));
        count.and_then(|count| count.parse::<u64>().ok()).expect("it is shown")
    };
    until("lines are dropped", || {
        let answer = Request::new("GET", &long).send(address).expect("it answers");
        assert_eq!(answer.status, 404);
        (dropped() > 0).then_some(())
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("it is small"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    assert!(child.wait().expect("it is ours").success());
    // What there was room for is one JSON object a line.
    let mut log = String::new();
    child.stderr.take().expect("asked for above").read_to_string(&mut log).expect("it is text");
    let first: serde_json::Value = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .find(|line: &serde_json::Value| line["status"] == 404)
        .expect("a request");
    assert_eq!((&first["method"], &first["client"]), (&"GET".into(), &"127.0.0.1".into()));
}

/// A client that reads nothing, and one that does not finish its body, do not hold up a restart.
#[test]
fn ends_soon_beside_clients_that_do_nothing() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    for n in 0..15 {
        service.api().create_key(&pin, &format!("k{n}"), &"x".repeat(60_000));
    }
    let mut unread = TcpStream::connect(service.address()).expect("it accepts");
    let list = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", keys(&pin));
    unread.write_all(list.repeat(50).as_bytes()).expect("it reads");
    let mut unsent = TcpStream::connect(service.address()).expect("it accepts");
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{", keys(&pin));
    unsent.write_all(head.as_bytes()).expect("it reads");
    // Both are under way.
    assert_eq!(unread.read(&mut [0]).expect("it answers"), 1);
    assert!(service.stop().success());
    assert!(!service.log().contains("did not end in"), "{}", service.log());
}

/// What a container's health check asks, whatever TLS and addresses the service has.
#[test]
fn health_says_whether_the_service_is_ready() {
    let mut service = Service::with(&["--tls-self-signed"]);
    let data = service.data_dir();
    let health = || {
        let mut command = Command::new(binaries::server());
        let output = command.arg("health").arg("--data-dir").arg(&data).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(health(), (Some(0), "ready\n".to_owned()));
    service.kill();
    let (code, said) = health();
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("is not ready: no service listens"), "{said}");
}
