//! The part of [`Store`] that every store on this machine has in common: reads come from the state, writes go through
//! a batch. What differs is only how a batch becomes durable.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::Pin;

use super::batch::{Batch, Core};
use super::pins::PinKey;
use super::state::{Entry, Look};
use super::{Answer, Census, Cluster, Key, Store, StoreError, Update};
use crate::clock::Timestamp;

/// A store on this machine.
pub(super) trait Local: Send + Sync + 'static {
    fn core(&self) -> &Core;

    /// Does a write in a batch, and answers once the batch is durable and published.
    fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Whether a write would go through now.
    fn writable(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Reads from a cluster. One that is found to be due is buried before the answer says that it is unknown, so that
/// neither a clock that steps back nor a restart brings it to life again.
fn read<'a, T>(
    store: &'a impl Local,
    pin: &Pin,
    read: impl FnOnce(PinKey, &Entry) -> Result<T, StoreError>,
) -> Answer<'a, T> {
    let Some(key) = PinKey::of(pin) else { return Answer::ready(Err(StoreError::UnknownPin)) };
    let core = store.core();
    let now = core.clock.now();
    match core.state.look(key, now, |entry| read(key, entry)) {
        Look::Live(answer) => Answer::ready(answer),
        Look::Unknown => Answer::ready(Err(StoreError::UnknownPin)),
        Look::Expired => {
            let pin = pin.clone();
            Answer::later(async move {
                let bury = move |batch: &mut Batch<'_>| {
                    batch.bury_seen(&pin, now);
                    Ok(())
                };
                store.write(bury).await?;
                Err(StoreError::UnknownPin)
            })
        }
    }
}

impl<L: Local> Store for L {
    fn create_cluster(&self) -> Answer<'_, Cluster> {
        Answer::later(self.write(|batch| batch.create_cluster()))
    }

    fn cluster<'a>(&'a self, pin: &'a Pin) -> Answer<'a, Cluster> {
        read(self, pin, |pin, entry| Ok(entry.cluster(pin)))
    }

    fn delete_cluster<'a>(&'a self, pin: &'a Pin) -> Answer<'a, ()> {
        let pin = pin.clone();
        Answer::later(self.write(move |batch| batch.delete_cluster(&pin)))
    }

    fn keys<'a>(&'a self, pin: &'a Pin) -> Answer<'a, Vec<Arc<Key>>> {
        read(self, pin, |_, entry| Ok(entry.keys.iter().map(|numbered| numbered.key.clone()).collect()))
    }

    fn key<'a>(&'a self, pin: &'a Pin, name: &'a str) -> Answer<'a, Arc<Key>> {
        read(self, pin, |_, entry| entry.key(name).cloned().ok_or(StoreError::UnknownKey))
    }

    fn create_key<'a>(&'a self, pin: &'a Pin, name: &'a str, value: &'a str) -> Answer<'a, Arc<Key>> {
        let (pin, name, value) = (pin.clone(), name.to_owned(), value.to_owned());
        Answer::later(self.write(move |batch| batch.create_key(&pin, name, value)))
    }

    fn update_key<'a>(&'a self, pin: &'a Pin, name: &'a str, update: Update) -> Answer<'a, Arc<Key>> {
        let (pin, name) = (pin.clone(), name.to_owned());
        Answer::later(self.write(move |batch| batch.update_key(&pin, &name, update)))
    }

    fn delete_key<'a>(&'a self, pin: &'a Pin, name: &'a str) -> Answer<'a, ()> {
        let (pin, name) = (pin.clone(), name.to_owned());
        Answer::later(self.write(move |batch| batch.delete_key(&pin, &name)))
    }

    fn sweep(&self) -> Answer<'_, Option<Timestamp>> {
        Answer::later(self.write(|batch| Ok(batch.sweep())))
    }

    fn census(&self) -> Census {
        let core = self.core();
        let (pins, keys) = core.state.population();
        Census { pins, keys, commits: core.commits.load(Ordering::Relaxed) }
    }

    fn ready(&self) -> Answer<'_, ()> {
        Answer::later(self.writable())
    }
}
