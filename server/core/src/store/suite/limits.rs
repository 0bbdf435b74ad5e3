//! Limits: what is past them is refused and changes nothing.

use super::{Backend, Fixture, LIFETIME, START, wait};
use crate::Refused;
use crate::clock::Clock as _;
use crate::store::{Change, Limits, NodeClass};

pub fn refuses_what_is_past_a_limit_and_changes_nothing<B: Backend>() {
    let limits = Limits { keys_per_pin: 3, bytes_per_pin: 10, pins: 2, ..Limits::default() };
    let mut fixture = Fixture::<B>::new(limits);
    let pin = fixture.pin();
    fixture.create(&pin, "a", "1234").unwrap();
    assert_eq!(fixture.create(&pin, "b", "12345"), Err(Refused::TooManyBytes));
    fixture.create(&pin, "b", "1234").unwrap();
    assert_eq!(fixture.create(&pin, "c", ""), Err(Refused::TooManyBytes));
    assert_eq!(fixture.update(&pin, "a", None, Some("12345")), Err(Refused::TooManyBytes));
    assert_eq!(fixture.update(&pin, "a", Some("aa"), None), Err(Refused::TooManyBytes));
    fixture.update(&pin, "a", Some("aa"), Some("123")).unwrap();
    fixture.update(&pin, "b", None, Some("")).unwrap();
    fixture.create(&pin, "c", "123").unwrap();
    assert_eq!(fixture.create(&pin, "d", ""), Err(Refused::TooManyKeys));
    assert_eq!(fixture.create(&pin, "c", ""), Err(Refused::KeyExists));
    fixture.pin();
    assert_eq!(wait(fixture.store().create_cluster()), Err(Refused::TooManyPins));
    assert_eq!(fixture.log.take().len(), 5);
    fixture.reopen();
    assert_eq!(wait(fixture.store().create_cluster()), Err(Refused::TooManyPins));
    fixture.check_list(&pin, &[("aa", "123"), ("b", ""), ("c", "123")]);
    wait(fixture.store().delete_key(&pin, "b")).unwrap();
    fixture.create(&pin, "d", "").unwrap();
    wait(fixture.store().delete_cluster(&pin)).unwrap();
    fixture.pin();
}

pub fn makes_room_for_a_new_pin_when_one_has_expired<B: Backend>() {
    let fixture = Fixture::<B>::new(Limits { pins: 1, ..Limits::default() });
    let old = fixture.pin();
    fixture.clock.set(START.after(LIFETIME));
    let new = fixture.pin();
    assert_eq!(fixture.log.take(), [(old, Change::Expired)]);
    assert_eq!(wait(fixture.store().create_cluster()), Err(Refused::TooManyPins));
    assert_eq!(fixture.list(&new), Ok(vec![]));
}

pub fn gives_up_unused_pins_once_it_is_half_full<B: Backend>() {
    let limits = Limits { pins: 6, ..Limits::default() };
    let mut fixture = Fixture::<B>::new(limits);
    let [used, reporting, first, second] = std::array::from_fn(|_| fixture.pin());
    fixture.create(&used, "a", "1").unwrap();
    let report = "v1.x".to_owned();
    wait(fixture.store().put_node(&reporting, "n", report, NodeClass::Sealed, None)).unwrap();
    fixture.log.take();
    wait(fixture.store().delete_cluster(&second)).unwrap();
    assert_eq!(fixture.log.take(), [(second, Change::Deleted)]);
    fixture.clock.advance(limits.unused_lifetime);
    // Three of six: nothing has to go, however old it is.
    let young = fixture.pin();
    assert_eq!(fixture.log.take(), []);
    let next = fixture.pin();
    assert_eq!(fixture.log.take(), [(first.clone(), Change::Expired)]);
    for _ in 0..2 {
        assert_eq!(wait(fixture.store().cluster(&first)), Err(Refused::UnknownPin));
        for pin in [&used, &reporting, &young, &next] {
            assert!(wait(fixture.store().cluster(pin)).is_ok());
        }
        fixture.reopen();
    }
    fixture.pin();
    assert_eq!(fixture.log.take(), []);
}

pub fn holds_no_more_bytes_than_it_may_and_takes_what_makes_room<B: Backend>() {
    let mut fixture = Fixture::<B>::new(Limits { bytes: 10_000, ..Limits::default() });
    let pin = fixture.pin();
    let value = |length| "v".repeat(length);
    fixture.create(&pin, "a", &value(8000)).unwrap();
    for _ in 0..2 {
        let before = fixture.store().stats().bytes;
        assert!((8000..10_000).contains(&before), "{before}");
        assert_eq!(fixture.create(&pin, "b", &value(3000)), Err(Refused::OutOfMemory));
        assert_eq!(fixture.update(&pin, "a", None, Some(&value(11_000))), Err(Refused::OutOfMemory));
        assert_eq!(fixture.store().stats().bytes, before);
        fixture.reopen();
    }
    fixture.update(&pin, "a", None, Some(&value(100))).unwrap();
    fixture.create(&pin, "b", &value(3000)).unwrap();
    while wait(fixture.store().create_cluster()).is_ok() {}
    assert_eq!(wait(fixture.store().create_cluster()), Err(Refused::OutOfMemory));
    // Nothing new fits, and no key can grow large, but a short one grows by some bytes.
    let room = 10_000_usize.saturating_sub(fixture.store().stats().bytes);
    fixture.update(&pin, "a", None, Some(&value(101 + room))).unwrap();
    assert_eq!(fixture.update(&pin, "b", None, Some(&value(3001 + room))), Err(Refused::OutOfMemory));
    wait(fixture.store().delete_cluster(&pin)).unwrap();
    fixture.pin();
    fixture.clock.advance(LIFETIME);
    let last = fixture.pin();
    while wait(fixture.store().sweep()).unwrap().is_some_and(|next| next <= fixture.clock.now()) {}
    wait(fixture.store().delete_cluster(&last)).unwrap();
    assert_eq!(fixture.store().stats().bytes, 0);
}
