//! What a project has left, and whether a stack fits in.

use crate::openstack::{CloudError, Flavour, Matches, Session};
use crate::quota::{Counted, FlavourSize, Limits};
use crate::stack::Stack;

/// What a project can use: its flavours and its limits.
#[derive(Debug, Clone)]
pub struct ProjectLimits {
    flavours: Vec<Flavour>,
    limits: Limits,
}

impl ProjectLimits {
    /// Asks the cloud.
    ///
    /// # Errors
    /// It does not tell.
    pub fn read(session: &mut Session) -> Result<Self, CloudError> {
        Ok(Self { flavours: session.flavours()?, limits: session.limits()? })
    }

    /// Whether there is a flavour of this name or id.
    pub(super) fn flavour(&self, name: &str) -> Matches {
        if self.size(name).is_some() { Matches::One } else { Matches::None }
    }

    /// The flavours of a stack that are not there, each with the pointer to the parameter that names it, if one does.
    pub(super) fn unknown_flavours(&self, stack: &Stack, counted: Counted) -> Vec<(String, Option<String>)> {
        let needs = stack.needs(counted);
        let (_, unknown) = needs.total(|name| self.size(name));
        let named = unknown.into_iter();
        named.map(|(name, used)| (name.to_owned(), used.parameter.as_deref().map(pointer))).collect()
    }

    /// Why a stack does not fit in; `None` when it does. Flavours that are not there do not count.
    pub(super) fn exceeded(&self, stack: &Stack, counted: Counted) -> Option<String> {
        let needs = stack.needs(counted);
        let (total, _) = needs.total(|name| self.size(name));
        total.exceeds(&self.limits)
    }

    fn size(&self, name: &str) -> Option<FlavourSize> {
        let found = self.flavours.iter().find(|flavour| flavour.name == name || flavour.id == name)?;
        Some(FlavourSize { ram_mb: found.ram, vcpus: found.vcpus })
    }
}

fn pointer(parameter: &str) -> String {
    crate::stack::pointer("parameters", parameter)
}
