//! Who has a service on such a disk: writes to it, cuts its power, starts it again, and looks what is left.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use worlds::service::Service;
use worlds::wait::until;
use worlds::writer::Writer;

use crate::disk::{Disk, Trouble};

const WRITERS: usize = 8;
/// The trouble begins after so many changes of the disk at most.
const CHANGES: u32 = 400;
/// A power cut comes this many changes after another trouble at most.
const CHANGES_AFTER: u32 = 60;

/// What came of a number of cuts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cuts: usize,
    pub(crate) acknowledged: usize,
    /// Pins that were found after a cut as they should not be.
    pub(crate) lost: usize,
    /// Writes of which the writer did not know whether they happened, and those that did.
    pub(crate) doubtful: usize,
    pub(crate) happened: usize,
    /// Starts that the next cut came into the middle of.
    pub(crate) interrupted: usize,
    /// Lives in which another trouble came before the cut.
    pub(crate) troubled: usize,
    /// Starts that failed although nothing disturbed them.
    pub(crate) unreadable: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubtful += other.doubtful;
        self.happened += other.happened;
        self.interrupted += other.interrupted;
        self.troubled += other.troubled;
        self.unreadable += other.unreadable;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cuts, acknowledged, lost, doubtful, happened, interrupted, troubled, unreadable } = self;
        write!(
            f,
            "{cuts} power cuts, {troubled} after another trouble, and {interrupted} in the middle of a start; \
             {acknowledged} acknowledged writes, {lost} pins not as they must be, {unreadable} stores that did not open; \
             {doubtful} writes were cut off, of which {happened} happened"
        )
    }
}

/// A service, its disk and those who write.
pub(crate) struct Owner<'a> {
    disk: &'a Disk,
    service: Service,
    writers: Vec<Writer>,
    random: fastrand::Rng,
    /// Whether a loss is told in full.
    tells: bool,
    tally: Tally,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(disk: &'a Disk, data: &Path, tells: bool) -> Self {
        let writers = std::iter::repeat_with(Writer::on_a_disk_that_may_fail).take(WRITERS).collect();
        let (service, random) = (Service::stopped_on(data), disk.random());
        Self { disk, service, writers, random, tells, tally: Tally::default() }
    }

    /// Starts the service, looks what is there, has it written to, and cuts the power.
    pub(crate) fn live_until_cut(&mut self) {
        self.start();
        self.check();
        let power_cut = Trouble::PowerCut;
        let troubles = [power_cut, power_cut, Trouble::Write, Trouble::Sync, Trouble::Full, Trouble::Read];
        let trouble = troubles[self.random.usize(..troubles.len())];
        self.disk.plan(self.random.u32(..CHANGES), trouble);
        let (api, acknowledged, stopped) = (self.service.api(), AtomicU64::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                scope.spawn(|| {
                    writer.write_until_cut_off(api, &acknowledged);
                    stopped.fetch_add(1, Ordering::SeqCst);
                });
            }
            // A store that does not write any more cannot be waited for.
            let all_stopped = || stopped.load(Ordering::SeqCst) == WRITERS;
            until("the disk is struck", || (self.disk.is_struck() || all_stopped()).then_some(()));
            if trouble != Trouble::PowerCut {
                self.tally.troubled += 1;
                self.disk.plan(self.random.u32(..CHANGES_AFTER), Trouble::PowerCut);
                until("the power is cut", || (self.disk.is_struck() || all_stopped()).then_some(()));
            }
            // In this order: nothing that the service asks of the disk is answered before it is as good as dead.
            self.disk.cut();
            self.service.signal(Signal::SIGKILL);
            self.disk.give_up();
            self.service.kill();
        });
        self.tally.acknowledged += usize::try_from(acknowledged.into_inner()).expect("they fit");
        self.tally.cuts += 1;
        self.disk.restart();
    }

    /// Looks once more what is there, and gives the tally.
    pub(crate) fn finish(mut self) -> Tally {
        self.start();
        self.check();
        assert!(self.service.stop().success(), "{}", self.service.log());
        self.tally.doubtful = self.writers.iter().map(|writer| writer.doubtful).sum();
        self.tally.happened = self.writers.iter().map(|writer| writer.happened).sum();
        self.tally
    }

    /// Starts the service. Now and then the power is cut again before it is up.
    fn start(&mut self) {
        loop {
            let interrupts = self.random.u8(..4) == 0;
            if interrupts {
                self.disk.plan(self.random.u32(..20), Trouble::PowerCut);
            }
            if self.service.try_resume(|| interrupts && self.disk.is_struck()) {
                return self.disk.heal();
            }
            if interrupts && self.disk.is_struck() {
                self.tally.interrupted += 1;
                self.service.signal(Signal::SIGKILL);
                self.disk.give_up();
                self.service.kill();
                self.disk.restart();
            } else {
                self.tally.unreadable += 1;
                assert!(!self.tells, "the store does not open: {}", self.service.log());
                self.disk.heal();
                self.disk.wipe();
            }
        }
    }

    fn check(&mut self) {
        let api = self.service.api();
        let lost: Vec<_> = self.writers.iter_mut().flat_map(|writer| writer.find_lost(api)).collect();
        self.tally.lost += lost.len();
        assert!(lost.is_empty() || !self.tells, "acknowledged, but lost:\n{}", lost.join("\n"));
    }
}
