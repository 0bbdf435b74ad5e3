//! An honest client beside the abuse: it writes and reads its keys, and everything it asks for must come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use worlds::api::Api;
use worlds::wait::until;

/// Keys to a pin; then it takes another one.
const KEYS: usize = 100;

/// A client that works until it is told to stop.
pub(crate) struct Honest {
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Honest {
    pub(crate) fn beside(api: Api) -> Self {
        let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (served.clone(), stop.clone());
        let work = move || {
            let mut pin = String::new();
            while !end.load(Ordering::SeqCst) {
                let number = counter.load(Ordering::SeqCst);
                if number.is_multiple_of(KEYS) {
                    pin = api.new_pin();
                }
                let (key, value) = (format!("k{number}"), format!("v{number}"));
                api.create_key(&pin, &key, &value);
                assert_eq!(api.value(&pin, &key), Some(value));
                counter.fetch_add(1, Ordering::SeqCst);
            }
        };
        Self { served, stop, thread: std::thread::spawn(work) }
    }

    /// Waits until it has been served so many more times.
    pub(crate) fn is_served(&self, times: usize) {
        let enough = self.served.load(Ordering::SeqCst) + times;
        until("the honest client is served", || {
            assert!(!self.thread.is_finished(), "the honest client was not served");
            (self.served.load(Ordering::SeqCst) >= enough).then_some(())
        });
    }

    /// How often it was served in all; every time, or this panics.
    pub(crate) fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the honest client was served every time");
        self.served.load(Ordering::SeqCst)
    }
}
