//! The start: finds the members, and makes sure that the store below the prefix is one of ours.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::error::{Error, Failure};
use crate::journal::Etcd;
use crate::layout::{FORMAT, Layout};
use crate::members::Members;
use crate::stats::Counters;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Finds the cluster and begins to watch the store in it. Tries for [`Config::timeout`].
///
/// # Errors
/// See [`Error`].
pub async fn connect(config: &Config) -> Result<Etcd, Error> {
    let members = find(config, FORMAT).await?;
    Ok(Etcd::begin(config, members))
}

/// Finds the members, and makes sure that what is below the prefix has this format.
pub(crate) async fn find(config: &Config, format: &'static str) -> Result<Arc<Members>, Error> {
    let members = Arc::new(Members::new(config, Arc::new(Counters::default())));
    let deadline = Instant::now() + config.timeout;
    let mut said = false;
    loop {
        let problems = match check_members(&members).await {
            Ok(()) => match claim(&members, config, format).await? {
                None => return Ok(members),
                Some(failure) => failure.text().to_owned(),
            },
            Err(CheckError::Final(err)) => return Err(err),
            Err(CheckError::Retry(problems)) => problems,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(Error::Unreachable { seconds: config.timeout.as_secs(), problems });
        }
        if !std::mem::replace(&mut said, true) {
            log::warn!("etcd does not answer; trying for {} s: {problems}", config.timeout.as_secs());
        }
        sleep(PAUSE).await;
    }
}

/// What keeps the members from being used.
enum CheckError {
    Final(Error),
    Retry(String),
}

/// Asks each member which cluster it belongs to. One that answers is enough, since the others may be gone for now.
async fn check_members(members: &Members) -> Result<(), CheckError> {
    let (mut problems, mut found, mut err) = (Vec::new(), None::<(u64, usize)>, None);
    for member in 0..members.count() {
        let status =
            members.call(member, |client| async move { client.maintenance_client().status().await }).await;
        match status {
            Ok(status) => {
                let cluster = status.header().map_or(0, ResponseHeader::cluster_id);
                match found {
                    Some((other, first)) if other != cluster => {
                        let (one, other) = (members.url(first).to_owned(), members.url(member).to_owned());
                        return Err(CheckError::Final(Error::TwoClusters { one, other }));
                    }
                    Some(_) => {}
                    None => {
                        found = Some((cluster, member));
                        members.prefer(member);
                    }
                }
            }
            Err(failure) => {
                problems.push(format!("{}: {}", members.url(member), failure.text()));
                err = err.or_else(|| members.start_error(member, &failure));
            }
        }
    }
    match (found, err) {
        (Some(_), None) => {
            for problem in problems {
                log::warn!("a member of etcd does not answer: {problem}");
            }
            Ok(())
        }
        (_, Some(err)) => Err(CheckError::Final(err)),
        (None, None) => Err(CheckError::Retry(problems.join("; "))),
    }
}

/// Makes sure of the format, and writes it where nothing is. Gives what may go away.
async fn claim(members: &Members, config: &Config, known: &'static str) -> Result<Option<Failure>, Error> {
    let layout = Layout::new(&config.prefix);
    let deadline = Instant::now() + Duration::from_secs(3);
    let failed = |failure: Failure| match members.start_error(members.current(), &failure) {
        Some(err) => Err(err),
        None => Ok(Some(failure)),
    };
    // In one transaction, since another server may start at the same time.
    let format = layout.format();
    let free = || Compare::version(format.clone(), CompareOp::Equal, 0);
    let any = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
    let check = Txn::new()
        .when([free()])
        .and_then([TxnOp::get(layout.prefix(), Some(any))])
        .or_else([TxnOp::get(format.clone(), None)]);
    let checked = match members.txn(deadline, &check).await {
        Ok(checked) => checked,
        Err(failure) => return failed(failure),
    };
    let found = checked.op_responses().into_iter().find_map(|response| match response {
        TxnOpResponse::Get(mut found) => found.take_kvs().pop(),
        _ => None,
    });
    match found {
        Some(_) if checked.succeeded() => return Err(Error::Foreign { prefix: config.prefix.clone() }),
        Some(found) if found.value() == known.as_bytes() => return Ok(None),
        Some(found) => {
            let found: String = String::from_utf8_lossy(found.value()).chars().take(20).collect();
            let prefix = config.prefix.clone();
            return Err(match kind(&found) == kind(known) {
                true => Error::Format { prefix, found, known },
                false => Error::Foreign { prefix },
            });
        }
        None => {}
    }
    // If another server is faster, the next check finds its format.
    let claim = Txn::new().when([free()]).and_then([TxnOp::put(format, known, None)]);
    match members.txn(deadline, &claim).await {
        Ok(claimed) if claimed.succeeded() => Ok(None),
        Ok(_) => Ok(Some(Failure::Unreachable("another server starts at the same time".to_owned()))),
        Err(failure) => failed(failure),
    }
}

/// What has a format, without the number of its version.
fn kind(format: &str) -> &str {
    format.trim_end_matches(|c: char| c.is_ascii_digit())
}
