//! The body of an answer as hyper takes it: whole, or piece by piece.
//!
//! hyper asks for the next piece once it has sent most of the one before, so an answer that its client does not read
//! takes the memory of two pieces, however long it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http_body_util::{Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};

/// Bytes of a piece: as much as hyper sends at a time.
pub(super) const PIECE: usize = 8 << 10;

/// The answer ends before it is whole, and its client is to see that: the connection is closed without the end of the
/// body.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not whole")]
pub(crate) struct StreamCut;

type Pieces = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, StreamCut>> + Send>>;

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// All of it, at once; it may be empty.
    Whole(Full<Bytes>),
    /// One piece after the other.
    Pieces(StreamBody<Pieces>),
}

impl AnswerBody {
    /// What a stream yields, as it comes.
    pub(super) fn stream(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        use futures_util::StreamExt as _;
        Self::cut_stream(pieces.map(Ok))
    }

    /// What a stream yields, as it comes, or until it is cut.
    pub(super) fn cut_stream(pieces: impl Stream<Item = Result<Bytes, StreamCut>> + Send + 'static) -> Self {
        use futures_util::StreamExt as _;
        Self::Pieces(StreamBody::new(Box::pin(pieces.map(|piece| piece.map(Frame::data)))))
    }

    /// Pieces that are made when they are asked for.
    pub(super) fn pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self::stream(stream::iter(pieces))
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }
}

impl Default for AnswerBody {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Full::from(bytes))
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::from(bytes))
    }
}

impl From<&'static [u8]> for AnswerBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Whole(Full::from(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        match self.get_mut() {
            Self::Whole(whole) => {
                Pin::new(whole).poll_frame(context).map_err(|never: Infallible| match never {})
            }
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces(pieces) => Body::size_hint(pieces),
        }
    }
}
