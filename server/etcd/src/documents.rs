//! Values under names, which several programs share: each is written only over what its writer has seen.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::error::{Error, Failure};
use crate::members::Members;
use crate::start::find;

/// How long a call may take: members are asked one after the other.
const CALL: Duration = Duration::from_secs(5);
/// How long a lock lasts whose holder is gone.
const LOCK: Duration = Duration::from_secs(10);
/// Time between two tries for a lock that another has.
const LOCK_PAUSE: Duration = Duration::from_millis(300);

/// Values under names below a prefix.
#[derive(Clone)]
pub struct Documents {
    members: Arc<Members>,
    prefix: String,
}

/// A value, as it was at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name, without the prefix.
    pub name: String,
    /// What it is.
    pub value: Vec<u8>,
    /// The revision of etcd that wrote it.
    pub revision: i64,
}

/// What has become of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is durable, at this revision.
    Done(i64),
    /// Nothing was written: this is there now, or nothing, or the lock is another's.
    Changed(Option<Document>),
}

/// A lock that this program has. One that is not released ends ten seconds after the program.
pub struct Lock {
    key: String,
    revision: i64,
    lease: i64,
    kept: JoinHandle<()>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.kept.abort();
    }
}

impl Documents {
    /// Finds the cluster, and makes sure that what is below the prefix has this format. A number at the format's end is its
    /// version. Tries for [`Config::timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(config: &Config, format: &'static str) -> Result<Self, Error> {
        Ok(Self { members: find(config, format).await?, prefix: config.prefix.clone() })
    }

    /// A value as it is now; `None`: there is none.
    ///
    /// # Errors
    /// etcd does not answer, or not with a majority.
    pub async fn get(&self, name: &str) -> Result<Option<Document>, Error> {
        let found = self.members.get(deadline(), &self.key(name), None).await;
        let mut found = found.map_err(|failure| self.error(failure))?;
        Ok(found.take_kvs().pop().map(|found| self.document(found)))
    }

    /// All values whose names begin so, as they are now, in the order of their names.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn beginning(&self, name: &str) -> Result<Vec<Document>, Error> {
        let options = GetOptions::new().with_prefix();
        let found = self.members.get(deadline(), &self.key(name), Some(options)).await;
        let mut found = found.map_err(|failure| self.error(failure))?;
        Ok(found.take_kvs().into_iter().map(|found| self.document(found)).collect())
    }

    /// Writes a value over the one of revision `seen`; 0: there was none. With `lock`, only while that is held. No two
    /// values may be alike, so that one whose answer was lost is known when it is sent again.
    ///
    /// # Errors
    /// etcd does not answer, and the value may be written or not; or it has no room.
    pub async fn write(
        &self,
        name: &str,
        value: &[u8],
        seen: i64,
        lock: Option<&Lock>,
    ) -> Result<Written, Error> {
        let key = self.key(name);
        let mut compares = vec![Compare::mod_revision(key.clone(), CompareOp::Equal, seen)];
        compares.extend(
            lock.map(|lock| Compare::mod_revision(lock.key.clone(), CompareOp::Equal, lock.revision)),
        );
        let write = Txn::new()
            .when(compares)
            .and_then([TxnOp::put(key.clone(), value, None)])
            .or_else([TxnOp::get(key, None)]);
        Ok(match self.transact(&write).await? {
            (Some(revision), _) => Written::Done(revision),
            (None, Some(found)) if found.value == value => Written::Done(found.revision),
            (None, found) => Written::Changed(found),
        })
    }

    /// Removes a value. One that is not there is no error.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.transact(&Txn::new().and_then([TxnOp::delete(self.key(name), None)])).await.map(drop)
    }

    /// Waits until this lock is free, and takes it. Says so in the log if it has to wait.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub async fn lock(&self, name: &str) -> Result<Lock, Error> {
        let key = self.key(&format!("locks/{name}"));
        let lease = self.members.lease(deadline(), LOCK).await.map_err(|failure| self.error(failure))?;
        let kept = tokio::spawn(keep(Arc::clone(&self.members), lease));
        let mut lock = Lock { key: key.clone(), revision: 0, lease, kept };
        // The number of the lease tells the holder.
        let (own, leased) = (lease.to_string(), PutOptions::new().with_lease(lease));
        let take = Txn::new()
            .when([Compare::version(key.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.clone(), own.clone(), Some(leased))])
            .or_else([TxnOp::get(key, None)]);
        let mut said = false;
        loop {
            match self.transact(&take).await? {
                (Some(revision), _) => lock.revision = revision,
                (None, Some(held)) if held.value == own.as_bytes() => lock.revision = held.revision,
                _ => {
                    if !std::mem::replace(&mut said, true) {
                        log::info!("another program has the lock {name}: waiting for its end");
                    }
                    sleep(LOCK_PAUSE).await;
                    continue;
                }
            }
            return Ok(lock);
        }
    }

    /// Gives a lock back. If etcd does not answer, it ends by itself.
    pub async fn release(&self, lock: Lock) {
        let lease = lock.lease;
        let revoke =
            |client: Arc<etcd_client::Client>| async move { client.lease_client().revoke(lease).await };
        if let Err(failure) = self.members.call_any(deadline(), revoke).await {
            log::debug!("the lock {} ends by itself: {}", lock.key, failure.text());
        }
    }

    /// The revision if the comparison holds, and what was found.
    async fn transact(&self, transaction: &Txn) -> Result<(Option<i64>, Option<Document>), Error> {
        let done = self.members.txn(deadline(), transaction).await.map_err(|failure| self.error(failure))?;
        if done.succeeded() {
            return Ok((Some(done.header().map_or(0, etcd_client::ResponseHeader::revision)), None));
        }
        let found = done.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(mut found) => found.take_kvs().pop(),
            _ => None,
        });
        Ok((None, found.map(|found| self.document(found))))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn document(&self, found: KeyValue) -> Document {
        let revision = found.mod_revision();
        let (key, value) = found.into_key_value();
        let name = String::from_utf8_lossy(key.get(self.prefix.len()..).unwrap_or_default()).into_owned();
        Document { name, value, revision }
    }

    fn error(&self, failure: Failure) -> Error {
        match self.members.start_error(self.members.current(), &failure) {
            Some(error) => error,
            None if matches!(failure, Failure::NoSpace(_)) => Error::Store(failure.refused()),
            None => Error::Unreachable { seconds: CALL.as_secs(), problems: failure.text().to_owned() },
        }
    }
}

/// Keeps a lease from its end.
async fn keep(members: Arc<Members>, lease: i64) {
    loop {
        sleep(LOCK / 3).await;
        let renew =
            |client: Arc<etcd_client::Client>| async move { client.lease_client().keep_alive(lease).await };
        if let Err(failure) = members.call_any(deadline(), renew).await {
            log::debug!("a lock is not renewed: {}", failure.text());
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + CALL
}
