//! Clusters: `/api/v1/clusters` and `/api/v1/clusters/<pin>`.

use protocol::Pin;

use crate::http::{Fields, Refusal, Reply};
use crate::service::Service;

/// Makes a cluster. There is nothing that a client could say of it, but a body that cannot be read is refused.
pub(crate) async fn create(service: &Service, _: Fields) -> Result<Reply, Refusal> {
    Ok(Reply::ClusterCreated(service.store.create_cluster().await?))
}

pub(crate) async fn show(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    Ok(Reply::Cluster(service.store.cluster(pin).await?))
}

pub(crate) async fn delete(service: &Service, pin: &Pin) -> Result<Reply, Refusal> {
    service.store.delete_cluster(pin).await?;
    Ok(Reply::Deleted)
}
