//! Clusters: `/api/v1/clusters` and `/api/v1/clusters/<pin>`.

use std::net::IpAddr;

use hyper::HeaderMap;
use protocol::Pin;

use super::answers::Reply;
use super::body::{RequestBody, decode};
use super::refusal::Refusal;
use crate::service::Service;

/// Makes a cluster. A body has nothing to say about it, but must be one that can be read, as the original wants it.
pub(super) async fn create(
    service: &Service,
    client: IpAddr,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    if let Some(token) = &service.create_token {
        service
            .rate_limits
            .may_try_token(client)
            .map_err(|later| Refusal::TooManyTokens(later.as_secs() + 1))?;
        if !token.is_given(headers) {
            service.rate_limits.wrong_token(client).await;
            return Err(Refusal::TokenMissing);
        }
    }
    decode(headers, body).await?;
    if let Err(later) = service.rate_limits.creation(client).await {
        return Err(Refusal::TooManyCreations(later.as_secs() + 1));
    }
    Ok(Reply::ClusterCreated(service.store.create_cluster().await?))
}

pub(super) async fn show(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    Ok(Reply::Cluster(service.store.cluster(pin).await?))
}

pub(super) async fn delete(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    service.store.delete_cluster(pin).await?;
    Ok(Reply::Done)
}
