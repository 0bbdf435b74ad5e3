//! The service on a disk that forgets: the real program on a file system of the test's, killed with SIGKILL in the middle of
//! its writes while the power is cut. Every acknowledged write is there afterwards, and an interrupted one has happened as
//! a whole or not at all.
//!
//! `CRASH_CUTS=1000 cargo test -p cernvm-cluster-tests --test crash_fs -- --nocapture` cuts more often; `CRASH_SEED` changes
//! where. It needs root, to mount; elsewhere the store's own tests play the same below the database.

mod content;
mod disk;
mod faults;
mod fs;
mod owner;

use std::path::Path;

use nix::unistd::geteuid;
use worlds::figures;

use crate::disk::{Disk, Syncs};
use crate::fs::Mounted;
use crate::owner::{Owner, Tally};

/// Power cuts of a test, if `CRASH_CUTS` does not say.
const CUTS: usize = 40;
/// Power cuts of one disk: few enough that its pins are soon compared.
const CUTS_PER_DISK: usize = 20;

fn number(variable: &str, otherwise: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |given| given.parse().unwrap_or_else(|e| panic!("{variable} is {given}: {e}")))
}

/// Whether a file system can be mounted. One that cannot says so.
fn can_mount() -> bool {
    let can = geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        println!("not root, or no /dev/fuse: the store's own tests of power cuts must do");
    }
    can
}

/// Does something with an empty disk that is mounted.
fn on_a_disk<T>(seed: usize, syncs: Syncs, work: impl FnOnce(&Disk, &Path) -> T) -> T {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let disk = Disk::new(seed as u64, syncs);
    let _mounted = Mounted::on(place.path(), &disk);
    work(&disk, place.path())
}

fn cut(cuts: usize, syncs: Syncs) -> Tally {
    let (seed, mut tally) = (number("CRASH_SEED", 1), Tally::default());
    for disk in 0..cuts.div_ceil(CUTS_PER_DISK) {
        on_a_disk(seed + disk, syncs, |disk, path| {
            let mut owner = Owner::new(disk, path, syncs == Syncs::Honest);
            for _ in tally.cuts..cuts.min(tally.cuts + CUTS_PER_DISK) {
                owner.live_until_cut();
            }
            tally += owner.finish();
        });
    }
    tally
}

#[test]
fn a_power_cut_loses_no_acknowledged_write() {
    if !can_mount() {
        return;
    }
    let cuts = number("CRASH_CUTS", CUTS);
    let tally = cut(cuts, Syncs::Honest);
    figures::show(&format!("{tally}"));
    assert_eq!((tally.cuts, tally.lost, tally.unreadable), (cuts, 0, 0), "{tally}");
    assert!(
        tally.acknowledged > cuts && tally.doubtful > cuts,
        "the cuts must come in the middle of writes: {tally}"
    );
    assert!(tally.interrupted > 0 && tally.troubled > 0, "{tally}");
}

/// That the test above would notice.
#[test]
fn the_same_cuts_lose_writes_on_a_disk_that_does_not_sync() {
    if !can_mount() {
        return;
    }
    for syncs in [Syncs::Lying, Syncs::Leaking] {
        let tally = cut(8, syncs);
        figures::show(&format!("{syncs:?}: {tally}"));
        assert!(tally.acknowledged > 0 && tally.lost + tally.unreadable > 0, "{syncs:?}: {tally}");
    }
}
