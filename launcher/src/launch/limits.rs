//! What a project has left, and whether a stack fits in.

use super::refused::Refused;
use crate::openstack::{CloudError, Flavour, Session};
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

    /// Whether a stack fits in.
    ///
    /// # Errors
    /// It does not, or it wants a flavour that is not there.
    pub(super) fn check(&self, stack: &Stack) -> Result<(), Refused> {
        let needs = stack.needs();
        let (total, unknown) = needs.total(|name| {
            let found = self.flavours.iter().find(|flavour| flavour.name == name || flavour.id == name)?;
            Some(FlavourSize { ram_mb: found.ram, vcpus: found.vcpus })
        });
        if !unknown.is_empty() {
            let named = unknown.into_iter().map(|(name, used)| (name.to_owned(), used.parameter.clone()));
            return Err(Refused::Flavours(named.collect()));
        }
        match total.exceeds(&self.limits) {
            Some(words) => Err(Refused::Limits(words)),
            None => Ok(()),
        }
    }
}
