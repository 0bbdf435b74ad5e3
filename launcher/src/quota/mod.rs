//! How much of a project's quota a stack needs.

use std::collections::BTreeMap;

/// What a stack needs before it is created: its servers and volumes, with those of its resource groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many servers.
    pub instances: u64,
    /// How many of them have which flavour, by name or id.
    pub flavours: BTreeMap<String, u64>,
    /// How many volumes.
    pub volumes: u64,
    /// How large they are together, in GB.
    pub volume_gb: u64,
    /// What cannot be counted, in words: a flavour, a size or a count that only Heat knows.
    pub uncounted: Vec<String>,
}
