//! How many bytes clients may make the service hold: stored values, answers that are not read yet, bodies that are being
//! received, writes that wait for the disk.
//!
//! Connections and pins have limits of their own, but a client chooses how much each of them carries. One half of the
//! budget is for what is stored, the other for what passes through, so that neither stops the other; no source gets
//! more than a quarter of a half. Past that, requests are refused in words, and the process is never killed for want of
//! memory.
//!
//! What is short (at most [`SMALL`] bytes) is not counted: each connection has room for that, and connections are
//! counted. A cluster behind one address is thus served whatever else goes on.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sources::{Exhausted, SourceCounter, SourcePermit};

/// Bytes that a message may have without being counted.
pub(crate) const SMALL: usize = 8 << 10;
/// Bytes that are reckoned for a connection: hyper's buffers, the task, a small message, and the kernel's buffers.
pub(crate) const PER_CONNECTION: u64 = 32 << 10;
/// No service works with less, in bytes.
pub const SMALLEST: u64 = 16 << 20;
/// One source gets so much of a half: one in four.
const SHARE: u64 = 4;

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Values in the store.
    Stored,
    /// Answers that a client has not read yet.
    Answers,
    /// Bodies of requests that are being received or evaluated.
    Bodies,
    /// Writes that wait for the disk.
    Writes,
}

impl Purpose {
    /// All of them, with their names in the metrics.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Stored, "stored"),
        (Self::Answers, "answers"),
        (Self::Bodies, "bodies"),
        (Self::Writes, "writes"),
    ];
}

/// There is no room for so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverBudget {
    /// What they were for.
    pub(crate) purpose: Purpose,
    /// Which limit was reached.
    pub(crate) limit: Exhausted,
}

/// The bytes that may be held.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    stored: Arc<SourceCounter>,
    passing: Arc<SourceCounter>,
    by_purpose: [AtomicU64; Purpose::ALL.len()],
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct BudgetPermit {
    budget: Arc<MemoryBudget>,
    purpose: Purpose,
    permit: SourcePermit,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let half = bytes.max(SMALLEST) / 2;
        let counter = || SourceCounter::new(half, half / SHARE);
        Arc::new(Self { stored: counter(), passing: counter(), by_purpose: Default::default() })
    }

    /// Takes bytes. `source` is the client that they count for; `None` for what counts for none, such as values that
    /// were read from the disk at the start.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        purpose: Purpose,
        source: Option<IpAddr>,
        bytes: usize,
    ) -> Result<BudgetPermit, OverBudget> {
        let permit = self.counter(purpose).acquire(source, 0).expect("nothing always fits");
        let mut permit = BudgetPermit { budget: self.clone(), purpose, permit };
        permit.grow(bytes)?;
        Ok(permit)
    }

    /// Bytes in use for a purpose.
    pub(crate) fn used(&self, purpose: Purpose) -> u64 {
        self.by_purpose[purpose as usize].load(Ordering::Relaxed)
    }

    /// Bytes that may be in use for a purpose, which [`Purpose::Stored`] has for itself and the others share.
    pub(crate) fn limit(&self, purpose: Purpose) -> u64 {
        self.counter(purpose).total()
    }

    fn counter(&self, purpose: Purpose) -> &Arc<SourceCounter> {
        if purpose == Purpose::Stored { &self.stored } else { &self.passing }
    }
}

impl BudgetPermit {
    /// Takes more bytes.
    ///
    /// # Errors
    /// There is no room; the permit is as it was.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let bytes = bytes as u64;
        self.permit.grow(bytes).map_err(|limit| OverBudget { purpose: self.purpose, limit })?;
        self.budget.by_purpose[self.purpose as usize].fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives bytes back, so that `bytes` are left.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let before = self.permit.amount();
        self.permit.shrink_to(bytes as u64);
        let less = before - self.permit.amount();
        self.budget.by_purpose[self.purpose as usize].fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for BudgetPermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// The budget by default: half of the memory that this process may use, in bytes. The other half is for the program,
/// its connections, the kernel's buffers and the allocator's fragments.
#[must_use]
pub fn default_budget() -> u64 {
    memory_limit(Path::new("/")).map_or(1 << 30, |limit| (limit / 2).max(SMALLEST))
}

/// Connections for which the memory outside the budget has room.
#[must_use]
pub fn connections_within(budget: u64) -> usize {
    usize::try_from(budget / PER_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// Bytes of memory that this process may use: the lowest limit of its control group and those above it, or else what
/// the machine has. `None`: /proc says nothing.
fn memory_limit(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    });
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        // The second is version 1 with the memory controller; the first, without a list, is version 2.
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let mount = root.join(mount);
        // In a container the path may be the host's, which does not exist there; the root of the mount does.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups
            .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok())
            .min()
    });
    limits.chain(machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn ip(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn no_source_and_no_purpose_gets_all() {
        let budget = MemoryBudget::new(64 << 20);
        let acquire = |purpose, last, bytes| budget.acquire(purpose, ip(last), bytes);
        let answers: Vec<_> = (0..8).map(|_| acquire(Purpose::Answers, 1, MIB).unwrap()).collect();
        let over = acquire(Purpose::Bodies, 1, 1).unwrap_err();
        assert!(over.purpose == Purpose::Bodies && matches!(over.limit, Exhausted::Source(_)));
        let others: Vec<_> = (2..5).map(|last| acquire(Purpose::Writes, last, 8 * MIB).unwrap()).collect();
        assert_eq!(acquire(Purpose::Bodies, 9, 1).unwrap_err().limit, Exhausted::Total);
        // What passes through takes nothing from what is stored.
        let stored = acquire(Purpose::Stored, 1, 8 * MIB).unwrap();
        assert_eq!(budget.used(Purpose::Answers), 8 << 20);
        assert_eq!(budget.used(Purpose::Writes), 24 << 20);
        drop((answers, others, stored));
        assert!(Purpose::ALL.iter().all(|(purpose, _)| budget.used(*purpose) == 0));
    }

    #[test]
    fn a_permit_follows_what_is_held() {
        let budget = MemoryBudget::new(SMALLEST);
        let mut permit = budget.acquire(Purpose::Bodies, ip(1), MIB).unwrap();
        assert!(permit.grow(2 * MIB).is_err());
        permit.shrink_to(MIB / 2);
        permit.grow(MIB / 4).unwrap();
        assert_eq!(budget.used(Purpose::Bodies), (MIB / 4 * 3) as u64);
        drop(permit);
        assert_eq!(budget.used(Purpose::Bodies), 0);
    }

    #[test]
    fn finds_the_lowest_limit_of_the_control_groups() {
        let write = |root: &Path, name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let meminfo = ("proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
        for (files, limit) in [
            (&[][..], None),
            (&[meminfo][..], Some(1 << 30)),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/system.slice/pairing.service\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "268435456\n"),
                    ("sys/fs/cgroup/system.slice/pairing.service/memory.max", "max\n"),
                ],
                Some(256 << 20),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "5:cpu:/a\n4:memory,x:/docker/abc\n0::/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
                ],
                Some(128 << 20),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "4:memory:/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(1 << 30),
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                write(root.path(), name, text);
            }
            assert_eq!(memory_limit(root.path()), limit, "{files:?}");
        }
    }

    #[test]
    fn knows_the_limit_of_this_machine() {
        assert!(default_budget() >= SMALLEST);
        assert_eq!(connections_within(128 << 20), 4096);
    }
}
