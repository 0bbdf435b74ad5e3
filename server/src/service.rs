//! What every request needs: the store, the hub, the time and the limits.

use std::sync::Arc;

use crate::clock::Clock;
use crate::http::Refusal;
use crate::hub::Hub;
use crate::store::Store;

/// The service behind the endpoints.
pub(crate) struct Service {
    /// Handlers know this trait, not a store.
    pub(crate) store: Arc<dyn Store>,
    /// Who waits for what.
    pub(crate) hub: Arc<Hub>,
    /// The time, for the end of a pin.
    pub(crate) clock: Arc<dyn Clock>,
    /// Longest value, in characters.
    pub(crate) value_max_chars: usize,
}

impl Service {
    /// Whether a write would go through now.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) async fn ready(&self) -> Result<(), Refusal> {
        if self.hub.is_closed() {
            return Err(Refusal::ShuttingDown);
        }
        Ok(self.store.ready().await?)
    }
}
