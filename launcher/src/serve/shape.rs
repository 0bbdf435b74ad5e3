//! Whether the body of a request has the shape of one: the original's JSON schema, and its words.

use std::fmt;

use protocol::Trust;
use serde_json::{Map, Value};

use crate::launch::{Complaint, Request};
use crate::openstack::{Credentials, Domain, Interface, Login, NameOrId, SecretString};
use crate::value::python;

/// What is asked for, with who asks and who pays.
///
/// No `Debug`: the body holds a password.
pub(super) struct LaunchBody {
    pub(super) request: Request,
    pub(super) cloud: RequestedCloud,
    /// The account, as text.
    pub(super) account: String,
    /// The billing service; empty where it is no text.
    pub(super) middleware_url: String,
}

/// A login.
pub(super) struct RequestedCloud {
    pub(super) auth_url: String,
    login: Login,
    project: NameOrId,
}

impl RequestedCloud {
    /// The credentials, with the certificates that the operator believes.
    pub(super) fn credentials(self, trust: Trust) -> Credentials {
        Credentials {
            auth_url: self.auth_url,
            login: self.login,
            scope: Some(self.project),
            region: None,
            interface: Interface::Public,
            trust,
        }
    }
}

/// The shapes that `cloud_env` may have; every member is a text.
const SHAPES: [&[&str]; 3] = [
    &["auth_url", "user_id", "password", "project_id"],
    &["auth_url", "username", "password", "project_id", "user_domain_name"],
    &["auth_url", "username", "password", "project_name", "project_domain_name", "user_domain_name"],
];

/// What the body must have, in the order in which it is missed.
const KEYS: [&str; 4] = ["cloud_env", "cluster", "billing_account_id", "middleware_url"];

/// Reads a body.
///
/// # Errors
/// The shallowest fault.
pub(super) fn read(body: &Value) -> Result<LaunchBody, Complaint> {
    let root = object(body, "/")?;
    required(root, &KEYS, "/")?;
    let cluster = object(&root["cluster"], "/cluster")?;
    let cloud = object(&root["cloud_env"], "/cloud_env")?;
    required(cluster, &["name", "cluster_type_id"], "/cluster")?;
    let cloud = read_cloud(cloud)?;
    let name = text(&cluster["name"], "/cluster/name")?;
    let cluster_type = text(&cluster["cluster_type_id"], "/cluster/cluster_type_id")?;
    let map = |key: &str| match cluster.get(key) {
        None => Ok(Map::new()),
        Some(value) => object(value, &format!("/cluster/{key}")).cloned(),
    };
    let (answers, selections) = (map("parameters")?, map("selections")?);
    Ok(LaunchBody {
        request: Request { name, cluster_type, answers, selections },
        cloud,
        account: match &root["billing_account_id"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        middleware_url: root["middleware_url"].as_str().unwrap_or_default().to_owned(),
    })
}

fn read_cloud(cloud: &Map<String, Value>) -> Result<RequestedCloud, Complaint> {
    let fits = |shape: &&&[&str]| shape.iter().all(|key| cloud.get(*key).is_some_and(Value::is_string));
    let mut fitting = SHAPES.iter().filter(fits);
    let Some(shape) = fitting.next() else { return Err(closest(cloud)) };
    if fitting.next().is_some() {
        let detail = "cloud_env fits more than one of the given schemas; give project_id, or project_name with \
                      project_domain_name, and user_id, or username with user_domain_name";
        return Err(schema(detail, "/cloud_env"));
    }
    let get = |key: &str| cloud.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let has = |key: &str| shape.contains(&key);
    let domain = |key: &str| Domain::Name(get(key));
    let user = match has("user_id") {
        true => NameOrId::Id(get("user_id")),
        false => NameOrId::Name(get("username"), domain("user_domain_name")),
    };
    let project = match has("project_id") {
        true => NameOrId::Id(get("project_id")),
        false => NameOrId::Name(get("project_name"), domain("project_domain_name")),
    };
    let login = Login::Password { user, password: SecretString::new(get("password")) };
    Ok(RequestedCloud { auth_url: get("auth_url"), login, project })
}

/// What is wrong by the shape that lacks least. The original shows the whole object here, password and all.
fn closest(cloud: &Map<String, Value>) -> Complaint {
    let missing = |shape: &[&str]| shape.iter().filter(|key| !cloud.contains_key(**key)).count();
    let shape = SHAPES.into_iter().min_by_key(|shape| missing(shape)).unwrap_or(SHAPES[0]);
    let first = shape.iter().find(|key| !cloud.contains_key(**key));
    let problem = match first {
        Some(key) => format!("'{key}' is a required property"),
        None => {
            let wrong = shape.iter().find(|key| !cloud.get(**key).is_some_and(Value::is_string));
            format!("'{}' is not of type 'string'", wrong.unwrap_or(&"auth_url"))
        }
    };
    let what = "cloud_env is not valid under any of the given schemas: the best matched error is:";
    schema(format!("{what} {problem}"), "/cloud_env")
}

fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>, Complaint> {
    value.as_object().ok_or_else(|| not_of_type(value, "object", pointer))
}

fn text(value: &Value, pointer: &str) -> Result<String, Complaint> {
    value.as_str().map(str::to_owned).ok_or_else(|| not_of_type(value, "string", pointer))
}

fn required(map: &Map<String, Value>, keys: &[&str], pointer: &str) -> Result<(), Complaint> {
    match keys.iter().find(|key| !map.contains_key(**key)) {
        None => Ok(()),
        Some(key) => Err(schema(format!("'{key}' is a required property"), pointer)),
    }
}

fn not_of_type(value: &Value, kind: &str, pointer: &str) -> Complaint {
    schema(format!("{} is not of type '{kind}'", python::repr(value)), pointer)
}

fn schema(detail: impl fmt::Display, pointer: &str) -> Complaint {
    Complaint::new(400, "JSON schema error", detail.to_string()).at(pointer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "cloud_env": { "auth_url": "u", "user_id": "i", "password": "geheim", "project_id": "p" },
            "cluster": { "name": "n", "cluster_type_id": "t" },
            "billing_account_id": 5,
            "middleware_url": "m",
        })
    }

    fn fault(change: impl FnOnce(&mut Value)) -> (String, String) {
        let mut body = good();
        change(&mut body);
        let complaint = read(&body).err().unwrap();
        assert!(!complaint.detail.contains("geheim"));
        (complaint.pointer.unwrap(), complaint.detail)
    }

    #[test]
    fn parameters_and_selections_may_be_absent() {
        let body = read(&good()).ok().unwrap();
        assert!(body.request.answers.is_empty() && body.request.selections.is_empty());
        assert_eq!(body.account, "5");
    }

    #[test]
    fn names_the_key_that_the_closest_shape_lacks() {
        let what = |key: &str| {
            let words = "cloud_env is not valid under any of the given schemas: the best matched error is:";
            ("/cloud_env".to_owned(), format!("{words} '{key}' is a required property"))
        };
        let cloud = json!({ "auth_url": "u", "username": "n", "password": "geheim", "project_name": "p",
                            "project_domain_name": "d" });
        assert_eq!(fault(|body| body["cloud_env"] = cloud), what("user_domain_name"));
        assert_eq!(fault(|body| body["cloud_env"] = json!({})), what("auth_url"));
        let both = json!({ "auth_url": "u", "username": "n", "password": "geheim", "user_domain_name": "d",
                           "project_id": "p", "user_id": "i" });
        assert!(fault(|body| body["cloud_env"] = both).1.contains("more than one"));
    }

    #[test]
    fn the_shallowest_fault_comes_first() {
        let (pointer, detail) = fault(|body| {
            body["cluster"] = json!({ "name": 42 });
            body["cloud_env"]["password"] = json!(5);
        });
        assert_eq!(
            (pointer.as_str(), detail.as_str()),
            ("/cluster", "'cluster_type_id' is a required property")
        );
        let (pointer, _) = fault(|body| {
            body["cluster"]["name"] = json!(42);
            body["cloud_env"]["password"] = json!(5);
        });
        assert_eq!(pointer, "/cloud_env");
    }
}
