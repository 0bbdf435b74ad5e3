//! `get`: the value of one key.

use std::time::Duration;

use crate::backoff::{Clock, Patience};
use crate::client::Service;
use crate::error::Error;
use crate::session::Session;
use crate::slave;
use crate::value::{self, Origin};

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
    let patience = if wait { session.patience() } else { Patience::once(session.clock(), LIMIT) };
    let value = slave::await_key(session, key, &patience)?;
    value::check(key, &value, Origin::Received)?;
    Ok(value)
}
