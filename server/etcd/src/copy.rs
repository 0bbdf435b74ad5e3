//! Copies of a store: out of etcd and into it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, Txn, TxnOp};
use pairing_core::clock::Timestamp;
use pairing_core::store::NumberedKey;
use pairing_core::store::copy::WholeCluster;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::{Error, Failure};
use crate::layout::{ClusterRecord, FORMAT, Layout, TransactionId, encode_head, encode_node};
use crate::load::{LoadError, Pages};
use crate::members::Members;
use crate::start::find;
use crate::transaction::{leased, put};

/// Operations of one transaction: etcd takes 128.
const OPERATIONS: usize = 100;
/// Bytes of one transaction: etcd takes 1.5 MiB.
const BYTES: usize = 1 << 20;
/// Transactions that are under way at a time.
const CONCURRENCY: usize = 8;
/// How long a transaction may take, with all members that are asked.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pins that expire within this time of each other share a lease.
const LEASE_SHARED: u64 = 60 * 60;
/// A pin is deleted by etcd itself so long after it has expired.
const LEASE_MARGIN: u64 = 60 * 60;

/// Reads the store in an etcd cluster as it is at one moment.
///
/// # Errors
/// etcd cannot be used or fails, a record is damaged, or what `take` says.
pub async fn export<E: From<Error>>(
    config: &Config,
    mut take: impl FnMut(WholeCluster) -> Result<(), E>,
) -> Result<(), E> {
    let members = find(config, FORMAT).await?;
    let layout = Layout::new(&config.prefix);
    let mut pages = Pages::new(&members, &layout);
    loop {
        let page = pages.next().await.map_err(|err| match err {
            LoadError::Etcd(failure) => Error::Store(failure.refused()),
            LoadError::Store(err) => err,
        })?;
        let Some(page) = page else { return Ok(()) };
        for cluster in page {
            take(WholeCluster {
                pin: cluster.pin,
                created: cluster.record.created,
                expires: cluster.record.expires,
                keys: cluster.keys.into_iter().map(|numbered| numbered.key).collect(),
                nodes: cluster.nodes,
            })?;
        }
    }
}

/// A store in an etcd cluster in the making.
pub struct Import {
    members: Arc<Members>,
    layout: Layout,
    now: Timestamp,
    operations: Vec<TxnOp>,
    bytes: usize,
    under_way: JoinSet<Result<(), Failure>>,
    /// By the hour at which the pins expire.
    leases: HashMap<u64, i64>,
}

impl Import {
    /// Begins below a prefix where no pin is.
    ///
    /// # Errors
    /// etcd cannot be used, or there are pins.
    pub async fn begin(config: &Config, now: Timestamp) -> Result<Self, Error> {
        let members = find(config, FORMAT).await?;
        let layout = Layout::new(&config.prefix);
        let (first, end) = layout.clusters();
        let any = GetOptions::new().with_range(end).with_limit(1).with_keys_only();
        let found = members.get(Instant::now() + TIMEOUT, &first, Some(any)).await.map_err(failed)?;
        if !found.kvs().is_empty() {
            return Err(Error::NotEmpty { prefix: config.prefix.clone() });
        }
        let (operations, under_way, leases) = (Vec::new(), JoinSet::new(), HashMap::new());
        Ok(Self { members, layout, now, operations, bytes: 0, under_way, leases })
    }

    /// Adds a cluster.
    ///
    /// # Errors
    /// etcd does not take it.
    pub async fn add(&mut self, cluster: &WholeCluster) -> Result<(), Error> {
        let lease = self.lease(cluster.expires).await?;
        let pin = cluster.pin;
        let keys: Vec<_> = (0..)
            .zip(&cluster.keys)
            .map(|(id, key)| NumberedKey { id, key: key.clone(), charge: None })
            .collect();
        let next_id = keys.len() as u64;
        let record = ClusterRecord { created: cluster.created, expires: cluster.expires, next_id };
        let sizes =
            [100].into_iter().chain(cluster.keys.iter().map(|key| 100 + key.name.len() + key.value.len()));
        let keys: Vec<_> = keys.iter().collect();
        let mut operations: Vec<_> =
            put(&self.layout, pin, record, &keys, &[], lease).into_iter().zip(sizes).collect();
        operations.extend(cluster.nodes.iter().map(|node| {
            let put = TxnOp::put(self.layout.node(pin, &node.id), encode_node(node), leased(lease));
            (put, 200 + node.report.len())
        }));
        if self.operations.len() + operations.len() > OPERATIONS {
            self.flush().await?;
        }
        for (operation, size) in operations {
            if self.operations.len() == OPERATIONS || self.bytes + size > BYTES {
                self.flush().await?;
            }
            self.operations.push(operation);
            self.bytes += size;
        }
        Ok(())
    }

    /// Has everything in etcd.
    ///
    /// # Errors
    /// etcd does not take it.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.flush().await?;
        while !self.under_way.is_empty() {
            self.wait().await?;
        }
        // Servers that have begun to watch meanwhile read no further back than this.
        let head = encode_head(&TransactionId::default(), &[]);
        self.operations.push(TxnOp::put(self.layout.head(), head, None));
        self.flush().await?;
        self.wait().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.operations.is_empty() {
            return Ok(());
        }
        if self.under_way.len() == CONCURRENCY {
            self.wait().await?;
        }
        // Each key is written once, so sending a transaction again changes nothing.
        let txn = Txn::new().and_then(std::mem::take(&mut self.operations));
        self.bytes = 0;
        let members = self.members.clone();
        self.under_way.spawn(async move { members.txn(Instant::now() + TIMEOUT, &txn).await.map(drop) });
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        match self.under_way.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(failure))) => Err(failed(failure)),
            Some(Err(err)) => Err(failed(Failure::Final(err.to_string()))),
        }
    }

    async fn lease(&mut self, expires: Timestamp) -> Result<i64, Error> {
        let hour = expires.0 / 1_000_000 / LEASE_SHARED;
        if let Some(lease) = self.leases.get(&hour) {
            return Ok(*lease);
        }
        let end = Timestamp(((hour + 1) * LEASE_SHARED + LEASE_MARGIN) * 1_000_000);
        let lease =
            self.members.lease(Instant::now() + TIMEOUT, end.since(self.now)).await.map_err(failed)?;
        self.leases.insert(hour, lease);
        Ok(lease)
    }
}

fn failed(failure: Failure) -> Error {
    Error::Store(failure.refused())
}
