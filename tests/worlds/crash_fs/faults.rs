//! A disk that fails while the power stays on: what the service says, and that it is whole afterwards.

use worlds::api::keys;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

use crate::disk::{Disk, Syncs, Trouble};
use crate::{can_mount, on_a_disk};

/// A service with a pin and one key, on a disk that is in order.
fn with_a_key(service: &mut Service) -> String {
    assert!(service.try_resume(|| false), "{}", service.log());
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "old", "1");
    pin
}

/// Creates a key: the status of the answer, and its text.
fn create(service: &Service, pin: &str, name: &str, length: usize) -> (u16, String) {
    let body = serde_json::json!({ "key": name, "value": "v".repeat(length) });
    let answer = service.api().ask(&Request::new("POST", &keys(pin)).json(&body));
    (answer.status, answer.text())
}

/// Cuts the power and starts again: each of these keys is there.
#[track_caller]
fn check_after_a_cut(disk: &Disk, service: &mut Service, pin: &str, names: &[&str]) {
    disk.cut();
    service.signal(nix::sys::signal::Signal::SIGKILL);
    disk.give_up();
    service.kill();
    disk.restart();
    assert!(service.try_resume(|| false), "{}", service.log());
    for name in names {
        assert!(service.api().value(pin, name).is_some(), "{name} is lost");
    }
}

#[test]
fn a_full_disk_is_said_and_writes_go_on_when_there_is_room() {
    if !can_mount() {
        return;
    }
    on_a_disk(1, Syncs::Honest, |disk, path| {
        let mut service = Service::stopped_on(path);
        let pin = with_a_key(&mut service);
        // One pin holds less than the log.
        let pins: Vec<_> = std::iter::repeat_with(|| service.api().new_pin()).take(5).collect();
        disk.plan(0, Trouble::Full);
        let (status, said) = (0..50)
            .map(|number| create(&service, &pins[number / 10], &format!("k{number}"), 60_000))
            .find(|(status, _)| *status != 201)
            .expect("the file grows until there is no room");
        assert_eq!(status, 507, "{said}");
        disk.heal();
        // The store leaves a disk that failed alone for a second.
        until("it writes again", || (create(&service, &pin, "new", 60_000).0 == 201).then_some(()));
        check_after_a_cut(disk, &mut service, &pin, &["old", "new"]);
    });
}

#[test]
fn a_sync_that_fails_ends_all_writing_until_the_service_is_started_again() {
    if !can_mount() {
        return;
    }
    on_a_disk(2, Syncs::Honest, |disk, path| {
        let mut service = Service::stopped_on(path);
        let pin = with_a_key(&mut service);
        disk.plan(0, Trouble::Sync);
        for name in ["first", "second"] {
            let (status, said) = create(&service, &pin, name, 10);
            assert_eq!(status, 500, "{said}");
        }
        service.logs("the disk could not sync");
        assert_ne!(service.api().get("/readyz").status, 200);
        assert_eq!(service.api().value(&pin, "old").as_deref(), Some("1"));
        check_after_a_cut(disk, &mut service, &pin, &["old"]);
        assert_eq!(create(&service, &pin, "third", 10).0, 201);
        check_after_a_cut(disk, &mut service, &pin, &["old", "third"]);
    });
}

#[test]
fn a_disk_that_cannot_be_read_at_the_start_is_said_and_loses_nothing() {
    if !can_mount() {
        return;
    }
    on_a_disk(3, Syncs::Honest, |disk, path| {
        let mut service = Service::stopped_on(path);
        let pin = with_a_key(&mut service);
        assert!(service.stop().success());
        disk.plan(0, Trouble::Read);
        assert!(!service.try_resume(|| false), "it came up without reading its store");
        let said = service.log();
        assert!(said.contains("pairing.redb: ") && said.contains("os error 5"), "{said}");
        disk.heal();
        assert!(service.try_resume(|| false), "{}", service.log());
        assert_eq!(service.api().value(&pin, "old").as_deref(), Some("1"));
    });
}
