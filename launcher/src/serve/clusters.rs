//! Clusters over HTTP: launch, list, show, delete.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::allowed::is_allowed;
use super::answers::{self, Answer};
use super::shape::{self, LaunchBody};
use super::{Service, followed};
use crate::launch::{
    Billing, Complaint, NotLaunched, Record, RecordsError, Refused, Removal, of_records, remove,
};
use crate::openstack::{Session, one_line};
use crate::quota::Counted;
use crate::token;
use crate::view::{ClusterState, View, row};

/// How long a request to delete waits for the stack to go; then it goes on without.
const DELETE_LIMIT: Duration = Duration::from_secs(20);

/// Whether a body is said to be JSON: `application/json`, or a type that ends in `+json`.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// `POST /clusters/`.
pub(super) fn launch(service: &Arc<Service>, authorization: Option<&str>, body: &[u8]) -> Answer {
    let body = match read(body) {
        Ok(body) => body,
        Err(complaint) => return answers::errors(&[complaint]),
    };
    if let Err(complaint) = let_in(service, authorization) {
        return answers::errors(&[complaint]);
    }
    let name = body.request.name.clone();
    match make(service, body) {
        Ok(record) => {
            log::info!("launched {name:?} as {}", record.stack_name);
            answers::json(StatusCode::CREATED, &json!({ "id": record.stack_id, "name": record.stack_name }))
        }
        Err(refused) => {
            let complaints = refused.complaints();
            for complaint in &complaints {
                log::info!("did not launch {name:?}: {}: {}", complaint.title, one_line(&complaint.detail));
            }
            match &refused {
                Refused::Records(error) => log::error!("{error}\n  next: {}", error.next_step()),
                Refused::Cloud(error) => log::info!("{error}\n  next: {}", error.next_step()),
                _ => {}
            }
            answers::errors(&complaints)
        }
    }
}

fn read(body: &[u8]) -> Result<LaunchBody, Complaint> {
    let bad = |detail: String| Complaint::new(400, "Bad Request", detail);
    let value: Value =
        serde_json::from_slice(body).map_err(|error| bad(format!("The body is not JSON: {error}.")))?;
    if value.is_null() {
        return Err(bad("Failed to decode JSON object".to_owned()));
    }
    shape::read(&value)
}

fn let_in(service: &Service, authorization: Option<&str>) -> Result<(), Complaint> {
    token::check(service.config.key.as_ref(), authorization)
        .map_err(|fault| Complaint::new(401, "MiddlewareAuthenticationError", fault.to_string()))
}

fn make(service: &Arc<Service>, body: LaunchBody) -> Result<Record, Refused> {
    let config = &service.config;
    let found = config.launcher.check(&body.request)?;
    let mut billing = billing(service, &body)?;
    if let Some(billing) = &mut billing {
        billing.check_credits()?;
    }
    // With and without its version it is the same address.
    let auth_url = body.cloud.auth_url.trim_end_matches('/');
    let versioned = format!("{}/v3", auth_url.strip_suffix("/v3").unwrap_or(auth_url));
    if !is_allowed(&config.auth_urls, &versioned) {
        return Err(Refused::AuthUrl);
    }
    let mut session = Session::login(body.cloud.credentials(config.trust.clone()), config.cloud_limit)
        .map_err(Refused::Cloud)?;
    // What the original does not count it does not refuse, and its clients count on the 201.
    let counted = Counted::AsOriginal;
    match config.launcher.launch(&found, &body.request, &mut session, billing.as_mut(), counted, None) {
        Ok(record) => {
            followed::follow(service, record.clone(), Some(session));
            Ok(record)
        }
        Err(NotLaunched { refused, record }) => {
            if let Some(record) = record {
                followed::abandon(service, *record, session);
            }
            Err(refused)
        }
    }
}

/// The account at the billing service, where the operator has named one.
fn billing(service: &Service, body: &LaunchBody) -> Result<Option<Billing>, Refused> {
    let config = &service.config;
    let Some(key) = config.key.clone().filter(|_| !config.middleware_urls.is_empty()) else {
        return Ok(None);
    };
    if !is_allowed(&config.middleware_urls, &body.middleware_url) {
        let problem =
            "middleware_url is not the address of a billing service that this launcher may speak to";
        return Err(Refused::Billing(problem.to_owned()));
    }
    Billing::new(&body.middleware_url, key, body.account.clone()).map(Some)
}

/// `GET /clusters/`.
pub(super) fn list(service: &Service, authorization: Option<&str>) -> Answer {
    if let Err(complaint) = let_in(service, authorization) {
        return answers::errors(&[complaint]);
    }
    match service.config.launcher.records.all() {
        Ok(records) => {
            let shown = records.iter().filter(|record| !record.abandoned);
            let rows: Vec<Value> = shown.map(|record| row(record, &service.followed.view(record))).collect();
            answers::json(StatusCode::OK, &Value::Array(rows))
        }
        Err(error) => answers::errors(&[unreadable(&error)]),
    }
}

/// `GET /clusters/<id>`: by the stack's id, its name, or the cluster's.
pub(super) fn show(service: &Service, authorization: Option<&str>, id: &str) -> Answer {
    match find(service, authorization, id) {
        Ok(record) => {
            let view = service.followed.view(&record);
            // Read again: the log must tell of the state that is shown.
            let again = service.config.launcher.records.of_stack(&record.stack_name).ok().flatten();
            answers::json(StatusCode::OK, &row(&again.unwrap_or(record), &view))
        }
        Err(complaint) => answers::errors(&[complaint]),
    }
}

/// `DELETE /clusters/<id>`.
pub(super) fn delete(service: &Service, authorization: Option<&str>, id: &str) -> Answer {
    let record = match find(service, authorization, id) {
        Ok(record) => record,
        Err(complaint) => return answers::errors(&[complaint]),
    };
    if service.followed.view(&record).state == ClusterState::Gone {
        service.followed.forget(&record);
        return match service.config.launcher.records.remove(&record) {
            Ok(()) => answers::empty(StatusCode::NO_CONTENT),
            Err(error) => answers::errors(&[unreadable(&error)]),
        };
    }
    let removed = followed::with_session(service, &record, |session| {
        remove(&service.config.launcher, session, &record, DELETE_LIMIT)
    });
    match removed {
        None => {
            let detail = "The launcher has no credentials for the project of this cluster any more; delete its stack \
                          in the cloud.";
            answers::refuse(409, "Conflict", detail)
        }
        Some(Ok(Removal::Gone)) => {
            service.followed.forget(&record);
            answers::empty(StatusCode::NO_CONTENT)
        }
        Some(Ok(Removal::Going)) => {
            let view: View = service.followed.view(&record);
            answers::json(StatusCode::ACCEPTED, &row(&record, &view))
        }
        Some(Ok(Removal::Failed(reason))) => answers::refuse(409, "Conflict", &reason),
        Some(Err(refused)) => answers::errors(&refused.complaints()),
    }
}

fn find(service: &Service, authorization: Option<&str>, id: &str) -> Result<Record, Complaint> {
    let_in(service, authorization)?;
    match service.config.launcher.records.find(id) {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Complaint::new(404, "Not Found", format!("Unknown cluster: {id}"))),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &RecordsError) -> Complaint {
    log::error!("{error}\n  next: {}", error.next_step());
    of_records(error, "What is known of launches cannot be read.")
}
