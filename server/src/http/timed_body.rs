//! The body of a request, with the time that the service waits for it: that is the client's, not the service's.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::RequestBody;

/// The time that was waited, in nanoseconds.
#[derive(Default)]
pub(super) struct BodyWait(AtomicU64);

impl BodyWait {
    /// How long it was.
    pub(super) fn time(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A body that tells.
pub(super) struct TimedBody<'a, B> {
    body: B,
    waited: &'a BodyWait,
    since: Option<Instant>,
}

impl<'a, B> TimedBody<'a, B> {
    pub(super) fn new(body: B, waited: &'a BodyWait) -> Self {
        Self { body, waited, since: None }
    }
}

impl<B: RequestBody> Body for TimedBody<'_, B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            self.since.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.since.take() {
            let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.waited.0.fetch_add(nanos, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::once;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_how_long_its_client_took() {
        let slow = once(async {
            sleep(Duration::from_secs(10)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}")))
        });
        let waited = BodyWait::default();
        let mut body = TimedBody::new(StreamBody::new(Box::pin(slow)), &waited);
        assert!(body.frame().await.is_some() && body.frame().await.is_none());
        assert_eq!(waited.time().as_secs(), 10);
    }
}
