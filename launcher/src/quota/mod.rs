//! How much of a project's quota a stack needs, before it is created.
//!
//! The original counts servers, volumes and what is in resource groups, and fails where a value is not a number or the
//! parameter of the outermost template. Here nested templates see their own parameters, a group of none counts as none,
//! and what cannot be told is left to Heat and named. Autoscaling groups as they begin, nested templates outside of groups,
//! and volumes that servers boot from are counted besides: see [`Counted`].

mod count;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use limits::{FlavourSize, Limit, Limits, Total};

use crate::stack::Stack;

/// What a stack needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many servers.
    pub instances: u64,
    /// The flavours of the servers, by the name or id that the template has.
    pub flavours: BTreeMap<String, FlavourUse>,
    /// How many volumes.
    pub volumes: u64,
    /// How large they are together, in GB.
    pub volume_gb: u64,
    /// What cannot be told before Heat has done its work, in words. It is not in the figures.
    pub uncounted: Vec<String>,
}

/// How a stack uses a flavour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlavourUse {
    /// How many servers have it.
    pub servers: u64,
    /// The parameter of the stack that names it, if a parameter does.
    pub parameter: Option<String>,
}

/// What of a stack is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// What the original counts: the servers and volumes of the template, and of the members of its resource groups.
    AsOriginal,
    /// All that Heat makes at first.
    All,
}

impl Stack {
    /// What it needs.
    #[must_use]
    pub fn needs(&self, counted: Counted) -> Needs {
        count::needs(self, counted)
    }
}
