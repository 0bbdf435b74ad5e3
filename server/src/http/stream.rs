//! The body of an answer as hyper takes it: whole, or event after event.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::api::events::Feed;

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// All of it, at once; `None` once it is taken, or when there is none.
    Whole(Option<Bytes>),
    /// Events, as they come; `None` after the last one.
    Events(Option<Next>),
}

/// What is going to come next, and then the feed for what comes after that.
type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Box<Feed>)>> + Send>>;

impl AnswerBody {
    pub(super) fn events(feed: Box<Feed>) -> Self {
        Self::Events(Some(Box::pin(feed.next())))
    }
}

impl Default for AnswerBody {
    fn default() -> Self {
        Self::Whole(None)
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole((!bytes.is_empty()).then(|| bytes.into()))
    }
}

impl From<&'static [u8]> for AnswerBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Whole(Some(Bytes::from_static(bytes)))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(None) => None,
            Self::Events(Some(next)) => match ready!(next.as_mut().poll(context)) {
                Some((bytes, feed)) => {
                    *self = Self::events(feed);
                    Some(bytes)
                }
                None => {
                    *self = Self::Events(None);
                    None
                }
            },
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Events(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
