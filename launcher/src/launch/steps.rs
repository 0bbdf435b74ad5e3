//! A launch, step by step. What costs nothing comes first, and what was made before a failure is taken back.

use context::check::Severity;
use serde_json::{Map, Value};

use super::billing::Billing;
use super::limits::ProjectLimits;
use super::not_there::not_there;
use super::pairing::PairingService;
use super::records::{Claim, Paired, Record, Records, now};
use super::refused::Refused;
use super::request::Request;
use crate::catalogue::Catalogue;
use crate::definition::{ClusterType, Kind};
use crate::openstack::{Cause, Session};
use crate::parameter::PairingTags;
use crate::quota::Counted;
use crate::stack::{Stack, StackError};

/// A pin that no service makes, for what is tried before there is one.
const STAND_IN_PIN: &str = "aaaaaaaaaaaa";
/// The same for a secret.
const STAND_IN_SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What launches clusters.
pub struct Launcher {
    /// The types that there are.
    pub catalogue: Catalogue,
    /// What is known of launches.
    pub records: Records,
    /// What clusters pair with; without, types that pair cannot be launched.
    pub pairing: Option<PairingService>,
}

/// A launch that is refused.
pub struct NotLaunched {
    /// Why.
    pub refused: Refused,
    /// Its record, where Heat or etcd did not answer and the stack or the record may come all the same.
    pub record: Option<Box<Record>>,
}

impl From<Refused> for NotLaunched {
    fn from(refused: Refused) -> Self {
        Self { refused, record: None }
    }
}

/// Who pays, if it costs.
pub type BillingAccess<'a> = Option<&'a mut Billing>;

impl Launcher {
    /// Looks at all of a request that needs no cloud, and gives its type.
    ///
    /// # Errors
    /// Something is wrong with it.
    pub fn check(&self, request: &Request) -> Result<ClusterType, Refused> {
        let found = self.catalogue.find(&request.cluster_type).map_err(Refused::UnknownType)?;
        let faults = found.check(&request.answers, &request.selections);
        if !faults.is_empty() {
            return Err(Refused::Answers(faults));
        }
        if found.kind != Kind::Heat {
            return Err(Refused::Stack(StackError::Kind(found.kind.name())));
        }
        if let Some(problem) = request.problem_of_name() {
            return Err(Refused::Name(problem));
        }
        if found.pairing().is_wanted() && self.pairing.is_none() {
            return Err(Refused::NoPairing);
        }
        Ok(found)
    }

    /// Launches a cluster: gives its record when Heat has taken the stack. What is not `counted` and exceeds the project's
    /// limits all the same is noted in the record. With a claim, nothing is made once another launcher has that.
    ///
    /// # Errors
    /// What was made is taken back. Only where Heat did not answer may a stack come all the same: then the record stays,
    /// and [`super::remove`] finds the stack by its name.
    pub fn launch(
        &self,
        found: &ClusterType,
        request: &Request,
        session: &mut Session,
        mut money: BillingAccess<'_>,
        counted: Counted,
        claim: Option<&Claim>,
    ) -> Result<Record, NotLaunched> {
        self.records.check().map_err(Refused::Records)?;
        let left = ProjectLimits::read(session).map_err(Refused::Cloud)?;
        let stack = self.try_out(found, request, counted, session, &left)?;
        let order = money.as_mut().map(|billing| billing.order()).transpose()?;
        // The original has the order before it counts, and clients see that at their billing service.
        let exceeded = left.exceeded(&stack, counted);
        let exceeded = exceeded.map_or(Ok(()), |words| Err(Refused::Limits(words).into()));
        let doubt = left.exceeded(&stack, Counted::All);
        let result = exceeded.and_then(|()| self.make(found, request, session, doubt, claim));
        if let (Some(billing), Some(order)) = (money, &order) {
            match &result {
                Ok(record) => billing.tag(order, record),
                Err(_) => billing.delete(order),
            }
        }
        result
    }

    fn make(
        &self,
        found: &ClusterType,
        request: &Request,
        session: &mut Session,
        doubt: Option<String>,
        claim: Option<&Claim>,
    ) -> Result<Record, NotLaunched> {
        let paired = self.pair(&found.pairing())?;
        let begun = self.begin(found, request, session, paired.as_ref(), claim);
        let made = begun.and_then(|mut record| {
            if let Some(words) = doubt {
                log::warn!("{} may not fit into its project: {words}", record.stack_name);
                record.note(format!("the stack may fail, for the project's limits: {words}"));
            }
            match self.create(found, request, session, &mut record) {
                Ok(()) => Ok(record),
                Err(refused) if may_come(&refused) => {
                    let words = refused.to_error().to_string();
                    // The record stays, with the pin in it.
                    self.keep(&mut record, |record| record.note(words.as_str()));
                    Err(NotLaunched { refused, record: Some(Box::new(record)) })
                }
                Err(refused) => match self.records.remove(&record) {
                    Ok(()) => Err(refused.into()),
                    // A record that stays keeps its pin: the launch can be gone on with.
                    Err(error) => {
                        log::error!("{error}\n  next: {}", error.next_step());
                        Err(NotLaunched { refused, record: Some(Box::new(record)) })
                    }
                },
            }
        });
        if let (Err(NotLaunched { record: None, .. }), Some(paired)) = (&made, &paired) {
            self.forget(paired);
        }
        made
    }

    /// Goes on with a launch that ended before Heat gave the id of the stack: takes the stack that is there, or asks for it
    /// again, under the same name and with the same pin.
    ///
    /// # Errors
    /// As [`Launcher::launch`].
    pub fn resume(
        &self,
        found: &ClusterType,
        request: &Request,
        session: &mut Session,
        record: &mut Record,
    ) -> Result<(), Refused> {
        if self.take(session, record)? {
            return Ok(());
        }
        let left = ProjectLimits::read(session).map_err(Refused::Cloud)?;
        let stack = self.try_out(found, request, Counted::All, session, &left)?;
        left.exceeded(&stack, Counted::All).map_or(Ok(()), |words| Err(Refused::Limits(words)))?;
        match self.create(found, request, session, record) {
            // Heat takes a name once: another program that asked meanwhile asked for this launch.
            Err(Refused::Cloud(error)) if error.cause == Cause::Status(409) => {
                if self.take(session, record)? { Ok(()) } else { Err(Refused::Cloud(error)) }
            }
            done => done,
        }
    }

    /// Takes the stack of a launch if it is there.
    fn take(&self, session: &mut Session, record: &mut Record) -> Result<bool, Refused> {
        let stacks = session.stacks().map_err(Refused::Cloud)?;
        let Some(stack) = stacks.into_iter().find(|stack| stack.name == record.stack_name) else {
            return Ok(false);
        };
        self.keep(record, |record| {
            record.stack_id = Some(stack.id.clone());
            record.note("found the stack that an earlier launch asked for");
        });
        Ok(true)
    }

    /// What the stack of a request would be, with a pin that is none.
    ///
    /// # Errors
    /// It cannot be made, does not work, or names what the project does not have.
    fn try_out(
        &self,
        found: &ClusterType,
        request: &Request,
        counted: Counted,
        session: &mut Session,
        left: &ProjectLimits,
    ) -> Result<Stack, Refused> {
        let filled = self.filled(&found.pairing(), STAND_IN_PIN, STAND_IN_SECRET);
        let stack = stack(found, request, &filled)?;
        let problems = problems_of_contexts(&stack);
        if !problems.is_empty() {
            return Err(Refused::Contexts(problems));
        }
        let missing = not_there(found, request, &stack, counted, session, left);
        if missing.is_empty() { Ok(stack) } else { Err(Refused::NotThere(missing)) }
    }

    fn pair(&self, pairing: &PairingTags) -> Result<Option<Paired>, Refused> {
        if !pairing.is_wanted() {
            return Ok(None);
        }
        let service = self.pairing.as_ref().ok_or(Refused::NoPairing)?;
        if service.node_url.is_loopback() {
            log::warn!(
                "the machines of the cluster get the URL {}, which to each of them is itself. Next: give the URL by which they \
                 reach the pairing service with --node-pairing-url",
                service.node_url
            );
        }
        let (pin, secret) = service.create(!pairing.secret.is_empty()).map_err(Refused::Pairing)?;
        Ok(Some(Paired::new(service.url.to_string(), &pin, secret.as_ref())))
    }

    fn begin(
        &self,
        found: &ClusterType,
        request: &Request,
        session: &Session,
        paired: Option<&Paired>,
        claim: Option<&Claim>,
    ) -> Result<Record, NotLaunched> {
        let mut record = Record {
            name: request.name.clone(),
            stack_name: request.stack_name().map_err(Refused::Random)?,
            stack_id: None,
            cluster_type: found.id.clone(),
            auth_url: session.auth_url().to_owned(),
            project_id: session.project_id().to_owned(),
            created: now(),
            paired: paired.cloned(),
            abandoned: false,
            last_view: Value::Null,
            log: Vec::new(),
            revision: 0,
        };
        record.note("asks Heat for the stack");
        match self.records.create(&mut record, claim) {
            Ok(()) => Ok(record),
            Err(error) => {
                let record = error.is_in_doubt().then(|| Box::new(record));
                Err(NotLaunched { refused: Refused::Records(error), record })
            }
        }
    }

    /// Asks Heat for the stack of a record, and keeps its id.
    fn create(
        &self,
        found: &ClusterType,
        request: &Request,
        session: &mut Session,
        record: &mut Record,
    ) -> Result<(), Refused> {
        let paired = record.paired.as_ref();
        let pin = paired.and_then(Paired::pin);
        let secret = paired.and_then(Paired::secret).map(|secret| secret.reveal()).unwrap_or_default();
        let filled =
            self.filled(&found.pairing(), pin.as_ref().map(|pin| pin.reveal()).unwrap_or_default(), &secret);
        let stack = stack(found, request, &filled)?;
        let id = session.create_stack(&record.stack_name, &stack).map_err(|mut error| {
            if let Some(paired) = &record.paired {
                error.said = paired.masked(&error.said);
            }
            Refused::Cloud(error)
        })?;
        self.keep(record, |record| {
            record.note(format!("Heat has taken the stack {}", record.stack_name));
            record.stack_id = Some(id.clone());
        });
        Ok(())
    }

    /// Keeps what has become of a launch. One that was deleted meanwhile comes back, since its stack does. A failure is
    /// logged: the launch has been kept with its pin and the name of its stack, by which the next look finds that.
    fn keep(&self, record: &mut Record, change: impl Fn(&mut Record)) {
        let kept = self
            .records
            .update(record, change)
            .and_then(|is_there| if is_there { Ok(()) } else { self.records.create(record, None) });
        if let Err(error) = kept {
            log::error!("{error}\n  next: {}", error.next_step());
        }
    }

    /// What pairing fills into parameters.
    fn filled(&self, pairing: &PairingTags, pin: &str, secret: &str) -> Map<String, Value> {
        let url = self.pairing.as_ref().map(|service| service.node_url.to_string()).unwrap_or_default();
        let trust = self.pairing.as_ref().map(PairingService::trust_line).unwrap_or_default();
        let kinds = [
            (&pairing.pin, pin),
            (&pairing.url, url.as_str()),
            (&pairing.secret, secret),
            (&pairing.trust, trust.as_str()),
        ];
        let values = kinds.into_iter().flat_map(|(names, value)| names.iter().map(move |name| (name, value)));
        values.map(|(name, value)| (name.clone(), Value::from(value))).collect()
    }

    /// Has the pairing service forget a pin that no cluster has. A failure is logged: pins expire.
    pub(crate) fn forget(&self, paired: &Paired) {
        let (Some(service), Some(pin)) = (&self.pairing, paired.pin()) else { return };
        if let Err(error) = service.forget(&pin) {
            log::warn!("the pin {pin} stays at the pairing service until it expires: {error}");
        }
    }
}

/// Whether a stack may come although the launch failed.
fn may_come(refused: &Refused) -> bool {
    matches!(refused, Refused::Cloud(error) if matches!(error.cause, Cause::NoAnswer | Cause::Broken))
}

fn stack(found: &ClusterType, request: &Request, filled: &Map<String, Value>) -> Result<Stack, Refused> {
    found.stack(&request.answers, &request.selections, filled).map_err(Refused::Stack)
}

/// What does not work in those contexts of a stack that pair. A machine that does not is no member of the cluster.
fn problems_of_contexts(stack: &Stack) -> Vec<String> {
    let mut pairing = stack.contexts();
    pairing.retain(|context| context.user_data.contains(STAND_IN_PIN));
    let is_of = |place: &str| pairing.iter().any(|context| place.starts_with(&context.resource));
    let findings = stack.check_contexts().into_iter();
    let errors = findings.filter(|found| found.severity == Severity::Error && is_of(&found.place));
    errors.map(|found| format!("{}: {}", found.place, found.what)).collect()
}
