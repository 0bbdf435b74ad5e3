//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::nodes::formats::NodeFormat;
use crate::root::Root;
use help::CommandHelp;
use protocol::node::{NodeRole, NodeState};

pub mod help;
mod parse;

pub use parse::parse;

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Where every absolute path hangs.
    pub root: Root,
    /// Whether to print debugging lines.
    pub verbose: bool,
    /// The files that hold the ucernvm section; empty: find them.
    pub user_data: Vec<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Push or await, and substitute.
    Contextualize(SubstituteIn),
    /// Say that the master has booted.
    MasterReady {
        /// Whether to take the cluster back from a master that has replaced this one.
        force: bool,
    },
    /// Say that the master is not ready any more.
    WithdrawReady,
    /// Put a key.
    Publish {
        /// Its name.
        key: String,
        /// Where its value comes from.
        value: ValueSource,
        /// The file with the cluster's secret, where the context has none.
        secret_file: Option<PathBuf>,
    },
    /// Print the value of a key.
    Get {
        /// Its name.
        key: String,
        /// Whether to wait for it.
        wait: bool,
        /// The file with the cluster's secret, where the context has none.
        secret_file: Option<PathBuf>,
    },
    /// Print the nodes of the cluster.
    Nodes {
        /// Which cluster.
        cluster: ClusterSource,
        /// How.
        format: NodeFormat,
        /// Put the lines into this file instead.
        write: Option<PathBuf>,
    },
    /// Show the cluster until it is ready.
    Status {
        /// Which cluster.
        cluster: ClusterSource,
        /// So many nodes are to be ready; `None`: the master.
        nodes: Option<usize>,
        /// How long to look on; `None`: until the pin ends.
        timeout: Option<Duration>,
        /// How.
        format: OutputFormat,
    },
    /// Wait until nodes are there.
    Wait {
        /// Which cluster.
        cluster: ClusterSource,
        /// For which nodes; where their number is `None`, for all that are expected.
        wanted: BarrierArgs,
    },
    /// Render files anew when another master comes.
    Follow,
    /// Lint contexts.
    Check {
        /// The contexts.
        files: Vec<PathBuf>,
        /// How to print the findings.
        format: OutputFormat,
        /// Whether a warning counts as an error.
        strict: bool,
    },
    /// Diagnose, and print the findings so.
    Doctor(OutputFormat),
    /// Print the help of the program, or of a command.
    Help(Option<&'static CommandHelp>),
    /// Print name and version.
    Version,
}

/// Which cluster a command is about: this VM's, unless the command line names one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClusterSource {
    /// The service.
    pub url: Option<String>,
    /// The pin.
    pub pin: Option<String>,
    /// The file with the cluster's secret, where the context has none.
    pub secret_file: Option<PathBuf>,
}

/// Which nodes are waited for.
#[derive(Debug, PartialEq, Eq)]
pub struct BarrierArgs {
    /// How many.
    pub nodes: Option<usize>,
    /// How many do once the time is over.
    pub at_least: Option<usize>,
    /// How long to wait; `None`: as long as `cvm_cluster_timeout` says.
    pub time: Option<Duration>,
    /// How far each must have come.
    pub state: NodeState,
    /// Only those of this role.
    pub role: Option<NodeRole>,
    /// A file with the names that are expected.
    pub expect: Option<PathBuf>,
}

/// In what the placeholders are substituted.
#[derive(Debug, PartialEq, Eq)]
pub enum SubstituteIn {
    /// In these files; empty: in the user-data files.
    Files {
        /// The files.
        files: Vec<PathBuf>,
        /// False with `--no-wait`: look once.
        wait: bool,
    },
    /// In what cloud-init's later stages read.
    CloudInit {
        /// Parts of the user-data, whatever the section says of early mode; empty: what the later stages read.
        files: Vec<PathBuf>,
    },
    /// In parts of the user-data that cloud-init has not looked at yet, where the section switches early mode on.
    Early {
        /// All parts.
        parts: Vec<PathBuf>,
    },
    /// In the µCernVM boot loader's user-data.
    Bootloader,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A line each, and the next step below it.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Where `publish` takes the value from.
#[derive(Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The command line.
    Literal(String),
    /// `@FILE`.
    File(PathBuf),
    /// `-`.
    StandardInput,
}
