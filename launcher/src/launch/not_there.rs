//! What answers name and the project does not have, found before anything is made or paid for.
//!
//! Heat looks at these constraints too, so what a service does not tell is left to it.

use super::limits::ProjectLimits;
use super::request::Request;
use crate::constraint::Lookup;
use crate::definition::ClusterType;
use crate::openstack::{Cause, CloudService, Matches, Session};
use crate::quota::Counted;
use crate::stack::Stack;

/// Something that is named and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotThere {
    /// What it would be: one of [`Lookup::KINDS`].
    pub kind: String,
    /// Where it is named: a JSON pointer; `None` where the definition names it.
    pub pointer: Option<String>,
    /// What is wrong, in Heat's words or the author's.
    pub message: String,
}

impl NotThere {
    /// The command that lists what is there.
    #[must_use]
    pub fn listing(&self) -> &'static str {
        match self.kind.as_str() {
            "nova.keypair" => "openstack keypair list",
            "nova.server" => "openstack server list",
            "glance.image" => "openstack image list",
            "neutron.network" => "openstack network list",
            "neutron.subnet" => "openstack subnet list",
            "neutron.router" => "openstack router list",
            "neutron.port" => "openstack port list",
            "neutron.security_group" => "openstack security group list",
            "cinder.volume" => "openstack volume list",
            "cinder.vtype" => "openstack volume type list",
            _ => FLAVOURS,
        }
    }
}

const FLAVOURS: &str = "openstack flavor list";

/// All that a request names and its project does not have, in the order of the definition.
pub(super) fn not_there(
    found: &ClusterType,
    request: &Request,
    stack: &Stack,
    counted: Counted,
    session: &mut Session,
    left: &ProjectLimits,
) -> Vec<NotThere> {
    let mut asked = Asked { session, left, answers: Vec::new(), silent: Vec::new() };
    let mut missing: Vec<NotThere> = Vec::new();
    for lookup in found.lookups(&request.answers, &request.selections) {
        let message = match asked.matches(&lookup) {
            Some(Matches::None) => lookup.refusal(),
            Some(Matches::Several) => lookup.ambiguity(),
            Some(Matches::One) | None => continue,
        };
        let pointer = Some(lookup.pointer);
        // Of each parameter one fault, as everywhere.
        if missing.iter().all(|known| known.pointer != pointer) {
            missing.push(NotThere { kind: lookup.kind, pointer, message });
        }
    }
    for (flavour, pointer) in left.unknown_flavours(stack, counted) {
        if pointer.is_none() || missing.iter().all(|known| known.pointer != pointer) {
            let message = format!("The Flavor ({flavour}) could not be found.");
            missing.push(NotThere { kind: "nova.flavor".to_owned(), pointer, message });
        }
    }
    missing
}

/// What the cloud was asked for.
struct Asked<'a> {
    session: &'a mut Session,
    left: &'a ProjectLimits,
    /// What it said of a kind and a value; several parameters often have one value.
    answers: Vec<(String, String, Option<Matches>)>,
    /// The services that do not answer: each costs the time limit of a call.
    silent: Vec<CloudService>,
}

impl Asked<'_> {
    /// What a service says; `None` where it does not tell.
    fn matches(&mut self, lookup: &Lookup) -> Option<Matches> {
        let Lookup { kind, value, .. } = lookup;
        if kind == "nova.flavor" {
            return Some(self.left.flavour(value));
        }
        if value.is_empty() {
            // Heat takes the empty key for none; what others make of an empty name is for them to say.
            return None;
        }
        let known = self.answers.iter().find(|(k, v, _)| (k, v) == (kind, value));
        if let Some((_, _, answer)) = known {
            return *answer;
        }
        let answer = self.ask(kind, value);
        self.answers.push((kind.clone(), value.clone(), answer));
        answer
    }

    fn ask(&mut self, kind: &str, value: &str) -> Option<Matches> {
        let service = service(kind);
        if self.silent.contains(&service) {
            return None;
        }
        match self.session.matches(kind, value) {
            // An administrator sees the groups of every project, and Heat only those of one.
            Ok(Matches::Several) if kind == "neutron.security_group" => None,
            Ok(answer) => Some(answer),
            Err(error) => {
                log::info!("whether there is a {kind} {value:?} is left to Heat: {error}");
                if !matches!(error.cause, Cause::Status(_)) {
                    self.silent.push(service);
                }
                None
            }
        }
    }
}

fn service(kind: &str) -> CloudService {
    match kind.split_once('.') {
        Some(("glance", _)) => CloudService::Glance,
        Some(("neutron", _)) => CloudService::Neutron,
        Some(("cinder", _)) => CloudService::Cinder,
        _ => CloudService::Nova,
    }
}
