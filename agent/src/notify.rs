//! What systemd is told (sd_notify(3)). Without systemd each of these does nothing.

use sd_notify::NotifyState;

/// Sets the line that `systemctl status` shows.
pub fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// Reports that the work is done: what is ordered after the unit may start.
pub fn done(line: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(line)]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd was not told: {error}");
    }
}
