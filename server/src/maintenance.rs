//! `stats` and `purge`: the store of a service that does not run, for example because it cannot start.

use std::path::Path;

use crate::clock::{Clock as _, SystemClock};
use crate::error::Error;
use crate::store::AtRest;
use crate::store::{OfflineStats, Purged};

/// Says how much is in the store of a data directory.
///
/// # Errors
/// There is no store, a service has it open, or it cannot be read.
pub fn stats(data_dir: &Path) -> Result<String, Error> {
    let OfflineStats { pins, keys, nodes, bytes, largest, expired } =
        open(data_dir)?.stats(SystemClock.now())?;
    Ok(format!(
        "pins {pins}, keys {keys}, nodes {nodes}, bytes in memory {bytes}, largest pin {largest}, expired pins {expired}"
    ))
}

/// Deletes the expired pins of a data directory, and those that take more than `larger_than` bytes.
///
/// # Errors
/// There is no store, a service has it open, or it cannot be read or written.
pub fn purge(data_dir: &Path, larger_than: Option<usize>) -> Result<String, Error> {
    let Purged { expired, large } = open(data_dir)?.purge(SystemClock.now(), larger_than)?;
    Ok(format!("deleted {expired} expired and {large} oversized pins"))
}

fn open(data_dir: &Path) -> Result<AtRest, Error> {
    match AtRest::is_there(data_dir) {
        Ok(true) => Ok(AtRest::open(data_dir)?),
        Ok(false) => Err(Error::NoStore { dir: data_dir.to_owned() }),
        Err(err) => Err(Error::file("look into", data_dir, err)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Limits, Store};

    #[tokio::test]
    async fn looks_at_a_store_that_no_service_has_open() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(stats(dir.path()), Err(Error::NoStore { .. })));
        let store = Store::open(dir.path(), Limits::default(), Arc::new(SystemClock), Arc::new(())).unwrap();
        let pin = store.create_cluster().await.unwrap().pin;
        store.create_key(&pin, "k", "v").await.unwrap();
        assert!(stats(dir.path()).unwrap_err().to_string().contains("another process has it open"));
        drop(store);
        assert_eq!(
            stats(dir.path()).unwrap(),
            "pins 1, keys 1, nodes 0, bytes in memory 402, largest pin 402, expired pins 0"
        );
        assert_eq!(purge(dir.path(), None).unwrap(), "deleted 0 expired and 0 oversized pins");
        assert_eq!(purge(dir.path(), Some(100)).unwrap(), "deleted 0 expired and 1 oversized pins");
    }
}
