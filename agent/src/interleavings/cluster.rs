//! Machines and services at one moment, and what can happen next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::error::Status;
use protocol::key::{MASTER_IP, MASTER_READY};

use super::replay::{CacheBytes, OwnedRequest, Program, Reply, RunPosition};

/// A machine of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct MachineSpec {
    pub(super) name: &'static str,
    pub(super) is_master: bool,
    /// Its addresses, one for each time that it changes.
    pub(super) addresses: &'static [&'static str],
    /// An address of a second interface, which the rule may come to choose in the middle of a boot.
    pub(super) second: Option<&'static str>,
    /// What it publishes; empty where it publishes nothing.
    pub(super) token: &'static str,
}

impl MachineSpec {
    pub(super) fn has(&self, address: &str) -> bool {
        self.addresses.contains(&address) || self.second == Some(address)
    }
}

/// How often each thing may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Requests or answers that are lost.
    pub(super) losses: u8,
    /// Power cuts of masters, each of which may change the machine's address.
    pub(super) master_cuts: u8,
    /// Orderly reboots of masters.
    pub(super) shutdowns: u8,
    /// Reboots and power cuts of slaves.
    pub(super) slave_cuts: u8,
    /// Times that a URL goes out of reach.
    pub(super) outages: u8,
    /// Times that the service loses its memory.
    pub(super) losses_of_memory: u8,
    /// Backups that are restored.
    pub(super) restores: u8,
    /// Times that the rule changes its choice to the other interface.
    pub(super) moves: u8,
    /// Boots with a wrong wall clock.
    pub(super) wrong_clocks: u8,
    /// Times that the unit runs again what failed.
    pub(super) restarts: u8,
    /// Times that a person takes the cluster back.
    pub(super) forces: u8,
}

/// The keys of the pin; `None` where the service does not know it.
pub(super) type Keys = Option<BTreeMap<String, String>>;

/// A service's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) keys: Keys,
    pub(super) backup: Keys,
}

impl Store {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.keys.as_ref()?.get(key).map(String::as_str)
    }

    /// The address that is ready by the service's word.
    pub(super) fn ready(&self) -> Option<&str> {
        self.get(MASTER_READY).filter(|ready| self.get(MASTER_IP) == Some(ready))
    }

    /// Does what is asked, and answers.
    pub(super) fn serve(&mut self, asked: &OwnedRequest) -> Reply {
        let Some(keys) = &mut self.keys else { return Reply::UnknownPin };
        match asked {
            OwnedRequest::Cluster => Reply::done(),
            OwnedRequest::Get { key, wait } => match keys.get(key) {
                Some(value) => Reply::value(value),
                None if *wait > 0 => Reply::waited(*wait),
                None => Reply::missing(),
            },
            OwnedRequest::Create { key, .. } if keys.contains_key(key) => Reply::exists(),
            OwnedRequest::Create { key, value } => {
                keys.insert(key.clone(), value.clone());
                Reply::done()
            }
            OwnedRequest::Replace { key, value } => match keys.get_mut(key) {
                Some(there) => {
                    there.clone_from(value);
                    Reply::done()
                }
                None => Reply::missing(),
            },
            OwnedRequest::Delete { key } => keys.remove(key).map_or_else(Reply::missing, |_| Reply::done()),
        }
    }
}

/// What a machine is at one moment, beside its run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MachineState {
    /// How often it has booted; 0 before it is launched.
    pub(super) boots: u8,
    /// Which of its addresses it has.
    pub(super) address: usize,
    /// Which it has after the shutdown that is under way.
    pub(super) next_address: usize,
    /// Whether the rule chooses the second interface now.
    pub(super) on_second: bool,
    pub(super) clock_is_wrong: bool,
    /// The address that the master's own files have in this boot.
    pub(super) files: Option<String>,
    /// Whether this boot's push went well.
    pub(super) has_pushed: bool,
    /// Whether this boot has written `master_ready`.
    pub(super) has_written_ready: bool,
    /// Whether the machine has published its token, in this boot or before.
    pub(super) has_published: bool,
}

impl MachineState {
    pub(super) fn off() -> Self {
        Self {
            boots: 0,
            address: 0,
            next_address: 0,
            on_second: false,
            clock_is_wrong: false,
            files: None,
            has_pushed: false,
            has_written_ready: false,
            has_published: false,
        }
    }
}

/// Everything at one moment. Runs are numbers of the search's table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) machines: Vec<MachineState>,
    pub(super) runs: Vec<Option<u32>>,
    pub(super) stores: Vec<Store>,
    /// Whether each URL is in reach.
    pub(super) up: Vec<bool>,
    pub(super) budget: Budget,
    /// The addresses that were ready at some moment of a slave's run.
    pub(super) was_ready: Vec<BTreeSet<String>>,
    /// The masters that the service had confirmed and another one has replaced since.
    pub(super) retired: BTreeSet<usize>,
    /// Those that were retired when their run began.
    pub(super) began_retired: BTreeSet<usize>,
    /// Whether a service has lost what was stored, so that it takes a person to heal the cluster.
    pub(super) has_lost: bool,
    /// Whether a master has taken the cluster over between another one's look and the write that follows it.
    pub(super) has_overtaken: bool,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Launch {
        machine: usize,
        clock_is_wrong: bool,
    },
    /// The request is served and its answer arrives.
    Answer(usize),
    /// The request does not arrive.
    LoseRequest(usize),
    /// The request is served, and its answer is lost.
    LoseAnswer(usize),
    /// A power cut, or a slave's reboot, that leaves this version of the disk.
    Cut {
        machine: usize,
        disk: CacheBytes,
        address: usize,
        clock_is_wrong: bool,
    },
    Shutdown {
        machine: usize,
        address: usize,
    },
    Restart(usize),
    Force(usize),
    ChooseOther(usize),
    SetClock(usize),
    UrlDown(usize),
    UrlUp(usize),
    LoseMemory(usize),
    Backup(usize),
    Restore(usize),
}

/// How an event reads in a trace.
pub(super) struct EventText<'a> {
    pub(super) event: &'a Event,
    pub(super) specs: &'a [MachineSpec],
    pub(super) before: &'a State,
    /// Where the machine of the event has got to.
    pub(super) at: Option<&'a RunPosition>,
    pub(super) program: Option<Program>,
}

impl fmt::Display for EventText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |machine: &usize| self.specs[*machine].name;
        let asked = match self.at {
            Some(RunPosition::Asking(url, asked)) => {
                let text = match asked {
                    OwnedRequest::Cluster => "whether the pin exists".to_owned(),
                    OwnedRequest::Get { key, wait: 0 } => format!("get {key}"),
                    OwnedRequest::Get { key, .. } => format!("wait for {key}"),
                    OwnedRequest::Create { key, value } => format!("create {key}={value}"),
                    OwnedRequest::Replace { key, value } => format!("replace {key}={value}"),
                    OwnedRequest::Delete { key } => format!("delete {key}"),
                };
                let program = self.program.map(|program| format!("{program:?}")).unwrap_or_default();
                if self.before.up.len() > 1 {
                    format!("{program}: {text} at URL {url}")
                } else {
                    format!("{program}: {text}")
                }
            }
            Some(RunPosition::Ended(end)) => match end.status {
                None => "(its run had ended well)".to_owned(),
                Some(status) => format!("(its run had ended with {status:?})"),
            },
            None => String::new(),
        };
        match self.event {
            Event::Launch { machine, clock_is_wrong } => {
                write!(
                    f,
                    "{} is launched{}",
                    name(machine),
                    if *clock_is_wrong { ", its clock wrong" } else { "" }
                )
            }
            Event::Answer(machine) => write!(f, "{} {asked}: answered", name(machine)),
            Event::LoseRequest(machine) => write!(f, "{} {asked}: does not arrive", name(machine)),
            Event::LoseAnswer(machine) => write!(f, "{} {asked}: done, the answer is lost", name(machine)),
            Event::Cut { machine, address, .. } => {
                let address = self.specs[*machine].addresses.get(*address).unwrap_or(&"");
                write!(f, "{} loses power before {asked}, and boots {address}", name(machine))
            }
            Event::Shutdown { machine, address } => {
                write!(
                    f,
                    "{} shuts down, to boot with {}",
                    name(machine),
                    self.specs[*machine].addresses[*address]
                )
            }
            Event::Restart(machine) => write!(f, "{}: the unit runs again {asked}", name(machine)),
            Event::Force(machine) => write!(f, "{}: master-ready --force", name(machine)),
            Event::ChooseOther(machine) => write!(f, "{}: the rule chooses the other address", name(machine)),
            Event::SetClock(machine) => write!(f, "{}: its clock is set", name(machine)),
            Event::UrlDown(url) => write!(f, "URL {url} goes out of reach"),
            Event::UrlUp(url) => write!(f, "URL {url} is in reach again"),
            Event::LoseMemory(store) => write!(f, "service {store} restarts empty"),
            Event::Backup(store) => write!(f, "service {store} is backed up"),
            Event::Restore(store) => write!(f, "service {store} is restored from the backup"),
        }
    }
}

/// Whether the unit runs a program again that ended so (`Restart=on-failure`).
pub(super) fn is_restarted(status: Option<Status>) -> bool {
    matches!(status, Some(Status::Unreachable | Status::TimedOut))
}
