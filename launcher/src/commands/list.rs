//! `list` and `show`: what was launched from here, as it is now.

use std::path::Path;
use std::process::ExitCode;

use protocol::error::{Error, Status};
use serde_json::Value;

use super::{environment, say};
use crate::cli::{List, Show};
use crate::launch::{Launcher, Record, Refused};
use crate::openstack::Session;
use crate::view::{View, look, row, rows, table};

/// Shows all clusters.
///
/// # Errors
/// The records cannot be read.
pub fn list(args: &List) -> Result<ExitCode, Error> {
    let launcher = environment::launcher(Path::new("."), &args.access.data, &args.access.pairing)?;
    let records = launcher.records.all().map_err(|error| Refused::Records(error).to_error())?;
    let records: Vec<Record> = records.into_iter().filter(|record| !record.abandoned).collect();
    let mut session = if records.is_empty() { None } else { login(args) };
    let seen: Vec<(Record, View)> = records
        .into_iter()
        .map(|record| {
            let mut record = record;
            let view = see(&launcher, session.as_mut(), &mut record);
            (record, view)
        })
        .collect();
    if args.json {
        let list: Vec<Value> = seen.iter().map(|(record, view)| row(record, view)).collect();
        say(&Value::Array(list).to_string());
    } else {
        say(&rows(&seen));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows one cluster.
///
/// # Errors
/// There is no such cluster, or the records cannot be read.
pub fn show(args: &Show) -> Result<ExitCode, Error> {
    let launcher = environment::launcher(Path::new("."), &args.list.access.data, &args.list.access.pairing)?;
    let mut record = find(&launcher, &args.name)?;
    let mut session = login(&args.list);
    let view = see(&launcher, session.as_mut(), &mut record);
    say(&if args.list.json { row(&record, &view).to_string() } else { table(&record, &view) });
    Ok(ExitCode::SUCCESS)
}

/// The launch that a name means.
pub(super) fn find(launcher: &Launcher, name: &str) -> Result<Record, Error> {
    let found = launcher.records.find(name).map_err(|error| Refused::Records(error).to_error())?;
    found.ok_or_else(|| {
        Error::new(
            Status::Usage,
            format!("no cluster {name} was launched from here"),
            "see which with `list`",
        )
    })
}

/// What was seen last is worth showing when the cloud cannot be asked.
fn login(args: &List) -> Option<Session> {
    match environment::session(&args.access.cloud) {
        Ok(session) => Some(session),
        Err(error) => {
            log::warn!("the cloud is not asked: {error}\n  next: {}", error.next_step());
            None
        }
    }
}

fn see(launcher: &Launcher, session: Option<&mut Session>, record: &mut Record) -> View {
    let session = session.filter(|session| session.project_id() == record.project_id);
    let before = View::from_record(record);
    look(launcher, session, record, &before, None)
}
