//! Whether a project has what a stack needs.

use std::collections::BTreeMap;

use super::{FlavourUse, Needs};

/// The size of a flavour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlavourSize {
    /// In MB.
    pub ram_mb: u64,
    /// How many virtual CPUs.
    pub vcpus: u64,
}

/// A limit of a project, with what of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How much there may be; -1: as much as one likes.
    pub max: i64,
    /// How much there is.
    pub used: i64,
}

/// The limits of a project; `None` where its cloud tells none, such as one without volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// `maxTotalRAMSize` and `totalRAMUsed` of Nova, in MB.
    pub ram_mb: Option<Limit>,
    /// `maxTotalCores` and `totalCoresUsed` of Nova.
    pub vcpus: Option<Limit>,
    /// `maxTotalInstances` and `totalInstancesUsed` of Nova.
    pub instances: Option<Limit>,
    /// `maxTotalVolumeGigabytes` and `totalGigabytesUsed` of Cinder.
    pub volume_gb: Option<Limit>,
    /// `maxTotalVolumes` and `totalVolumesUsed` of Cinder.
    pub volumes: Option<Limit>,
}

/// What a stack needs, with the sizes of its flavours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// In MB.
    pub ram_mb: u64,
    /// How many virtual CPUs.
    pub vcpus: u64,
    /// How many servers.
    pub instances: u64,
    /// In GB.
    pub volume_gb: u64,
    /// How many volumes.
    pub volumes: u64,
}

impl Needs {
    /// The total, with the sizes of flavours by name or id, and the flavours whose size is not known, each with how it is
    /// used.
    pub fn total(&self, size: impl Fn(&str) -> Option<FlavourSize>) -> (Total, BTreeMap<&str, &FlavourUse>) {
        let mut unknown = BTreeMap::new();
        let mut total = Total {
            instances: self.instances,
            volume_gb: self.volume_gb,
            volumes: self.volumes,
            ..Total::default()
        };
        for (flavour, used) in &self.flavours {
            match size(flavour) {
                Some(size) => {
                    total.ram_mb = total.ram_mb.saturating_add(size.ram_mb.saturating_mul(used.servers));
                    total.vcpus = total.vcpus.saturating_add(size.vcpus.saturating_mul(used.servers));
                }
                None => {
                    unknown.insert(flavour.as_str(), used);
                }
            }
        }
        (total, unknown)
    }
}

impl Total {
    /// What the project has not enough of, in the original's words; `None` when it has enough.
    #[must_use]
    pub fn exceeds(&self, limits: &Limits) -> Option<String> {
        let resources = [
            ("ram", "MB", self.ram_mb, limits.ram_mb),
            ("vcpus", "", self.vcpus, limits.vcpus),
            ("instances", "", self.instances, limits.instances),
            ("volume_disk", "GB", self.volume_gb, limits.volume_gb),
            ("volumes", "", self.volumes, limits.volumes),
        ];
        let complaints = resources.into_iter().filter_map(|(name, unit, needed, limit)| {
            let limit = limit.filter(|limit| limit.max != -1 && needed > 0)?;
            let left = limit.max.saturating_sub(limit.used);
            match u64::try_from(left) {
                Ok(left) if needed <= left => None,
                Ok(left) if left > 0 => Some(format!(
                    "would exceed project's {name} limit: requires {needed}{unit}, {left}{unit} available"
                )),
                _ => Some(format!("project's maximum {name} ({}) reached/exceeded", limit.max)),
            }
        });
        Some(complaints.collect::<Vec<_>>().join("; ")).filter(|complaints| !complaints.is_empty())
    }
}
