//! From the words of a command line to a command, or to what is wrong with them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use super::help::{COMMANDS, CommandHelp};
use super::{Args, BarrierArgs, ClusterSource, Command, OutputFormat, SubstituteIn, ValueSource};
use crate::nodes::formats::NodeFormat;
use crate::root::Root;
use context::nearest::nearest;
use context::settings::MAX_TIMEOUT;
use protocol::error::Error;
use protocol::node::{NODES_PER_PIN, NodeRole, NodeState};

/// Reads a command line, without the program's name.
///
/// # Errors
/// [`Status::Usage`](protocol::error::Status::Usage), which says what is wrong with it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Error> {
    let mut words = RawArguments::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Long("root") => words.root = Root::from(parser.value().map_err(usage)?),
            Long("user-data") => words.user_data.push(parser.value().map_err(usage)?.into()),
            Long("verbose") | Short('v') => words.verbose = true,
            Long("cloud-init") => words.cloud_init = true,
            Long("early") => words.early = true,
            Long("bootloader") => words.bootloader = true,
            Long("no-wait") => words.no_wait = true,
            Long("wait") => words.wait = true,
            Long("json") => words.json = true,
            Long("force") => words.force = true,
            Long("format") => words.node_format = Some(text(parser.value().map_err(usage)?)?),
            Long("write") => words.write = Some(parser.value().map_err(usage)?.into()),
            Long("url") => words.url = Some(text(parser.value().map_err(usage)?)?),
            Long("pin") => words.pin = Some(text(parser.value().map_err(usage)?)?),
            Long("nodes") => words.nodes = Some(number("--nodes", parser.value().map_err(usage)?)?),
            Long("at-least") => words.at_least = Some(number("--at-least", parser.value().map_err(usage)?)?),
            Long("timeout") => words.timeout = Some(number("--timeout", parser.value().map_err(usage)?)?),
            Long("for") => words.time = Some(number("--for", parser.value().map_err(usage)?)?),
            Long("state") => words.state = Some(text(parser.value().map_err(usage)?)?),
            Long("role") => words.role = Some(text(parser.value().map_err(usage)?)?),
            Long("expect") => words.expect = Some(parser.value().map_err(usage)?.into()),
            Long("secret-file") => words.secret_file = Some(parser.value().map_err(usage)?.into()),
            Long("withdraw") => words.withdraw = true,
            Long("strict") => words.strict = true,
            Long("help") | Short('h') => words.help = true,
            Long("version") | Short('V') => words.version = true,
            Value(word) => words.positional.push(word),
            Long(option) => return Err(unknown("option", &format!("--{option}"), &OPTIONS)),
            other => return Err(usage(other.unexpected())),
        }
    }
    words.into_args()
}

/// The words of a command line before they are known to make sense together.
#[derive(Default)]
struct RawArguments {
    root: Root,
    user_data: Vec<PathBuf>,
    verbose: bool,
    cloud_init: bool,
    early: bool,
    bootloader: bool,
    no_wait: bool,
    wait: bool,
    json: bool,
    force: bool,
    withdraw: bool,
    secret_file: Option<PathBuf>,
    node_format: Option<String>,
    write: Option<PathBuf>,
    url: Option<String>,
    pin: Option<String>,
    nodes: Option<usize>,
    at_least: Option<usize>,
    time: Option<usize>,
    timeout: Option<usize>,
    state: Option<String>,
    role: Option<String>,
    expect: Option<PathBuf>,
    strict: bool,
    help: bool,
    version: bool,
    positional: Vec<OsString>,
}

impl RawArguments {
    fn into_args(mut self) -> Result<Args, Error> {
        let command = self.command()?;
        Ok(Args { root: self.root, verbose: self.verbose, user_data: self.user_data, command })
    }

    fn command(&mut self) -> Result<Command, Error> {
        let mut rest = std::mem::take(&mut self.positional).into_iter();
        if self.version {
            return Ok(Command::Version);
        }
        let first = rest.next().map(text).transpose()?;
        if self.help || first.as_deref() == Some("help") {
            let of = if self.help { first } else { rest.next().map(text).transpose()? };
            return Ok(Command::Help(of.as_deref().map(help_of).transpose()?));
        }
        let name = first.ok_or_else(|| Error::usage("which command?"))?;
        self.only_where_they_belong(&name)?;
        let command = match name.as_str() {
            "contextualize" => Command::Contextualize(self.target(&mut rest)?),
            "master-ready" => match (self.force, self.withdraw) {
                (true, true) => return Err(Error::usage("--force and --withdraw exclude each other")),
                (force, false) => Command::MasterReady { force },
                (false, true) => Command::WithdrawReady,
            },
            "publish" => Command::Publish {
                key: key(&mut rest)?,
                value: value_source(&mut rest)?,
                secret_file: self.secret_file.take(),
            },
            "get" => {
                Command::Get { key: key(&mut rest)?, wait: self.wait, secret_file: self.secret_file.take() }
            }
            "follow" => Command::Follow,
            "nodes" => self.nodes_command()?,
            "wait" => self.wait_command()?,
            "status" => self.status_command()?,
            "check" => {
                let files = files_of_check(&mut rest)?;
                Command::Check { files, format: self.format(), strict: self.strict }
            }
            "doctor" => Command::Doctor(self.format()),
            _ => return Err(unknown_command(&name)),
        };
        match rest.next() {
            None => Ok(command),
            Some(extra) => Err(Error::usage(format!("'{name}' does not take '{}'", extra.to_string_lossy()))),
        }
    }

    fn nodes_command(&mut self) -> Result<Command, Error> {
        let format = match (&self.node_format, &self.write) {
            (Some(name), _) => {
                let known = NodeFormat::ALL.iter().find(|(_, known)| known == name);
                let names = NodeFormat::ALL.map(|(_, name)| name).join(", ");
                known.ok_or_else(|| Error::usage(format!("--format is one of {names}, not '{name}'")))?.0
            }
            (None, _) => NodeFormat::default(),
        };
        if self.write.is_some() && !format.is_block() {
            return Err(Error::usage("--write goes with --format hosts, known_hosts or hostfile"));
        }
        Ok(Command::Nodes { cluster: self.cluster()?, format, write: self.write.take() })
    }

    fn wait_command(&mut self) -> Result<Command, Error> {
        let state = self.state.as_deref().map_or(Ok(NodeState::Ready), |name| {
            NodeState::parse(name)
                .filter(|state| matches!(state, NodeState::Joined | NodeState::Ready))
                .ok_or_else(|| Error::usage(format!("--state is joined or ready, not '{name}'")))
        })?;
        let role = self.role.as_deref().map(|name| {
            NodeRole::parse(name)
                .ok_or_else(|| Error::usage(format!("--role is master or slave, not '{name}'")))
        });
        let role = role.transpose()?;
        self.check_counts()?;
        if self.nodes.is_none() && self.expect.is_none() {
            return Err(Error::usage("'wait' needs --nodes N, or --expect FILE with their names"));
        }
        if self.at_least.is_some() && (self.time.is_none() || self.at_least > self.nodes.or(self.at_least)) {
            return Err(Error::usage("--at-least M goes with --for SECONDS, and is at most --nodes"));
        }
        let most = MAX_TIMEOUT.as_secs();
        let time = self.time.map(|seconds| Duration::from_secs(seconds as u64));
        if time.is_some_and(|time| time.is_zero() || time > MAX_TIMEOUT) {
            return Err(Error::usage(format!("--for is a number of seconds from 1 to {most}")));
        }
        let (nodes, at_least, expect) = (self.nodes, self.at_least, self.expect.take());
        let wanted = BarrierArgs { nodes, at_least, time, state, role, expect };
        Ok(Command::Wait { cluster: self.cluster()?, wanted })
    }

    fn status_command(&mut self) -> Result<Command, Error> {
        self.check_counts()?;
        if self.timeout == Some(0) {
            return Err(Error::usage("--timeout is a number of seconds from 1 on"));
        }
        let timeout = self.timeout.map(|seconds| Duration::from_secs(seconds as u64));
        let (nodes, format) = (self.nodes, self.format());
        Ok(Command::Status { cluster: self.cluster()?, nodes, timeout, format })
    }

    fn check_counts(&self) -> Result<(), Error> {
        for (option, count) in [("--nodes", self.nodes), ("--at-least", self.at_least)] {
            if count.is_some_and(|count| !(1..=NODES_PER_PIN).contains(&count)) {
                let problem =
                    format!("{option} is a number from 1 to {NODES_PER_PIN}: a cluster has no more");
                return Err(Error::usage(problem));
            }
        }
        Ok(())
    }

    fn cluster(&mut self) -> Result<ClusterSource, Error> {
        let cluster = ClusterSource {
            url: self.url.take(),
            pin: self.pin.take(),
            secret_file: self.secret_file.take(),
        };
        match (&cluster.url, &cluster.pin) {
            (Some(_), None) => Err(Error::usage("--url goes with --pin")),
            (_, Some(_)) if !self.user_data.is_empty() => {
                Err(Error::usage("--pin and --user-data exclude each other"))
            }
            _ => Ok(cluster),
        }
    }

    fn target(&self, rest: &mut impl Iterator<Item = OsString>) -> Result<SubstituteIn, Error> {
        match (self.cloud_init, self.early, self.bootloader) {
            (true, false, false) => Ok(SubstituteIn::CloudInit { files: rest.map(PathBuf::from).collect() }),
            (false, true, false) => Ok(SubstituteIn::Early { parts: rest.map(PathBuf::from).collect() }),
            (false, false, true) => Ok(SubstituteIn::Bootloader),
            (false, false, false) => {
                Ok(SubstituteIn::Files { files: rest.map(PathBuf::from).collect(), wait: !self.no_wait })
            }
            _ => Err(Error::usage("--cloud-init, --early and --bootloader exclude each other")),
        }
    }

    fn format(&self) -> OutputFormat {
        if self.json { OutputFormat::Json } else { OutputFormat::Text }
    }

    fn only_where_they_belong(&self, command: &str) -> Result<(), Error> {
        for (given, option, homes) in [
            (self.cloud_init, "--cloud-init", &["contextualize"][..]),
            (self.early, "--early", &["contextualize"]),
            (self.bootloader, "--bootloader", &["contextualize"]),
            (self.no_wait, "--no-wait", &["contextualize"]),
            (self.wait, "--wait", &["get"]),
            (self.json, "--json", &["status", "check", "doctor"]),
            (self.force, "--force", &["master-ready"]),
            (self.withdraw, "--withdraw", &["master-ready"]),
            (self.strict, "--strict", &["check"]),
            (self.secret_file.is_some(), "--secret-file", &["publish", "get", "nodes", "wait", "status"]),
            (self.node_format.is_some(), "--format", &["nodes"]),
            (self.write.is_some(), "--write", &["nodes"]),
            (self.url.is_some(), "--url", &["nodes", "wait", "status"]),
            (self.pin.is_some(), "--pin", &["nodes", "wait", "status"]),
            (self.nodes.is_some(), "--nodes", &["wait", "status"]),
            (self.at_least.is_some(), "--at-least", &["wait"]),
            (self.time.is_some(), "--for", &["wait"]),
            (self.timeout.is_some(), "--timeout", &["status"]),
            (self.state.is_some(), "--state", &["wait"]),
            (self.role.is_some(), "--role", &["wait"]),
            (self.expect.is_some(), "--expect", &["wait"]),
        ] {
            if given && !homes.contains(&command) {
                let homes = homes.join("' and '");
                return Err(Error::usage(format!("{option} belongs to '{homes}', not to '{command}'")));
            }
        }
        if command == "check" && !self.user_data.is_empty() {
            return Err(Error::usage("'check' takes its files without --user-data"));
        }
        Ok(())
    }
}

fn key(rest: &mut impl Iterator<Item = OsString>) -> Result<String, Error> {
    let name = text(rest.next().ok_or_else(|| Error::usage("which key?"))?)?;
    if protocol::key::is_addressable(&name) && name.len() <= protocol::limits::KEY_MAX_CHARS {
        Ok(name)
    } else {
        Err(Error::usage(format!("'{name}' cannot be a key: 1 to 100 letters, digits, '-' and '_'")))
    }
}

fn value_source(rest: &mut impl Iterator<Item = OsString>) -> Result<ValueSource, Error> {
    let word =
        rest.next().ok_or_else(|| Error::usage("which value? Give VALUE, @FILE, or - for standard input"))?;
    let word = text(word)?;
    Ok(match word.strip_prefix('@') {
        Some(file) => ValueSource::File(file.into()),
        None if word == "-" => ValueSource::StandardInput,
        None => ValueSource::Literal(word),
    })
}

fn files_of_check(rest: &mut impl Iterator<Item = OsString>) -> Result<Vec<PathBuf>, Error> {
    let files: Vec<_> = rest.map(PathBuf::from).collect();
    if files.is_empty() { Err(Error::usage("'check' needs a file")) } else { Ok(files) }
}

/// Every option, for a hint at the one that was meant.
pub(super) const OPTIONS: [&str; 25] = [
    "--root",
    "--user-data",
    "--verbose",
    "--cloud-init",
    "--early",
    "--bootloader",
    "--no-wait",
    "--wait",
    "--json",
    "--force",
    "--withdraw",
    "--strict",
    "--secret-file",
    "--format",
    "--write",
    "--url",
    "--pin",
    "--nodes",
    "--at-least",
    "--for",
    "--timeout",
    "--state",
    "--role",
    "--expect",
    "--help",
];

fn help_of(name: &str) -> Result<&'static CommandHelp, Error> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| unknown_command(name))
}

fn unknown_command(name: &str) -> Error {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    unknown("command", name, &names)
}

/// Names the word that was probably meant.
fn unknown(what: &str, word: &str, known: &[&str]) -> Error {
    match nearest(word, known) {
        Some(meant) => Error::usage(format!("there is no {what} '{word}': did you mean '{meant}'?")),
        None => Error::usage(format!("there is no {what} '{word}'")),
    }
}

fn number(option: &str, word: OsString) -> Result<usize, Error> {
    let word = text(word)?;
    word.parse().map_err(|_| Error::usage(format!("{option} is a number, not '{word}'")))
}

fn text(word: OsString) -> Result<String, Error> {
    word.into_string().map_err(|word| Error::usage(format!("'{}' is not UTF-8", word.to_string_lossy())))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn usage(error: lexopt::Error) -> Error {
    Error::usage(error.to_string())
}

#[cfg(test)]
mod tests;
