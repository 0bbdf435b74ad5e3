//! A stand-in for a cloud: Keystone, Nova and Heat in one, with the answers of a real one (Zed) as far as a launch asks.
//!
//! A stack is in progress when it is looked at first, and then complete, or failed if the test wants that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_launcher::stack::Stack;
use serde_json::{Value, json};
use worlds::http::Headers;
use worlds::mock_server::{MockServer, Reply, Seen};

use crate::home::PASSWORD;
use crate::servers::Servers;
use crate::things;

/// What tokens begin with.
pub(crate) const TOKEN: &str = "gAAAA-token";

/// How a cloud behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Heat's answer to everything.
    pub(crate) heat: Option<Reply>,
    /// Heat's answer to a request for a stack, given before the stack is made or instead of it.
    pub(crate) create: Option<Create>,
    /// Why stacks fail.
    pub(crate) fails: Option<String>,
    /// Most servers of the project; 0 stands for 10.
    pub(crate) instances: i64,
    /// Services that answer only this, by their paths: `nova/os-keypairs`, `glance`, …
    pub(crate) broken: Vec<(&'static str, Reply)>,
    /// Types of services that the catalogue lacks.
    pub(crate) without: Vec<&'static str>,
}

/// What becomes of a request for a stack.
#[derive(Clone)]
pub(crate) enum Create {
    /// It is refused.
    Refuse(Reply),
    /// It is made, and nothing is answered.
    Silent,
}

/// A stack.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) stack: Stack,
    status: String,
    reason: String,
    looks: usize,
}

#[derive(Default)]
struct State {
    manners: Manners,
    stacks: Vec<Made>,
    servers: Servers,
    created: usize,
    logins: usize,
    /// The tokens that are valid.
    tokens: Vec<String>,
}

/// A cloud on loopback.
pub(crate) struct Cloud {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

impl Cloud {
    pub(crate) fn start(manners: Manners) -> Self {
        Self::watched(manners, |_| ())
    }

    /// One that does something before it answers a request.
    pub(crate) fn watched(manners: Manners, before: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new(State { manners, ..State::default() }));
        let shared = Arc::clone(&state);
        let server = MockServer::start(move |seen, _| {
            before(seen);
            let host = seen.headers.get("host").unwrap_or_default();
            answer(&mut lock(&shared), &format!("http://{host}"), seen)
        });
        Self { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The stacks that are there.
    pub(crate) fn stacks(&self) -> Vec<Made> {
        lock(&self.state).stacks.clone()
    }

    /// How many stacks were asked for.
    pub(crate) fn created(&self) -> usize {
        lock(&self.state).created
    }

    /// The number of logins.
    pub(crate) fn logins(&self) -> usize {
        lock(&self.state).logins
    }

    /// Ends every token.
    pub(crate) fn expire_tokens(&self) {
        lock(&self.state).tokens.clear();
    }

    /// Behaves otherwise from now on.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.state).manners);
    }

    /// Does something to the servers.
    pub(crate) fn servers<T>(&self, act: impl FnOnce(&mut Servers) -> T) -> T {
        act(&mut lock(&self.state).servers)
    }

    /// Deletes a stack without the launcher.
    pub(crate) fn lose_stacks(&self) {
        lock(&self.state).stacks.clear();
    }

    /// Paths that were asked for.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.server.lines()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, root: &str, seen: &Seen) -> Reply {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    if let Some((_, reply)) = state.manners.broken.iter().find(|(at, _)| path[1..].starts_with(at)) {
        return reply.clone();
    }
    if path == "/v3/auth/tokens" {
        return login(state, root, &body);
    }
    let token = seen.headers.get("x-auth-token").unwrap_or_default();
    if !state.tokens.contains(&token) {
        return error(401, "Unauthorized", "The request you have made requires authentication.");
    }
    match path.split('/').collect::<Vec<_>>()[1..] {
        ["nova", "flavors", "detail"] => Reply::json(
            200,
            &json!({ "flavors": [
            { "id": "f0", "name": "m1.tiny", "ram": 512, "vcpus": 1 },
            { "id": "f1", "name": "m1.small", "ram": 2048, "vcpus": 1 },
            { "id": "f2", "name": "m1.big", "ram": 65536, "vcpus": 16 },
        ] }),
        ),
        ["nova", "limits"] => {
            let most = if state.manners.instances == 0 { 10 } else { state.manners.instances };
            Reply::json(
                200,
                &json!({ "limits": { "rate": [], "absolute": {
                "maxTotalInstances": most, "totalInstancesUsed": 0,
                "maxTotalCores": 20, "totalCoresUsed": 0,
                "maxTotalRAMSize": 51200, "totalRAMUsed": 0,
            } } }),
            )
        }
        ["nova", "servers", "detail"] => state.servers.list(query),
        ["heat", ref rest @ ..] => match &state.manners.heat {
            Some(reply) => reply.clone(),
            None => heat(state, &seen.method, rest, &body),
        },
        ref other => things::answer(other, query),
    }
}

fn login(state: &mut State, root: &str, body: &Value) -> Reply {
    let user = &body["auth"]["identity"]["password"]["user"];
    let knows = user["name"] == "demo"
        && user["password"] == PASSWORD
        && user["domain"]["name"] == "Default"
        && body["auth"]["scope"]["project"]["name"] == "demo";
    if !knows {
        return Reply::json(
            401,
            &json!({ "error": {
            "code": 401, "title": "Unauthorized",
            "message": "The request you have made requires authentication.",
        } }),
        );
    }
    state.logins += 1;
    let token = format!("{TOKEN}-{}", state.logins);
    state.tokens.push(token.clone());
    let service = |kind: &str, path: &str| {
        json!({ "type": kind, "name": kind, "endpoints": [
            { "interface": "public", "region_id": "RegionOne", "region": "RegionOne", "url": format!("{root}/{path}") },
        ] })
    };
    let services = [
        ("compute", "nova"),
        ("orchestration", "heat"),
        ("image", "glance"),
        // Some clouds have the version in this address, and some have not.
        ("network", "neutron/v2.0"),
        ("volumev3", "cinder/v3/project-1"),
    ];
    let there = services.iter().filter(|(kind, _)| !state.manners.without.contains(kind));
    let catalogue: Vec<Value> = there.map(|(kind, path)| service(kind, path)).collect();
    let body = json!({ "token": {
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "project": { "id": "project-1", "name": "demo" },
        "catalog": catalogue,
    } });
    let headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("X-Subject-Token".to_owned(), token),
    ];
    Reply::Answer(201, Headers(headers), body.to_string().into_bytes())
}

fn heat(state: &mut State, method: &str, path: &[&str], body: &Value) -> Reply {
    match (method, path) {
        ("POST", ["stacks"]) => create(state, body),
        ("GET", ["stacks"]) => {
            let stacks: Vec<Value> = state.stacks.iter().map(shown).collect();
            Reply::json(200, &json!({ "stacks": stacks }))
        }
        ("GET", ["stacks", _, id]) => {
            let fails = state.manners.fails.clone();
            let Some(stack) = state.stacks.iter_mut().find(|stack| stack.id == **id) else {
                return not_found();
            };
            stack.looks += 1;
            if stack.looks > 1 && stack.status == "CREATE_IN_PROGRESS" {
                (stack.status, stack.reason) = match fails {
                    Some(reason) => ("CREATE_FAILED".into(), format!("Resource CREATE failed: {reason}")),
                    None => ("CREATE_COMPLETE".into(), "Stack CREATE completed successfully".into()),
                };
                state.servers.change(&stack.id, "ACTIVE", None);
            }
            let shown = shown(stack);
            if stack.status == "DELETE_IN_PROGRESS" {
                state.servers.change(&stack.id, "DELETED", None);
                state.stacks.retain(|stack| stack.id != **id);
            }
            Reply::json(200, &json!({ "stack": shown }))
        }
        ("GET", ["stacks", _, id, "resources"]) => match state.stacks.iter().find(|stack| stack.id == **id) {
            Some(stack) => Reply::json(200, &json!({ "resources": resources(stack) })),
            None => not_found(),
        },
        ("DELETE", ["stacks", _, id]) => match state.stacks.iter_mut().find(|stack| stack.id == **id) {
            Some(stack) => {
                stack.status = "DELETE_IN_PROGRESS".into();
                Reply::status(204)
            }
            None => not_found(),
        },
        _ => error(404, "Not Found", "not here"),
    }
}

fn create(state: &mut State, body: &Value) -> Reply {
    state.created += 1;
    let manners = state.manners.create.clone();
    if let Some(Create::Refuse(reply)) = manners {
        return reply;
    }
    let files = body["files"].as_object().into_iter().flatten();
    let files: BTreeMap<String, String> =
        files.map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned())).collect();
    let id = format!("16053ead-6264-47c9-8a1f-{:012}", state.created);
    let made = Made {
        name: body["stack_name"].as_str().unwrap_or_default().to_owned(),
        id: id.clone(),
        stack: Stack {
            template: body["template"].clone(),
            files,
            parameters: body["parameters"].as_object().cloned().unwrap_or_default(),
        },
        status: "CREATE_IN_PROGRESS".into(),
        reason: "Stack CREATE started".into(),
        looks: 0,
    };
    state.servers.make(&id, &names(&made));
    state.stacks.push(made);
    match manners {
        Some(_) => Reply::Hang,
        None => Reply::json(201, &json!({ "stack": { "id": id, "links": [] } })),
    }
}

fn shown(stack: &Made) -> Value {
    json!({
        "id": stack.id, "stack_name": stack.name,
        "stack_status": stack.status, "stack_status_reason": stack.reason,
    })
}

fn workers(stack: &Made) -> u64 {
    let count = stack.stack.parameters.get("worker-count");
    count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())).unwrap_or_default()
}

fn names(stack: &Made) -> Vec<String> {
    let mut names = vec!["master".to_owned()];
    names.extend((0..workers(stack)).map(|n| format!("worker-{n}")));
    names
}

fn resources(stack: &Made) -> Vec<Value> {
    let state = if stack.status == "CREATE_FAILED" { "CREATE_FAILED" } else { "CREATE_COMPLETE" };
    let mut resources = vec![json!({
        "resource_name": "net", "resource_type": "OS::Neutron::Net", "physical_resource_id": "n",
        "resource_status": "CREATE_COMPLETE", "resource_status_reason": "state changed",
    })];
    resources.extend(names(stack).iter().map(|name| {
        json!({
            "resource_name": name, "resource_type": "OS::Nova::Server",
            "physical_resource_id": format!("{}-{name}", stack.id),
            "resource_status": state, "resource_status_reason": stack.reason,
        })
    }));
    resources
}

fn not_found() -> Reply {
    error(404, "Not Found", "The Stack could not be found.")
}

/// An error as Heat has it.
pub(crate) fn error(status: u16, title: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({
            "code": status, "title": title, "explanation": title,
            "error": { "type": title, "message": message, "traceback": null },
        }),
    )
}
