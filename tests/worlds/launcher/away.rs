//! An etcd that goes away in the middle of a launch or of a delete, and comes back: nothing is lost, and nothing is made twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use worlds::etcd::{Member, is_installed};
use worlds::wait::until;

use crate::api::request;
use crate::cloud::Manners;
use crate::cluster::{boot, filled, stack};
use crate::home::{finish, launch};
use crate::site::{Moment, Site};

type Killed = Arc<Mutex<Member>>;

fn lock(etcd: &Killed) -> MutexGuard<'_, Member> {
    etcd.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A site whose etcd is killed when a moment comes; `None` where there is none.
fn site() -> Option<Site<Killed>> {
    if !is_installed() {
        return None;
    }
    let member = Member::start(&[]);
    let named = vec!["--etcd".to_owned(), member.url()];
    let etcd = Arc::new(Mutex::new(member));
    let killed = Arc::clone(&etcd);
    Some(Site::with(etcd, named, Manners::default(), move || lock(&killed).kill()))
}

/// What etcd has of launches, and of locks.
fn kept(site: &Site<Killed>) -> String {
    lock(&site.etcd).etcdctl(&["get", "--prefix", "/cernvm-launches/l", "--keys-only"])
}

#[test]
fn a_launch_whose_etcd_goes_before_its_record_is_there_makes_nothing() {
    let Some(site) = site() else { return };
    site.at(Moment::Pin);
    let refused = finish(site.launch(0));
    refused.expect(69, "the launches in etcd cannot be used: no answer from etcd in 5 s");
    refused.expect(69, "\n  next: ");
    assert_eq!((site.cloud.created(), site.pins_made()), (0, 1));
    lock(&site.etcd).start_again(&[]);
    site.run(1, &["list"]).expect(0, "no clusters");
    let running = site.launch(1);
    boot(&stack(&site.cloud));
    finish(running).expect(0, "3 of 3 nodes are ready");
    assert_eq!(site.cloud.created(), 1);
}

#[test]
fn a_launch_whose_etcd_goes_before_heat_answers_goes_on_and_is_known_when_it_is_back() {
    let Some(site) = site() else { return };
    site.at(Moment::Stack);
    let running = site.launch(0);
    let made = stack(&site.cloud);
    // Each look tries to keep what it has seen.
    let look = format!("GET /heat/stacks/{}/{}", made.name, made.id);
    let looks = || site.cloud.lines().into_iter().filter(|line| *line == look).count();
    until("it has looked several times", || (looks() > 2).then_some(()));
    lock(&site.etcd).start_again(&[]);
    // Another shows it, by the name of its stack.
    site.run(1, &["show", "lab"]).expect(0, &made.id);
    boot(&made);
    let done = finish(running);
    done.expect(0, "3 of 3 nodes are ready");
    // Once when the stack's id was to be kept, and once for all looks.
    let said = done.stderr.matches("the launches in etcd cannot be used").count();
    assert_eq!(said, 2, "{}", done.stderr);
    done.expect(0, "the launches can be written again");
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
    site.run(1, &["list"]).expect(0, "ready");
    site.run(1, &["delete", "lab"]).expect(0, "nothing is left");
    until("nothing is left in etcd", || kept(&site).is_empty().then_some(()));
}

#[test]
fn a_request_whose_etcd_goes_before_heat_answers_is_answered_and_known_when_it_is_back() {
    let Some(site) = site() else { return };
    let (mut one, mut other) = (site.serve(0), site.serve(1));
    site.at(Moment::Stack);
    let launched = one.ask("POST", "/clusters/", Some(&request(&site.cloud)));
    assert_eq!(launched.status, 201, "{}", launched.text());
    let made = stack(&site.cloud);
    assert_eq!(launched.json()["id"], json!(made.id));
    lock(&site.etcd).start_again(&[]);
    for api in [&one, &other] {
        until("it is shown", || {
            let shown = api.ask("GET", "/clusters/lab", None);
            (shown.status == 200 && shown.json()["id"] == json!(made.id)).then_some(())
        });
    }
    boot(&made);
    until("it is ready", || (other.show("lab")["state"] == "ready").then_some(()));
    assert_eq!((site.cloud.created(), site.pins_made()), (1, 1));
    one.stop();
    other.stop();
}

#[test]
fn a_delete_whose_etcd_goes_is_gone_on_with() {
    let Some(site) = site() else { return };
    let (url, flags) = (site.pairing.url(), site.flags(false));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let late = launch("lab", &url, &[&flags[..], &["--timeout", "0"]].concat());
    site.homes[0].run(&site.cloud, &late).expect(75, "the cluster lab is not ready");
    let pin = filled(&stack(&site.cloud), "pairing-pin");
    site.at(Moment::Delete);
    site.run(0, &["delete", "lab"]).expect(69, "no answer from etcd in 5 s").expect(69, "\n  next: ");
    assert!(site.cloud.stacks().is_empty());
    lock(&site.etcd).start_again(&[]);
    site.run(1, &["show", "lab"]).expect(0, "gone");
    site.run(1, &["delete", "lab"]).expect(0, "nothing is left of the cluster lab");
    assert_eq!(site.service.api().get(&format!("/api/v1/clusters/{pin}")).status, 404, "the pin is left");
    until("nothing is left in etcd", || kept(&site).is_empty().then_some(()));
}
