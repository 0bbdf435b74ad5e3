//! Expiry: exact, whatever the clock does, and swept in time.

use std::future::Future as _;
use std::task::{Context, Waker};
use std::time::Duration;

use protocol::Pin;

use super::{Backend, LIFETIME, START, at_once, fixture, wait};
use crate::Refused;
use crate::clock::Timestamp;
use crate::store::shared::MARK_AHEAD;
use crate::store::{Change, Store, Update};

pub fn no_jump_of_the_clock_loses_a_pin<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "k", "v").unwrap();
    for away in [START.after(2 * LIFETIME), Timestamp(0), START] {
        fixture.clock.jump(away);
        wait(fixture.store().sweep()).unwrap();
        fixture.check_list(&pin, &[("k", "v")]);
    }
    // It lives as long as it should while the clock is wrong, and no longer.
    fixture.clock.jump(START.after(2 * LIFETIME));
    fixture.clock.advance(LIFETIME - Duration::from_micros(1));
    fixture.check_list(&pin, &[("k", "v")]);
    fixture.clock.advance(Duration::from_micros(1));
    assert_eq!(fixture.list(&pin), Err(Refused::UnknownPin));
}

pub fn a_pin_is_gone_to_the_microsecond<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "k", "v").unwrap();
    let last = START.after(LIFETIME).before(Duration::from_micros(1));
    fixture.clock.set(last);
    for _ in 0..2 {
        fixture.check_list(&pin, &[("k", "v")]);
        fixture.reopen();
    }
    fixture.clock.advance(Duration::from_micros(1));
    fixture.reopen();
    assert_eq!(fixture.list(&pin), Err(Refused::UnknownPin));
}

pub fn every_call_that_finds_a_pin_gone_keeps_it_gone<B: Backend>() {
    let mut fixture = fixture::<B>();
    type Call = fn(&Store, &Pin) -> Result<(), Refused>;
    let calls: [Call; 9] = [
        |store, pin| wait(store.cluster(pin)).map(|_| ()),
        |store, pin| wait(store.keys(pin)).map(|_| ()),
        |store, pin| wait(store.key(pin, "k")).map(|_| ()),
        |store, pin| wait(store.key(pin, "other")).map(|_| ()),
        |store, pin| wait(store.create_key(pin, "other", "v")).map(|_| ()),
        |store, pin| wait(store.create_key(pin, "k", "v")).map(|_| ()),
        |store, pin| wait(store.update_key(pin, "k", Update::default())).map(|_| ()),
        |store, pin| wait(store.delete_key(pin, "k")),
        |store, pin| wait(store.delete_cluster(pin)),
    ];
    for call in calls {
        let begun = fixture.store().now();
        let pin = fixture.pin();
        fixture.create(&pin, "k", "v").unwrap();
        fixture.log.take();
        fixture.clock.set(begun.after(LIFETIME));
        assert_eq!(call(fixture.store(), &pin), Err(Refused::UnknownPin));
        wait(fixture.store().sweep()).unwrap();
        assert_eq!(fixture.log.take(), [(pin.clone(), Change::Expired)]);
        fixture.clock.set(START);
        for _ in 0..2 {
            assert_eq!(call(fixture.store(), &pin), Err(Refused::UnknownPin));
            assert_eq!(fixture.list(&pin), Err(Refused::UnknownPin));
            fixture.reopen();
        }
        assert_eq!(fixture.log.take(), []);
    }
}

pub fn a_read_of_an_expired_pin_writes_only_what_keeps_it_gone<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.clock.set(START.after(LIFETIME).before(MARK_AHEAD));
    wait(fixture.store().sweep()).unwrap();
    fixture.clock.set(START.after(LIFETIME));
    let commits = fixture.store().stats().commits;
    assert_eq!(wait(fixture.store().cluster(&pin)), Err(Refused::UnknownPin));
    let written = (fixture.store().stats().commits - commits, fixture.log.take());
    // The others' clocks may be behind, so the cluster is removed before it is said to be gone.
    let removed = (1, vec![(pin.clone(), Change::Expired)]);
    assert_eq!(written, if B::SHARED { removed } else { (0, vec![]) });
    fixture.clock.set(START);
    for _ in 0..2 {
        assert_eq!(fixture.list(&pin), Err(Refused::UnknownPin));
        fixture.reopen();
    }
}

/// Whether a sweep has named the moment for a cluster: when it expires, or early enough to move the mark.
fn is_in_time(next: &Result<Option<Timestamp>, Refused>, expires: Timestamp) -> bool {
    [expires, expires.before(MARK_AHEAD)].map(|moment| Ok(Some(moment))).contains(next)
}

pub fn a_cluster_that_expires_before_all_others_is_swept_in_time<B: Backend>() {
    let fixture = fixture::<B>();
    fixture.pin();
    // The first cluster is earlier than none.
    wait(fixture.store().sweep_earlier());
    wait(fixture.store().sweep()).unwrap();
    let mut earlier = Box::pin(fixture.store().sweep_earlier());
    let mut poll = || earlier.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    fixture.clock.advance(Duration::from_secs(1));
    let pin = fixture.pin();
    assert!(poll().is_pending());
    wait(fixture.store().backdate(&pin, LIFETIME / 2)).unwrap();
    assert!(poll().is_ready());
    let expires = wait(fixture.store().cluster(&pin)).unwrap().expires;
    assert!(is_in_time(&wait(fixture.store().sweep()), expires));
}

pub fn a_sweep_is_bounded_tells_of_each_and_says_when_to_come_again<B: Backend>() {
    let mut fixture = fixture::<B>();
    assert_eq!(wait(fixture.store().sweep()), Ok(None));
    let old = 2 * B::SWEPT + 1;
    at_once(32, |number| {
        for _ in (number..old).step_by(32) {
            fixture.pin();
        }
    });
    let due = START.after(LIFETIME);
    assert!(is_in_time(&wait(fixture.store().sweep()), due));
    let second = Duration::from_secs(1);
    fixture.clock.advance(second);
    let young = fixture.pin();
    fixture.clock.set(due);
    assert_eq!(fixture.log.take(), []);
    for (next, told) in [(due, B::SWEPT), (due, B::SWEPT), (due.after(second), 1), (due.after(second), 0)] {
        assert_eq!(wait(fixture.store().sweep()), Ok(Some(next)));
        let changes = fixture.log.take();
        assert_eq!(changes.len(), told);
        assert!(changes.iter().all(|(pin, change)| *pin != young && *change == Change::Expired));
    }
    fixture.reopen();
    fixture.clock.set(due.after(second));
    assert_eq!(wait(fixture.store().sweep()), Ok(None));
    assert_eq!(fixture.log.take(), [(young, Change::Expired)]);
}
