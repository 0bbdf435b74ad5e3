//! What comes in through one server is there through another: nodes and barriers, and waits through an nginx before all three.

use std::process::{Command, Stdio};

use tempfile::TempDir;
use worlds::etcd::{Cluster, MEMBERS, can_be_built, free};
use worlds::process::Process;
use worlds::wait::until;
use worlds::{binaries, http};

use crate::load;

#[test]
fn nodes_and_barriers_go_through_any_server() {
    if !can_be_built() {
        return;
    }
    let cluster = Cluster::start(&[], [None; MEMBERS]);
    let servers = [0, 1, 2].map(|server| cluster.server(server));
    let pin = load::new_pin(&servers);
    let mut command = Command::new(binaries::agent());
    command.args(["wait", "--nodes", "2", "--url", &format!("http://{}", servers[2]), "--pin", &pin]);
    let mut barrier = Process::start("barrier", command.stdin(Stdio::null()));
    until("the barrier asks", || barrier.stderr().contains("waiting until").then_some(()));
    let listed = |server: usize| {
        let list = load::ask(servers[server], "GET", &format!("/api/v1/clusters/{pin}/nodes"), None);
        let (status, list) = list.expect("it answers");
        assert_eq!(status, 200, "{list}");
        let list: serde_json::Value = serde_json::from_str(&list).expect("the list is JSON");
        let names = list["nodes"].as_array().expect("it has nodes").iter();
        names
            .map(|node| node["report"]["name"].as_str().expect("it has a name").to_owned())
            .collect::<Vec<_>>()
    };
    for (server, name) in [(0, "n1"), (1, "n2")] {
        assert!(!barrier.has_ended(), "{}", barrier.stdout());
        let report = format!(r#"{{"name":"{name}","role":"slave","state":"ready"}}"#);
        let path = format!("/api/v1/clusters/{pin}/nodes/{name}");
        let answer = load::ask(servers[server], "PUT", &path, Some(&report)).expect("it answers");
        assert_eq!(answer.0, 204, "{}", answer.1);
        // As soon as it is acknowledged, and through every server.
        for other in 0..servers.len() {
            assert_eq!(listed(other).last().map(String::as_str), Some(name));
        }
    }
    assert!(barrier.wait().success(), "{}", barrier.stderr());
    assert!(["n1", "n2"].iter().all(|name| barrier.stdout().contains(name)), "{}", barrier.stdout());
}

#[test]
fn nginx_moves_a_held_wait_to_the_next_server_when_its_own_is_killed() {
    if !can_be_built() {
        return;
    }
    let mut cluster = Cluster::start(&[], [None; MEMBERS]);
    let servers = [0, 1, 2].map(|server| cluster.server(server));
    let pin = load::new_pin(&servers);
    let dir = TempDir::new().expect("a temporary directory can be made");
    let (front, root, [one, two, three]) = (free(), dir.path().display(), servers);
    let configuration = format!(
        "daemon off; master_process off; pid {root}/pid; error_log stderr error;
        events {{ worker_connections 64; }}
        http {{
            log_format upstreams '$request_uri $status $upstream_addr';
            access_log {root}/access upstreams;
            client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
            uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
            upstream pairing {{ server {one}; server {two} backup; server {three} backup; }}
            server {{
                listen {front};
                location /status {{ stub_status; }}
                location / {{
                    proxy_pass http://pairing;
                    proxy_http_version 1.1; proxy_read_timeout 75s; proxy_buffering off;
                    proxy_connect_timeout 5s;
                }}
            }}
        }}"
    );
    std::fs::write(dir.path().join("nginx.conf"), configuration).expect("a file can be written");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
    let mut nginx = Process::start("nginx", &mut command);
    let status = || http::Request::new("GET", "/status").send(front).ok().map(|answer| answer.text());
    until("nginx answers", || {
        assert!(!nginx.has_ended(), "nginx has ended: {}", nginx.stderr());
        status()
    });
    let path = format!("/api/v1/clusters/{pin}/keys/master_ready");
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| load::wait(front, &path));
        // The question for its status is the other one.
        until("nginx holds the wait", || status().filter(|status| status.contains("Writing: 2 ")));
        cluster.kill_server(0);
        let body = r#"{"key":"master_ready","value":"10.0.0.1"}"#;
        let keys = format!("/api/v1/clusters/{pin}/keys");
        assert_eq!(load::ask(front, "POST", &keys, Some(body)).expect("nginx answers").0, 201);
        assert_eq!(wait.join().expect("it waits").0, 200);
    });
    let log = until("the wait is in the log", || {
        std::fs::read_to_string(dir.path().join("access")).ok().filter(|log| log.contains(&path))
    });
    let waited = log.lines().find(|line| line.starts_with(&path)).expect("it is there");
    let next = [two, three].map(|next| format!("{path} 200 {one}, {next}"));
    assert!(next.iter().any(|next| next == waited), "{waited}");
}
