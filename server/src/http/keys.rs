//! Keys: `/api/v1/clusters/<pin>/keys` and `/api/v1/clusters/<pin>/keys/<key>`.
//!
//! A write looks its pin and key up before it reads the body: a body for an unknown pin takes no memory.

use std::net::IpAddr;

use hyper::HeaderMap;
use pairing_core::Refused;
use pairing_core::store::{Charge, Update};
use protocol::Pin;

use super::answers::Reply;
use super::body::{RequestBody, decode};
use super::refusal::Refusal;
use crate::budget::Purpose;
use crate::service::Service;

/// Values up to so many bytes are counted for all clients together only, so that small clusters cost no bookkeeping.
const UNCHARGED: usize = 1 << 10;

pub(super) async fn list(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    Ok(Reply::Keys(service.store.keys(pin).await?))
}

/// Shows a key. To wait for one that is not there is the business of `wait.rs`.
pub(super) async fn show(service: &Service, pin: &Pin, name: &str) -> Result<Reply, Refusal> {
    Ok(Reply::Key(service.store.key(pin, name).await?))
}

pub(super) async fn create(
    service: &Service,
    client: IpAddr,
    pin: &Pin,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    service.store.expect_cluster(pin).await?;
    let (name, value) = decode(headers, body).await?.whole(service.value_max_chars)?;
    let charge = charge(service, client, &value)?;
    Ok(Reply::KeyCreated(service.store.create_charged_key(pin, name, value, charge).await?))
}

/// Counts a value for the client that sends it, for as long as the store holds it.
fn charge(service: &Service, client: IpAddr, value: &str) -> Result<Option<Charge>, Refusal> {
    if value.len() <= UNCHARGED {
        return Ok(None);
    }
    let permit = service.budget.acquire(Purpose::Stored, Some(client), value.len());
    permit.map(|permit| Some(Charge::new(permit))).map_err(|_| Refusal::OutOfMemory)
}

/// Sets name and value.
pub(super) async fn replace(
    service: &Service,
    client: IpAddr,
    pin: &Pin,
    name: &str,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    service.store.expect_key(pin, name).await?;
    let (new_name, value) = decode(headers, body).await?.whole(service.value_max_chars)?;
    update(service, client, pin, name, Update { name: Some(new_name), value: Some(value) }).await
}

/// Sets name, value, both or nothing.
pub(super) async fn change(
    service: &Service,
    client: IpAddr,
    pin: &Pin,
    name: &str,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    service.store.expect_key(pin, name).await?;
    let changes = decode(headers, body).await?.partial(service.value_max_chars)?;
    update(service, client, pin, name, changes).await
}

async fn update(
    service: &Service,
    client: IpAddr,
    pin: &Pin,
    name: &str,
    update: Update,
) -> Result<Reply, Refusal> {
    let charge = charge(service, client, update.value.as_deref().unwrap_or_default())?;
    match service.store.update_charged_key(pin, name, update, charge).await {
        Err(Refused::KeyExists) => Err(Refusal::NameTaken),
        updated => Ok(Reply::Key(updated?)),
    }
}

pub(super) async fn delete(service: &Service, pin: &Pin, name: &str) -> Result<Reply, Refusal> {
    service.store.delete_key(pin, name).await?;
    Ok(Reply::Done)
}
