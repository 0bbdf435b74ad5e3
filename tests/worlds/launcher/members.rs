//! Launchers whose launches are in an etcd of three members, of which one is killed, then another: who asks sees nothing of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use worlds::etcd::{Cluster, MEMBERS, can_be_built};
use worlds::http::Response;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::Manners;
use crate::cluster::{boot, filled, stack};
use crate::home::finish;
use crate::site::{Moment, Site};

type Members = Arc<Mutex<Cluster>>;

fn lock(members: &Members) -> MutexGuard<'_, Cluster> {
    members.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A site before three members. At a moment of the test the one that leads is killed.
fn site(manners: Manners) -> Site<Members> {
    let cluster = Cluster::of_members(&[]);
    let _ = cluster.leader();
    let named = vec!["--etcd".to_owned(), cluster.urls()];
    let members = Arc::new(Mutex::new(cluster));
    let killed = Arc::clone(&members);
    Site::with(members, named, manners, move || kill_leader(&killed))
}

fn kill_leader(members: &Members) {
    let mut members = lock(members);
    let leader = members.leader();
    members.kill_member(leader);
}

/// The answer of a launcher once it is another than that etcd does not answer.
fn answer(api: &Api, method: &str, path: &str) -> Response {
    until("etcd has a leader", || Some(api.ask(method, path, None)).filter(|answer| answer.status != 503))
}

#[test]
fn launches_go_on_when_a_member_is_killed_and_then_another() {
    if !can_be_built() {
        return;
    }
    let site = site(Manners { instances: 20, ..Manners::default() });
    let (mut one, mut other) = (site.serve(0), site.serve(1));
    let first = lock(&site.etcd).leader();
    assert_eq!(one.ask("POST", "/clusters/", Some(&request(&site.cloud))).status, 201);
    let made = stack(&site.cloud);
    until("it joins", || (answer(&other, "GET", "/clusters/lab").json()["state"] == "joining").then_some(()));

    lock(&site.etcd).kill_member(first);
    for api in [&one, &other] {
        let list = answer(api, "GET", "/clusters/");
        assert_eq!((list.status, &list.json()[0]["name"]), (200, &json!(made.name)));
    }
    let mut second = request(&site.cloud);
    second["cluster"]["name"] = json!("second");
    assert_eq!(other.ask("POST", "/clusters/", Some(&second)).status, 201);
    boot(&made);
    for api in [&one, &other] {
        until("it is ready", || {
            (answer(api, "GET", "/clusters/lab").json()["state"] == "ready").then_some(())
        });
        assert_eq!(answer(api, "GET", "/clusters/").json().as_array().map(Vec::len), Some(2));
    }
    // One that starts now says which member does not answer.
    let listed = site.run(0, &["list"]);
    listed.expect(0, "lab").expect(0, "second").expect(0, "a member of etcd does not answer: http://");

    // Without a majority nothing is made, and no old state is shown.
    let next = lock(&site.etcd).leader();
    lock(&site.etcd).kill_member(next);
    let (created, pins) = (site.cloud.created(), site.pins_made());
    for (method, path, body) in [("GET", "/clusters/", None), ("POST", "/clusters/", Some(&second))] {
        let answer = one.ask(method, path, body);
        let error = answer.json()["errors"][0].clone();
        assert_eq!(answer.status, 503, "{error}");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("etcd")), "{error}");
    }
    assert_eq!((site.cloud.created(), site.pins_made()), (created, pins));

    // The first is back: with the third it is a majority.
    lock(&site.etcd).start_member(first);
    for name in ["lab", "second"] {
        assert_eq!(answer(&other, "GET", &format!("/clusters/{name}")).json()["cluster"], name);
        let deleted = answer(&other, "DELETE", &format!("/clusters/{name}"));
        assert_eq!(deleted.status, 204, "{}", deleted.text());
    }
    let pin = format!("/api/v1/clusters/{}", filled(&made, "pairing-pin"));
    assert_eq!(site.service.api().get(&pin).status, 404, "the pin is left");
    assert!(site.cloud.stacks().is_empty(), "a stack is left");
    until("nothing is left in etcd", || {
        let kept = lock(&site.etcd).etcdctl(first, &["get", "--prefix", "/cernvm-launches/launches/"])?;
        kept.is_empty().then_some(())
    });
    assert_eq!(answer(&one, "GET", "/clusters/").json(), json!([]));
    one.stop();
    other.stop();
}

#[test]
fn one_stack_comes_of_a_launch_in_whose_middle_the_leader_is_killed() {
    if !can_be_built() {
        return;
    }
    for moment in [Moment::Pin, Moment::Stack] {
        let site = site(Manners::default());
        site.at(moment);
        let mut running = site.launch(0);
        // On a busy machine the members may take longer to choose a leader than a launch waits; then it is run again.
        let made = until("there is a stack", || {
            if running.has_ended() {
                running = site.launch(0);
            }
            site.cloud.stacks().into_iter().next()
        });
        until("the stack is complete", || running.stderr().contains("CREATE_COMPLETE").then_some(()));
        boot(&made);
        finish(running).expect(0, "3 of 3 nodes are ready");
        assert!(site.is_past(), "{moment:?}: no member was killed");
        assert_eq!(site.cloud.created(), 1, "{moment:?}");
        site.run(1, &["show", "lab"]).expect(0, "ready: 3 of 3 nodes are ready");

        site.at(Moment::Delete);
        let answers = |member: usize| lock(&site.etcd).etcdctl(member, &["get", "x"]).is_some();
        let dead = (0..MEMBERS).find(|member| !answers(*member)).expect("one is dead");
        lock(&site.etcd).start_member(dead);
        until("it is one of three again", || answers(dead).then_some(()));
        until("it is deleted", || {
            let _ = site.run(1, &["delete", "lab"]);
            site.run(0, &["list"]).stdout.contains("no clusters").then_some(())
        });
        assert!(site.is_past(), "no member was killed");
    }
}
