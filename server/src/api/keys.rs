//! Keys: `/api/v1/clusters/<pin>/keys` and `/api/v1/clusters/<pin>/keys/<key>`.

use protocol::Pin;

use super::events;
use crate::http::{Fields, Refusal, Reply};
use crate::service::Service;
use crate::store::{StoreError, Update};

pub(crate) async fn list(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    Ok(Reply::Keys(service.store.keys(pin).await?))
}

pub(crate) async fn create(service: &Service, pin: &Pin, fields: Fields) -> Result<Reply, Refusal> {
    let (name, value) = fields.whole(service.value_max_chars)?;
    Ok(Reply::KeyCreated(service.store.create_key(pin, &name, &value).await?))
}

/// Shows a key. Waiting for one that is not there is `wait.rs`'s business.
pub(crate) async fn show(service: &Service, pin: &Pin, name: &str) -> Result<Reply, Refusal> {
    let key = service.store.key(pin, name).await?;
    events::note_read(service, pin, name).await;
    Ok(Reply::Key(key))
}

/// Sets name and value.
pub(crate) async fn replace(
    service: &Service,
    pin: &Pin,
    name: &str,
    fields: Fields,
) -> Result<Reply, Refusal> {
    let (new_name, value) = fields.whole(service.value_max_chars)?;
    update(service, pin, name, Update { name: Some(new_name), value: Some(value) }).await
}

/// Sets name, value, both or nothing.
pub(crate) async fn change(
    service: &Service,
    pin: &Pin,
    name: &str,
    fields: Fields,
) -> Result<Reply, Refusal> {
    let update_ = fields.partial(service.value_max_chars)?;
    update(service, pin, name, update_).await
}

async fn update(service: &Service, pin: &Pin, name: &str, update: Update) -> Result<Reply, Refusal> {
    match service.store.update_key(pin, name, update).await {
        Err(StoreError::KeyExists) => Err(Refusal::NameTaken),
        updated => Ok(Reply::Key(updated?)),
    }
}

pub(crate) async fn delete(service: &Service, pin: &Pin, name: &str) -> Result<Reply, Refusal> {
    service.store.delete_key(pin, name).await?;
    Ok(Reply::Deleted)
}
