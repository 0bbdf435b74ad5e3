//! What a batch does to the nodes of a cluster.

use std::sync::Arc;

use protocol::Pin;

use super::Batch;
use crate::Refused;
use crate::store::nodes::{NODE_BYTES, Node, NodeChanges, NodeClass, NumberedNode};
use crate::store::pins::PinKey;
use crate::store::record::Record;
use crate::store::{Change, Charge};

impl Batch<'_> {
    pub(super) fn put_node(
        &mut self,
        pin: &Pin,
        id: &str,
        report: &str,
        class: NodeClass,
        charge: Option<&Charge>,
    ) -> Result<(), Refused> {
        let owner = self.live_pin(pin)?;
        let limits = self.shared.limits;
        let node = Arc::new(Node { id: id.into(), report: report.into(), class, reported: self.now });
        let before = self.node(owner, id);
        let mut size = self.node_changes(owner).size;
        let memory = size.memory();
        if let Some(before) = &before {
            size.remove(&before.node);
        }
        size.add(&node);
        // What a limit would refuse today may be there already, and then it may still say how it is.
        if before.is_none() && size.counts.total() > limits.nodes_per_pin {
            return Err(Refused::TooManyNodes);
        }
        if size.bytes > limits.node_bytes_per_pin {
            return Err(Refused::TooManyNodeBytes);
        }
        if size.memory() > memory {
            self.check_memory(size.memory() - memory)?;
        }
        self.memory = self.memory + size.memory() - memory;
        let record = before.map_or(self.changes.next_id, |before| before.record);
        self.changes.next_id += u64::from(record == self.changes.next_id);
        self.changes.records.insert(record, Some(Record::Node { pin: owner, node: node.clone() }));
        self.changes.events.push((pin.clone(), Change::NodeSet { node: node.clone(), counts: size.counts }));
        let changes = self.node_changes(owner);
        changes.size = size;
        changes.set.insert(id.into(), Some(NumberedNode { record, node, charge: charge.cloned() }));
        Ok(())
    }

    pub(super) fn delete_node(&mut self, pin: &Pin, id: &str) -> Result<(), Refused> {
        let owner = self.live_pin(pin)?;
        let NumberedNode { record, node, .. } = self.node(owner, id).ok_or(Refused::UnknownNode)?;
        self.memory -= NODE_BYTES + node.bytes();
        let changes = self.node_changes(owner);
        changes.size.remove(&node);
        changes.set.insert(id.into(), None);
        let counts = changes.size.counts;
        self.changes.records.insert(record, None);
        self.changes.events.push((pin.clone(), Change::NodeDeleted { node, counts }));
        Ok(())
    }

    /// A node as the batch has left it.
    fn node(&self, pin: PinKey, id: &str) -> Option<NumberedNode> {
        match self.changes.nodes.get(&pin).and_then(|changes| changes.set.get(id)) {
            Some(changed) => changed.clone(),
            None => self.shared.state.read_nodes(pin, |nodes| nodes.get(id).cloned()).flatten(),
        }
    }

    /// What the batch has changed of a cluster's nodes.
    pub(super) fn node_changes(&mut self, pin: PinKey) -> &mut NodeChanges {
        let state = &self.shared.state;
        self.changes.nodes.entry(pin).or_insert_with(|| {
            let size = state.read_nodes(pin, |nodes| nodes.size()).unwrap_or_default();
            NodeChanges { size, ..NodeChanges::default() }
        })
    }
}
