//! The service: what it takes to answer, the connections it has room for, the waits it holds, and what is on the disk.

use std::collections::VecDeque;

use crate::agent::Key;
use crate::cpu::Cpu;
use crate::inputs::{self, Inputs};
use crate::scenario::Setup;
use crate::time::Micros;

/// The state of a service.
#[derive(Debug)]
pub(crate) struct Service {
    setup: Setup,
    /// Its CPU.
    pub(crate) cpu: Cpu,
    /// Whether it listens.
    pub(crate) listens: bool,
    /// Which life it is in: connections of an earlier one are dead.
    pub(crate) life: u8,
    /// When each connection of the backlog will be taken off it.
    backlog: VecDeque<Micros>,
    connections: usize,
    /// When each of those will be gone who are being told that there is no room.
    apologies: VecDeque<Micros>,
    waiters: usize,
    clusters: Vec<Cluster>,
    /// Writes that wait for the commit under way to end.
    queued: VecDeque<Write>,
    /// Writes of the commit under way.
    committing: Vec<Write>,
}

/// A pin.
#[derive(Debug, Clone, Default)]
struct Cluster {
    has_ip: bool,
    has_ready: bool,
    /// Those who wait for `master_ready`, and in which of their attempts. Who has left is found out when they are woken.
    waiting: Vec<Caller>,
    waiters: usize,
}

/// A VM in one of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) vm: u32,
    pub(crate) attempt: u32,
}

/// A key that is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) caller: Caller,
    pub(crate) cluster: usize,
    pub(crate) key: Key,
}

/// The decision on a connection that is taken off the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It has a place.
    Place,
    /// It is told that there is no room.
    Apology,
    /// It is closed.
    Closed,
}

impl Service {
    /// A cluster without keys.
    pub(crate) fn new(setup: Setup, clusters: usize) -> Self {
        Self {
            setup,
            cpu: Cpu::new(setup.cores),
            listens: true,
            life: 0,
            backlog: VecDeque::new(),
            connections: 0,
            apologies: VecDeque::new(),
            waiters: 0,
            clusters: vec![Cluster::default(); clusters],
            queued: VecDeque::new(),
            committing: Vec::new(),
        }
    }

    /// A SYN: when its connection will be accepted, or `None` when the backlog is full.
    pub(crate) fn connect(&mut self, now: Micros, inputs: &Inputs) -> Option<Micros> {
        leave(&mut self.backlog, now);
        if self.backlog.len() >= inputs::BACKLOG {
            return None;
        }
        let accepted = self.cpu.work(now, inputs.accept.nanoseconds());
        self.backlog.push_back(accepted);
        Some(accepted)
    }

    /// A connection is taken off the backlog.
    pub(crate) fn admit(&mut self, now: Micros) -> Admission {
        if self.connections < self.setup.connections {
            self.connections += 1;
            return Admission::Place;
        }
        leave(&mut self.apologies, now);
        if self.apologies.len() < inputs::MAX_REJECTIONS { Admission::Apology } else { Admission::Closed }
    }

    /// A connection is rejected; the rejection lasts until this time.
    pub(crate) fn reject(&mut self, until: Micros) {
        self.apologies.push_back(until);
    }

    /// A connection ends.
    pub(crate) fn close(&mut self) {
        self.connections = self.connections.checked_sub(1).expect("it was open");
    }

    /// How many VMs wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters
    }

    /// How many there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, cluster: usize, key: Key) -> bool {
        let cluster = &self.clusters[cluster];
        match key {
            Key::MasterIp => cluster.has_ip,
            Key::MasterReady => cluster.has_ready,
        }
    }

    /// Holds a wait for `master_ready`; false when there are too many.
    pub(crate) fn park(&mut self, cluster: usize, caller: Caller) -> bool {
        let cluster = &mut self.clusters[cluster];
        if self.waiters >= self.setup.waiters() || cluster.waiters >= self.setup.waiters_per_pin {
            return false;
        }
        self.waiters += 1;
        cluster.waiters += 1;
        cluster.waiting.push(caller);
        true
    }

    /// Removes a wait.
    pub(crate) fn unpark(&mut self, cluster: usize) {
        self.waiters = self.waiters.checked_sub(1).expect("a wait is held");
        self.clusters[cluster].waiters -= 1;
    }

    /// Forgets those whose wait is over, so that the list does not grow with every wait.
    pub(crate) fn tidy(&mut self, cluster: usize, waits: impl Fn(&Caller) -> bool) {
        let cluster = &mut self.clusters[cluster];
        if cluster.waiting.len() > 2 * cluster.waiters + 64 {
            cluster.waiting.retain(waits);
        }
    }

    /// Queues a write; when a commit begins with it, its end.
    pub(crate) fn write(&mut self, now: Micros, write: Write, inputs: &Inputs) -> Option<Micros> {
        self.queued.push_back(write);
        if self.committing.is_empty() { self.commit(now, inputs) } else { None }
    }

    /// Begins a commit with what is queued, and says when it ends; `None` when nothing is.
    pub(crate) fn commit(&mut self, now: Micros, inputs: &Inputs) -> Option<Micros> {
        let size = self.queued.len().min(inputs::BATCH);
        self.committing = self.queued.drain(..size).collect();
        (size > 0).then(|| now + inputs.commit(size))
    }

    /// The writes of the commit that has ended.
    pub(crate) fn committed(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.committing)
    }

    /// A key becomes visible: whether it was not there before, and who waited for it.
    pub(crate) fn publish(&mut self, cluster: usize, key: Key) -> (bool, Vec<Caller>) {
        let cluster = &mut self.clusters[cluster];
        match key {
            Key::MasterIp => (!std::mem::replace(&mut cluster.has_ip, true), Vec::new()),
            Key::MasterReady => {
                let new = !std::mem::replace(&mut cluster.has_ready, true);
                (new, std::mem::take(&mut cluster.waiting))
            }
        }
    }

    /// The process ends and all connections close. Returns the callers that waited, and those whose writes were not committed
    /// yet: they were not acknowledged, and come again.
    pub(crate) fn end(&mut self) -> (Vec<Caller>, Vec<Caller>) {
        self.listens = false;
        self.life += 1;
        self.backlog.clear();
        self.apologies.clear();
        self.connections = 0;
        self.waiters = 0;
        let writing = self.committing.drain(..).chain(self.queued.drain(..));
        let writing = writing.map(|write| write.caller).collect();
        let mut waiting = Vec::new();
        for cluster in &mut self.clusters {
            cluster.waiters = 0;
            waiting.append(&mut cluster.waiting);
        }
        (waiting, writing)
    }
}

/// Takes those off a queue whose time has come.
fn leave(queue: &mut VecDeque<Micros>, now: Micros) {
    while queue.front().is_some_and(|at| *at <= now) {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn caller(vm: u32) -> Caller {
        Caller { vm, attempt: 0 }
    }

    #[test]
    fn keeps_a_backlog_and_drops_what_does_not_fit() {
        let inputs = Inputs::default();
        let mut service = Service::new(Setup::default(), 1);
        let taken = (0..5000).filter(|_| service.connect(0, &inputs).is_some()).count();
        assert_eq!(taken, inputs::BACKLOG);
        // A second later all of them have been accepted: 4096 times 62 µs are 254 ms.
        assert!(service.connect(SECOND, &inputs).is_some());
    }

    #[test]
    fn has_room_for_so_many() {
        let setup = Setup { connections: 10, ..Setup::default() };
        let mut service = Service::new(setup, 2);
        let placed = (0..20).filter(|_| service.admit(0) == Admission::Place).count();
        assert_eq!((placed, service.admit(0)), (10, Admission::Apology));
        (0..inputs::MAX_REJECTIONS).for_each(|_| service.reject(5));
        assert_eq!((service.admit(0), service.admit(5)), (Admission::Closed, Admission::Apology));
        service.close();
        assert_eq!(service.admit(5), Admission::Place);
        assert_eq!((0..10).filter(|vm| service.park(0, caller(*vm))).count(), 9);
        service.unpark(0);
        assert!(service.park(1, caller(9)));
        let setup = Setup { waiters_per_pin: 20_000, ..Setup::raised(100_000, false) };
        let mut service = Service::new(setup, 2);
        assert_eq!((0..30_000).filter(|vm| service.park(0, caller(*vm))).count(), 20_000);
        assert!(service.park(1, caller(0)));
    }

    #[test]
    fn commits_what_came_meanwhile_together() {
        let inputs = Inputs::default();
        let mut service = Service::new(Setup::default(), 3000);
        let write = |cluster| Write { caller: caller(0), cluster, key: Key::MasterIp };
        let mut end = service.write(0, write(0), &inputs);
        assert_eq!(end, Some(250));
        for cluster in 1..2000 {
            assert_eq!(service.write(0, write(cluster), &inputs), None);
        }
        let mut sizes = Vec::new();
        while let Some(at) = end {
            sizes.push(service.committed().len());
            end = service.commit(at, &inputs);
        }
        assert_eq!(sizes, [1, 1024, 975]);
    }

    #[test]
    fn makes_a_key_once_and_names_those_who_waited() {
        let mut service = Service::new(Setup::default(), 1);
        assert!(service.park(0, caller(7)));
        assert_eq!(service.publish(0, Key::MasterReady), (true, vec![caller(7)]));
        assert_eq!(service.publish(0, Key::MasterReady), (false, vec![]));
        assert!(service.has(0, Key::MasterReady) && !service.has(0, Key::MasterIp));
    }
}
