//! `follow`: after the boot, a slave learns of a master in another's place, renders the files of `cvm_cluster_follow` anew
//! and runs the hooks.

mod hooks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::error::Error;
use protocol::key::MASTER_IP;

use crate::backoff::{Backoff, Clock, Deadline, SystemClock};
use crate::followed::Followed;
use crate::notify;
use crate::phase::{Guest, why_no_section};
use crate::root::Root;
use crate::session::Session;
use crate::slave;
use client::{Answer, Outcome, Request, Service};
use context::settings::{FoundSection, Role};

/// How long one look for another master goes on before it begins anew.
const ROUND: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks at a service that does not hold them.
const POLL: Duration = Duration::from_secs(60);
/// Shortest time between two looks.
const SPACING: Duration = Duration::from_secs(1);

/// Follows the master until the pin ends.
///
/// # Errors
/// As those of a slave's boot; 74 when the files cannot be written.
pub fn follow(root: &Root, user_data: &[PathBuf]) -> Result<String, Error> {
    let guest = Guest::find(root, user_data)?;
    let settings = match guest.settings()? {
        FoundSection::Cluster(settings) if settings.role == Role::Master => {
            return Ok("this VM is the master: nothing to follow".to_owned());
        }
        FoundSection::Cluster(settings) if settings.follow.is_empty() => {
            return Ok("no cvm_cluster_follow in the section: nothing to follow".to_owned());
        }
        FoundSection::Cluster(settings) => settings,
        FoundSection::NoPin { .. } => return Ok("no cvm_cluster_pin: nothing to follow".to_owned()),
        FoundSection::NoSection => return Ok(format!("{}: nothing to follow", why_no_section(root))),
    };
    let followed = Followed::new(root, &settings.follow);
    followed.keep_pristine();
    let keys = followed.keys();
    let mut cache = guest.cache(root, &settings);
    let mut session = Session::new(&settings, SystemClock::default())?;
    notify::done("following the master");
    let mut before: Option<String> = cache.values().get(MASTER_IP).cloned();
    loop {
        let values = match values(&mut session, &keys, cache.values()) {
            Err(error) if error.is_unknown_pin() && before.is_some() => {
                return Ok("the pin has expired: there will be no other master".to_owned());
            }
            values => values?,
        };
        cache.learn(&values);
        let address = values[MASTER_IP].clone();
        let has_rendered = followed.render(&values)?;
        if has_rendered || before.as_ref().is_some_and(|before| *before != address) {
            hooks::run(root, &address, before.as_deref().unwrap_or_default());
        }
        before = Some(address.clone());
        let deadline = Deadline::of(session.clock(), ROUND);
        let other = await_another(&mut session, &address, &deadline)
            .and_then(|()| slave::await_master(&mut session, &deadline));
        match other {
            Err(error) if error.is_unknown_pin() => {
                return Ok("the pin has expired: there will be no other master".to_owned());
            }
            other => drop(other?),
        }
    }
}

/// The values of a master that is ready: its address, and these keys as far as they are there.
fn values<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    earlier: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let gathered = if earlier.contains_key(MASTER_IP) {
        slave::gather_again(session, keys, earlier, true).0
    } else {
        slave::gather(session, keys)?
    };
    let values = gathered.values.clone();
    if let Some(error) = gathered.into_shortfall() {
        log::warn!("{error}");
    }
    Ok(values)
}

/// Waits until `master_ip` is another address than this.
///
/// # Errors
/// As [`Session::ask`]; 77 when the pin has gone.
fn await_another<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: &str,
    deadline: &Deadline,
) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    let mut tag: Option<String> = None;
    loop {
        session.establish(deadline)?;
        let wait = session.longest_wait();
        let request = match &tag {
            Some(etag) => Request::Changed { key: MASTER_IP, etag, wait },
            None => Request::Get { key: MASTER_IP, wait: 0 },
        };
        let began = session.clock().now();
        let pause = match session.attempt(&request, deadline) {
            Ok(Answer { outcome: Outcome::Value(value), .. }) if value != address => return Ok(()),
            Ok(Answer { outcome: Outcome::Value(_), .. }) => {
                tag = session.etag();
                if tag.is_some() { SPACING } else { POLL }
            }
            Ok(Answer { outcome: Outcome::Unchanged, .. }) => SPACING,
            Ok(_) => {
                // A master that is being replaced may have taken it away; a pin that has gone has none either.
                session.confirm_pin(deadline)?;
                tag = None;
                POLL
            }
            Err(failure) => {
                session.pause_after(&request, failure, &mut backoff, deadline)?;
                tag = None;
                continue;
            }
        };
        backoff.reset();
        let took = session.clock().now().saturating_sub(began);
        session.clock().sleep(pause.saturating_sub(took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, done, failed, missing, value};
    use client::FailureKind;

    #[test]
    fn waits_for_another_address_and_survives_what_comes_between() {
        let mut replies = vec![
            value("10.0.0.1"),
            failed(FailureKind::Connect),
            missing(),
            value("10.0.0.1"),
            value("10.0.0.2"),
        ]
        .into_iter();
        let mut fake = FakeSession::new(&["pair"], 1500, move |line| match line.split(' ').nth(1) {
            Some("cluster") => done(),
            _ => replies.next().unwrap_or_else(|| panic!("asked too much: {line}")),
        });
        let deadline = Deadline::of(fake.session.clock(), ROUND);
        await_another(&mut fake.session, "10.0.0.1", &deadline).unwrap();
        let looks: Vec<_> = fake.seen().into_iter().filter(|seen| seen.line.contains("get")).collect();
        // A service without entity tags is asked once a minute.
        assert!(looks[1].at - looks[0].at >= POLL, "{looks:?}");
        assert_eq!(looks.len(), 5);
    }

    #[test]
    fn ends_with_the_pin() {
        let mut fake = FakeSession::new(&["pair"], 1500, {
            let mut known = 1;
            move |line| match line.split(' ').nth(1) {
                Some("cluster") if known > 0 => {
                    known -= 1;
                    done()
                }
                _ => missing(),
            }
        });
        let deadline = Deadline::of(fake.session.clock(), ROUND);
        assert!(await_another(&mut fake.session, "10.0.0.1", &deadline).unwrap_err().is_unknown_pin());
    }
}
