//! `launch`: a cluster, from its type to its last node.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use protocol::error::{Error, Status};
use serde_json::{Map, Value};

use super::{environment, say};
use crate::cli::Launch;
use crate::definition::ClusterType;
use crate::launch::{Launcher, Record, Refused, Removal, Request, Written, base_name, remove};
use crate::openstack::Session;
use crate::quota::Counted;
use crate::view::{ClusterState, View, keep, look, row, table};

/// Time between two looks at a cluster.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a stack that failed may take to go.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);

/// Launches a cluster, or goes on with a launch, and follows it until every node is ready.
///
/// # Errors
/// It cannot be launched, it failed, or nodes are missing at the end of the time.
pub fn launch(args: &Launch) -> Result<ExitCode, Error> {
    let began = Instant::now();
    let launcher = environment::launcher(&args.types.types, &args.access.data, &args.access.pairing)?;
    let found = launcher.catalogue.find(&args.cluster_type);
    let found = found.map_err(|error| Refused::UnknownType(error).to_error())?;
    let request = request(args, &found);
    let found = launcher.check(&request).map_err(|refused| refused.to_error())?;
    let mut session = environment::session(&args.access.cloud)?;
    let mut record = begin(&launcher, &found, &request, &mut session)?;
    let view = follow(&launcher, &mut session, &mut record, args, began);
    if view.state == ClusterState::Ready {
        say(&if args.json { row(&record, &view).to_string() } else { table(&record, &view) });
        eprintln!("the cluster {} is ready after {} s", record.name, began.elapsed().as_secs());
        return Ok(ExitCode::SUCCESS);
    }
    if args.json {
        say(&row(&record, &view).to_string());
    }
    if matches!(view.state, ClusterState::Building | ClusterState::Joining) {
        return Err(late(&view, &record, args, began));
    }
    Err(failed(&launcher, &mut session, &record, &view, args.keep_on_failure))
}

/// The launch of this name that is under way, or a new one.
fn begin(
    launcher: &Launcher,
    found: &ClusterType,
    request: &Request,
    session: &mut Session,
) -> Result<Record, Error> {
    let fail = |refused: Refused| refused.to_error();
    let claim = launcher.records.claim(&request.name).map_err(Refused::Records).map_err(fail)?;
    let known = launcher.records.find(&request.name).map_err(Refused::Records).map_err(fail)?;
    let Some(mut record) = known else {
        let stacks = session.stacks().map_err(Refused::Cloud).map_err(fail)?;
        // The stack of a launch that `serve` has abandoned is known here, and goes.
        let known = launcher.records.all().map_err(Refused::Records).map_err(fail)?;
        let is_known = |name: &str| known.iter().any(|record| record.stack_name == name);
        let mut others = stacks.iter().filter(|stack| !is_known(&stack.name));
        if let Some(other) = others.find(|stack| base_name(&stack.name) == request.name) {
            let what = format!(
                "the project has a stack {} already, and nothing is known of its launch here",
                other.name
            );
            return Err(Error::refused(
                what,
                "give another --name, or the --data-dir or --etcd of its launch",
            ));
        }
        eprintln!("asking for a cluster {} of type {}", request.name, found.id);
        let launched = launcher.launch(found, request, session, None, Counted::All, Some(&claim));
        let record = launched.map_err(|failed| fail(failed.refused))?;
        eprintln!("Heat has taken the stack {}", record.stack_name);
        return Ok(record);
    };
    if record.cluster_type != found.id {
        let what = format!("there is a cluster {} of type {}", record.name, record.cluster_type);
        return Err(Error::new(Status::Usage, what, "give another --name"));
    }
    if record.project_id != session.project_id() {
        let what = format!("the cluster {} was launched in another project", record.name);
        return Err(Error::new(Status::Usage, what, "give that project's credentials, or another --name"));
    }
    if record.stack_id.is_none() {
        launcher.resume(found, request, session, &mut record).map_err(fail)?;
    }
    eprintln!("going on with the cluster {}, launched {}", record.name, record.created);
    Ok(record)
}

/// Looks until the cluster is ready, failed, or late. Says what changes.
fn follow(
    launcher: &Launcher,
    session: &mut Session,
    record: &mut Record,
    args: &Launch,
    began: Instant,
) -> View {
    let mut view = View::from_record(record);
    let mut is_kept = true;
    loop {
        let before = view;
        let had_id = record.stack_id.is_some();
        view = look(launcher, Some(session), record, &before, args.nodes);
        for line in changes(&before, &view) {
            eprintln!("{:>4} s  {line}", began.elapsed().as_secs());
        }
        match keep(&launcher.records, record, &view, had_id) {
            Ok(Some(Written::Changed)) => {
                if let Ok(Some(newer)) = launcher.records.of_stack(&record.stack_name) {
                    *record = newer;
                }
            }
            Ok(Some(Written::Done(_))) => {
                if !std::mem::replace(&mut is_kept, true) {
                    log::info!("the launches can be written again");
                }
            }
            Ok(_) => {}
            // The next look tries again.
            Err(error) => {
                if std::mem::replace(&mut is_kept, false) {
                    log::error!("{error}\n  next: {}", error.next_step());
                }
            }
        }
        let is_over = !matches!(view.state, ClusterState::Building | ClusterState::Joining);
        if is_over || began.elapsed() >= args.timeout {
            return view;
        }
        thread::sleep(PAUSE.min(args.timeout.saturating_sub(began.elapsed())));
    }
}

/// What is new in a view, a line each.
fn changes(before: &View, view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let status = |view: &View| view.stack.as_ref().map(|stack| stack.status.clone());
    if let Some(status) = status(view).filter(|now| Some(now) != status(before).as_ref()) {
        lines.push(format!("stack: {status}"));
    }
    for server in &view.servers {
        let known = before.servers.iter().find(|known| known.id == server.id && !known.id.is_empty());
        if known.is_none_or(|known| known.status != server.status) && !server.status.is_empty() {
            lines.push(format!("server {}: {} {}", server.name, server.status, server.addresses.join(",")));
        }
    }
    for node in &view.nodes {
        let known = before.nodes.iter().find(|known| known.id == node.id);
        if known.is_none_or(|known| known.state != node.state) {
            let name = if node.name.is_empty() { &node.id } else { &node.name };
            lines.push(format!("node {name} ({}): {} {}", node.role, node.state, node.detail));
        }
    }
    if view.trouble != before.trouble
        && let Some(trouble) = &view.trouble
    {
        lines.push(format!("trouble: {trouble}"));
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The time is over. The cluster stays: its nodes may still come.
fn late(view: &View, record: &Record, args: &Launch, began: Instant) -> Error {
    let ready = |name: &str| view.nodes.iter().any(|node| node.state == "ready" && node.name == name);
    let missing: Vec<_> = view
        .servers
        .iter()
        .filter(|server| !ready(&server.name))
        .map(|server| server.name.as_str())
        .collect();
    let mut what = format!("the cluster {} is not ready: {}", record.name, view.detail);
    if !missing.is_empty() {
        what += &format!("; no ready node is called {}", missing.join(", "));
    }
    if let Some(trouble) = &view.trouble {
        what += &format!("; {trouble}");
    }
    let next = format!(
        "run `launch {} --name {}` again to go on, or `delete {}`",
        args.cluster_type, record.name, record.name
    );
    Error::timed_out(&what, began.elapsed(), next)
}

/// What failed is removed, unless it is to be kept.
fn failed(
    launcher: &Launcher,
    session: &mut Session,
    record: &Record,
    view: &View,
    keep_on_failure: bool,
) -> Error {
    let what = format!("the cluster {} failed: {}", record.name, view.detail);
    let delete = format!("`delete {}`", record.name);
    if keep_on_failure {
        return Error::refused(what, format!("look at what is left, then {delete}"));
    }
    eprintln!("removing what was made of the cluster {}", record.name);
    match remove(launcher, session, record, REMOVE_LIMIT) {
        Ok(Removal::Gone) => {
            Error::refused(what, "nothing is left of it; mend the cause and launch it again")
        }
        Ok(Removal::Going) => {
            Error::refused(what, format!("the stack still goes; see to its end with {delete}"))
        }
        Ok(Removal::Failed(reason)) => {
            Error::refused(format!("{what}; Heat cannot delete the stack: {reason}"), delete)
        }
        Err(refused) => Error::refused(format!("{what}; {}", refused.to_error()), delete),
    }
}

/// The request of a command line.
fn request(args: &Launch, found: &ClusterType) -> Request {
    let answers: Map<String, Value> =
        args.set.iter().map(|(name, text)| (name.clone(), answer(found, name, text))).collect();
    let selections = args.select.iter().map(|name| (name.clone(), Value::Bool(true))).collect();
    Request { name: args.name.clone(), cluster_type: args.cluster_type.clone(), answers, selections }
}

/// Texts stay as they are. Heat reads the text of a number, a boolean or a list itself; JSON it wants as JSON.
fn answer(found: &ClusterType, name: &str, text: &str) -> Value {
    let is_json = found.parameters.get(name).is_some_and(|schema| schema["type"] == "json");
    let parsed = if is_json { serde_json::from_str(text).ok() } else { None };
    parsed.unwrap_or_else(|| Value::from(text))
}
