//! Clusters: `/api/v1/clusters` and `/api/v1/clusters/<pin>`.

use std::net::IpAddr;

use hyper::HeaderMap;
use protocol::Pin;

use crate::http::{Refusal, Reply};
use crate::service::Service;

/// Makes a cluster. A body has nothing to say about it and is not looked at.
pub(crate) async fn create(service: &Service, client: IpAddr, headers: &HeaderMap) -> Result<Reply, Refusal> {
    if !service.create_token.as_ref().is_none_or(|token| token.is_given(headers)) {
        return Err(Refusal::TokenMissing);
    }
    if let Err(later) = service.pace.creation(client).await {
        return Err(Refusal::TooManyCreations(later.as_secs() + 1));
    }
    Ok(Reply::ClusterCreated(service.store.create_cluster().await?))
}

pub(crate) async fn show(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    Ok(Reply::Cluster(service.store.cluster(pin).await?))
}

pub(crate) async fn delete(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    service.store.delete_cluster(pin).await?;
    Ok(Reply::Deleted)
}
