//! What a run leaves behind: a table for people, JSON for programs, pictures for the documentation.

mod goals;
mod plot;
pub(crate) mod results;
mod table;

use std::path::Path;

use serde::Serialize;

use crate::error::{Result, WithContext};
use crate::machine::Machine;
use crate::parts::Plan;

use results::{Results, Summary};

/// A run, done.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// How much.
    pub(crate) plan: Plan,
    /// The subject.
    pub(crate) versions: Vec<String>,
    /// What.
    pub(crate) results: Results,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    summaries: Vec<Summary>,
}

impl Report {
    /// Prints the table, and writes it, the JSON and the pictures into a directory.
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        let save = |name: &str, contents: &str| {
            let path = out.join(name);
            std::fs::write(&path, contents).context_on("write", &path)
        };
        let page = table::page(self);
        println!("{page}");
        save("report.md", &page)?;
        let json = Json { report: self, summaries: self.results.summaries() };
        save("results.json", &serde_json::to_string_pretty(&json).expect("it is only numbers and text"))?;
        for (name, picture) in plot::pictures(&self.results) {
            save(&name, &picture)?;
        }
        eprintln!("report.md, results.json and the pictures are in {}", out.display());
        Ok(())
    }
}
