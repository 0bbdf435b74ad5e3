//! Bodies that tell the watch over the connections what they wait for, and that hold their bytes' part of the memory
//! budget.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::budget::{BudgetPermit, MemoryBudget, OverBudget, Purpose, SMALL};
use crate::connections::ConnectionPermit;
use crate::http::{AnswerBody, StreamCut};

/// A long answer is given to the connection in pieces of so many bytes, so that no more of it is copied into its
/// buffer, and the rest is given back to the budget as it is read.
const PIECE: usize = 16 << 10;

/// The body of an answer.
pub(crate) struct ActivityBody {
    body: AnswerBody,
    /// `None` for a short answer, which is all that most are. Boxed: every connection has room for a body.
    long: Option<Box<Long>>,
}

struct Long {
    /// What is left of the body, or of an event.
    rest: Bytes,
    connection: Arc<ConnectionPermit>,
    budget: Arc<MemoryBudget>,
    client: IpAddr,
    /// Whether the body is a stream of events without end.
    streams: bool,
    /// What the bytes of the body, or of an event, take.
    permit: Option<BudgetPermit>,
}

impl ActivityBody {
    /// The body of an answer to a client, which is from now on waited for.
    ///
    /// # Errors
    /// The memory budget has no room for it.
    pub(crate) fn new(
        body: AnswerBody,
        connection: &Arc<ConnectionPermit>,
        budget: &Arc<MemoryBudget>,
        client: IpAddr,
    ) -> Result<Self, OverBudget> {
        let size = body.size_hint().exact();
        let permit = match size {
            Some(size) if size > SMALL as u64 => {
                let bytes = usize::try_from(size).unwrap_or(usize::MAX);
                let permit = budget.acquire(Purpose::Answers, Some(client), bytes)?;
                connection.await_transfer(size);
                Some(permit)
            }
            _ => {
                connection.await_client();
                None
            }
        };
        let streams = size.is_none();
        let long = (streams || permit.is_some()).then(|| {
            let (connection, budget) = (connection.clone(), budget.clone());
            Box::new(Long { rest: Bytes::new(), connection, budget, client, streams, permit })
        });
        Ok(Self { body, long })
    }

    /// A short body that counts for nothing.
    pub(crate) fn short(body: AnswerBody) -> Self {
        Self { body, long: None }
    }

    /// Whether it is a stream of events without end.
    pub(crate) fn streams(&self) -> bool {
        self.long.as_ref().is_some_and(|long| long.streams)
    }
}

impl Long {
    /// The next piece of the rest; `is_last` says that the body has no more.
    fn piece(&mut self, is_last: bool) -> Bytes {
        // An event is one chunk, as naive readers of lines expect.
        let bytes = if self.streams { self.rest.len() } else { self.rest.len().min(PIECE) };
        let piece = self.rest.split_to(bytes);
        if let Some(permit) = self.permit.as_mut().filter(|_| !self.streams) {
            permit.shrink_to(self.rest.len());
        }
        if self.rest.is_empty() && is_last {
            self.connection.await_client();
        }
        piece
    }
}

impl Body for ActivityBody {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        let Self { body, long } = &mut *self;
        let Some(long) = long else { return Pin::new(body).poll_frame(context) };
        if !long.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(long.piece(body.is_end_stream())))));
        }
        if long.streams {
            // The client has read what there was.
            long.connection.await_transfer(0);
            long.permit = None;
        }
        match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => {
                    if long.streams && bytes.len() > SMALL {
                        match long.budget.acquire(Purpose::Answers, Some(long.client), bytes.len()) {
                            Ok(permit) => long.permit = Some(permit),
                            // The client comes back and begins with the state.
                            Err(_) => return Poll::Ready(None),
                        }
                        long.connection.await_transfer(bytes.len() as u64);
                    }
                    long.rest = bytes;
                    Poll::Ready(Some(Ok(Frame::data(long.piece(body.is_end_stream())))))
                }
                Err(other) => Poll::Ready(Some(Ok(other))),
            },
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.long.as_ref().is_none_or(|long| long.rest.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(long) = &self.long else { return self.body.size_hint() };
        match self.body.size_hint().exact() {
            Some(size) => SizeHint::with_exact(size + long.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}

/// The body of a request. While the service waits for a part of it, the connection counts as one that waits for its
/// client.
pub(crate) struct ReceivedBody {
    body: Incoming,
    connection: Option<Arc<ConnectionPermit>>,
    awaits: bool,
}

impl ReceivedBody {
    pub(crate) fn new(body: Incoming, connection: &Arc<ConnectionPermit>) -> Self {
        let connection = (!body.is_end_stream()).then(|| connection.clone());
        Self { body, connection, awaits: false }
    }

    fn received(&mut self) {
        if self.awaits
            && let Some(connection) = &self.connection
        {
            connection.begin_request();
        }
        self.awaits = false;
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match (&polled, &self.connection) {
            (Poll::Pending, Some(connection)) if !self.awaits => {
                connection.await_transfer(self.body.size_hint().upper().unwrap_or_default());
                self.awaits = true;
            }
            (Poll::Ready(None | Some(Err(_))), _) => self.received(),
            _ => {}
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

impl Drop for ReceivedBody {
    fn drop(&mut self) {
        self.received();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::budget::SMALLEST;
    use crate::connections::Connections;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn body(bytes: usize, budget: &Arc<MemoryBudget>) -> Result<ActivityBody, OverBudget> {
        let (connection, _) = Connections::new(1, 1).admit(None).unwrap();
        ActivityBody::new(AnswerBody::from(vec![b'x'; bytes]), &Arc::new(connection), budget, CLIENT)
    }

    async fn next(body: &mut ActivityBody) -> usize {
        body.frame().await.unwrap().unwrap().into_data().unwrap().len()
    }

    #[tokio::test]
    async fn a_short_answer_counts_for_nothing_and_goes_whole() {
        let budget = MemoryBudget::new(SMALLEST);
        let mut short = body(SMALL, &budget).unwrap();
        assert_eq!(budget.used(Purpose::Answers), 0);
        assert_eq!((short.size_hint().exact(), next(&mut short).await), (Some(SMALL as u64), SMALL));
        assert!(short.is_end_stream());
    }

    #[tokio::test]
    async fn a_long_answer_goes_in_pieces_and_counts_for_what_is_not_read() {
        let budget = MemoryBudget::new(SMALLEST);
        let size = 2 * PIECE + 1000;
        let mut long = body(size, &budget).unwrap();
        for (piece, rest) in [(PIECE, PIECE + 1000), (PIECE, 1000), (1000, 0)] {
            assert!(!long.is_end_stream());
            assert_eq!(next(&mut long).await, piece);
            assert_eq!(budget.used(Purpose::Answers), rest as u64);
            assert_eq!(long.size_hint().exact(), Some(rest as u64));
        }
        assert!(long.is_end_stream() && long.frame().await.is_none());
        // One that is dropped half-way gives its bytes back.
        let mut dropped = body(size, &budget).unwrap();
        next(&mut dropped).await;
        drop(dropped);
        assert_eq!(budget.used(Purpose::Answers), 0);
    }

    #[tokio::test]
    async fn an_answer_for_which_there_is_no_room_is_refused() {
        let budget = MemoryBudget::new(SMALLEST);
        let share = usize::try_from(budget.limit(Purpose::Answers) / 4).unwrap();
        assert!(body(share + 1, &budget).is_err());
        let first = body(share, &budget).unwrap();
        assert!(body(SMALL + 1, &budget).is_err() && body(SMALL, &budget).is_ok());
        drop(first);
        assert!(body(share, &budget).is_ok());
    }
}
