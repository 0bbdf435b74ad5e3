//! The original agent's half for cloud-init (cernvm-config), which sends `master_ready` once and never again.

use crate::root::Root;

/// Made by the original when it has sent `master_ready`; it does nothing while this is there.
const MARKER: &str = "/etc/cernvm/cloudinit-master-ready-sent";
/// What its units start.
const SCRIPTS: [&str; 2] = [
    "/etc/cernvm/service.d/cernvm-cluster-master-ready",
    "/etc/cernvm/service.d/cernvm-cluster-contextualization",
];
/// Where a unit of its own would still start them.
const UNITS: [&str; 4] = [
    "/etc/systemd/system/cernvm-cluster-master-ready.service",
    "/etc/systemd/system/cernvm-cluster-contextualization.service",
    "/usr/lib/systemd/system/cernvm-cluster-master-ready.service",
    "/usr/lib/systemd/system/cernvm-cluster-contextualization.service",
];

/// What there is of the original's half: its units where they would run, else its marker.
#[must_use]
pub fn seen(root: &Root) -> Option<String> {
    let runs = |unit: &&str| {
        let text = std::fs::read_to_string(root.path(unit)).unwrap_or_default();
        SCRIPTS.iter().any(|script| text.contains(script))
    };
    let unit = UNITS.into_iter().find(runs).map(|unit| format!("its unit {unit} is installed"));
    unit.or_else(|| root.path(MARKER).exists().then(|| format!("its marker {MARKER} is there")))
}

/// Says so: on such a master the original may have set `master_ready` already, and does not set it again when this agent
/// withdraws it. This agent does.
pub fn warn_of_original(root: &Root) {
    if let Some(what) = seen(root) {
        log::warn!("the original agent was here ({what}); this agent takes over what it did");
    }
}
