//! Man pages.

use std::io;

use clap::Command;
use cluster_agent::help::{COMMANDS, CommandHelp, OPTIONS};
use protocol::error::Status;
use roff::{Roff, bold, roman};

use crate::agent::NAME;

/// The section of commands for users, and of those for administrators (man-pages(7)).
pub(crate) const USERS: &str = "1";
pub(crate) const ADMINISTRATORS: &str = "8";

/// A page and its file's name.
pub(crate) struct Page {
    /// `cernvm-pairing-server.8`.
    pub(crate) file: String,
    /// The page in roff.
    pub(crate) roff: Vec<u8>,
}

/// The page of the program, and one page for each of its commands.
///
/// # Errors
/// None but those of writing to memory.
pub(crate) fn pages(program: &Command, section: &str) -> io::Result<Vec<Page>> {
    let mut program = program.clone().disable_help_flag(true);
    program.build();
    let name = program.get_name().to_owned();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| {
        let page = format!("{name}-{}", command.get_name());
        // The long version names a commit, so that a page would change with every commit.
        (page.clone(), command.clone().display_name(page))
    });
    let pages = std::iter::once((name.clone(), program.clone())).chain(commands);
    pages.map(|(name, command)| page(&name, command, section)).collect()
}

fn page(name: &str, command: Command, section: &str) -> io::Result<Page> {
    let command = command.version(env!("CARGO_PKG_VERSION"));
    let mut roff = Vec::new();
    clap_mangen::Man::new(command)
        .section(section)
        .source(format!("cernvm-cluster {}", env!("CARGO_PKG_VERSION")))
        .manual("cernvm-cluster")
        .render(&mut roff)?;
    Ok(Page { file: format!("{name}.{section}"), roff })
}

/// The page of the agent: section 1, since users run it too (`check`, `get`).
pub(crate) fn agent_page() -> Page {
    let mut page = Roff::new();
    let version = format!("cernvm-cluster {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", [NAME, "1", "", version.as_str(), "cernvm-cluster"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{NAME} - push or await the values of a cluster's master"))]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(NAME), roman(" [--root DIR] [--verbose] COMMAND ...")]);
    page.control("SH", ["COMMANDS"]);
    COMMANDS.iter().for_each(|command| describe(&mut page, command));
    page.control("SH", ["OPTIONS"]);
    preformatted(&mut page, OPTIONS.lines().skip(1));
    page.control("SH", ["EXIT STATUS"]);
    let statuses = Status::ALL.iter().map(|status| (status.code(), status.meaning()));
    for (code, meaning) in std::iter::once((0, "done or nothing to do")).chain(statuses) {
        page.control("TP", []);
        page.text([bold(code.to_string())]);
        page.text([roman(meaning)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("cernvm-pairing-server"), roman("(8), "), bold("cloud-init"), roman("(1)")]);
    Page { file: format!("{NAME}.1"), roff: page.render().into_bytes() }
}

fn describe(page: &mut Roff, command: &CommandHelp) {
    page.control("SS", [command.name]);
    for form in command.usage {
        page.text([bold(command.name), roman(format!(" {form}"))]);
        page.control("br", []);
    }
    let mut summary = command.summary.to_owned();
    summary[..1].make_ascii_uppercase();
    page.control("PP", []);
    page.text([roman(format!("{summary}."))]);
    preformatted(page, command.details.lines());
}

/// Lines as the help has them.
fn preformatted<'a>(page: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    page.control("PP", []);
    page.control("nf", []);
    for line in lines {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn name_every_command_flag_and_status() {
        let agent = String::from_utf8(agent_page().roff).expect("roff is text");
        for command in COMMANDS {
            assert!(
                agent.contains(&format!(".SS {}", command.name.replace('-', "\\-")))
                    || agent.contains(&format!(".SS {}", command.name)),
                "{}",
                command.name
            );
        }
        let service = pairing_server::cli::Cli::command();
        let pages = pages(&service, ADMINISTRATORS).expect("memory takes every byte");
        assert_eq!(pages.len(), 1 + service.get_subcommands().count());
        for (page, command) in pages[1..].iter().zip(service.get_subcommands()) {
            let text = String::from_utf8_lossy(&page.roff).replace('\\', "");
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&format!("--{flag}")), "{} has no --{flag}", page.file);
            }
        }
    }
}
