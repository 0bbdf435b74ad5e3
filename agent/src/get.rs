//! `get`: the value of one key.

use std::time::Duration;

use crate::backoff::{Clock, Deadline};
use crate::session::Session;
use crate::slave;
use client::Service;
use context::value::{self, Origin};
use protocol::error::Error;

/// Longest time for an answer without `--wait`.
const LIMIT: Duration = Duration::from_secs(15);

/// The value of a key; with `wait`, once it is there.
///
/// # Errors
/// 75 when it is not there (in time), 76 for a value that a script should not get to see; otherwise as
/// [`Session::ask`].
pub fn get<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    wait: bool,
) -> Result<String, Error> {
    let deadline = if wait { session.deadline() } else { Deadline::once(session.clock(), LIMIT) };
    let value = slave::await_key(session, key, &format!("waiting for the key '{key}'"), &deadline)?;
    value::check(key, &value, Origin::Received)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, Reply, done, missing, value, waited};
    use protocol::error::Status;

    #[track_caller]
    fn check(wait: bool, script: Vec<(&'static str, Reply)>, expected: Result<&str, Status>) {
        let result = get(&mut FakeSession::script(1500, script).session, "a", wait);
        assert_eq!(result.as_deref().map_err(|error| error.status()), expected);
    }

    #[test]
    fn gives_a_value_or_says_that_there_is_none() {
        check(false, vec![("cluster", done()), ("get a", value("b"))], Ok("b"));
        check(false, vec![("cluster", done()), ("get a", missing())], Err(Status::TimedOut));
        check(false, vec![("cluster", missing())], Err(Status::Refused));
        check(false, vec![("cluster", done()), ("get a", value("$(reboot)"))], Err(Status::Nonsense));
    }

    #[test]
    fn waits_when_told_to() {
        let script = vec![
            ("cluster", done()),
            ("get a wait=50", waited(50, 50)),
            ("get a wait=50", missing()),
            ("get a wait=50", value("b")),
        ];
        check(true, script, Ok("b"));
    }
}
