//! What happens to which VMs: the cases that are looked at.

use crate::inputs;
use crate::time::{Micros, SECOND};

/// A load on one service.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// What it is called in the tables.
    pub(crate) name: &'static str,
    /// How many VMs there are.
    pub(crate) vms: usize,
    /// How many of them have one pin, one of which is the master.
    pub(crate) cluster: usize,
    /// Within how much time all of them start, evenly.
    pub(crate) spread: Micros,
    /// How long a master boots, from the agent's first run to `master-ready`: at least and at most, evenly between.
    pub(crate) boot: (Micros, Micros),
    /// How many of a hundred slaves have the shell agent.
    pub(crate) old: usize,
    /// The outage, if there is one.
    pub(crate) trouble: Option<Outage>,
    /// How the service is set up.
    pub(crate) setup: Setup,
}

/// A time in which the service is away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// The start.
    pub(crate) at: Micros,
    /// The duration.
    pub(crate) lasts: Micros,
    /// The kind of outage.
    pub(crate) kind: Kind,
}

/// How the service goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is restarted: waiters are told, and connections are refused until it is back.
    Restart,
    /// Its process is killed: connections break, and are refused until it is back.
    Crash,
    /// Its machine is down: packets get no answer until it is back, with a new process.
    Silence,
}

/// How the service is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// `--max-connections`.
    pub(crate) connections: usize,
    /// Over TLS.
    pub(crate) tls: bool,
    /// Cores that it may use.
    pub(crate) cores: u32,
    /// `--max-waiters-per-pin`.
    pub(crate) waiters_per_pin: usize,
    /// How VMs come back to it.
    pub(crate) returns: Returns,
}

/// How VMs come back to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// As it is: TLS sessions are resumed, also after a restart, and those who are sent away come back at several times.
    Spread,
    /// For comparison: each handshake is a full one, and one `Retry-After` is for all.
    AtOnce,
}

impl Setup {
    /// With the limits raised for so many VMs.
    pub(crate) fn raised(vms: usize, tls: bool) -> Self {
        Self { connections: vms + vms / 8, waiters_per_pin: vms, tls, ..Self::default() }
    }

    /// Most waiters in all: those beyond are told 503 and to leave, so that a master finds room among waiting slaves.
    pub(crate) fn waiters(&self) -> usize {
        self.connections - self.connections.div_ceil(inputs::FREE)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            connections: inputs::CONNECTIONS,
            tls: false,
            cores: 1,
            waiters_per_pin: inputs::CONNECTIONS * 3 / 4,
            returns: Returns::Spread,
        }
    }
}

/// VMs of one pin, where it is not all of them.
const CLUSTER: usize = 100;
/// All start within a minute: no cloud is faster.
const SPREAD: Micros = 60 * SECOND;
/// A master installs packages and starts daemons before it is ready: a minute to three.
const BOOT: (Micros, Micros) = (60 * SECOND, 180 * SECOND);
/// One that takes its time, while its slaves wait.
const LONG_BOOT: (Micros, Micros) = (600 * SECOND, 660 * SECOND);

/// More VMs than the service has connections for by default, by four in a hundred.
pub(crate) const OVERFULL: usize = 17_000;

/// So many VMs that boot at once, and the limits that the service has by default.
pub(crate) fn overfull(tls: bool) -> Scenario {
    let setup = Setup { tls, ..Setup::default() };
    Scenario { name: "default limits", setup, ..boot(OVERFULL, tls) }
}

fn boot(vms: usize, tls: bool) -> Scenario {
    Scenario {
        name: "boot at once",
        vms,
        cluster: CLUSTER,
        spread: SPREAD,
        boot: BOOT,
        old: 0,
        trouble: None,
        setup: Setup::raised(vms, tls),
    }
}

/// All cases for so many VMs, with limits raised so far that all of them find room.
pub(crate) fn all(vms: usize, tls: bool) -> Vec<Scenario> {
    let boot = boot(vms, tls);
    let long = Scenario { boot: LONG_BOOT, ..boot.clone() };
    let away = |kind| Some(Outage { at: 120 * SECOND, lasts: 5 * SECOND, kind });
    let at_once = Setup { returns: Returns::AtOnce, ..boot.setup };
    let gone = Some(Outage { at: 300 * SECOND, lasts: 600 * SECOND, kind: Kind::Silence });
    vec![
        boot.clone(),
        Scenario { name: "wait 10 minutes", ..long.clone() },
        Scenario { name: "restart, away for 5 s", trouble: away(Kind::Restart), ..boot.clone() },
        Scenario {
            name: "restart, all at once",
            trouble: away(Kind::Restart),
            setup: at_once,
            ..boot.clone()
        },
        Scenario { name: "crash, away for 5 s", trouble: away(Kind::Crash), ..boot.clone() },
        Scenario {
            name: "crash, full handshakes",
            trouble: away(Kind::Crash),
            setup: at_once,
            ..boot.clone()
        },
        Scenario { name: "machine gone for 10 minutes", trouble: gone, ..long },
        Scenario { name: "one pin for all", cluster: vms, ..boot.clone() },
        Scenario { name: "a third old agents", old: 33, ..boot.clone() },
        Scenario { name: "old agents only", old: 100, ..boot },
    ]
}
