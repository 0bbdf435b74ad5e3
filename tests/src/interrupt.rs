//! Ctrl-C in a program that has started others: every wait ends, the stack unwinds, and the started programs are stopped.
//! Without this, a program ends by the signal.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What unwinds then.
#[derive(Debug)]
pub struct Interrupted;

/// From now on SIGINT and SIGTERM end the waits in [`crate::wait`].
///
/// # Errors
/// The system refuses.
pub fn watch() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// Unwinds with [`Interrupted`] when one of these signals has come.
pub fn check() {
    if INTERRUPTED.load(Ordering::SeqCst) {
        std::panic::resume_unwind(Box::new(Interrupted));
    }
}
