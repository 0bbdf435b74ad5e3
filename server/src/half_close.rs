//! The end of what a client sends, looked for while a read of its is being answered.
//!
//! A client may close its sending half after a request and read the answer (RFC 9112 section 9.6). hyper takes that end
//! for the client's death, or, with `half_close`, does not look for it: then the wait of a dead client would be held
//! until its time is up. So hyper does not look, and the end behind a read is looked for here: the read ends at once,
//! since it can be asked again. A write is answered whatever comes behind it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether the end of what a client sends is looked for now.
#[derive(Debug, Default)]
pub(crate) struct EndWatch(AtomicBool);

impl EndWatch {
    /// A request has come.
    pub(crate) fn begin_request(&self, method: &Method) {
        self.0.store(matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS), Relaxed);
    }

    /// The answer is made: hyper reads again, and finds the end.
    pub(crate) fn end_request(&self) {
        self.0.store(false, Relaxed);
    }
}

/// A connection that fails when its client goes away while a read of its is being answered.
pub(crate) struct HalfCloseStream<S> {
    stream: S,
    end: Arc<EndWatch>,
    /// What came in the place of the end.
    ahead: Option<u8>,
}

impl<S> HalfCloseStream<S> {
    pub(crate) fn new(stream: S, end: &Arc<EndWatch>) -> Self {
        Self { stream, end: end.clone(), ahead: None }
    }
}

impl<S: AsyncRead + Unpin> HalfCloseStream<S> {
    fn look_for_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(err)) => Err(err),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Ready(Ok(())) => {
                self.ahead = Some(byte[0]);
                // hyper may have asked for it before it came.
                context.waker().wake_by_ref();
                Ok(())
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfCloseStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(byte) = self.ahead.take() {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HalfCloseStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// hyper flushes whenever it has done what it can for now.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.0.load(Relaxed) && self.ahead.is_none() {
            self.look_for_end(context)?;
        }
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn fails_at_the_end_behind_a_read_alone() {
        for (method, fails) in
            [(Method::GET, true), (Method::HEAD, true), (Method::POST, false), (Method::DELETE, false)]
        {
            let end = Arc::default();
            let (client, service) = duplex(64);
            let mut stream = HalfCloseStream::new(service, &end);
            end.begin_request(&method);
            stream.flush().await.unwrap();
            drop(client);
            assert_eq!(stream.flush().await.is_err(), fails, "{method}");
            end.end_request();
            stream.flush().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{method}");
        }
    }

    #[tokio::test]
    async fn keeps_what_comes_in_the_place_of_the_end() {
        let end = Arc::default();
        let (mut client, service) = duplex(64);
        let mut stream = HalfCloseStream::new(service, &end);
        end.begin_request(&Method::GET);
        let mut word = [0; 4];
        let mut read = Box::pin(stream.read_exact(&mut word));
        assert!(read.as_mut().now_or_never().is_none());
        drop(read);
        client.write_all(b"next").await.unwrap();
        for _ in 0..2 {
            stream.flush().await.unwrap();
        }
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"next");
    }
}
