//! The promises as tests: one suite, run over every journal.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, also where another crate runs them"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use protocol::Pin;

use super::machine::MARK_AHEAD;
use super::{BatchLimits, Change, Key, Limits, NodeClass, NodeCounts, Observer, Store, Update};
use crate::Refused;
use crate::clock::{Clock, ManualClock, Timestamp};

/// Where a store lives: opening it again finds what was there, if its journal lasts.
pub trait Backend: Default + Sync {
    const LASTS: bool;
    /// Whether other processes may write to its journal.
    const SHARED: bool = false;
    /// Most clusters that one sweep removes.
    const SWEPT: usize = BatchLimits::LARGE.swept;
    /// Whether there is such a place on this machine. One that is not says so.
    fn is_there() -> bool {
        true
    }
    fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store;
}

/// Runs each test of the suite over one place.
#[macro_export]
macro_rules! run_store_suite {
    ($place:ty: $($test:ident)*) => {$(
        #[test]
        fn $test() {
            if <$place as $crate::store::suite::Backend>::is_there() {
                $crate::store::suite::$test::<$place>();
            }
        }
    )*};
    ($place:ty) => {
        $crate::run_store_suite!($place:
            keeps_a_cluster_and_its_keys
            tells_an_unknown_pin_from_an_unknown_key
            creates_a_key_once_for_64_who_try_at_once
            renames_onto_a_name_once_for_64_who_try_at_once
            changes_values_and_names_and_keeps_what_is_not_named
            a_rename_onto_another_key_changes_nothing
            lists_keys_in_the_order_of_creation
            refuses_what_is_past_a_limit_and_changes_nothing
            makes_room_for_a_new_pin_when_one_has_expired
            gives_up_unused_pins_once_it_is_half_full
            holds_no_more_bytes_than_it_may_and_takes_what_makes_room
            no_jump_of_the_clock_loses_a_pin
            a_pin_is_gone_to_the_microsecond
            every_call_that_finds_a_pin_gone_keeps_it_gone
            a_read_of_an_expired_pin_writes_only_what_keeps_it_gone
            a_cluster_that_expires_before_all_others_is_swept_in_time
            tells_every_change_in_order_after_it_can_be_read
            tells_the_changes_of_one_pin_in_the_order_of_64_who_write_at_once
            a_sweep_is_bounded_tells_of_each_and_says_when_to_come_again
            a_write_whose_asker_has_gone_leaves_the_store_whole
            keeps_what_nodes_report_until_they_or_their_cluster_go
            refuses_nodes_past_a_limit_and_changes_nothing
            counts_64_nodes_that_report_at_once_and_tells_the_counts_in_order
            behaves_as_its_model
        );
    };
}
pub use run_store_suite as run;

/// Waits for an answer, also where a runtime would not let itself be blocked: in an observer.
pub fn wait<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut answer = pin!(answer);
    loop {
        match answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub struct Log(Mutex<Vec<(Pin, Change)>>);

impl Log {
    /// What was told since the last look.
    pub fn take(&self) -> Vec<(Pin, Change)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Log {
    fn changed(&self, pin: &Pin, change: &Change) {
        self.0.lock().unwrap().push((pin.clone(), change.clone()));
    }
}

/// A store, its clock, and what its observer heard.
pub struct Fixture<B: Backend> {
    pub clock: Arc<ManualClock>,
    pub log: Arc<Log>,
    limits: Limits,
    store: Option<Store>,
    pub place: B,
}

pub const START: Timestamp = Timestamp(1_700_000_000_000_000);
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl<B: Backend> Fixture<B> {
    pub fn new(limits: Limits) -> Self {
        let (clock, log, place) = (Arc::new(ManualClock::at(START)), Arc::new(Log::default()), B::default());
        let mut fixture = Self { clock, log, limits, store: None, place };
        fixture.open();
        fixture
    }

    fn open(&mut self) {
        let store = self.place.open(self.limits, self.clock.clone(), self.log.clone());
        wait(store.caught_up()).unwrap();
        if B::SHARED {
            // It is told of what it finds as well.
            self.log.take();
        }
        self.store = Some(store);
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Closes the store; [`Fixture::reopen`] opens it again.
    pub fn close(&mut self) {
        self.store = None;
    }

    /// Closes the store and opens it again, if it lasts.
    pub fn reopen(&mut self) {
        if B::LASTS {
            self.store = None;
            self.open();
        }
    }

    pub fn pin(&self) -> Pin {
        wait(self.store().create_cluster()).unwrap().pin
    }

    fn create(&self, pin: &Pin, name: &str, value: &str) -> Result<Arc<Key>, Refused> {
        wait(self.store().create_key(pin, name, value))
    }

    fn update(
        &self,
        pin: &Pin,
        name: &str,
        to: Option<&str>,
        value: Option<&str>,
    ) -> Result<Arc<Key>, Refused> {
        let update = Update { name: to.map(str::to_owned), value: value.map(str::to_owned) };
        wait(self.store().update_key(pin, name, update))
    }

    fn list(&self, pin: &Pin) -> Result<Vec<(String, String)>, Refused> {
        let keys = wait(self.store().keys(pin))?;
        Ok(keys.iter().map(|key| (key.name.clone(), key.value.clone())).collect())
    }

    fn check_list(&self, pin: &Pin, expected: &[(&str, &str)]) {
        let list = self.list(pin).unwrap();
        let list: Vec<_> = list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(list, expected);
    }
}

fn fixture<B: Backend>() -> Fixture<B> {
    Fixture::new(Limits::default())
}

/// Calls `work` on many threads at once, and gives what each returned.
pub fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (barrier, work) = (&barrier, &work);
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    barrier.wait();
                    work(number)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub fn keeps_a_cluster_and_its_keys<B: Backend>() {
    let mut fixture = fixture::<B>();
    let made = wait(fixture.store().create_cluster()).unwrap();
    assert!(made.pin.looks_made());
    assert_eq!((made.created, made.expires), (START, START.after(LIFETIME)));
    fixture.clock.advance(Duration::from_secs(1));
    let created = fixture.create(&made.pin, "master_ip", "10.1.2.3").unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let ready = fixture.create(&made.pin, "master_ready", "").unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let updated = fixture.update(&made.pin, "master_ip", None, Some("10.1.2.4")).unwrap();
    assert_eq!((created.created, created.modified), (START.after(Duration::from_secs(1)), created.created));
    assert_eq!((updated.created, updated.modified), (created.created, START.after(Duration::from_secs(3))));

    for _ in 0..2 {
        let store = fixture.store();
        assert_eq!(wait(store.cluster(&made.pin)), Ok(made.clone()));
        assert_eq!(wait(store.keys(&made.pin)), Ok(vec![updated.clone(), ready.clone()]));
        assert_eq!(wait(store.key(&made.pin, "master_ip")), Ok(updated.clone()));
        assert_eq!(wait(store.ready()), Ok(()));
        fixture.reopen();
    }
    wait(fixture.store().delete_key(&made.pin, "master_ip")).unwrap();
    fixture.reopen();
    fixture.check_list(&made.pin, &[("master_ready", "")]);
    wait(fixture.store().delete_cluster(&made.pin)).unwrap();
    fixture.reopen();
    assert_eq!(fixture.list(&made.pin), Err(Refused::UnknownPin));
}

pub fn tells_an_unknown_pin_from_an_unknown_key<B: Backend>() {
    let fixture = fixture::<B>();
    let known = fixture.pin();
    for (pin, unknown) in [
        (known, Refused::UnknownKey),
        (Pin::parse("enico1qq0oey").unwrap(), Refused::UnknownPin),
        (Pin::parse("not-as-long-as-ours").unwrap(), Refused::UnknownPin),
        (Pin::parse("AS_long-OURS").unwrap(), Refused::UnknownPin),
    ] {
        assert_eq!(wait(fixture.store().key(&pin, "k")), Err(unknown.clone()));
        assert_eq!(fixture.update(&pin, "k", None, Some("v")), Err(unknown.clone()));
        assert_eq!(fixture.update(&pin, "k", None, None), Err(unknown.clone()));
        assert_eq!(wait(fixture.store().delete_key(&pin, "k")), Err(unknown.clone()));
        if unknown == Refused::UnknownPin {
            assert_eq!(wait(fixture.store().cluster(&pin)), Err(unknown.clone()));
            assert_eq!(fixture.list(&pin), Err(unknown.clone()));
            assert_eq!(fixture.create(&pin, "k", "v"), Err(unknown.clone()));
            assert_eq!(wait(fixture.store().delete_cluster(&pin)), Err(unknown));
        }
    }
    assert_eq!(fixture.log.take(), []);
}

pub fn creates_a_key_once_for_64_who_try_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let (store, pin) = (fixture.store(), &fixture.pin());
    for round in 0..40 {
        let name = &format!("key{round}");
        let answers = at_once(64, |number| wait(store.create_key(pin, name, &number.to_string())));
        let winners: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let refused = answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count();
        assert_eq!(refused, 63, "{answers:?}");
        assert_eq!(wait(store.key(pin, name)).as_ref(), Ok(winners[0]));
    }
    assert_eq!(fixture.log.take().len(), 40);
}

pub fn renames_onto_a_name_once_for_64_who_try_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    at_once(64, |number| fixture.create(&pin, &number.to_string(), "").unwrap());
    let answers = at_once(64, |number| fixture.update(&pin, &number.to_string(), Some("goal"), None));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count(), 63);
    let list = fixture.list(&pin).unwrap();
    assert_eq!(list.len(), 64);
    assert_eq!(list.iter().filter(|(name, _)| name == "goal").count(), 1);
}

pub fn changes_values_and_names_and_keeps_what_is_not_named<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "name", "value").unwrap();
    fixture.log.take();
    for (number, (from, to, value, expected, told)) in [
        ("name", None, Some("new"), ("name", "new"), true),
        ("name", Some("other"), None, ("other", "new"), true),
        ("other", Some("third"), Some("both"), ("third", "both"), true),
        ("third", Some("third"), None, ("third", "both"), true),
        ("third", Some("third"), Some("newer"), ("third", "newer"), true),
        // Nothing was set, so nothing was modified, and there is no change to report.
        ("third", None, None, ("third", "newer"), false),
    ]
    .into_iter()
    .enumerate()
    {
        fixture.clock.advance(Duration::from_micros(1));
        let key = fixture.update(&pin, from, to, value).unwrap();
        assert_eq!((key.name.as_str(), key.value.as_str()), expected);
        assert_eq!(key.created, START);
        assert_eq!(
            key.modified,
            START.after(Duration::from_micros(if told { number as u64 + 1 } else { 5 }))
        );
        let change = if from == key.name {
            Change::KeySet(key.clone())
        } else {
            Change::KeyRenamed { from: from.to_owned(), key: key.clone() }
        };
        assert_eq!(fixture.log.take(), if told { vec![(pin.clone(), change)] } else { vec![] });
        fixture.reopen();
        assert_eq!(wait(fixture.store().keys(&pin)), Ok(vec![key]));
        if from != expected.0 {
            assert_eq!(wait(fixture.store().key(&pin, from)), Err(Refused::UnknownKey));
        }
    }
}

pub fn a_rename_onto_another_key_changes_nothing<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "one", "1").unwrap();
    fixture.create(&pin, "two", "2").unwrap();
    fixture.log.take();
    assert_eq!(fixture.update(&pin, "one", Some("two"), Some("3")), Err(Refused::KeyExists));
    assert_eq!(fixture.log.take(), []);
    fixture.reopen();
    fixture.check_list(&pin, &[("one", "1"), ("two", "2")]);
}

pub fn lists_keys_in_the_order_of_creation<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    for name in ["z", "m", "a", "k"] {
        fixture.create(&pin, name, "").unwrap();
    }
    fixture.update(&pin, "z", Some("y"), None).unwrap();
    fixture.update(&pin, "a", None, Some("!")).unwrap();
    wait(fixture.store().delete_key(&pin, "m")).unwrap();
    fixture.create(&pin, "m", "again").unwrap();
    for _ in 0..2 {
        fixture.check_list(&pin, &[("y", ""), ("a", "!"), ("k", ""), ("m", "again")]);
        fixture.reopen();
    }
}

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
    wait(fixture.store().delete_cluster(&pin)).unwrap();
    fixture.pin();
    fixture.clock.advance(LIFETIME);
    let last = fixture.pin();
    while wait(fixture.store().sweep()).unwrap().is_some_and(|next| next <= fixture.clock.now()) {}
    wait(fixture.store().delete_cluster(&last)).unwrap();
    assert_eq!(fixture.store().stats().bytes, 0);
}

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

/// Reads what it is told of.
struct Reader {
    store: OnceLock<Weak<Store>>,
    log: Log,
    /// Behind a shared journal a read waits for what the store takes in, and so for the observer.
    reads: bool,
}

impl Observer for Reader {
    fn changed(&self, pin: &Pin, change: &Change) {
        if !self.reads {
            return self.log.changed(pin, change);
        }
        let store = self.store.get().unwrap().upgrade().unwrap();
        let read = |name: &str| wait(store.key(pin, name));
        match change {
            Change::KeySet(key) => assert_eq!(read(&key.name).as_ref(), Ok(key)),
            Change::KeyRenamed { from, key } => {
                assert_eq!(read(&key.name).as_ref(), Ok(key));
                assert_eq!(read(from), Err(Refused::UnknownKey));
            }
            Change::KeyDeleted(key) => assert_eq!(read(&key.name), Err(Refused::UnknownKey)),
            Change::NodeSet { node, .. } => {
                assert_eq!(wait(store.nodes(pin, None)).unwrap().nodes.first(), Some(node));
            }
            Change::NodeDeleted { .. } => assert_eq!(wait(store.nodes(pin, None)).unwrap().nodes, []),
            Change::Deleted | Change::Expired => assert_eq!(read("k"), Err(Refused::UnknownPin)),
        }
        self.log.changed(pin, change);
    }
}

pub fn tells_every_change_in_order_after_it_can_be_read<B: Backend>() {
    let (place, clock) = (B::default(), Arc::new(ManualClock::at(START)));
    let reader = Arc::new(Reader { store: OnceLock::new(), log: Log::default(), reads: !B::SHARED });
    let store = Arc::new(place.open(Limits::default(), clock.clone(), reader.clone()));
    reader.store.set(Arc::downgrade(&store)).unwrap();

    let pin = &wait(store.create_cluster()).unwrap().pin;
    let set = wait(store.create_key(pin, "k", "1")).unwrap();
    let changed = wait(store.update_key(pin, "k", Update { name: None, value: Some("2".into()) })).unwrap();
    let renamed = wait(store.update_key(pin, "k", Update { name: Some("l".into()), value: None })).unwrap();
    wait(store.delete_key(pin, "l")).unwrap();
    wait(store.put_node(pin, "n", "v1.x".to_owned(), NodeClass::Sealed, None)).unwrap();
    let listing = wait(store.nodes(pin, None)).unwrap();
    let (node, counts) = (listing.nodes[0].clone(), listing.counts);
    wait(store.delete_node(pin, "n")).unwrap();
    wait(store.delete_cluster(pin)).unwrap();
    let due = &wait(store.create_cluster()).unwrap().pin;
    clock.set(START.after(LIFETIME));
    assert_eq!(wait(store.cluster(due)), Err(Refused::UnknownPin));
    wait(store.sweep()).unwrap();
    let expected = [
        (pin, Change::KeySet(set)),
        (pin, Change::KeySet(changed)),
        (pin, Change::KeyRenamed { from: "k".to_owned(), key: renamed.clone() }),
        (pin, Change::KeyDeleted(renamed)),
        (pin, Change::NodeSet { node: node.clone(), counts }),
        (pin, Change::NodeDeleted { node, counts: NodeCounts::default() }),
        (pin, Change::Deleted),
        (due, Change::Expired),
    ];
    assert_eq!(reader.log.take(), expected.map(|(pin, change)| (pin.clone(), change)));
}

pub fn tells_the_changes_of_one_pin_in_the_order_of_64_who_write_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    at_once(64, |number| fixture.create(&pin, &number.to_string(), "").unwrap());
    let created = wait(fixture.store().keys(&pin)).unwrap();
    let told: Vec<_> = created.into_iter().map(|key| (pin.clone(), Change::KeySet(key))).collect();
    assert_eq!(fixture.log.take(), told);
    at_once(64, |number| fixture.update(&pin, "0", None, Some(&number.to_string())).unwrap());
    let last = wait(fixture.store().key(&pin, "0")).unwrap();
    assert_eq!(fixture.log.take().pop(), Some((pin, Change::KeySet(last))));
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

pub fn a_write_whose_asker_has_gone_leaves_the_store_whole<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    for round in 0..50 {
        let name = format!("k{round}");
        // Begun, then dropped, as when a client hangs up.
        let mut begun = Box::pin(fixture.store().create_key(&pin, &name, "v"));
        let _ = begun.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(begun);
        let again = fixture.create(&pin, &name, "v");
        assert!(matches!(again, Ok(_) | Err(Refused::KeyExists)), "{again:?}");
    }
    assert_eq!(fixture.list(&pin).unwrap().len(), 50);
}

pub use super::model::behaves_as_its_model;
pub use super::node_suite::*;
