//! The transaction that a batch becomes.

use std::collections::{HashMap, HashSet};

use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp};
use pairing_core::store::{Changes, ClusterChange, Id, NumberedKey, PinKey};

use crate::layout::{ClusterRecord, Layout, TransactionId, encode_head, encode_key, encode_node};
use crate::load::ClusterVersion;

/// Builds the transaction of a batch.
///
/// It compares each cluster that the batch looked at with what was delivered of it, so that it happens only if nothing has
/// changed what was answered. Without changes it is a linearizable read.
pub(crate) fn transaction(
    layout: &Layout,
    versions: &HashMap<PinKey, ClusterVersion>,
    changes: &Changes,
    id: &TransactionId,
    new_lease: i64,
) -> Txn {
    let (mut compares, mut operations, mut expired) = (Vec::new(), Vec::new(), Vec::new());
    let mut compared = HashSet::new();
    let lease_of = |pin| versions.get(&pin).map_or(new_lease, |version| version.lease);
    for (pin, change) in changes.of_clusters() {
        compared.insert(pin);
        let revision = versions.get(&pin).map_or(0, |version| version.revision);
        // One that is not there has revision 0.
        compares.push(Compare::mod_revision(layout.cluster(pin), CompareOp::Equal, revision));
        match change {
            ClusterChange::LookedAt => {}
            ClusterChange::Removed { expired: has_expired } => {
                operations.push(remove(layout, pin));
                expired.extend(has_expired.then_some(pin));
            }
            ClusterChange::Put { entry, set, deleted } => {
                let (created, expires, next_id) = (entry.created, entry.expires, changes.next_id());
                let record = ClusterRecord { created, expires, next_id };
                operations.extend(put(layout, pin, record, &set, &deleted, lease_of(pin)));
            }
        }
    }
    for (pin, id, node) in changes.nodes() {
        if compared.insert(pin) {
            compares.push(Compare::version(layout.cluster(pin), CompareOp::Greater, 0));
        }
        let key = layout.node(pin, id);
        operations.push(match node {
            Some(node) => TxnOp::put(key, encode_node(node), leased(lease_of(pin))),
            None => TxnOp::delete(key, None),
        });
    }
    if !operations.is_empty() || changes.is_probe() {
        operations.push(TxnOp::put(layout.head(), encode_head(id, &expired), None));
    }
    Txn::new().when(compares).and_then(operations).or_else([TxnOp::get(layout.head(), None)])
}

/// Writes a cluster, and some of its keys.
pub(crate) fn put(
    layout: &Layout,
    pin: PinKey,
    record: ClusterRecord,
    set: &[&NumberedKey],
    deleted: &[Id],
    lease: i64,
) -> Vec<TxnOp> {
    let record = TxnOp::put(layout.cluster(pin), record.encode(), leased(lease));
    let set = set.iter().map(|key| TxnOp::put(layout.key(pin, key.id), encode_key(&key.key), leased(lease)));
    let deleted = deleted.iter().map(|id| TxnOp::delete(layout.key(pin, *id), None));
    std::iter::once(record).chain(set).chain(deleted).collect()
}

fn remove(layout: &Layout, pin: PinKey) -> TxnOp {
    let all = DeleteOptions::new().with_range(layout.cluster_end(pin));
    TxnOp::delete(layout.cluster(pin), Some(all))
}

pub(crate) fn leased(lease: i64) -> Option<PutOptions> {
    (lease != 0).then(|| PutOptions::new().with_lease(lease))
}
