//! Which cluster a token stands for: that under which VMs without the agent get the slaves' context.
//!
//! A token is derived from the pin, and the pin cannot be had from it: its holder reads one context, and changes
//! nothing. Only clusters that have a context for slaves are in the index.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pairing_core::store::{Change, Observer, Store};
use protocol::Pin;
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};

use crate::hub::Hub;
use crate::progress::Progress;

/// The key whose value is the context of slaves without the agent.
pub(crate) const SLAVE_CONTEXT: &str = "slave_context";
/// What the path of a context begins with.
pub(crate) const PATH: &str = "/c/";
/// Letters and digits of a token: hexadecimal, 128 bits.
pub(crate) const TOKEN_LENGTH: usize = 32;

const SALT: &[u8] = b"cernvm-cluster slave context v1";
/// A pin has 62 bits. So many rounds put the search for the pin of a token beyond reach for the day that a pin lives,
/// and take a third of a millisecond.
const ROUNDS: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

/// The token of a pin.
pub(crate) fn token(pin: &Pin) -> String {
    let mut bytes = [0; TOKEN_LENGTH / 2];
    derive(PBKDF2_HMAC_SHA256, ROUNDS, SALT, pin.reveal().as_bytes(), &mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text has the form of a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The clusters that have a context for slaves.
#[derive(Default)]
pub(crate) struct SlaveContexts(Mutex<TokenIndex>);

#[derive(Default)]
struct TokenIndex {
    pins: HashMap<String, Pin>,
    tokens: HashMap<Pin, String>,
}

impl SlaveContexts {
    /// The cluster of a token.
    pub(crate) fn pin(&self, token: &str) -> Option<Pin> {
        self.index().pins.get(token).cloned()
    }

    /// Takes in what a store has that was there before it told of changes.
    pub(crate) fn load(&self, store: &Store) {
        for pin in store.pins_with_key(SLAVE_CONTEXT) {
            self.add(&pin);
        }
    }

    fn add(&self, pin: &Pin) {
        if self.index().tokens.contains_key(pin) {
            return;
        }
        let token = token(pin);
        let mut index = self.index();
        index.pins.insert(token.clone(), pin.clone());
        index.tokens.insert(pin.clone(), token);
    }

    fn remove(&self, pin: &Pin) {
        let mut index = self.index();
        if let Some(token) = index.tokens.remove(pin) {
            index.pins.remove(&token);
        }
    }

    fn index(&self) -> MutexGuard<'_, TokenIndex> {
        // Nothing that is done under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store tells of its changes: the index, then the hub.
pub(crate) struct Observers {
    pub(crate) slave_contexts: Arc<SlaveContexts>,
    pub(crate) hub: Arc<Hub>,
    /// How far the store is loaded; `None` once it is.
    loading: Mutex<Option<Progress>>,
}

impl Observers {
    /// For a store that is about to be loaded.
    pub(crate) fn new(slave_contexts: Arc<SlaveContexts>, hub: Arc<Hub>) -> Self {
        Self { slave_contexts, hub, loading: Mutex::new(Some(Progress::new("loading the store: records"))) }
    }

    /// Says no more of the load.
    pub(crate) fn end_loading(&self) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Observer for Observers {
    fn loading(&self, records: u64) {
        if let Some(progress) = self.loading.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            progress.reach(records);
        }
    }

    fn changed(&self, pin: &Pin, change: &Change) {
        match change {
            Change::KeySet(key) if key.name == SLAVE_CONTEXT => self.slave_contexts.add(pin),
            Change::KeyRenamed { from, key } => {
                if key.name == SLAVE_CONTEXT {
                    self.slave_contexts.add(pin);
                } else if from == SLAVE_CONTEXT {
                    self.slave_contexts.remove(pin);
                }
            }
            Change::KeyDeleted(key) if key.name == SLAVE_CONTEXT => self.slave_contexts.remove(pin),
            Change::Deleted | Change::Expired => self.slave_contexts.remove(pin),
            _ => {}
        }
        self.hub.changed(pin, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::{Limits, Update};

    /// Python: `hashlib.pbkdf2_hmac("sha256", b"enico1qq0oey", b"cernvm-cluster slave context v1", 1000, 16).hex()`
    const TOKEN: &str = "a03c5068027abfb91aaf8c337e1cc909";

    #[test]
    fn derives_the_token_as_the_documentation_does() {
        let made = token(&Pin::parse("enico1qq0oey").unwrap());
        assert!(made == TOKEN && is_token(&made), "{made}");
        assert!(!is_token("") && !is_token(&TOKEN.to_uppercase()) && !is_token(&TOKEN[1..]));
    }

    #[tokio::test]
    async fn knows_the_clusters_that_have_a_context_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let slave_contexts = Arc::new(SlaveContexts::default());
            let (hub, _) = Hub::new(10);
            let observers = Arc::new(Observers::new(slave_contexts.clone(), hub));
            let store = Store::open(dir.path(), Limits::default(), Arc::new(SystemClock), observers).unwrap();
            slave_contexts.load(&store);
            (store, slave_contexts)
        };
        let (store, known) = open();
        let pin = store.create_cluster().await.unwrap().pin;
        let token = token(&pin);
        store.create_key(&pin, "other", "x").await.unwrap();
        assert_eq!(known.pin(&token), None);
        store.create_key(&pin, SLAVE_CONTEXT, "x").await.unwrap();
        assert_eq!(known.pin(&token), Some(pin.clone()));
        let rename = |name: &str| Update { name: Some(name.to_owned()), value: None };
        store.update_key(&pin, SLAVE_CONTEXT, rename("away")).await.unwrap();
        assert_eq!(known.pin(&token), None);
        store.update_key(&pin, "away", rename(SLAVE_CONTEXT)).await.unwrap();
        assert_eq!(known.pin(&token), Some(pin.clone()));
        drop((store, known));

        // What was there at the start is known too.
        let (store, known) = open();
        assert_eq!(known.pin(&token), Some(pin.clone()));
        store.delete_key(&pin, SLAVE_CONTEXT).await.unwrap();
        assert_eq!(known.pin(&token), None);
        store.create_key(&pin, SLAVE_CONTEXT, "x").await.unwrap();
        store.delete_cluster(&pin).await.unwrap();
        assert_eq!(known.pin(&token), None);
    }
}
