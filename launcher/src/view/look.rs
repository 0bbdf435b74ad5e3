//! A look at a cluster: the cloud and the pairing service are asked, and what cannot be asked stays as it was seen last.

use super::{NodeView, StackView, View, assess};
use crate::launch::{Launcher, Nodes, Record, now};
use crate::openstack::{CloudError, Server, Session, StackStatus};

/// What Heat calls a server.
const SERVER: &str = "OS::Nova::Server";

/// Looks at a cluster. Without a session the cloud is not asked. `wanted` is how many nodes are waited for, and as many as
/// there are servers if not given.
pub fn look(
    launcher: &Launcher,
    session: Option<&mut Session>,
    record: &mut Record,
    before: &View,
    wanted: Option<usize>,
) -> View {
    let mut view = before.clone();
    view.trouble = None;
    match session {
        Some(session) => match look_at_cloud(session, record, &mut view) {
            Ok(()) => view.cloud_seen = Some(now()),
            Err(error) => view.trouble = Some(error.to_string()),
        },
        None => view.trouble = Some("the launcher has no credentials for this project".to_owned()),
    }
    if let (Some(paired), Some(service)) = (&record.paired, &launcher.pairing) {
        match service.nodes(paired) {
            Nodes::Known(nodes) => {
                view.nodes = nodes.into_iter().map(shown).collect();
                view.nodes_seen = Some(now());
            }
            Nodes::UnknownPin => {
                view.trouble.get_or_insert("the pin has expired at the pairing service".to_owned());
            }
            Nodes::Unavailable(cause) => {
                view.trouble.get_or_insert(format!("the pairing service cannot be asked: {cause}"));
            }
        }
    }
    (view.state, view.detail) = assess(&view, record.paired.is_some(), wanted);
    view
}

fn look_at_cloud(session: &mut Session, record: &mut Record, view: &mut View) -> Result<(), CloudError> {
    let id = match &record.stack_id {
        Some(id) => id.clone(),
        None => match session.stacks()?.into_iter().find(|stack| stack.name == record.stack_name) {
            Some(stack) => {
                record.stack_id = Some(stack.id.clone());
                stack.id
            }
            None => return Ok(()),
        },
    };
    let name = &record.stack_name;
    let before = view.stack.take();
    let Some(stack) = session.show_stack(name, &id)? else {
        view.stack = Some(StackView { status: "DELETE_COMPLETE".to_owned(), ..StackView::default() });
        view.servers.clear();
        return Ok(());
    };
    let state = stack.state();
    let settled = state == StackStatus::Built
        && before.as_ref().is_some_and(|before| before.status == stack.status)
        && !view.servers.is_empty();
    let masked = |text: &str| match &record.paired {
        Some(paired) => paired.masked(text),
        None => text.to_owned(),
    };
    let mut shown = StackView { status: stack.status, reason: masked(&stack.reason), failed: Vec::new() };
    // What a stack is made of changes only while it is made.
    if !settled && state != StackStatus::Gone {
        let resources = session.resources(name, &id)?;
        let failed = resources.iter().filter(|resource| resource.status.ends_with("_FAILED"));
        shown.failed =
            failed.map(|resource| format!("{}: {}", resource.name, masked(&resource.reason))).collect();
        let servers = resources.into_iter().filter(|resource| resource.kind == SERVER);
        view.servers = servers
            .map(|resource| {
                let known = view.servers.iter().find(|server| server.id == resource.physical_id);
                known.filter(|server| !server.id.is_empty()).cloned().unwrap_or_else(|| Server {
                    id: resource.physical_id,
                    name: resource.name,
                    ..Server::default()
                })
            })
            .collect();
    } else if state == StackStatus::Gone {
        view.servers.clear();
    }
    view.stack = Some(shown);
    if view.servers.iter().any(|server| !server.id.is_empty()) {
        let known = session.servers()?;
        for server in view.servers.iter_mut().filter(|server| !server.id.is_empty()) {
            match known.get(&server.id) {
                Some(known) => server.clone_from(known),
                None if !server.status.is_empty() => "DELETED".clone_into(&mut server.status),
                None => {}
            }
        }
    }
    Ok(())
}

fn shown(node: crate::launch::PairedNode) -> NodeView {
    let Some(report) = node.report else {
        return NodeView {
            id: node.id,
            state: "unreadable".to_owned(),
            age: node.age,
            detail: "its report is not sealed with the cluster's secret".to_owned(),
            ..NodeView::default()
        };
    };
    NodeView {
        id: node.id,
        name: report.name.into_owned(),
        role: report.role.as_str().to_owned(),
        state: report.state.as_str().to_owned(),
        addresses: report.addresses.into_iter().map(|address| address.into_owned()).collect(),
        detail: report.detail.into_owned(),
        age: node.age,
    }
}
