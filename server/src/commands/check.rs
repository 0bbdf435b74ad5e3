//! `check`: looks contexts over, as the agent's command of that name does.

use std::path::PathBuf;

use clap::Args;
use context::check;

use crate::error::Error;

/// Which contexts to look over.
#[derive(Debug, Args)]
pub struct Check {
    /// The contexts.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Let warnings fail it too.
    #[arg(long)]
    strict: bool,
}

impl Check {
    /// Looks the contexts over. Gives what to print, and whether they will work.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn run(&self) -> Result<(String, bool), Error> {
        let findings = check::check(&self.files)?;
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(check::Severity::Error), count(check::Severity::Warning));
        let mut lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        lines.push(format!("{} files, {errors} errors, {warnings} warnings", self.files.len()));
        Ok((lines.join("\n"), errors == 0 && !(self.strict && warnings > 0)))
    }
}
