//! The end of what a client sends, held back while a write of its is being answered.
//!
//! A client may close its sending half after a request and read the answer (RFC 9112 section 9.6). hyper takes that end
//! for the client's death, or, with `half_close`, never: then the wait of a dead client would be held until its time is
//! up. So a read ends at once, since it can be asked again; the end behind a write is shown to hyper once the answer is
//! made.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether the end of what a client sends is held back now.
#[derive(Debug, Default)]
pub(crate) struct HeldEnd {
    /// A write is being answered.
    holds: AtomicBool,
    /// The task of the connection, once the end has come and was held back.
    seen: Mutex<Option<Waker>>,
}

impl HeldEnd {
    /// A request has come.
    pub(crate) fn begin_request(&self, method: &Method) {
        self.holds.store(!matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS), Relaxed);
    }

    /// The answer is made: the end may be seen.
    pub(crate) fn release(&self) {
        if !self.holds.load(Relaxed) {
            return;
        }
        self.holds.store(false, Relaxed);
        if let Some(waker) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// More of a body is awaited. If the end was held back, no more will come, and the body is to fail.
    pub(crate) fn await_body(&self) {
        if self.holds.load(Relaxed) {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if seen {
                self.release();
            }
        }
    }
}

/// A connection whose end can be held back.
pub(crate) struct HalfCloseStream<S> {
    stream: S,
    end: Arc<HeldEnd>,
}

impl<S> HalfCloseStream<S> {
    pub(crate) fn new(stream: S, end: &Arc<HeldEnd>) -> Self {
        Self { stream, end: end.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfCloseStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let ended = matches!(polled, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if ended && self.end.holds.load(Relaxed) {
            let mut seen = self.end.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some(context.waker().clone());
            return Poll::Pending;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HalfCloseStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn holds_the_end_back_behind_a_write_alone() {
        for (method, held) in
            [(Method::GET, false), (Method::HEAD, false), (Method::POST, true), (Method::DELETE, true)]
        {
            let end = Arc::default();
            let mut stream = HalfCloseStream::new(&b"x"[..], &end);
            end.begin_request(&method);
            assert_eq!(stream.read_u8().now_or_never().unwrap().unwrap(), b'x');
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).now_or_never().is_none(), held, "{method}");
            end.release();
            assert_eq!(stream.read(&mut byte).now_or_never().unwrap().unwrap(), 0, "{method}");
        }
    }

    #[tokio::test]
    async fn lets_a_body_fail_that_is_cut_short() {
        let end = Arc::default();
        let mut stream = HalfCloseStream::new(&b""[..], &end);
        end.begin_request(&Method::POST);
        // Nothing has ended yet.
        end.await_body();
        let mut byte = [0];
        assert!(stream.read(&mut byte).now_or_never().is_none());
        end.await_body();
        assert_eq!(stream.read(&mut byte).now_or_never().unwrap().unwrap(), 0);
    }
}
