//! What all that is known of a cluster means.

use serde::{Deserialize, Serialize};

use super::View;
use crate::openstack::StackStatus;

/// The state of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterState {
    /// Heat makes the stack.
    #[default]
    Building,
    /// The stack is there, and not all of its nodes are ready.
    Joining,
    /// All that was asked for is there: every server, every node, and the master among them.
    Ready,
    /// The stack, a server or a node failed.
    Failed,
    /// Heat deletes the stack.
    Going,
    /// The stack is deleted.
    Gone,
}

impl ClusterState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Building, Self::Joining, Self::Ready, Self::Failed, Self::Going, Self::Gone];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Going => "going",
            Self::Gone => "gone",
        }
    }
}

/// The state of a cluster and a sentence about it. `pairs` says whether its servers report as nodes; `wanted` is how many
/// nodes are waited for, and as many as there are servers if not given.
#[must_use]
pub fn assess(view: &View, pairs: bool, wanted: Option<usize>) -> (ClusterState, String) {
    let Some(stack) = &view.stack else {
        return (ClusterState::Building, "Heat has not told of the stack yet".to_owned());
    };
    let sentence = |words: &[String]| words.join("; ");
    match StackStatus::of(&stack.status) {
        StackStatus::Gone => return (ClusterState::Gone, "the stack is deleted".to_owned()),
        StackStatus::Going => return (ClusterState::Going, "Heat deletes the stack".to_owned()),
        StackStatus::Failed => {
            let mut words = vec![format!("the stack is {}: {}", stack.status, stack.reason)];
            // Heat's own reason names the first of them already.
            words.extend(
                stack.failed.iter().filter(|failed| !stack.reason.contains(failed.as_str())).cloned(),
            );
            return (ClusterState::Failed, sentence(&words));
        }
        StackStatus::Building => {
            let done = view.servers.iter().filter(|server| server.status == "ACTIVE").count();
            return (
                ClusterState::Building,
                format!("Heat makes the stack; {done} of {} servers run", view.servers.len()),
            );
        }
        StackStatus::Built => {}
    }
    let broken: Vec<String> = view
        .servers
        .iter()
        .filter(|server| matches!(server.status.as_str(), "ERROR" | "DELETED"))
        .map(|server| {
            let why = server.fault.as_deref().unwrap_or("Nova gives no reason");
            format!("the server {} is {}: {why}", server.name, server.status)
        })
        .collect();
    if !broken.is_empty() {
        return (ClusterState::Failed, sentence(&broken));
    }
    if !pairs {
        return (ClusterState::Ready, format!("the stack is there, with {} servers", view.servers.len()));
    }
    let failed: Vec<String> = view
        .nodes
        .iter()
        .filter(|node| node.state == "failed")
        .map(|node| format!("the node {} failed: {}", shown(&node.name, &node.id), node.detail))
        .collect();
    if !failed.is_empty() {
        return (ClusterState::Failed, sentence(&failed));
    }
    let wanted = wanted.unwrap_or(view.servers.len());
    let ready = view.nodes.iter().filter(|node| node.state == "ready").count();
    let master = view.nodes.iter().any(|node| node.state == "ready" && node.role == "master");
    if ready >= wanted && (master || wanted == 0) {
        return (ClusterState::Ready, format!("{ready} of {wanted} nodes are ready"));
    }
    let joined = view.nodes.iter().filter(|node| node.state == "joined").count();
    let mut words = format!("{ready} of {wanted} nodes are ready, {joined} have joined");
    if !master {
        words += "; the master is not ready";
    }
    (ClusterState::Joining, words)
}

fn shown<'a>(name: &'a str, id: &'a str) -> &'a str {
    if name.is_empty() { id } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeView, StackView};
    use super::*;
    use crate::openstack::Server;

    fn view(status: &str, servers: &[&str], nodes: &[(&str, &str)]) -> View {
        View {
            stack: Some(StackView { status: status.into(), reason: "why".into(), failed: Vec::new() }),
            servers: servers
                .iter()
                .map(|status| Server { name: "s".into(), status: (*status).into(), ..Server::default() })
                .collect(),
            nodes: nodes
                .iter()
                .map(|(role, state)| NodeView {
                    id: "n".into(),
                    role: (*role).into(),
                    state: (*state).into(),
                    detail: "no way".into(),
                    ..NodeView::default()
                })
                .collect(),
            ..View::default()
        }
    }

    #[test]
    fn a_cluster_is_ready_when_stack_servers_and_nodes_are() {
        use ClusterState::*;
        let two = ["ACTIVE", "ACTIVE"];
        for (status, servers, nodes, wanted) in [
            ("CREATE_IN_PROGRESS", &["ACTIVE", "BUILD"][..], &[][..], Building),
            ("CREATE_COMPLETE", &two, &[], Joining),
            ("CREATE_COMPLETE", &two, &[("master", "ready"), ("slave", "joined")], Joining),
            ("CREATE_COMPLETE", &two, &[("slave", "ready"), ("slave", "ready")], Joining),
            ("CREATE_COMPLETE", &two, &[("master", "ready"), ("slave", "ready")], Ready),
            ("CREATE_COMPLETE", &two, &[("master", "ready"), ("slave", "failed")], Failed),
            ("CREATE_COMPLETE", &["ACTIVE", "ERROR"], &[], Failed),
            ("CREATE_FAILED", &[], &[], Failed),
            ("DELETE_IN_PROGRESS", &two, &[("master", "ready")], Going),
            ("DELETE_COMPLETE", &[], &[], Gone),
        ] {
            let (state, detail) = assess(&view(status, servers, nodes), true, None);
            assert_eq!(state, wanted, "{status} {servers:?} {nodes:?}: {detail}");
        }
        assert_eq!(assess(&view("CREATE_COMPLETE", &two, &[]), false, None).0, Ready);
        let one = [("master", "ready")];
        assert_eq!(assess(&view("CREATE_COMPLETE", &two, &one), true, Some(1)).0, Ready);
        assert_eq!(assess(&View::default(), true, None).0, Building);
    }

    #[test]
    fn says_why_in_the_words_of_those_who_know() {
        let detail = |view: &View| assess(view, true, None).1;
        assert_eq!(detail(&view("CREATE_FAILED", &[], &[])), "the stack is CREATE_FAILED: why");
        assert_eq!(
            detail(&view("CREATE_COMPLETE", &["ACTIVE"], &[("slave", "failed")])),
            "the node n failed: no way"
        );
        let mut server = view("CREATE_COMPLETE", &["ERROR"], &[]);
        server.servers[0].fault = Some("No valid host was found.".into());
        assert_eq!(detail(&server), "the server s is ERROR: No valid host was found.");
    }
}
