//! `types`: the catalogue.

use std::process::ExitCode;

use protocol::error::{Error, Status};

use super::say;
use crate::catalogue::{self, Catalogue};
use crate::cli::Types;

/// Shows the catalogue. A definition that is broken makes the exit status that of a bad context.
///
/// # Errors
/// The folder cannot be read.
pub fn types(args: &Types) -> Result<ExitCode, Error> {
    let folder = &args.dir.types;
    let listing = Catalogue::new(folder.clone()).read().map_err(|error| {
        Error::new(
            Status::File,
            format!("cannot read the cluster types below {}: {error}", folder.display()),
            "give the folder that holds cluster-types-enabled with --types",
        )
    })?;
    say(&if args.json { catalogue::to_json(&listing).to_string() } else { catalogue::text(&listing) });
    Ok(if listing.broken.is_empty() { ExitCode::SUCCESS } else { Status::BadContext.into() })
}
