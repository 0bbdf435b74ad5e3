//! What a batch removes without being told which: clusters that have expired, and unused ones when it gets tight.

use std::time::Duration;

use protocol::Pin;

use super::Batch;
use crate::clock::Timestamp;
use crate::store::Change;
use crate::store::pins::PinKey;
use crate::store::shared::{MARK_AHEAD, sweep_time};
use crate::store::state::{Entry, Lookup};
use crate::store::types::Id;

/// Most records of clusters that were not loaded which one sweep deletes.
const RECORDS_AT_ONCE: usize = 1000;

/// Most clusters that are looked at to find unused ones, for each that is made.
const LOOKED_AT_ONCE: usize = 64;

/// How long after the start the records of clusters that had expired by then are kept: should the machine's clock have
/// been wrong, the clusters are there again when it is right and the service is started again.
pub(in crate::store) const DOUBTED: Duration = Duration::from_secs(600);

impl Batch<'_> {
    /// Removes a bounded number of clusters that have expired, moves the mark past those that are about to, and says
    /// when there is something to do again.
    pub(super) fn sweep(&mut self) -> Option<Timestamp> {
        let next = self.sweep_once();
        self.shared.plan_sweep(next);
        next
    }

    fn sweep_once(&mut self) -> Option<Timestamp> {
        self.remove_expired();
        if self.remove_unloaded() {
            return Some(self.now);
        }
        let soon = self.now.after(MARK_AHEAD);
        let mark = self.shared.mark();
        let marks = !self.shared.journal_is_shared;
        let last_soon = self.writer.expiring.range(..=(soon, Id::MAX)).next_back();
        if let Some(((expires, _), _)) = last_soon.filter(|((expires, _), _)| marks && *expires > mark) {
            self.changes.mark = Some(*expires);
        }
        let mark = self.changes.mark.unwrap_or(mark);
        let stays = |pin: &PinKey| !matches!(self.changes.clusters.get(pin), Some(None));
        let old = self.writer.expiring.iter().find(|(_, pin)| stays(pin)).map(|((expires, _), _)| *expires);
        let new = self.changes.clusters.values().flatten().map(|entry| entry.expires).min();
        let next = old.into_iter().chain(new).min()?;
        Some(if marks { sweep_time(next, mark) } else { next })
    }

    pub(super) fn remove_if_expired(&mut self, pin: &Pin) {
        let now = self.now;
        if self.cluster(pin).is_some_and(|entry| entry.expires <= now) {
            self.remove(pin, Change::Expired);
        }
    }

    /// Deletes some records of clusters that had expired when the store was opened. Says whether there are more.
    fn remove_unloaded(&mut self) -> bool {
        // A clock that was wrong at the start has been set by then, and the service been started again.
        if self.writer.unloaded.is_empty() || !self.shared.clock.has_run(DOUBTED) {
            return false;
        }
        let left = self.writer.unloaded.len().saturating_sub(RECORDS_AT_ONCE);
        let deleted = self.writer.unloaded[left..].iter().map(|id| (*id, None));
        self.changes.records.extend(deleted);
        self.changes.unloaded = Some(left);
        left > 0
    }

    pub(super) fn remove_expired(&mut self) {
        let expired: Vec<PinKey> = self
            .writer
            .expiring
            .iter()
            .take_while(|((expires, _), _)| *expires <= self.now)
            .map(|(_, pin)| *pin)
            .filter(|pin| !matches!(self.changes.clusters.get(pin), Some(None)))
            .take(self.shared.batch.swept.min(self.may_remove()))
            .collect();
        for pin in expired {
            self.removed += 1;
            self.remove_if_expired(&pin.pin());
        }
    }

    /// How many clusters this batch may still remove besides those that its operations delete.
    fn may_remove(&self) -> usize {
        self.shared.batch.removed.saturating_sub(self.removed)
    }

    /// Removes clusters that have had neither key nor node for [`crate::store::Limits::unused_lifetime`], so that pins which were
    /// made to fill the store do not keep others out for a day. Looks at some clusters only, the oldest first, and goes
    /// on there the next time.
    pub(super) fn remove_unused(&mut self) {
        let (limits, now) = (self.shared.limits, self.now);
        let is_old = |created: Timestamp| now.since(created) >= limits.unused_lifetime;
        let looked_at_most = LOOKED_AT_ONCE.min(self.may_remove());
        let looked_at: Vec<_> = (self.writer.expiring)
            .range(self.writer.unused_from.unwrap_or((Timestamp(0), 0))..)
            .take(looked_at_most)
            .take_while(|((expires, _), _)| is_old(expires.before(limits.lifetime)))
            .map(|(at, pin)| (*at, *pin))
            .collect();
        self.writer.unused_from = match looked_at.last() {
            Some(&((expires, id), _)) if looked_at.len() == looked_at_most => Some((expires, id + 1)),
            _ => None,
        };
        for (_, pin) in looked_at {
            let is_unused = |entry: &Entry| entry.keys.is_empty() && is_old(entry.created);
            let unused = match self.changes.clusters.get(&pin) {
                Some(changed) => changed.as_ref().is_some_and(is_unused),
                None => matches!(self.shared.state.read(pin, self.now, is_unused), Lookup::Live(true)),
            };
            if unused && self.node_changes(pin).size.counts.total() == 0 {
                let pin = pin.pin();
                self.removed += 1;
                self.cluster(&pin);
                self.remove(&pin, Change::Expired);
            }
        }
    }
}
