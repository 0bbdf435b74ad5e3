//! What a master asks, line by line.

use super::*;
use crate::session::fake::{FakeSession, Reply, done, exists, failed, missing, value};
use client::{FailureKind, SealFault};
use protocol::error::Status;

const RULE: AddressRule = AddressRule::Literal(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)));

/// A master at 10.0.0.5 in its second boot, on a machine that holds 10.0.0.6 too.
fn master(memory: &mut dyn RecordStore) -> Master<'_> {
    let machine = vec![IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6))];
    Master { rule: &RULE, machine, boot: Some("second".to_owned()), booted: None, force: false, memory }
}

/// Boots a master at 10.0.0.5 with a service that is asked exactly this.
fn pushed(script: Vec<(&'static str, Reply)>) -> Result<IpAddr, Error> {
    master(&mut UnsavedRecord::default()).push(&mut FakeSession::script(1500, script).session)
}

/// The same master after its boot.
fn readied(script: Vec<(&'static str, Reply)>) -> Result<IpAddr, Error> {
    master(&mut UnsavedRecord::default()).ready(&mut FakeSession::script(1500, script).session)
}

#[test]
fn pushes_its_address() {
    let script = vec![("cluster", done()), ("create master_ip=10.0.0.5", done())];
    assert_eq!(pushed(script).unwrap().to_string(), "10.0.0.5");
}

#[test]
fn is_content_with_its_own_address_from_an_earlier_try() {
    pushed(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", failed(FailureKind::Timeout)),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.5")),
    ])
    .unwrap();
}

#[test]
fn withdraws_ready_before_it_takes_another_masters_place() {
    for withdrawn in [done(), missing()] {
        pushed(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.4")),
            ("get master_ip", value("10.0.0.4")),
            ("delete master_ready", withdrawn),
            ("get master_ip", value("10.0.0.4")),
            ("replace master_ip=10.0.0.5", done()),
        ])
        .unwrap();
    }
}

#[test]
fn begins_again_when_the_other_address_goes_meanwhile() {
    pushed(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", missing()),
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.4")),
        ("delete master_ready", done()),
        ("get master_ip", value("10.0.0.4")),
        ("replace master_ip=10.0.0.5", missing()),
        ("cluster", done()),
        ("create master_ip=10.0.0.5", done()),
    ])
    .unwrap();
}

#[test]
fn ends_at_once_when_the_pin_is_gone() {
    let error = pushed(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", missing()),
        ("cluster", missing()),
        ("cluster", missing()),
    ])
    .unwrap_err();
    assert_eq!(error.status(), Status::Refused);
}

#[test]
fn lets_the_boot_go_on_after_thirty_seconds() {
    let mut fake = FakeSession::new(&["pair"], 1500, |_| failed(FailureKind::Connect));
    assert_eq!(
        master(&mut UnsavedRecord::default()).push(&mut fake.session).unwrap_err().status(),
        Status::Unreachable
    );
    assert!(fake.session.clock().now() <= PUSH_LIMIT);
    let mut fake = FakeSession::new(&["pair"], 1500, |_| (failed(FailureKind::Timeout).0, 1000));
    assert_eq!(
        master(&mut UnsavedRecord::default()).push(&mut fake.session).unwrap_err().status(),
        Status::Unreachable
    );
    assert!(fake.session.clock().now() <= PUSH_LIMIT);
}

#[test]
fn says_that_it_is_ready_once_its_address_is_there() {
    readied(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", done()),
        ("create master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.5")),
    ])
    .unwrap();
}

#[test]
fn renews_ready_of_an_earlier_boot_and_of_an_old_master() {
    readied(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.5")),
        ("create master_ready=10.0.0.5", exists()),
        ("get master_ready", value("10.0.0.5")),
        ("get master_ip", value("10.0.0.5")),
    ])
    .unwrap();
    readied(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.5")),
        ("create master_ready=10.0.0.5", exists()),
        ("get master_ready", value("yes")),
        ("get master_ip", value("10.0.0.5")),
        ("replace master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.5")),
    ])
    .unwrap();
}

#[test]
fn overwrites_nothing_of_another_master() {
    let error = readied(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.4")),
    ])
    .unwrap_err();
    assert_eq!(error.status(), Status::Nonsense);
    let text = error.to_string();
    assert!(text.contains("10.0.0.4") && text.contains("10.0.0.5"), "{text}");
}

#[test]
fn gives_back_what_it_took_from_a_master_that_came_in_between() {
    let beginning = || {
        vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", done()),
            ("create master_ready=10.0.0.5", exists()),
        ]
    };
    let mut ready = beginning();
    ready.extend([
        ("get master_ready", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.5")),
        ("replace master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.4")),
        ("replace master_ready=10.0.0.4", done()),
    ]);
    assert_eq!(readied(ready).unwrap_err().status(), Status::Nonsense);
    // An old value would make the other master ready before it is.
    let mut old = beginning();
    old.extend([
        ("get master_ready", value("yes")),
        ("get master_ip", value("10.0.0.5")),
        ("replace master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.4")),
    ]);
    assert_eq!(readied(old).unwrap_err().status(), Status::Nonsense);
}

#[test]
fn shows_nothing_that_could_steer_a_console() {
    assert_eq!(shown("10.0.0.4\u{1b}[2J\n"), "10.0.0.4[2J");
    assert_eq!(shown(&"x".repeat(1000)).len(), refusals::SHOWN);
}

/// A master that had this address at an earlier boot, and said then that it is ready.
fn remembering(before: &str) -> UnsavedRecord {
    let mut record = MasterRecord::default();
    record.intend(before.parse().unwrap());
    record.confirm(before.parse().unwrap());
    record.ready_in = Some("first".to_owned());
    let mut memory = UnsavedRecord::default();
    memory.keep(record);
    memory
}

#[test]
fn knows_its_own_address_of_an_earlier_boot() {
    let mut memory = remembering("10.0.0.4");
    let script = vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.4")),
        ("delete master_ready", done()),
        ("get master_ip", value("10.0.0.4")),
        ("replace master_ip=10.0.0.5", done()),
        ("create master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.5")),
    ];
    master(&mut memory).ready(&mut FakeSession::script(1500, script).session).unwrap();
    assert!(memory.record().is_own("10.0.0.5".parse().unwrap()));
    // Another machine may have the old one by now.
    assert!(!memory.record().is_own("10.0.0.4".parse().unwrap()));
}

#[test]
fn takes_an_address_that_this_machine_holds_for_its_own() {
    readied(vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.6")),
        ("get master_ip", value("10.0.0.6")),
        ("delete master_ready", missing()),
        ("get master_ip", value("10.0.0.6")),
        ("replace master_ip=10.0.0.5", done()),
        ("create master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.5")),
    ])
    .unwrap();
}

#[test]
fn does_not_take_an_address_that_many_machines_hold_for_its_own_once_it_remembers() {
    let found = || {
        vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.6")),
        ]
    };
    let mut clones = UnsavedRecord::default();
    clones.keep(MasterRecord::of_clone());
    for (mut memory, says) in
        [(remembering("10.0.0.5"), "10.0.0.6 (an address that this machine has too"), (clones, "is a clone")]
    {
        let mut master = master(&mut memory);
        for error in [
            master.push(&mut FakeSession::script(1500, found()).session).unwrap_err(),
            master.ready(&mut FakeSession::script(1500, found()).session).unwrap_err(),
        ] {
            assert_eq!(error.status(), Status::Nonsense);
            assert!(error.to_string().contains(says), "{error}");
        }
        let script = vec![("cluster", done()), ("get master_ip", value("10.0.0.6"))];
        assert!(!master.withdraw(&mut FakeSession::script(1500, script).session).unwrap());
    }
}

#[test]
fn stays_away_once_another_master_has_replaced_it() {
    let found = || {
        vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.9")),
        ]
    };
    for before in ["10.0.0.5", "10.0.0.4"] {
        let mut memory = remembering(before);
        let mut master = master(&mut memory);
        for error in [
            master.push(&mut FakeSession::script(1500, found()).session).unwrap_err(),
            master.ready(&mut FakeSession::script(1500, found()).session).unwrap_err(),
        ] {
            assert_eq!(error.status(), Status::Nonsense);
            assert!(error.to_string().contains("10.0.0.9, has replaced this one, 10.0.0.5"), "{error}");
            assert!(error.next_step().contains("--force"), "{error}");
        }
        master.force = true;
        let mut script = found();
        script.extend([
            ("get master_ip", value("10.0.0.9")),
            ("delete master_ready", done()),
            ("get master_ip", value("10.0.0.9")),
            ("replace master_ip=10.0.0.5", done()),
            ("create master_ready=10.0.0.5", done()),
            ("get master_ip", value("10.0.0.5")),
        ]);
        master.ready(&mut FakeSession::script(1500, script).session).unwrap();
    }
}

#[test]
fn writes_over_what_does_not_open_only_with_force() {
    let does_not_open = || failed(FailureKind::Seal(SealFault::NotSealed));
    let found = || {
        vec![("cluster", done()), ("create master_ip=10.0.0.5", exists()), ("get master_ip", does_not_open())]
    };
    let mut memory = UnsavedRecord::default();
    let mut master = master(&mut memory);
    for error in [
        master.push(&mut FakeSession::script(1500, found()).session).unwrap_err(),
        master.ready(&mut FakeSession::script(1500, found()).session).unwrap_err(),
    ] {
        assert_eq!(error.status(), Status::Refused);
        assert!(error.is_unopened(), "{error}");
    }
    master.force = true;
    let mut script = found();
    script.extend([
        ("get master_ready", does_not_open()),
        ("delete master_ready", done()),
        ("get master_ip", does_not_open()),
        ("delete master_ip", done()),
        ("create master_ip=10.0.0.5", done()),
        ("create master_ready=10.0.0.5", done()),
        ("get master_ip", value("10.0.0.5")),
    ]);
    master.ready(&mut FakeSession::script(1500, script).session).unwrap();
}

#[test]
fn withdraws_the_ready_of_an_earlier_boot_but_not_of_this_one() {
    let mut memory = remembering("10.0.0.5");
    let there = || {
        vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.5")),
        ]
    };
    let mut script = there();
    script.push(("get master_ip", value("10.0.0.5")));
    script.push(("delete master_ready", done()));
    master(&mut memory).push(&mut FakeSession::script(1500, script).session).unwrap();
    let mut script = there();
    script.extend([("create master_ready=10.0.0.5", done()), ("get master_ip", value("10.0.0.5"))]);
    master(&mut memory).ready(&mut FakeSession::script(1500, script).session).unwrap();
    // Run again by hand, after which nothing would say again that it is ready.
    master(&mut memory).push(&mut FakeSession::script(1500, there()).session).unwrap();
}

#[test]
fn remembers_before_it_says_so_that_it_is_ready() {
    let mut memory = UnsavedRecord::default();
    let mut fake = FakeSession::new(&["pair"], 20, |line| match line {
        "pair cluster" | "pair create master_ip=10.0.0.5" => done(),
        // The service does it, and the machine never learns.
        _ => failed(FailureKind::Broken),
    });
    master(&mut memory).ready(&mut fake.session).unwrap_err();
    let script = vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.5")),
        ("get master_ip", value("10.0.0.5")),
        ("delete master_ready", done()),
    ];
    let mut next = master(&mut memory);
    next.boot = Some("third".to_owned());
    next.push(&mut FakeSession::script(1500, script).session).unwrap();
}

#[test]
fn ends_at_the_next_boot_what_force_began() {
    let mut memory = remembering("10.0.0.5");
    let mut fake = FakeSession::new(&["pair"], 20, |line| match line {
        "pair cluster" | "pair delete master_ready" => done(),
        "pair create master_ip=10.0.0.5" => exists(),
        "pair get master_ip" => value("10.0.0.9"),
        _ => failed(FailureKind::Broken),
    });
    let mut forced = master(&mut memory);
    forced.force = true;
    forced.ready(&mut fake.session).unwrap_err();
    let script = vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.9")),
        ("get master_ip", value("10.0.0.9")),
        ("delete master_ready", missing()),
        ("get master_ip", value("10.0.0.9")),
        ("replace master_ip=10.0.0.5", done()),
    ];
    master(&mut memory).push(&mut FakeSession::script(1500, script).session).unwrap();
    assert!(master(&mut memory).yields(), "it is done");
}

#[test]
fn looks_again_before_it_repeats_a_write() {
    let mut memory = UnsavedRecord::default();
    let script = vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.4")),
        ("delete master_ready", failed(FailureKind::Broken)),
        // A third master has come, and its readiness is not to be touched.
        ("get master_ip", value("10.0.0.9")),
        ("cluster", done()),
        ("create master_ip=10.0.0.5", done()),
    ];
    master(&mut memory).push(&mut FakeSession::script(1500, script).session).unwrap();
}

#[test]
fn publishes_only_while_the_cluster_is_its_own() {
    let deadline = |fake: &FakeSession| fake.session.deadline();
    for (there, may) in [
        (missing(), true),
        (value("10.0.0.5"), true),
        (value("10.0.0.6"), false),
        (value("10.0.0.4"), true),
        (value("10.0.0.9"), false),
    ] {
        let mut memory = remembering("10.0.0.4");
        let mut fake = FakeSession::script(1500, vec![("cluster", done()), ("get master_ip", there)]);
        let deadline = deadline(&fake);
        let result = master(&mut memory).may_publish(&mut fake.session, &deadline);
        assert_eq!(result.map_err(|error| error.status()), if may { Ok(()) } else { Err(Status::Nonsense) });
    }
}

#[test]
fn withdraws_at_shutdown_what_is_its_own() {
    for (master_ip, ready, withdrawn) in [
        ("10.0.0.5", "10.0.0.5", true),
        ("10.0.0.5", "yes", true),
        ("10.0.0.9", "10.0.0.9", false),
        ("10.0.0.5", "10.0.0.9", false),
    ] {
        let mut script = vec![("cluster", done()), ("get master_ip", value(master_ip))];
        if master_ip == "10.0.0.5" {
            script.push(("get master_ready", value(ready)));
        }
        if withdrawn {
            script.push(("get master_ip", value(master_ip)));
            script.push(("delete master_ready", done()));
        }
        let mut memory = remembering("10.0.0.5");
        let mut fake = FakeSession::script(1500, script);
        assert_eq!(
            master(&mut memory).withdraw(&mut fake.session).unwrap(),
            withdrawn,
            "{master_ip} {ready}"
        );
    }
}

#[test]
fn says_again_what_the_originals_unit_says_only_once() {
    let mut memory = remembering("10.0.0.4");
    let mut record = memory.record().clone();
    record.ready_in = None;
    memory.keep(record);
    let script = vec![
        ("cluster", done()),
        ("create master_ip=10.0.0.5", exists()),
        ("get master_ip", value("10.0.0.4")),
        ("get master_ready", value("yes")),
        ("get master_ip", value("10.0.0.4")),
        ("delete master_ready", done()),
        ("get master_ip", value("10.0.0.4")),
        ("replace master_ip=10.0.0.5", done()),
        ("create master_ready=10.0.0.5", done()),
    ];
    master(&mut memory).push(&mut FakeSession::script(1500, script).session).unwrap();
}

#[test]
fn has_one_address_in_one_boot() {
    let mut memory = UnsavedRecord::default();
    let late: AddressRule = AddressRule::Literal("10.0.0.6".parse().unwrap());
    assert_eq!(master(&mut memory).decide(None).unwrap().to_string(), "10.0.0.5");
    // 10.0.0.5 is not held: what the files say cannot be reached.
    let mut later = Master { rule: &late, ..master(&mut memory) };
    assert_eq!(later.decide(None).unwrap().to_string(), "10.0.0.6");
    let mut changed = master(&mut memory);
    assert_eq!(changed.decide(None).unwrap().to_string(), "10.0.0.6", "this boot's files say so");
    changed.boot = Some("third".to_owned());
    assert_eq!(changed.decide(None).unwrap().to_string(), "10.0.0.5");
}
