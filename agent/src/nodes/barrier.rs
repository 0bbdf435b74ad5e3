//! Asking for nodes: once, or until enough are there.
//!
//! The service holds the question and answers the moment there are enough (docs/api.md, "Nodes"). What counts is decided
//! here all the same: the service cannot read sealed reports, and knows no names that are expected.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use client::seal::Seal;
use client::{Answer, Outcome, Request, Service};
use protocol::error::{Error, Status};
use protocol::node::{NodeRole, NodeState};

use crate::backoff::{Backoff, Clock, Deadline, LAST_TRY};
use crate::session::Session;
use client::members::{Member, Members};

/// Longest time for one list without waiting.
const LIMIT: Duration = Duration::from_secs(30);
/// Shortest time between two questions: thousands of nodes that report one by one are not thousands of answers.
const SPACING: Duration = Duration::from_millis(200);
/// Most names in one sentence.
const MOST_NAMES: usize = 20;

/// What a barrier waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// So many nodes.
    pub nodes: usize,
    /// Fewer do once the time is over.
    pub at_least: Option<usize>,
    /// How far each must have come.
    pub state: NodeState,
    /// Only those of this role count.
    pub role: Option<NodeRole>,
    /// Only those of these names count; empty: all.
    pub expected: BTreeSet<String>,
}

/// All nodes, as they are now.
///
/// # Errors
/// 77 when the pin is unknown, or the service has no nodes; otherwise as [`Session::ask`].
pub fn list<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    seal: Option<&Seal>,
) -> Result<Members, Error> {
    let deadline = Deadline::once(session.clock(), LIMIT);
    session.establish(&deadline)?;
    session.need_nodes()?;
    let mut members = Members::default();
    match session.ask(&Request::Nodes { query: "", wait: 0 }, &deadline)? {
        Outcome::Nodes(list) => members.take_in(&list, seal)?,
        _ => session.confirm_pin(&deadline)?,
    }
    Ok(members)
}

/// Waits until enough nodes are there, and gives all nodes.
///
/// # Errors
/// 75 with the count and who is missing when there are not enough in time; 77 when the pin is unknown, or the service has
/// no nodes; 69 when no service can be reached.
pub fn wait<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    seal: Option<&Seal>,
    barrier: &Barrier,
    deadline: &Deadline,
) -> Result<Members, Error> {
    let mut members = Members::default();
    let mut backoff = Backoff::default();
    loop {
        session.establish(deadline)?;
        session.need_nodes()?;
        let began = session.clock().now();
        let left = deadline.left(session.clock()).saturating_sub(LAST_TRY);
        let wait = left.as_secs().min(session.longest_wait());
        let query = barrier.query(&members);
        let request = Request::Nodes { query: &query, wait };
        session.say_waiting(&barrier.awaited(), deadline);
        let mut held = true;
        match session.attempt(&request, deadline) {
            Ok(Answer { outcome: Outcome::Nodes(list), granted }) => {
                members.take_in(&list, seal)?;
                // Something between may have taken the wish to wait out of the question: then it is not asked at once again.
                held = granted.is_some();
                if held {
                    backoff.reset();
                }
            }
            Ok(_) => session.confirm_pin(deadline)?,
            Err(failure) => {
                // A question that the deadline cut short says nothing of the service.
                if deadline.left(session.clock()).is_zero() && !members.after().is_empty() {
                    return barrier.verdict(members, deadline.tried(session.clock()));
                }
                session.pause_after(&request, failure, &mut backoff, deadline)?;
                continue;
            }
        }
        if barrier.counted(&members).count() >= barrier.nodes {
            return Ok(members);
        }
        let left = deadline.left(session.clock()).saturating_sub(LAST_TRY);
        if left.is_zero() {
            return barrier.verdict(members, deadline.tried(session.clock()));
        }
        if !held && session.pause(&mut backoff, deadline) {
            continue;
        }
        let took = session.clock().now().saturating_sub(began);
        // The last question of all comes just before the deadline.
        let spacing = if left < Duration::from_secs(1) { left } else { SPACING.saturating_sub(took) };
        session.clock().sleep(spacing);
    }
}

impl Barrier {
    /// What is asked of the service.
    fn query(&self, members: &Members) -> String {
        let mut query = format!("at-least={}&state={}", self.nodes, self.state.as_str());
        if let Some(role) = self.role {
            let _ = write!(query, "&role={}", role.as_str());
        }
        query + &members.after()
    }

    /// What is awaited, in words.
    fn awaited(&self) -> String {
        format!("waiting until {} {} {}", self.nodes, self.kind(self.nodes), self.state_in_words(self.nodes))
    }

    fn kind(&self, count: usize) -> &'static str {
        match (self.role, count) {
            (None, 1) => "node",
            (None, _) => "nodes",
            (Some(NodeRole::Slave), 1) => "slave",
            (Some(NodeRole::Slave), _) => "slaves",
            (Some(NodeRole::Master), 1) => "master",
            (Some(NodeRole::Master), _) => "masters",
        }
    }

    fn state_in_words(&self, count: usize) -> &'static str {
        match (self.state, count) {
            (NodeState::Ready, 1) => "is ready",
            (NodeState::Ready, _) => "are ready",
            (NodeState::Failed, 1) => "has failed",
            (NodeState::Failed, _) => "have failed",
            (NodeState::Waiting, 1) => "is there",
            (NodeState::Waiting, _) => "are there",
            (NodeState::Joined, 1) => "has joined",
            (NodeState::Joined, _) => "have joined",
        }
    }

    /// The nodes that count.
    fn counted<'a>(&'a self, members: &'a Members) -> impl Iterator<Item = (&'a String, &'a Member)> {
        members.nodes.iter().filter(|(_, member)| {
            let report = &member.report;
            report.state.includes(self.state)
                && self.role.is_none_or(|role| report.role == role)
                && (self.expected.is_empty() || self.expects(&report.name))
        })
    }

    /// Whether a name is expected, in full or without its domain.
    fn expects(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let short = name.split('.').next().unwrap_or_default();
        self.expected.contains(&name) || self.expected.contains(short)
    }

    /// What it comes to when the time is over.
    fn verdict(&self, members: Members, tried: Duration) -> Result<Members, Error> {
        let count = self.counted(&members).count();
        if self.at_least.is_some_and(|enough| count >= enough) {
            return Ok(members);
        }
        let missing = self.missing(&members, count);
        Err(Error::new(
            Status::TimedOut,
            format!(
                "{count} of {} {} {} after {} s; missing: {missing}",
                self.nodes,
                self.kind(self.nodes),
                self.state_in_words(self.nodes),
                tried.as_secs()
            ),
            "look at the consoles of those; `cernvm-cluster-agent nodes` shows what each has said last",
        ))
    }

    /// Who is missing: those that are there in another state, by name, and those that are expected, by name; the rest by
    /// number.
    fn missing(&self, members: &Members, count: usize) -> String {
        let others = members.nodes.iter().filter(|(_, member)| {
            let report = &member.report;
            !report.state.includes(self.state)
                && self.role.is_none_or(|role| report.role == role)
                && (self.expected.is_empty() || self.expects(&report.name))
        });
        let mut named: Vec<String> = others
            .map(|(id, member)| {
                let detail = if member.report.detail.is_empty() { "" } else { ": " };
                let state = member.report.state.as_str();
                format!("{} ({state}{detail}{})", member.label(id), member.report.detail)
            })
            .collect();
        let reported = named.len();
        let names: Vec<String> =
            members.nodes.values().map(|member| member.report.name.to_ascii_lowercase()).collect();
        let is_there = |expected: &&String| {
            !names.iter().any(|name| name == *expected || name.split('.').next() == Some(expected.as_str()))
        };
        named.extend(self.expected.iter().filter(is_there).map(|name| format!("{name} (no report)")));
        let unnamed = if self.expected.is_empty() { self.nodes.saturating_sub(count + reported) } else { 0 };
        let cut = named.len().saturating_sub(MOST_NAMES);
        named.truncate(MOST_NAMES);
        if cut > 0 {
            named.push(format!("{cut} more"));
        }
        if unnamed > 0 {
            let has = if unnamed == 1 { "has" } else { "have" };
            named.push(format!("{unnamed} that {has} not reported"));
        }
        named.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{list, node};
    use super::*;
    use crate::session::fake::{FakeSession, Reply, done, failed, missing};
    use client::FailureKind;

    fn barrier(nodes: usize) -> Barrier {
        Barrier { nodes, at_least: None, state: NodeState::Ready, role: None, expected: BTreeSet::new() }
    }

    fn nodes(whole: bool, states: &[(&str, &str)], held: u64) -> Reply {
        let nodes: Vec<_> =
            states.iter().map(|(id, state)| node(id, "slave", state, &["10.0.0.1"])).collect();
        (Ok(Answer { outcome: Outcome::Nodes(list(whole, &nodes)), granted: Some(50) }), held)
    }

    /// A wait of a minute with these answers to the questions for nodes; what came of it, and what was asked.
    fn waited(barrier: &Barrier, replies: Vec<Reply>) -> (Result<Members, Error>, Vec<String>) {
        let mut replies = replies.into_iter();
        let mut fake = FakeSession::new(&["nodes"], 1500, move |line| match line.split(' ').nth(1) {
            Some("cluster") => done(),
            _ => replies.next().unwrap_or_else(|| panic!("asked too much: {line}")),
        });
        let deadline = Deadline::of(fake.session.clock(), Duration::from_secs(60));
        let result = wait(&mut fake.session, None, barrier, &deadline);
        let asked = fake.seen().into_iter().filter(|seen| seen.line.starts_with("nodes nodes"));
        (result, asked.map(|seen| seen.line["nodes nodes ".len()..].to_owned()).collect())
    }

    #[test]
    fn opens_when_enough_are_there_and_asks_for_what_is_new() {
        let (result, asked) = waited(
            &Barrier { role: Some(NodeRole::Slave), ..barrier(2) },
            vec![
                nodes(true, &[("a", "ready"), ("b", "waiting")], 1),
                failed(FailureKind::Connect),
                nodes(false, &[("b", "ready")], 3),
            ],
        );
        assert_eq!(result.unwrap().nodes.len(), 2);
        let query = "at-least=2&state=ready&role=slave";
        assert_eq!(asked[0], format!("{query} wait=50"));
        assert!(
            asked[1..].iter().all(|line| line.starts_with(&format!("{query}&after=a-1 wait="))),
            "{asked:?}"
        );
    }

    #[test]
    fn says_how_many_are_there_and_who_is_missing() {
        let there = || {
            vec![
                nodes(true, &[("a", "ready"), ("b", "failed"), ("c", "joined")], 50),
                nodes(false, &[], 9),
                nodes(false, &[], 0),
            ]
        };
        let (result, _) = waited(&barrier(5), there());
        let error = result.unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
        let expected =
            "1 of 5 nodes are ready after 60 s; missing: b (failed), c (joined), 2 that have not reported";
        assert_eq!(error.to_string(), expected);
        // With names: those that are expected count, and no other.
        let expected = ["a", "c", "x", "y"].map(str::to_owned).into();
        let (result, _) = waited(&Barrier { expected, ..barrier(4) }, there());
        let text = result.unwrap_err().to_string();
        assert!(text.ends_with("missing: c (joined), x (no report), y (no report)"), "{text}");
    }

    #[test]
    fn fewer_do_when_the_time_is_over_where_that_is_said() {
        let there = || vec![nodes(true, &[("a", "ready")], 50), nodes(false, &[], 9), nodes(false, &[], 0)];
        assert!(waited(&Barrier { at_least: Some(1), ..barrier(5) }, there()).0.is_ok());
        let (result, _) = waited(&Barrier { at_least: Some(2), ..barrier(5) }, there());
        assert_eq!(result.unwrap_err().status(), Status::TimedOut);
    }

    #[test]
    fn a_service_without_nodes_and_an_unknown_pin_end_it() {
        let mut old = FakeSession::script(1500, vec![("cluster", done())]);
        let error = super::list(&mut old.session, None).unwrap_err();
        assert!(error.status() == Status::Refused && error.to_string().contains("no nodes"), "{error}");
        let mut known = 1;
        let mut fake = FakeSession::new(&["nodes"], 1500, move |line| match line.split(' ').nth(1) {
            Some("cluster") if known > 0 => {
                known -= 1;
                done()
            }
            _ => missing(),
        });
        let deadline = fake.session.deadline();
        let error = wait(&mut fake.session, None, &barrier(2), &deadline).unwrap_err();
        assert!(error.is_unknown_pin(), "{error}");
    }
}
