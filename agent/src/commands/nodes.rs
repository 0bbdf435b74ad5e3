//! `nodes`, `wait` and `status`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Pins;
use client::seal::Seal;
use client::watch::Watch;
use context::document::Document;
use context::settings::{FoundSection, Settings};
use protocol::error::{Error, Status};
use protocol::node;
use protocol::url::ServiceUrl;

use super::{cluster, read_secret};
use crate::backoff::{Deadline, SystemClock};
use crate::cli::{BarrierArgs, ClusterSource, OutputFormat};
use crate::nodes::barrier::{self, Barrier};
use crate::nodes::block;
use crate::nodes::formats::{NodeFormat, render};
use crate::root::Root;
use crate::session::Session;

/// What `nodes` has to show.
#[derive(Debug)]
pub enum NodesOutput {
    /// The nodes, to be printed.
    Text(String),
    /// That they were put into a file.
    Written(String),
}

/// `nodes`: the nodes of the cluster in a format, or put into a file.
///
/// # Errors
/// As [`barrier::list`], [`block::write`] and [`settings`].
pub fn nodes(
    root: &Root,
    user_data: &[PathBuf],
    source: &ClusterSource,
    format: NodeFormat,
    write: Option<&Path>,
) -> Result<NodesOutput, Error> {
    let settings = settings(root, user_data, source)?;
    let mut session = Session::new(&settings, SystemClock::default())?;
    let members = barrier::list(&mut session, seal(&settings).as_ref())?;
    members.warn_of_refused();
    let text = render(&members, format);
    let Some(path) = write.map(|path| root.path(path)) else { return Ok(NodesOutput::Text(text)) };
    let lines = text.lines().count();
    let changed = block::write(root, &path, &text)?;
    let how = if changed { "now has" } else { "has already" };
    Ok(NodesOutput::Written(format!("{} {how} {lines} lines of the cluster's nodes", path.display())))
}

/// `wait`: the nodes as a table, once enough are there.
///
/// # Errors
/// As [`barrier::wait`] and [`settings`]; 74 or 65 for the file of names.
pub fn wait(
    root: &Root,
    user_data: &[PathBuf],
    source: &ClusterSource,
    wanted: &BarrierArgs,
) -> Result<String, Error> {
    let expected = wanted.expect.as_ref().map(|file| read_names(&root.path(file))).transpose()?;
    let expected = expected.unwrap_or_default();
    let barrier = Barrier {
        nodes: wanted.nodes.unwrap_or(expected.len()),
        at_least: wanted.at_least,
        state: wanted.state,
        role: wanted.role,
        expected,
    };
    let settings = settings(root, user_data, source)?;
    let mut session = Session::new(&settings, SystemClock::default())?;
    let deadline = Deadline::of(session.clock(), wanted.time.unwrap_or(settings.timeout));
    let members = barrier::wait(&mut session, seal(&settings).as_ref(), &barrier, &deadline)?;
    members.warn_of_refused();
    Ok(render(&members, NodeFormat::Table))
}

/// `status`: the cluster until it is ready. Gives what to print at the end.
///
/// # Errors
/// As [`Watch::run`] and [`settings`].
pub fn status(
    root: &Root,
    user_data: &[PathBuf],
    source: &ClusterSource,
    nodes: Option<usize>,
    timeout: Option<Duration>,
    format: OutputFormat,
) -> Result<String, Error> {
    let settings = settings(root, user_data, source)?;
    let service = |url: &ServiceUrl| Pins::of_context(url.clone(), &settings.trust);
    let services = settings.services.iter().map(|url| Ok([service(url)?, service(url)?]));
    let services = services.collect::<Result<_, Error>>()?;
    let (seal, json) = (seal(&settings), format == OutputFormat::Json);
    Watch { pin: settings.pin, seal, nodes, timeout, json }.run(services)
}

fn seal(settings: &Settings) -> Option<Seal> {
    settings.secret.as_ref().map(|secret| Seal::new(secret, &settings.pin))
}

/// The cluster that a command line names, or this VM's.
///
/// # Errors
/// As for this VM's; 65 when what the command line names makes no sense, without the pin in the sentence.
fn settings(root: &Root, user_data: &[PathBuf], source: &ClusterSource) -> Result<Settings, Error> {
    let secret_file = source.secret_file.as_deref();
    let Some(pin) = &source.pin else { return cluster(root, user_data, secret_file) };
    let url = source.url.as_deref().unwrap_or_default();
    if pin.contains(['\n', '\r']) || url.contains(['\n', '\r']) {
        return Err(Error::usage("--pin and --url are one line each"));
    }
    // As a section says it, so that the same rules hold.
    let section = format!("[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={url}\n[ucernvm-end]\n");
    let section = Document::parse("the command line", section.into_bytes())?.section()?;
    let found = Settings::from_sections(section.as_slice())?;
    let FoundSection::Cluster(mut settings) = found else { return Err(Error::usage("--pin has no value")) };
    settings.secret = secret_file.map(|file| read_secret(&root.path(file))).transpose()?;
    Ok(settings)
}

/// The names in a file, one in each line; what follows a `#` is a comment.
fn read_names(path: &Path) -> Result<BTreeSet<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::cannot_read(path, error))?;
    let mut names = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let name = line.split('#').next().unwrap_or_default().trim().to_ascii_lowercase();
        if name.is_empty() {
            continue;
        }
        if !node::is_host_name(&name) {
            let place = format!("{} line {number}", path.display());
            return Err(Error::context(place, "it is no host name", "write one name in each line"));
        }
        names.insert(name);
    }
    if names.is_empty() || names.len() > node::NODES_PER_PIN {
        let what = format!("{}: it has {} names", path.display(), names.len());
        let next = format!("write 1 to {} names, one in each line", node::NODES_PER_PIN);
        return Err(Error::new(Status::BadContext, what, next));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_says_which_line_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names");
        std::fs::write(&path, "# all\nN1.example\n\n n2 # the second\nn2\n").unwrap();
        assert_eq!(read_names(&path).unwrap(), ["n1.example", "n2"].map(str::to_owned).into());
        for (text, says) in [("n1\na b\n", "names line 2: it is no host name"), ("#\n", "it has 0 names")] {
            std::fs::write(&path, text).unwrap();
            let error = read_names(&path).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.status(), Status::BadContext);
        }
        assert_eq!(read_names(&dir.path().join("none")).unwrap_err().status(), Status::File);
    }

    #[test]
    fn takes_a_cluster_from_the_command_line_by_the_rules_of_a_section() {
        let source = |pin: &str, url: Option<&str>| ClusterSource {
            pin: Some(pin.to_owned()),
            url: url.map(str::to_owned),
            secret_file: None,
        };
        let named = |source| settings(&Root::default(), &[], &source);
        let found = named(source("enico1qq0oey", Some("http://pair:8080"))).unwrap();
        assert_eq!(
            (found.pin.reveal(), found.services[0].to_string().as_str()),
            ("enico1qq0oey", "http://pair:8080")
        );
        assert!(named(source("enico1qq0oey", None)).unwrap().services[0].is_secure());
        for (pin, url) in [("s3cr3t/x", None), ("enico1qq0oey", Some("ftp://x")), ("", None)] {
            let error = named(source(pin, url)).unwrap_err();
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
        assert!(named(source("a\ncvm_service_url=http://evil", None)).is_err());
    }
}
