//! The service is killed again and again while clients write: every acknowledged write is there afterwards, and an
//! interrupted write has happened as a whole or not at all.
//!
//! Here the process dies. Power cuts, which also lose what the kernel has not written yet, are in the world `crash_fs`.

use std::sync::atomic::{AtomicU64, Ordering};

use worlds::figures;
use worlds::service::Service;
use worlds::wait::until;
use worlds::writer::Writer;

const KILLS: usize = 40;
const WRITERS: usize = 8;
/// The kill comes after so many acknowledged writes at most; sometimes before the first.
const WRITES_PER_LIFE: u64 = 300;

#[test]
fn keeps_every_acknowledged_write_through_every_kill() {
    let mut service = Service::start();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::default()).collect();
    let acknowledged = AtomicU64::new(0);
    for _ in 0..KILLS {
        let kill_at = acknowledged.load(Ordering::SeqCst) + fastrand::u64(0..WRITES_PER_LIFE);
        let api = service.api();
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write_until_cut_off(api, &acknowledged));
            }
            until("enough is written", || (acknowledged.load(Ordering::SeqCst) >= kill_at).then_some(()));
            service.kill();
        });
        service.resume_elsewhere();
        let lost: Vec<_> = writers.iter_mut().flat_map(|writer| writer.find_lost(service.api())).collect();
        assert!(lost.is_empty(), "acknowledged, but lost:\n{}", lost.join("\n"));
    }
    let acknowledged = acknowledged.into_inner();
    let doubtful: usize = writers.iter().map(|writer| writer.doubtful).sum();
    let happened: usize = writers.iter().map(|writer| writer.happened).sum();
    figures::show(&format!(
        "{KILLS} kills, {acknowledged} acknowledged writes, 0 lost; {doubtful} were cut off, of which {happened} happened"
    ));
    assert!(acknowledged > KILLS as u64 && doubtful > KILLS, "the kills must come in the middle of writes");
}
