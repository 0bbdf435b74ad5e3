//! The promises as tests: one suite, run over every journal.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, also where another crate runs them"
)]

mod changes;
mod expiry;
mod keys;
mod limits;
mod nodes;

use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use protocol::Pin;

use super::{BatchLimits, Change, Key, Limits, Observer, Store, Update};
use crate::Refused;
use crate::clock::{Clock, ManualClock, Timestamp};

pub use super::model::behaves_as_its_model;
pub use changes::*;
pub use expiry::*;
pub use keys::*;
pub use limits::*;
pub use nodes::*;

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

/// Waits for an answer, also in an observer.
pub fn wait<T>(answer: impl Future<Output = T>) -> T {
    super::block_on::block_on(answer)
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
