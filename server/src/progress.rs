//! How far long work has come, on standard error: in one line that is written over itself on a terminal, in a log line
//! now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Work that takes no longer says nothing.
const QUIET: Duration = Duration::from_secs(1);
/// Between two lines on a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two lines of a log.
const LOG: Duration = Duration::from_secs(10);
/// Units of work between two looks at the time.
const LOOK: u64 = 256;

/// Work that is under way.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    done: u64,
    said: Instant,
    /// Nothing is said for so long.
    pause: Duration,
    is_terminal: bool,
    has_said: bool,
}

impl Progress {
    /// Begins; `what` is being done, such as `copying pins`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            done: 0,
            said: Instant::now(),
            pause: QUIET,
            is_terminal: io::stderr().is_terminal(),
            has_said: false,
        }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(LOOK) && self.said.elapsed() >= self.pause {
            self.say();
        }
    }

    /// So many are done.
    pub(crate) fn reach(&mut self, done: u64) {
        self.done = done;
        if self.said.elapsed() >= self.pause {
            self.say();
        }
    }

    fn say(&mut self) {
        self.said = Instant::now();
        self.has_said = true;
        let Self { what, done, .. } = self;
        if self.is_terminal {
            self.pause = REDRAW;
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r{what}: {done}").and_then(|()| out.flush());
        } else {
            self.pause = LOG;
            log::info!("{what}: {done} so far");
        }
    }
}

/// Leaves the terminal as it was.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.has_said && self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_of_work_that_is_soon_done() {
        let mut progress = Progress::new("copying pins");
        (0..10 * LOOK).for_each(|_| progress.step());
        assert!(!progress.has_said);
    }

    #[test]
    fn says_how_much_is_done_when_it_takes_long() {
        let mut progress = Progress { pause: Duration::ZERO, ..Progress::new("copying pins") };
        (0..LOOK).for_each(|_| progress.step());
        assert!(progress.has_said && progress.done == LOOK);
        let mut progress = Progress { pause: Duration::ZERO, ..Progress::new("loading records") };
        progress.reach(1024);
        assert!(progress.has_said && progress.done == 1024);
        assert!(progress.pause == if progress.is_terminal { REDRAW } else { LOG });
    }
}
