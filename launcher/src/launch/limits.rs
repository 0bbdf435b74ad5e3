//! What a project has left, and whether a stack fits in.

use super::refused::Refused;
use crate::openstack::{CloudError, Flavour, Matches, Session};
use crate::quota::{FlavourSize, Limits};
use crate::stack::Stack;

/// What a project can use: its flavours and its limits.
#[derive(Debug, Clone)]
pub struct Left {
    flavours: Vec<Flavour>,
    limits: Limits,
}

impl Left {
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
    pub(super) fn unknown_flavours(&self, stack: &Stack) -> Vec<(String, Option<String>)> {
        let needs = stack.needs();
        let (_, unknown) = needs.total(|name| self.size(name));
        let named = unknown.into_iter();
        named.map(|(name, used)| (name.to_owned(), used.parameter.as_deref().map(pointer))).collect()
    }

    /// Whether a stack fits in. Flavours that are not there do not count.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(&self, stack: &Stack) -> Result<(), Refused> {
        let needs = stack.needs();
        let (total, _) = needs.total(|name| self.size(name));
        total.exceeds(&self.limits).map_or(Ok(()), |words| Err(Refused::Limits(words)))
    }

    fn size(&self, name: &str) -> Option<FlavourSize> {
        let found = self.flavours.iter().find(|flavour| flavour.name == name || flavour.id == name)?;
        Some(FlavourSize { ram_mb: found.ram, vcpus: found.vcpus })
    }
}

fn pointer(parameter: &str) -> String {
    crate::parameter::pointer("parameters", parameter)
}
