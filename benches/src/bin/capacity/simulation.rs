//! A run: what happens, one event after the other.

use crate::agent::{Key, Program, Reply, RequestKind, Run, Step, Template};
use crate::events::{Event, EventKind, EventQueue};
use crate::inputs::{self, Inputs, ROUND_TRIP};
use pairing_server::return_times::ReturnTimes;

use crate::scenario::{Kind, Returns, Scenario, Setup};
use crate::service::{Admission, Caller, Service, Write};
use crate::tally::Counters;
use crate::time::{Micros, SECOND};

/// Half the way.
const ONE_WAY: Micros = ROUND_TRIP / 2;

/// A run of a scenario.
#[derive(Debug)]
pub(crate) struct Simulation<'a> {
    inputs: &'a Inputs,
    scenario: &'a Scenario,
    agenda: EventQueue,
    service: Service,
    vms: Vec<Vm>,
    /// When the master of each cluster had booted, by the number of the cluster.
    booted: Vec<Micros>,
    /// When the service was back after its trouble.
    back: Micros,
    template: Template,
    tally: Counters,
    random: fastrand::Rng,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    /// The counters.
    pub(crate) tally: Counters,
    /// How it was for the service.
    pub(crate) service: Service,
    /// How many events it took.
    pub(crate) events: u64,
}

/// A VM, its program and its one connection.
#[derive(Debug)]
struct Vm {
    run: Run,
    cluster: u32,
    /// How many requests came before the one at hand.
    attempt: u32,
    ask: RequestKind,
    /// When it gives the request at hand up.
    deadline: Micros,
    /// When it began to connect.
    knocked: Micros,
    /// When the service accepted its connection.
    accepted: Micros,
    /// In which life of the service its connection was accepted; `None`: it has none.
    open: Option<u8>,
    /// When the connection was last used.
    used: Micros,
    at: Phase,
    /// Whether it has had a TLS session, which it can resume.
    has_session: bool,
}

/// Where a VM's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nowhere, or on the way to a connection.
    Outside,
    /// On a connection, and an event will come for it.
    Inside,
    /// It is held.
    Parked,
    /// Its answer is on the way.
    Answered,
}

impl<'a> Simulation<'a> {
    /// Runs a scenario to its end. The same seed gives the same run.
    pub(crate) fn run(scenario: &'a Scenario, inputs: &'a Inputs, seed: u64) -> RunResult {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut agenda = EventQueue::default();
        let mut vms = Vec::with_capacity(scenario.vms);
        for number in 0..scenario.vms {
            let program = match number % scenario.cluster {
                0 => Program::Push,
                _ if random.usize(0..100) < scenario.old => Program::OldSlave,
                _ => Program::Slave,
            };
            let began = random.u64(0..=scenario.spread);
            let vm = u32::try_from(number).expect("fewer than four billion VMs");
            agenda.add(began, vm, 0, 0, EventKind::Start);
            let cluster = u32::try_from(number / scenario.cluster).expect("as above");
            vms.push(Vm::new(Run::new(program, random.u64(..), began), cluster));
        }
        let clusters = scenario.vms.div_ceil(scenario.cluster);
        if let Some(trouble) = scenario.trouble {
            agenda.add(trouble.at, 0, 0, 0, EventKind::Down);
        }
        let mut simulation = Self {
            inputs,
            scenario,
            agenda,
            service: Service::new(scenario.setup, clusters),
            vms,
            booted: vec![0; clusters],
            back: 0,
            template: Template::default(),
            tally: Counters::default(),
            random,
        };
        while let Some(event) = simulation.agenda.next() {
            simulation.happen(&event);
        }
        let Self { tally, service, agenda, .. } = simulation;
        RunResult { tally, service, events: agenda.scheduled() }
    }

    fn happen(&mut self, event: &Event) {
        let (now, vm) = (event.at, event.vm as usize);
        let current = event.attempt == self.vms[vm].attempt;
        let alive = event.life == self.service.life;
        match event.what {
            EventKind::Start => self.go_on(vm, now),
            EventKind::Send if current => self.send(vm, now),
            EventKind::Knock(before) if current => self.connect(vm, now, before),
            EventKind::Answer(reply) if current => self.answer(vm, now, reply),
            EventKind::Accepted | EventKind::Hello | EventKind::Arrive | EventKind::Write(_) if !alive => {
                if current {
                    self.lose(vm, now);
                }
            }
            EventKind::Accepted => self.accepted(event, current),
            EventKind::Hello => self.hello(event, current),
            EventKind::Arrive if current => self.arrive(vm, now),
            EventKind::Arrive => {
                // The request is read and answered before the closed connection is noticed.
                self.service.cpu.work(now, self.inputs.get.nanoseconds());
                self.service.close();
            }
            EventKind::Write(key) => {
                let caller = Caller { vm: event.vm, attempt: event.attempt };
                let write = Write { caller, cluster: self.vms[vm].cluster as usize, key };
                if let Some(at) = self.service.write(now, write, self.inputs) {
                    self.agenda.add(at, 0, 0, self.service.life, EventKind::Committed);
                }
            }
            EventKind::WaitOver if current && alive && self.vms[vm].at == Phase::Parked => {
                self.service.unpark(self.vms[vm].cluster as usize);
                let done = self.service.cpu.work(now, self.inputs.wake.nanoseconds());
                self.reply(vm, done, Reply::Waited);
            }
            EventKind::Committed if alive => self.committed(now),
            EventKind::Down => self.down(now),
            EventKind::Up => {
                self.service.cpu.clear(now);
                self.service.listens = true;
                self.back = now;
            }
            EventKind::Send
            | EventKind::Knock(_)
            | EventKind::Answer(_)
            | EventKind::WaitOver
            | EventKind::Committed => {}
        }
    }

    /// Runs the VM's program up to its next request, or to its end.
    fn go_on(&mut self, number: usize, now: Micros) {
        let vm = &mut self.vms[number];
        match vm.run.step(&self.template) {
            Step::RequestKind { ask, at, limit } => {
                (vm.ask, vm.deadline) = (ask, at.saturating_add(limit));
                self.schedule(number, at, EventKind::Send);
            }
            Step::End { at, well } => self.end(number, at.max(now), well),
        }
    }

    fn end(&mut self, number: usize, at: Micros, well: bool) {
        self.disconnect(number);
        let vm = &mut self.vms[number];
        let cluster = vm.cluster as usize;
        match vm.run.program {
            Program::Push => {
                // Well or not, the boot goes on.
                let (shortest, longest) = self.scenario.boot;
                let booted = at.max(vm.run.began() + self.random.u64(shortest..=longest));
                self.booted[cluster] = booted;
                vm.run = Run::new(Program::Ready, self.random.u64(..), booted);
                self.schedule(number, booted, EventKind::Start);
                return;
            }
            Program::Ready => self.tally.masters_gave_up += u64::from(!well),
            Program::Slave | Program::OldSlave if well => {
                let possible = self.booted[cluster].max(vm.run.began()).max(self.back);
                self.tally.arrive(at.saturating_sub(possible));
            }
            Program::Slave | Program::OldSlave => self.tally.slaves_gave_up += 1,
        }
        // Its answers are not needed again, and a million VMs have them.
        self.vms[number].run = Run::new(Program::Ready, 0, 0);
    }

    fn send(&mut self, number: usize, now: Micros) {
        self.tally.offer(now);
        let vm = &mut self.vms[number];
        if vm.open == Some(self.service.life) && now - vm.used <= inputs::IDLE_LIMIT {
            vm.at = Phase::Inside;
            return self.schedule(number, now + ONE_WAY, EventKind::Arrive);
        }
        vm.knocked = now;
        self.disconnect(number);
        self.connect(number, now, 0);
    }

    fn connect(&mut self, number: usize, now: Micros, before: u8) {
        if self.service.listens {
            if let Some(accepted) = self.service.connect(now, self.inputs) {
                self.schedule(number, accepted, EventKind::Accepted);
                return self.late_if(number, accepted);
            }
            self.tally.dropped += 1;
        } else if self.scenario.trouble.is_some_and(|trouble| trouble.kind != Kind::Silence) {
            return self.refuse(number, now + ROUND_TRIP);
        }
        let vm = &self.vms[number];
        let patience = match vm.run.program {
            Program::OldSlave => inputs::CONNECT_LIMIT_SHELL,
            _ => inputs::CONNECT_LIMIT,
        };
        let limit = vm.deadline.min(vm.knocked + patience);
        let next = now + (inputs::SYN_RETRY << before);
        if next < limit {
            self.schedule(number, next, EventKind::Knock(before + 1));
        } else {
            self.schedule(number, limit, EventKind::Answer(Reply::Late));
        }
    }

    fn accepted(&mut self, event: &Event, current: bool) {
        let (now, number) = (event.at, event.vm as usize);
        let tls = self.scenario.setup.tls;
        match self.service.admit(now) {
            Admission::Place => {
                self.tally.connections = self.tally.connections.max(self.service.connections());
                let vm = &mut self.vms[number];
                let mut speaks = now;
                if current {
                    (vm.accepted, vm.open, vm.at) = (now, Some(self.service.life), Phase::Inside);
                    speaks = speaks.max(vm.knocked + ROUND_TRIP + ONE_WAY);
                }
                let what = if tls { EventKind::Hello } else { EventKind::Arrive };
                self.agenda.add(speaks, event.vm, event.attempt, event.life, what);
            }
            Admission::Apology => {
                let handshake = if tls { self.handshake(number) } else { 0 };
                let done = self.service.cpu.work(now, handshake + self.inputs.get.nanoseconds());
                self.service.reject(done + inputs::APOLOGY);
                if current {
                    let round_trips = if tls { 2 } else { 1 };
                    let busy = self.busy(inputs::RETRY_AFTER_FULL, self.service.waiters());
                    self.reply(number, done + round_trips * ROUND_TRIP, busy);
                }
            }
            Admission::Closed if current => {
                let known = now.max(self.vms[number].knocked + ONE_WAY) + ONE_WAY;
                self.refuse(number, known);
            }
            Admission::Closed => {}
        }
    }

    fn hello(&mut self, event: &Event, current: bool) {
        let (now, number) = (event.at, event.vm as usize);
        let done = self.service.cpu.work(now, self.handshake(number));
        if !current {
            // The request was received, so the handshake is computed before the closed connection is noticed.
            self.service.close();
        } else if done > self.vms[number].accepted + inputs::HANDSHAKE {
            self.disconnect(number);
            self.refuse(number, done + ONE_WAY);
        } else {
            // curl ends after each request, and its sessions with it.
            self.vms[number].has_session = self.vms[number].run.program != Program::OldSlave;
            self.schedule(number, done + ROUND_TRIP, EventKind::Arrive);
            self.late_if(number, done + ROUND_TRIP);
        }
    }

    /// What the handshake of a VM takes, in nanoseconds.
    fn handshake(&self, number: usize) -> u64 {
        let resumes = self.vms[number].has_session && self.scenario.setup.returns == Returns::Spread;
        self.inputs.handshake_nanoseconds(resumes)
    }

    /// The answer to one of so many that are sent away.
    fn busy(&mut self, least: u64, clients: usize) -> Reply {
        let Setup { tls, cores, returns, .. } = self.scenario.setup;
        let times = ReturnTimes::new(tls, cores as usize);
        match returns {
            Returns::Spread => Reply::Busy(times.retry_after(least, clients, &mut self.random)),
            Returns::AtOnce => Reply::Busy(least),
        }
    }

    fn arrive(&mut self, number: usize, now: Micros) {
        let (ask, cluster) = (self.vms[number].ask, self.vms[number].cluster as usize);
        let done = self.service.cpu.work(now, self.inputs.get.nanoseconds());
        match ask {
            RequestKind::Cluster | RequestKind::Change(_) => self.reply(number, done, Reply::Done),
            RequestKind::Get(key, _) if self.service.has(cluster, key) => {
                self.reply(number, done, Reply::Value)
            }
            RequestKind::Get(_, 0) | RequestKind::Get(Key::MasterIp, _) => {
                self.reply(number, done, Reply::Missing)
            }
            RequestKind::Get(Key::MasterReady, wait) => {
                let (vm, attempt) = (caller(number), self.vms[number].attempt);
                if self.service.park(cluster, Caller { vm, attempt }) {
                    self.vms[number].at = Phase::Parked;
                    let vms = &self.vms;
                    self.service.tidy(cluster, |caller| vms[caller.vm as usize].waits(caller));
                    self.schedule(number, now + wait * SECOND, EventKind::WaitOver);
                    self.late_if(number, now + wait * SECOND);
                } else {
                    self.disconnect(number);
                    let busy = self.busy(inputs::RETRY_AFTER_FULL, self.service.waiters());
                    self.reply(number, done, busy);
                }
            }
            RequestKind::Create(key) if self.service.has(cluster, key) => {
                self.reply(number, done, Reply::Exists)
            }
            RequestKind::Create(key) => {
                self.vms[number].at = Phase::Answered;
                self.schedule(number, done, EventKind::Write(key));
                self.late_if(number, done);
            }
        }
    }

    fn committed(&mut self, now: Micros) {
        for Write { caller, cluster, key } in self.service.committed() {
            let (new, waiters) = self.service.publish(cluster, key);
            if self.vms[caller.vm as usize].attempt == caller.attempt {
                let done = self.service.cpu.work(now, 0);
                self.reply(caller.vm as usize, done, if new { Reply::Done } else { Reply::Exists });
            }
            for waiter in waiters {
                let number = waiter.vm as usize;
                if self.vms[number].waits(&waiter) {
                    self.service.unpark(cluster);
                    let done = self.service.cpu.work(now, self.inputs.wake.nanoseconds());
                    self.reply(number, done, Reply::Value);
                }
            }
        }
        if let Some(at) = self.service.commit(now, self.inputs) {
            self.agenda.add(at, 0, 0, self.service.life, EventKind::Committed);
        }
    }

    fn down(&mut self, now: Micros) {
        let trouble = self.scenario.trouble.expect("it was scheduled");
        if trouble.kind != Kind::Restart {
            self.service.cpu.clear(now);
        }
        let sent_away = self.service.waiters();
        let (waiting, writing) = self.service.end();
        for writer in writing {
            if self.vms[writer.vm as usize].attempt == writer.attempt {
                self.lose(writer.vm as usize, now);
            }
        }
        for waiter in waiting {
            let number = waiter.vm as usize;
            if !self.vms[number].waits(&waiter) {
                continue;
            }
            if trouble.kind == Kind::Restart {
                let done = self.service.cpu.work(now, self.inputs.wake.nanoseconds());
                let busy = self.busy(inputs::RETRY_AFTER_SHUTDOWN, sent_away);
                self.reply(number, done, busy);
            } else {
                self.lose(number, now);
            }
        }
        let up = (now + trouble.lasts).max(self.service.cpu.free_at());
        self.agenda.add(up, 0, 0, 0, EventKind::Up);
    }

    /// The service was gone before it could answer.
    fn lose(&mut self, number: usize, now: Micros) {
        self.vms[number].at = Phase::Outside;
        if self.scenario.trouble.is_some_and(|trouble| trouble.kind == Kind::Silence) {
            let at = self.vms[number].deadline.max(now);
            self.schedule(number, at, EventKind::Answer(Reply::Late));
        } else {
            self.refuse(number, now + ONE_WAY);
        }
    }

    /// Ends the request at hand with a connection that is refused or broken.
    fn refuse(&mut self, number: usize, at: Micros) {
        self.vms[number].at = Phase::Outside;
        let at = at.min(self.vms[number].deadline);
        self.schedule(number, at, EventKind::Answer(Reply::Broken));
    }

    /// Sends an answer that the service has ready at this time.
    fn reply(&mut self, number: usize, done: Micros, reply: Reply) {
        match reply {
            Reply::Busy(_) => self.tally.busy += 1,
            _ => self.tally.serve(done),
        }
        self.vms[number].at = Phase::Answered;
        if done + ONE_WAY <= self.vms[number].deadline {
            self.schedule(number, done + ONE_WAY, EventKind::Answer(reply));
        } else {
            self.late_if(number, done + ONE_WAY);
        }
    }

    /// The next step of the request at hand will be at this time: if that is too late, the VM will be gone.
    fn late_if(&mut self, number: usize, at: Micros) {
        let deadline = self.vms[number].deadline;
        if at > deadline {
            self.schedule(number, deadline, EventKind::Answer(Reply::Late));
        }
    }

    /// The request at hand has ended.
    fn answer(&mut self, number: usize, now: Micros, reply: Reply) {
        match reply {
            Reply::Late => {
                self.tally.late += 1;
                self.hang_up(number);
            }
            Reply::Broken => self.tally.broken += 1,
            _ if self.vms[number].run.program == Program::OldSlave => self.disconnect(number),
            _ => {}
        }
        let vm = &mut self.vms[number];
        vm.attempt += 1;
        (vm.at, vm.used) = (Phase::Outside, now);
        vm.run.tell(now, reply);
        self.go_on(number, now);
    }

    /// The VM closes its connection in the middle of a request.
    fn hang_up(&mut self, number: usize) {
        let cluster = self.vms[number].cluster as usize;
        match self.vms[number].at {
            // The service finds out when it comes to it.
            Phase::Inside => self.vms[number].open = None,
            Phase::Parked => {
                if self.vms[number].open == Some(self.service.life) {
                    self.service.unpark(cluster);
                }
                self.disconnect(number);
            }
            Phase::Outside | Phase::Answered => self.disconnect(number),
        }
    }

    /// Closes the VM's connection, if it has one.
    fn disconnect(&mut self, number: usize) {
        if self.vms[number].open.take() == Some(self.service.life) {
            self.service.close();
        }
    }

    fn schedule(&mut self, number: usize, at: Micros, what: EventKind) {
        self.agenda.add(at, caller(number), self.vms[number].attempt, self.service.life, what);
    }
}

impl Vm {
    fn new(run: Run, cluster: u32) -> Self {
        Self {
            run,
            cluster,
            attempt: 0,
            ask: RequestKind::Cluster,
            deadline: 0,
            knocked: 0,
            accepted: 0,
            open: None,
            used: 0,
            at: Phase::Outside,
            has_session: false,
        }
    }

    /// Whether the VM still is in this wait.
    fn waits(&self, caller: &Caller) -> bool {
        self.at == Phase::Parked && self.attempt == caller.attempt
    }
}

fn caller(number: usize) -> u32 {
    u32::try_from(number).expect("it was made of one")
}

#[cfg(test)]
mod tests;
