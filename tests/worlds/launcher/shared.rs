//! Launchers that keep their launches in one etcd: what one begins all show, and any of them ends.

use std::sync::atomic::Ordering;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use worlds::http::Request;
use worlds::mock_server::Reply;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Create, Manners};
use crate::cluster::{boot, filled, stack};
use crate::home::{finish, launch};
use crate::site::{Moment, Site};

fn state(api: &Api) -> Value {
    api.ask("GET", "/clusters/lab", None).json()["state"].clone()
}

#[test]
fn what_one_launches_another_shows_and_ends_when_the_first_is_killed() {
    let Some(site) = Site::new(Manners::default()) else { return };
    let (mut one, mut other) = (site.serve(0), site.serve(1));
    let launched = one.ask("POST", "/clusters/", Some(&request(&site.cloud)));
    assert_eq!(launched.status, 201, "{}", launched.text());
    let made = stack(&site.cloud);
    for api in [&one, &other] {
        until("it joins", || (state(api) == "joining").then_some(()));
        assert_eq!(api.show("lab")["id"], json!(made.id));
        let list = api.ask("GET", "/clusters/", None).json();
        assert_eq!((&list[0]["name"], list.as_array().map(Vec::len)), (&json!(made.name), Some(1)));
    }
    // SECURITY: etcd and its backups have neither pin nor secret, nor what machines there are.
    let (pin, secret) = (filled(&made, "pairing-pin"), filled(&made, "pairing-secret"));
    let kept = site.kept();
    assert!(kept.contains(&format!("/cernvm-launches/launches/{}", made.name)), "{kept}");
    for hidden in [&pin, &secret, &made.id, "worker-0"] {
        assert!(!kept.contains(hidden), "etcd has {hidden}");
    }

    one.process.kill();
    boot(&made);
    until("it is ready", || (state(&other) == "ready").then_some(()));
    until("nothing is amiss", || other.show("lab")["trouble"].is_null().then_some(()));
    let log = other.show("lab")["log"].clone();
    let texts = || log.as_array().into_iter().flatten().filter_map(|line| line["text"].as_str());
    assert!(texts().any(|text| text == "ready: 3 of 3 nodes are ready"), "{log}");
    for text in texts() {
        assert_eq!(texts().filter(|other| *other == text).count(), 1, "both have written it: {log}");
    }

    site.run(0, &["list"]).expect(0, "ready");
    let mut one = site.serve(0);
    assert_eq!(one.show("lab")["state"], "ready");
    assert_eq!(other.ask("DELETE", "/clusters/lab", None).status, 204);
    assert_eq!(one.ask("GET", "/clusters/lab", None).status, 404);
    until("the other does not count it", || {
        let metrics = Request::new("GET", "/metrics").send(one.address).expect("it answers").text();
        metrics.contains("cluster_launcher_clusters{state=\"ready\"} 0").then_some(())
    });
    assert!(site.cloud.stacks().is_empty(), "a stack is left");
    assert_eq!(site.service.api().get(&format!("/api/v1/clusters/{pin}")).status, 404, "the pin is left");
    assert!(!site.kept().contains(&made.name), "the record is left");
    site.nothing_is_on_a_disk();
    one.stop();
    other.stop();
}

#[test]
fn one_without_credentials_shows_what_another_has_seen() {
    let Some(site) = Site::new(Manners::default()) else { return };
    let flags = site.flags(true);
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--poll-interval", "1"];
    args.extend(flags.iter().map(String::as_str));
    let mut process = site.homes[1].start_with(&site.cloud, &args, &[("OS_AUTH_URL", "")]);
    let address = process.line_after("listening on http://").parse().expect("it is an address");
    let (mut one, mut other) = (site.serve(0), Api { process, address });
    assert_eq!(one.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    until("it joins", || (state(&other) == "joining").then_some(()));
    let seen = other.show("lab");
    assert_eq!(
        (&seen["id"], &seen["stack"]["status"]),
        (&json!(made.id), &json!("CREATE_COMPLETE")),
        "{seen}"
    );
    assert_eq!(seen["trouble"], "the launcher has no credentials for this project");
    boot(&made);
    until("it is ready", || (state(&other) == "ready").then_some(()));
    assert_eq!(other.ask("DELETE", "/clusters/lab", None).status, 409);
    one.stop();
    other.stop();
}

#[test]
fn a_request_whose_launcher_is_killed_before_heat_answers_is_another_s() {
    let Some(site) = Site::new(Manners { create: Some(Create::Silent), ..Manners::default() }) else {
        return;
    };
    let (mut one, mut other) = (site.serve(0), site.serve(1));
    let address = one.address;
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let token =
                cluster_launcher::token::TokenKey::new(crate::home::JWT_SECRET).expect("it is not empty");
            let post = Request::new("POST", "/clusters/")
                .header("Authorization", &format!("Bearer {}", token.sign()));
            post.json(&request(&site.cloud)).send(address).map(|answer| answer.status)
        });
        until("the stack is asked for", || (site.cloud.created() == 1).then_some(()));
        one.process.kill();
        assert!(asked.join().expect("it ends").is_err(), "it was answered");
    });
    let made = stack(&site.cloud);
    until("it is known", || (other.show("lab")["id"] == json!(made.id)).then_some(()));
    boot(&made);
    until("it is ready", || (state(&other) == "ready").then_some(()));
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
    other.stop();
}

#[test]
fn what_comes_of_a_request_that_was_answered_with_an_error_is_deleted_by_another() {
    let Some(site) = Site::new(Manners { create: Some(Create::Silent), ..Manners::default() }) else {
        return;
    };
    let flags = site.flags(true);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut one = Api::serve(&site.homes[0], &site.cloud, &[&flags[..], &["--cloud-timeout", "3"]].concat());
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| one.ask("POST", "/clusters/", Some(&request(&site.cloud))));
        until("the stack is asked for", || (site.cloud.created() == 1).then_some(()));
        // Heat fails from now on, so that the first cannot delete it.
        site.cloud.behave(|manners| manners.heat = Some(Reply::status(503)));
        asked.join().expect("it answers")
    });
    assert_eq!((answer.status, &answer.json()["errors"][0]["title"]), (502, &json!("ConnectTimeout")));
    one.process.kill();
    site.cloud.behave(|manners| manners.heat = None);
    let made = stack(&site.cloud);
    let mut other = site.serve(1);
    until("the stack is gone", || site.cloud.stacks().is_empty().then_some(()));
    until("the record is gone", || (!site.kept().contains(&made.name)).then_some(()));
    let pin = format!("/api/v1/clusters/{}", filled(&made, "pairing-pin"));
    assert_eq!(site.service.api().get(&pin).status, 404, "the pin is left");
    other.stop();
}

#[test]
fn a_command_goes_on_with_the_launch_of_one_that_was_killed_elsewhere() {
    let Some(site) = Site::new(Manners { create: Some(Create::Silent), ..Manners::default() }) else {
        return;
    };
    let mut killed = site.launch(0);
    until("the stack is asked for", || (site.cloud.created() == 1).then_some(()));
    killed.kill();
    let running = site.launch(1);
    // The lock of the one that is gone ends by itself.
    until("it goes on", || running.stderr().contains("going on with the cluster lab").then_some(()));
    boot(&stack(&site.cloud));
    finish(running).expect(0, "3 of 3 nodes are ready");
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
    site.nothing_is_on_a_disk();
}

#[test]
fn of_two_launches_of_one_name_at_once_one_asks_and_the_other_goes_on() {
    let Some(site) = Site::new(Manners::default()) else { return };
    site.holds.store(true, Ordering::Relaxed);
    let first = site.launch(0);
    until("it asks for a pin", || (site.pins_made() == 1).then_some(()));
    let second = site.launch(1);
    until("the second waits", || second.stderr().contains("has the lock lab").then_some(()));
    site.holds.store(false, Ordering::Relaxed);
    let running = [first, second];
    for process in &running {
        until("it follows", || process.stderr().contains("stack: CREATE_COMPLETE").then_some(()));
    }
    boot(&stack(&site.cloud));
    let said: Vec<_> =
        running.into_iter().map(|process| finish(process).expect(0, "3 of 3").stderr.clone()).collect();
    let says = |words: &str| said.iter().filter(|said| said.contains(words)).count();
    assert_eq!((says("asking for a cluster lab"), says("going on with the cluster lab")), (1, 1), "{said:?}");
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
}

#[test]
fn an_etcd_that_is_away_is_named_and_used_again_when_it_is_back() {
    let Some(site) = Site::new(Manners::default()) else { return };
    let mut api = site.serve(0);
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    until("it joins", || (state(&api) == "joining").then_some(()));
    let is_readable = |word: &str| {
        let metrics = Request::new("GET", "/metrics").send(api.address).expect("it answers").text();
        metrics.contains(&format!("cluster_launcher_launches_readable {word}\n"))
    };
    assert!(is_readable("1"));

    site.etcd.signal(Signal::SIGSTOP);
    let mut second = request(&site.cloud);
    second["cluster"]["name"] = json!("second");
    for (method, path, body) in
        [("GET", "/clusters/", None), ("GET", "/clusters/lab", None), ("POST", "/clusters/", Some(&second))]
    {
        let answer = api.ask(method, path, body);
        let error = answer.json()["errors"][0].clone();
        assert_eq!((answer.status, &error["title"]), (503, &json!("Service Unavailable")), "{method} {path}");
        let detail = error["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("etcd, which cannot be reached now"), "{detail}");
    }
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1), "something was made that cannot be kept");
    until("it is counted", || is_readable("0").then_some(()));
    let list = site.run(1, &["list", "--etcd-timeout", "1s"]);
    list.expect(69, "no answer from etcd in 1 s").expect(69, "\n  next: ");
    let pin = filled(&made, "pairing-pin");

    site.etcd.signal(Signal::SIGCONT);
    until("it is read again", || is_readable("1").then_some(()));
    boot(&made);
    until("it is ready", || (state(&api) == "ready").then_some(()));
    assert!(api.process.stderr().contains("the launches can be read again"));
    assert!(!api.process.stderr().contains(&pin), "the log shows the pin");
    api.stop();
}

#[test]
fn a_launch_that_etcd_has_not_confirmed_is_no_cluster_even_if_it_was_written() {
    let Some(site) = Site::new(Manners::default()) else { return };
    let mut api = site.serve(0);
    site.at(Moment::Pin);
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 503);
    assert_eq!((site.cloud.created(), site.pins_made()), (0, 1));
    site.etcd.signal(Signal::SIGCONT);
    until("there is no cluster", || {
        let list = api.ask("GET", "/clusters/", None);
        (list.status == 200 && list.json() == json!([])).then_some(())
    });
    // Its name is free.
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    until("it is shown", || (api.show("lab")["id"] == json!(made.id)).then_some(()));
    let list = api.ask("GET", "/clusters/", None).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    api.stop();
}

#[test]
fn an_etcd_with_users_takes_one_that_has_the_prefix_alone() {
    let Some(site) = Site::new(Manners::default()) else { return };
    for command in [
        &["role", "add", "root"][..],
        &["user", "add", "root:root"],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "launcher"],
        &["role", "grant-permission", "launcher", "readwrite", "--prefix", "/cernvm-launches/"],
        &["user", "add", "launcher:right"],
        &["user", "grant-role", "launcher", "launcher"],
        &["auth", "enable"],
    ] {
        let _ = site.etcd.etcdctl(command);
    }
    site.run(0, &["list"]).expect(77, "refuses a client without a user's name");
    let file = site.homes[0].path().join("password").display().to_string();
    let user = ["--etcd-user", "launcher", "--etcd-password-file", &file];
    std::fs::write(&file, "wrong\n").expect("it can be written");
    site.run(0, &[&["list"], &user[..]].concat()).expect(77, "refuses the user launcher");
    std::fs::write(&file, "right\n").expect("it can be written");
    let (url, flags) = (site.pairing.url(), site.flags(false));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let more = [&flags[..], &user[..], &["--timeout", "0"]].concat();
    site.homes[0].run(&site.cloud, &launch("lab", &url, &more)).expect(75, "the cluster lab is not ready");
    // The lock was given back: this does not wait for its end.
    let again = site.homes[1].run(&site.cloud, &launch("lab", &url, &more));
    again.expect(75, "going on with the cluster lab");
    assert!(!again.stderr.contains("has the lock"), "{}", again.stderr);
    site.run(1, &[&["delete", "lab"], &user[..]].concat()).expect(0, "nothing is left");
}

#[test]
fn another_key_other_data_and_no_key_are_refused() {
    let Some(site) = Site::new(Manners::default()) else { return };
    site.run(0, &["list"]).expect(0, "no clusters");
    let list = |flags: &[&str]| {
        let url = site.etcd.url();
        site.homes[1].run(&site.cloud, &[&["list", "--etcd", &url][..], flags].concat())
    };
    let other = site.homes[1].path().join("other.key").display().to_string();
    site.homes[1].run(&site.cloud, &["keygen", &other]).expect(0, "");
    site.homes[1].run(&site.cloud, &["keygen", &other]).expect(74, "File exists");
    list(&["--launches-key-file", &other])
        .expect(77, "are sealed with another key than that in")
        .expect(77, &other);
    list(&[]).expect(64, "--launches-key-file");
    list(&["--launches-key-file", "/nowhere"]).expect(74, "cannot read /nowhere");
    std::fs::write(&other, "short\n").expect("it can be written");
    list(&["--launches-key-file", &other]).expect(64, "the first line is no key");

    let key = site.key();
    let _ = site.etcd.etcdctl(&["put", "/other/thing", "1"]);
    let below = |prefix: &str, status: i32, words: &str| {
        list(&["--launches-key-file", &key, "--etcd-prefix", prefix]).expect(status, words);
    };
    below("/other/", 64, "etcd has keys of another application below /other/");
    // That of a pairing server.
    let _ = site.etcd.etcdctl(&["put", "/pairing/format", "1"]);
    below("/pairing/", 64, "etcd has keys of another application below /pairing/");
    let _ = site.etcd.etcdctl(&["put", "/later/format", "launches-2"]);
    below("/later/", 64, "has format launches-2");
    below("/free/", 0, "no clusters");
}
