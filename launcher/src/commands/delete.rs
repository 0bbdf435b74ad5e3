//! `delete`: the end of a cluster.

use std::path::Path;
use std::process::ExitCode;

use protocol::error::{Error, Status};

use super::list::find;
use super::{environment, say};
use crate::cli::Delete;
use crate::launch::{Removal, remove};

/// Deletes a cluster.
///
/// # Errors
/// There is no such cluster, or the cloud does not delete it.
pub fn delete(args: &Delete) -> Result<ExitCode, Error> {
    let launcher = environment::launcher(Path::new("."), &args.access.data, &args.access.pairing)?;
    let record = find(&launcher, &args.name)?;
    let mut session = environment::session(&args.access.cloud)?;
    if record.project_id != session.project_id() {
        let what = format!("the cluster {} was launched in another project", record.name);
        return Err(Error::new(Status::Usage, what, "give that project's credentials"));
    }
    let removal = remove(&launcher, &mut session, &record, args.timeout);
    match removal.map_err(|refused| refused.to_error())? {
        Removal::Gone => {
            say(&format!("nothing is left of the cluster {}", record.name));
            Ok(ExitCode::SUCCESS)
        }
        Removal::Failed(reason) => {
            let what = format!("Heat cannot delete the stack of the cluster {}: {reason}", record.name);
            Err(Error::refused(what, "mend the cause in the cloud, and delete it again"))
        }
        Removal::Going => {
            let what = format!("the stack of the cluster {} is not gone", record.name);
            Err(Error::timed_out(&what, args.timeout, "delete it again, to see to its end"))
        }
    }
}
