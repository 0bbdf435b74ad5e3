//! A user who swaps what lies at a path as fast as the machine can: `hostile-user A B [A B]...` exchanges each A with its B,
//! again and again, until standard input ends. Then it prints the number of exchanges.

use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<_> = std::env::args_os().skip(1).collect();
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    let mut swaps = 0_u64;
    while !has_ended.load(Ordering::Relaxed) {
        for pair in names.chunks_exact(2) {
            let exchanged = renameat2(
                AT_FDCWD,
                pair[0].as_os_str(),
                AT_FDCWD,
                pair[1].as_os_str(),
                RenameFlags::RENAME_EXCHANGE,
            );
            swaps += u64::from(exchanged.is_ok());
        }
    }
    println!("{swaps}");
    Ok(())
}
